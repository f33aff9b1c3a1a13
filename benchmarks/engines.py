"""Embedding on a CPU by OpenVINO and ONNX Runtime, against PyTorch's eager mode.

    python benchmarks/engines.py [--backbone effnet-lite0 --backbone dinov2-s …] [--size 224]
        [--batch 32] [--repeat 5]

Random weights; one batch by each engine in turn, after one that is not timed. Prints images a
second (medians), the seconds to export and compile, and the ratio to PyTorch: the median over
repetitions, with the least and the largest. An engine that does not agree with PyTorch is an error.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.engine import make_features
from frostline.extract.forward import computing

ENGINES = ("torch", "onnx", "openvino")
BACKBONES = ("effnet-lite0", "resnet50", "densenet121", "vgg16", "dinov2-s")


def compare(name: str, size: int, batch: int, repeat: int) -> None:
    """Time one backbone by every engine, and print a line for each."""
    backbone = load_backbone(name, weights="random", image_size=size)
    backbone.model.eval().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    features = [backbone.find(backbone.feature)]
    runs, made, seconds = {}, {}, {engine: [] for engine in ENGINES}
    with computing("cpu", "float32"):
        for engine in ENGINES:
            start = time.perf_counter()
            runs[engine] = make_features([engine], backbone, features, images)[1]
            made[engine] = time.perf_counter() - start
            runs[engine](images)
        for _ in range(repeat):
            for engine in ENGINES:
                start = time.perf_counter()
                runs[engine](images)
                seconds[engine].append(time.perf_counter() - start)
    for engine in ENGINES:
        pairs = zip(seconds["torch"], seconds[engine], strict=True)
        ratios = [slow / fast for slow, fast in pairs]
        rate = batch / statistics.median(seconds[engine])
        print(
            f"{name} {engine}: {rate:.1f} images/s, made in {made[engine]:.1f} s, ratio "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


def main() -> None:
    """Compare the engines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", action="append")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    for name in options.backbone or BACKBONES:
        compare(name, options.size, options.batch, options.repeat)


if __name__ == "__main__":
    main()
