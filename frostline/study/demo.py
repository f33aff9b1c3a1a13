"""`frostline demo`: the whole pipeline on data that it makes itself."""

from __future__ import annotations

from pathlib import Path

from frostline.cache import InputError, Workspace
from frostline.console import say, summary
from frostline.study.file import read_study
from frostline.study.results import print_report
from frostline.study.runner import run_study

NEXT = """
Next, your own images, one folder a class (or `frostline index --help` for tables and volumes):
  frostline index mine --root FOLDER --group-pattern '(patient[0-9]+)'
  frostline extract --dataset mine --backbone effnet-lite0
  frostline probe --dataset mine --backbone effnet-lite0 --head logistic
  frostline evaluate frostline-workspace/predictions/*.parquet"""


def run_demo(workspace: Workspace) -> None:
    """Make a set of phantom gliomas, run the built-in study `demo` on it, say what comes next."""
    study = read_study("demo", data=demo_data(workspace))
    outcome = run_study(workspace, study)
    if outcome.report is not None:
        print_report(outcome.report)
    for name, sentence in outcome.failed.items():
        raise InputError(f"The demo did not finish because {name} failed: {sentence}")
    summary(NEXT)


def study_data(study: str, data: Path | None, workspace: Workspace) -> Path | None:
    """Choose the folder of a study's roots: the given one, or that of the demo's own data."""
    is_demo = study == "demo" and data is None and not Path(study).is_file()
    return demo_data(workspace) if is_demo else data


def demo_data(workspace: Workspace) -> Path:
    """Make the data of the study `demo`; return the folder that its roots are relative to."""
    from frostline.extract.phantom import make_phantom_glioma

    data = workspace.root / "phantom"
    # The table of labels is written last: where it is, the volumes are whole.
    if not (data / "labels.csv").exists():
        say("Making brain volumes of 60 patients with tumours of three grades (phantoms).")
        make_phantom_glioma(data)
    return workspace.root
