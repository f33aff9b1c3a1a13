from .figures import confusion_figure, forest_figure, save_figure
from .page.answers import answer
from .page.drawings import Swept
from .page.maps import Embedded
from .page.page import write_report
from .page.sections import Images
from .predictions import Predictions, read_predictions, write_predictions
from .statistics.calibration import reliability
from .statistics.comparisons.compare import compare
from .statistics.controls import negative_controls
from .statistics.evaluation import evaluate
from .statistics.intervals.intervals import INTERVALS
from .statistics.metrics import METRICS, compute_metrics
from .statistics.ranks import rank_methods
from .statistics.seeds import over_seeds, pool_folds
from .tables.comparisons import comparison_sentences, render_comparison
from .tables.data import DataAudit
from .tables.failed import Failed
from .tables.formats import FORMATS, paper_table, render

__all__ = [
    "FORMATS",
    "INTERVALS",
    "METRICS",
    "DataAudit",
    "Embedded",
    "Failed",
    "Images",
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
