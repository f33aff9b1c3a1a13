"""What trackers hold, read back: by MLflow's client, TensorBoard's reader, and W&B's records."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Of a file of records (LevelDB's log): its header, and the blocks that records are cut at.
HEADER, BLOCK = 7, 32768
WHOLE, LAST = 1, 4


@dataclass
class Held:
    """A run as a tracker has it; `epochs` are lists of (epoch, value) by name."""

    settings: dict[str, str] = field(default_factory=dict)
    epochs: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    state: str = ""


def read_mlflow() -> dict[str, Held]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("frostline")
    found = {}
    for run in client.search_runs([experiment.experiment_id] if experiment else []):
        name, held = run.data.tags["frostline.run_id"], Held({**run.data.params, **run.data.tags})
        assert name not in found  # once each
        for metric, value in run.data.metrics.items():
            history = client.get_metric_history(run.info.run_id, metric)
            if history[0].step:
                held.epochs[metric] = sorted((one.step, one.value) for one in history)
            else:
                held.scores[metric] = value
        for folder in ("predictions", "model"):
            held.files += [one.path for one in client.list_artifacts(run.info.run_id, folder)]
        held.state = run.info.status
        found[name] = held
    return found


def read_wandb() -> dict[str, Held]:
    """The last folder of each run: what an earlier process wrote is in it again."""
    found = {}
    for path in sorted(Path("wandb").glob("offline-run-*/*.wandb")):
        held, name = Held(), ""
        for record in _whole(path):
            kind = record.WhichOneof("record_type")
            one: Any = getattr(record, kind) if kind else None
            if kind == "run":
                name = one.display_name
            elif kind == "config":
                held.settings |= {u.key: str(json.loads(u.value_json)) for u in one.update}
            elif kind == "summary":
                values = {u.key: json.loads(u.value_json) for u in one.update if u.key}
                held.scores |= {k: v for k, v in values.items() if not k.startswith("_")}
            elif kind == "history":
                _take_epoch(held, {u.nested_key[0]: json.loads(u.value_json) for u in one.item})
            elif kind == "artifact":
                held.files += [entry.path for entry in one.manifest.contents]
            elif kind == "exit":
                held.state = f"exit {one.exit_code}"
        found[name] = held
    return found


def _take_epoch(held: Held, values: dict[str, Any]) -> None:
    (axis,) = (name for name in values if name.rsplit("/")[-1] == "epoch")
    for name, value in values.items():
        if name != axis and not name.startswith("_"):
            held.epochs.setdefault(name, []).append((values[axis], value))


def _whole(path: Path) -> list[Any]:
    """The records of a run that ended: W&B's own process writes the last of them."""
    for _ in range(100):
        found = list(_records(path))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")


def _records(path: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, held = path.read_bytes(), HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        held += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (WHOLE, LAST):
            yield Record.FromString(held)
            held = b""


def read_tensorboard(folder: Path) -> dict[str, Held]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for run in sorted(folder.iterdir()):
        held = Held()
        for path in sorted({one.parent for one in run.rglob("events.*")}):
            events, curve = EventAccumulator(str(path)), path.relative_to(run).as_posix()
            events.Reload()
            for name in events.Tags()["scalars"]:
                values = [(event.step, event.value) for event in events.Scalars(name)]
                if values[0][0]:
                    held.epochs[name if curve == "." else f"{curve}/{name}"] = values
                else:
                    held.scores[name] = values[0][1]
            for name in events.Tags()["tensors"]:
                (text,) = events.Tensors(name)[-1].tensor_proto.string_val
                if "finished" in name:
                    held.state = "FINISHED"
                    continue
                rows = [line[2:-2].split(" | ") for line in text.decode().splitlines()[2:]]
                if name.startswith("files"):
                    held.files += [row[0] for row in rows]
                else:
                    held.settings |= {row[0]: row[1] for row in rows}
        found[run.name] = held
    return found
