from .cache.embeddings import EmbeddingStore
from .cache.errors import InputError
from .cache.manifest import Manifest
from .results import Audit, Comparison, Report, Run, Scores, Sweep
from .stages import Machine, Network
from .workspace import Workspace, backbones, compare, evaluate

__version__: str

__all__ = [
    "Audit",
    "Comparison",
    "EmbeddingStore",
    "InputError",
    "Machine",
    "Manifest",
    "Network",
    "Report",
    "Run",
    "Scores",
    "Sweep",
    "Workspace",
    "backbones",
    "compare",
    "evaluate",
]
