"""What Frostline says to who types too little: a first page, full examples, what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from frostline.cli import app
from frostline.reference import commands
from frostline.usage import FIRST_CONTACT

from .conftest import Run, make_images
from .test_wrong_commands import outcome

TINY = ("-b", "timm:test_vit", "--weights", "random", "--image-size", "32")


def lines_of(text: str) -> list[str]:
    return re.findall(r"^  (frostline .*)$", text, re.MULTILINE)


def test_without_a_command_three_are_shown(frostline: Run) -> None:
    for words in ((), ("-v",)):
        done = frostline(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{FIRST_CONTACT}\n"
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert len(lines_of(done.stdout)) == 3


@pytest.mark.slow
def test_the_commands_of_the_first_page_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "images", 48)
    for line in lines_of(FIRST_CONTACT):
        words = [
            str(path)
            for word in shlex.split(line)[1:]
            for path in (sorted(Path().glob(word)) if "*" in word and "/" in word else [word])
        ]
        assert not app(words, standalone_mode=False), line


def test_a_missing_option_shows_the_command_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, example in {
        ("index", "photos"): r"frostline index photos --root photos --group-pattern 'patient\d+'",
        ("extract",): "frostline extract --dataset chest --backbone effnet-lite0",
        ("extract", "-d", "mine"): "frostline extract -d mine --backbone effnet-lite0",
        ("-q", "probe", "--head", "knn", "-b", "x"): (
            "frostline probe --head knn -b x --dataset chest"
        ),
        ("audit",): "frostline audit chest --strict",
    }.items():
        code, printed, said = outcome(words)
        assert (code, printed) == (2, "")
        assert f" For example: `{example}`. `frostline {words[words[0] == '-q']} -h` " in said


def test_a_missing_option_takes_a_data_set_that_is_there(tmp_path: Path, frostline: Run) -> None:
    make_images(tmp_path / "images", 12)
    assert frostline("index", "lungs", "--root", "images").returncode == 0
    said = frostline("extract", *TINY).stderr
    (command,) = re.findall(r"For example: `frostline ([^`]*)`", said)
    done = frostline(*shlex.split(command))
    assert (done.returncode, "12 embedded now" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    "name", [name for name, _ in commands(typer.main.get_command(app), above="")]
)
def test_what_is_wrong_points_to_the_help_of_its_command(name: str) -> None:
    _, command = next(
        one for one in commands(typer.main.get_command(app), above="") if one[0] == name
    )
    valued = [one for one in command.params if getattr(one, "opts", [""])[0].startswith("--")]
    option = next((one for one in valued if not one.is_flag), None)
    wrong = ["--no-such-option", *([option.opts[0]] if option else [])]
    for word in wrong:
        code, printed, said = outcome((*name.split(), word))
        assert (code, printed) == (2, "")
        assert said.endswith(f"`frostline {name.strip()} -h` shows what it takes.\n"), said


def test_a_group_of_commands_shows_them(frostline: Run) -> None:
    done = frostline("cache")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: frostline cache ")


def test_index_ends_in_ten_lines(tmp_path: Path, frostline: Run) -> None:
    make_images(tmp_path / "images", 24)
    for number in range(30):
        (tmp_path / "images" / "well" / f"x{number}.gif{number}").write_bytes(b"x")
        make_images(tmp_path / "many" / f"kind{number}", 4)
    for root in ("images", "many"):
        done = frostline("index", root, "--root", root)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) + len(done.stderr.splitlines()) <= 10, done.stdout
        assert re.match(rf"Data set {root}: \d+ images of \d+ groups, \d+ classes$", lines[0])
        assert re.match(rf"`frostline audit {root}` shows .*all counts\.$", lines[-1])
    assert "sick" not in done.stdout.splitlines()[1]  # of thirty classes none is counted here
    said = frostline("audit", "images").stdout
    assert len(said.splitlines()) > 10


@pytest.fixture
def used(tmp_path: Path, frostline: Run) -> Path:
    """A workspace with a data set, embeddings, a run and a study's report."""
    make_images(tmp_path / "images", 24)
    index = ("index", "mine", "--root", "images", "--group-pattern", "(patient[0-9]+)")
    (tmp_path / "study.yaml").write_text(
        "name: small\ndatasets: {mine: {root: images, group_pattern: '(patient[0-9]+)'}}\n"
        "backbones: [{name: 'timm:test_vit', weights: random}]\n"
        "protocols: {near: {head: knn, image_size: 32}}\nreplicates: 100\n"
    )
    for words in (index, ("run", "study.yaml")):
        done = frostline(*words)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_report_shows_what_there_is_of_anything(used: Path, frostline: Run) -> None:
    workspace = Path("frostline-workspace")
    (run,) = [path.stem for path in (used / workspace / "predictions").glob("*.parquet")]
    file = workspace / "predictions" / f"{run}.parquet"

    def report(*words: object) -> str:
        done = frostline("report", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    everything = report()
    assert everything.splitlines()[:3] == [
        "Workspace frostline-workspace",
        "  data set mine: 1 run",
        "  study small: frostline-workspace/reports/small/index.html",
    ]
    assert report(workspace) == everything
    dataset = report("mine")
    assert dataset.startswith("Data set mine: 24 images of 12 groups\n")
    assert "  embedded with timm:test_vit\n" in dataset
    assert f"  run {run}\n" in dataset
    of_run = report(run)
    assert of_run.splitlines()[:4] == [
        f"Predictions {file}",
        "  of timm:test_vit on mine",
        "  12 images (8 test, 4 val)",
        "  classes: sick, well",
    ]
    for same in (run[:20], file, workspace / "models" / run):
        assert report(same) == of_run
    assert "  page: frostline-workspace/reports/small/index.html" in report(
        workspace / "reports" / "small"
    )
    page = used / workspace / "reports" / "small" / "index.html"
    page.unlink()
    assert "Page: frostline-workspace/reports/small/index.html" in report("small")
    assert page.is_file()
    # Whatever it names can be typed.
    known = {name.strip(): one for name, one in commands(typer.main.get_command(app), above="")}
    for line in re.findall(r"`frostline ([^`]*)`", everything + dataset + of_run):
        name, *words = shlex.split(line)
        known[name].make_context(name, words)


def test_report_says_what_it_cannot_find(tmp_path: Path, frostline: Run) -> None:
    for words, sentence in {
        (): "There is nothing in workspace frostline-workspace yet: begin with ",
        ("mine",): "There is no study file, data set, run or folder 'mine' here: ",
        ("study.yaml",): "There is no study file study.yaml; built-in studies are ",
        (".",): ". holds no workspace, report, model or predictions: name another folder.",
        ("--with-images",): "--with-images is for a study: name one, or leave it out.",
    }.items():
        done = frostline("report", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"Error: {sentence}"), done.stderr
        assert len(done.stderr.splitlines()) == 1
