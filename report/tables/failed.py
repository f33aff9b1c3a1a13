"""Runs that have no predictions, in the tables where their scores would stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from frostline.report.statistics.evaluation import MAJORITY_HEAD
from frostline.report.statistics.names import freeze_word, trained_word, weights_word
from frostline.report.tables.layout import Block, Grid, Row, Score

FAILED = Score("failed", "")


@dataclass(frozen=True)
class Failed:
    """The seeds of a method that failed alike.

    Attributes
    ----------
    dataset, backbone, unfreeze, weights : str
        As runs say them of themselves.
    details : str
        What tells the method apart: the name of its protocol.
    seeds : tuple of int
        Those that failed.
    alone : bool
        Whether no other row shows the method: no seed succeeded, and this is the first of its
        sentences.
    sentence : str
        Why.
    """

    dataset: str
    backbone: str
    unfreeze: str
    weights: str
    details: str
    seeds: tuple[int, ...]
    alone: bool
    sentence: str

    def row(self, metrics: int) -> Row:
        """A row without scores."""
        details = ", ".join(filter(None, [weights_word(self.weights, self.unfreeze), self.details]))
        ways = freeze_word(self.unfreeze), trained_word(self.unfreeze)
        return Row("", self.backbone, *ways, details, (FAILED,) * metrics)

    def footnote(self) -> str:
        """What failed and why."""
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        return f"Failed: {self.dataset}, {self.backbone}, {self.details}, {seeds}. {self.sentence}"


def with_failed(grid: Grid, failed: Sequence[Failed]) -> Grid:
    """A table with a row for every method that failed, above the majority class, and footnotes."""
    blocks = {block.dataset: list(block.rows) for block in grid.blocks}
    for one in failed:
        if one.alone:
            rows = blocks.setdefault(one.dataset, [])
            end = len(rows) - bool(rows and rows[-1].model == MAJORITY_HEAD)
            rows.insert(end, one.row(len(grid.headings)))
    return replace(
        grid,
        blocks=tuple(Block(dataset, tuple(rows)) for dataset, rows in blocks.items()),
        footnotes=(*grid.footnotes, *(one.footnote() for one in failed)),
    )
