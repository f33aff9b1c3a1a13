"""Overlap: a backbone that was pretrained on images of the set at hand, as the records say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from frostline.report.notes import Note

Meta = Mapping[str, Any]


def overlap_words(meta: Meta) -> str:
    """Say on which images of the data set's sources the backbone was pretrained; "" on none.

    Parameters
    ----------
    meta : mapping
        Of predictions: `images` (words by key) and `page` of `backbone_origin` say on what the
        backbone was pretrained and where that is written, `sources` (keys) where the data set's
        images come from.
    """
    origin, sources = meta.get("backbone_origin") or {}, meta.get("sources") or ()
    images = origin.get("images") or {}
    shared = [str(words) for key, words in images.items() if key in sources]
    if not shared:
        return ""
    listed = " and ".join(filter(None, [", ".join(shared[:-1]), shared[-1]]))
    page = f" ({origin['page']})" if origin.get("page") else ""
    return f"pretrained on images of {listed}{page}"


def overlap_note(meta: Meta) -> list[Note]:
    """Give the note on a run's scores; none where nothing is known to overlap."""
    words = overlap_words(meta)
    text = f"The backbone was {words}, where images of the data set come from: its scores may be "
    return [Note(f"{text}too good.", first=True)] if words else []


def overlap_sentences(metas: Iterable[Meta]) -> list[str]:
    """Say it of each backbone and data set of some runs, each once."""
    found: dict[str, None] = {}
    for meta in metas:
        words = overlap_words(meta)
        if words:
            found[
                f"{meta['backbone']} was {words}, where images of {meta['dataset']} come from: its "
                "scores may be too good."
            ] = None
    return list(found)
