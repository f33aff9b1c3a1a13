"""The doctor's check of embedding stores: a few images of each, embedded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from frostline.cache import InputError, Store, Workspace, read_manifest
from frostline.doctor.check import Check

if TYPE_CHECKING:
    from frostline.extract.backbones.backbone import Backbone


@dataclass(frozen=True)
class Weights:
    """Weights for `load_backbone`."""

    weights: str
    weights_seed: int = 0
    head_weights: Path | None = None


def check_stores(workspace: Workspace, sample: int) -> Iterator[Check]:
    """Check every embedding store of a workspace."""
    from frostline.cache.listing import workspace_stores

    stores = [
        folder
        for folder in workspace_stores(workspace)
        if folder.relative_to(workspace.root).parts[0] == "embeddings"
    ]
    if not stores:
        yield Check("stores", "ok", f"no embeddings in {workspace.root} yet")
    for folder in stores:
        yield check_store(workspace, folder, sample)


def check_store(workspace: Workspace, folder: Path, sample: int) -> Check:
    """Embed some images again, from their files, and compare them with what is stored."""
    dataset = folder.relative_to(workspace.root).parts[1]
    try:
        store = Store.open(folder)
    except InputError as error:
        return Check("stores", "problem", str(error), "run `frostline cache verify --repair`")
    name = f"{dataset}, {store.spec.get('backbone')}, key {store.key[:12]}"
    try:
        backbone, reason = weights_for(workspace, store)
        if backbone is None:
            return Check("stores", "note", f"{name}: not checked {reason}")
        return _compare(workspace, dataset, store, backbone, name, sample)
    except (InputError, OSError) as error:
        return Check(
            "stores",
            "problem",
            f"{name}: images cannot be embedded again: {error}",
            "bring the images back, or index the data set where they are now",
        )


def _compare(
    workspace: Workspace, dataset: str, store: Store, backbone: Backbone, name: str, sample: int
) -> Check:
    from frostline.extract.live import compare_live

    manifest = read_manifest(workspace.manifest(dataset))
    device = "cpu" if store.spec["compute"] == "float32" else "cuda"
    rows = compare_live(manifest, store, backbone, sample=sample, device=device)
    wrong = [row for row in rows if not row.equal]
    if not wrong:
        return Check("stores", "ok", f"{name}: {len(rows)} images embedded again, all equal")
    worst = min(wrong, key=lambda row: row.cosine)
    return Check(
        "stores",
        "problem",
        f"{name}: {len(wrong)} of {len(rows)} images embedded again differ, most of all "
        f"{worst.image_id} (cosine {worst.cosine:.6f})",
        "run `frostline cache verify --images --repair`, then extract again; if they differ still, "
        f"delete {store.folder} first",
    )


def weights_for(workspace: Workspace, store: Store) -> tuple[Backbone | None, str]:
    """Load the backbone of a store of embeddings; or None, and why it is not to be had."""
    reason = _cannot_be_checked(store)
    found = None if reason else find_weights(workspace, store)
    if found is None:
        return None, reason or _no_weights(store)
    backbone = _load(workspace, store, found)
    same = backbone.weights == store.spec["weights"]
    return (backbone, "") if same else (None, _no_weights(store))


def find_weights(workspace: Workspace, store: Store) -> Weights | None:
    """Find the weights of a store on this machine, without fetching anything."""
    from frostline.extract.backbones.catalog import resolve
    from frostline.extract.backbones.weights.pretrained import find_pretrained

    source = str(store.provenance.get("weights_source", ""))
    files = _known_files(workspace)
    head = files.get(str(store.spec.get("head")))
    if source == "pretrained":
        path = find_pretrained(resolve(store.spec["backbone"]))
        return None if path is None else Weights(source, 0, None if head == path else head)
    if source.startswith("random, seed "):
        return Weights("random", int(source.removeprefix("random, seed ")), head)
    path = files.get(store.spec["weights"])
    return None if path is None else Weights(str(path), 0, None if head == path else head)


def _load(workspace: Workspace, store: Store, found: Weights) -> Backbone:
    from frostline.extract.backbones.backbone import load_backbone

    return load_backbone(
        store.spec["backbone"],
        weights=found.weights,
        weights_seed=found.weights_seed,
        feature=store.spec["feature"],
        image_size=store.spec["pixels"]["geometry"]["crop"],
        head_weights=found.head_weights,
        digests=workspace.root / "weights.json",
    )


def _known_files(workspace: Workspace) -> dict[str, Path]:
    """Read which files of weights were used in this workspace, by their digest."""
    from frostline.extract.backbones.weights.digests import read_digests

    entries = read_digests(workspace.root / "weights.json")
    found = {one["digest"]: Path(key.partition(" from ")[2]) for key, one in entries.items()}
    return {digest: path for digest, path in found.items() if path.is_file()}


def _cannot_be_checked(store: Store) -> str:
    import torch

    if "imported" in store.spec:
        return "because another tool made it"
    if "view" in store.spec:
        return "because they are of augmented views"
    if store.spec["feature"].startswith("block:"):
        return "because only fine-tuning computes what enters a block"
    if "transform" in store.spec["pixels"]["geometry"]:
        return "because your own transform made its pixels"
    if store.spec["compute"] != "float32" and not torch.cuda.is_available():
        return f"because a GPU computed it in {store.spec['compute']}, and none is here"
    return ""


def _no_weights(store: Store) -> str:
    return (
        f"because its weights ({store.provenance.get('weights_source')}, digest "
        f"{store.spec['weights'][:8]}) are not at hand"
    )
