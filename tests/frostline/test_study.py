"""A study from files to page in one command, and again; what is wrong in its file is named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from frostline.cache import InputError, Workspace, read_manifest, write_manifest
from frostline.cli import app
from frostline.study.file import (
    BackboneEntry,
    DatasetEntry,
    ProtocolEntry,
    Study,
    builtin_studies,
    parse_study,
    read_study,
)
from frostline.study.plan import study_cells
from frostline.study.results import update_report

from .conftest import Run, make_images

STUDY = """
name: small
datasets:
  set: {root: images, group_pattern: '(patient[0-9]+)'}
backbones:
  - {name: 'timm:test_vit', weights: random, weights_seed: 3}
protocols:
  frozen: {recipe: paper, unfreeze: none, head: logistic, image_size: 32}
  frozen, Adam: {recipe: paper, unfreeze: none, image_size: 32, epochs: 5}
  frozen, neighbours: {recipe: paper, head: knn, image_size: 32}
  last block: {recipe: paper, unfreeze: 1, image_size: 32, epochs: 2}
  fine-tuned: {recipe: paper, unfreeze: all, image_size: 32, epochs: 2, batch: 8}
replicates: 200
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    make_images(tmp_path / "images", 60)
    (tmp_path / "small.yaml").write_text(STUDY)
    return tmp_path


def test_a_study_runs_once_and_ends_with_answer_table_and_page(study: Path, frostline: Run) -> None:
    first = frostline("run", "small.yaml")
    assert first.returncode == 0, first.stderr
    assert "On set, " in first.stdout
    assert max(map(len, first.stdout.splitlines()[:-2])) <= 80
    report = study / "frostline-workspace" / "reports" / "small"
    page = (report / "index.html").read_text()
    assert "random weights" in page
    assert "<svg" in page
    assert "<h2>The data</h2>" in page
    assert "| set | " in (report / "tables" / "data.md").read_text()
    assert r"\toprule" in (report / "tables" / "paper.tex").read_text()
    assert "majority" in (report / "tables" / "scores.md").read_text().lower()
    runs = sorted((study / "frostline-workspace" / "predictions").iterdir())
    assert len(runs) == 5
    written = [(path.name, path.stat().st_mtime_ns) for path in runs]
    stores = sorted((study / "frostline-workspace").rglob("*.h5"))
    before = {path: path.stat().st_atime_ns for path in (study / "images").rglob("*.png")}
    again = frostline("run", "small.yaml")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert [(path.name, path.stat().st_mtime_ns) for path in runs] == written
    assert sorted((study / "frostline-workspace").rglob("*.h5")) == stores
    assert {path: path.stat().st_atime_ns for path in before} == before
    assert (report / "figures" / "embeddings-pca-1.svg").exists()
    assert "data:image/webp" not in page
    (study / "small.yaml").write_text(STUDY + "clinical: {threshold: specificity=0.8}\n")
    shown = frostline("report", "small.yaml", "--with-images")
    assert shown.returncode == 0, shown.stderr
    assert "data:image/webp;base64," in (report / "index.html").read_text()
    assert "specificity=0.8" in (report / "tables" / "operating.csv").read_text()
    (study / "small.yaml").write_text(STUDY + "clinical: {positive: ill}\n")
    none = frostline("run", "small.yaml")
    assert none.returncode == 2
    assert "clinical: positive: 'ill' is a class of no data set: choose from " in none.stderr
    assert sorted((study / "frostline-workspace" / "predictions").iterdir()) == runs


