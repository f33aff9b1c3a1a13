"""Heads trained on cached embeddings.

Public names load on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frostline.probe.adam import AdamProbe
    from frostline.probe.knn import KNNProbe
    from frostline.probe.logistic import LogisticProbe
    from frostline.probe.run import probe_run
    from frostline.probe.save import load_head, save_head
    from frostline.probe.simple import CentroidProbe, MajorityProbe
    from frostline.probe.solver import solve_logistic

_HOME = {
    "AdamProbe": "adam",
    "CentroidProbe": "simple",
    "KNNProbe": "knn",
    "LogisticProbe": "logistic",
    "MajorityProbe": "simple",
    "load_head": "save",
    "probe_run": "run",
    "save_head": "save",
    "solve_logistic": "solver",
}

__all__ = [
    "AdamProbe",
    "CentroidProbe",
    "KNNProbe",
    "LogisticProbe",
    "MajorityProbe",
    "load_head",
    "probe_run",
    "save_head",
    "solve_logistic",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
