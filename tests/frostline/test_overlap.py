"""A backbone that was pretrained on images of the data set at hand: said wherever scores are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from frostline import Workspace
from frostline.cache import read_manifest
from frostline.cli import app
from frostline.extract.backbones.backbone import load_backbone
from frostline.report import read_predictions, write_report
from frostline.report.depth.curve import Place, Point, depth_curves
from frostline.report.depth.sentences import depth_paragraphs, depth_sentences

from .conftest import make_images

PAGE = "https://example.org/ours"
OWN = {
    "images": {"our-hospital": {"name": "our hospital's X-rays", "of": ["mimic-cxr"]}},
    "backbones": [
        {"name": "timm:test_vit", "kind": "chest", "url": PAGE, "pretrained_on": ["our-hospital"]}
    ],
}
WORDS = f"pretrained on images of MIMIC-CXR ({PAGE}), where images of"


def told(*arguments: object, fails: bool = False) -> str:
    """What a command prints, its lines joined."""
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert bool(done.exit_code) == fails, done.output
    return " ".join(done.output.split())


NETWORK = ("--backbone", "timm:test_vit", "--image-size", "32")
INDEX = ("--group-pattern", "(patient[0-9]+)")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A head and a fine-tuned network on two data sets, of which one has images that it knows."""
    folder = tmp_path_factory.mktemp("overlap")
    make_images(folder / "images", 24)
    network = load_backbone("timm:test_vit", weights="random", image_size=32).model
    torch.save(network.state_dict(), folder / "ours.pth")
    ws = Workspace(folder / "ws")
    ws.folder.mkdir(exist_ok=True)
    (ws.folder / "catalog.yaml").write_text(yaml.safe_dump(OWN), encoding="utf-8")
    where = ["--workspace", ws.folder]
    for name, source in (("overlapping", ["--source", "MIMIC_CXR"]), ("apart", [])):
        told("index", name, "--root", folder / "images", *INDEX, *source, *where)
        mine = [*NETWORK, "--weights", folder / "ours.pth", "--dataset", name, *where]
        told("extract", *mine)
        told("probe", *NETWORK[:2], "--dataset", name, "--head", "centroid", *where)
        told("finetune", *mine, "--unfreeze", "1", "--epochs", "1")
    return ws


def files(ws: Workspace, dataset: str) -> list[Path]:
    """The predictions of a data set's head and network."""
    return sorted((ws.folder / "predictions").glob(f"{dataset}-timm*.parquet"))


def test_a_data_set_knows_where_its_images_come_from(trained: Workspace) -> None:
    assert read_manifest(trained.paths.manifest("overlapping")).sources == ["mimic-cxr"]
    assert read_manifest(trained.paths.manifest("apart")).sources == []


@pytest.mark.parametrize("format", ["table", "latex"])
def test_evaluate_and_compare_say_it_where_it_is_so(trained: Workspace, format: str) -> None:
    page = PAGE.replace("_", "\\_")
    said = f"pretrained on images of MIMIC-CXR ({page}), where images of"
    for command in ("evaluate", "compare"):
        ours = told(command, *files(trained, "overlapping"), "--format", format)
        assert said in ours
        assert said not in told(command, *files(trained, "apart"), "--format", format)


def test_the_note_stands_above_others_and_not_on_the_majority(trained: Workspace) -> None:
    frame = scores_of(trained)
    for head, notes in zip(frame["head"], frame["notes"], strict=True):
        texts = [note.text for note in notes if WORDS in note.text]
        assert len(texts) == (head != "majority class")
    note = next(note for note in frame["notes"].iloc[0] if WORDS in note.text)
    assert note.first


def scores_of(ws: Workspace):
    from frostline.report.statistics.evaluation import evaluate

    frame = evaluate(files(ws, "overlapping"), metrics=["accuracy"])
    majority = frame["run"].str.startswith("majority")
    return frame.assign(head=frame["head"].mask(majority, "majority class"))


def test_page_methods_and_answer_say_it_of_the_one_data_set(
    trained: Workspace, tmp_path: Path
) -> None:
    runs = [files(trained, "overlapping")[0], files(trained, "apart")[0]]
    write_report(tmp_path, runs, title="Both", replicates=100, figure_formats=("svg",))
    check_report(tmp_path)


def check_report(folder: Path) -> None:
    for name in ("index.html", "methods.md", "answer.txt"):
        text = " ".join((folder / name).read_text(encoding="utf-8").split())
        plain = text.replace("\\", "").replace("<wbr>", "")
        assert f"{WORDS} overlapping come from: its scores may be too good." in plain, name
        assert f"{WORDS} apart" not in plain, name


def test_cards_say_it(trained: Workspace) -> None:
    for dataset, there in (("overlapping", True), ("apart", False)):
        for path in files(trained, dataset):
            card = trained.folder / "models" / path.stem / "README.md"
            assert (WORDS in card.read_text(encoding="utf-8").replace("\\", "")) == there


def test_depth_says_it_in_the_answer(trained: Workspace) -> None:
    place = Place(1, "blocks.0", 1, 0.5)
    for dataset, there in (("overlapping", True), ("apart", False)):
        runs = [read_predictions(path) for path in files(trained, dataset)]
        points = [Point("read", place, [run]) for run in runs if run.meta["unfreeze"] == "none"]
        curves = depth_curves(points, {"timm:test_vit": [place]}, replicates=100)
        first = depth_paragraphs(curves)["timm:test_vit"][0]
        assert (f"timm:test_vit was {WORDS} {dataset} come from" in first) == there
        assert (WORDS in " ".join(depth_sentences(curves))) == there


