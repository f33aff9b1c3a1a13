"""Export a trained run to ONNX: pixels in, probabilities out, checked against PyTorch."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from frostline.apply.handover import check_free, write_beside
from frostline.apply.load import LoadedRun
from frostline.cache import InputError, atomic_write
from frostline.cache.atomic import clear_temporary
from frostline.extract.engine import OPSET
from frostline.extract.forward import to_input
from frostline.probe.heads.adam import AdamProbe
from frostline.probe.heads.logistic import LogisticProbe
from frostline.probe.heads.ordinal import OrdinalProbe

if TYPE_CHECKING:
    from collections.abc import Callable

INPUT, OUTPUT = "images", "probabilities"
# The largest difference of probabilities: the order of additions, no more.
TOLERANCE = 1e-4
# Sizes of the batches that are compared; the model is traced with another one.
CHECKED, TRACED = (1, 3, 8), 2
NEEDED = "Export to ONNX needs onnx and ONNX Runtime: run `pip install 'frostline[onnx]'`."


class Exported(nn.Module):
    """A run as one module: uint8 pixels to probabilities, in float32.

    Parameters
    ----------
    loaded : LoadedRun
        On the CPU.
    temperature : float
        That logits are divided by.
    """

    def __init__(self, loaded: LoadedRun, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.normalisation = loaded.normalisation
        if loaded.head is None:
            assert isinstance(loaded.network, nn.Module)
            self.network: nn.Module = loaded.network
            self.embed: Callable[[Tensor], Tensor] = loaded.network
            self.head: nn.Module = nn.Identity()
        else:
            assert not isinstance(loaded.network, nn.Module)
            self.network = loaded.network.model
            self.embed = loaded.network.forward
            self.head = head_module(loaded.head, loaded.run)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Classify uint8 [n, height, width] or [n, height, width, 3] to float32 [n, classes]."""
        logits = self.head(self.embed(to_input(images, self.normalisation, "cpu")).float())
        return (logits if self.temperature == 1 else logits / self.temperature).softmax(1)


def head_module(head: Any, run: str) -> nn.Module:
    """Make a module that gives logits of a trained head.

    Raises
    ------
    InputError
        If it is of a kind that has no weights of its own.
    """
    if isinstance(head, AdamProbe):
        layers: list[nn.Module] = []
        for weight, bias in zip(head.coefs_, head.intercepts_, strict=True):
            layers += [nn.ReLU()] if layers else []
            layers.append(_linear(weight.T, bias))
        return nn.Sequential(*layers)
    if isinstance(head, LogisticProbe):
        weight, bias = np.atleast_2d(head.coef_), np.atleast_1d(head.intercept_)
        if len(weight) == 1:  # of two classes, the first has logit 0
            weight, bias = np.vstack([0 * weight, weight]), np.append(0 * bias, bias)
        return _linear(weight, bias)
    if isinstance(head, OrdinalProbe):
        return Ordinal(head)
    raise InputError(
        f"Run {run} has a head that is not a layer of a network ({type(head).__name__}): export "
        "runs with head logistic, ordinal or adam, or fine-tuned ones."
    )


class Ordinal(nn.Module):
    """An ordinal head: logarithms of its probabilities [n, classes], whose softmax these are."""

    between: Tensor
    places: Tensor

    def __init__(self, head: OrdinalProbe) -> None:
        super().__init__()
        count = len(head.thresholds_)
        self.past = _linear(np.tile(head.coef_, (count, 1)), -head.thresholds_)
        with np.errstate(divide="ignore"):  # a class that no image was of has no gap
            gaps = np.log(-np.expm1(-np.diff(head.thresholds_.astype(np.float64))))
        between = np.concatenate([[0.0], gaps, [0.0]])
        self.register_buffer("between", torch.tensor(between).float())
        self.register_buffer("places", torch.tensor(np.argsort(head.order_)))

    def forward(self, X: Tensor) -> Tensor:
        """Give them for float32 [n, p], by `frostline.probe.solver.ordinal.class_shares`."""
        logits = self.past(X)
        past, short = nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
        pad = nn.functional.pad
        shares = pad(past, (1, 0)) + pad(short, (0, 1)) + self.between
        return shares[:, self.places]


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta").to_empty(device="cpu")
    layer.load_state_dict(
        {"weight": torch.tensor(weight).float(), "bias": torch.tensor(bias).float()}
    )
    return layer


