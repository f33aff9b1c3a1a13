"""Paths of a workspace (docs/format.md, 'Workspace')."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from frostline.cache.errors import InputError

# Where a workspace is unless a folder is given: what this variable says, else here.
VARIABLE, DEFAULT = "FROSTLINE_WORKSPACE", "frostline-workspace"


@dataclass(frozen=True)
class Workspace:
    """A folder and the places in it."""

    root: Path

    def manifest(self, dataset: str) -> Path:
        """Return the path of a data set's manifest."""
        return self.root / "manifests" / f"{checked_name(dataset)}.parquet"

    def pixels(self, dataset: str) -> Path:
        """Return the folder of a data set's pixel stores, one sub-folder a key."""
        return self.root / "pixels" / checked_name(dataset)

    def embeddings(self, dataset: str, backbone: str) -> Path:
        """Return the folder of the embedding stores of a backbone, one sub-folder a key."""
        return self.root / "embeddings" / checked_name(dataset) / file_safe(backbone)

    def boundaries(self, dataset: str, backbone: str) -> Path:
        """Return the folder of the boundary stores of a backbone, one sub-folder a key."""
        return self.root / "boundaries" / checked_name(dataset) / file_safe(backbone)

    def model(self, run: str) -> Path:
        """Return the folder of a run's model."""
        return self.root / "models" / run

    def predictions(self, run: str) -> Path:
        """Return the path of a run's predictions."""
        return self.root / "predictions" / f"{run}.parquet"

    def report(self, study: str) -> Path:
        """Return the folder of a study's report."""
        return self.root / "reports" / checked_name(study)

    def record(self, key: str) -> Path:
        """Return the path of a step's record (docs/format.md, 'Studies')."""
        return self.root / "runs" / f"{key}.json"

    def datasets(self) -> list[str]:
        """List the data sets that have a manifest, sorted by name."""
        return sorted(path.stem for path in (self.root / "manifests").glob("[!.]*.parquet"))


def checked_name(name: str) -> str:
    """Return `name` if it can name a data set or study, else raise InputError."""
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise InputError(
            f"{name!r} cannot be a name: use letters, digits, '.', '-' and '_', no dot in front."
        )
    return name


def file_safe(name: str) -> str:
    """Write characters that do not belong in a file name as %XX."""
    return re.sub(
        r"[^A-Za-z0-9._-]",
        lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()),
        name,
    )
