"""Files of weights: layouts, digests, and what is wrong with a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from frostline.cache import InputError
from frostline.extract.backbones.architectures import build_model
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.weights.files import convert, read_weights, weights_digest


@pytest.fixture(scope="module")
def tiny() -> dict[str, torch.Tensor]:
    model, _ = build_model(resolve("timm:test_vit"), 224, 3)
    return dict(model.state_dict())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"teacher": {f"backbone.{k}": v for k, v in state.items()}},
        lambda state: {**state, "head.weight": torch.zeros(7, 64), "head.bias": torch.zeros(7)},
    ],
    ids=["plain", "model", "state_dict and module", "teacher and backbone", "another classifier"],
)
def test_every_wrapping_gives_the_same_weights(
    tiny: dict[str, torch.Tensor], tmp_path: Path, wrap: Any
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrap(tiny), path)
    backbone = load_backbone("timm:test_vit", weights=path)
    assert backbone.weights == weights_digest(tiny)
    assert backbone.weights_source == "file weights.pth"
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, tiny[key])


def test_safetensors(tiny: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(tiny, path)
    assert load_backbone("timm:test_vit", weights=path).weights == weights_digest(tiny)


def test_old_densenet_names(tmp_path: Path) -> None:
    model, _ = build_model(resolve("densenet121"), 224, 0)
    new = dict(model.state_dict())
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in new.items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    path = tmp_path / "densenet121-a639ec97.pth"
    torch.save(old, path)
    assert load_backbone("densenet121", weights=path, image_size=32).weights == weights_digest(new)


def test_position_embeddings_of_other_sizes_are_fitted_by_timm(
    tiny: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(tiny, path)
    small = load_backbone("timm:test_vit", weights=path, image_size=64)
    assert small.model.pos_embed.shape == (1, 17, 64)


def test_weights_of_another_model_are_named_key_by_key(
    tiny: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "vit.pth"
    torch.save(tiny, path)
    with pytest.raises(InputError) as caught:
        load_backbone("timm:test_resnet", weights=path)
    message = str(caught.value)
    assert message.startswith(
        f"{path} does not fit backbone 'timm:test_resnet' in 153 tensors: "
        "conv1.0.weight is missing; conv1.1.weight is missing; conv1.1.bias is missing; "
        "conv1.1.running_mean is missing; and 149 more; "
    ), message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InputError) as caught:
        load_backbone("timm:test_vit", weights=Path("nowhere/w.pth"))
    assert str(caught.value) == (
        "There is no weights file nowhere/w.pth; check the path given as --weights."
    )


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_that_holds_no_weights(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"not weights at all, only text")
    with pytest.raises(InputError, match="is not a weights file that can be read safely"):
        read_weights(path)


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm-was-done",)


def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Harmful()}, "w.pth")
    with pytest.raises(InputError, match="cannot|read safely"):
        read_weights(Path("w.pth"))
    assert not Path("harm-was-done").exists()


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2]])
def test_a_file_without_tensors(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=r"holds (no tensors|a list)"):
        read_weights(path)


def test_a_layout_that_nobody_knows_is_left_as_it_is() -> None:
    model, _ = build_model(resolve("timm:test_vit"), 32, 0)
    state = {"something": torch.zeros(1), "blocks.what": torch.zeros(2)}
    assert set(convert(state, resolve("timm:test_vit"), model)) == set(state)


@given(st.permutations(["a", "b.c", "z"]))
def test_the_digest_does_not_depend_on_the_order(order: list[str]) -> None:
    values = {"a": torch.arange(3.0), "b.c": torch.ones(2, 2), "z": torch.tensor(4)}
    assert weights_digest({k: values[k] for k in order}) == weights_digest(values)


@pytest.mark.parametrize(
    "other",
    [
        {"b": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([1.0, 2.5])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0], dtype=torch.float64)},
        {"a": torch.tensor([1.0]), "b": torch.tensor([2.0])},
    ],
    ids=["name", "value", "shape", "dtype", "cut elsewhere"],
)
def test_the_digest_depends_on_everything_else(other: dict[str, torch.Tensor]) -> None:
    assert weights_digest({"a": torch.tensor([1.0, 2.0])}) != weights_digest(other)


def test_the_digest_leaves_out_step_counters(tmp_path: Path) -> None:
    state = {"bn.weight": torch.ones(2)}
    assert weights_digest({**state, "bn.num_batches_tracked": torch.tensor(9)}) == (
        weights_digest(state)
    )