@pytest.mark.slow
def test_a_report_is_written_anew_when_a_manifest_changed(
    study: Path, frostline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    frozen = STUDY.partition("  frozen, Adam")[0] + "replicates: 100\n"
    (study / "small.yaml").write_text(frozen)
    assert frostline("run", "small.yaml").returncode == 0
    workspace, small = Workspace(Path("frostline-workspace")), read_study("small.yaml")
    predictions = sorted((workspace.root / "predictions").iterdir())
    page = workspace.report("small") / "index.html"
    before = page.stat().st_mtime_ns
    update_report(workspace, small, predictions)
    assert page.stat().st_mtime_ns == before
    manifest = read_manifest(workspace.manifest("set"))
    assert "The data may leak" not in page.read_text()
    manifest.table.loc[0, "group_id"] = manifest.table["group_id"][
        manifest.table["split"] != manifest.table["split"][0]
    ].iat[0]
    write_manifest(workspace.manifest("set"), manifest)
    update_report(workspace, small, predictions)
    assert "The data may leak" in page.read_text()


def test_evaluate_prints_the_agreed_csv_and_reads_anyones(study: Path, frostline: Run) -> None:
    options = ("-d", "set", "-b", "timm:test_vit")
    assert frostline(
        "index", "set", "--root", "images", "--group-pattern", "(patient[0-9]+)"
    ).stdout
    tiny = ("--weights", "random", "--image-size", "32", "--device", "cpu")
    assert frostline("extract", *options, *tiny).returncode == 0
    runs = [
        frostline("probe", *options, "--head", name).stdout.strip() for name in ("knn", "centroid")
    ]
    done = frostline("evaluate", *runs, "--format", "csv", "--replicates", "200")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("run,metric,estimate,low,high\n")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    metrics = {"accuracy", "balanced_accuracy", "precision_weighted", "recall_weighted"}
    assert metrics | {"f1_weighted"} <= {row["metric"] for row in rows}
    assert any("majority" in row["run"] for row in rows)
    for row in rows:
        assert 0 <= float(row["estimate"]) <= 1
    (study / "theirs.csv").write_text(
        "image_name,prediction,true_label\na.png,0,0\nb.png,1,0\nc.png,1,1\nOverall,0.6,\n"
    )
    theirs = frostline("evaluate", "theirs.csv", "--ci", "replicate-mean", "--format", "csv")
    assert theirs.returncode == 0, theirs.stderr
    (accuracy,) = (
        row
        for row in csv.DictReader(io.StringIO(theirs.stdout))
        if row["metric"] == "accuracy" and "majority" not in row["run"]
    )
    assert float(accuracy["estimate"]) == pytest.approx(2 / 3, abs=0.02)
    table = frostline("evaluate", "theirs.csv", "--ci", "replicate-mean")
    words = " ".join(table.stdout.split()).lower()
    assert "interval of the bootstrap mean, not of the metric" in words


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sedes": [1]}, "s.yaml has no key 'sedes': there are name, title, datasets"),
        ({"datasets": {"a": {"rot": "x"}}}, "s.yaml has no key 'datasets.a.rot': there are root"),
        (
            {"protocols": {"p": {"unfreeze": "half"}}},
            "protocols.p.unfreeze must be 'none', 'classifier', 'all', 'norm' or 'lora' or a valid "
            "integer or lora:N or first:N, not 'half'",
        ),
        ({"protocols": {"p": {"recipe": "best"}}}, "protocols.p.recipe must be 'paper'"),
        (
            {"protocols": {"p": {"recipe": "standard", "epochs": 5}}},
            "protocols.p: Head 'logistic' takes no field of the recipe: leave epochs out.",
        ),
        ({"protocols": {"p": {"unfreeze": 1, "head": "knn"}}}, "A head is for `unfreeze: none`; "),
        ({"primary_metric": "acuracy"}, "primary_metric: There is no metric 'acuracy': choose "),
        (
            {"primary_metric": "calibration_slope"},
            "primary_metric: calibration_slope does not say which method is better, because 1 is ",
        ),
        ({"primary_metric": "recall_weighted"}, "primary_metric: `recall_weighted` is the same "),
        ({"ci": "foo"}, "ci: There is no interval 'foo': choose from auto, percentile, "),
        ({"clinical": {"by": ["age:x"]}}, "clinical: by 'age:x': behind a column stand cut points"),
        (
            {"clinical": {"bye": ["sex"]}},
            "s.yaml has no key 'clinical.bye': there are threshold, prevalence, positive, benefit,",
        ),
        ({"backbones": []}, "backbones must have at least 1 item, not []."),
        ({"datasets": {}}, "datasets must have at least 1 item, not {}."),
        ({"seeds": []}, "seeds must have at least 1 item, not []."),
        (
            {"backbones": ["resnet50", {"name": "resnet50", "weights": "random"}]},
            "backbones has 'resnet50' twice, and runs are called by it: keep one, and make another",
        ),
        ({"seeds": [0, 1, 0]}, "seeds has 0 twice"),
        ({"protocols": {"last 1/2": {}}}, "protocols has 'last 1/2', and runs are called DATASET"),
        ({"backbones": [{"nam": "x"}]}, "s.yaml has no key 'backbones.0.nam': there are name"),
        ({"backbones": [{"weights": "x"}]}, "s.yaml lacks the key 'backbones.0.name': add it."),
        ({"backbones": [3]}, "backbones.0 must be a valid string or a valid dictionary, not 3."),
        (
            {"backbones": [{"name": "resnet50", "weights_seed": 3}]},
            "backbones.0: weights_seed is for weights random, not 'pretrained': leave it out.",
        ),
        ({"name": None}, "name must be a valid string, not None."),
        (
            {"clinical": {"rule": "youden"}},
            "s.yaml has no key 'clinical.rule': there are threshold",
        ),
        ({"clinical": {"threshold": "best"}}, "clinical: threshold is youden, sensitivity=0.95, "),
        ({"clinical": {"prevalence": 1}}, "clinical.prevalence must be less than 1, not 1"),
    ],
)
def test_what_is_wrong_in_a_study_is_named(change: dict[str, object], sentence: str) -> None:
    good = {
        "name": "s",
        "datasets": {"a": {"root": "x"}},
        "backbones": ["resnet50"],
        "protocols": {"p": {}},
    }
    parse_study(good, "s.yaml")
    with pytest.raises(InputError) as caught:
        parse_study({**good, **change}, "s.yaml")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(("s.yaml: ", "s.yaml has ", "s.yaml lacks "))


