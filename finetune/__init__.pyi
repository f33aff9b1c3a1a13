from .conditions import Conditions
from .cross_validation import finetune_folds
from .recipe import RECIPES, Recipe, make_recipe
from .run import finetune_run
from .saved_model import load_model, read_card
from .task import Execution, Task
from .training.epochs import Epoch

__all__ = [
    "RECIPES",
    "Conditions",
    "Epoch",
    "Execution",
    "Recipe",
    "Task",
    "finetune_folds",
    "finetune_run",
    "load_model",
    "make_recipe",
    "read_card",
]
