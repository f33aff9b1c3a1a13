"""What `evaluate` shows instead of scores, such as operating points and subgroups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frostline.commands.options import Idle

if TYPE_CHECKING:
    from frostline.report import Predictions

# Each a field of `ClinicalOptions`, and what it shows.
MODES = ("threshold", "net_benefit", "calibration", "by")
# What acts on scores alone: which they are, and how they are put together.
OF_SCORES = ("ci", "metric", "stratified", "against", "over")


def is_number(rule: str | None) -> bool:
    """Say whether a threshold is a number, fixed beforehand, so that nothing is drawn again."""
    try:
        return rule is not None and float(rule) >= 0
    except ValueError:
        return False


IDLE_IN_MODES: Idle = {
    **{(mode, bool): OF_SCORES for mode in MODES},
    ("by", bool): tuple(name for name in OF_SCORES if name != "metric"),
    ("threshold", is_number): ("replicates",),
    # Their intervals draw nothing that can be seeded.
    **{(mode, bool): (*OF_SCORES, "replicates", "seed") for mode in ("net_benefit", "calibration")},
}


@dataclass(frozen=True)
class ClinicalOptions:
    """What is shown instead of scores, one at a time (docs/clinical.md)."""

    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Operating points instead, their thresholds chosen on validation: youden, "
            "sensitivity=0.95, specificity=0.9 or cost=5 (of a missed positive, in false calls); "
            "or a threshold such as 0.5.",
        ),
    ] = None
    prevalence: Annotated[
        float | None,
        typer.Option(help="With --threshold: predictive values at this prevalence too, 0.02."),
    ] = None
    net_benefit: Annotated[
        str | None,
        typer.Option(
            metavar="THRESHOLDS", help="Net benefit instead, at these thresholds: 0.05,0.1,0.2."
        ),
    ] = None
    calibration: Annotated[
        bool,
        typer.Option(
            "--calibration",
            help="Calibration instead, before and after temperature scaling on validation.",
        ),
    ] = False
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Scores of subgroups instead, by columns of the manifest: sex,age:20:60,site.",
        ),
    ] = None
    figure: Annotated[
        Path | None,
        typer.Option(help="With --by: draw them as a forest plot, .pdf, .png or .svg."),
    ] = None

    def mode(self) -> str | None:
        """Name what is shown instead of scores; None for scores.

        Raises
        ------
        InputError
            If two things are asked for at once, or a prevalence of no operating point.
        """
        from frostline.cache.errors import InputError

        # An empty text is a mistake of its own, and no wish for scores.
        asked = [name for name in MODES if getattr(self, name) not in (None, False)]
        if len(asked) > 1:
            options = " and ".join(f"--{name.replace('_', '-')}" for name in asked)
            raise InputError(f"{options} are tables of their own: ask for one at a time.")
        if self.prevalence is not None and asked != ["threshold"]:
            raise InputError("--prevalence is of operating points: give --threshold too.")
        if self.figure is not None and asked != ["by"]:
            raise InputError("--figure draws subgroups: give --by too.")
        return asked[0] if asked else None

    def render(
        self,
        mode: str,
        predictions: Sequence[Predictions],
        scoring: dict[str, Any],
        format: str,
        *,
        metrics: Sequence[str] | None = None,
        **drawing: Any,
    ) -> str:
        """Compute what `mode` names and write it; `drawing` is `replicates` and `seed`."""
        if mode == "threshold":
            from frostline.report.clinical.operating import operating_points
            from frostline.report.clinical.operating_table import render_operating

            rule = {"threshold": self.threshold, "prevalence": self.prevalence}
            points = operating_points(predictions, **rule, **scoring, **drawing)  # type: ignore[arg-type]
            return render_operating(points, format)
        if mode == "net_benefit":
            from frostline.report.clinical.benefit import net_benefit, parse_thresholds
            from frostline.report.clinical.tables import render_benefit

            at = parse_thresholds(self.net_benefit or "")
            return render_benefit(net_benefit(predictions, thresholds=at, **scoring), format)
        if mode == "calibration":
            from frostline.report.clinical.calibration import calibration
            from frostline.report.clinical.tables import render_calibration

            return render_calibration(calibration(predictions, **scoring), format)
        return self._subgroups(predictions, metrics, {**scoring, **drawing}, format)

    def _subgroups(
        self,
        predictions: Sequence[Predictions],
        metrics: Sequence[str] | None,
        scoring: dict[str, Any],
        format: str,
    ) -> str:
        from frostline.cache.errors import InputError
        from frostline.commands.groups import check_figure
        from frostline.report.clinical.subgroups.scores import subgroups
        from frostline.report.clinical.subgroups.table import render_subgroups

        if metrics and len(metrics) > 1:
            raise InputError("--by compares subgroups by one --metric: give one at a time.")
        check_figure(self.figure)
        metric = metrics[0] if metrics else "accuracy"
        frame = subgroups(predictions, by=self.by or "", metric=metric, **scoring)
        if self.figure is not None:
            from frostline.console import say
            from frostline.report.figures import save_figure
            from frostline.report.figures.subgroups import subgroup_figure

            save_figure(subgroup_figure(frame), self.figure)
            say(f"Drew the subgroups in {self.figure}.")
        return render_subgroups(frame, format)
