from .cache.embeddings import EmbeddingStore
from .cache.errors import InputError
from .cache.manifest import Manifest
from .embedder import Embedder
from .report.similarity import linear_cka, rankme
from .results import Audit, Report, Run, Similarity, Sweep, backbones
from .scoring.clinical import (
    LabelErrors,
    OperatingPoints,
    Subgroups,
    calibration,
    label_errors,
    net_benefit,
    operating_points,
    subgroups,
)
from .scoring.scores import Comparison, Scores, compare, evaluate, plan
from .stages import Machine, Network
from .tracking.tracker import FinishedRun, Tracker
from .workspace import Workspace

__version__: str

__all__ = [
    "Audit",
    "Comparison",
    "Embedder",
    "EmbeddingStore",
    "FinishedRun",
    "InputError",
    "LabelErrors",
    "Machine",
    "Manifest",
    "Network",
    "OperatingPoints",
    "Report",
    "Run",
    "Scores",
    "Similarity",
    "Subgroups",
    "Sweep",
    "Tracker",
    "Workspace",
    "backbones",
    "calibration",
    "compare",
    "evaluate",
    "label_errors",
    "linear_cka",
    "net_benefit",
    "operating_points",
    "plan",
    "rankme",
    "subgroups",
]
