"""YAML of users: what is read, and what is refused in a sentence, quickly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frostline.cache import InputError
from frostline.cache.validation import parse_yaml, read_yaml

ANCHORS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


def test_anchors_and_texts_of_several_lines_are_read() -> None:
    read = parse_yaml("a: &a {lr: 1e-4}\nb: *a\nc: |\n  one\n  two\n")
    assert read == {"a": {"lr": "1e-4"}, "b": {"lr": "1e-4"}, "c": "one\ntwo\n"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1", "line 1, column 6: expected ',' or ']'"),
        ("a: .nan", "nan is no number"),
        ("a: [-.inf]", "-inf is no number"),
        ("a: 2001-99-99", "it has a character or a value that cannot be read"),
        ("{[a]: 1}", "line 1, column 2: found unhashable key"),
        ("a: \x01", "it has a character or a value that cannot be read"),
        ('a: "\\e[2J"', "has a control character"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: &a [*a]", "it is nested more than 50 deep"),
        ("[" * 5000, "it is nested more than 50 deep"),
        (ANCHORS, "it has more than 100000 values"),
        ("x" * 1_000_001, "it has more than 1000000 characters"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe", "study.yaml is not YAML: it is no text in UTF-8."),
        (b"a: .nan", "study.yaml is not YAML: nan is no number."),
    ],
)
def test_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_yaml(Path("study.yaml"))
    assert str(caught.value) == sentence
