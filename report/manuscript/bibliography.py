"""The works that methods and model cards cite, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable

from frostline.report.manuscript.networks import NETWORKS


def _entry(kind: str, **fields: str) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{KEY,", *lines, "}"])


def _article(author: str, title: str, journal: str, year: int, **more: str) -> str:
    return _entry("article", author=author, title=title, journal=journal, year=str(year), **more)


def _talk(author: str, title: str, booktitle: str, year: int, **more: str) -> str:
    fields = {"author": author, "title": title, "booktitle": booktitle, "year": str(year)}
    return _entry("inproceedings", **fields, **more)


def _preprint(author: str, title: str, number: str, year: int) -> str:
    return _article(author, title, f"arXiv:{number}", year)


REFERENCES: dict[str, str] = {
    "simonyan2015": _talk(
        "Simonyan, Karen and Zisserman, Andrew",
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "International Conference on Learning Representations",
        2015,
    ),
    "he2016": _talk(
        "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        "Deep Residual Learning for Image Recognition",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2016,
        pages="770--778",
    ),
    "huang2017": _talk(
        "Huang, Gao and Liu, Zhuang and van der Maaten, Laurens and Weinberger, Kilian Q.",
        "Densely Connected Convolutional Networks",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        2017,
        pages="4700--4708",
    ),
    "tan2019": _talk(
        "Tan, Mingxing and Le, Quoc V.",
        "{EfficientNet}: Rethinking Model Scaling for Convolutional Neural Networks",
        "International Conference on Machine Learning",
        2019,
        pages="6105--6114",
    ),
    "hu2022": _talk(
        "Hu, Edward J. and Shen, Yelong and Wallis, Phillip and Allen-Zhu, Zeyuan and Li, Yuanzhi "
        "and Wang, Shean and Wang, Lu and Chen, Weizhu",
        "{LoRA}: Low-Rank Adaptation of Large Language Models",
        "International Conference on Learning Representations",
        2022,
    ),
    "zaken2022": _talk(
        "Ben Zaken, Elad and Goldberg, Yoav and Ravfogel, Shauli",
        "{BitFit}: Simple Parameter-efficient Fine-tuning for Transformer-based Masked "
        "Language-models",
        "Annual Meeting of the Association for Computational Linguistics (Short Papers)",
        2022,
        pages="1--9",
    ),
    "oquab2024": _article(
        "Oquab, Maxime and Darcet, Timoth{\\'e}e and Moutakanni, Th{\\'e}o and others",
        "{DINOv2}: Learning Robust Visual Features without Supervision",
        "Transactions on Machine Learning Research",
        2024,
    ),
    "russakovsky2015": _article(
        "Russakovsky, Olga and Deng, Jia and Su, Hao and others",
        "{ImageNet} Large Scale Visual Recognition Challenge",
        "International Journal of Computer Vision",
        2015,
        volume="115",
        pages="211--252",
    ),
    "wightman2019": _entry(
        "misc",
        author="Wightman, Ross",
        title="{PyTorch} Image Models",
        year="2019",
        howpublished="GitHub repository huggingface/pytorch-image-models",
    ),
    "paszke2019": _talk(
        "Paszke, Adam and Gross, Sam and Massa, Francisco and others",
        "{PyTorch}: An Imperative Style, High-Performance Deep Learning Library",
        "Advances in Neural Information Processing Systems",
        2019,
        volume="32",
    ),
    "pedregosa2011": _article(
        'Pedregosa, Fabian and Varoquaux, Ga{\\"e}l and Gramfort, Alexandre and others',
        "Scikit-learn: Machine Learning in {Python}",
        "Journal of Machine Learning Research",
        2011,
        volume="12",
        pages="2825--2830",
    ),
    "kingma2015": _talk(
        "Kingma, Diederik P. and Ba, Jimmy",
        "Adam: A Method for Stochastic Optimization",
        "International Conference on Learning Representations",
        2015,
    ),
    "loshchilov2019": _talk(
        "Loshchilov, Ilya and Hutter, Frank",
        "Decoupled Weight Decay Regularization",
        "International Conference on Learning Representations",
        2019,
    ),
    "huangzou2024": _talk(
        "Huang, Yuning and Zou, Jingchen and Meng, Lanxi and Yue, Xin and Zhao, Qing and Li, "
        "Jianqiang and Song, Changwei and Jimenez, Gabriel and Li, Shaowu and Fu, Guanghui",
        "Comparative Analysis of {ImageNet} Pre-Trained Deep Learning Models and {DINOv2} in "
        "Medical Imaging Classification",
        "IEEE Annual Computers, Software, and Applications Conference (COMPSAC)",
        2024,
    ),
    "efron1993": _entry(
        "book",
        author="Efron, Bradley and Tibshirani, Robert J.",
        title="An Introduction to the Bootstrap",
        publisher="Chapman and Hall",
        year="1993",
    ),
    "efron1987": _article(
        "Efron, Bradley",
        "Better Bootstrap Confidence Intervals",
        "Journal of the American Statistical Association",
        1987,
        volume="82",
        pages="171--185",
    ),
    "tukey1958": _article(
        "Tukey, John W.",
        "Bias and Confidence in Not-Quite Large Samples",
        "Annals of Mathematical Statistics",
        1958,
        volume="29",
        pages="614",
    ),
    "korn1998": _article(
        "Korn, Edward L. and Graubard, Barry I.",
        "Confidence Intervals for Proportions with Small Expected Number of Positive Counts "
        "Estimated from Survey Data",
        "Survey Methodology",
        1998,
        volume="24",
        pages="193--201",
    ),
    "clopper1934": _article(
        "Clopper, C. J. and Pearson, E. S.",
        "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial",
        "Biometrika",
        1934,
        volume="26",
        pages="404--413",
    ),
    "cameron2008": _article(
        "Cameron, A. Colin and Gelbach, Jonah B. and Miller, Douglas L.",
        "Bootstrap-Based Improvements for Inference with Clustered Errors",
        "Review of Economics and Statistics",
        2008,
        volume="90",
        pages="414--427",
    ),
    "hillis2007": _article(
        "Hillis, Stephen L.",
        "A Comparison of Denominator Degrees of Freedom Methods for Multiple Observer {ROC} "
        "Analysis",
        "Statistics in Medicine",
        2007,
        volume="26",
        pages="596--619",
    ),
    "youden1950": _article(
        "Youden, W. J.",
        "Index for Rating Diagnostic Tests",
        "Cancer",
        1950,
        volume="3",
        pages="32--35",
    ),
    "vickers2006": _article(
        "Vickers, Andrew J. and Elkin, Elena B.",
        "Decision Curve Analysis: A Novel Method for Evaluating Prediction Models",
        "Medical Decision Making",
        2006,
        volume="26",
        pages="565--574",
    ),
    "guo2017": _talk(
        "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
        "On Calibration of Modern Neural Networks",
        "International Conference on Machine Learning",
        2017,
        pages="1321--1330",
    ),
    "holm1979": _article(
        "Holm, Sture",
        "A Simple Sequentially Rejective Multiple Test Procedure",
        "Scandinavian Journal of Statistics",
        1979,
        volume="6",
        pages="65--70",
    ),
    "newcombe1998": _article(
        "Newcombe, Robert G.",
        "Interval Estimation for the Difference between Independent Proportions: Comparison of "
        "Eleven Methods",
        "Statistics in Medicine",
        1998,
        volume="17",
        pages="873--890",
    ),
    "ilse2018": _talk(
        "Ilse, Maximilian and Tomczak, Jakub M. and Welling, Max",
        "Attention-based Deep Multiple Instance Learning",
        "International Conference on Machine Learning",
        2018,
        pages="2127--2136",
    ),
    "mccullagh1980": _article(
        "McCullagh, Peter",
        "Regression Models for Ordinal Data",
        "Journal of the Royal Statistical Society: Series B",
        1980,
        volume="42",
        pages="109--142",
    ),
    "westfall1993": _entry(
        "book",
        author="Westfall, Peter H. and Young, S. Stanley",
        title="Resampling-Based Multiple Testing",
        publisher="Wiley",
        year="1993",
    ),
    "breiman1984": _entry(
        "book",
        author="Breiman, Leo and Friedman, Jerome and Olshen, Richard and Stone, Charles",
        title="Classification and Regression Trees",
        publisher="Wadsworth",
        year="1984",
    ),
}


REFERENCES |= NETWORKS

# Citations as Pandoc writes them, [@key; @other], of these works alone: a data set's name is none.
_KEY = f"@(?:{'|'.join(REFERENCES)})"
CITED = re.compile(rf" ?\[{_KEY}(?:; {_KEY})*\]")


def as_keys(citation: str) -> list[str]:
    """Give the keys of a citation, `[@key; @other]`."""
    return [key.strip().removeprefix("@") for key in citation.strip(" []").split(";")]


def cited(texts: Iterable[str]) -> list[str]:
    """List the keys that texts cite, each once, in their order."""
    keys = [key for text in texts for found in CITED.findall(text) for key in as_keys(found)]
    return list(dict.fromkeys(keys))


def bibtex(keys: Iterable[str]) -> str:
    """Write the entries of these keys."""
    return "\n\n".join(REFERENCES[key].replace("KEY", key, 1) for key in keys) + "\n"