def export_onnx(
    loaded: LoadedRun, path: Path, temperature: float | None = None, *, overwrite: bool = False
) -> float:
    """Write a run as an ONNX file and compare it with PyTorch; script, JSON and card beside it.

    The input `images` is uint8 [n, height, width, 3] (grey runs: [n, height, width]), what the
    geometry in the file's metadata makes of an image; the output `probabilities` is float32
    [n, classes]. n is free. The metadata are `classes`, `geometry`, `channels` and `run`, and
    `temperature` where there is one.

    Parameters
    ----------
    loaded : LoadedRun
        On the CPU.
    temperature : float, optional
        By which probabilities are scaled; see `run_temperature`.
    overwrite : bool
        Whether to replace what is there; a `predict.py` that Frostline did not write never is.

    Returns
    -------
    float
        The largest difference of a probability that was found.

    Raises
    ------
    InputError
        If packages are missing, a file is in the way, the network cannot be exported, or the
        numbers differ: then there is no file.
    """
    check_free(path, overwrite=overwrite)
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(NEEDED) from error
    module = Exported(loaded, 1.0 if temperature is None else temperature)
    # Contiguous as ONNX has it; a model in channels-last order would be traced with copies.
    module.network.to(memory_format=torch.contiguous_format)
    images = _noise(loaded)

    clear_temporary(path.parent, path.name)
    with atomic_write(path) as temporary:
        _trace(module, images(TRACED), temporary, loaded.run)
        model = onnx.load(str(temporary))
        onnx.helper.set_model_props(model, _metadata(loaded, temperature))
        onnx.save(model, str(temporary))
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        worst = max(_difference(module, session, images(count)) for count in CHECKED)
        if not worst <= TOLERANCE:
            raise InputError(
                f"ONNX Runtime's probabilities of run {loaded.run} differ from PyTorch's by "
                f"{worst:.2g}: nothing was written."
            )
        write_beside(loaded, path, temporary, temperature, worst)
    return worst


def _noise(loaded: LoadedRun) -> Callable[[int], Tensor]:
    """Give what draws so many images of noise, each time others."""
    generator = torch.Generator().manual_seed(0)
    shape = loaded.geometry.pixel_shape(loaded.channels)
    return lambda count: torch.randint(
        0, 256, (count, *shape), generator=generator, dtype=torch.uint8
    )


def _metadata(loaded: LoadedRun, temperature: float | None) -> dict[str, str]:
    """Give what the file says of itself."""
    about = {
        "run": loaded.run,
        "classes": json.dumps(loaded.classes, ensure_ascii=False),
        "geometry": json.dumps(loaded.geometry.to_spec()),
        "channels": loaded.channels,
    }
    return about if temperature is None else about | {"temperature": repr(temperature)}


def _trace(module: Exported, example: Tensor, path: Path, run: str) -> None:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The exporter that needs no further packages is called legacy; and tracing warns of
            # every shape that it takes for fixed, which here it is, but for the batch's.
            warnings.simplefilter("ignore")
            options: dict[str, Any] = {"opset_version": OPSET, "dynamo": False}
            axes = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}}
            torch.onnx.export(
                module,
                (example,),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes=axes,
                **options,
            )
    except (RuntimeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        raise InputError(
            f"The network of run {run} cannot be exported to ONNX ({str(error).splitlines()[0]})."
        ) from error


@torch.inference_mode()
def _difference(module: Exported, session: Any, images: Tensor) -> float:
    try:
        (found,) = session.run(None, {INPUT: images.numpy()})
    except Exception as error:  # ONNX Runtime's errors have no class of their own
        raise InputError(
            f"The exported network does not run on {len(images)} images: {error}."
        ) from error
    return float(np.abs(found - module(images).numpy()).max())
