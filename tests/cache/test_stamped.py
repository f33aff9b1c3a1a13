"""A stamped file says what it is; one that is missing, foreign, damaged or newer is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from frostline.cache import InputError, NewerFormatError, stamped
from frostline.cache.stamped import read_json, read_parquet, write_json, write_parquet

TABLE = pa.table({"name": ["é", None, "b"], "number": [1.5, 2.0, None]})


def read_either(path: Path, newest: int = 1) -> dict[str, Any]:
    if path.suffix == ".json":
        return read_json(path, "frostline-toy", newest)
    return read_parquet(path, "frostline-toy", newest)[1]


def write_either(path: Path, format: str = "frostline-toy", version: int = 1, **facts: Any) -> None:
    if path.suffix == ".json":
        write_json(path, format, version, facts)
    else:
        write_parquet(path, TABLE, format, version, facts)


@pytest.fixture(params=["a.json", "a.parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "new folder" / str(request.param)


def refusal(path: Path, newest: int = 1) -> str:
    with pytest.raises(InputError) as caught:
        read_either(path, newest)
    return str(caught.value)


def test_what_was_written_comes_back_with_its_stamp(path: Path) -> None:
    facts = {"classes": ["ß", "x"], "seed": None, "nested": {"a": [1, 0.1]}}
    write_either(path, **facts)
    assert read_either(path) == {"format": "frostline-toy", "format_version": 1, **facts}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_table_comes_back_with_its_own_metadata(tmp_path: Path) -> None:
    path = tmp_path / "k=v" / "a.parquet"
    table = TABLE.replace_schema_metadata({"pandas": "theirs"})
    write_parquet(path, table, "frostline-toy", 1, {"rows": 3})
    found, meta = read_parquet(path, "frostline-toy", 1)
    assert found.equals(TABLE)
    assert found.schema.metadata[b"pandas"] == b"theirs"
    part, same = read_parquet(path, "frostline-toy", 1, ["number"])
    assert (part.column_names, same) == (["number"], meta)
    nothing, same = read_parquet(path, "frostline-toy", 1, [])
    assert (nothing.column_names, same) == ([], meta)


def test_a_table_that_was_read_gets_the_stamp_of_its_new_file(tmp_path: Path) -> None:
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_parquet(path, TABLE, "frostline-toy", 1, {"rows": 3})
    write_parquet(other, read_parquet(path, "frostline-toy", 1)[0], "frostline-new", 2, {"rows": 4})
    found, meta = read_parquet(other, "frostline-new", 2)
    assert found.equals(TABLE)
    assert meta == {"format": "frostline-new", "format_version": 2, "rows": 4}


@pytest.mark.parametrize("piece", [64, 101, 1 << 20])
def test_the_digest_is_over_all_bytes_with_zeros_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(stamped, "PIECE", piece)
    path = tmp_path / "a.parquet"
    write_parquet(path, TABLE, "frostline-toy", 1, {})
    whole = path.read_bytes()
    (digest,) = re.findall(rb"frostline_digest\x18\x20([0-9a-f]{32})", whole)
    data = whole.replace(digest, b"0" * 32)
    assert digest.decode() == xxhash.xxh3_128_hexdigest(data)
    assert read_parquet(path, "frostline-toy", 1)[0].equals(TABLE)


def test_the_stamp_of_the_file_that_content_came_from_is_replaced(path: Path) -> None:
    write_either(path, "frostline-toy", 1, said="this")
    old = read_either(path)
    if path.suffix == ".json":
        write_json(path, "frostline-toy", 2, old)
    else:
        write_parquet(path, TABLE, "frostline-toy", 2, old)
    assert read_either(path, 2) == {**old, "format_version": 2}


def test_texts_that_no_encoding_knows_are_kept(tmp_path: Path) -> None:
    # File names and arguments of a command may hold bytes that are no UTF-8.
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "a.json", "frostline-toy", 1, {"command": [name]})
    assert read_json(tmp_path / "a.json", "frostline-toy", 1)["command"] == [name]


def test_an_earlier_version_is_read_and_a_newer_one_refused(path: Path) -> None:
    write_either(path, version=3)
    assert read_either(path, 4)["format_version"] == 3
    with pytest.raises(NewerFormatError) as caught:
        read_either(path, 2)
    assert str(caught.value) == (
        f"{path} has format version 3, this release reads up to 2: install a newer Frostline."
    )


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    assert refusal(path) == f"There is no file {path}: check its name."
    path.mkdir(parents=True)
    assert refusal(path) == f"There is no file {path}: check its name."


def test_another_format_is_named(path: Path) -> None:
    write_either(path, "frostline-other")
    assert refusal(path) == (
        f"{path} is not a frostline-toy file but 'frostline-other': delete it and make it again."
    )


def test_a_file_of_another_program_is_no_file_of_ours(path: Path) -> None:
    path.parent.mkdir()
    if path.suffix == ".json":
        path.write_text('{"format_version": 1}')
    else:
        pq.write_table(TABLE, path)
    assert refusal(path) == f"{path} is not a frostline-toy file: delete it and make it again."


@pytest.mark.parametrize("version", ["1", 1.0, True, None, 0, -1])
def test_a_version_is_a_whole_number_from_1(path: Path, version: Any) -> None:
    write_either(path, version=version)
    assert refusal(path).startswith(f"{path} is damaged (its format version is {version!r}): ")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_named(path: Path, share: float) -> None:
    write_either(path, classes=["a", "b"] * 30)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    sentence = refusal(path)
    assert sentence.startswith(f"{path} is damaged (")
    assert sentence.endswith("): delete it and make it again.")
    assert "\n" not in sentence


@pytest.mark.parametrize("text", ["[1]", "1", "null", '"frostline-toy"', "\xff", "[" * 100_000])
def test_json_that_is_no_object_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="latin-1")
    assert refusal(path).startswith(f"{path} is damaged (")


def test_whatever_byte_of_a_table_is_changed_no_other_error_comes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, TABLE, "frostline-toy", 1, {})
    whole = path.read_bytes()
    sentences = []
    for place in range(len(whole)):
        flipped = bytes([whole[place] ^ 1 << place % 8])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        try:
            read_parquet(path, "frostline-toy", 1)[0].to_pylist()
        except InputError as error:
            sentences.append(str(error))
    assert len(sentences) > len(whole) // 2
    assert all(sentence.startswith(str(path)) for sentence in sentences)


def test_the_remedy_is_the_callers(path: Path) -> None:
    read: Callable[..., object] = read_json if path.suffix == ".json" else read_parquet
    path.parent.mkdir()
    path.write_bytes(b"{")
    with pytest.raises(InputError, match=r"\): train again\.$"):
        read(path, "frostline-toy", 1, remedy="train again")
    write_either(path, "frostline-other")
    with pytest.raises(InputError, match=r"'frostline-other': train again\.$"):
        read(path, "frostline-toy", 1, remedy="train again")


def test_what_json_cannot_say_leaves_the_old_file(path: Path) -> None:
    write_either(path, said=1)
    with pytest.raises(TypeError):
        write_either(path, said=object())
    assert read_either(path)["said"] == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_system_without_flock_can_import_it() -> None:
    script = (
        "import sys, pathlib, json, secrets, contextlib\n"
        "sys.modules['fcntl'] = None\n"
        "import frostline.cache.atomic, frostline.cache.locks, frostline.cache.stamped\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_small_file_can_be_read_by_eye(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", "frostline-toy", 1, {"seed": 3})
    text = (tmp_path / "a.json").read_text()
    assert list(json.loads(text)) == ["format", "format_version", "seed", "content_digest"]
    assert len(text.splitlines()) == 6
