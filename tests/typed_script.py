"""What a user writes, for the type checker (tests/test_project.py); it is never run."""

from pathlib import Path
from typing import assert_type

import pandas as pd

import frostline
import frostline.extract.embed
from frostline.cache import EmbeddingStore, Manifest
from frostline.extract.index import index_dataset
from frostline.probe import probe_head

assert_type(frostline.index("chest", ["images"], group_pattern="(patient[0-9]+)"), Manifest)
store = frostline.extract("chest", "effnet-lite0", batch=8, engine="onnx")
assert_type(store, EmbeddingStore)
X, y, groups = store.arrays("train")
frozen = frostline.probe("chest", "effnet-lite0", head="logistic")
assert_type(frozen, Path)
tuned = frostline.finetune("chest", "effnet-lite0", unfreeze=2, epochs=5, lr=[1e-4, 1e-3])
assert_type(frostline.evaluate([frozen, str(tuned)]), pd.DataFrame)
assert_type(frostline.evaluate(Path("predictions").glob("*.parquet")), pd.DataFrame)
assert_type(frostline.compare([frozen, tuned], margin=0.02), pd.DataFrame)
assert_type(frostline.run("demo"), list[Path])
print(index_dataset, probe_head, frostline.extract.embed.embed_features)

# Each of these is an error, and the checker complains where it sees none.
frostline.extract("chest", 3)  # type: ignore[arg-type]
frostline.extract("chest", "effnet-lite0", engine="jax")  # type: ignore[arg-type]
frostline.probe("chest", "effnet-lite0", haed="logistic")  # type: ignore[call-arg]
frostline.finetune("chest")  # type: ignore[call-arg]
frostline.index(3, "images")  # type: ignore[arg-type]
