"""All numbers of a report, as plain tables."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from frostline.report.statistics.comparisons.methods import Method
from frostline.report.tables.classes import class_frame


@dataclass(frozen=True)
class DatasetNumbers:
    """What is known of one data set; every table may be empty.

    Attributes
    ----------
    name : str
        The data set.
    key : str
        Digest of all that the tables were made from.
    methods : list of Method
        Its methods, seeds together.
    names : DataFrame
        A row a method, by its first run's name: `title`, `short` (the same in fewer words), `panel`
        (of figures where ways of training share one), `way` (of training).
    marks, pairs, freezing, classes, curves, reliability, benefit, calibration, maps, mistakes,
    operating : DataFrame
        As `mark_best`, `compare`, `frozen_against_unfrozen`, `tabulate_methods`, `curves`,
        `reliability_of`, `benefit_frame`, `calibration_frame` (of first seeds), `maps.project`,
        `confident_mistakes` and `points_of_methods` give them.
    subgroups : DataFrame
        As `subgroups` gives it, of the best methods.
    without : list of str
        Why there are none by a column that was asked for.
    """

    name: str
    key: str
    methods: list[Method]
    names: pd.DataFrame
    marks: pd.DataFrame
    pairs: pd.DataFrame
    freezing: pd.DataFrame
    classes: pd.DataFrame
    curves: pd.DataFrame
    reliability: pd.DataFrame
    benefit: pd.DataFrame
    calibration: pd.DataFrame
    mistakes: pd.DataFrame
    maps: pd.DataFrame
    operating: pd.DataFrame
    subgroups: pd.DataFrame = field(default_factory=pd.DataFrame)
    without: list[str] = field(default_factory=list)

    @property
    def class_list(self) -> tuple[str, ...]:
        """The class list of its first method."""
        return self.methods[0].sample.classes

    @property
    def positive(self) -> str:
        """The positive class, the last of two; "" of more."""
        return self.class_list[1] if len(self.class_list) == 2 else ""

    @property
    def class_scores(self) -> pd.DataFrame:
        """What `class_frame` makes of the scores of each class."""
        first = self.methods[0]
        counts = first.confusion.sum(1) // len(first.runs)
        each = dict(zip(self.class_list, map(int, counts), strict=True))
        of = "groups" if first.sample.n_images > len(first.sample.truth) else "images"
        titles = dict(zip(self.names["run"], self.names["title"], strict=True))
        return class_frame(self.classes, titles, each, of)


@dataclass(frozen=True)
class ReportNumbers:
    """All of a report.

    Attributes
    ----------
    frame, by_method : DataFrame
        A row a run and metric; a row a method and metric, seeds pooled.
    primary : str
        The metric that decides.
    sentences : list of str
        The answer.
    datasets : list of DatasetNumbers
    external : DataFrame
        What `internal_and_external` gives; empty where no run was scored on another data set.
    """

    frame: pd.DataFrame
    by_method: pd.DataFrame
    primary: str
    sentences: list[str]
    datasets: list[DatasetNumbers]
    external: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def marks(self) -> pd.DataFrame:
        """The marks of all data sets."""
        return pd.concat([one.marks for one in self.datasets], ignore_index=True)

    @property
    def operating(self) -> pd.DataFrame:
        """The operating points of all data sets; empty where there are none."""
        found = [one.operating for one in self.datasets if len(one.operating)]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame()

    @property
    def titles(self) -> dict[str, str]:
        """The title of each method, by its first run's name."""
        names = [row for one in self.datasets for row in one.names.itertuples()]
        return {str(row.run): str(row.title) for row in names}

    @property
    def answer(self) -> tuple[list[str], list[str], list[str]]:
        """The sentence that sums up, one for each comparison, and those on the best."""
        compared = sum(len(part.freezing) for part in self.datasets)
        summed = int(compared > 2)
        said = self.sentences
        return said[:summed], said[summed : summed + compared], said[summed + compared :]
