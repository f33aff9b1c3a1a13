"""Packages that can be called: `frostline.extract` is a package and a function.

`frostline.extract("chest", "dinov2-s")` is the verb and `from frostline.extract.embed import …`
reaches into the package, whichever is imported first: importing anything of Frostline imports
`frostline` before it, which gives these packages a class with `__call__`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from frostline import verbs

if TYPE_CHECKING:
    from inspect import Signature

Package = TypeVar("Package", bound="CallablePackage")


class CallablePackage(ModuleType):
    """A package with a verb."""

    @property
    def __signature__(self) -> Signature:
        from inspect import signature

        return signature(type(self).__call__)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self.__name__,)


class Extract(CallablePackage):
    """From image files to embeddings."""

    __call__ = staticmethod(verbs.extract)


class Probe(CallablePackage):
    """Heads trained on cached embeddings."""

    __call__ = staticmethod(verbs.probe)


class Finetune(CallablePackage):
    """End-to-end training."""

    __call__ = staticmethod(verbs.finetune)


def callable_package(name: str, kind: type[Package]) -> Package:
    """Import the package `name`, make it callable, and show its verb in `help`."""
    package: Any = import_module(name)
    package.__class__ = kind
    package.__doc__ = f"{package.__doc__}\n\nCalled, {name} does this:\n\n{kind.__call__.__doc__}"
    return package
