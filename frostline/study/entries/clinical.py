"""The entry `clinical` of a study file."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from frostline.cache.validation import ClassName


class ClinicalEntry(BaseModel, extra="forbid", allow_inf_nan=False):
    """What the page of a study shows as operating points; it decides no run.

    Attributes
    ----------
    threshold : str or float
        The rule that chooses it on validation, or a number, as `frostline evaluate --threshold`.
    prevalence : float, optional
        Of the positive class where the model will be used.
    positive : str, optional
        The positive class, against all others, of every data set that has it. Of other data sets of
        two classes it is the last.
    """

    threshold: str | float = "youden"
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None = None
    positive: ClassName | None = None

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
        return {name: value for name, value in self.model_dump().items() if value is not None}
