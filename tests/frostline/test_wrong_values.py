"""What the Python face says of values of a wrong kind or out of range: one sentence."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import frostline
from frostline.cache import InputError
from frostline.names import KINDS

from .conftest import make_images

# Of many kinds, each refused by a sentence of its own: below, in test_python.py, and arrays of
# numbers in tests/report/test_similarity.py.
ANYTHING = {"backbone", "head", "label_errors", "predictions", "X", "Y", "Z"}


def public() -> dict[str, Callable[..., Any]]:
    """All functions of the Python face, methods included, by name."""
    found = {name: getattr(frostline, name) for name in frostline.__all__}
    functions = {name: one for name, one in found.items() if inspect.isfunction(one)}
    for kind in (frostline.Workspace, frostline.Embedder):
        for name, one in vars(kind).items():
            if inspect.isfunction(one) and (name in ("__init__", "__call__") or name[0] != "_"):
                functions[f"{kind.__name__}.{name}"] = one
    for kind in (frostline.Machine, frostline.Network):
        functions[kind.__name__] = kind
    return functions


def parameters(function: Callable[..., Any]) -> list[str]:
    """Those with a name."""
    some = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [one.name for one in some if one.name != "self" and one.kind not in kinds]


@pytest.mark.parametrize("name", sorted(public()))
def test_each_parameter_of_a_wrong_kind_is_a_sentence(name: str) -> None:
    function = public()[name]
    # Of the object itself, and of a backbone, nothing is looked at before.
    me = [None] if "." in name else ["effnet-lite0"] if name == "Network" else []
    for parameter in parameters(function):
        if parameter in ANYTHING:
            continue
        assert parameter in KINDS, f"{name} has {parameter}, of which no kind is known"
        for wrong in (object(), b"x", [object()]):
            with pytest.raises(InputError, match=f"^{parameter} must be .*, not .*\\.$"):
                function(*me, **{parameter: wrong})


@pytest.mark.parametrize(
    ("parameter", "wrong", "sentence"),
    [
        ("seed", -1, "seed must be a whole number from 0 to 4294967295, not -1."),
        ("seed", True, "seed must be a whole number from 0 to 4294967295, not True."),
        ("seed", 2**32, "seed must be a whole number from 0 to 4294967295, not 4294967296."),
        ("image_size", 0, "image_size must be a whole number from 1 to 4096, not 0."),
        ("weights", 3, "weights must be a path, not 3."),
        ("machine", "cpu", "machine must be a frostline.Machine, not 'cpu'."),
        ("unfreeze", 0.5, "unfreeze must be text or a whole number, not 0.5."),
    ],
)
def test_sentences_say_what_a_value_must_be(parameter: str, wrong: object, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        frostline.Workspace("none").finetune("mine", "effnet-lite0", **{parameter: wrong})  # type: ignore[call-overload]
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("field", "wrong", "sentence"),
    [
        ("batch", 0, "batch must be a whole number from 1 to 65536, not 0."),
        ("workers", -1, "workers must be a whole number from 0 to 1024, not -1."),
        ("keep_pixels", "no", "keep_pixels must be True or False, not 'no'."),
    ],
)
def test_a_machine_says_what_it_cannot_be(field: str, wrong: object, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        frostline.Machine(**{field: wrong})  # type: ignore[arg-type]
    assert str(caught.value) == sentence


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    assert frostline.Machine(batch=np.int64(8)).batch == 8  # type: ignore[arg-type]
    assert frostline.Machine(keep_pixels=np.bool_(False)).keep_pixels == 0  # type: ignore[arg-type]
    several = frostline.plan(0.15, differences=np.array([0.05]), powers=0.8)
    assert several.equals(frostline.plan(0.15, differences=0.05, powers=[0.8]))
    with pytest.raises(InputError, match="^differences must be a number, or several, not 'all'"):
        frostline.plan(0.15, differences="all")  # type: ignore[arg-type]


def test_predictions_that_are_none_are_refused(tmp_path: Path) -> None:
    for wrong in (3, b"x", [3], {"a": 1}.values()):
        with pytest.raises(InputError, match="^Predictions are a Run, Predictions, a DataFrame"):
            frostline.evaluate(wrong)  # type: ignore[arg-type]


def test_an_embedder_refuses_what_it_cannot_take(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 4)
    ws = frostline.Workspace(tmp_path / "ws")
    ws.index("mine", tmp_path / "images", group_pattern="(patient[0-9]+)")
    with pytest.raises(InputError, match=r"^machine must be a frostline\.Machine, not 'cpu'\.$"):
        frostline.Embedder(ws, "mine", "timm:test_vit", machine="cpu")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^A network has no size: there are backbone, weights, "):
        frostline.Embedder(ws, "mine", "timm:test_vit", size=32)
    with pytest.raises(InputError, match="^There is no engine 'tf': choose one of auto, torch, "):
        frostline.Machine(engine="tf").resolve()  # type: ignore[arg-type]
    embedder = frostline.Embedder(ws, "mine", "timm:test_vit", weights="random", image_size=32)
    with pytest.raises(InputError, match=r"^size must be a whole number, not 2\.5\.$"):
        embedder.shards(2.5)  # type: ignore[arg-type]
    images = embedder.images()
    for wrong in (3, "all", images["file"].tolist()):
        with pytest.raises(InputError, match="^rows must be a table, not "):
            embedder(wrong)  # type: ignore[arg-type]
    columns = {name: images[name].tolist() for name in images}
    with pytest.raises(InputError, match="have columns of .*'frame': 1}: give rows of `images"):
        embedder({**columns, "frame": [None]})  # type: ignore[arg-type]
    for name, value in (("file_key", 3), ("file", None), ("content_key", 3), ("frame", "x")):
        wrong_rows = pd.DataFrame({**columns, name: [value] * len(images)})
        with pytest.raises(InputError, match="^The content key of .* is not its own: give rows"):
            embedder(wrong_rows)
    assert embedder(pd.DataFrame(columns))["embedded"].tolist() == [4]


def test_values_that_nothing_stands_for_are_refused(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 12)
    ws = frostline.Workspace(tmp_path / "ws")
    ws.index("mine", tmp_path / "images", group_pattern="(patient[0-9]+)")
    machine = frostline.Machine(on_error="skp")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^There is no on_error 'skp': choose stop or skip"):
        ws.extract("mine", "timm:test_vit", weights="random", machine=machine)
    ws.extract("mine", "timm:test_vit", weights="random", image_size=32)
    run = ws.probe("mine", "timm:test_vit", "centroid")
    with pytest.raises(InputError, match="^There is no aggregate 'max': choose none or mean"):
        ws.predict(run, "images", aggregate="max")  # type: ignore[arg-type]
