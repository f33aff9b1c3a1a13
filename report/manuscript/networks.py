"""The works that describe backbones, as BibTeX: entries of `bibliography.REFERENCES`."""

from __future__ import annotations

# By key: first authors, title, where it appeared (a journal, or a number of arXiv), year.
_WORKS = {
    "simeoni2025": ("Sim{\\'e}oni, Oriane and others", "{DINOv3}", "arXiv:2508.10104", 2025),
    "tschannen2025": (
        "Tschannen, Michael and others",
        "{SigLIP} 2: Multilingual Vision-Language Encoders with Improved Semantic Understanding, "
        "Localization, and Dense Features",
        "arXiv:2502.14786",
        2025,
    ),
    "fang2024": (
        "Fang, Yuxin and others",
        "{EVA-02}: A Visual Representation for Neon Genesis",
        "Image and Vision Computing",
        2024,
    ),
    "liu2022": (
        "Liu, Zhuang and others",
        "A {ConvNet} for the 2020s",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
        2022,
    ),
    "perezgarcia2025": (
        "P{\\'e}rez-Garc{\\'i}a, Fernando and Sharma, Harshita and Bond-Taylor, Sam and others",
        "Exploring Scalable Medical Image Encoders Beyond Text Supervision",
        "Nature Machine Intelligence",
        2025,
    ),
    "chen2024": (
        "Chen, Zhihong and Varma, Maya and Delbrouck, Jean-Benoit and others",
        "{CheXagent}: Towards a Foundation Model for Chest X-Ray Interpretation",
        "arXiv:2401.12208",
        2024,
    ),
    "cohen2022": (
        "Cohen, Joseph Paul and Viviano, Joseph D. and Bertin, Paul and others",
        "{TorchXRayVision}: A Library of Chest X-Ray Datasets and Models",
        "arXiv:2111.00595",
        2022,
    ),
    "yao2025": (
        "Yao, Jingfeng and Wang, Xinggang and Song, Yuehao and others",
        "{EVA-X}: A Foundation Model for General Chest X-Ray Analysis with Self-Supervised "
        "Learning",
        "npj Digital Medicine",
        2025,
    ),
    "ma2023": (
        "Ma, DongAo and Pang, Jiaxuan and Gotway, Michael B. and Liang, Jianming",
        "Foundation {Ark}: Accruing and Reusing Knowledge for Superior and Robust Performance",
        "Medical Image Computing and Computer Assisted Intervention",
        2023,
    ),
    "tiu2022": (
        "Tiu, Ekin and others",
        "Expert-Level Detection of Pathologies from Unannotated Chest X-Ray Images via "
        "Self-Supervised Learning",
        "Nature Biomedical Engineering",
        2022,
    ),
    "sellergren2025": (
        "Sellergren, Andrew and others",
        "{MedGemma} Technical Report",
        "arXiv:2507.05201",
        2025,
    ),
    "zhang2023": (
        "Zhang, Sheng and Xu, Yanbo and Usuyama, Naoto and others",
        "Large-Scale Domain-Specific Pretraining for Biomedical Vision-Language Processing",
        "arXiv:2303.00915",
        2023,
    ),
    "kim2024": (
        "Kim, Chanwoo and Gadgil, Soham U. and DeGrave, Alex J. and others",
        "Transparent Medical Image {AI} via an Image-Text Foundation Model Grounded in Medical "
        "Literature",
        "Nature Medicine",
        2024,
    ),
    "yan2025derm1m": (
        "Yan, Siyuan and Hu, Ming and Jiang, Yiwen and others",
        "{Derm1M}: A Million-Scale Vision-Language Dataset Aligned with Clinical Ontology "
        "Knowledge for Dermatology",
        "arXiv:2503.14911",
        2025,
    ),
    "yan2025": (
        "Yan, Siyuan and Yu, Zhen and Primiero, Clare and others",
        "A Multimodal Vision Foundation Model for Clinical Dermatology",
        "Nature Medicine",
        2025,
    ),
    "zhou2023": (
        "Zhou, Yukun and Chia, Mark A. and Wagner, Siegfried K. and others",
        "A Foundation Model for Generalizable Disease Detection from Retinal Images",
        "Nature",
        2023,
    ),
    "engelmann2025": (
        "Engelmann, Justin and Bernabeu, Miguel O.",
        "Training a High Performance Retinal Foundation Model with Half-the-Data and 400 Times "
        "Less Compute",
        "Nature Communications",
        2025,
    ),
    "silvarodriguez2025": (
        "Silva-Rodr{\\'i}guez, Julio and Chakor, Hadi and Kobbi, Riadh and others",
        "A Foundation Language-Image Model of the Retina ({FLAIR}): Encoding Expert Knowledge in "
        "Text Supervision",
        "Medical Image Analysis",
        2025,
    ),
    "filiot2023": (
        "Filiot, Alexandre and others",
        "Scaling Self-Supervised Learning for Histopathology with Masked Image Modeling",
        "medRxiv 2023.07.21.23292757",
        2023,
    ),
    "filiot2024": (
        "Filiot, Alexandre and Jacob, Paul and Mac Kain, Alice and Saillard, Charlie",
        "{Phikon-v2}, A Large and Public Feature Extractor for Biomarker Prediction",
        "arXiv:2409.09173",
        2024,
    ),
}


def _entry(author: str, title: str, journal: str, year: int) -> str:
    fields = {"author": author, "title": title, "journal": journal, "year": str(year)}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join(["@article{KEY,", *lines, "}"])


NETWORKS = {key: _entry(*work) for key, work in _WORKS.items()}
