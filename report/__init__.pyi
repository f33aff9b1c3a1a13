from .figures import confusion_figure, forest_figure, save_figure
from .page.answers import answer
from .page.mistakes import Images
from .page.page import write_report
from .page.projections import Embedded
from .page.training_figures import Swept
from .predictions import Predictions, read_predictions, write_predictions
from .statistics.calibration import reliability
from .statistics.comparisons.compare import compare
from .statistics.controls import negative_controls
from .statistics.evaluation import evaluate
from .statistics.intervals.intervals import INTERVALS
from .statistics.metrics import METRICS, compute_metrics
from .statistics.ranks import rank_methods
from .statistics.seeds import over_seeds, pool_folds
from .tables.comparisons import comparison_sentences, comparison_table, render_comparison
from .tables.data import DataAudit
from .tables.failed import Failed
from .tables.formats import FORMATS
from .tables.scores import paper_table, render, score_table
from .tables.table import Table
from .tables.writers.html import table_html

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
    "Table",
    "answer",
    "compare",
    "comparison_sentences",
    "comparison_table",
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
    "score_table",
    "table_html",
    "write_predictions",
    "write_report",
]
