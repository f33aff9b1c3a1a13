"""`frostline run --dry-run`: the plan of a study as a table, and what it takes in all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from frostline.cache import Workspace
from frostline.cache.tables.words import counted
from frostline.study.costs.estimate import estimate_plan
from frostline.study.file import Study
from frostline.study.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

    from frostline.report.tables.table import Table

# Weights, the best ones, the optimiser's two moments: what a fine-tuned run holds while it trains.
CHECKPOINT = 4


def show_plan(workspace: Workspace, study: Study, plan: Plan) -> bool:
    """Print the plan of a study and what it takes; return whether every run can start.

    What was measured is noted; nothing else is done.
    """
    from frostline.console import console, say
    from frostline.report.tables.writers.terminal import to_terminal

    for sentence in [*plan.left_out, *plan.said]:
        say(sentence)
    out = console("out")
    table = estimate_plan(workspace, study, plan)
    text = to_terminal(plan_table(table), out.width)
    out.print(text, markup=False, highlight=False, end="")
    device, _ = study.machine().resolve()
    for line in [*say_sums(workspace, table, device), *_to_fetch(plan)]:
        out.print(line, markup=False)
    return not (table["state"] == "cannot start").any()


def _to_fetch(plan: Plan) -> Iterator[str]:
    """Name in a sentence the weights that have to come through the network first."""
    without = [step for step in plan.steps if step.inputs.get("weights") == ""]
    names = list(dict.fromkeys(step.cell.backbone.name for step in without))
    if names:
        yield f"Weights that are not on this machine are fetched first: {', '.join(names)}."


def plan_table(plan: pd.DataFrame) -> Table:
    """Lay out `estimate_plan`, with one row for all seeds of a run."""
    from frostline.report.tables.table import Row, Table, columns, words

    rows = []
    for dataset, part in plan.groupby("dataset", sort=False):
        before = None
        for (backbone, step), alike in part.groupby(["backbone", "step"], sort=False):
            takes = _time(alike["seconds"]) if "missing" in set(alike["state"]) else ""
            # Seeds follow one another: what one takes, all do.
            sizes = _size(int(alike["disk"].sum())), _size(int(alike["memory"].max()))
            shown = "" if backbone == before else backbone
            rows.append(Row(words(shown, step, _state(alike), takes, *sizes), str(dataset)))
            before = backbone
    headings = ("Backbone", "Step", "State", "Time", "Disk", "GPU memory")
    return Table(columns(headings, left=3), tuple(rows))


def _state(rows: pd.DataFrame) -> str:
    """Give the state of one step, or of several: the seeds of a run, stores of pixels."""
    images, states = int(rows["images"].sum()), rows["state"].value_counts()
    if images and "cannot start" not in states:
        return counted(images, "image")
    if len(rows) == 1:
        return str(states.index[0])
    return ", ".join(f"{number} {state}" for state, number in states.items())


def say_sums(workspace: Workspace, table: pd.DataFrame, device: str) -> Iterator[str]:
    """Say what all steps take, what this machine has, and why some runs cannot start."""
    done = int((table["state"] == "done").sum())
    takes = _time(table["seconds"])
    yield f"{done} of {len(table)} steps are done; the others take about {takes}."
    training = table.loc[table["kind"] == "finetune", "disk"].max()
    disk = int(table["disk"].sum()) + CHECKPOINT * int(training if training == training else 0)
    folder = workspace.root if workspace.root.exists() else workspace.root.absolute().parent
    free = shutil.disk_usage(folder).free
    yield f"Disk: {_size(disk) or '0 MB'} with checkpoints, of {_size(free)} that are free."
    yield from _gpu(int(table["memory"].max()), device)
    yield "Times are of this machine: a few images through each backbone, times their number."
    for sentence, rows in table[table["state"] == "cannot start"].groupby("sentence", sort=False):
        first = "/".join(part for part in rows.iloc[0][["dataset", "backbone", "step"]] if part)
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        yield f"These runs cannot start: {first}{more}. {sentence}"


def _gpu(memory: int, device: str) -> Iterator[str]:
    if device.startswith("cuda"):
        import torch

        have = torch.cuda.get_device_properties(device).total_memory
        yield f"GPU memory: up to {_size(memory) or '0 MB'}, of {_size(have)}."
    elif memory:
        yield f"GPU memory: up to {_size(memory)} for training; this runs on a CPU."


def _time(each: pd.Series[float]) -> str:
    seconds = float(each.sum())
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _size(count: int) -> str:
    if not count:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 0.1):.1f} MB"
