"""CKA and RankMe of a workspace: the command, the method, and the page of `depth`."""

from __future__ import annotations

import subprocess
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from depth_runs import PLACES, depth_run, reading

import frostline as package
from frostline.cache import InputError, Workspace, find_stores, read_manifest
from frostline.report.depth.curve import depth_curves
from frostline.study.depth_data import with_similarity

from .conftest import Run, environment, make_images, run_script, script

TINY = ("--weights", "random", "--image-size", "32")
DEPTH = ("depth", "-d", "mine", "-b", "timm:test_vit", *TINY, "--cv", "none")
ALIKE = ("cache", "similarity", "-d", "mine")
BLOCKS = [f"blocks.{number}" for number in range(6)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("similarity")
    make_images(folder / "images", 40)
    return folder


@pytest.fixture
def said(place: Path) -> Run:
    """Run a command in the one folder of these tests, and look at its exit code."""

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = run_script(script(), [*words], place, environment())
        assert done.returncode == code, done.stderr
        return done

    return run


def test_command_method_and_page_say_the_same(place: Path, said: Run) -> None:
    said("index", "mine", "--root", "images", "--group-pattern", "(patient[0-9]+)")
    none = said(*ALIKE, code=2)
    assert "There are no embeddings of 'mine'" in none.stderr
    said(*DEPTH)
    said("extract", "-d", "mine", "-b", "timm:test_resnet", *TINY)
    done = said(*ALIKE, "-b", "timm:test_vit", "--format", "csv", "--figure", "alike.png")
    assert "On all 40 images that have these embeddings." in done.stderr
    table = pd.read_csv(StringIO(done.stdout))
    features = [f"layer:{name}:cls" for name in BLOCKS[:-1]]
    assert table["name"].tolist() == table.columns[3:].tolist() == [*features, "cls"]
    assert (place / "alike.png").stat().st_size > 10_000
    page = place / "frostline-workspace" / "reports" / "depth-mine"
    shown = pd.read_csv(page / "tables" / "similarity-mine.csv")
    assert shown["name"].tolist() == BLOCKS
    np.testing.assert_allclose(shown.iloc[:, 1:], table.iloc[:, 1:], rtol=1e-9)
    assert "similarity of the depths" in (page / "index.html").read_text()
    # By hand, of the embeddings of the same images in the order of the manifest.
    ws = package.Workspace(place / "frostline-workspace")
    stores = [
        ws.extract(
            "mine",
            "timm:test_vit",
            feature=name,
            protocol="standard",
            weights="random",
            image_size=32,
        )
        for name in (features[0], "cls")
    ]
    X, Y = (store.frame().iloc[:, 3:].to_numpy() for store in stores)
    assert package.linear_cka(X, Y) == pytest.approx(table.iloc[0]["cls"], rel=1e-9)
    assert package.rankme(Y) == pytest.approx(table.iloc[-1]["rankme"], rel=1e-6)
    alike = ws.similarity("mine", ["timm:test_resnet", "timm:test_vit"])
    assert list(alike.cka)[:2] == ["timm:test_resnet pre_logits", f"timm:test_vit {features[0]}"]
    assert alike.cka.equals(ws.similarity("mine").cka)
    assert "On all 40 images" in alike._repr_html_()
    assert len(alike.figure().axes) == 2
    drawn = ws.similarity("mine", most_images=20, seed=1)
    assert (drawn.images, drawn.of, drawn.seed) == (20, 40, 1)
    assert drawn.cka.equals(ws.similarity("mine", most_images=20, seed=1).cka)
    assert not drawn.cka.equals(ws.similarity("mine", most_images=20, seed=2).cka)
    printed = said(*ALIKE).stdout
    assert "RankMe" in printed
    assert "timm:test_resnet pre_logits" in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("cache", "similarity", "-d", "nothing"), "no embeddings of 'nothing'"),
        ((*ALIKE, "-b", "resnet50"), "no embeddings of 'mine' by 'resnet50'"),
        ((*ALIKE, "-b", "timm:test_vit", "-b", "timm:test_vit"), "given twice"),
        ((*ALIKE, "--most-images", "3"), "--most-images must be 4 or more, not 3"),
        ((*ALIKE, "--figure", "x.gif"), "--figure must end in .svg or .png or .pdf"),
    ],
)
def test_mistakes_are_one_sentence(said: Run, words: tuple[str, ...], sentence: str) -> None:
    done = said(*words, code=2)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_of_one_value_is_left_out_and_few_shared_images_are_refused(
    place: Path, said: Run
) -> None:
    ws = package.Workspace(place / "frostline-workspace")
    table = ws.index("mine", place / "images", group_pattern="(patient[0-9]+)").table
    for name, count in (("theirs", 40), ("few", 3)):
        X = np.full((count, 5), 0.1)
        np.savez(place / f"{name}.npz", X=X, image_id=table["image_id"][:count].to_numpy(str))
        said("cache", "import", f"{name}.npz", "-d", "mine", "-b", name)
    done = said(*ALIKE, "-b", "theirs", "-b", "timm:test_vit")
    assert "The embeddings theirs imported are the same for all images" in done.stderr
    assert "theirs" not in done.stdout
    with pytest.raises(InputError, match="Only 3 images of 'mine' have all of these embeddings"):
        ws.similarity("mine")
    with pytest.raises(InputError, match="most_images must be a whole number from 4 to"):
        ws.similarity("mine", most_images=3)


def test_where_there_is_nothing_to_compare_a_report_says_so_and_goes_on(
    place: Path, said: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    places = Workspace(place / "frostline-workspace")
    ids = read_manifest(places.manifest("mine")).table["image_id"].to_numpy(str)
    for number in range(2):
        np.savez(place / "flat.npz", X=np.full((40, 5), 0.1), image_id=ids)
        (place / "spec.json").write_text(f'{{"depth": {number}}}')
        said("cache", "import", "flat.npz", "-d", "mine", "-b", "flat", "--spec", "spec.json")
    keys = [path.name for path in find_stores(places.embeddings("mine", "flat"))]
    runs = [depth_run(1.0, store_key=key, feature=key) for key in keys]
    curves = depth_curves(reading(), {"effnet-lite0": PLACES}, replicates=100)
    curves.table["dataset"] = "mine"
    read = [[number, [run.run], None] for number, run in enumerate(runs)]
    blocks = [[0, "stem", 1, 0.5], [1, "end", 0, 1.0]]
    about = {"dataset": "mine", "protocol": "depth", "backbone": "flat", "places": blocks}
    (found,) = with_similarity(places, [curves], runs, [{**about, "read": read}])
    assert found.similarity is None
    told = " ".join(capsys.readouterr().err.split())
    assert (
        "The similarity of depths of mine is left out: There are no embeddings to compare" in told
    )
    assert "The embeddings stem are the same for all images" in told
    # Of one depth alone there is nothing to say.
    (found,) = with_similarity(places, [curves], runs, [{**about, "read": read[:1]}])
    assert found.similarity is None
    assert capsys.readouterr().err == ""
