"""Names of parameters in sentences.

Every sentence names a parameter the way the command line has it, `--image-size`; in Python and in
study files it is `image_size`, and this is where the one becomes the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from inspect import isfunction, signature
from typing import ParamSpec, TypeVar

from frostline.cache.errors import InputError
from frostline.given import check_kinds

T = TypeVar("T")
P = ParamSpec("P")
SPECIAL = ("__init__", "__call__")
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*[a-z])")


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
