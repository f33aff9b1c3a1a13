"""Model cards: what a saved run is, what it was made from, how well it does and what it is not."""

from __future__ import annotations

from pathlib import Path

from frostline.cache.atomic import write_text
from frostline.cache.errors import InputError
from frostline.report.manuscript.bibliography import CITED
from frostline.report.manuscript.methods import (
    Material,
    data_sentences,
    image_sentences,
    network_sentences,
    software_sentences,
    training_sentences,
)
from frostline.report.manuscript.writing import markdown_text
from frostline.report.predictions import Predictions
from frostline.report.statistics.evaluation import evaluate
from frostline.report.tables.scores import score_table
from frostline.report.tables.writers.markdown import to_markdown

METRICS = ("accuracy", "balanced_accuracy", "roc_auc")
NAME = "README.md"


def write_card(folder: Path, run: Predictions) -> None:
    """Write the card of a run beside its model, as `README.md`."""
    write_text(folder / NAME, model_card(run))


def model_card(run: Predictions) -> str:
    """Write a model card in Markdown, with the sections of Mitchell et al. (2019) that are known.

    Scores are of the test images, with 95% intervals; a run without any says so.
    """
    material = Material([run])
    counts = run.meta["class_counts"] or {}
    trained = ", ".join(f"{name} {count}" for name, count in counts.items())
    sections = {
        "Model": [*network_sentences(material), *training_sentences(material)],
        "Images": image_sentences(run.meta),
        "Training data": [*data_sentences(material), f"Training images of each class: {trained}."],
        "Software": software_sentences(material),
    }
    lines = [f"# {markdown_text(run.run)}", ""]
    for heading, sentences in sections.items():
        said = " ".join(markdown_text(CITED.sub("", one).replace("  ", " ")) for one in sentences)
        lines += [f"## {heading}", "", said, ""] if sentences else []
    lines += ["## Scores", "", _scores(run), "", "## Use", ""]
    applied = (
        f"`frostline predict --run {run.run} IMAGES` applies it; `frostline export` writes it as "
        "ONNX."
    )
    if run.meta.get("level") == "patient":
        applied = (
            "It answers for a patient by all images together: `frostline sweep --test-dataset` "
            "applies it to another data set."
        )
    elif run.meta["weights"] == "imported":
        applied = (
            "It answers for embeddings that were computed elsewhere, which only the tool that made "
            "them can compute of new images."
        )
    elif run.meta["weights"] == "own module":
        applied = (
            "Its backbone is a module of its author's code: "
            f"`Workspace.predict({run.run!r}, IMAGES, module=MODULE)` applies it."
        )
    lines += [
        applied,
        "",
        *_needed(run),
        "It is made for images like those it was trained on, and is no medical device. Whom it is "
        "for, how labels were made, and where it must not be used is for its authors to say.",
    ]
    return "\n".join(lines) + "\n"


def _needed(run: Predictions) -> list[str]:
    """Say what a file of adapters lacks."""
    if not run.meta.get("adapters"):
        return []
    return [
        "Its file holds the adapters and the head alone. The backbone is loaded again, with "
        f"weights of the digest {run.meta['weights_digest']}, and the adapters are added to them.",
        "",
    ]


def _scores(run: Predictions) -> str:
    metrics = [name for name in METRICS if name != "roc_auc" or _has_probabilities(run)]
    try:
        scores = evaluate([run], metrics=metrics)
    except InputError as error:
        return f"None: {error}"
    return to_markdown(score_table(scores)).rstrip()


def _has_probabilities(run: Predictions) -> bool:
    return {f"prob_{name}" for name in run.classes} <= set(run.table.columns)
