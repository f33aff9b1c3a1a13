from .heads.adam import AdamProbe
from .heads.attention import AttentionProbe
from .heads.knn import KNNProbe
from .heads.logistic import LogisticProbe
from .heads.ordinal import OrdinalProbe
from .heads.simple import CentroidProbe, MajorityProbe
from .heads.storage import load_head, save_head
from .run import Source, probe_head
from .solver.bags import Bags
from .solver.ordinal import solve_ordinal
from .solver.solve import solve_logistic

__all__ = [
    "AdamProbe",
    "AttentionProbe",
    "Bags",
    "CentroidProbe",
    "KNNProbe",
    "LogisticProbe",
    "MajorityProbe",
    "OrdinalProbe",
    "Source",
    "load_head",
    "probe_head",
    "save_head",
    "solve_logistic",
    "solve_ordinal",
]
