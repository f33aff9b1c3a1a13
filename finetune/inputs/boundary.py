"""The boundary in a network: what goes from the frozen blocks into the first block that trains.

Frozen blocks give the same output in every epoch, so it is computed once. The rest then runs from
it by the model's own forward function: up to the boundary that function sees one empty image, for
which every frozen module answers what it answered before; at the boundary the kept activations take
its place. What else a block is given (position embeddings, masks) does not depend on the image, or
the model is refused: outputs and gradients are compared with the whole network's first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.pixels import Form
from frostline.finetune.model import Classifier
from frostline.finetune.unfreeze import trained_blocks

HEAD = "head"
CHECKED = 4
# Rounding alone, as a share of the largest value: the same operations on the same numbers.
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 2e-2}
# What a forward function raises that cannot do with one image before the boundary.
MISFITS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError)


class NoBoundaryError(Exception):
    """The reason why a network cannot be cut in two, as a clause without its full stop."""


@dataclass(frozen=True)
class Boundary:
    """The place where a classifier is cut in two.

    Attributes
    ----------
    block : str
        Name of the first block that trains; "head" if no block does.
    place : str
        Name in the classifier of the module whose first input is kept.
    outputs : dict of str to Any
        What frozen modules before it give for an empty image.
    empty : Tensor, float [1, 3, height, width]
    shape : tuple of int
        Of the activations of one image.
    form : Form
        How they are stored.
    """

    block: str
    place: str
    outputs: dict[str, Any]
    empty: Tensor
    shape: tuple[int, ...]
    form: Form

    @property
    def row_bytes(self) -> int:
        """Bytes of the activations of one image."""
        return int(torch.Size(self.shape).numel()) * self.form.dtype.itemsize

    def enter(self, model: Classifier, images: Tensor) -> Tensor:
        """Compute the activations of images [n, 3, height, width] at the boundary."""
        if self.block == HEAD:
            return model.compute(model.backbone, images).float()
        kept: list[Tensor] = []

        def stop(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            kept.append(inputs[0])
            raise _ReachedError

        handle = model.get_submodule(self.place).register_forward_pre_hook(stop)
        try:
            model.embed(images)
        except _ReachedError:
            pass
        finally:
            handle.remove()
        return kept[0]

    def leave(self, model: Classifier, activations: Tensor) -> Tensor:
        """Compute logits float [n, classes] from activations."""
        if self.block == HEAD:
            return model.head(activations)

        def replace(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (activations, *inputs[1:])

        with ExitStack() as stack:
            hook = model.get_submodule(self.place).register_forward_pre_hook(replace)
            stack.callback(hook.remove)
            for name, output in self.outputs.items():
                stack.enter_context(_answering(model.get_submodule(name), output))
            return model.head(model.embed(self.empty))


@contextmanager
def running_from(model: Classifier, boundary: Boundary | None) -> Iterator[None]:
    """Let a model take activations at a boundary instead of images, if there is one."""
    model.shortcut = None if boundary is None else partial(boundary.leave, model)
    try:
        yield
    finally:
        model.shortcut = None


class _ReachedError(Exception):
    """The boundary is reached; what follows is not needed."""


def find_boundary(
    model: Classifier, blocks: list[str], size: int, conditions: Conditions
) -> Boundary:
    """Find where training begins, and check that the network can run from there.

    Parameters
    ----------
    model : Classifier
        On its device; `unfreeze` has marked what trains.
    blocks : list of str
        What `unfreeze` gave.
    size : int
        Side of the images, in pixels.
    conditions : Conditions

    Raises
    ------
    NoBoundaryError
        If nothing is frozen, or the network is not a sequence at this place.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        empty = torch.zeros((1, 3, size, size), device=conditions.device)
        boundary = _trace(model, blocks, empty, conditions)
        _check(model, boundary, conditions)
        return boundary
    except torch.OutOfMemoryError:
        raise
    except MISFITS as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NoBoundaryError(f"{model.name} cannot run from {blocks[0]} alone ({text})") from error
    finally:
        for module, training in modes.items():
            module.training = training


