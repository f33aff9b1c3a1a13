"""The temperature of a trained run, from what it predicted of its own validation images."""

from __future__ import annotations

import math
from typing import Literal

from frostline.apply.load import LoadedRun
from frostline.cache import InputError


def run_temperature(loaded: LoadedRun, aggregate: Literal["none", "mean"] = "none") -> float:
    """Fit a run's temperature on the validation rows of its own predictions file.

    Parameters
    ----------
    aggregate : str
        What is scaled: images ("none"), or the mean probabilities of each group of them ("mean").

    Raises
    ------
    InputError
        If its predictions are not there, they have no validation rows, or no temperature is best.
    """
    from frostline.report import read_predictions
    from frostline.report.clinical.temperature import fit_temperature, validation_sample

    path = loaded.folder.parent.parent / "predictions" / f"{loaded.run}.parquet"
    if not path.is_file():
        raise InputError(
            f"Run {loaded.run} has no predictions in {path}, where its temperature is fitted: name "
            "the run in its workspace, or leave out --calibrated."
        )
    found = fit_temperature(validation_sample(read_predictions(path), aggregate=aggregate))
    if math.isnan(found.value):
        why = found.notes[0].text.removeprefix("No temperature: ").removesuffix(".")
        raise InputError(
            f"Run {loaded.run} has no best temperature ({why}): leave out --calibrated."
        )
    return found.value
