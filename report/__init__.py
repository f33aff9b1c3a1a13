"""From predictions to evidence: metrics, intervals, tables and pages.

Public names load on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frostline.report.answers import answer
    from frostline.report.calibration import reliability
    from frostline.report.comparison import compare
    from frostline.report.comparison_tables import comparison_sentences, render_comparison
    from frostline.report.controls import negative_controls
    from frostline.report.data_section import DataAudit
    from frostline.report.drawings import Swept
    from frostline.report.errors import InputError
    from frostline.report.evaluation import evaluate
    from frostline.report.failed import Failed
    from frostline.report.figures import confusion_figure, forest_figure, save_figure
    from frostline.report.intervals import INTERVALS
    from frostline.report.maps import Embedded
    from frostline.report.metrics import METRICS, compute_metrics
    from frostline.report.page import write_report
    from frostline.report.predictions import Predictions, read_predictions, write_predictions
    from frostline.report.ranks import rank_methods
    from frostline.report.sections import Images
    from frostline.report.seeds import over_seeds, pool_folds
    from frostline.report.tables import FORMATS, paper_table, render

_HOME = {
    "FORMATS": "tables",
    "INTERVALS": "intervals",
    "METRICS": "metrics",
    "DataAudit": "data_section",
    "Embedded": "maps",
    "Failed": "failed",
    "Images": "sections",
    "InputError": "errors",
    "Predictions": "predictions",
    "Swept": "drawings",
    "answer": "answers",
    "compare": "comparison",
    "comparison_sentences": "comparison_tables",
    "compute_metrics": "metrics",
    "confusion_figure": "figures",
    "evaluate": "evaluation",
    "forest_figure": "figures",
    "negative_controls": "controls",
    "over_seeds": "seeds",
    "paper_table": "tables",
    "pool_folds": "seeds",
    "rank_methods": "ranks",
    "read_predictions": "predictions",
    "reliability": "calibration",
    "render": "tables",
    "render_comparison": "comparison_tables",
    "save_figure": "figures",
    "write_predictions": "predictions",
    "write_report": "page",
}

__all__ = [
    "FORMATS",
    "INTERVALS",
    "METRICS",
    "DataAudit",
    "Embedded",
    "Failed",
    "Images",
    "InputError",
    "Predictions",
    "Swept",
    "answer",
    "compare",
    "comparison_sentences",
    "compute_metrics",
    "confusion_figure",
    "evaluate",
    "forest_figure",
    "negative_controls",
    "over_seeds",
    "paper_table",
    "pool_folds",
    "rank_methods",
    "read_predictions",
    "reliability",
    "render",
    "render_comparison",
    "save_figure",
    "write_predictions",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
