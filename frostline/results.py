"""Results that show themselves in a notebook and lead on to predictions, scores and models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from frostline.names import in_python
from frostline.report import Predictions, read_predictions, similarity
from frostline.scoring.scores import Scores, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from frostline.cache import Workspace as Places
    from frostline.extract.backbones.origins import Known
    from frostline.probe.sweep.results import Results
    from frostline.report import DataAudit
    from frostline.report.depth.curve import Curves


@dataclass(eq=False)
class Run:
    """One trained and scored run.

    Goes wherever the path of a predictions file goes.

    Attributes
    ----------
    path : Path
        The file with its predictions.
    folder : Path
        The folder with its model, `models/<run>`.
    """

    path: Path
    folder: Path

    @property
    def id(self) -> str:
        """The run's id: a readable name and a digest."""
        return self.path.stem

    @cached_property
    def predictions(self) -> Predictions:
        """The predictions: `table` is a DataFrame with one row for each image."""
        return read_predictions(self.path)

    @cached_property
    def model(self) -> Any:
        """The trained head (an estimator), or the fine-tuned network (a torch module, eval mode).

        Raises
        ------
        InputError
            If the run's model was not kept.
        """
        if (self.folder / "model.json").is_file():
            from frostline.finetune import load_model

            return load_model(self.folder)[0]
        from frostline.probe import load_head

        return load_head(self.folder)

    def scores(self, **options: Any) -> Scores:
        """Score the run with 95% intervals, next to the majority class.

        Parameters
        ----------
        **options
            Those of `frostline.evaluate`: `split`, `metrics`, `ci`, ….
        """
        return evaluate(self, **options)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    def _repr_html_(self) -> str:
        return f"<p>Run <code>{escape(self.id)}</code></p>{self.scores()._repr_html_()}"


@dataclass(eq=False)
class Depth:
    """Where to read backbones, and where to train them.

    Attributes
    ----------
    curves : frostline.report.depth.curve.Curves
        `table` with one row for each point, `differences` of what was chosen, and the places.
    folder : Path
        Where the numbers and the picture lie.
    """

    curves: Curves
    folder: Path

    @property
    def table(self) -> pd.DataFrame:
        """One row for each point of the curves (docs/depth.md)."""
        return self.curves.table

    @cached_property
    def sentences(self) -> list[str]:
        """The answer in words."""
        from frostline.report.depth.sentences import depth_sentences

        return depth_sentences(self.curves)

    def figure(self) -> Figure:
        """Draw the picture."""
        from frostline.report.figures.depth import depth_figure

        return depth_figure(self.curves.table, self.curves.places, self.curves.majority)

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        from frostline.report.figures.style import inline_svg, to_svg

        picture = inline_svg(to_svg(self.figure()), "depth", "Score by depth", adapt=False)
        return "".join(f"<p>{escape(one)}</p>" for one in self.sentences) + picture


@dataclass(frozen=True, eq=False)
class Similarity(similarity.Similarity):
    """How alike embeddings are, as `frostline.report.similarity.Similarity` says, and shown."""

    def figure(self) -> Figure:
        """Draw the heat map of CKA, with RankMe next to each row."""
        from frostline.report.figures.similarity import similarity_figure

        return similarity_figure(self)

    def _repr_html_(self) -> str:
        return _html(self.table.round(3), f"RankMe, and linear CKA of every two. {self.sentence}")


@dataclass(eq=False)
class Sweep:
    """A sweep of heads.

    Attributes
    ----------
    table : DataFrame
        One row for each head, hyper-parameter, split and metric that was tried.
    best : DataFrame
        The head of each data set and backbone that validation chose, with its test scores.
    runs : list of Run
        The selected heads.
    path : Path
        The file of `table`.
    """

    table: pd.DataFrame
    best: pd.DataFrame
    runs: list[Run]
    path: Path

    @classmethod
    def of(cls, places: Places, found: Results) -> Sweep:
        """Wrap what the sweep's engine found."""
        runs = [run_at(places, path.stem) for path in found.predictions]
        return cls(found.table, found.best, runs, found.path)

    def scores(self, **options: Any) -> Scores:
        """Score the selected heads; options are those of `frostline.evaluate`."""
        return evaluate(self.runs, **options)

    def _repr_html_(self) -> str:
        return _html(self.best, "Best heads, chosen on validation")


