"""Check every part of a store, and set aside what is damaged."""

from __future__ import annotations

from pathlib import Path

from frostline.cache.errors import InputError
from frostline.cache.part import damaged, read_part
from frostline.cache.store import part_files

ASIDE = "damaged-"


def verify_store(folder: Path, *, repair: bool = False) -> list[str]:
    """Check header and every block of every part; a sentence for each part that fails.

    Parameters
    ----------
    repair : bool
        Rename damaged parts to `damaged-…`, so that the next extraction computes their rows. Parts
        of a newer format are left where they are.
    """
    found = []
    for path in part_files(folder):
        try:
            part = read_part(path)
            if part.key != folder.name:
                raise damaged(path, f"it belongs to store {part.key}")
            part.check_all()
        except InputError as error:
            found.append(str(error))
            if repair and "install a newer" not in str(error):
                path.rename(path.with_name(f"{ASIDE}{path.name}"))
    return found
