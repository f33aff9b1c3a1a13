"""Clinical evidence of predictions, in Python: `docs/clinical.md`."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from frostline.names import in_python
from frostline.scoring.scores import Runs, _tables


class LabelErrors(pd.DataFrame):
    """Images ranked by how probably their label is wrong: a pandas DataFrame, one row an image.

    Columns are `rank`, `image_id`, `group_id`, `split`, `label`, `looks_like`, `self_confidence`,
    `score`, `suspicious`.
    """

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        """Say how many are suspicious, and show the first of them."""
        return f"{self._sentences()}\n{pd.DataFrame(self).query('suspicious').head(10)}"

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        from html import escape

        from frostline.report import table_html
        from frostline.report.tables.data import frame_table

        suspicious = pd.DataFrame(self).query("suspicious").drop(columns="suspicious")
        table = table_html(frame_table(suspicious, "Suspicious labels", 20))
        return f"<p>{escape(self._sentences())}</p>{table}"

    def _sentences(self) -> str:
        from frostline.report.clinical.labels import suspicious_sentence

        return f"{suspicious_sentence(self)} {self.attrs['ranked']}"


@in_python
def label_errors(predictions: Runs) -> LabelErrors:
    """Rank images by how probably their label is wrong, by confident learning.

    `Workspace.audit` shows the suspicious ones with their nearest training images.

    Parameters
    ----------
    predictions : Run, Predictions, DataFrame, path, or several of them
        Of one data set, with probabilities: out of fold (a column `fold`), or of images that were
        not trained on (`val` and `test`). Those of an image in several files are averaged.

    Returns
    -------
    LabelErrors
        A DataFrame with one row for each image, the most suspicious first. `suspicious` marks the
        candidates; `score` goes from 0, surely wrong, to 1; `attrs["estimated"]` is the number of
        wrong labels by the confident joint. `frostline.report.clinical.labels` has the definitions.

    Raises
    ------
    InputError
        If no image was held out, there are no probabilities or names of images, or cleanlab is not
        installed.

    Examples
    --------
    >>> found = frostline.label_errors(frozen)
    >>> list(found.columns[:3]), int(found["rank"].iloc[0])
    (['rank', 'image_id', 'group_id'], 1)
    """
    from frostline.report.clinical.labels import label_errors as find

    found = find(_tables(predictions))
    ranked = LabelErrors(found)
    ranked.attrs = found.attrs  # pandas does not take them along
    return ranked
