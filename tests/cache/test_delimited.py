"""Anyone's text tables: read rightly whatever wrote them, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from frostline.cache import InputError
from frostline.cache.tables.delimited import read_delimited

ROWS = "id,label\ni1,Größe\ni2,NA\n"


def read(tmp_path: Path, data: bytes | str, name: str = "t.csv") -> pd.DataFrame:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_delimited(path)


def refused(tmp_path: Path, data: bytes | str, name: str = "t.csv") -> str:
    with pytest.raises(InputError) as caught:
        read(tmp_path, data, name)
    return str(caught.value).removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    "data",
    [
        ROWS.encode(),
        ROWS.encode("utf-8-sig"),
        ROWS.encode("utf-16"),
        ROWS.encode("utf-32"),
        ROWS.replace("\n", "\r\n").encode(),
        ROWS.replace("\n", "\r").encode(),
        ROWS.replace(",", ";").encode(),
        ROWS.replace(",", "\t").encode("utf-16"),
        ROWS.replace("\n", ",\n").encode(),
        ROWS.replace("\n", ",\n").replace("label,", "label").encode(),
        ROWS.replace("\n", "\n\n").rstrip("\n").encode(),
        ROWS.replace("NA", '"NA"').encode(),
    ],
)
def test_what_wrote_a_table_does_not_matter(tmp_path: Path, data: bytes) -> None:
    table = read(tmp_path, data).dropna(axis=1, how="all")
    assert table.to_dict("list") == {"id": ["i1", "i2"], "label": ["Größe", "NA"]}


def test_cells_are_as_written(tmp_path: Path) -> None:
    table = read(tmp_path, 'id,"note, or ""x""",\n001,"a,\nb",1.0\n,,\n')
    assert table.columns.tolist() == ["id", 'note, or "x"', "Unnamed: 2"]
    assert table.iloc[0].tolist() == ["001", "a,\nb", "1.0"]
    assert table.iloc[1].isna().all()
    assert read(tmp_path, "id\tx,y\na\tb\n").columns.tolist() == ["id", "x,y"]
    assert read(tmp_path, "id,x\n", "t.tsv").columns.tolist() == ["id,x"]
    assert read(tmp_path, "id,x").shape == (0, 2)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "t.csv: the file is empty; it needs a header and rows."),
        (
            b"a,b\n1,2\n3,4,5\n",
            "t.csv, row 3 (the header is row 1): it has 3 fields and the header 2; correct that "
            "row, and quote cells that hold a comma.",
        ),
        (b"a;b\n1;2\n3\n", "t.csv, row 3 (the header is row 1): it has 1 field and the header 2; "),
        (
            b"a,b\n1,2,\n3,4,5\n",
            "t.csv, row 3 (the header is row 1): it has a cell behind the last column",
        ),
        (b"a,b\n1,2,3\n", "t.csv, row 2 (the header is row 1): it has 3 fields and the header 2; "),
        (b'a,b\n1,"2\n3,4\n', "t.csv: a quotation mark opens a cell and none closes it; close it."),
        (b"a,b\n1,\xe9\n", "t.csv: not UTF-8 text (line 2 has the byte 0xe9, "),
        ("a,b\n1,2\n".encode("utf-16-le"), "t.csv: it holds zero bytes, so it is no text, or UTF"),
        (b"\xff\xfea", "t.csv: its mark says UTF-16-LE, and its bytes do not; save it as UTF-8."),
        (b"a,b,a\n1,2,3\n", "t.csv: two columns are named 'a'; rename or remove one."),
        (
            b"id;p,q\ni1;0,5\n",
            "t.csv: its header has commas and semicolons, and which of them separate columns is "
            "not clear; write the file with one kind, and quote cells that hold it.",
        ),
        (b'a,b\n1,"' + b"x" * 200_000 + b"\n", "t.csv, line 2: a cell is too long ("),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    assert refused(tmp_path, data).startswith(sentence)
