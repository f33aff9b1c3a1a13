"""Linear CKA and RankMe: equal to their definitions, with the invariances of the papers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from depth_runs import PLACES, depth_run, reading

from frostline.cache import InputError
from frostline.report import similarity as module
from frostline.report import write_report
from frostline.report.depth.curve import depth_curves
from frostline.report.figures import to_svg
from frostline.report.figures.similarity import similarity_figure
from frostline.report.similarity import linear_cka, rankme, similarity

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 7)) * np.arange(1, 8) + 3
Y = X[:, 4:] + 5 * RNG.normal(size=(40, 3))


def hsic(K: np.ndarray, L: np.ndarray) -> float:
    """The unbiased estimator of Song et al. (2012), term by term."""
    n = len(K)
    K, L = (one - np.diag(np.diag(one)) for one in (K, L))
    ones = np.ones(n)
    mixed = (ones @ K @ ones) * (ones @ L @ ones) / ((n - 1) * (n - 2))
    crossed = 2 / (n - 2) * (ones @ K @ L @ ones)
    return float((np.trace(K @ L) + mixed - crossed) / (n * (n - 3)))


def rotation(size: int) -> np.ndarray:
    return np.linalg.qr(RNG.normal(size=(size, size)))[0]


@pytest.mark.parametrize("block_bytes", [1 << 26, 1000])
def test_cka_is_its_definition(monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)  # all rows at once, or one by one
    K, L = X @ X.T, Y @ Y.T
    by_hand = hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))
    assert 0.2 < by_hand < 0.95
    assert linear_cka(X, Y) == pytest.approx(by_hand, rel=1e-12)
    assert linear_cka(Y, X) == pytest.approx(by_hand, rel=1e-12)
    both = similarity({"x": X, "y": Y})
    assert both.cka.loc["x", "y"] == pytest.approx(by_hand, rel=1e-12)


def test_cka_does_not_change_with_rotation_shift_and_scale() -> None:
    assert linear_cka(X, X) == 1
    same = 1e-5 * X @ rotation(7) + RNG.normal(size=7)
    assert linear_cka(X, same) == pytest.approx(1, rel=1e-9)
    assert linear_cka(same, Y) == pytest.approx(linear_cka(X, Y), rel=1e-9)
    order = RNG.permutation(40)
    assert linear_cka(X[order], Y[order]) == pytest.approx(linear_cka(X, Y), rel=1e-9)
    # But it does with other linear maps, and with images in another order.
    assert linear_cka(X, X * [9, 1, 1, 1, 1, 1, 1]) < 0.9
    assert linear_cka(X, Y[order]) < linear_cka(X, Y) / 2


def test_unrelated_embeddings_of_many_dimensions_are_not_alike() -> None:
    values = [linear_cka(*RNG.normal(size=(2, 30, 3000))) for _ in range(10)]
    assert abs(np.mean(values)) < 0.05
    centred = [one - one.mean(axis=0) for one in RNG.normal(size=(2, 30, 3000))]
    K, L = (one @ one.T for one in centred)
    assert (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum()) > 0.9  # what the biased one says


def test_rankme_is_the_effective_rank() -> None:
    sigma = np.linalg.svd(X, compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    by_hand = np.exp(-np.sum(p * np.log(p)))
    for given in (X, X.T, -3e4 * X @ rotation(7)):
        assert rankme(given) == pytest.approx(by_hand, rel=1e-6)
    assert rankme(RNG.normal(size=(20_000, 16))) == pytest.approx(16, abs=0.01)
    assert rankme(np.outer(RNG.normal(size=50), RNG.normal(size=20))) == pytest.approx(1, abs=1e-3)
    assert rankme(np.ones((50, 20))) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (np.ones((40, 3)) / 3, "Y are the same for all images, or all equally far"),
        (np.eye(40), "Y are the same for all images, or all equally far"),
        (np.where(X > 9, np.nan, X), "Y hold NaN or infinity"),
        (np.zeros((40, 2, 2)), r"Y have the shape \[40, 2, 2\]"),
        (np.zeros((40, 0)), r"Y have the shape \[40, 0\]"),
        ([["a"]] * 40, "Y are no numbers"),
        (X[:30], r"\(X of 40, Y of 30\)"),
        (X[:3], "Y are of 3 images: CKA needs 4 or more"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(wrong: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        linear_cka(X, wrong)


def test_an_embedding_of_zeros_has_no_rank() -> None:
    with pytest.raises(InputError, match="all 0"):
        rankme(np.zeros((10, 3)))


def test_of_several_only_those_that_cannot_be_compared_are_left_out() -> None:
    found = similarity({"a": X, "bad": X * np.nan, "flat": np.ones((40, 2)), "b": Y}, of=90, seed=3)
    assert list(found.cka) == list(found.cka.index) == list(found.rankme.index) == ["a", "b"]
    assert [one.split(" ")[2] for one in found.left_out] == ["bad", "flat"]
    assert found.sentence == "On 40 of the 90 images that have these embeddings, drawn with seed 3."
    assert found.table.columns.tolist() == ["name", "rankme", "dimensions", "a", "b"]
    assert found.table.loc[1, "a"] == linear_cka(X, Y)
    assert found.rankme["dimensions"].tolist() == [7, 3]
    with pytest.raises(InputError, match="no embeddings to compare"):
        similarity({"bad": X * np.nan})


def test_the_figure_writes_every_name_and_number() -> None:
    svg = to_svg(similarity_figure(similarity({"layer:$a$<b>": X, "b": Y, "c": -Y})))
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert f"{linear_cka(X, Y):.2f}".removeprefix("0") in texts
    assert {"layer:$a$&lt;b&gt;", "b", "c", f"{rankme(X):.0f} of 7", "RankMe"} <= set(texts)
    assert texts.count("1") == 3 + 2 + 2  # the diagonal, of b and c, and the first two headings


def test_a_page_of_depth_shows_it_folded_and_in_a_table(tmp_path) -> None:
    curves = depth_curves(reading(), {"effnet-lite0": PLACES}, replicates=100)
    alike = similarity({"stem": X, "blocks.0": Y, "<i>": np.ones((40, 1))})
    options = {"title": "Depth", "figure_formats": ["svg"], "replicates": 100}
    without = write_report(tmp_path, [depth_run(1.2)], depths=[curves], **options)
    assert "similarity of the depths" not in without["index.html"].read_text()
    depths = [replace(curves, similarity=alike)]
    paths = write_report(tmp_path, [depth_run(1.2)], depths=depths, **options)
    text = paths["index.html"].read_text()
    part = text[text.index('id="similarity"') :]
    assert text[: text.index('id="similarity"')].rstrip().endswith('<div class="inside"')
    assert "On all 40 images that have these embeddings." in part
    assert "The embeddings &lt;i&gt; are the same for all images" in part
    assert f">{linear_cka(X, Y):.2f}<".replace("0.", ".") in part
    table = paths["tables/similarity-chest.csv"].read_text().splitlines()
    assert table[0] == "name,rankme,dimensions,stem,blocks.0"
    assert float(table[1].split(",")[-1]) == pytest.approx(linear_cka(X, Y))
    assert paths["figures/similarity-chest.svg"].is_file()
