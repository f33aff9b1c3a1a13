"""The backbones as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def backbones() -> pd.DataFrame:
    """List the backbones with short names, and which weights are on this machine.

    Returns
    -------
    DataFrame
        `backbone`, `library`, `parameters`, `dim` (length of the embedding), `features`, `weights`.

    Examples
    --------
    >>> list(frostline.backbones().columns)
    ['backbone', 'library', 'parameters', 'dim', 'features', 'weights']
    """
    import pandas as pd

    from frostline.extract.backbones.listing import list_backbones

    rows = [
        {
            "backbone": row.name,
            "library": row.library,
            "parameters": row.parameters,
            "dim": row.dim,
            "features": ", ".join(row.features),
            "weights": "at hand" if row.at_hand else "to be fetched",
        }
        for row in list_backbones()
    ]
    return pd.DataFrame(rows)