def test_a_seed_of_weights_acts_in_the_protocols_that_take_random_ones() -> None:
    study = parse_study(
        {
            "name": "s",
            "datasets": {"a": {"root": "x"}},
            "backbones": [{"name": "resnet50", "weights_seed": 3}],
            "protocols": {"pretrained": {}, "scratch": {"weights": "random"}},
        },
        "s.yaml",
    )
    assert [cell.network().weights_seed for cell in study_cells(study)] == [None, 3]


def test_a_seed_of_weights_acts_in_training_from_scratch() -> None:
    backbones = [{"name": "timm:test_vit", "weights_seed": 1}]
    depth = {"feature": "blocks", "train": ["scratch"]}
    base = {"name": "s", "datasets": {"set": {}}, "backbones": backbones}
    parse_study({**base, "protocols": {"depth": depth}}, "s.yaml")
    with pytest.raises(InputError, match="weights_seed is for weights random"):
        parse_study({**base, "protocols": {"depth": {**depth, "train": ["all"]}}}, "s.yaml")


def test_the_page_of_studies_has_every_key() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    _, _, rest = (docs / "studies.md").read_text(encoding="utf-8").partition("## The file\n")
    table, recipe = rest.partition("\n## ")[0], (docs / "finetuning.md").read_text(encoding="utf-8")
    for model in (Study, DatasetEntry, BackboneEntry):
        assert [key for key in model.model_fields if f"`{key}`" not in table] == []
    fields = [key for key in ProtocolEntry.model_fields if f"`{key}`" not in table]
    assert [key for key in fields if f"| `{key}` |" not in recipe] == []


def test_the_study_demo_finds_the_data_that_it_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    planned: list[Study] = []
    monkeypatch.setattr(
        "frostline.extract.phantom.make_phantom_glioma", lambda folder, _: made.append(folder)
    )
    monkeypatch.setattr(
        "frostline.study.costs.dry_run.show_plan", lambda _, study, plan: planned.append(study)
    )
    app(["run", "demo", "--dry-run", "--workspace", str(tmp_path)], standalone_mode=False)
    assert made == [tmp_path / "phantoms"]
    assert planned[0].datasets["phantom-glioma"].root == [str(tmp_path / "phantoms")]


def test_every_builtin_study_is_valid() -> None:
    assert "demo" in builtin_studies()
    for name in builtin_studies():
        assert read_study(name).name == name


def test_one_recipe_holds_for_a_whole_study() -> None:
    """A protocol may say otherwise; without any it is the paper's, as always."""
    data = {
        "name": "one",
        "datasets": {"a": {"root": "images"}},
        "backbones": ["effnet-lite0"],
        "protocols": {"frozen": {}, "tuned": {"unfreeze": "all"}, "own": {"recipe": "paper"}},
    }

    def recipes(**more: object) -> dict[str, str]:
        study = parse_study({**data, **more}, "study.yaml")
        return {name: entry.recipe for name, entry in study.protocols.items()}

    assert set(recipes().values()) == {"paper"}
    assert recipes(recipe="standard") == {"frozen": "standard", "tuned": "standard", "own": "paper"}
    with pytest.raises(InputError, match="recipe"):
        recipes(recipe="other")
