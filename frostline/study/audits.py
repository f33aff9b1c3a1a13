"""Audits of a study's data sets, as the plain tables that its report shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from frostline.cache import Workspace
    from frostline.extract.audit.audit import Audit
    from frostline.extract.audit.near_duplicates import ImageHashes
    from frostline.report import DataAudit

NO_PIXELS = "Near-duplicates were not looked for: no pixels are stored."


def audit_datasets(workspace: Workspace, names: Iterable[str]) -> dict[str, DataAudit]:
    """Audit data sets of a workspace by their manifests and stored pixels."""
    return {name: _audit(workspace, name) for name in names}


def stored_hashes(folder: Path) -> ImageHashes | None:
    """Content keys and perceptual hashes from the largest pixel store in a folder, if any."""
    from frostline.cache import Store, find_stores
    from frostline.console import progress
    from frostline.extract.audit.thumbnails import store_hashes

    stores = [Store.open(path) for path in find_stores(folder)]
    if not stores:
        return None
    with progress("Comparing images", "images") as update:
        return store_hashes(max(stores, key=len), update)


def _audit(workspace: Workspace, name: str) -> DataAudit:
    from frostline.cache import read_manifest
    from frostline.extract.audit.audit import audit, table_of_classes, table_of_splits
    from frostline.report import DataAudit

    hashes = stored_hashes(workspace.pixels(name))
    found = audit(read_manifest(workspace.manifest(name)), hashes=hashes)
    findings = [(finding.severity, finding.text) for finding in found.findings]
    if hashes is None:
        findings.append(("note", NO_PIXELS))
    return DataAudit(table_of_splits(found), table_of_classes(found), findings, _flagged(found))


def _flagged(found: Audit) -> dict[str, pd.DataFrame]:
    tables = {
        "Groups in several splits": found.crossing_groups,
        "Byte-identical images": found.duplicates,
    }
    if found.near_duplicates is not None:
        tables["Near-duplicates in several groups"] = found.near_duplicates
    if found.header_accuracy is not None:
        alone = found.header_accuracy
        title = (
            "Sizes, formats and bit depths, which alone predict the class with a balanced "
            f"accuracy of {alone.balanced_accuracy:.0%} (chance {alone.chance:.0%})"
        )
        tables[title] = found.headers
    return tables | {"Unreadable files": found.unreadable}
