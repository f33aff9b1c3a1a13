"""Extraction from the pixel store, against the bare forward pass over a tensor in memory.

    python benchmarks/extraction.py [--quick] [--backbone effnet-lite0] [--engine torch]
        [--images DIR] [--batch 32] [--device cpu]

Same batch, threads and precision; random weights. Prints images/s of the bare forward pass, of
extraction from pixels, and of extraction from files where `--images DIR` names some, with the rate
of decoding alone; and as the ratio extraction from pixels over the bare forward pass.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from frostline.cache import Manifest, Workspace
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.extract.embed import embed_features, embedding_spec
from frostline.extract.forward import several_forward, to_host
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.pixels import PixelSource, fill_pixels, pixel_source

GEOMETRY = Geometry("shorter", 256, 224)
NORMALISATION = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def make_images(folder: Path, count: int) -> Path:
    """Files of noise; what they show does not matter."""
    rng = np.random.default_rng(0)
    for name in "ab":
        (folder / name).mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "ab"[number % 2] / f"{number}.png", compress_level=1)
    return folder


def bare(backbone: Backbone, options: argparse.Namespace, batches: int) -> float:
    """Images/s of the forward pass alone, over one batch again and again."""
    forward = several_forward(
        backbone, [backbone.feature], NORMALISATION, options.device, "float32", [options.engine]
    )
    pixels = torch.zeros((options.batch, 224, 224, 3), dtype=torch.uint8)
    to_host(forward(pixels))()
    start = time.perf_counter()
    for _ in range(batches):
        rows = to_host(forward(pixels))
    rows()
    return batches * options.batch / (time.perf_counter() - start)


def extraction(
    workspace: Workspace,
    manifest: Manifest,
    backbone: Backbone,
    options: argparse.Namespace,
    normalisation: dict[str, Any],
) -> float:
    """Images/s end to end, from the first batch's end to the last one's."""
    source = pixel_source(workspace, manifest, GEOMETRY)
    spec = embedding_spec(source, backbone.name, backbone.weights, backbone.feature, normalisation)
    times: list[tuple[float, int]] = []
    embed_features(
        workspace,
        source,
        [spec],
        lambda: backbone,
        batch=options.batch,
        device=options.device,
        engine=options.engine,
        progress=lambda done, total: times.append((time.perf_counter(), done)),
    )
    # The first batch pays for the engine's start, as it did in the bare measurement.
    (first, before), (last, after) = times[0], times[-1]
    return (after - before) / (last - first)


def decoding(source: PixelSource) -> float:
    """Images/s of decoding into the pixel store, without a network."""
    start = time.perf_counter()
    store = fill_pixels(source)
    return len(store) / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 batches instead of 32.")
    parser.add_argument("--backbone", default="effnet-lite0")
    parser.add_argument("--engine", default="torch", choices=("torch", "onnx", "openvino"))
    parser.add_argument("--images", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    batches = 8 if options.quick else 32
    backbone = load_backbone(options.backbone, weights="random")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        images = options.images or make_images(place / "images", batches * options.batch)
        warm, cold = Workspace(place / "warm"), Workspace(place / "cold")
        manifest = index_dataset(warm, "set", roots=[images])
        decoded = decoding(pixel_source(warm, manifest, GEOMETRY))
        before = bare(backbone, options, batches)
        from_pixels = extraction(warm, manifest, backbone, options, NORMALISATION)
        from_files = extraction(
            cold, index_dataset(cold, "set", roots=[images]), backbone, options, NORMALISATION
        )
        forward = (before + bare(backbone, options, batches)) / 2
    print(f"bare forward {forward:.1f} images/s, decoding alone {decoded:.1f} images/s")
    print(f"from pixels {from_pixels:.1f} images/s, from files {from_files:.1f} images/s")
    print(f"ratio {from_pixels / forward:.2f} from pixels, {from_files / forward:.2f} from files")


if __name__ == "__main__":
    main()
