"""`frostline cache import` at the command line: what it takes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frostline.report import read_predictions
from frostline.report.manuscript.card import model_card

from .conftest import Run, make_images

SPECS = {
    "nan": "{1: NaN}",
    "nan value": '{"a": NaN}',
    "infinite": '{"a": 1e999}',
    "nested": "[" * 100_000,
    "list": "[]",
    "cut": '{"a":',
    "long": '{"a": 1' + "0" * 10_000 + "}",
    "surrogate": '{"a": "\\ud800"}',
    "empty": "",
}


@pytest.fixture
def images(tmp_path: Path, frostline: Run) -> pd.DataFrame:
    make_images(tmp_path / "images", 24)
    assert frostline("index", "set", "--root", "images").returncode == 0
    ids = pd.read_parquet(tmp_path / "frostline-workspace/manifests/set.parquet")["image_id"]
    X = np.random.default_rng(0).normal(size=(24, 3))
    return pd.DataFrame({"image_id": ids, **{f"f{n}": X[:, n] for n in range(3)}})


def test_noise_with_an_index_or_a_target_stays_noise(
    images: pd.DataFrame, tmp_path: Path, frostline: Run
) -> None:
    """Once pandas' index and a target by another name were features: accuracy 1.0 on noise."""
    images.assign(y=images["image_id"].str.startswith("sick") * 1).to_csv(tmp_path / "t.csv")
    done = frostline("cache", "import", "t.csv", "-d", "set", "-b", "theirs")
    said = " ".join((done.stdout + done.stderr).split())
    assert "Taken: columns f0…f2, 3 features. Left out: 'Unnamed: 0', 'y'." in said
    assert "Warning" not in said
    probed = frostline("probe", "-d", "set", "-b", "theirs", "--head", "centroid")
    assert "predictions/set-theirs-imported-centroid-paper-s0-" in probed.stdout
    run = read_predictions(tmp_path / probed.stdout.strip())
    for weights, told in (("imported", "computed elsewhere"), ("own module", "module=MODULE")):
        card = model_card(replace(run, meta={**run.meta, "weights": weights}))
        assert told in card.partition("## Use")[2]
        assert "frostline predict" not in card
    leak = images.rename(columns={"f2": "old"}).assign(f2=np.arange(24.0))
    leak.to_csv(tmp_path / "leak.csv", index=False)
    done = frostline("cache", "import", "leak.csv", "-d", "set", "-b", "leak")
    assert "leak.csv: 'f2' alone tells the class of more than 99% of the images" in " ".join(
        (done.stdout + done.stderr).split()
    )


def test_names_and_specs_that_cannot_be_are_one_sentence(
    images: pd.DataFrame, tmp_path: Path, frostline: Run
) -> None:
    images.to_csv(tmp_path / "t.csv", index=False)
    wrong = [("-b", name) for name in ("..", ".", "", "../../x", "b" * 300)]
    for name, text in SPECS.items():
        (tmp_path / f"{name}.json").write_text(text)
        wrong.append(("-b", "x", "--spec", f"{name}.json"))
    before = sorted(tmp_path.rglob("*"))
    for options in wrong:
        done = frostline("cache", "import", "t.csv", "-d", "set", *options)
        assert (done.returncode, done.stdout) == (2, ""), options
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
