"""What a user writes, for the type checkers (tests/test_types.py); it is never run."""

from pathlib import Path
from typing import assert_type

import pandas as pd

import frostline
import frostline.extract.embed
from frostline.cache import EmbeddingStore, Manifest
from frostline.extract.index import index_dataset
from frostline.report import Predictions

ws = frostline.Workspace("folder", machine=frostline.Machine("cpu", engine="onnx"))
assert_type(ws.index("chest", ["images"], group_pattern="(patient[0-9]+)"), Manifest)
store = ws.extract("chest", "effnet-lite0", machine=frostline.Machine(batch=8))
assert_type(store, EmbeddingStore)
X, y, groups = store.arrays("train")
frozen = ws.probe("chest", "effnet-lite0", "logistic")
assert_type(frozen, frostline.Run)
assert_type(frozen.path, Path)
assert_type(frozen.predictions, Predictions)
assert_type(frozen.scores(), frostline.Scores)
tuned = ws.finetune("chest", "effnet-lite0", unfreeze=2, epochs=5, lr=[1e-4, 1e-3])
assert_type(tuned, frostline.Run)
assert_type(ws.finetune("chest", "effnet-lite0", epochs=5, cv="5x3"), list[frostline.Run])
scores = frostline.evaluate([frozen, str(tuned.path), tuned.predictions])
assert_type(scores, frostline.Scores)
table: pd.DataFrame = scores
assert_type(frostline.evaluate(Path("predictions").glob("*.parquet")), frostline.Scores)
assert_type(frostline.compare([frozen, tuned], margin=0.02), frostline.Comparison)
assert_type(ws.run("demo"), frostline.Report)
assert_type(ws.audit("chest").leaks, bool)
assert_type(ws.sweep("sweep.yaml").runs, list[frostline.Run])
assert_type(ws.predict(frozen, "images"), Predictions)
assert_type(frostline.backbones(), pd.DataFrame)
print(index_dataset, frostline.extract.embed.embed_features, frostline.__version__)

# Each of these is an error, and the checkers complain where they see none.
ws.extract("chest", 3)  # type: ignore[arg-type]
ws.extract("chest", "effnet-lite0", protocol="papre")  # type: ignore[arg-type]
ws.probe("chest", "effnet-lite0", haed="logistic")  # type: ignore[call-arg]
ws.finetune("chest")  # type: ignore[call-overload]
ws.index(3, "images")  # type: ignore[arg-type]
frostline.extract("chest", "effnet-lite0")  # type: ignore[operator]
frostline.Machine(engine="jax")  # type: ignore[arg-type]
