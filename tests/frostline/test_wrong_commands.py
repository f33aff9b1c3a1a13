"""A wrong value of any option ends in one sentence: no traceback, no warning of Python's.

Five hundred and fifty command lines are run: each is one of `LINES`, which work, with one value
replaced by a bad one of its kind. There are some six thousand: FROSTLINE_TEST_SEED=N draws others,
and FROSTLINE_TEST_SEEDS=all runs them all. Training and making data are left out: a value that gets
so far was taken.
"""

from __future__ import annotations

import io
import os
import random
import re
import shlex
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer

from frostline.cache import InputError
from frostline.cli import app, main
from frostline.commands import options
from frostline.extract.images import geometry
from frostline.reference import COMMON, commands

from .test_options import (
    ALIKE,
    ANSWERS,
    COMPARE,
    DEPTH,
    EVALUATE,
    EXPORT,
    EXTRACT,
    FINETUNE,
    IMPORT,
    INDEX,
    PREDICT,
    PROBE,
    STORE,
    SWEEP,
    TRACK,
    inside,
    prepared,
)

__all__ = ["prepared"]  # a fixture
COUNT = 550
SEED = int(os.environ.get("FROSTLINE_TEST_SEED", "0"))
EVERY = os.environ.get("FROSTLINE_TEST_SEEDS") == "all"
LONG = "n" * 300


def words_of(text: str) -> list[str]:
    return text.split()


# A line of every command that works in the prepared folder.
LINES = {
    "demo": "demo",
    "run": "run study.yaml --dry-run",
    "index": f"{INDEX} --seed 3",
    "audit": "audit mine",
    "extract": EXTRACT,
    "probe": PROBE,
    "sweep": SWEEP,
    "finetune": f"{FINETUNE} --seed 5",
    "depth": f"{DEPTH} --cv none",
    "evaluate": EVALUATE,
    "compare": COMPARE,
    "report": "report done.yaml",
    "predict": PREDICT,
    "export": EXPORT,
    "backbones": "backbones --blocks timm:test_vit",
    "doctor": "doctor --check 0",
    "cache ls": "cache ls",
    "cache verify": "cache verify",
    "cache compact": "cache compact",
    "cache gc": "cache gc",
    "cache export": f"{STORE} out.csv",
    "cache import": IMPORT,
    "cache similarity": ALIKE,
    "predictions import": ANSWERS,
    "track": f"{TRACK} --to tensorboard",
}
WORDS = words_of("""
. .. ../outside / ~ - -- a/b con. * [ ( (a+)+$ %s%n{0}{} =cmd() file_key content_key label image_id
nan inf null none None true 0 -1 1e999 0x10 1_000 timm: timm:.. timm:resnet18.no_tag torchvision:
torchvision:Weights torchvision:get_model hf: hf:../x layer: layer:blocks cls+ cls+cls images
table.csv
""")
UNPRINTABLE = ["nul\x01\x1b[31m", "line\nbreak", "\udcff", "\u202eevil", "\x7f", "\x9b2J"]
TEXTS = ["", " ", LONG, "é" * 130, "9" * 30, "9" * 5000, *UNPRINTABLE, *WORDS]
NUMBERS = [
    "",
    " ",
    "9" * 400,
    "\x01",
    "1\n",
    "\u0663",
    *(str(2**power) for power in (31, 32, 63, 64)),
]
NUMBERS += words_of("""
0 -1 1 -4294967296 nan inf -inf 1e308 1e-320 1.5 abc 0x10 1_000 1e9 100000000 None
""")
PARTS = ["1,nan", "0/0", "1/0", "5x", "x", "0x0", "1x99999999999", "99999999999x1", ":", "-1:2"]
PARTS += ["5:2", "\u0663:\u0664", f"{'9' * 400}/{'9' * 500}", "\u00b2/3", "1,,2", ","]
PATHS = ["", LONG, f"{LONG}.csv", "d/" * 3000, *UNPRINTABLE, "\udcff.csv", "\x1b[31m.csv"]
PATHS += words_of("""
. .. nowhere nowhere/below table.csv images table.csv/below study.yaml knn.parquet vit.pth
theirs.npz /dev/null /proc/self/mem /dev/full/x images/well old.onnx spec.json ~ empty.txt
new.csv new.parquet /proc/x.csv table.csv/x.csv nan.json nan.yaml deep.yaml deep.json
""")
KINDS = ("csv", "parquet", "yaml", "npz", "json", "png", "onnx", "pth", "safetensors")
PATHS += [f"{how}.{kind}" for how in ("junk", "folder") for kind in KINDS]
PAIRS = ["x=\x01", "x=\udcff", "x={1: 2, [a]: b}", "x=- - -", f"name={LONG}", "name=\x1b[31m"]
PAIRS += [
    "datasets.mine.options={window: abc}",
    'datasets.mine.root="\\e[31m"',
    "",
    " ",
    "x=&a [*a]",
]
PAIRS += words_of("""
= =1 a a= seed= window=abc window=nan window=1,nan window=1 window= window={range:[1,abc]}
spacing=0,0,0 spacing=[a,b,c] spacing=nan,1,1 threshold=abc size=99999999999 lr=nan lr=inf lr=-1
epochs=0 epochs=1e9 epochs=999999999999999999999999 epochs=[ C=nan C=-1 C=inf C=1e400 C=[1 C=, C=,,
n_neighbors=0 n_neighbors=99999999999999999999999 n_neighbors=1.5 n_neighbors=none ema=2 ema=nan
augmentation=x select=x augmentation= dropout=nan warmup_epochs=-1 weight_decay=nan seeds=[
seeds=[-1] seeds=[.nan] seeds=[4294967296] seeds=[1,1] seeds=abc seeds={} seeds=[[1]] name=..
name=[] datasets=1 datasets={} datasets.mine=null datasets.mine.root=[1]
datasets.mine.root=nowhere datasets.mine.group_pattern=( datasets.*.seed=-1 datasets.mine.kind=x
datasets.mine.test_fraction=.nan datasets.mine.val_fraction=2 backbones=[] backbones=[1]
backbones=[..] backbones=[[]] backbones=[{a:1}] backbones.0.name=hf: protocols=[]
protocols.near.head=x protocols.*.epochs=.nan protocols.near.image_size=0
protocols.near.image_size=999999999 protocols.near=!!python/object:os.system replicates=-1
replicates=.inf replicates=999999999999 replicates=1.5 x=!!binary x=2001-99-99 a.b.c.d=1 .=1 ..=1
*=1 *.*=1 seeds.0=1 name.x=1 knn.n_neighbors=0 knn.n_neighbors=nan knn.=1 .x=1 no.x=1
centroid.metric=x centroid.metric=1 logistic.C=nan logistic.C=0 adam.epochs=0 adam.lr=nan
adam.lr=inf adam.batch_size=0 adam.epochs=99999999999999999999
""")
# Texts that name files, and texts that hold numbers.
FILES = ("weights", "head_weights", "run", "study")
NUMBERED = ("lr", "batch_size", "train_groups", "cv", "shard", "slices", "unfreeze")


