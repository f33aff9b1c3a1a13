"""What computes embeddings on a CPU: OpenVINO or ONNX Runtime, where they agree with PyTorch.

All give the same numbers. Which is the fastest depends on the network: ONNX Runtime or OpenVINO for
convolutions, OpenVINO for a ViT (docs/benchmarks.md, "What limits"). Of `effnet-lite0`,
`torch.compile` was 1.2 times as fast as PyTorch's eager mode after more than a minute of compiling;
a traced and frozen model 0.75 times. So they are not here.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from frostline.cache.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from frostline.extract.backbones.backbone import Backbone
    from frostline.extract.backbones.features import Feature

Engine = Literal["auto", "torch", "onnx", "openvino"]
Features = Callable[["Tensor"], Sequence["Tensor"]]
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}
TITLES = {"openvino": "OpenVINO", "onnx": "ONNX Runtime", "torch": "PyTorch"}
# To export a model, compare and time it takes as long as ten batches or more of PyTorch.
AUTO_BATCHES = 32
# How far embeddings of another engine, batch or number of threads may differ: by the order of
# additions, no more.
COSINE = 0.999999
OPSET = 17


class _Cannot(Exception):
    """Why an engine does not serve a backbone."""


def choose_engines(engine: Engine, device: str, compute: str, batches: float) -> list[str]:
    """List the engines that a choice stands for: the fastest of them computes.

    `auto` is all that are installed, where float32 is computed on a CPU and there is enough to do;
    PyTorch is always one of them.

    Parameters
    ----------
    batches : float
        How many forward passes there are to do.

    Raises
    ------
    InputError
        If an engine of CPUs is named for anything else, or is not installed.
    """
    on_cpu = compute == "float32" and device == "cpu"
    if engine not in ("auto", "torch") and not on_cpu:
        raise InputError(
            f"Engine {engine!r} computes float32 on a CPU, not {compute} on {device}: use --engine "
            "torch, or --device cpu --precision float32."
        )
    if engine != "auto" and find_spec(PACKAGES[engine]) is None:
        raise InputError(
            f"Engine {engine!r} needs {TITLES[engine]}: run `pip install 'frostline[{engine}]'`, "
            "or use --engine torch."
        )
    if engine != "auto":
        return [engine]
    fast = [name for name in ("openvino", "onnx") if on_cpu and batches >= AUTO_BATCHES]
    return [*(name for name in fast if find_spec(PACKAGES[name])), "torch"]


def make_features(
    engines: Sequence[str], backbone: Backbone, features: Sequence[Feature], example: Tensor
) -> tuple[str, Features]:
    """Make a function that computes features by the fastest of some engines, and name the engine.

    Each that is not PyTorch is compared with it first; of several, each computes the example twice
    more. Why one cannot is warned of, if there is another.

    Parameters
    ----------
    example : float32 [n, 3, height, width]
        The first images; the function takes batches of this shape alone, unless PyTorch computes.

    Raises
    ------
    InputError
        If the only engine cannot run the model, or its embeddings of the example differ from
        PyTorch's.
    """
    others = [engine for engine in engines if engine != "torch"]
    made: dict[str, Features] = {}
    if len(others) < len(engines):
        made["torch"] = lambda images: backbone.several(images, features)
    try:
        model = _export(backbone, features, example) if others else b""
    except _Cannot as error:
        _leave(error, engines)
        others = []
    expected = backbone.several(example, features) if others else []
    for engine in others:
        try:
            made[engine] = _compiled(engine, model, example, expected, backbone.name)
        except _Cannot as error:
            _leave(error, engines)
    fastest = next(iter(made))
    if len(made) > 1:
        fastest = min(made, key=lambda engine: _seconds(made[engine], example))
    return fastest, made[fastest]


def _leave(error: _Cannot, engines: Sequence[str]) -> None:
    """Go on without an engine, and say why; refuse if it is the only one."""
    if len(engines) == 1:
        raise InputError(f"{error}: use --engine torch.") from error
    warnings.warn(f"{error}: --engine auto goes on without it.", stacklevel=3)


def _seconds(run: Features, example: Tensor) -> float:
    """Time a batch: the faster of two."""
    took = []
    for _ in range(2):
        start = time.perf_counter()
        run(example)
        took.append(time.perf_counter() - start)
    return min(took)


def _compiled(
    engine: str, model: bytes, example: Tensor, expected: Sequence[Tensor], name: str
) -> Features:
    """Make an engine's function of an exported model, after comparing it with PyTorch."""
    from torch.nn.functional import cosine_similarity

    try:
        run = {"openvino": _openvino, "onnx": _onnxruntime}[engine](model)
    except ImportError as error:
        raise _Cannot(f"{TITLES[engine]} cannot be imported ({error})") from error
    pairs = zip(expected, run(example), strict=True)
    worst = min(float(cosine_similarity(a.double(), b.double()).min()) for a, b in pairs)
    if not worst >= COSINE:
        raise _Cannot(
            f"{TITLES[engine]}'s embeddings of {name!r} differ from PyTorch's (cosine {worst:.7f})"
        )
    return run


def _export(backbone: Backbone, features: Sequence[Feature], example: Tensor) -> bytes:
    from tempfile import TemporaryDirectory

    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = backbone.model

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            return tuple(backbone.several(images, features))

    module: nn.Module = Pooled().eval()
    try:
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            # The exporter that needs no further packages is called legacy; and tracing warns of
            # every shape that it takes for fixed, which here it is.
            warnings.simplefilter("ignore")
            path = Path(folder) / "model.onnx"
            options: dict[str, Any] = {"opset_version": OPSET, "dynamo": False}
            torch.onnx.export(module, (example,), str(path), input_names=["images"], **options)
            return path.read_bytes()
    except (RuntimeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        why = str(error).splitlines()[0]
        raise _Cannot(f"Backbone {backbone.name!r} cannot be exported to ONNX ({why})") from error


def _onnxruntime(model: bytes) -> Features:
    import numpy as np
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> list[Tensor]:
        rows = session.run(None, {"images": np.ascontiguousarray(images.numpy())})
        return [torch.from_numpy(row) for row in rows]

    return run


def _openvino(model: bytes) -> Features:
    import numpy as np
    import openvino
    import torch

    core = openvino.Core()
    # Else it computes in bfloat16 where a CPU has it.
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(core.read_model(model), "CPU", options | threads)

    def run(images: Tensor) -> list[Tensor]:
        # Its memory is used again by the next batch.
        rows = compiled([np.ascontiguousarray(images.numpy())]).to_tuple()
        return [torch.from_numpy(np.array(row)) for row in rows]

    return run


def engine_version(engine: str) -> str:
    """Give name and version of an engine, for a part's provenance."""
    from importlib.metadata import version

    return f"{PACKAGES[engine]} {version(PACKAGES[engine])}"
