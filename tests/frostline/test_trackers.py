"""Runs in MLflow, W&B and TensorBoard, read back by their own libraries; and trackers that fail."""

from __future__ import annotations

import csv
import errno
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import frostline
from frostline.cache import InputError
from frostline.cli import app
from frostline.report import read_predictions, write_predictions
from frostline.tracking.record import finished_run
from frostline.tracking.session import Tracking, make_tracker
from frostline.tracking.tracker import CURVES, FinishedRun, Rows, Setting
from frostline.tracking.wandb import as_id

from .conftest import Run
from .tiny_training import TINY, make_stripes
from .trackers import Held, read_mlflow, read_tensorboard, read_wandb

NAMES = ("mlflow", "wandb", "tensorboard")
NETWORK: dict[str, Any] = {"weights": "random", "image_size": 32}
VIT = "timm:test_vit"
TRAINED = {**NETWORK, "unfreeze": 1, "epochs": 2}
READ: dict[str, Callable[[], dict[str, Held]]] = {
    "mlflow": read_mlflow,
    "wandb": read_wandb,
    "tensorboard": lambda: read_tensorboard(Path("frostline-workspace/tensorboard")),
}
MODULES = {"mlflow": "mlflow.tracking", "wandb": "wandb", "tensorboard": "torch.utils.tensorboard"}
TITLES = {"mlflow": "MLflow", "wandb": "W&B", "tensorboard": "TensorBoard"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a head, a training at two learning rates, and one by cross-validation."""
    folder: Path = tmp_path_factory.mktemp("trackers")
    make_stripes(folder / "images", 51)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ws = frostline.Workspace(machine=frostline.Machine("cpu", engine="torch"))
        ws.index("set", "images", group_pattern=r"(patient\d+)")
        ws.extract("set", VIT, **NETWORK)
        ws.probe("set", VIT, "knn")
        ws.finetune("set", VIT, **TRAINED, lr=[1e-3, 1e-4])
        ws.finetune("set", VIT, cv="3x1", **TRAINED)
    return folder


@pytest.fixture
def ws(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> frostline.Workspace:
    """A copy of it, and trackers that write next to it."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    return frostline.Workspace(machine=frostline.Machine("cpu", engine="torch"))


def runs_of(ws: frostline.Workspace) -> dict[str, str]:
    """The ids of its runs by kind."""
    paths = sorted((ws.folder / "predictions").iterdir())
    kinds = {"knn": "head", "cv3": "folds", "unfreeze": "rates"}
    return {next(k for word, k in kinds.items() if word in p.stem): p.stem for p in paths}


def finished(ws: frostline.Workspace, run: str, **more: Any) -> FinishedRun:
    return finished_run(ws.paths.predictions(run), ws.paths.model(run), **more)


@pytest.mark.parametrize("name", NAMES)
def test_a_tracker_holds_settings_epochs_scores_and_files_once(
    ws: frostline.Workspace, name: Any
) -> None:
    runs = runs_of(ws)
    assert [run.id for run in ws.track(runs.values(), name, files=True)] == list(runs.values())
    found = READ[name]()
    assert set(found) == set(runs.values())
    for run, held in found.items():
        meta = read_predictions(ws.paths.predictions(run)).meta
        scores = frostline.evaluate(ws.paths.predictions(run)).set_index(["run", "metric"])
        for column, ending in (("estimate", ""), ("low", "_low"), ("high", "_high")):
            own = scores.loc[(run, "balanced_accuracy"), column]
            assert held.scores[f"test/balanced_accuracy{ending}"] == pytest.approx(own)
        majority = scores.loc[("majority-set", "accuracy"), "estimate"]
        assert held.scores["test/accuracy_majority"] == pytest.approx(majority)
        assert held.settings["backbone"] == VIT
        assert held.settings["frostline.run_id"] == run
        assert held.settings["version.torch"] == meta["versions"]["torch"]
        assert held.state in ("FINISHED", "exit 0")
        names = [Path(one).name for one in held.files]
        kept = ("model.safetensors", "README.md") if run == runs["rates"] else ()
        assert {f"{run}.parquet", *kept} <= set(names)
    head, rates, folds = (found[runs[kind]] for kind in ("head", "rates", "folds"))
    assert (head.settings["head"], head.settings["n_neighbors"]) == ("knn", "10")
    assert head.epochs == {}
    history = read_predictions(ws.paths.predictions(runs["rates"])).meta["history"]
    curve = f"candidate-{history[0]['candidate']}"
    assert set(rates.epochs) == {f"{curve}/{one}" for one in CURVES}
    for one in CURVES:
        expected = [(row["epoch"], pytest.approx(row[one])) for row in history]
        assert rates.epochs[f"{curve}/{one}"] == expected
    assert rates.settings["lr"] == str(history[0]["lr"])
    assert {one.split("/")[0] for one in folds.epochs} == {"fold-0", "fold-1", "fold-2"}
    assert folds.settings["epochs"] == "2"
    # Again: it is there. Predictions without --files hold no ids of patients anywhere.
    assert ws.track(list(runs.values()), name) == []
    assert READ[name]() == found


@pytest.mark.parametrize("name", NAMES)
def test_a_training_that_died_goes_on_in_the_same_place(ws: frostline.Workspace, name: Any) -> None:
    run = runs_of(ws)["rates"]
    done = finished(ws, run)
    with (ws.paths.model(run) / "log.csv").open() as file:
        rows: list[Any] = [
            {key: value if key == "best" else float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]
    for row in rows:
        row |= {key: int(row[key]) for key in ("epoch", "epochs", "candidate", "candidates")}
    known = {"backbone": VIT, "unfreeze": "1"}
    first = make_tracker(name, ws.paths)
    for upto in (1, 2, 3):
        first.epochs(run, known, rows[:upto])
    assert not first.has(run)
    if name == "wandb":
        first.close()  # W&B has one run at a time; a process that dies leaves the same
    time.sleep(1)  # two processes do not begin in one second, by which both name their files
    again = make_tracker(name, ws.paths)
    again.epochs(run, known, rows[:3])
    again.epochs(run, known, rows)
    again.finish(done)
    again.close()
    assert again.has(run)
    found = READ[name]()
    assert set(found) == {run}
    held = found[run]
    assert len(rows) == 4
    for curve in ("candidate-1", "candidate-2"):
        own = [row for row in rows if f"candidate-{row['candidate']}" == curve]
        assert held.epochs[f"{curve}/train_loss"] == [
            (row["epoch"], pytest.approx(row["train_loss"])) for row in own
        ]


def test_repeats_that_train_before_one_another_ends_are_one_run_each(
    ws: frostline.Workspace,
) -> None:
    """W&B writes a folder each time that a run is begun: one, whole, for each repeat."""
    tracked = frostline.Workspace(machine=ws.machine, track="wandb")
    tracked.finetune("set", VIT, cv="3x2", **{**TRAINED, "unfreeze": "all"})
    folders = [path.name for path in Path("wandb").glob("offline-run-*")]
    found = read_wandb()
    assert len(folders) == len(found) == 2
    for held in found.values():
        assert held.state == "exit 0"
        assert "test/accuracy" in held.scores
        curves = {name.rpartition("/")[0] for name in held.epochs}
        assert len(curves) == 3, curves  # folds
        assert all(len(set(axis)) == len(axis) for axis in held.epochs.values())


def test_an_epoch_that_mlflow_did_not_take_is_handed_over_at_the_end(
    ws: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    real, asked = MlflowClient.log_batch, [0]

    def log_batch(client: MlflowClient, *of: Any, **named: Any) -> Any:
        asked[0] += "metrics" in named
        if "metrics" in named and asked[0] == 2:
            raise ConnectionError("The server is away")
        return real(client, *of, **named)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    ws.tracking = Tracking("mlflow")
    run = ws.finetune("set", VIT, **{**TRAINED, "epochs": 4}, seed=5)
    held = READ["mlflow"]()[run.id]
    assert [epoch for epoch, _ in held.epochs["val_loss"]] == [1, 2, 3, 4]
    assert held.state == "FINISHED"


class Recorder(frostline.Tracker):
    """A tracker of one's own, which fails where it is asked to."""

    title = "The recorder"

    def __init__(self, *fails: str) -> None:
        self.fails, self.heard = fails, list[tuple[Any, ...]]()
        self.whole: dict[str, FinishedRun] = {}

    def has(self, run: str) -> bool:
        return run in self.whole

    def epochs(self, run: str, settings: Mapping[str, Setting], rows: Rows) -> None:
        self.heard.append(("epochs", run, dict(settings), len(rows)))
        if "epochs" in self.fails:
            raise ConnectionError("The server is away")

    def finish(self, run: FinishedRun) -> None:
        self.heard.append(("finish", run.id))
        if "finish" in self.fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.whole[run.id] = run

    def close(self) -> None:
        self.heard.append(("close",))


def test_epochs_are_heard_while_a_training_is_under_way(ws: frostline.Workspace) -> None:
    recorder, before = Recorder(), runs_of(ws)["rates"]
    ws.tracking = Tracking(recorder)
    run = ws.finetune("set", VIT, **TRAINED, seed=3)
    known = recorder.heard[0][2]
    assert recorder.heard == [
        ("epochs", run.id, known, 1),
        ("epochs", run.id, known, 2),
        ("finish", run.id),
        ("close",),
    ]
    whole = recorder.whole[run.id]
    assert known.items() <= whole.settings.items()
    assert (known["backbone"], known["lr"], known["seed"]) == (VIT, 1e-4, 3)
    assert whole.files == {}
    # Finished: it is neither trained nor handed over again, and its id is that of no tracker.
    heard = list(recorder.heard)
    assert ws.finetune("set", VIT, **TRAINED, seed=3).id == run.id
    assert recorder.heard == [*heard, ("close",)]
    assert ws.finetune("set", VIT, **TRAINED, lr=[1e-3, 1e-4]).id == before
    assert before in recorder.whole
    (folds,) = ws.finetune("set", VIT, cv="3x1", **TRAINED, seed=3)
    epochs = [one for one in recorder.heard if one[:2] == ("epochs", folds.id)]
    assert [one[3] for one in epochs] == [1, 2, 1, 2, 1, 2]
    assert [row["fold"] for row in recorder.whole[folds.id].epochs] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("fails", [("epochs",), ("finish",), ("epochs", "finish")])
def test_a_tracker_that_fails_neither_stops_nor_loses_a_run(
    ws: frostline.Workspace, capsys: pytest.CaptureFixture[str], fails: tuple[str, ...]
) -> None:
    recorder = Recorder(*fails)
    ws.tracking = Tracking(recorder)
    run = ws.finetune("set", VIT, **TRAINED, seed=4)
    assert run.scores(metrics="accuracy")["estimate"].notna().all()
    # After the first failure the training does not wait for it again.
    heard = [one[0] for one in recorder.heard]
    assert heard == ["epochs", *([] if "epochs" in fails else ["epochs"]), "finish", "close"]
    said = [line for line in capsys.readouterr().err.splitlines() if "Warning" in line]
    if "finish" not in fails:
        assert said == []
        assert len(recorder.whole[run.id].epochs) == 2
        return
    assert said == [
        f"Warning: The recorder did not take {run.id}: OSError: [Errno 28] No space left on "
        "device. It is whole in frostline-workspace/predictions; `frostline track` hands it over "
        "later."
    ]
    recorder.fails = ()
    assert [one.id for one in ws.track(run, recorder)] == [run.id]


STUDY = {
    "name": "small",
    "datasets": {"set": {"root": "images", "group_pattern": r"(patient\d+)"}},
    "backbones": [{"name": VIT, "weights": "random"}],
    "protocols": {
        "near": {"head": "knn", "image_size": 32},
        "tuned": {"unfreeze": 1, "image_size": 32, "epochs": 1},
    },
    "replicates": 100,
    "device": "cpu",
}


def test_a_study_hands_over_each_run_once_when_it_is_done(
    ws: frostline.Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("frostline.study.runner._report", lambda *of: None)  # which takes its time
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    recorder = Recorder()
    ws.tracking = Tracking(recorder)
    report = ws.run("study.yaml")
    ids = [run.id for run in report.runs]
    assert sorted(one[1] for one in recorder.heard if one[0] == "finish") == sorted(set(ids))
    # Each when it is done, and not at the end of the study.
    near, tuned = sorted(ids, key=lambda run: "unfreeze" in run)
    heard = [one[:2] for one in recorder.heard if one[0] != "close"]
    assert heard == [("finish", near), ("epochs", tuned), ("finish", tuned)]
    count = len(recorder.heard)
    ws.run("study.yaml")
    assert {one[0] for one in recorder.heard[count:]} == {"close"}
    # Runs of before are handed over too, and what a tracker does not take stops no study.
    failing = Recorder("finish")
    ws.tracking = Tracking(failing)
    capsys.readouterr()
    assert [run.id for run in ws.run("study.yaml").runs] == ids
    (said,) = [one for one in capsys.readouterr().err.splitlines() if "Warning: The rec" in one]
    assert said.startswith(f"Warning: The recorder did not take {len(set(ids))} runs: OSError")
    assert [one[0] for one in failing.heard].count("finish") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_package_is_one_sentence_before_anything_is_computed(
    ws: frostline.Workspace, name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    ws.tracking = Tracking(name)
    before = sorted(Path().rglob("*"))
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    for stage in (
        lambda: ws.probe("set", VIT, "centroid"),
        lambda: ws.finetune("set", VIT, **TRAINED, seed=9),
        lambda: ws.run("study.yaml"),
    ):
        with pytest.raises(InputError) as caught:
            stage()
        said = str(caught.value)
        assert said.startswith(
            f"Tracking by {TITLES[name]} needs a package that cannot be imported (import of "
        )
        assert said.endswith(f"): run `pip install 'frostline[{name}]'`.")
    Path("study.yaml").unlink()
    assert sorted(Path().rglob("*")) == before


def test_the_commands_of_the_page(ws: frostline.Workspace, frostline: Run) -> None:
    tuned = frostline(*TINY, "--epochs", 1, "--seed", 6, "--track", "tensorboard")
    assert tuned.returncode == 0, tuned.stderr
    run = Path(tuned.stdout.strip()).stem
    held = READ["tensorboard"]()[run]
    assert [len(values) for values in held.epochs.values()] == [1] * len(CURVES)
    assert held.files == []
    paths = sorted(Path("frostline-workspace/predictions").iterdir())
    done = frostline("track", *paths, "--to", "tensorboard")
    assert done.returncode == 0, done.stderr
    found = READ["tensorboard"]()
    assert set(found) == {path.stem for path in paths}
    assert all(held.state == "FINISHED" for held in found.values())
    *ids, last = done.stdout.splitlines()
    assert (
        last == f"{len(ids)} runs handed over to tensorboard, {len(found) - len(ids)} it had "
        "before."
    )


def test_a_server_that_is_away_is_a_warning_and_no_run_is_lost(
    ws: frostline.Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    probe = ["probe", "--dataset", "set", "--backbone", VIT, "--head", "majority"]
    assert not app([*probe, "--track", "mlflow"], standalone_mode=False)
    done = capsys.readouterr()
    path = Path(done.out.strip())
    assert path.is_file()
    (said,) = [line for line in done.err.splitlines() if line.startswith("Warning")]
    assert said.startswith(f"Warning: MLflow did not take {path.stem}: MlflowException: ")
    where = "frostline-workspace/predictions; `frostline track` hands it over later."
    assert said.endswith(f" whole in {where}")
    with pytest.raises(InputError, match=f"^MLflow did not take {path.stem}: MlflowException: "):
        app(["track", str(path), "--to", "mlflow"], standalone_mode=False)


WRONG = {
    (
        "probe",
        "--dataset",
        "set",
        "--backbone",
        VIT,
        "--track-files",
    ): "--track-files is for --tra",
    ("track", "nothing", "--to", "mlflow"): "There is no run 'nothing' in frostline-workspace/pred",
    ("track", "", "--to", "mlflow"): "There is no run '' in frostline-workspace/predictions: name",
    ("track", "set-timm-", "--to", "mlflow"): "2 runs begin with 'set-timm-': name one of them (",
    ("track", "set", "--to", "comet"): "Invalid value for '--to': 'comet' is not one of",
    ("track", "set"): "Missing option '--to'",
    (
        "track",
        "{path}",
        "--to",
        "mlflow",
        "--workspace",
        "other",
    ): "is no run of other: give the --wo",
    ("run", "s.yaml", "--dry-run", "--track", "wandb"): "runs nothing: leave --track out.",
    ("track", "{broken}", "--to", "tensorboard"): "TensorBoard did not take broken: ",
}


def test_mistakes_are_one_sentence(ws: frostline.Workspace, frostline: Run) -> None:
    Path("s.yaml").write_text(yaml.safe_dump(STUDY))
    path = ws.paths.predictions(runs_of(ws)["head"])
    broken = ws.paths.predictions("broken")
    broken.write_bytes(path.read_bytes()[:-200])
    for words, sentence in WRONG.items():
        done = frostline(*(word.format(path=path, broken=broken) for word in words))
        assert done.returncode == 2, (words, done.stdout, done.stderr)
        assert sentence in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (ws.folder / "tensorboard" / "broken").exists()


def test_a_run_that_cannot_be_read_keeps_no_other_from_its_tracker(
    ws: frostline.Workspace,
) -> None:
    runs = runs_of(ws)
    path = ws.paths.predictions("a-broken")
    path.write_bytes(ws.paths.predictions(runs["head"]).read_bytes()[:-200])
    recorder = Recorder()
    with pytest.raises(InputError, match="^The recorder did not take a-broken: "):
        ws.track(["a-broken", *runs.values()], recorder)
    assert set(recorder.whole) == set(runs.values())


def test_a_run_without_a_test_set_has_no_scores(ws: frostline.Workspace) -> None:
    found = read_predictions(ws.paths.predictions(runs_of(ws)["rates"]))
    path = Path("frostline-workspace/predictions/untested.parquet")
    table = found.table[found.table["split"] == "val"]
    own = {"weights": "uniform", "p": None, "layers": [3, 3], "deep?": {"a": 1}}
    views = {"count": 2, "degrees": 10, "seed": 0, "stores": ["0" * 32]}
    meta = {**found.meta, "run": "untested", "hyperparameters": own, "views": views}
    write_predictions(path, table, meta)
    for name in NAMES:
        assert [run.id for run in ws.track("untested", name)] == ["untested"]
        held = READ[name]()["untested"]
        assert set(held.scores) == {"seconds", "best_epoch"}
        assert held.settings["weights"] == "random, seed 0"
        assert held.settings["head.weights"] == "uniform"
        assert held.settings["layers"] == "3, 3"
        assert (held.settings["views.count"], held.settings["views.degrees"]) == ("2", "10")
        assert "views.stores" not in held.settings
        assert held.settings["p"] == "none"
        assert held.settings["deep_" if name == "mlflow" else "deep?"].startswith("{")


def test_what_python_is_given_is_checked(ws: frostline.Workspace) -> None:
    words = "must be mlflow, wandb, tensorboard or a frostline.Tracker, not 'comet'."
    with pytest.raises(InputError, match=f"^track {words}$"):
        frostline.Workspace(track="comet")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"^to {words}$"):
        ws.track(runs_of(ws)["head"], "comet")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^No tracker is named: give to, mlflow, wandb, tensorb"):
        ws.track(runs_of(ws)["head"])
    with pytest.raises(InputError, match="There is no run to hand over"):
        ws.track([], "mlflow")


def test_wandb_is_online_only_if_asked_and_with_a_key(
    ws: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path().absolute()))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(InputError, match="WANDB_MODE is online, and W&B has no API key here: run"):
        ws.track(runs_of(ws)["head"], "wandb")
    assert not Path("wandb").exists()
    assert as_id("chest-timm%3Avit/é-1a2b") == "chest-timm-3Avit---1a2b"
    assert len(as_id("x" * 200)) == 128


@pytest.mark.slow
def test_runners_of_one_study_hand_over_each_run_once(
    ws: frostline.Workspace, frostline: Run
) -> None:
    deep = {"feature": "blocks", "head": "centroid", "image_size": 32, "train": [1, "all"]}
    study = STUDY | {"protocols": {"deep": deep | {"epochs": 1}, **STUDY["protocols"]}}
    Path("study.yaml").write_text(yaml.safe_dump(study))
    before = set(runs_of(ws).values())
    command = ("run", "study.yaml", "--jobs", 2, "--track", "mlflow", "--track-files")
    done = frostline(*command)
    assert done.returncode == 0, done.stderr
    made = {path.stem for path in (ws.folder / "predictions").iterdir()}
    found = READ["mlflow"]()  # which has each once
    assert made - before <= set(found) <= made
    assert all(held.state == "FINISHED" and held.files for held in found.values())
    assert frostline(*command).returncode == 0
    assert READ["mlflow"]() == found
    depth = ("depth", *TINY[1:], "--cv", "none", "--protocol", "paper", "--track", "tensorboard")
    done = frostline(*depth)
    assert done.returncode == 0, done.stderr
    assert len(READ["tensorboard"]()) > 3


@pytest.mark.slow
def test_mlflow_by_itself_is_a_database(
    ws: frostline.Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    runs = runs_of(ws)
    assert len(ws.track(runs.values(), "mlflow", files=True)) == len(runs)
    assert set(READ["mlflow"]()) == set(runs.values())
    assert Path("mlflow.db").is_file()
    assert ws.track(runs.values(), "mlflow") == []
