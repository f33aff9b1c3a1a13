"""Frostline finds out how deep a pretrained backbone should be frozen for your medical images.

The commands as functions: `index`, `extract`, `probe`, `finetune`, `evaluate`, `compare`, `run`.
"""

from frostline.packages import Extract, Finetune, Probe, callable_package
from frostline.verbs import compare, evaluate, index, run

__all__ = ["compare", "evaluate", "extract", "finetune", "index", "probe", "run"]
__version__ = "0.1.0"

# Packages too: `from frostline.extract import …` goes on working.
extract = callable_package("frostline.extract", Extract)
probe = callable_package("frostline.probe", Probe)
finetune = callable_package("frostline.finetune", Finetune)
