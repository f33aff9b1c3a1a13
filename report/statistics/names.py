"""Names of runs and methods in words, from their metadata; a user's own words are never changed.

The one place that says how a method is called: in tables, sentences, figures and on pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from frostline.cache.tables.unfreezing import Unfreezing, is_lora, parse_unfreezing
from frostline.cache.tables.words import counted

Record = Mapping[Any, Any]
# What runs share that differ in their seed alone.
METHOD_COLUMNS = (
    *("dataset", "backbone", "protocol", "unfreeze", "feature", "head", "weights"),
    "train_fraction",
)
MAJORITY_HEAD = "majority class"
# What is scored of a cross-validation: every image by the model that did not train on it.
OUT_OF_FOLD = "out of fold"
# Marks of the best methods of a table: separated from all others, or not from each other.
ALONE, ALIKE = "alone", "alike"
# Ways of training in figures, next to the words of `trained_word`.
PARTLY, DEPTHS, ADAPTED = "part fine-tuned", "last N blocks", "LoRA"
FROM_SCRATCH = "from scratch"
# Of the frozen method against the fine-tuned one.
FREEZING_VERDICTS = {"better": "frozen better", "worse": "fine-tuned better"}
NONE = "\N{EN DASH}"  # where a table has no value
# Shown behind a model's name where rows of the same data set differ in it.
DETAILS = ("feature", "head", "protocol", "train_fraction", "run_seed")


def dataset_title(about: Record) -> str:
    """Name the data set that a run was scored on, and that of its training if it is another.

    A run that has this name for its data set already says `external`, the data set's own.
    """
    dataset = str(about.get("external") or about.get("dataset") or "")
    trained_on = str(about.get("trained_on") or "")
    if trained_on in ("", dataset):
        return dataset
    return f"{dataset} (external, trained on {trained_on})"


def weights_word(weights: object, unfreeze: str) -> str:
    """Say which weights a run began with; nothing about the ordinary ones."""
    text = str(weights or "")
    if text.startswith("random"):
        return FROM_SCRATCH if unfreeze == "all" else "random weights"
    # Of imported embeddings the feature says it.
    return "" if text in ("", "pretrained", "imported") else f"weights {text}"


def freeze_word(unfreeze: str) -> str:
    """Give the paper's Freeze column: Y, N, or what was trained, in few words."""
    if unfreeze in ("none", "all", ""):
        return {"none": "Y", "all": "N", "": NONE}[unfreeze]
    asked = parse_unfreezing(unfreeze)
    if asked is None or asked.way == "classifier":
        return unfreeze
    if asked.way == "norm":
        return "norms"
    if asked.way == "lora":
        return _adapters(asked) + f", last {asked.blocks}" * (asked.blocks > 0)
    return f"{asked.way} {asked.blocks}"


def trained_word(unfreeze: str) -> str:
    """Say how a run was trained: frozen, fine-tuned, or how much of it."""
    if unfreeze in ("none", "all", ""):
        return {"none": "frozen", "all": "fine-tuned", "": ""}[unfreeze]
    asked = parse_unfreezing(unfreeze)
    if asked is None or asked.way == "classifier":
        return f"fine-tuned ({unfreeze})"
    if asked.way == "norm":
        return "norms and biases fine-tuned"
    if asked.way == "lora":
        return _adapters(asked) + f", {_blocks(asked)}" * (asked.blocks > 0)
    return f"{_blocks(asked)} fine-tuned"


def tuning_words(unfreeze: str) -> str:
    """Say behind a backbone's name, in a sentence, how it was trained."""
    asked = parse_unfreezing(unfreeze)
    if asked is None or asked.way in ("none", "classifier"):
        return f"fine-tuned ({unfreeze})"
    if asked.way == "all":
        return "fine-tuned"
    if asked.way == "norm":
        return "with its norms and biases tuned"
    if asked.way == "lora":
        return f"with {lora_words(unfreeze)}".replace(" the ", " its ")
    return f"with its {_blocks(asked)} tuned"


def lora_words(unfreeze: str) -> str:
    """Say in a sentence what adapters there are: "LoRA of rank 8 in the last 4 blocks"."""
    asked = parse_unfreezing(unfreeze) or Unfreezing("lora")
    rank = f" of rank {asked.rank}" if asked.rank else ""
    return f"{ADAPTED}{rank}" + f" in the {_blocks(asked)}" * (asked.blocks > 0)


def _adapters(asked: Unfreezing) -> str:
    return f"{ADAPTED}, rank {asked.rank}" if asked.rank else ADAPTED


def _blocks(asked: Unfreezing) -> str:
    """Say which blocks: "last block", "first 3 blocks"."""
    end = "first" if asked.way == "first" else "last"
    return f"{end} block" if asked.blocks == 1 else f"{end} {asked.blocks} blocks"


def way_of(unfreeze: object, head: object = "", depths: Collection[str] = ()) -> str:
    """Name how a run was trained, as figures distinguish it; several `depths` are one way."""
    if len(depths) > 1 and str(unfreeze) in depths:
        return DEPTHS
    if head == MAJORITY_HEAD:
        return MAJORITY_HEAD
    if is_lora(unfreeze):
        return ADAPTED
    word = trained_word(str(unfreeze or ""))
    return word if word in ("frozen", "fine-tuned", "") else PARTLY


def again_word(split: object) -> str:
    """Say what a method was done again for: a seed, or a repeat of cross-validation."""
    return "repeat" if split == OUT_OF_FOLD else "seed"


