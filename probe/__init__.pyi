from .heads.adam import AdamProbe
from .heads.knn import KNNProbe
from .heads.logistic import LogisticProbe
from .heads.simple import CentroidProbe, MajorityProbe
from .heads.storage import load_head, save_head
from .run import Source, probe_head
from .solver.solve import solve_logistic

__all__ = [
    "AdamProbe",
    "CentroidProbe",
    "KNNProbe",
    "LogisticProbe",
    "MajorityProbe",
    "Source",
    "load_head",
    "probe_head",
    "save_head",
    "solve_logistic",
]
