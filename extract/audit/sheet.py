"""A sheet of pictures of what an audit flagged, for eyes to judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from frostline.cache import InputError, Manifest, atomic_write
from frostline.extract.audit.audit import Audit
from frostline.extract.images.decode import decode
from frostline.extract.images.geometry import Geometry

SIDE = 160  # pixels of a picture
CAPTION_HEIGHT = 40
SETS = 60
IN_A_ROW = 4


def picture_sheet(audit: Audit, manifest: Manifest, path: Path) -> int:
    """Write one PNG: a row for each set of duplicates or near-duplicates, the worst first.

    Parameters
    ----------
    path
        Replaced if it is there. Nothing is written if nothing was flagged.

    Returns
    -------
    How many sets are on it, of at most 60.
    """
    sets = list(_sets(audit))[:SETS]
    if not sets:
        return 0
    sheet = Image.new("RGB", (IN_A_ROW * SIDE, len(sets) * (SIDE + CAPTION_HEIGHT)), "white")
    rows = {name: row for row, name in enumerate(manifest.table["image_id"])}
    for line, (title, members) in enumerate(sets):
        for column, name in enumerate(members[:IN_A_ROW]):
            _place(
                sheet, manifest, rows[name], (column * SIDE, line * (SIDE + CAPTION_HEIGHT)), title
            )
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")
    return len(sets)


def _sets(audit: Audit) -> Iterator[tuple[str, list[str]]]:
    """Yield what to call a set and its images: across splits, then other labels, then the rest."""
    copies = audit.duplicates.assign(
        worst=2 * audit.duplicates["across_splits"] + audit.duplicates["label_conflict"]
    )
    for _, members in copies.sort_values(["worst", "copy"], ascending=[False, True]).groupby(
        "copy", sort=False
    ):
        yield "same bytes", list(members["image_id"])
    near = audit.near_duplicates
    if near is None:
        return
    worst = near.assign(worst=2 * near["across_splits"] + near["label_conflict"])
    for pair in worst.sort_values("worst", ascending=False, kind="stable").itertuples():
        yield f"{pair.distance:.0f} bits differ", [str(pair.image_id), str(pair.other_image_id)]


def _place(
    sheet: Image.Image, manifest: Manifest, row: int, corner: tuple[int, int], title: str
) -> None:
    image = manifest.table.iloc[row]
    geometry = Geometry("shorter", SIDE - 4, SIDE - 4).with_options(manifest.meta["options"])
    frame = None if pd.isna(image["frame"]) else int(image["frame"])
    left, top = corner
    try:
        pixels = decode(manifest.file(row), frame, geometry, "rgb", image["file_key"])
    except InputError:  # it cannot be read, or is not the image that was flagged
        pixels = np.full((SIDE - 4, SIDE - 4, 3), 200, np.uint8)  # grey
    sheet.paste(Image.fromarray(pixels), (left + 2, top + 2))
    texts = [f"{image['split']}, {image['label']} ({title})", str(image["image_id"])]
    for line, text in enumerate(texts):
        shown = text if len(text) <= 26 else f"...{text[-23:]}"
        place = (left + 2, top + SIDE + 16 * line)
        ImageDraw.Draw(sheet).text(place, shown, fill="black")
