"""`import frostline`: the commands as functions, two of which are packages too."""

from __future__ import annotations

import doctest
import inspect
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

import frostline
import frostline.report
from frostline import verbs
from frostline.cache import InputError
from frostline.stages import Machine

from .conftest import make_images

PACKAGES = ("extract", "probe", "finetune")
STUDY = {
    "name": "small",
    "datasets": {"mine": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": ["effnet-lite0"],
    "protocols": {"frozen": {"head": "logistic"}},
    "replicates": 100,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("python")
    make_images(folder / "images", 24)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_the_examples_of_the_functions_do_what_they_say(here: Path) -> None:
    names = {"frostline": frostline}
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name in ("index", "extract", "probe", "finetune", "evaluate", "compare", "run"):
        # In this order, each with what the ones before it made.
        (example,) = finder.find(getattr(verbs, name), name, globs=names)
        assert example.examples, name
        assert runner.run(example, clear_globs=False).failed == 0, name
        names = example.globs


def test_every_verb_is_offered_with_its_signature() -> None:
    for name in frostline.__all__:
        function, verb = getattr(frostline, name), getattr(verbs, name)
        assert callable(function)
        assert inspect.signature(function) == inspect.signature(verb)
        assert pickle.loads(pickle.dumps(function)) is function
    assert "Called, frostline.extract does this" in (frostline.extract.__doc__ or "")


def test_verbs_and_commands_take_the_same_workspace() -> None:
    from frostline.commands.options import DEFAULT_WORKSPACE

    assert Path(verbs.WORKSPACE) == DEFAULT_WORKSPACE
    assert "workspace" not in inspect.signature(frostline.evaluate).parameters


@pytest.mark.parametrize(
    "imports",
    [
        "import frostline",
        "import frostline.extract, frostline.probe, frostline.finetune",
        "from frostline.extract.backbones.catalog import resolve\nimport frostline",
        "from frostline import probe\nimport frostline.finetune.recipe as module\nimport frostline",
        "import frostline.probe.sweep.settings as module\nfrom frostline.finetune import Recipe\n"
        "import frostline.commands.cli",
    ],
)
def test_packages_are_callable_whatever_is_imported_first(imports: str) -> None:
    script = (
        f"{imports}\n"
        "import sys\n"
        f"for name in {PACKAGES}:\n"
        "    package = getattr(frostline, name)\n"
        "    assert callable(package) and sys.modules['frostline.' + name] is package\n"
        "    try: package()\n"
        "    except TypeError as error: assert 'dataset' in str(error)\n"
        "from frostline.extract.backbones.catalog import NAMED\n"
        "import frostline.extract.backbones.catalog\n"
        "assert frostline.extract.backbones.catalog.NAMED is NAMED\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_importing_costs_next_to_nothing() -> None:
    script = (
        "import sys; import frostline\n"
        "heavy = {'torch', 'numpy', 'pandas', 'h5py', 'pydantic', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_mistakes_are_sentences_and_skipped_images_are_warned_of(here: Path) -> None:
    with pytest.raises(InputError, match="There is no data set 'other'"):
        frostline.extract("other", "effnet-lite0")
    with pytest.raises(InputError, match="A recipe has no field 'epoch'; it has"):
        frostline.finetune("mine", "effnet-lite0", epoch=3)
    with pytest.raises(InputError, match=r"nowhere\.csv: there is no such file"):
        frostline.evaluate("nowhere.csv")
    (here / "one.csv").write_text("image_id,label,prediction\na,x,x\nb,y,x\n")
    with pytest.raises(InputError):
        frostline.compare("one.csv")
    broken = here / "broken" / "well" / "patient900_1.png"
    make_images(here / "broken", 4)
    broken.write_bytes(b"no image")
    frostline.index("broken", here / "broken", group_pattern="(patient[0-9]+)")
    on = {"weights": "random", "image_size": 32, "on_error": "skip"}
    with pytest.warns(UserWarning, match=r"Skipped: .*patient900_1\.png"):
        store = frostline.extract("broken", "timm:test_vit", **on)  # type: ignore[arg-type]
    assert len(store.values) == 4


def test_one_path_or_many_as_text_or_paths(here: Path) -> None:
    manifest = frostline.index("mine", [here / "images"], group_pattern="(patient[0-9]+)")
    assert len(manifest) == 24
    frostline.extract("mine", "timm:test_vit", weights="random", image_size=32)
    path = frostline.probe("mine", "timm:test_vit", head="centroid")
    one = frostline.evaluate(str(path), metrics=["accuracy"])
    again = frostline.evaluate(path.parent.glob(path.name), metrics=["accuracy"])
    assert one.equals(again)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frostline.extract("mine", "timm:test_vit", weights="random", image_size=32)


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
