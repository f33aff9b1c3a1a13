"""A study of two tiny networks, frozen and fine-tuned, that tests run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from frostline.study.file import Study, read_study

STUDY: dict[str, Any] = {
    "name": "small",
    "datasets": {"set": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [
        {"name": "timm:test_vit", "weights": "random", "weights_seed": 3},
        {"name": "timm:test_resnet", "weights": "random"},
        {"name": "timm:test_efficientnet", "weights": "nowhere.pth", "optional": True},
    ],
    "protocols": {
        "frozen": {"unfreeze": "none", "image_size": 32, "epochs": 2},
        "tuned": {"unfreeze": "all", "image_size": 32, "epochs": 1},
    },
    "sweeps": {"few": {"protocol": "frozen", "train_groups": [4, "all"], "draws": 1}},
    "replicates": 100,
    "costs": True,
    "device": "cpu",
}
RUNS = [f"set/timm:test_{net}/{how}/0" for net in ("vit", "resnet") for how in ("frozen", "tuned")]


def study_at(folder: Path, *settings: str) -> Study:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY, sort_keys=False))
    return read_study(path, settings=settings)
