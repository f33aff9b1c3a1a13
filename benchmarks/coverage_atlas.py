"""How often each interval covers: a simulation over a grid of situations, made to be resumed.

    python benchmarks/coverage_atlas.py run FOLDER [--chunks 20] [--part 0/2]
    python benchmarks/coverage_atlas.py ranking FOLDER [--chunks 20] [--part 0/2]
    python benchmarks/coverage_atlas.py summary FOLDER docs/coverage.csv.gz docs/coverage.png

The situations are those of `situations.py`. A chunk is 100 trials of a cell, its own file, written
whole; chunk 0 of every cell comes before chunk 1 of any, so that a run that is stopped has covered
the grid evenly. 20 chunks are 2,000 trials a cell.

`run` scores metrics of the confusion matrix, log loss and Brier score, all trials of a chunk at
once; `ranking` scores ROC AUC and average precision of the cells with two classes, whose every
replicate is a sum over sorted rows and costs far more. Two things are shared to save time: the
bootstrap's draws of units serve the trials of a chunk, so that a cell of c chunks has seen c
independent sets of draws, and `replicate-mean`, which draws images, is tried in the first chunks.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtrit
from situations import (
    COUNTED,
    MEANS,
    UNITS,
    Cell,
    confusions,
    grid,
    losses,
    make_images,
    margins,
    metrics_of_margins,
    push_of,
    true_ranking,
    true_values,
)

from frostline.report.statistics.intervals.bounds import MOST_UNDEFINED, TAIL, jackknife_scale
from frostline.report.statistics.intervals.flags import (
    BY_CLASS,
    FEWEST_CALLED,
    FEWEST_FLAWLESS,
    FEWEST_IMAGES,
    FEWEST_IN_AVERAGES,
    FEWEST_OF_A_CLASS,
    FEWEST_UNITS,
    FEWEST_WRONG,
    FEWEST_WRONG_OF_LOSSES,
    LOSSES,
    MANY_OF_A_CLASS,
    MANY_UNITS,
    MANY_WRONG,
    MOST_UNKNOWN,
    RAREST_DECIDES,
)
from frostline.report.statistics.intervals.reasons import says_nothing
from frostline.report.statistics.metrics import find_metric, of_probabilities
from frostline.report.statistics.resampling.units import draw_units

TRIALS, REPLICATES = 100, 1_000
# Trials held at once: their replicates stay in the processor's cache.
BLOCK = 5
COLUMNS = 125
PAPER_CHUNKS = 4
PAPER = ("accuracy", "precision_weighted")
RANKING = ("roc_auc", "average_precision")
METRICS = (*COUNTED, *MEANS)
METHODS = ("percentile", "bca", "jackknife-t", "replicate-mean")
Bounds = tuple[np.ndarray, np.ndarray]


def run_chunk(cell: Cell, number: int, push: float, truths: dict[str, float]) -> pd.DataFrame:
    """Score the trials of one chunk: a row a trial, what happened by metric and method.

    1: covered; 0: missed; -1: no interval. With the estimate and the true value beside them.
    """
    rng = cell.generator(number)
    everyone = np.zeros(cell.units, dtype=np.int64)
    drawn = draw_units(everyone, REPLICATES, rng, stratified=False).astype(np.float32)
    parts = []
    for start in range(0, TRIALS, BLOCK):
        size = min(BLOCK, TRIALS - start)
        images = make_images(cell, (size, cell.units), rng)
        logits = images.logits(push)
        units, loss = margins(images, logits), losses(images, logits, push)
        row = describe(units)
        every = evaluate_units(units, loss, np.ones((cell.units, 1)))
        left = leave_one_out(units, loss)
        values = evaluate_units(units, loss, drawn)
        for name in METRICS:
            bounds = score_metric(name, units, every[name][:, 0], left[name], values[name])
            row |= outcomes(name, every[name][:, 0], truths[name], bounds)
        if number < PAPER_CHUNKS:
            row |= _paper_kind(confusions(images, logits), truths, rng)
        parts.append(pd.DataFrame(row))
    return pd.concat(parts)


def ranking_chunk(cell: Cell, number: int, push: float, truths: dict[str, float]) -> pd.DataFrame:
    """As `run_chunk`, for ROC AUC and average precision of the last of two classes."""
    rng = cell.generator(number)
    everyone = np.zeros(cell.units, dtype=np.int64)
    drawn = draw_units(everyone, REPLICATES, rng, stratified=False).astype(np.float32)
    without = 1 - np.eye(cell.units)
    rows = []
    for _ in range(TRIALS):
        images = make_images(cell, (cell.units,), rng)
        logits = images.logits(push)
        units = margins(images, logits)[None]
        row = describe(units)
        score = (logits[..., 1] - logits[..., 0])[images.there]
        unit = np.repeat(np.arange(cell.units), images.there.sum(-1))
        order = np.argsort(-score)
        positive, unit = images.truth[unit[order]] == 1, unit[order]
        every = rank_units(positive, unit, np.ones((cell.units, 1)))
        left = rank_units(positive, unit, without)
        values = rank_units(positive, unit, drawn)
        for name in RANKING:
            bounds = score_metric(name, units, every[name], left[name][None], values[name][None])
            row |= outcomes(name, every[name], truths[name], bounds)
        rows.append(pd.DataFrame(row))
    return pd.concat(rows)


def rank_units(
    positive: np.ndarray, unit: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """`rank_rows` with units weighted [G, B], by columns that fit the processor's cache."""
    parts = [
        rank_rows(positive, weights[:, start : start + COLUMNS][unit])
        for start in range(0, weights.shape[1], COLUMNS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in RANKING}


def rank_rows(positive: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """ROC AUC and average precision of rows by falling score, weighted [n, B]: each [B].

    Scores are all different here, so that ties need no care; sums of weights are whole numbers.
    """
    above = np.cumsum(positive[:, None] * weights, axis=0)
    called = np.cumsum(weights, axis=0)
    positives, everyone = above[-1], called[-1]
    with np.errstate(all="ignore"):
        pairs = np.einsum("ib,ib->b", weights[~positive], above[~positive])
        # Precision at each positive, where the number called is that of rows so far.
        at = above[positive] / np.maximum(called[positive], 1)
        precision = np.einsum("ib,ib->b", weights[positive], at) / positives
        return {
            "roc_auc": pairs / (positives * (everyone - positives)),
            "average_precision": np.where(positives > 0, precision, 0),
        }


def evaluate_units(
    units: np.ndarray, loss: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Every metric of every trial, units weighted by each column of `weights` [G, B]: [T, B]."""
    sums = (units.reshape(-1, units.shape[-1]) @ weights).reshape(*units.shape[:-1], -1)
    total = sums[:, 0].sum(-2)
    means = (loss.reshape(-1, units.shape[-1]) @ weights).reshape(*loss.shape[:-1], -1)
    values = metrics_of_margins(sums)
    return values | {name: means[:, i] / total for i, name in enumerate(MEANS)}


def leave_one_out(units: np.ndarray, loss: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric with one unit left out: [T, G], in double precision."""
    units, loss = units.astype(np.float64), loss.astype(np.float64)
    sums = units.sum(-1, keepdims=True) - units
    means = loss.sum(-1, keepdims=True) - loss
    total = sums[:, 0].sum(-2)
    values = metrics_of_margins(sums)
    return values | {name: means[:, i] / total for i, name in enumerate(MEANS)}


def effective(weights: np.ndarray) -> np.ndarray:
    """Units [..., G] of unequal weight as equal ones: [...]."""
    weights = weights.astype(np.float64)
    squares = (weights**2).sum(-1)
    return np.divide(weights.sum(-1) ** 2, squares, out=np.zeros(squares.shape), where=squares > 0)


def describe(units: np.ndarray) -> dict[str, np.ndarray]:
    """What `flags` and `auto` look at, of margins [T, 3, K, G]: counts are of effective units."""
    true, called, right = units[:, 0], units[:, 1], units[:, 2]
    images, support = true.sum(1), true.sum(-1)
    of_class, calls = effective(true), effective(called)
    flawless, exact = support == right.sum(-1), called.sum(-1) == right.sum(-1)
    # One answer to all calls the others nothing, whatever the sample.
    constant = ((calls > 0).sum(-1) == 1)[:, None] & (calls == 0)
    doubtful = (calls > 0) & (calls < FEWEST_CALLED)
    weights = support / support.sum(-1, keepdims=True)
    return {
        "effective": effective(images),
        "least": _least(of_class),
        "least_called": _least(calls),
        "least_both": _least(np.where(calls > 0, np.minimum(of_class, calls), of_class / 2)),
        "fewest": of_class.min(-1),
        "fewest_called": np.where(constant, np.inf, calls).min(-1),
        "rare": of_class[:, 0],
        "others": effective(images - true[:, 0]),
        "wrong": effective(images - right.sum(1)),
        "flawless": np.where(flawless, of_class, np.inf).min(-1),
        "flawless_called": np.where(exact & (calls > 0), calls, np.inf).min(-1),
        "rare_flawless": flawless[:, 0],
        "doubtful_macro": doubtful.mean(-1),
        "doubtful_weighted": (weights * doubtful).sum(-1),
        "answers": (called.sum(-1) > 0).sum(-1),
    }


def _least(units: np.ndarray) -> np.ndarray:
    """The fewest units of a class [T, K] that has some."""
    return np.where(units > 0, units, np.inf).min(-1)


def weigh(name: str, units: np.ndarray) -> np.ndarray:
    """How much of a metric rests on each unit: as `unit_weights`, of margins [T, 3, K, G]."""
    true = units[:, 0].astype(np.float64)
    if name == "recall[0]":
        return true[:, 0]
    if name == "specificity[0]":
        return true[:, 1:].sum(1)
    if not find_metric(name).macro:
        return true.sum(1)
    total = true.sum(-1, keepdims=True)
    return np.divide(true, total, out=np.zeros(true.shape), where=total > 0).sum(1)


def score_metric(
    name: str, units: np.ndarray, centre: np.ndarray, left: np.ndarray, values: np.ndarray
) -> dict[str, Bounds]:
    """Low and high [T] of every method, of estimates [T], left-out values and replicates.

    `units` are the margins [T, 3, K, G].
    """
    ordered = np.sort(values, axis=-1)
    skewed = of_probabilities(name) & ~np.isclose(effective(units[:, 0].sum(1)), units.shape[-1])
    return {
        "percentile": percentile(ordered),
        "bca": bca(ordered, centre, left),
        "jackknife-t": _with_width(
            jackknife(centre, left, weigh(name, units), skewed, jackknife_scale(name)), units
        ),
    }


def _with_width(bounds: Bounds, units: np.ndarray) -> Bounds:
    """No interval where leaving out any unit changes nothing, but of one answer given to all."""
    low, high = bounds
    constant = (units[:, 1].sum(-1) > 0).sum(-1) == 1
    none = (high - low < 1e-9) & ~constant
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def percentile(ordered: np.ndarray) -> Bounds:
    """As `intervals.percentile_bounds`, of sorted replicates [T, B], undefined ones last."""
    tails = np.broadcast_to(np.array([TAIL, 1 - TAIL]), (len(ordered), 2))
    low, high = _quantiles(ordered, tails).T
    return low, high


def bca(ordered: np.ndarray, centre: np.ndarray, left: np.ndarray) -> Bounds:
    """As `intervals.bca`; replicates are in single precision, so that ties are wider."""
    there = (~np.isnan(ordered)).sum(-1)
    near = np.abs(ordered - centre[:, None]) < 2e-6
    with np.errstate(all="ignore"):
        below = ((ordered < centre[:, None]) & ~near).sum(-1) + near.sum(-1) / 2
        below = below / there
        apart = left.mean(-1, keepdims=True) - left
        spread = (apart**2).sum(-1)
        bias = ndtri(below)
        acceleration = (apart**3).sum(-1) / (6 * spread**1.5)
        reach = bias[:, None] + ndtri(np.array([TAIL, 1 - TAIL]))
        levels = ndtr(bias[:, None] + reach / (1 - acceleration[:, None] * reach))
    low, high = _quantiles(ordered, levels).T
    refused = np.isnan(left).any(-1) | (spread < 1e-24) | (below <= 0) | (below >= 1)
    return np.where(refused, np.nan, low), np.where(refused, np.nan, high)


def jackknife(
    centre: np.ndarray,
    left: np.ndarray,
    weights: np.ndarray,
    skewed: np.ndarray,
    bounds: tuple[float, float] | None,
) -> Bounds:
    """As `intervals.jackknife_bounds`, of left-out values and weights [T, G]; `skewed` is [T]."""
    units, equal = left.shape[-1], effective(weights)
    squares = (left - left.mean(-1, keepdims=True)) ** 2
    with np.errstate(all="ignore"):
        df = np.where(
            skewed, np.minimum(equal - 1, np.maximum(effective(squares) - 1, 1)), equal - 1
        )
        factor = ((units - 1) / units) ** 2 * equal / (equal - 1)
        reach = stdtrit(df, 1 - TAIL) * np.sqrt(factor * squares.sum(-1))
    if bounds is None:
        return centre - reach, centre + reach
    if np.isinf(bounds[1]):
        return centre * np.exp(-reach / centre), centre * np.exp(reach / centre)
    width = bounds[1] - bounds[0]
    share = (centre - bounds[0]) / width
    with np.errstate(all="ignore"):
        logit = np.log(share / (1 - share))
        reach = reach / width / (share * (1 - share))
        low, high = (bounds[0] + width / (1 + np.exp(-(logit + s * reach))) for s in (-1, 1))
    edge = (share < 1e-9) | (share > 1 - 1e-9)
    return np.where(edge, np.nan, low), np.where(edge, np.nan, high)


def outcomes(
    name: str, centre: np.ndarray, truth: float, bounds: dict[str, Bounds]
) -> dict[str, np.ndarray]:
    """1: covered, 0: missed, -1: no interval; by metric and method."""
    row: dict[str, np.ndarray] = {f"{name}|estimate": centre}
    for method, (low, high) in bounds.items():
        held = (low - 1e-6 <= truth) & (truth <= high + 1e-6)
        none = np.isnan(low) | says_nothing(low, high, jackknife_scale(name))
        row[f"{name}|{method}"] = np.where(none, -1, held)
        row[f"{name}|{method}|width"] = high - low
    return row | {f"{name}|truth": np.full(len(centre), truth)}


def _paper_kind(
    found: np.ndarray, truths: dict[str, float], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """`replicate-mean` of each trial's confusion matrix [T, K, K]: images are drawn."""
    out: dict[str, list[int]] = {f"{name}|replicate-mean": [] for name in PAPER}
    for confusion in found:
        total = confusion.sum()
        drawn = rng.multinomial(total, confusion.ravel() / total, size=REPLICATES)
        drawn = drawn.reshape(-1, *confusion.shape).astype(np.float64)
        diagonal = np.diagonal(drawn, axis1=1, axis2=2)
        sums = np.stack([drawn.sum(2), drawn.sum(1), diagonal], 1).transpose(1, 2, 0)
        for name, values in metrics_of_margins(sums, PAPER).items():
            half = 1.96 * np.std(values, ddof=1) / np.sqrt(5_000)
            out[f"{name}|replicate-mean"].append(int(abs(values.mean() - truths[name]) <= half))
    return {key: np.array(values) for key, values in out.items()}


def _quantiles(ordered: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles [T, L] at levels [T, L] of sorted rows, NaN where too many are undefined."""
    undefined = np.isnan(ordered).sum(-1)
    there = ordered.shape[-1] - undefined
    place = np.clip(np.nan_to_num(levels), 0, 1) * (there - 1)[:, None]
    place = np.maximum(place, 0)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, np.maximum(there - 1, 0)[:, None])
    low, high = (np.take_along_axis(ordered, at, -1) for at in (lower, upper))
    out = low + (place - lower) * (high - low)
    return np.where((undefined > MOST_UNDEFINED * ordered.shape[-1])[:, None], np.nan, out)


def run(folder: Path, chunks: int, part: tuple[int, int], cells: list[Cell] | None = None) -> None:
    """Do every chunk that has no file yet, of this process's share of the cells."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(chunks):
        for index, cell in enumerate(grid() if cells is None else cells):
            path = folder / f"{index:04d}-{number:03d}.parquet"
            if index % part[1] != part[0] or path.exists():
                continue
            push = push_of(cell.classes, cell.accuracy, cell.grouped)
            _write(run_chunk(cell, number, push, true_values(cell)), path)


def run_ranking(folder: Path, chunks: int, part: tuple[int, int]) -> None:
    """As `run`, for the cells with two classes; the dearest, 600 patients, come last."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = [(i, cell) for i, cell in enumerate(grid()) if cell.classes == 2]
    dear = [item for item in cells if item[1].grouped and item[1].units == max(UNITS)]
    for batch in ([item for item in cells if item not in dear], dear):
        for number in range(chunks):
            for index, cell in batch:
                path = folder / f"ranking-{index:04d}-{number:03d}.parquet"
                if index // 2 % part[1] != part[0] or path.exists():
                    continue
                push = push_of(cell.classes, cell.accuracy, cell.grouped)
                _write(ranking_chunk(cell, number, push, true_ranking(cell)), path)


def _write(table: pd.DataFrame, path: Path) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    table.astype(np.float32).to_parquet(temporary)
    temporary.replace(path)


def summarise(folder: Path) -> pd.DataFrame:
    """A row a cell, metric and method: how often an interval was given, flagged, and covered."""
    rows = []
    for index, cell in enumerate(grid()):
        for names, pattern in ((METRICS, f"{index:04d}-*"), (RANKING, f"ranking-{index:04d}-*")):
            files = sorted(folder.glob(f"{pattern}.parquet"))
            if files:
                table = pd.concat([pd.read_parquet(file) for file in files])
                rows += [row for name in names for row in _summary(cell, name, table)]
    return pd.DataFrame(rows)


def _summary(cell: Cell, name: str, table: pd.DataFrame) -> list[dict[str, float | str]]:
    flagged, rows = flags(cell, name, table), []
    outcome = {m: table[f"{name}|{m}"].to_numpy() for m in METHODS if f"{name}|{m}" in table}
    outcome["auto"] = auto_outcome(cell, name, table)
    for method, values in outcome.items():
        # `replicate-mean` was tried in the first chunks only.
        there = ~np.isnan(values)
        values, marked = values[there], flagged[there]
        given = values >= 0
        clean = given & ~marked
        rows.append(
            cell.about
            | {
                "metric": name,
                "method": method,
                "trials": len(values),
                "given": given.mean(),
                "covered": _share(values[given]),
                "unflagged": clean.mean(),
                "covered_unflagged": _share(values[clean]),
            }
        )
    return rows


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def auto_outcome(cell: Cell, name: str, table: pd.DataFrame) -> np.ndarray:
    """What `auto` did in each trial, from what its methods did: as `intervals.choose_method`."""
    centre, truth = table[f"{name}|estimate"].to_numpy(), table[f"{name}|truth"].iloc[0]
    units = trials_of(name, table)
    many = (table["effective"] >= MANY_UNITS) & (table["wrong"] >= MANY_WRONG)
    many &= units >= MANY_OF_A_CLASS
    out = np.where(many, table[f"{name}|percentile"], table[f"{name}|jackknife-t"])
    scale = find_metric(name).bounds
    if scale is not None:
        lowest, highest = scale
        trials = table["least"].to_numpy() if name in RAREST_DECIDES else units
        width = highest - lowest
        reach = width * TAIL ** (1 / (width * np.maximum(trials, 1e-9)))
        top = truth >= lowest + reach - 1e-6
        bottom = truth <= highest - reach + 1e-6
        edge = (centre < lowest + 1e-6) | (centre > highest - 1e-6)
        given = (trials > 0) & ~says_nothing(lowest + reach, np.full(len(reach), highest), scale)
        exact = np.where(given, np.where(centre > (lowest + highest) / 2, top, bottom), -1)
        out = np.where(edge, exact, out)
    if name.startswith("precision"):
        out = np.where(table[f"doubtful_{name[10:]}"] >= MOST_UNKNOWN - 1e-6, -1, out)
    return out


def trials_of(name: str, table: pd.DataFrame) -> np.ndarray:
    """As `flags.trials`."""
    column = "effective"
    if find_metric(name).macro:
        by_call = {"precision_macro": "least_called", "f1_macro": "least_both"}
        column = by_call.get(name, "least")
    elif "[" in name:
        column = "others" if name.startswith("specificity") else "rare"
    return table[column].to_numpy()


def flags(cell: Cell, name: str, table: pd.DataFrame) -> np.ndarray:
    """Which trials `report.flags` marks."""
    fewest = FEWEST_WRONG_OF_LOSSES if name in LOSSES else FEWEST_WRONG
    out = (table["effective"].to_numpy() < FEWEST_UNITS) | (table["wrong"].to_numpy() < fewest)
    out |= cell.units < FEWEST_IMAGES and not cell.grouped
    macro, one = find_metric(name).macro, "[" in name
    if not (macro or one or name in BY_CLASS):
        return out
    least, unseen = table["fewest"], table["flawless"] < FEWEST_FLAWLESS
    if one:
        least, unseen = table["rare"], (table["rare"] < FEWEST_FLAWLESS) & table["rare_flawless"]
    fewest = FEWEST_OF_A_CLASS if macro or one else FEWEST_IN_AVERAGES
    out |= np.asarray(least < fewest) | np.asarray((macro or one) & unseen.astype(bool))
    if name.startswith(("precision", "f1")):
        out |= table["fewest_called"].to_numpy() < fewest
    if name.startswith("precision"):
        out |= table["flawless_called"].to_numpy() < FEWEST_FLAWLESS
    return out


def as_markdown(table: pd.DataFrame) -> str:
    """The table of `docs/statistics.md`: mean and worst coverage by metric and number of units."""
    lines = [
        "| metric | units | percentile | bca | jackknife-t | auto, not flagged | cells |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (name, units), part in table.groupby(["metric", "units"], sort=False):
        cells = []
        for method in ("percentile", "bca", "jackknife-t"):
            one = part[(part["method"] == method) & (part["given"] >= 0.5)]["covered"]
            cells.append(f"{100 * one.mean():.0f} ({100 * one.min():.0f})" if len(one) else "–")
        auto = part[(part["method"] == "auto") & (part["unflagged"] >= 0.5)]["covered_unflagged"]
        text = f"{100 * auto.mean():.0f} ({100 * auto.min():.0f}–{100 * auto.max():.0f})"
        cells.append(text if len(auto) else "all flagged")
        lines.append(f"| {name} | {units} | {' | '.join(cells)} | {len(auto)} |")
    return "\n".join(lines) + "\n"


def draw(table: pd.DataFrame, path: Path) -> None:
    """The picture: coverage of each method by number of units, a dot a cell."""
    from matplotlib.figure import Figure

    names = ("accuracy", "precision_weighted", "f1_weighted", "balanced_accuracy")
    methods = {
        "percentile": "#D55E00",
        "bca": "#CC79A7",
        "jackknife-t": "#0072B2",
        "auto": "#009E73",
    }
    figure = Figure(figsize=(10, 7.2), layout="constrained")
    for axes, name in zip(figure.subplots(2, 2, sharey=True).flat, names, strict=True):
        for place, (method, colour) in enumerate(methods.items()):
            part = table[(table["metric"] == name) & (table["method"] == method)]
            column = "covered_unflagged" if method == "auto" else "covered"
            part = part[part["unflagged" if method == "auto" else "given"] >= 0.5]
            x = part["units"].map({u: i for i, u in enumerate(UNITS)}) + (place - 1.5) * 0.2
            label = f"{method}, not flagged" if method == "auto" else method
            axes.plot(x, 100 * part[column], ".", color=colour, alpha=0.35, markersize=5)
            middle = part.groupby("units")[column].mean()
            axes.plot(
                [UNITS.index(u) + (place - 1.5) * 0.2 for u in middle.index],
                100 * middle,
                "_",
                color=colour,
                markersize=16,
                markeredgewidth=3,
                label=label,
            )
        axes.axhspan(92, 97, color="#7f7f7f", alpha=0.2, linewidth=0)
        axes.axhline(95, color="#7f7f7f", linewidth=0.8)
        axes.set(
            xticks=range(len(UNITS)),
            xticklabels=UNITS,
            ylim=(60, 101),
            title=find_metric(name).title,
        )
    figure.supxlabel("Units (images or patients) in the test set")
    figure.supylabel("Trials in which the 95% interval held the true value (%)")
    figure.axes[0].legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "ranking", "summary"])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--part", default="0/1", help="this process's share of the cells")
    options = parser.parse_args()
    first, _, of = options.part.partition("/")
    if options.what == "run":
        run(options.paths[0], options.chunks, (int(first), int(of)))
    elif options.what == "ranking":
        run_ranking(options.paths[0], options.chunks, (int(first), int(of)))
    else:
        folder, csv, picture = options.paths
        table = summarise(folder)
        table.to_csv(csv, index=False, float_format="%.4g", lineterminator="\n")
        draw(table, picture)
        print(as_markdown(table), end="")


if __name__ == "__main__":
    main()
