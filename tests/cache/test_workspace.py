"""Names become places inside of the workspace, or are refused; a cut file is no result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from frostline.cache import InputError, Workspace
from frostline.cache.keys import spec_difference
from frostline.cache.stamped import write_parquet

WS = Workspace(Path("/ws"))
PLACES: dict[str, Callable[[str], Path]] = {
    "manifest": WS.manifest,
    "pixels": WS.pixels,
    "embeddings of": lambda name: WS.embeddings(name, "b"),
    "embeddings by": lambda name: WS.embeddings("d", name),
    "boundaries by": lambda name: WS.boundaries("d", name),
    "model": WS.model,
    "predictions": WS.predictions,
    "report": WS.report,
    "sweep": WS.sweep,
}
OUTSIDE = ("", ".", "..", "../x", "/etc", "a/../../..", ".hidden", "a" * 300, "a\0b", "\ud800")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_workspace(place: str, name: str) -> None:
    try:
        path = PLACES[place](name)
    except InputError as error:
        assert str(error).endswith(".")  # noqa: PT017
        return
    # A backbone's name may hold anything, written so that it is one file name.
    assert (place.split()[-1], "/" in path.name, "\0" in path.name) == ("by", False, False)
    assert path.resolve().is_relative_to(f"/ws/{place.split()[0]}/d")


def test_names_of_backbones_and_runs_stay_as_they_are() -> None:
    assert WS.embeddings("d", "timm:vit").name == "timm%3Avit"
    assert WS.predictions("d-timm%3Avit-knn-s0-1a2b").name == "d-timm%3Avit-knn-s0-1a2b.parquet"


@pytest.mark.parametrize("data", [None, b"", b"PAR", b"PAR1", b"PAR1 and no more", b"x PAR1"])
def test_an_empty_or_cut_file_is_no_result(tmp_path: Path, data: bytes | None) -> None:
    place = Workspace(tmp_path)
    path = place.predictions("run")
    path.parent.mkdir()
    if data is not None:
        path.write_bytes(data)
    assert not place.has_predictions("run")
    path.write_bytes(b"PAR1 PAR1")
    assert place.has_predictions("run")


def test_a_damaged_file_is_no_result(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    path = place.predictions("run")
    write_parquet(path, pa.table({"a": range(50)}), "frostline-toy", 1, {})
    assert place.has_predictions("run")
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:30] + bytes([whole[30] ^ 1]) + whole[31:], whole + b"x"):
        path.write_bytes(damaged)
        assert not place.has_predictions("run")


def test_specs_that_begin_alike_are_shown_where_they_differ():
    left, right = ({"features": f"layer:blocks.0:{what} and more" * 2} for what in ("cls", "mean"))
    assert spec_difference(left, right) == [
        "features: …cls and more… / …mean and mor…",
    ]
    assert spec_difference({"crop": 224}, {}) == ["crop: 224 / -"]
    ends = {"name": "a" * 30}, {"name": "a" * 30 + "b"}
    assert spec_difference(*ends) == ["name: …… / …b…"]
