"""A sheet of pictures of what an audit flagged, for eyes to judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from frostline.cache import InputError, Manifest, atomic_write
from frostline.extract.audit.audit import Audit
from frostline.extract.audit.details import worst_first
from frostline.extract.images.decode import decode
from frostline.extract.images.geometry import Geometry

SIDE = 160  # pixels of a picture
CAPTION_HEIGHT = 56
LINE = 16
LETTERS = 26  # in a line
SETS = 60
IN_A_ROW = 4

EQUAL, NEAR, ALIKE = "equal images", "near-duplicates", "nearly equal embeddings"


class Flagged(NamedTuple):
    """Images that belong together, and why."""

    why: str
    images: Sequence[str]


class Picture(NamedTuple):
    """An image on a sheet, and up to three lines below it."""

    image_id: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Sheet:
    """What is on a sheet.

    Attributes
    ----------
    shown, flagged : dict of str to int
        How many sets of each kind are on it, and how many there are.
    """

    shown: Mapping[str, int]
    flagged: Mapping[str, int]

    def __str__(self) -> str:
        """Count the sets of each kind that it shows."""
        parts = [f"{self.shown[kind]:,} of {self.flagged[kind]:,} {kind}" for kind in self.flagged]
        return ", ".join(parts)


def picture_sheet(audit: Audit, manifest: Manifest, path: Path) -> Sheet:
    """Write one PNG: a row for each set of equal or similar images, the worst of each kind first.

    Parameters
    ----------
    path
        Replaced if it is there. Nothing is written if nothing was flagged.

    Returns
    -------
    What is on it: at most 60 sets, of which each kind has its share.
    """
    sets = {kind: found for kind, found in _sets(audit).items() if found}
    shares = _shares({kind: len(found) for kind, found in sets.items()})
    chosen = [one for kind, found in sets.items() for one in found[: shares[kind]]]
    if chosen:
        _draw(chosen, manifest, path)
    return Sheet(shares, {kind: len(found) for kind, found in sets.items()})


def _sets(audit: Audit) -> dict[str, list[Flagged]]:
    equal = audit.duplicates.groupby("copy", sort=False)  # the worst come first
    return {
        EQUAL: [
            Flagged(f"same {part['same'].iat[0]}", list(part["image_id"])) for _, part in equal
        ],
        NEAR: _pairs(audit.near_duplicates, "distance", "{:.0f} bits differ"),
        ALIKE: _pairs(audit.alike_embeddings, "cosine", "cosine {:.4f}"),
    }


def _pairs(pairs: pd.DataFrame | None, measure: str, why: str) -> list[Flagged]:
    if pairs is None:
        return []
    columns = worst_first(pairs)[[measure, "image_id", "other_image_id"]]
    return [
        Flagged(why.format(value), [one, other])
        for value, one, other in columns.itertuples(index=False)
    ]


def _shares(counts: Mapping[str, int]) -> dict[str, int]:
    """Divide the rows of the sheet evenly; what one kind does not need goes to the others.

    >>> _shares({"equal images": 100, "near-duplicates": 7})
    {'equal images': 53, 'near-duplicates': 7}
    """
    shares = dict.fromkeys(counts, 0)
    left = SETS
    while left and any(shares[kind] < counts[kind] for kind in counts):
        for kind in counts:
            if left and shares[kind] < counts[kind]:
                shares[kind] += 1
                left -= 1
    return shares


def _draw(sets: Sequence[Flagged], manifest: Manifest, path: Path) -> None:
    table, places = manifest.table, _places(manifest)
    rows = []
    for why, members in sets:
        if len(members) > IN_A_ROW:
            why = f"{why}, {IN_A_ROW} of {len(members)}"
        shown = members[:IN_A_ROW]
        rows.append([Picture(name, caption(table.iloc[places[name]], why)) for name in shown])
    draw_rows(rows, manifest, path)


def draw_rows(rows: Sequence[Sequence[Picture]], manifest: Manifest, path: Path) -> None:
    """Write a PNG with rows of up to four images of a data set; it is replaced if it is there.

    An image that cannot be read, or is another one by now, is grey.
    """
    height = SIDE + CAPTION_HEIGHT
    sheet = Image.new("RGB", (IN_A_ROW * SIDE, len(rows) * height), "white")
    places = _places(manifest)
    for line, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            corner = (column * SIDE, line * height)
            _place(sheet, manifest, places[picture.image_id], corner, picture.lines)
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")


def _places(manifest: Manifest) -> dict[str, int]:
    return {str(name): row for row, name in enumerate(manifest.table["image_id"])}


def _place(
    sheet: Image.Image,
    manifest: Manifest,
    row: int,
    corner: tuple[int, int],
    lines: Sequence[str],
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
    for line, text in enumerate(lines):
        place = (left + 2, top + SIDE + LINE * line)
        ImageDraw.Draw(sheet).text(place, text[:LETTERS], fill="black")


def caption(image: pd.Series, why: str) -> list[str]:
    """Give three lines: split and label, why it is here, the end of its name."""
    split, label = ("none" if pd.isna(image[name]) else image[name] for name in ("split", "label"))
    return [f"{split}, {label}"[:LETTERS], why[:LETTERS], short_name(str(image["image_id"]))]


def short_name(name: str) -> str:
    """Give the end of a name that fits below an image."""
    return name if len(name) <= LETTERS else f"...{name[3 - LETTERS :]}"
