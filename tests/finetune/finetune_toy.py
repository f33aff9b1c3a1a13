"""A tiny data set as real files, and a task on it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache import PIXELS, Manifest, StoreWriter, Workspace, spec_key, write_manifest
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.finetune import Recipe, Task

SIZE = 32
SPEC = {
    "geometry": {
        "resize": "shorter",
        "resize_to": SIZE,
        "crop": SIZE,
        "interpolation": "bilinear",
        "window": None,
        "spacing": None,
    },
    "channels": "grey",
}
HALF = (0.5, 0.5, 0.5)


def draw(number: int) -> np.ndarray:
    """A noisy image whose class (number modulo 3) is where it is bright."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 120, (SIZE, SIZE))
    start = 10 * (number % 3)
    image[start : start + 10] += 110
    return image.astype(np.uint8)


def make_manifest(count: int = 48) -> Manifest:
    """Images of groups of two; a half trains, a quarter validates, a quarter tests."""
    numbers = np.arange(count)
    keys = [hashlib.blake2b(f"image {n}".encode(), digest_size=16).digest() for n in numbers]
    table = pd.DataFrame(
        {
            "image_id": [f"i{n:03d}.png" for n in numbers],
            "path": [f"i{n:03d}.png" for n in numbers],
            "root": 0,
            "frame": None,
            "label": [("low", "middle", "upper")[n % 3] for n in numbers],
            "group_id": [f"p{n // 2}" for n in numbers],
            "split": [("train", "train", "val", "test")[n // 2 % 4] for n in numbers],
            "file_key": keys,
            "content_key": keys,
            "file_size": 1,
            "file_mtime_ns": 1,
            "width": SIZE,
            "height": SIZE,
            "mode": "L",
            "format": "PNG",
        }
    )
    return Manifest(table, {"dataset": "toy", "kind": "folder", "roots": ["/nowhere"]})


def fill_workspace(root: Path) -> Workspace:
    workspace = Workspace(root)
    manifest = make_manifest()
    write_manifest(workspace.manifest("toy"), manifest)
    folder = workspace.pixels("toy") / spec_key(SPEC)
    with StoreWriter(folder, PIXELS, SPEC, {}) as writer:
        for numbers in np.array_split(np.arange(len(manifest))[::-1], 3):
            writer.append(manifest.keys()[numbers], np.stack([draw(n) for n in numbers]))
            writer.flush()
    return workspace


def make_task(backbone: str = "timm:test_resnet", **changes: Any) -> Task:
    task = Task(
        dataset="toy",
        backbone=backbone,
        weights="of seed 0",
        weights_source="random, seed 0",
        feature="pre_logits",
        pixels=spec_key(SPEC),
        mean=HALF,
        std=HALF,
        recipe=Recipe(epochs=3, batch_size=8, lr=(1e-3,)),
    )
    return replace(task, **changes)


# All that has a state or chance of its own.
EVERYTHING = Recipe(
    epochs=3,
    batch_size=8,
    lr=(1e-3, 3e-3),
    optimizer="adamw",
    weight_decay=0.05,
    schedule="cosine",
    warmup_epochs=1,
    micro_batch=3,
    layer_decay=0.7,
    clip_grad_norm=1.0,
    augmentation=("random_resized_crop", "horizontal_flip", "color_jitter", "rand_augment"),
    degrees=15,
    translate=0.1,
    scale=(0.9, 1.2),
    shear=5,
    gaussian_noise=0.03,
    class_weights="balanced",
    label_smoothing=0.1,
    ema=0.9,
    patience=3,
    select="roc_auc",
)


def everything_task() -> Task:
    return make_task(recipe=EVERYTHING, crop=SIZE - 4)


def load_with_dropout() -> Backbone:
    backbone = load()
    backbone.model.drop_rate = 0.3
    return backbone


def load(name: str = "timm:test_resnet") -> Backbone:
    return load_backbone(name, weights="random", image_size=SIZE)


def load_vit() -> Backbone:
    return load("timm:test_vit")
