"""Parameters in Python: what kind each is of, and its name in sentences.

Every sentence names a parameter the way the command line has it, `--image-size`; in Python and in
study files it is `image_size`, and this is where the one becomes the other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import isfunction, signature
from math import isfinite
from numbers import Integral, Real
from reprlib import Repr
from typing import Any, ParamSpec, TypeVar

from frostline.cache.errors import InputError

T = TypeVar("T")
P = ParamSpec("P")
SPECIAL = ("__init__", "__call__")
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*[a-z])")


SHORT = Repr()
SHORT.maxstring = SHORT.maxother = 80


@dataclass(frozen=True)
class Kind:
    """What the value of a parameter must be, in words and as a test; its default is one, too."""

    words: str
    fits: Callable[[Any], bool]

    def several(self) -> Kind:
        """One of these, or a sequence of them."""
        return Kind(
            f"{self.words}, or several",
            lambda value: self.fits(value) or (_is_listed(value) and all(map(self.fits, value))),
        )

    def paired(self) -> Kind:
        """Two of these."""
        return Kind(
            f"two, each {self.words}",
            lambda value: _is_listed(value) and len(value) == 2 and all(map(self.fits, value)),
        )


def _is_listed(value: Any) -> bool:
    """Whether it can be looked through twice."""
    once = hasattr(value, "__next__")
    return hasattr(value, "__iter__") and not once and not isinstance(value, str | bytes | Mapping)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _whole(least: int, most: int) -> Kind:
    return Kind(
        f"a whole number from {least} to {most}",
        lambda value: _is_whole(value) and least <= value <= most,
    )


def _named(kind: str) -> Callable[[Any], bool]:
    """Tell a class by its name: what defines it is not imported for that."""
    return lambda value: any(one.__name__ == kind for one in type(value).__mro__)


_TEXT = Kind("text", lambda value: isinstance(value, str))
_TEXT_OR_WHOLE = Kind(
    "text or a whole number", lambda value: isinstance(value, str) or _is_whole(value)
)
_PATH = Kind("a path", lambda value: isinstance(value, str | os.PathLike))
_NUMBER = Kind(
    "a number",
    lambda value: isinstance(value, Real) and not isinstance(value, bool) and isfinite(value),
)
_FLAG = Kind("True or False", lambda value: type(value).__name__.startswith("bool"))
_COUNT = Kind("a whole number", _is_whole)
# As NumPy takes them.
_SEED = _whole(0, 2**32 - 1)
_FIELDS = Kind("a mapping from names", lambda value: isinstance(value, Mapping))
_BOUND = Kind("a whole number or None", lambda value: value is None or _is_whole(value))
_METRIC = Kind(
    "a metric's name or a function", lambda value: isinstance(value, str) or callable(value)
)
_RUN = Kind("a Run or its id", lambda value: isinstance(value, str) or hasattr(value, "id"))
_TRACKER = Kind(
    "mlflow, wandb, tensorboard or a frostline.Tracker",
    lambda value: value in ("mlflow", "wandb", "tensorboard") or _named("Tracker")(value),
)
# A parameter of one name is of one kind, wherever it is. Limits of most are checked where they act,
# as those of options are.
KINDS = {
    **dict.fromkeys(
        ("aggregate", "ci", "dataset", "device", "family", "feature", "group_pattern"), _TEXT
    ),
    **dict.fromkeys(
        ("key", "kind", "label", "name", "on_error", "positive", "precision", "search"), _TEXT
    ),
    **dict.fromkeys(("engine", "protocol", "scheduler", "split", "unit", "views_key"), _TEXT),
    **dict.fromkeys(("data", "file", "folder", "head_weights", "mask", "path", "study"), _PATH),
    "weights": _PATH,
    "workspace": Kind(
        "a Workspace or a path", lambda value: _PATH.fits(value) or hasattr(value, "folder")
    ),
    "cv": Kind("text or None", lambda value: value is None or isinstance(value, str)),
    **dict.fromkeys(("images", "root"), _PATH.several()),
    **dict.fromkeys(
        ("backbones", "by", "classes", "only", "readable", "settings"), _TEXT.several()
    ),
    **dict.fromkeys(("calibrated", "controls", "intersection", "keep_pixels", "overwrite"), _FLAG),
    **dict.fromkeys(("files", "rehash", "resplit", "stratified", "track_files"), _FLAG),
    **dict.fromkeys(("verbose", "with_images"), _FLAG),
    **dict.fromkeys(("groups", "min_roi", "replicates", "size"), _COUNT),
    **dict.fromkeys(
        ("discordance", "margin", "prevalence", "test_fraction", "val_fraction"), _NUMBER
    ),
    **dict.fromkeys(("differences", "powers", "thresholds"), _NUMBER.several()),
    **dict.fromkeys(("columns", "hyperparameters", "options"), _FIELDS),
    **dict.fromkeys(("seed", "weights_seed"), _SEED),
    "progress": Kind("True, False or None", lambda value: value is None or _FLAG.fits(value)),
    "seeds": _SEED.several(),
    # Of these, limits are those of the options.
    "batch": _whole(1, 65_536),
    "image_size": _whole(1, 4096),
    "most_images": _whole(4, 10_000_000),
    "jobs": _whole(1, 1024),
    "workers": _whole(0, 1024),
    "views": _whole(0, 256),
    "views_of": Kind("train or all", lambda value: value in ("train", "all")),
    "shard": _COUNT.paired(),
    "slices": Kind(
        f"{_BOUND.paired().words}, or a rule such as 'every:3'",
        lambda value: _TEXT.fits(value) or _BOUND.paired().fits(value),
    ),
    "train": _TEXT_OR_WHOLE.several(),
    "unfreeze": _TEXT_OR_WHOLE,
    "threshold": Kind("text or a number", lambda value: _TEXT.fits(value) or _NUMBER.fits(value)),
    "metric": _METRIC,
    "metrics": _METRIC.several(),
    "rows": Kind("a table", lambda value: hasattr(value, "keys")),
    "machine": Kind("a frostline.Machine", _named("Machine")),
    "module": Kind("a torch.nn.Module", _named("Module")),
    "run": _RUN,
    "runs": _RUN.several(),
    **dict.fromkeys(("to", "track"), _TRACKER),
    "transform": Kind("a function", lambda value: callable(value) or hasattr(value, "resize")),
}


def check_kinds(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse values of parameters that are of a wrong kind, before anything is done with them.

    Raises
    ------
    InputError
        With the parameter's name, what it must be, and what was given.
    """
    for name, value in given.items():
        kind = KINDS.get(name)
        if kind and not (name in defaults and value is defaults[name]) and not kind.fits(value):
            raise InputError(f"{name} must be {kind.words}, not {SHORT.repr(value)}.")


def as_numbers(given: float | Iterable[float]) -> list[float]:
    """List one number or several."""
    return list(given) if isinstance(given, Iterable) else [given]


def as_parameters(sentence: str) -> str:
    """Name options as parameters, but for those of commands, which stand in backticks."""
    pieces = sentence.split("`")
    for place in range(0, len(pieces), 2):
        pieces[place] = OPTION.sub(lambda found: found[1].replace("-", "_"), pieces[place])
    return "`".join(pieces)


def in_python(function: Callable[P, T]) -> Callable[P, T]:
    """Check the kinds of what a function is given; its errors' sentences name parameters."""
    defaults = {one.name: one.default for one in signature(function).parameters.values()}

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        check_kinds({**dict(zip(defaults, args, strict=False)), **kwargs}, defaults)
        try:
            return function(*args, **kwargs)
        except InputError as error:
            error.args = tuple(map(as_parameters, error.args))
            raise

    return run


def methods_in_python(kind: type[T]) -> type[T]:
    """Do the same for making an object of a class, calling it, and all of its public methods."""
    for name, value in list(vars(kind).items()):
        if isfunction(value) and (name in SPECIAL or not name.startswith("_")):
            setattr(kind, name, in_python(value))
    return kind
