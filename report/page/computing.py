"""The numbers of a report: computed once, and kept with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from frostline.cache.versions import STAGES
from frostline.report.clinical.benefit import THRESHOLDS, benefit_frame
from frostline.report.clinical.calibration import calibration_frame, reliability_of
from frostline.report.clinical.external import internal_and_external, is_external
from frostline.report.clinical.operating import points_of_methods
from frostline.report.clinical.subgroups.columns import Asked, parse_by
from frostline.report.clinical.subgroups.scores import tabulate_subgroups
from frostline.report.clinical.subgroups.shown import chosen_runs, known_columns
from frostline.report.page.answers import answer, frozen_against_unfrozen
from frostline.report.page.mistakes import confident_mistakes
from frostline.report.page.numbers import DatasetNumbers, ReportNumbers
from frostline.report.page.projections import Embedded, project, umap_version
from frostline.report.page.stored import digest_of, digest_predictions, read_or_compute
from frostline.report.predictions import Predictions
from frostline.report.spread import on_all_cores
from frostline.report.statistics.comparisons.best import compare_all, mark_best
from frostline.report.statistics.comparisons.compare import comparison_frame
from frostline.report.statistics.comparisons.differences import Options
from frostline.report.statistics.comparisons.methods import Method, group_methods
from frostline.report.statistics.curves import net_benefit, roc_and_precision_recall
from frostline.report.statistics.evaluation import score, tabulate, with_majority
from frostline.report.statistics.methods import tabulate_methods
from frostline.report.statistics.metrics import DEFAULT_METRICS, of_probabilities
from frostline.report.statistics.names import MAJORITY_HEAD, method_titles
from frostline.report.statistics.sample import Scored

SCORING = ("split", "unit", "aggregate")
SHARES = ("estimate", "low", "high")
COUNTS = ("n_units", "n_images", "replicates", "seed", "n_seeds")
OF_A_CLASS = ("precision", "recall", "f1")


def compute_numbers(
    folder: Path,
    predictions: Sequence[Predictions | Path | str],
    *,
    primary: str = "accuracy",
    by: Sequence[str] = (),
    embeddings: Mapping[str, Mapping[str, Embedded]] | None = None,
    **options: Any,
) -> ReportNumbers:
    """Score runs and compute what the report shows, or read it where `folder` has it.

    Parameters
    ----------
    folder : Path
        Where statistics are kept.
    by : sequence of str
        Columns whose subgroups are scored, of the best methods of each data set.
    embeddings : mapping, optional
        By data set and backbone.
    **options
        As of `evaluate`; `benefit`, the thresholds of net benefit; and `clinical`, a mapping with
        `threshold`, `prevalence` and `positive` of `operating_points`.
    """
    clinical = options.pop("clinical", {})
    chosen = {name: options.pop(name) for name in SCORING if name in options}
    metrics = options.pop("metrics", None) or DEFAULT_METRICS
    benefit = tuple(options.pop("benefit", THRESHOLDS))
    how = _How(primary, tuple(metrics), options, chosen, benefit)
    rows = score(predictions, **chosen)
    # A primary metric that no run has: the first that they have decides.
    if of_probabilities(primary) and all(sample.probs is None for _, sample in rows):
        how = replace(how, primary=DEFAULT_METRICS[0])
    datasets = []
    for number, items in enumerate(_by_dataset(rows), 1):
        given = [vars(how), sorted(map(digest_predictions, _read(items)))]
        store = _Store(folder, number, given)
        own, asked = embeddings or {}, parse_by(by) if by else []
        datasets.append(_Dataset(items, group_methods(items), how, store, own, clinical, asked))
    new = [one for one in datasets if one.store.is_new]
    new.sort(key=lambda one: -len(one.methods[0].sample.truth))  # the longest tasks first
    on_all_cores([task for one in new for task in (one.others, one.curves)], len(rows))
    frames, pooled, parts = zip(*(one.numbers() for one in datasets), strict=True)
    frame = pd.concat(frames, ignore_index=True)
    store = _Store(folder, 0, [vars(how), sorted(digest_predictions(run) for run, _ in rows)])
    compared = [part.freezing for part in parts if len(part.freezing)]
    differences = pd.concat(compared, ignore_index=True) if compared else None
    methods = pd.concat(pooled, ignore_index=True)
    marks = pd.concat([part.marks for part in parts])
    best = with_majority(rows)
    said = partial(answer, frame, how.primary, best, differences=differences, marks=marks)
    sentences = store("answer", lambda: pd.DataFrame({"sentence": said()}))
    outside = partial(internal_and_external, rows, how.all_metrics, methods)
    return ReportNumbers(
        frame,
        methods,
        how.primary,
        list(sentences["sentence"]),
        list(parts),
        store("external", outside) if any(map(is_external, rows)) else pd.DataFrame(),
    )


def _read(items: Sequence[Scored]) -> Iterator[Predictions]:
    """Give all that numbers of runs come from: of external ones also whose validation is used."""
    for run, _ in items:
        yield run
        if run.validated is not run:
            yield run.validated


@dataclass(frozen=True)
class _How:
    """What is computed, and the options of intervals and of scoring."""

    primary: str
    metrics: tuple[str, ...]
    options: dict[str, Any]
    scoring: dict[str, Any]
    benefit: tuple[float, ...]

    @property
    def resampled(self) -> dict[str, Any]:
        """What else than the split says which rows are scored."""
        return {name: value for name, value in self.scoring.items() if name != "split"}

    @property
    def all_metrics(self) -> list[str]:
        return list(dict.fromkeys([*self.metrics, self.primary]))


@dataclass(frozen=True)
class _Store:
    """The stored tables of one data set."""

    folder: Path
    number: int
    given: list[Any]

    @property
    def is_new(self) -> bool:
        """Whether nothing at all was kept of this data set."""
        return not any(self.folder.glob(f"*-{self.number}.parquet"))

    def __call__(
        self, what: str, compute: Callable[[], pd.DataFrame], *more: object
    ) -> pd.DataFrame:
        path = self.folder / f"{what}-{self.number}.parquet"
        return read_or_compute(path, [what, STAGES["statistics"], *self.given, *more], compute)


@dataclass(frozen=True)
class _Dataset:
    """What is computed of one data set; every table is computed once, and then read."""

    items: Sequence[Scored]
    methods: list[Method]
    how: _How
    store: _Store
    embeddings: Mapping[str, Mapping[str, Embedded]]
    clinical: Mapping[str, Any]
    by: Sequence[Asked] = ()

    def numbers(self) -> tuple[pd.DataFrame, pd.DataFrame, DatasetNumbers]:
        """Give scores by run and by method, each with the majority class, and all else."""
        others = self.others()
        frame, by_method = others.pop("runs"), others.pop("methods")
        subgroups, without = self.subgroups(by_method)
        digests = {name: one.digest() for name, one in self._embedded.items()}
        part = DatasetNumbers(
            self.methods[0].dataset,
            digest_of([self.store.given, digests, dict(self.clinical), subgroups.to_csv()]),
            self.methods,
            method_titles(by_method),
            curves=self.curves(),
            subgroups=subgroups,
            without=without,
            **others,
        )
        return frame, by_method, part

    def curves(self) -> pd.DataFrame:
        """Compute ROC, precision-recall and decision curves, the longest of the tables."""
        return self.store(
            "curves",
            lambda: pd.concat(
                [
                    table
                    for one in self.methods
                    for table in (
                        roc_and_precision_recall(one, self._seed),
                        net_benefit(one, self._seed),
                    )
                ]
            ),
        )

    def subgroups(self, by_method: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """Score subgroups of the best methods; say which columns the data set has not."""
        if not self.by:
            return pd.DataFrame(), []
        primary = self.how.primary
        own = by_method[by_method["metric"] == primary]
        estimates = dict(zip(own["run"], own["estimate"], strict=True))
        runs = chosen_runs(self.methods, estimates, primary)
        known, values, without = known_columns(runs[0], self.by)
        if not known:
            return pd.DataFrame(), without
        table = self.store(
            "subgroups",
            lambda: tabulate_subgroups(runs, known, primary, seed=self._seed),
            values.to_csv(),
            [vars(one) for one in known],
        )
        return table, without

    def others(self) -> dict[str, pd.DataFrame]:
        """Compute the tables that are not `curves`."""
        methods, how, store, seed = self.methods, self.how, self.store, self._seed
        names, primary = how.all_metrics, how.primary
        of_a_class = [f"{kind}[{c}]" for c in methods[0].sample.classes for kind in OF_A_CLASS]
        compared = cache(lambda: compare_all(methods, primary, seed=seed))
        frame = store("runs", lambda: tabulate(self.items, metrics=names, **how.options)[0])
        computed: dict[str, Callable[[], pd.DataFrame]] = {
            "methods": lambda: _with_majority(tabulate_methods(methods, names, how.options), frame),
            "marks": lambda: mark_best(methods, primary, seed=seed, compared=compared()),
            "pairs": lambda: comparison_frame(compared(), Options(primary, seed=seed)),
            "freezing": lambda: frozen_against_unfrozen(self.items, primary, seed=seed),
            "classes": lambda: tabulate_methods(methods, of_a_class, how.options),
            "reliability": lambda: pd.concat(
                [reliability_of(one, seed=seed, **how.resampled) for one in methods]
            ),
            "benefit": lambda: benefit_frame(methods, how.benefit),
            "calibration": lambda: calibration_frame(
                [one.runs[0] for one in methods], **how.resampled
            ),
            "mistakes": lambda: confident_mistakes(methods, how.scoring.get("split", "test")),
        }
        tables = {what: store(what, compute) for what, compute in computed.items()}
        asked = {"seed": seed, **self.clinical, "scoring": how.scoring}
        points = store("operating", lambda: points_of_methods(methods, asked), dict(self.clinical))
        maps = _maps(store, self._embedded, seed)
        return {"runs": frame, **tables, "operating": points, "maps": maps}

    @property
    def _seed(self) -> int:
        return int(self.how.options.get("seed", 0))

    @property
    def _embedded(self) -> Mapping[str, Embedded]:
        return self.embeddings.get(self.methods[0].dataset, {})


def _with_majority(by_method: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    majority = frame[frame["head"] == MAJORITY_HEAD].assign(n_seeds=0, seeds="").astype(object)
    whole = pd.concat([by_method, majority], ignore_index=True)
    return whole.astype(dict.fromkeys(SHARES, "float64") | dict.fromkeys(COUNTS, "int64"))


def _maps(store: _Store, embeddings: Mapping[str, Embedded], seed: int) -> pd.DataFrame:
    if not embeddings:
        return pd.DataFrame()
    digests = {name: one.digest() for name, one in embeddings.items()}
    return store(
        "maps",
        lambda: pd.concat([project(name, one, seed=seed) for name, one in embeddings.items()]),
        digests,
        umap_version(),
    )


def _by_dataset(rows: Sequence[Scored]) -> list[list[Scored]]:
    parts: dict[str, list[Scored]] = {}
    for run, sample in rows:
        parts.setdefault(str(run.meta["dataset"] or ""), []).append((run, sample))
    return list(parts.values())