@dataclass(eq=False)
class Audit:
    """An audit of a data set: what in it would make results better or worse than they are.

    Attributes
    ----------
    findings : DataFrame
        `severity` (leak, warning or note) and `finding`, a sentence.
    splits, classes : DataFrame
        Groups and images of each split; of each class by split.
    flagged : dict of str to DataFrame
        The images behind the findings, by a caption.
    details : DataFrame
        All images behind the findings in one table, the most harmful first.
    controls : DataFrame, optional
        Negative controls, if asked for: scores that should be at chance.
    readable : DataFrame, optional
        Whether columns can be read from embeddings, if asked for.
    label_errors : DataFrame, optional
        Labels that are probably wrong, if asked for, the most suspicious first, each with its
        nearest training images: `frostline audit --label-errors` writes the same.
    """

    dataset: str
    findings: pd.DataFrame
    splits: pd.DataFrame
    classes: pd.DataFrame
    flagged: Mapping[str, pd.DataFrame]
    details: pd.DataFrame
    controls: pd.DataFrame | None = None
    readable: pd.DataFrame | None = None
    label_errors: pd.DataFrame | None = None

    @classmethod
    def of(
        cls,
        dataset: str,
        found: DataAudit,
        controls: pd.DataFrame | None,
        readable: pd.DataFrame | None = None,
    ) -> Audit:
        """Wrap the audit that a report shows."""
        findings = pd.DataFrame(list(found.findings), columns=["severity", "finding"])
        tables = (found.splits, found.classes, found.flagged, found.details)
        return cls(dataset, findings, *tables, controls, readable)

    @property
    def leaks(self) -> bool:
        """Whether anything leaks."""
        return bool((self.findings["severity"] == "leak").any())

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `details`, as `frostline audit --out` does: a row an image of every finding."""
        from frostline.cache.atomic import write_text

        write_text(Path(path), self.details.to_csv(index=False, lineterminator="\n"))

    def _repr_html_(self) -> str:
        tables = {
            "images and groups of each class": self.classes,
            "what the audit found": self.findings,
            "negative controls": self.controls,
            "what can be read from the embeddings": self.readable,
            "suspicious labels": self.label_errors,
        }
        return "".join(
            _html(table, f"{self.dataset}: {name}")
            for name, table in tables.items()
            if table is not None
        )


@dataclass(eq=False)
class Report:
    """A study's report.

    Attributes
    ----------
    folder : Path, optional
        Where `index.html`, `tables/` and `figures/` lie; None if shards are still to run.
    runs : list of Run
        The runs of the study.
    failed : dict of str to str
        Runs that failed, by name, each with a sentence.
    """

    folder: Path | None
    runs: list[Run]
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def page(self) -> Path | None:
        """The page to open in a browser."""
        return None if self.folder is None else self.folder / "index.html"

    @property
    def answer(self) -> str:
        """The answer in sentences, and the main table, as text."""
        if self.folder is None:
            return ""
        from frostline.study.results import read_answer

        return read_answer(self.folder)

    def scores(self, **options: Any) -> Scores:
        """Score the runs; options are those of `frostline.evaluate`."""
        return evaluate(self.runs, **options)

    def _repr_html_(self) -> str:
        page = "" if self.page is None else f"<p>Page: <code>{escape(str(self.page))}</code></p>"
        return f"<pre>{escape(self.answer)}</pre>{page}"


def run_at(places: Places, run: str) -> Run:
    """Give the run of a workspace by its id."""
    return Run(places.predictions(run), places.model(run))


def _html(frame: pd.DataFrame, caption: str) -> str:
    from frostline.report import table_html
    from frostline.report.tables.data import frame_table

    return table_html(frame_table(frame, caption))


@in_python
def backbones(search: str = "", workspace: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """List the backbones with what one must know of them (docs/backbones.md).

    Parameters
    ----------
    search : str
        Only those that have all of these words in their name, kind, data or licence.
    workspace : path, optional
        Folder of a workspace, whose own table comes first.

    Returns
    -------
    DataFrame
        `backbone`, `kind`, `library`, `parameters`, `dim` (length of the embedding), `image_size`,
        `normalisation`, `licence`, `gated` (how one gets access), `pretrained_on`, `features`,
        `weights`, `loads` (how it is used if not by its name), `page` and `source` (of these
        facts), `reference` (a key of the bibliography of reports).

    Examples
    --------
    >>> frostline.backbones("rad-dino maira")["backbone"].tolist()
    ['hf:microsoft/rad-dino-maira-2']
    """
    from frostline.extract.backbones.origins import list_backbones

    root = None if workspace is None else Path(workspace)
    return backbones_frame(list_backbones(root, search))


def backbones_frame(found: Iterable[Known]) -> pd.DataFrame:
    """Put backbones into the columns of `backbones`."""
    rows = [
        {
            "backbone": one.name,
            "kind": one.kind,
            "library": one.library,
            "parameters": one.parameters or None,
            "dim": one.dim or None,
            "image_size": one.size or None,
            "normalisation": one.normalisation,
            "licence": one.licence,
            "gated": one.gated,
            "pretrained_on": one.pretrained_on,
            "features": ", ".join(one.features),
            "weights": one.weights,
            "loads": one.loads,
            "page": one.url,
            "source": one.source,
            "reference": one.work,
        }
        for one in found
    ]
    numbers = dict.fromkeys(("parameters", "dim", "image_size"), "Int64")
    return pd.DataFrame(rows).astype(numbers)
