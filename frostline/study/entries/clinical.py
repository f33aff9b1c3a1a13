"""The entry `clinical` of a study file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from frostline.cache.validation import ClassName

Probability = Annotated[float, Field(gt=0, lt=1)]


class ClinicalEntry(BaseModel, extra="forbid", allow_inf_nan=False):
    """What the page of a study shows besides scores (`docs/clinical.md`); it decides no run.

    Attributes
    ----------
    threshold : str or float
        The rule that chooses it on validation, or a number, as `frostline evaluate --threshold`.
    prevalence : float, optional
        Of the positive class where the model will be used.
    positive : str, optional
        The positive class, against all others, of every data set that has it. Of other data sets of
        two classes it is the last.
    benefit : list of float, optional
        Thresholds of net benefit.
    by : list of str
        Columns whose subgroups are scored, numbers with cut points: `[sex, "age:20:60"]`.
    """

    threshold: str | float = "youden"
    prevalence: Probability | None = None
    positive: ClassName | None = None
    benefit: Annotated[list[Probability], Field(min_length=1)] | None = None
    by: list[str] = []

    def check(self) -> None:
        """Refuse a threshold that no rule stands for.

        Raises
        ------
        InputError
            Naming the rules.
        """
        from frostline.report.clinical.thresholds import parse_rule

        parse_rule(self.threshold)

    def options(self) -> dict[str, Any]:
        """Give what `write_report` takes."""
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        alone: dict[str, Any] = {
            name: given.pop(name) for name in ("benefit", "by") if name in given
        }
        return {"clinical": given, **alone}
