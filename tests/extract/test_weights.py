"""Files of weights: layouts, digests, and what is wrong with a file."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from frostline.cache import InputError
from frostline.extract.backbones.architectures import build_model
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.backbones.catalog import resolve
from frostline.extract.backbones.weights.files import convert, weights_digest
from frostline.extract.backbones.weights.reading import read_weights


@pytest.fixture(scope="module")
def tiny() -> dict[str, torch.Tensor]:
    model, _ = build_model(resolve("timm:test_vit"), 224, 3)
    return dict(model.state_dict())


def behind(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"teacher": {f"backbone.{k}": v for k, v in state.items()}},
        lambda state: {**state, "head.weight": torch.zeros(7, 64), "head.bias": torch.zeros(7)},
        lambda state: {"model_state_dict": state, "optimizer": {"state": {}}},
        lambda state: {"params": behind("net.", state)},
        lambda state: {"ema": state, "model": {k: v + 1 for k, v in state.items()}},
        lambda state: {"model": state, "ema": {"decay": 0.9}},
        lambda state: behind("teacher.backbone.", state) | behind("student.backbone.", state),
        lambda state: behind("encoder.", state) | {"projector.0.weight": torch.zeros(3, 3)},
        lambda state: {
            "state_dict": behind("module.encoder_q.", state)
            | behind("module.encoder_k.", {k: v + 1 for k, v in state.items()})
            | {"module.queue": torch.zeros(3, 3)}
        },
    ],
    ids=[
        "plain",
        "model",
        "state_dict and module",
        "teacher and backbone",
        "another classifier",
        "model_state_dict",
        "params and net",
        "an average",
        "an average that is none",
        "teacher and student",
        "encoder and projector",
        "query and key",
    ],
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


def test_weights_saved_on_a_card_that_is_not_here(
    tiny: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pth"
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:7")
        torch.save(tiny, path)
    with pytest.raises(RuntimeError):  # where no place is given
        torch.load(path, weights_only=True)
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
        f"{path} does not fit backbone 'timm:test_resnet' in 153 tensors: it has cls_token, "
        "pos_embed, patch_embed.proj.weight and 75 more; the backbone wants conv1.0.weight, "
        "conv1.1.weight, conv1.1.bias and 72 more; give"
    ), message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InputError) as caught:
        load_backbone("timm:test_vit", weights=Path("nowhere/w.pth"))
    assert str(caught.value) == (
        "There is no weights file nowhere/w.pth; check the path given as --weights."
    )


def test_one_of_two_backbones_is_not_guessed(tiny: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "two.pth"
    torch.save(behind("left.", tiny) | behind("right.", tiny), path)
    with pytest.raises(InputError) as caught:
        load_backbone("timm:test_vit", weights=path)
    assert str(caught.value) == (
        "The weights hold the backbone 2 times, behind left., right.: save the one that you mean "
        "in a file of its own."
    )


def saved(content: Any) -> bytes:
    """What `torch.save` writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


JUNK = {
    "text.pth": b"hello\n",
    "one-byte.pth": b"\x80",
    "empty.pth": b"",
    "zeros.pth": bytes(100),
    "numbers.pth": pickle.dumps({"a": 1}, protocol=0),
    "cut-off.pth": saved({"a": torch.ones(1000)})[:2000],
    "zip.pth": b"PK\x03\x04",
    "text.safetensors": b"hello\n",
    "empty.safetensors": b"",
    "huge-header.safetensors": (2**62).to_bytes(8, "little") + b"{}",
    "wrong-header.safetensors": (9).to_bytes(8, "little") + b'{"a": 1} ',
}


@pytest.mark.parametrize("name", JUNK)
def test_a_file_that_holds_no_weights(
    tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / name
    path.write_bytes(JUNK[name])
    with pytest.raises(InputError) as caught:
        read_weights(path)
    assert str(caught.value) == (
        f"{path} is no file of weights, or it was cut off: copy it again; it must be .safetensors "
        "or a file that torch.save wrote."
    )
    assert not recwarn.list


@pytest.mark.parametrize(
    "content",
    [torch.nn.Linear(2, 2), {"model": np.ones(3)}, {"args": Path("x"), "model": {}}],
    ids=["a module", "an array", "a path"],
)
def test_a_pickled_object_says_how_to_save_tensors(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(saved(content))
    with pytest.raises(InputError) as caught:
        read_weights(path)
    assert str(caught.value) == (
        f"{path} holds Python objects, which could run code when they are read: where it was made, "
        "save the tensors alone with `torch.save(model.state_dict(), 'weights.pth')`."
    )


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm-was-done",)


def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Harmful()}, "w.pth")
    with pytest.raises(InputError, match="could run code"):
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