def values(parameter: Any) -> list[str]:
    """Bad values of the kind that a parameter has."""
    kind = str(parameter.type_descriptor.annotation)
    if parameter.metavar:
        return PAIRS
    if "Path" in kind:
        return PATHS
    if "int" in kind or "float" in kind:
        return NUMBERS
    if parameter.name in FILES:
        return [*TEXTS, *PATHS]
    return [*TEXTS, *NUMBERS, *PARTS] if parameter.name in NUMBERED else TEXTS


@dataclass(frozen=True)
class Wrong:
    """A command line with one wrong value."""

    command: str
    words: tuple[str, ...]


def all_lines() -> Iterator[list[Wrong]]:
    """Yield the wrong lines of every parameter of every command."""
    for found, command in commands(typer.main.get_command(app), above=""):
        name = found.strip()
        words = shlex.split(LINES[name])
        place = len(name.split())
        for parameter in command.params:
            if parameter.name in COMMON or getattr(parameter, "is_flag", False):
                continue
            lines = []
            for value in values(parameter):
                option = [*words, parameter.opts[0], *[value] * parameter.nargs]
                argument = [*words[:place], value, *words[place + 1 :]]
                is_option = parameter.param_type_name == "option"
                lines.append(Wrong(name, tuple(option if is_option else argument)))
            yield lines


def chosen_lines() -> list[Wrong]:
    """Two lines of every parameter, and some of all to fill up."""
    known, draw = [*all_lines()], random.Random(SEED)
    if EVERY:
        return [line for lines in known for line in lines]
    first = [line for lines in known for line in draw.sample(lines, min(2, len(lines)))]
    rest = [line for lines in known for line in lines if line not in first]
    return first + draw.sample(rest, COUNT - len(first))


CHOSEN = chosen_lines()


