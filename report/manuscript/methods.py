"""A Methods section that says what was run: only what the predictions of a study recorded.

Sentences cite as Pandoc does, `[@key]`; the keys are those of `bibliography.REFERENCES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from frostline.cache.tables.unfreezing import parse_unfreezing
from frostline.cache.tables.words import counted
from frostline.report.manuscript.evidence import KEPT_HEADS, evidence_sentences, head_kind
from frostline.report.overlap import overlap_sentences
from frostline.report.predictions import Predictions
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.names import MAJORITY_HEAD, lora_words
from frostline.report.tables.data import DataAudit

Meta = Mapping[str, Any]
Section = tuple[str, list[str]]

INTERVALS = {
    "percentile": "the percentile bootstrap over {unit}s, {replicates} replicates [@efron1993]",
    "bca": "the BCa bootstrap over {unit}s, {replicates} replicates [@efron1987]",
    "jackknife-t": "the jackknife that deletes one {unit}, with Student's t, on the logit scale "
    "for shares [@tukey1958; @korn1998]",
    "clopper-pearson": "Clopper and Pearson's limits where a score was as high or as low as it "
    "can be [@clopper1934]",
    "replicate-mean": "1.96 standard errors of the mean of {replicates} bootstrap replicates of "
    "images, which is no interval of the score [@huangzou2024]",
}
OPTIMIZERS = {"adam": "Adam [@kingma2015]", "adamw": "AdamW [@loshchilov2019]"}
HEADS = {
    "logistic": "logistic regression with an L2 penalty on standardised embeddings",
    "ordinal": "proportional-odds regression [@mccullagh1980] with an L2 penalty on standardised "
    "embeddings",
    "adam": "a linear layer trained by Adam [@kingma2015]",
    "knn": "nearest neighbours",
    "centroid": "nearest class means",
    "attention": "gated attention over all images of a patient [@ilse2018], with logistic "
    "regression of their weighted mean and an L2 penalty on all weights,",
}
POOLS = {"mean": "mean", "max": "greatest", "attention": ""}
SOFTWARE = ("python", "torch", "torchvision", "timm", "scikit-learn", "onnxruntime", "openvino")
CITED_SOFTWARE = {
    "torch": " [@paszke2019]",
    "timm": " [@wightman2019]",
    "scikit-learn": " [@pedregosa2011]",
}
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Material:
    """What a study recorded of itself.

    Attributes
    ----------
    runs : sequence of Predictions
        Those the report shows.
    scores : DataFrame
        As `evaluate` gives it.
    primary : str
        The metric that decides.
    tests : DataFrame
        `adjustment` and `seed_df` of every difference that was tested, as `compare` gives them.
    audits : mapping of str to DataAudit
        By data set.
    backbones : mapping
        By name: `network`, `pretrained_on`, `licence`, `source` (a key of the bibliography), as
        far as they are known.
    depth : bool
        Whether depths were chosen.
    evidence : mapping
        Tables of clinical evidence by name: see `evidence.evidence_sentences`.
    """

    runs: Sequence[Predictions]
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    primary: str = "accuracy"
    tests: pd.DataFrame = field(default_factory=pd.DataFrame)
    audits: Mapping[str, DataAudit] = field(default_factory=dict)
    backbones: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    depth: bool = False
    evidence: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def metas(self) -> list[Meta]:
        """The metadata of every run."""
        return [run.meta for run in self.runs]


def methods(material: Material) -> list[Section]:
    """Write the sections, a heading and sentences each, of what is known."""
    sections = [
        ("Data", data_sentences(material)),
        ("Images", [*_all(material, image_sentences), *_unknown_images(material)]),
        ("Networks", network_sentences(material)),
        ("Training", training_sentences(material)),
        ("Statistics", statistics_sentences(material)),
        ("Clinical evidence", evidence_sentences(material.evidence)),
        ("Software", software_sentences(material)),
    ]
    return [(heading, sentences) for heading, sentences in sections if sentences]


def data_sentences(material: Material) -> list[str]:
    """Say what was classified, and how it was split."""
    found = []
    for dataset, runs in _by(material.metas, "dataset").items():
        classes = runs[0]["classes"]
        positive = f", {classes[1]} being the positive one" if len(classes) == 2 else ""
        found.append(f"{dataset}: the classes are {_listed(classes)}{positive}.")
        audit = material.audits.get(dataset)
        if audit is not None:
            # Of an external data set no split is used, and not all images are scored.
            found += audit.shared or _split_sentences(audit)
        found += [_folds_sentence(runs)] if any(run.get("cv") for run in runs) else []
        shares = sorted({run["train_fraction"] for run in runs if run["train_fraction"]})
        if shares and shares != [1.0]:
            words = _listed([f"{share:.3g}" for share in shares])
            found.append(f"Shares of the training groups that were used: {words}.")
        others = sorted({str(run["trained_on"]) for run in runs if run.get("trained_on")})
        if others:
            found.append(
                f"It was used for testing alone, by what was trained on {_listed(others)}."
            )
    return found


def _split_sentences(audit: DataAudit) -> list[str]:
    row = audit.splits.iloc[0]
    parts = [
        f"{name} {counted(int(row[f'images_{split}']), 'image')} of "
        f"{counted(int(row[f'groups_{split}']), 'group')}"
        for split, name in (("train", "training"), ("val", "validation"), ("test", "test"))
        if row.get(f"images_{split}") and f"groups_{split}" in row
    ]
    found = [f"{_listed(parts)[:1].upper()}{_listed(parts)[1:]}."] if parts else []
    found += [audit.origin] if audit.origin else []
    leaks = [sentence for severity, sentence in audit.findings if severity == "leak"]
    return found + [f"An audit found a leak: {sentence}" for sentence in leaks]


def _folds_sentence(runs: Sequence[Meta]) -> str:
    folds = {run["cv"]["folds"] for run in runs if run.get("cv")}
    repeats = {run["cv"]["repeat"] for run in runs if run.get("cv")}
    return (
        f"Instead of one split, stratified cross-validation by group with {_listed(sorted(folds))} "
        f"folds was repeated {counted(len(repeats), 'time')}, and hyper-parameters were chosen "
        "within the training part of each fold."
    )


def image_sentences(meta: Meta) -> list[str]:
    """Say what became of an image before the network saw it."""
    spec = meta.get("embedding_spec") or meta
    pixels, normalisation = spec.get("pixels"), spec.get("normalisation")
    if not pixels or "geometry" not in pixels:  # embeddings made elsewhere say what they like
        return []
    geometry = pixels["geometry"]
    found = []
    if geometry.get("resize_to") is not None:
        to, crop = geometry["resize_to"], geometry.get("crop")
        how = f"their {geometry['resize']} side had" if geometry.get("resize") else "they had"
        words = f"Images were resized ({geometry['interpolation']}) until {how} {to} pixels"
        words += f", and the central {crop} × {crop} pixels were kept" if crop else ""
        found.append(f"{words}.")
    if geometry.get("window"):
        found.append(f"Intensities were windowed: {_window(geometry['window'])}.")
    if geometry.get("spacing"):
        size = " × ".join(f"{side:g}" for side in geometry["spacing"])
        found.append(f"Volumes were resampled to voxels of {size} mm.")
    if geometry.get("neighbours"):
        found.append("Each slice was one of three channels, with the slices below and above it.")
    if pixels.get("channels") == "grey":
        found.append("Grey images were repeated in three channels.")
    if normalisation:
        mean, std = (_listed([f"{v:.3g}" for v in normalisation[n]]) for n in ("mean", "std"))
        found.append(f"Channels were normalised by the means {mean} and deviations {std}.")
    return found


def _unknown_images(material: Material) -> list[str]:
    """Name what was made elsewhere: the sentences on images are not about it."""
    names = _by([meta for meta in material.metas if not image_sentences(meta)], "backbone")
    return [f"How images were prepared for {_listed(names)} is {NOT_RECORDED}."] if names else []


def network_sentences(material: Material) -> list[str]:
    """Say which networks, with which weights: their source, pretraining data and licence."""
    found = []
    for name, runs in _by(material.metas, "backbone").items():
        about = runs[0].get("backbone_origin") or material.backbones.get(name, {})
        cite = f" [@{about['source']}]" if about.get("source") else ""
        network = f" ({about['network']})" if about.get("network") else ""
        if all(run.get("imported") for run in runs):
            found.append(
                f"{name}: its predictions were made elsewhere and imported; how is {NOT_RECORDED}."
            )
            continue
        begun = sorted({str(run["weights"]) for run in runs})
        words = f"{name}{network}{cite}"
        if begun == ["pretrained"]:
            on = about.get("pretrained_on") or f"data that are {NOT_RECORDED}"
            words += f" was pretrained on {on}"
            words += f" (licence of the weights: {about.get('licence') or NOT_RECORDED})"
        elif begun == ["imported"]:
            words += f": its embeddings were computed elsewhere and imported; how is {NOT_RECORDED}"
        else:
            words += f" began with these weights: {_listed(begun)}"
        digests = {str(d) for run in runs if (d := _weights_digest(run))}
        words += f"; digest of the weights {_listed(sorted(digests))}" if digests else ""
        found.append(f"{words}.")
        found += overlap_sentences(runs)
    return found


def _weights_digest(meta: Meta) -> str:
    return str(meta.get("weights_digest") or (meta.get("embedding_spec") or {}).get("weights", ""))


def training_sentences(material: Material) -> list[str]:
    """Say what was trained, by which recipe, and what chose it."""
    frozen = [meta for meta in material.metas if meta["unfreeze"] == "none"]
    tuned = [meta for meta in material.metas if meta["unfreeze"] not in ("none", None)]
    found = []
    for head, runs in _by(frozen, "head").items():
        found += _head_sentences(head, runs)
    for unfreeze, runs in _by(tuned, "unfreeze").items():
        found += _tuned_sentences(unfreeze, runs)
    if material.depth:
        found.append(
            "The depth to read at was chosen on validation by the one-standard-error rule: of the "
            "depths within one standard error of the best, the cheapest [@breiman1984]; the test "
            "images scored the choice."
        )
    return found


def _head_sentences(head: str, runs: Sequence[Meta]) -> list[str]:
    features = _listed(list(dict.fromkeys(str(run["feature"]) for run in runs)))
    pool = POOLS.get(str(runs[0].get("pool")), "")
    head = head_kind(head)
    words = f"Frozen: embeddings ({features}) were computed once, and {HEADS.get(head, head)} "
    of_patients = f"the {pool} embedding of all images of each patient" if pool else "them"
    found = [f"{words}was trained on {of_patients}{_views_words(runs[0].get('views'))}."]
    tried = {run["candidates"] for run in runs if run["candidates"]}
    chosen = _listed(sorted({name for run in runs for name in run.get("validation") or {}}))
    if tried != {1} and tried and chosen:
        counts = _listed(sorted(tried))
        found.append(f"Of {counts} settings validation {_metric_words(chosen)} chose one.")
    again = "and the head after its best epoch on validation was kept"
    if head not in KEPT_HEADS:
        again = "and what was chosen was fitted again to training and validation images"
    found[-1] = found[-1].removesuffix(".") + f", {again}."
    return [*found, *_seeds(runs)]


def _views_words(views: Any) -> str:
    """Say on which augmented views a head was trained besides."""
    if not isinstance(views, Mapping) or not isinstance(views.get("count"), int):
        return ""
    told = {name: value for name, value in views.items() if name not in ("count", "stores", "crop")}
    return (
        f", and on {counted(views['count'], 'augmented view')} of each training image "
        f"({_settings(told)})"
    )


def _tuned_sentences(unfreeze: str, runs: Sequence[Meta]) -> list[str]:
    what, found = _trained_words(unfreeze), []
    for (protocol, _), same in _by_recipe(runs).items():
        recipe = _recipe(same[0])
        optimizer = OPTIMIZERS.get(str(recipe.get("optimizer")), str(recipe.get("optimizer")))
        rates = sorted({rate for run in same for rate in run.get("lr_candidates") or ()})
        words = f"Fine-tuned ({protocol}): {what} and a linear head were trained by {optimizer}"
        words += f" for {counted(int(recipe['epochs']), 'epoch')}" if "epochs" in recipe else ""
        words += f", batch {recipe['batch_size']}" if "batch_size" in recipe else ""
        words += f", learning rate {_listed([f'{rate:g}' for rate in rates])}" if rates else ""
        words += " (validation chose)" if len(rates) > 1 else ""
        found.append(f"{words}.")
        found.append(f"Other settings: {_settings(_rest(recipe))}.")
        if recipe.get("select"):
            chosen = _metric_words(str(recipe["select"]))
            found.append(
                f"The weights after the epoch with the best validation {chosen} were kept."
            )
        found += _seeds(same)
    return found


def _trained_words(unfreeze: str) -> str:
    """Say what of the backbone trains, as the subject of a sentence."""
    asked = parse_unfreezing(unfreeze)
    if asked is None or asked.way == "classifier":
        return unfreeze
    if asked.way == "all":
        return "all blocks"
    if asked.way == "norm":
        return "norms and biases [@zaken2022]"
    if asked.way != "lora":
        stem = "the stem and " if asked.way == "first" else ""
        number = f"{asked.blocks} blocks" if asked.blocks > 1 else "block"
        return f"{stem}the {asked.way} {number}"
    return lora_words(unfreeze).replace("LoRA", "low-rank adapters (LoRA)", 1) + " [@hu2022]"


def _recipe(meta: Meta) -> dict[str, Any]:
    """Give the settings of a training; of a cross-validation those of its first fold."""
    found = meta["hyperparameters"] or {}
    return dict(found.get("folds", [found])[0] or {})


def _by_recipe(runs: Iterable[Meta]) -> dict[tuple[str, str], list[Meta]]:
    """Group trainings by protocol and settings, but for the rate that validation chose."""
    found: dict[tuple[str, str], list[Meta]] = {}
    for run in runs:
        settings = {name: value for name, value in _recipe(run).items() if name != "lr"}
        found.setdefault((str(run["protocol"]), repr(settings)), []).append(run)
    return found


def _rest(recipe: Meta) -> dict[str, Any]:
    said = ("epochs", "batch_size", "optimizer", "lr", "select")
    return {name: value for name, value in recipe.items() if name not in said}


def _seeds(runs: Sequence[Meta]) -> list[str]:
    if any(run.get("cv") for run in runs):
        return []
    seeds = sorted({int(run["seed"]) for run in runs if run["seed"] is not None})
    return [f"Random seeds: {_listed(seeds)}."] if len(seeds) > 1 else []


def statistics_sentences(material: Material) -> list[str]:
    """Say what was scored, with which intervals and tests."""
    scores = material.scores[material.scores["head"] != MAJORITY_HEAD]
    units = list(map(str, scores["unit"].unique()))
    word = {"group": "groups (patients, or what the data set calls so)", "image": "images"}
    found = [
        f"The unit of all intervals and tests is {_listed([word[unit] for unit in units])}.",
        f"The metric that decides is {find_metric(material.primary).words}; reported are "
        f"{_listed([find_metric(name).words for name in scores['metric'].unique()])}.",
    ]
    used = []
    for method, rows in scores.groupby("method", sort=False):
        if str(method) in INTERVALS:
            replicates = f"{int(rows['replicates'].max()):,}"
            own = " or ".join(map(str, rows["unit"].unique()))
            used.append(INTERVALS[str(method)].format(unit=own, replicates=replicates))
    found += [f"95% intervals are by {'; by '.join(used)}."] if used else []
    return found + _test_sentences(material.tests, " or ".join(f"{unit}s" for unit in units))


def _test_sentences(tests: pd.DataFrame, units: str) -> list[str]:
    if not len(tests):
        return []
    found, several = [], tests["seed_df"].notna()
    if several.any():
        found.append(
            "Differences of methods with several seeds were tested by Student's t with the "
            f"variance of test {units}, of seeds and of their interaction, seeds being what "
            "readers are in a study of readers [@hillis2007]."
        )
    if not several.all():
        whose = "Those of one seed" if several.any() else "Differences"
        found.append(
            f"{whose} were tested by flipping the signs of what {units} contribute, the test being "
            "inverted for its interval [@cameron2008]."
        )
    names = sorted(set(tests["adjustment"].dropna()) - {"none"})
    if names:
        cite = " [@westfall1993]" if "max-T" in names else ""
        found.append(
            "p-values and intervals are adjusted over each family of tests: "
            f"{_listed(names)}{cite}."
        )
    return found


def software_sentences(material: Material) -> list[str]:
    """Name the versions that the runs recorded."""
    versions: dict[str, list[str]] = {}
    for meta in material.metas:
        for name, version in (meta["versions"] or {}).items():
            known = versions.setdefault(name, [])
            known += [] if version in known else [version]
    if not versions:
        return []
    names = ["frostline", *(name for name in SOFTWARE if name in versions)]
    words = [
        f"{name.capitalize() if name in ('python', 'frostline') else name} "
        f"{_listed(versions[name])}{CITED_SOFTWARE.get(name, '')}"
        for name in names
        if name in versions
    ]
    devices = sorted({str(meta["device"]) for meta in material.metas if meta.get("device")})
    found = [f"Computed with {_listed(words)}."]
    return found + ([f"Networks were trained on: {_listed(devices)}."] if devices else [])


def _all(material: Material, sentences: Any) -> list[str]:
    """Collect the sentences of all runs, each once, and say whose they are where runs differ."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for meta in material.metas:
        kinds.setdefault(tuple(sentences(meta)), []).append(
            f"{meta['dataset']}, {meta['backbone']}"
        )
    kinds.pop((), None)
    if len(kinds) == 1:
        return list(next(iter(kinds)))
    found = []
    for said, whose in kinds.items():
        found.append(f"For {'; '.join(dict.fromkeys(whose))}:")
        found += said
    return found


def _by(metas: Iterable[Meta], name: str) -> dict[str, list[Meta]]:
    found: dict[str, list[Meta]] = {}
    for meta in metas:
        found.setdefault(str(meta[name] or NOT_RECORDED), []).append(meta)
    return found


def _metric_words(name: str) -> str:
    return find_metric(name).words


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}" for name, value in settings.items()
    )


def _window(window: Mapping[str, Any]) -> str:
    """Name the limits of a window; `nonzero` says which voxels they are of."""
    limits = {name: value for name, value in window.items() if name != "nonzero"}
    words = _settings(limits).replace("znormalization", "standard deviations from the mean")
    return words + (", of the voxels that are not 0" if window.get("nonzero") else "")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        if any(isinstance(one, str) for one in value):
            return _listed([str(one) for one in value])
        return " to ".join(map(str, value)) if value else "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(items: Iterable[object]) -> str:
    """Join as in a sentence: a, b and c."""
    words = [str(item) for item in items]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""
