"""`frostline demo`: the whole pipeline on data that it makes itself, or on a set of MedMNIST."""

from __future__ import annotations

from pathlib import Path

from frostline.cache import InputError, Workspace
from frostline.console import say, summary
from frostline.study.entries.datasets import DatasetEntry
from frostline.study.file import Study, read_study
from frostline.study.results import print_report
from frostline.study.runner import run_study

PATIENTS = 300  # of whom 99 are for testing
NEXT = """
Next, your own images, one folder a class (`frostline index --help` for tables and volumes; where
the names of files hold the patient, add a pattern such as --group-pattern '(patient[0-9]+)'):
  frostline index mine --root FOLDER
  frostline depth --dataset mine --backbone effnet-lite0"""


def run_demo(workspace: Workspace, on: str | None = None) -> None:
    """Run the built-in study `demo`, say what comes next.

    Parameters
    ----------
    on : str, optional
        A set of MedMNIST by its name, fetched by the package `medmnist`, instead of phantoms.

    Raises
    ------
    InputError
        If a step failed.
    """
    study = demo_study(workspace, on)
    outcome = run_study(workspace, study)
    if outcome.report is not None:
        print_report(outcome.report)
    for name, sentence in outcome.failed.items():
        raise InputError(f"The demo did not finish because {name} failed: {sentence}")
    summary(NEXT)


def demo_study(workspace: Workspace, on: str | None = None) -> Study:
    """Give the study `demo`, whose data are made here unless they are of MedMNIST."""
    if on is None:
        return read_study("demo", data=demo_data(workspace))
    study = read_study("demo")
    folder = workspace.root / "medmnist"
    folder.mkdir(parents=True, exist_ok=True)
    options = {"data": on, "size": 64, "label_names": True, "download": True}
    entry = {"root": str(folder), "kind": "medmnist", "options": options}
    study.datasets = {on: DatasetEntry.model_validate(entry)}
    study.title = f"How deep? {on}"
    return study


def study_data(study: str, data: Path | None, workspace: Workspace) -> Path | None:
    """Choose the folder of a study's roots: the given one, or that of the demo's own data."""
    is_demo = study == "demo" and data is None and not Path(study).is_file()
    return demo_data(workspace) if is_demo else data


def demo_data(workspace: Workspace) -> Path:
    """Make the data of the study `demo`; return the folder that its roots are relative to."""
    from frostline.extract.phantom import make_phantom_glioma

    data = workspace.root / "phantoms"
    # The table of labels is written last: where it is, the volumes are whole.
    if not (data / "labels.csv").exists():
        say(f"Making brain volumes of {PATIENTS} patients with tumours of three grades (phantoms).")
        make_phantom_glioma(data, PATIENTS)
    return workspace.root