def make_wrong_files() -> None:
    """What `PATHS` names besides what is prepared: empty, junk, folders, numbers that are none."""
    Path("empty.txt").touch()
    for kind in KINDS:
        Path(f"junk.{kind}").write_bytes(b"\x80\x01\xffhello\n\x00\n")
        Path(f"folder.{kind}").mkdir()
    Path("nan.json").write_text('{"a": NaN, "b": [Infinity, -Infinity]}')
    Path("nan.yaml").write_text("name: .nan\ndatasets: .inf\n")
    Path("deep.yaml").write_text("[" * 500)
    Path("deep.json").write_text("[" * 100_000)


def left_out(*_: Any, **__: Any) -> Any:
    raise InputError("This is left out here.")


@contextmanager
def folder_of_wrong_files(prepared: Path, scratch: Path) -> Iterator[None]:
    """Work in a copy of the prepared folder, where nothing takes long."""
    shutil.copytree(prepared, scratch / "folder")
    costly = ("frostline.finetune.run.fit", "frostline.extract.phantom.make_phantom_glioma")
    with inside(scratch / "folder"), patch(costly[0], left_out), patch(costly[1], left_out):
        make_wrong_files()
        yield


def outcome(words: tuple[str, ...]) -> tuple[object, str, str]:
    """Run a line as the console does; give the exit code or what escaped, and what was printed.

    Standard output refuses what is not UTF-8, as that of a terminal does.
    """
    out, err = io.BytesIO(), io.BytesIO()
    with (
        io.TextIOWrapper(out, "utf-8", "strict", write_through=True) as to_out,
        io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True) as to_err,
        redirect_stdout(to_out),
        redirect_stderr(to_err),
        patch.object(sys, "argv", ["frostline", *words]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        code: object = None
        try:
            main()
        except SystemExit as end:
            code = end.code
        except Exception as error:
            code = error
        return code, out.getvalue().decode(), err.getvalue().decode()


def trouble(words: tuple[str, ...]) -> str:
    """What is wrong with how a line ends; nothing if it ends well."""
    code, printed, said = outcome(words)
    errors = [line for line in said.splitlines() if line.startswith("Error: ")]
    if code not in (0, 1, 2):
        return f"traceback: {code!r}"
    if re.search(r"^\S+:\d+: \w*Warning: ", said, re.MULTILINE):
        return f"a warning of Python's: {said}"
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", printed + said):
        return f"a control character: {printed + said!r}"
    if len(errors) > 1 or (errors and not said.endswith(f"{errors[0]}\n")):
        return f"more than a sentence: {said!r}"
    if code == 2 and not errors:
        return f"no sentence: {said!r}"
    return wrong_form(errors[0].removeprefix("Error: ")) if errors else ""


def wrong_form(sentence: str) -> str:
    """What is wrong with a sentence: names of files and runs may begin it, small or not."""
    first, *_ = sentence.split()
    if (first.isalpha() and first.islower()) or not sentence.endswith((".", "?")):
        return f"no sentence: {sentence!r}"
    return f"a sentence of {len(sentence)} characters: {sentence}" if len(sentence) > 1500 else ""


@pytest.fixture(scope="module")
def tried(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Counts, which are printed at the end."""
    counts: Counter[str] = Counter()
    yield counts
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{counts['tried']} wrong commands, {counts['bad']} of them ended badly.")


@pytest.mark.parametrize("command", LINES)
def test_a_wrong_value_ends_in_a_sentence(
    command: str, prepared: Path, tmp_path: Path, tried: Counter[str]
) -> None:
    lines = [line.words for line in CHOSEN if line.command == command]
    with folder_of_wrong_files(prepared, tmp_path):
        found = {shlex.join(words): trouble(words) for words in lines}
    bad = [f"{line}\n    {what}" for line, what in found.items() if what]
    tried["tried"] += len(lines)
    tried["bad"] += len(bad)
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("command", LINES)
def test_the_line_itself_works(command: str, prepared: Path, tmp_path: Path) -> None:
    with folder_of_wrong_files(prepared, tmp_path):
        code, _, said = outcome(tuple(shlex.split(LINES[command])))
    # Finetune and demo come as far as what is left out.
    assert code == 0 or said.endswith("Error: This is left out here.\n"), said


def test_there_are_five_hundred_lines_of_all_commands() -> None:
    assert len(CHOSEN) >= COUNT
    assert {line.command for line in CHOSEN} == set(LINES)


def test_largest_sizes_are_those_of_what_they_reach() -> None:
    assert options.MOST_PIXELS == geometry.LARGEST