def _trace(model: Classifier, blocks: list[str], empty: Tensor, conditions: Conditions) -> Boundary:
    """Pass an empty image through, and note what is called and what it answers."""
    entered: list[str] = []
    inputs: dict[str, tuple[Any, ...]] = {}
    answers: dict[str, Any] = {}
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not name:
                continue

            def enter(module: nn.Module, given: tuple[Any, ...], name: str = name) -> None:
                entered.append(name)
                inputs[name] = _copied(given[:1])

            def leave(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
                answers[name] = _copied(output)

            for handle in (
                module.register_forward_pre_hook(enter),
                module.register_forward_hook(leave),
            ):
                stack.callback(handle.remove)
        with torch.no_grad(), conditions.autocast():
            model(empty)
    behind = _behind(model)
    trains = {
        name: {one in behind for one in model.get_submodule(name).parameters()} for name in entered
    }
    place = next(name for name in entered if trains[name] == {True})
    before = entered[: entered.index(place)]
    frozen = [name for name in before if trains[name] == {False}]
    if not frozen:
        raise NoBoundaryError("nothing is frozen before what trains")
    times = Counter(entered)
    (first,) = inputs[place] or (None,)
    block = blocks[0] if blocks else HEAD
    if times[place] > 1 or not isinstance(first, Tensor):
        raise NoBoundaryError(f"{block} of {model.name} does not take one tensor once a pass")
    if block == HEAD:
        first = first.float()
    kept = [name for name in _outermost(frozen) if times[name] == 1]
    return Boundary(
        block,
        place,
        {name: answers[name] for name in kept if block != HEAD},
        empty,
        tuple(first.shape[1:]),
        Form(first.dtype, _is_channels_last(first)),
    )


def _check(model: Classifier, boundary: Boundary, conditions: Conditions) -> None:
    """Compare logits and gradients of a few images of noise with those of the whole network."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((CHECKED, *boundary.empty.shape[1:]), generator=generator)
    images = noise.to(conditions.device).contiguous(memory_format=torch.channels_last)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad(), conditions.autocast():
        activations = boundary.enter(model, images)
    activations = boundary.form.restored(
        torch.from_numpy(boundary.form.at_rest(activations)).to(conditions.device)
    )
    with conditions.autocast():
        ways = [model(images), boundary.leave(model, activations)]
    tolerance = TOLERANCE[conditions.precision]
    gradients = [
        torch.autograd.grad(way.float().mean(), trained, allow_unused=True) for way in ways
    ]
    pairs = [tuple(ways), *zip(*gradients, strict=True)]
    if not all(_close(left, right, tolerance) for left, right in pairs):
        raise NoBoundaryError(
            f"{model.name} gives other numbers when it runs from {boundary.block} alone: "
            "something goes past that block"
        )


def _close(left: Tensor | None, right: Tensor | None, tolerance: float) -> bool:
    if left is None or right is None:
        return left is right
    return bool((left - right).abs().max() <= tolerance * left.abs().max())


def _is_channels_last(images: Tensor) -> bool:
    # By strides: of one pixel each, both orders count as contiguous, and kernels tell them apart.
    if images.ndim != 4:
        return False
    last = torch.empty(images.shape, memory_format=torch.channels_last)
    return images.stride()[1:] == last.stride()[1:] != images.new_empty(images.shape).stride()[1:]


def _behind(model: Classifier) -> set[nn.Parameter]:
    """Give what stands behind the boundary: blocks in which anything trains, and the head.

    Their frozen parts too: beside an adapter, or a norm, the block's input goes on to others.
    """
    found = dict(model.backbone.named_parameters())
    inside = [found[name] for block in trained_blocks(model) for name in block.parameters]
    return {*inside, *model.head.parameters()}


def _outermost(names: list[str]) -> list[str]:
    """Give the names of modules that are in no other of them."""
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]


@contextmanager
def _answering(module: nn.Module, output: Any) -> Iterator[None]:
    """Let a module give `output`, whatever it takes."""
    module.forward = lambda *_, **__: _copied(output)
    try:
        yield
    finally:
        del module.forward


def _copied(value: Any) -> Any:
    """Copy tensors, because what follows may write into them."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, tuple | list):
        return type(value)(_copied(item) for item in value)
    return value
