"""`import frostline`: a workspace with the stages as methods, and results that show themselves."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
import yaml

import frostline
from frostline import workspace as face
from frostline.cache import InputError
from frostline.names import as_parameters
from frostline.report import Predictions
from frostline.stages import Machine

from .conftest import make_images

# In this order, each with what the ones before it made.
STAGES = (
    "index",
    "audit",
    "extract",
    "probe",
    "finetune",
    "sweep",
    "predict",
    "run",
    "depth",
    "similarity",
)
STUDY = {
    "name": "small",
    "datasets": {"mine": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": ["effnet-lite0"],
    "protocols": {"frozen": {"head": "logistic"}},
    "replicates": 100,
}
TINY = {"weights": "random", "image_size": 32}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("python")
    make_images(folder / "images", 24)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return folder


@pytest.fixture
def ws(place: Path, monkeypatch: pytest.MonkeyPatch) -> frostline.Workspace:
    monkeypatch.chdir(place)
    monkeypatch.delenv("FROSTLINE_WORKSPACE", raising=False)
    return frostline.Workspace()


@pytest.mark.slow
def test_the_examples_of_the_methods_do_what_they_say(ws: frostline.Workspace) -> None:
    names: dict[str, object] = {"frostline": frostline}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(optionflags=flags)
    described = [face.Workspace, *(getattr(face.Workspace, name) for name in STAGES)]
    functions = frostline.evaluate, frostline.compare, frostline.backbones
    for what in (*described, frostline.Embedder, *functions):
        (example,) = finder.find(what, what.__name__, globs=names)
        assert example.examples, what
        assert runner.run(example, clear_globs=False).failed == 0, what
        names = example.globs


def test_results_show_themselves_and_lead_on(ws: frostline.Workspace) -> None:
    manifest = ws.index("mine", "images", group_pattern="(patient[0-9]+)")
    assert "24 images of 12 groups" in manifest._repr_html_()
    assert "<th>sick</th>" in manifest._repr_html_()
    store = ws.extract("mine", "timm:test_vit", **TINY)  # type: ignore[arg-type]
    assert "24 embeddings of mine by timm:test_vit" in store._repr_html_()
    assert repr(store).startswith("<EmbeddingStore: 24 embeddings of mine by timm:test_vit: ")
    run = ws.probe("mine", "timm:test_vit", "centroid")
    assert repr(run) == f"<Run {run.id}>"
    assert run.id in run._repr_html_()
    assert "Balanced accuracy" in run._repr_html_()
    assert isinstance(run.predictions, Predictions)
    assert "<table" in run.predictions._repr_html_()
    X, y, _ = store.arrays("test")
    answers = run.predictions.table.query("split == 'test'")["prediction"]
    assert list(run.model.predict(X)) == list(answers)
    assert len(y) == len(answers)
    other = ws.probe("mine", "timm:test_vit", "knn")
    both = frostline.compare([run, other], replicates=200)
    assert "Verdict on A" in both._repr_html_()
    assert "give identical predictions: accuracy" in " ".join(repr(both).split())
    assert "majority" in repr(run.scores())
    assert type(both[["a"]]) is pd.DataFrame  # a part of it is an ordinary table
    assert "Severity" in ws.audit("mine")._repr_html_()
    new = ws.predict(run, ["images/sick", "images/well"])
    assert len(new.table) == 24


def test_a_study_gives_its_runs_and_its_page(ws: frostline.Workspace) -> None:
    report = ws.run("study.yaml")
    assert report.page is not None
    assert report.page.is_file()
    assert [run.predictions.meta["backbone"] for run in report.runs] == ["effnet-lite0"]
    assert report.answer.splitlines()[0] in report._repr_html_()
    again = ws.report("study.yaml")
    assert [run.id for run in again.runs] == [run.id for run in report.runs]
    assert list(again.scores(metrics=["accuracy"])["metric"]) == ["accuracy"] * 2


def test_predictions_are_paths_tables_and_what_methods_return(ws: frostline.Workspace) -> None:
    ws.index("mine", "images", group_pattern="(patient[0-9]+)")
    ws.extract("mine", "timm:test_vit", **TINY)  # type: ignore[arg-type]
    run = ws.probe("mine", "timm:test_vit", "centroid")
    one = frostline.evaluate(run, metrics=["accuracy"])
    for given in (str(run.path), [run.path], iter([run]), run.predictions):
        assert one.equals(frostline.evaluate(given, metrics=["accuracy"]))
    table = pd.DataFrame({"label": ["x", "y", "y"], "prediction": ["x", "y", "x"]})
    scores = frostline.evaluate(table, metrics=["accuracy"])
    assert scores.loc[0, ["run", "estimate"]].tolist() == ["table 1", 2 / 3]
    with pytest.raises(InputError, match="no column prediction"):
        frostline.evaluate(table[["label"]])


def test_the_workspace_is_the_folder_or_the_environments(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROSTLINE_WORKSPACE", str(place / "theirs"))
    assert frostline.Workspace().folder == place / "theirs"
    assert frostline.Workspace("mine").folder == Path("mine")


def test_every_command_has_a_method() -> None:
    import typer

    from frostline.cli import app

    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    methods = {name for name in vars(face.Workspace) if not name.startswith("_")}
    functions = {"evaluate", "compare"}
    below = {"import_embeddings", "import_predictions", "similarity"}  # `cache import`, …
    assert methods - below <= commands
    assert commands - methods - functions <= {"cache", "predictions", "doctor", "demo"}
    for name in methods:
        assert len(inspect.signature(getattr(face.Workspace, name)).parameters) <= 14, name


def test_packages_are_packages() -> None:
    script = (
        "import frostline, frostline.extract, frostline.probe, frostline.finetune\n"
        "for name in ('extract', 'probe', 'finetune'):\n"
        "    assert not callable(getattr(frostline, name))\n"
        "from frostline.extract.backbones.catalog import NAMED\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_costs_next_to_nothing() -> None:
    script = (
        "import sys; import frostline; frostline.Workspace('x'); frostline.InputError\n"
        "heavy = {'torch', 'numpy', 'pandas', 'h5py', 'pydantic', 'typer', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_mistakes_are_sentences_and_skipped_images_are_warned_of(
    ws: frostline.Workspace, place: Path
) -> None:
    ws.index("mine", "images", group_pattern="(patient[0-9]+)")
    with pytest.raises(frostline.InputError, match="There is no data set 'other'"):
        ws.extract("other", "effnet-lite0")
    for backbone in (None, 3, lambda images: images):
        with pytest.raises(InputError, match="A backbone is a name, a torch.nn.Module or a "):
            ws.extract("mine", backbone)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Head 'knn' does not depend on a seed: leave seed out"):
        ws.probe("mine", "effnet-lite0", "knn", seed=1)
    with pytest.raises(InputError, match="There is no on_error 'skp': choose stop or skip"):
        ws.probe("mine", "effnet-lite0", "knn", on_error="skp")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="The recipe has no field 'epoch': there are"):
        ws.finetune("mine", "effnet-lite0", epoch=3)
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        frostline.evaluate("nowhere.csv")
    (place / "one.csv").write_text("image_id,label,prediction\na,x,x\nb,y,x\n")
    with pytest.raises(InputError):
        frostline.compare("one.csv")
    make_images(place / "broken", 4)
    (place / "broken" / "well" / "patient900_1.png").write_bytes(b"no image")
    ws.index("broken", place / "broken", group_pattern="(patient[0-9]+)")
    careless = Machine(on_error="skip")
    with pytest.warns(UserWarning, match=r"Skipped: .*patient900_1\.png"):
        store = ws.extract("broken", "timm:test_vit", machine=careless, **TINY)  # type: ignore[arg-type]
    assert len(store.values) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ws.extract("mine", "timm:test_vit", **TINY)  # type: ignore[arg-type]


def test_sentences_name_what_python_calls_it(ws: frostline.Workspace) -> None:
    ws.index("mine", "images", group_pattern="(patient[0-9]+)")
    seed = "weights_seed is for weights random, not 'pretrained': leave it out."
    for method in (ws.extract, ws.finetune):
        with pytest.raises(InputError) as caught:
            method("mine", "effnet-lite0", weights_seed=0)
        assert str(caught.value) == seed
    with pytest.raises(InputError, match="^test_fraction must be at least 0 and less than 1, not"):
        ws.index("mine", "images", group_pattern="(patient[0-9]+)", test_fraction=2, resplit=True)
    with pytest.raises(InputError, match="with group_pattern .* or resplit for new groups"):
        ws.index("mine", "images")
    with pytest.raises(InputError, match="choose from auto, "):
        frostline.evaluate("one.csv", ci="none at all")
    with pytest.raises(InputError) as caught:
        frostline.compare([])
    assert str(caught.value) == (
        "There is nothing to compare: give predictions of at least two runs."
    )


def test_commands_keep_their_names_in_sentences() -> None:
    sentence = "Give --weights FILE, or run `frostline probe --key 1` without --on-error."
    named = "Give weights FILE, or run `frostline probe --key 1` without on_error."
    assert as_parameters(sentence) == named


@pytest.mark.parametrize(
    ("device", "gpus", "sentence"),
    [
        ("gpu", 0, "There is no device 'gpu': choose auto, cpu, cuda or cuda:N."),
        ("cuda:", 1, "There is no device 'cuda:': choose auto, cpu, cuda or cuda:N."),
        ("cuda", 0, "There is no GPU here for --device cuda: use --device cpu."),
        ("cuda:2", 2, "There is no GPU cuda:2: the last one here is cuda:1."),
    ],
)
def test_a_device_that_is_not_here(
    device: str, gpus: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    with pytest.raises(InputError) as caught:
        Machine(device).resolve()
    assert str(caught.value) == sentence
