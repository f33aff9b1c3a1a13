"""The nearest rows against computing all distances at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frostline.probe import nearest
from frostline.probe.nearest import nearest_rows


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(0, 9), st.integers(1, 400))
def test_they_are_the_nearest_whatever_the_block(
    seed: int, size: int, few: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, queries = rng.normal(size=(size, 5)), rng.normal(size=(few, 5))
    allowed = rng.random((few, size)) < 0.6
    read_at_once = []

    def read(chosen: np.ndarray) -> np.ndarray:
        read_at_once.append(len(chosen))
        return rows[chosen].astype(np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "BLOCK_BYTES", block)
        found, distances = nearest_rows(queries, size, read, lambda chosen: allowed[:, chosen], 3)
    assert max(read_at_once, default=0) <= max(1, block // 20)
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (queries, rows)]
    expected = np.where(allowed, 1 - unit[0] @ unit[1].T, np.inf)
    order = np.argsort(expected, axis=1)[:, :3]
    for query in range(few):
        best = [row for row in order[query] if np.isfinite(expected[query, row])]
        assert found[query].tolist() == best + [-1] * (3 - len(best))
        np.testing.assert_allclose(
            distances[query, : len(best)], expected[query, best], rtol=0, atol=1e-5
        )
        assert np.isnan(distances[query, len(best) :]).all()


def test_a_copy_is_at_distance_zero_whatever_its_length() -> None:
    rows = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], np.float32)
    everything = np.ones((1, 2), bool)
    found, distances = nearest_rows(
        7 * rows[1:], 2, lambda chosen: rows[chosen], lambda chosen: everything[:, chosen], 1
    )
    assert found.tolist() == [[1]]
    assert distances[0, 0] == pytest.approx(0, abs=1e-6)
