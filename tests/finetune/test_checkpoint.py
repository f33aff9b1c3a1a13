"""Checkpoints: whole or not there, whatever dies when."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from frostline.cache import InputError
from frostline.cache.stamped import write_json
from frostline.finetune.training.checkpoint import Checkpoint, Checkpoints


def checkpoint(epoch: int, best_epoch: int) -> Checkpoint:
    optimizer = torch.optim.Adam([torch.ones(2, requires_grad=True)])
    return Checkpoint(
        epoch=epoch,
        history=[{"epoch": n + 1, "train_loss": 0.5} for n in range(epoch)],
        weights={"w": torch.full((2, 2), float(epoch))},
        best={"w": torch.full((2, 2), float(best_epoch))},
        best_epoch=best_epoch,
        optimizer={"optimizer": optimizer.state_dict(), "scaler": {}},
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_last_one_is_read_and_those_before_are_gone(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.load() is None
    for epoch, best in [(1, 1), (2, 2), (3, 2), (4, 2)]:
        checkpoints.save(checkpoint(epoch, best))
    found = checkpoints.load()
    assert found is not None
    assert (found.epoch, found.best_epoch, len(found.history)) == (4, 2, 4)
    assert torch.equal(found.weights["w"], torch.full((2, 2), 4.0))
    assert torch.equal(found.best["w"], torch.full((2, 2), 2.0))
    assert found.optimizer["optimizer"]["param_groups"][0]["lr"] == 1e-3
    assert names(tmp_path / "checkpoints") == {"000004", "latest"}


def test_a_checkpoint_of_a_card_that_is_not_here_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = checkpoint(1, 1)
    state = {"step": torch.tensor(3.0), "exp_avg": torch.tensor([0.25, -1.0])}
    saved.optimizer["optimizer"]["state"] = {0: state}
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:7")
        Checkpoints(tmp_path).save(saved)
    with pytest.raises(RuntimeError):  # without being told where to put it
        torch.load(tmp_path / "000001" / "optimizer.pt", weights_only=True)
    found = Checkpoints(tmp_path).load()
    assert found is not None
    moment = found.optimizer["optimizer"]["state"][0]["exp_avg"]
    assert moment.device.type == "cpu"
    assert moment.tolist() == [0.25, -1.0]


def test_best_weights_are_not_taken_from_a_checkpoint_that_is_not_the_one_before(
    tmp_path: Path,
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint(1, 1))
    checkpoints.save(checkpoint(5, 3))
    found = checkpoints.load()
    assert found is not None
    assert torch.equal(found.best["w"], torch.full((2, 2), 3.0))


def test_without_links_the_best_weights_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError("links are not supported")

    monkeypatch.setattr("os.link", no_links)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint(1, 1))
    checkpoints.save(checkpoint(2, 1))
    found = checkpoints.load()
    assert found is not None
    assert torch.equal(found.best["w"], torch.ones(2, 2))


@pytest.mark.parametrize(
    "where",
    ["torch.save", "frostline.finetune.training.checkpoint.write_text", "pathlib.Path.rename"],
)
def test_a_failure_on_the_way_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint(1, 1))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(OSError, match="No space left"):
            checkpoints.save(checkpoint(2, 2))
    found = checkpoints.load()
    assert found is not None
    assert found.epoch == 1
    assert not any(name.startswith(".tmp-") for name in names(tmp_path))
    checkpoints.save(checkpoint(2, 2))
    assert names(tmp_path) == {"000002", "latest"}


def test_what_a_dead_writer_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".tmp-000007").mkdir()
    (tmp_path / ".tmp-000007" / "weights.safetensors").write_bytes(b"half")
    (tmp_path / ".tmp-12ab-latest").write_text("000")
    with Checkpoints(tmp_path).lock():
        assert names(tmp_path) == {"lock"}


def test_only_one_process_trains_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "toy-run" / "checkpoints"
    with Checkpoints(folder).lock():
        with pytest.raises(InputError) as caught, Checkpoints(folder).lock():
            pass
        assert str(caught.value) == (
            "Run toy-run is being trained by another process: "
            "wait for it, or stop it and run this again."
        )
    with Checkpoints(folder).lock():
        pass


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.pt", "state.json"])
def test_a_damaged_checkpoint_says_so(tmp_path: Path, file: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint(1, 1))
    (tmp_path / "000001" / file).write_bytes(b"{")
    with pytest.raises(InputError) as caught:
        checkpoints.load()
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "000001"))
    assert " is damaged (" in message
    assert message.endswith(f"): delete {tmp_path} to train again from the start.")


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (
            4,
            "{0}/000001/state.json has format version 4, this release reads up to 3: install a "
            "newer Frostline.",
        ),
        (
            1,
            "Checkpoint {0}/000001 has format version 1 of an older release: finish with that one, "
            "or delete {0} to train again from the start.",
        ),
    ],
)
def test_another_format_says_so(tmp_path: Path, version: int, sentence: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint(1, 1))
    path = tmp_path / "000001" / "state.json"
    write_json(path, "frostline-checkpoint", version, json.loads(path.read_text()))
    with pytest.raises(InputError) as caught:
        checkpoints.load()
    assert str(caught.value) == sentence.format(tmp_path)


def test_a_checkpoint_that_is_pointed_to_and_gone_says_so(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(checkpoint(1, 1))
    (tmp_path / "000001" / "state.json").unlink()
    with pytest.raises(InputError, match=r"000001 is damaged \(it has no state.json\): delete "):
        checkpoints.load()


def test_the_average_is_kept_beside_the_weights_and_is_what_was_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    average = {"w": torch.full((2, 2), 0.5)}
    checkpoints.save(replace(checkpoint(1, 1), average=average, best=average, micro_batch=4))
    found = checkpoints.load()
    assert found is not None
    assert torch.equal(found.weights["w"], torch.ones(2, 2))
    assert torch.equal(found.average["w"], average["w"])
    assert torch.equal(found.best["w"], average["w"])
    assert found.micro_batch == 4


def test_candidates_have_folders_of_their_own_and_are_cleared_together(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for number in (1, 2):
        checkpoints.candidate(number).save(checkpoint(number, number))
    first, second = (checkpoints.candidate(number).load() for number in (1, 2))
    assert first is not None
    assert second is not None
    assert (first.epoch, second.epoch) == (1, 2)
    (checkpoints.candidate(1).folder / ".tmp-000009").mkdir()
    with checkpoints.lock():
        assert names(checkpoints.candidate(1).folder) == {"000001", "latest"}
    checkpoints.clear()
    assert not checkpoints.folder.exists()
