"""What a user of Python may give, turned into what the stages take."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import wraps
from inspect import isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from frostline.cache.errors import InputError
from frostline.console import showing

if TYPE_CHECKING:
    from torch import nn

    from frostline.apply.load import Weights
    from frostline.results import Run
    from frostline.stages import Network

    Backbone: TypeAlias = str | nn.Module | Network
    PathLike: TypeAlias = str | os.PathLike[str]

T = TypeVar("T")


def showing_progress(kind: type[T]) -> type[T]:
    """Let the public methods of a class show how far they are as its `progress` says."""
    for name, value in list(vars(kind).items()):
        if isfunction(value) and not name.startswith("_"):
            setattr(kind, name, _showing(value))
    return kind


def _showing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        with showing(self.progress):
            return method(self, *args, **kwargs)

    return run


def as_network(backbone: Backbone, **given: Any) -> Network:
    """Make a network of a name or a module; one that is given says all about itself."""
    from frostline.stages import Network

    defaults = {field.name: field.default for field in fields(Network)}
    if strange := sorted(given.keys() - defaults.keys()):
        raise InputError(f"A network has no {strange[0]}: there are {', '.join(defaults)}.")
    if not isinstance(backbone, Network):
        # A module is known by its state: torch is not imported for a name.
        if not (isinstance(backbone, str) or hasattr(backbone, "state_dict")):
            raise InputError(
                "A backbone is a name, a torch.nn.Module or a frostline.Network, not "
                f"{backbone!r}: `frostline backbones` lists the names."
            )
        return Network(backbone, **given)
    for name, value in given.items():
        if value != defaults[name]:
            raise InputError(f"A Network has its own {name}: set it there, or give a name.")
    return backbone


def as_paths(given: PathLike | Iterable[PathLike]) -> list[Path]:
    """List one path or several."""
    return [Path(path) for path in ([given] if isinstance(given, str | os.PathLike) else given)]


def as_texts(given: str | Sequence[str]) -> Sequence[str]:
    """List one text or several."""
    return [given] if isinstance(given, str) else given


def as_run_id(run: Run | str) -> str:
    """Name a run by its id."""
    return run if isinstance(run, str) else run.id


def as_weights(
    weights: PathLike | None, head_weights: PathLike | None, module: nn.Module | None
) -> Weights:
    """Say where the backbone of a run comes from."""
    from frostline.apply.load import Weights

    file, head_file = (None if p is None else os.fspath(p) for p in (weights, head_weights))
    return Weights(file, head_file, module)


def warn_of(skipped: Iterable[str]) -> None:
    """Warn of images that were left out, in the line that called a method of the workspace."""
    for sentence in skipped:
        warnings.warn(f"Skipped: {sentence}", stacklevel=4)


def as_networks(
    backbones: Backbone | Sequence[Backbone], protocol: str | None, **given: Any
) -> list[Network]:
    """Give the networks of one backbone, or of each of several; `given` as in `as_network`.

    Without a protocol, names and modules are of `standard`, and a network is of its own.
    """
    several = isinstance(backbones, Sequence) and not isinstance(backbones, str)
    chosen: Any = backbones if several else [backbones]
    found = []
    for one in chosen:
        default = one.protocol if hasattr(one, "backbone_name") else "standard"
        network = as_network(one, **given)
        found.append(replace(network, protocol=protocol or default))
    return found