@pytest.mark.slow
def test_depth_and_a_study_say_it_by_their_commands(trained: Workspace) -> None:
    weights = trained.folder.parent / "ours.pth"
    options = [*NETWORK, "--weights", weights, "--cv", "none", "--workspace", trained.folder]
    for dataset, there in (("overlapping", True), ("apart", False)):
        said = told("depth", "--dataset", dataset, *options)
        assert (f"timm:test_vit was {WORDS} {dataset} come from" in said) == there
    path = trained.folder.parent / "study.yaml"
    datasets = {
        name: {"root": "images", "group_pattern": INDEX[1]} for name in ("overlapping", "apart")
    }
    datasets["overlapping"]["options"] = {"source": ["mimic-cxr"]}
    study = {
        "name": "small",
        "datasets": datasets,
        "backbones": [{"name": "timm:test_vit", "weights": str(weights)}],
        "protocols": {"frozen": {"head": "centroid", "image_size": 32}},
        "replicates": 100,
    }
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    told("run", path, "--workspace", trained.folder)
    check_report(trained.paths.report("small"))


def test_what_is_declared_later_is_said_of_runs_that_are_there(trained: Workspace) -> None:
    root, where = trained.folder.parent / "images", ["--workspace", trained.folder]
    again = ["index", "apart", "--root", root, "--group-pattern", "(patient[0-9]+)", *where]
    try:
        told(*again, "--source", "our-hospital")
        assert "our hospital's X-rays" in told("evaluate", *files(trained, "apart"))
        told(*again)  # what was declared stays
        assert "our hospital's X-rays" in told("evaluate", *files(trained, "apart"))
    finally:
        told(*again, "--source", "none")
    assert "pretrained" not in told("evaluate", *files(trained, "apart"))


def test_predictions_elsewhere_keep_what_they_recorded(trained: Workspace, tmp_path: Path) -> None:
    for dataset, there in (("overlapping", True), ("apart", False)):
        path = files(trained, dataset)[0]
        (tmp_path / path.name).write_bytes(path.read_bytes())
        assert (WORDS in told("evaluate", tmp_path / path.name)) == there


def test_random_weights_know_no_images(trained: Workspace) -> None:
    # Another seed than that of the file, whose run would be the same.
    network = [*NETWORK, "--weights", "random", "--weights-seed", 7]
    where = ["--dataset", "overlapping", "--workspace", trained.folder]
    before = {*(trained.folder / "predictions").iterdir()}
    told("finetune", *network, *where, "--unfreeze", "1", "--epochs", 1)
    (run,) = {*(trained.folder / "predictions").iterdir()} - before
    assert "pretrained" not in told("evaluate", run)
    run.unlink()


def test_imported_embeddings_have_the_origin_of_their_name(
    trained: Workspace, tmp_path: Path
) -> None:
    table = read_manifest(trained.paths.manifest("overlapping")).table
    rows = [f"{name},{number % 7},{number % 5}" for number, name in enumerate(table["image_id"])]
    path = tmp_path / "theirs.csv"
    path.write_text("\n".join(["image_id,e0,e1", *rows]), encoding="utf-8")
    where = ["--dataset", "overlapping", "--workspace", trained.folder]
    for name, there in (("chexzero", True), ("theirs", False)):
        told("cache", "import", path, "--backbone", name, *where)
        told("probe", "--backbone", name, "--head", "knn", *where)
        run = next((trained.folder / "predictions").glob(f"overlapping-{name}-*.parquet"))
        assert ("pretrained on images of MIMIC-CXR" in told("evaluate", run)) == there
        run.unlink()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("mimic", "No backbone that Frostline knows was pretrained on 'mimic'"),
        ("Universität Köln 3", "pretrained on 'universität-köln-3'"),
    ],
)
def test_a_strange_source_is_kept_and_said(tmp_path: Path, source: str, sentence: str) -> None:
    make_images(tmp_path / "images", 6)
    where = ["--root", tmp_path / "images", "--workspace", tmp_path / "ws"]
    with pytest.warns(UserWarning, match=sentence):
        told("index", "mine", *where, "--source", source)


def test_wrong_sources_are_one_sentence(tmp_path: Path) -> None:
    from frostline.cache import InputError

    make_images(tmp_path / "images", 6)
    where = ["--root", tmp_path / "images", "--workspace", tmp_path / "ws"]
    for wrong in (["--source", ""], ["--source", "none", "--source", "chexpert"]):
        with pytest.raises(InputError, match="correct --source"):
            told("index", "mine", *where, *wrong)


@pytest.mark.parametrize(
    ("kind", "options", "sources"),
    [
        ("isic2018", {}, ["isic2018", "ham10000", "isic-archive"]),
        ("chest-xray", {}, ["chest-xray"]),
        ("medmnist", {"data": "pneumoniamnist_224.npz"}, ["pneumoniamnist", "chest-xray"]),
        ("medmnist", {"data": "bloodmnist"}, []),
        ("folder", {"source": ["rsna-pneumonia"]}, ["rsna-pneumonia"]),
    ],
)
def test_the_kind_says_whose_images_they_are(
    tmp_path: Path, kind: str, options: dict[str, object], sources: list[str]
) -> None:
    from frostline.extract.readers.sources import image_sources

    assert image_sources(kind, {"source": None, **options}, tmp_path) == sources
