"""Extraction of all depths of a backbone, against extraction of its own feature alone.

    python benchmarks/depths.py [--quick] [--backbone effnet-lite0] [--feature blocks]
        [--engine torch] [--batch 32] [--device cpu] [--repeat 5]

Pixels come from a warm pixel store; same batch, threads and precision; random weights. One feature
and all depths are embedded in turn, each into empty stores, and the first batch, which pays for the
engine's start, is left out. Prints the median seconds of each, and as the ratio the median over
repetitions of all depths over one feature, with the least and the largest.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from extraction import make_images

from frostline.cache import Workspace
from frostline.extract.backbones.backbone import Backbone, load_backbone
from frostline.extract.backbones.identity import identify_features
from frostline.extract.embed import embed_features, embedding_spec
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.pixels import PixelSource, fill_pixels, pixel_source

GEOMETRY = Geometry("shorter", 224, 224)
NORMALISATION = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def seconds(
    workspace: Workspace,
    source: PixelSource,
    backbone: Backbone,
    names: list[str],
    options: argparse.Namespace,
) -> float:
    """Seconds to embed features into empty stores, from the first batch's end to whole stores."""
    shutil.rmtree(workspace.root / "embeddings", ignore_errors=True)
    specs = [
        embedding_spec(source, backbone.name, backbone.weights, name, NORMALISATION)
        for name in names
    ]
    times: list[float] = []
    embed_features(
        workspace,
        source,
        specs,
        lambda: backbone,
        batch=options.batch,
        device=options.device,
        engine=options.engine,
        progress=lambda done, total: times.append(time.perf_counter()),
    )
    return time.perf_counter() - times[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="4 batches instead of 16.")
    parser.add_argument("--backbone", default="effnet-lite0")
    parser.add_argument("--feature", default="blocks")
    parser.add_argument("--engine", default="torch", choices=("torch", "onnx", "openvino"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    identities = identify_features(options.backbone, [options.feature], weights="random")
    every = [one.feature for one in identities]
    backbone = load_backbone(options.backbone, weights="random", feature=every)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        images = make_images(place / "images", options.batch * (4 if options.quick else 16))
        workspace = Workspace(place / "workspace")
        source = pixel_source(workspace, index_dataset(workspace, "set", roots=[images]), GEOMETRY)
        fill_pixels(source)
        one, all_ = [], []
        for _ in range(options.repeat):
            one.append(seconds(workspace, source, backbone, every[-1:], options))
            all_.append(seconds(workspace, source, backbone, every, options))
    ratios = [several / alone for several, alone in zip(all_, one, strict=True)]
    print(f"{every[-1]} {statistics.median(one):.2f} s, {len(every)} depths ", end="")
    print(f"{statistics.median(all_):.2f} s")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
