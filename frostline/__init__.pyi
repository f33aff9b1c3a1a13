from .cache.embeddings import EmbeddingStore
from .cache.errors import InputError
from .cache.manifest import Manifest
from .listing import backbones
from .results import Audit, Report, Run, Sweep
from .scores import Comparison, Scores, compare, evaluate
from .stages import Machine, Network
from .workspace import Workspace

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