def seeds_word(seeds: int, split: object) -> str:
    """Say over how many seeds, or repeats of cross-validation, a method was scored."""
    return counted(seeds, again_word(split))


def method_parts(about: Record) -> tuple[str, ...]:
    """Give backbone, what was trained, protocol, head, feature, weights; "" where unknown.

    `about` is a run's metadata or a table's row. All are empty where no backbone is named.
    """
    meta = {key: str(value or "") for key, value in about.items()}
    if not meta["backbone"]:
        return ("",) * 6
    return (
        meta["backbone"],
        trained_word(meta["unfreeze"]),
        meta["protocol"],
        meta["head"],
        meta["feature"],
        weights_word(meta["weights"], meta["unfreeze"]),
    )


def method_words(about: Record, otherwise: str) -> str:
    """Name a method by all its parts; `otherwise` where no backbone is named."""
    return ", ".join(word for word in method_parts(about) if word) or otherwise


def differing_names(rows: Sequence[Record]) -> tuple[list[str], str]:
    """Name each row's method by the parts in which rows differ, then say what all share.

    Each row has `dataset`, `run` and what `method_parts` reads.
    """
    parts = [(str(row.get("dataset") or ""), *method_parts(row)) for row in rows]
    if len(set(parts)) == 1:
        names = [_joined(own) or str(row["run"]) for own, row in zip(parts, rows, strict=True)]
        return _told_apart(names, rows), ""
    same = [len({own[place] for own in parts}) == 1 for place in range(len(parts[0]))]
    names = [
        _joined([word for word, known in zip(own, same, strict=True) if not known])
        or str(row["run"])
        for own, row in zip(parts, rows, strict=True)
    ]
    shared = _joined([word for word, known in zip(parts[0], same, strict=True) if known])
    return _told_apart(names, rows), shared


def _told_apart(names: Sequence[str], rows: Sequence[Record]) -> list[str]:
    """Add the run's name to names that several runs have."""
    runs: dict[str, set[str]] = {}
    for name, row in zip(names, rows, strict=True):
        runs.setdefault(name, set()).add(str(row["run"]))
    return [
        f"{name} ({row['run']})" if len(runs[name]) > 1 else name
        for name, row in zip(names, rows, strict=True)
    ]


def describe(part: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Give the model and the distinguishing details of each run of one data set, by run.

    Random weights are always named: "from scratch" where all of the backbone was trained on them.

    Parameters
    ----------
    part : DataFrame
        Rows of `evaluate`.
    """
    runs = part.drop_duplicates("run")
    models = runs[runs["head"] != MAJORITY_HEAD]
    # A head or seed is worth naming only where rows that were frozen alike differ in it.
    kinds = models[list(DETAILS)].map(str).groupby(models["unfreeze"]).nunique()
    out = {}
    for row in runs.to_dict("records"):
        if row["head"] == MAJORITY_HEAD:
            out[row["run"]] = (MAJORITY_HEAD, "")
            continue
        words = [weights_word(row["weights"], row["unfreeze"])]
        varying = [name for name in DETAILS if kinds.loc[row["unfreeze"], name] > 1]
        words += [_detail(name, row) for name in varying]
        model = str(row["backbone"]) or str(row["run"])
        out[row["run"]] = (model, _joined(words))
    return _with_run_names(out, runs)


def method_titles(by_method: pd.DataFrame) -> pd.DataFrame:
    """Name each method of a data set.

    Returns
    -------
    DataFrame
        A row for each method, by its first run's name: `run`, `title`, `short` (the same in fewer
        words), `panel` (of figures where ways of training share one), `way` (of training).
    """
    rows = []
    runs = by_method[by_method["head"] != MAJORITY_HEAD].drop_duplicates("run")
    labels = describe(by_method)
    ways = {row["run"]: way_of(row["unfreeze"]) for row in runs.to_dict("records")}
    alike = Counter((labels[run][0], way) for run, way in ways.items())
    for row in runs.to_dict("records"):
        run, word = row["run"], trained_word(row["unfreeze"])
        model, details = labels[run]
        # As short as can be: a panel is as wide as a word or three.
        partly = freeze_word(row["unfreeze"]) if ways[run] != word else ""
        scratch = weights_word(row["weights"], row["unfreeze"]) == FROM_SCRATCH
        panel = [model, *([partly, details] if alike[model, ways[run]] > 1 else [])]
        short = [model, "" if scratch else partly or word, details]
        named = (", ".join(filter(None, words)) for words in ([model, word, details], short, panel))
        rows.append((run, *named, ways[run]))
    return pd.DataFrame(rows, columns=["run", "title", "short", "panel", "way"])


def _detail(name: str, row: Record) -> str:
    value = row[name]
    if value is None or value == "" or pd.isna(value):
        return ""
    again = again_word(row.get("split"))
    words = {"train_fraction": "{:.4g} of training", "run_seed": again + " {:.0f}"}
    return words[name].format(value) if name in words else str(value)


def _with_run_names(
    labels: dict[str, tuple[str, str]], runs: pd.DataFrame
) -> dict[str, tuple[str, str]]:
    """Add the run's name to rows that would still look alike."""
    unfreeze = dict(zip(runs["run"], runs["unfreeze"], strict=True))
    looks = [(*label, unfreeze[run]) for run, label in labels.items()]
    return {
        run: (model, _joined([details, run]))
        if looks.count((model, details, unfreeze[run])) > 1
        else (model, details)
        for run, (model, details) in labels.items()
    }


def _joined(words: Sequence[str]) -> str:
    return ", ".join(word for word in words if word)
