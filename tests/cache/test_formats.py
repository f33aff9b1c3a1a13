"""Files of every format version that was ever released are read for ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frostline.cache import Store, find_stores
from frostline.cache.stores.verify import verify_store

FORMATS = Path(__file__).parent / "formats"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("embeddings", np.arange(12, dtype=np.float32).reshape(4, 3) / 4),
        ("pixels", np.arange(24, dtype=np.uint8).reshape(4, 2, 3)),
    ],
)
def test_stores_of_version_1_are_read(kind: str, values: np.ndarray) -> None:
    (folder,) = find_stores(FORMATS / "version-1" / kind)
    store = Store.open(folder)
    keys = np.arange(64, dtype=np.uint8).reshape(4, 16)
    found = store.read(store.locate(keys))
    assert (found.dtype, store.spec, len(store.parts)) == (values.dtype, {"fixture": kind}, 2)
    np.testing.assert_array_equal(found, values)
    assert verify_store(folder) == []


def test_every_version_has_its_fixture() -> None:
    from frostline.cache.stores.part import FORMAT_VERSION

    versions = {path.name for path in FORMATS.iterdir()}
    assert versions == {f"version-{number}" for number in range(1, FORMAT_VERSION + 1)}
