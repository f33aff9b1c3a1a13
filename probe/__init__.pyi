from .heads.adam import AdamProbe
from .heads.knn import KNNProbe
from .heads.logistic import LogisticProbe
from .heads.saved import load_head, save_head
from .heads.simple import CentroidProbe, MajorityProbe
from .run import probe_run
from .solver.solve import solve_logistic

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
