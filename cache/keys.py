"""Digests that name things: specs, contents, runs (docs/format.md, 'Spec and key')."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KEY_BYTES = 16
# What `--feature` takes for the outputs of all blocks; each has a key with its own name.
BLOCKS = "blocks"
# Fields of specs that people know stores by.
TELLING = ("feature", "compute", "weights", "imported", "pixels.geometry.crop")


def canonical_json(value: Any) -> str:
    """Write JSON that is equal if and only if the values are: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def spec_key(spec: Mapping[str, Any]) -> str:
    """Digest a spec: 32 hexadecimal digits that change whenever anything in it does."""
    return _blake(canonical_json(spec).encode()).hex()


def is_blocks(feature: str | None) -> bool:
    """Tell whether a feature, `blocks` or `blocks:POOLING`, stands for one of each block."""
    return feature is not None and feature.partition(":")[0] == BLOCKS


def run_id(slug: str, config: Mapping[str, Any]) -> str:
    """Join a readable slug and ten hexadecimal digits of everything that the run depends on."""
    return f"{slug}-{spec_key(config)[:10]}"


def file_key(path: Path) -> bytes:
    """Digest a file's bytes (BLAKE2b-128)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=KEY_BYTES)).digest()


def content_key(file: bytes, frame: int | None) -> bytes:
    """Return the key of one image: its file's, mixed with the frame if the file holds several."""
    if frame is None:
        return file
    return _blake(file + frame.to_bytes(8, "little", signed=True))


def spec_difference(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """List the fields in which two specs differ, like 'pixels.geometry.crop: 224 / 192'.

    What one of them does not have, as the `stage` in those of release 0.1, is `-`.
    """
    a, b = _flatten(left), _flatten(right)
    return [
        f"{name}: {' / '.join(_short(str(a.get(name, '-')), str(b.get(name, '-'))))}"
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    ]


def spec_values(specs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Give as few fields as tell several specs from each other, with their values.

    Those of `TELLING` come first, then the shortest. Long values are cut where all that differ
    still do. `-` is as in `spec_difference`.

    Returns
    -------
    dict
        By the field's name its value in each spec.
    """
    flat = [_flatten(spec) for spec in specs]
    names = sorted({name for one in flat for name in one})
    values = {name: _cut([str(one.get(name, "-")) for one in flat]) for name in names}
    first = {name: place for place, name in enumerate(TELLING)}
    names.sort(key=lambda name: (first.get(name, len(TELLING)), max(map(len, values[name]))))
    told, found = [""] * len(specs), {}
    for name in names:
        more = [f"{known}\n{value}" for known, value in zip(told, values[name], strict=True)]
        if len(set(more)) > len(set(told)):
            told, found[name] = more, values[name]
    return found


def _cut(values: Sequence[str]) -> list[str]:
    """Cut texts behind as many letters, of 12 or more, as it takes to tell all that differ."""
    count, width = len(set(values)), 12
    while len({value[:width] for value in values}) < count:
        width *= 2
    return [value if len(value) <= 2 * width else f"{value[:width]}…" for value in values]


def _blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flatten(item, f"{prefix}{name}.")
        else:
            flat[prefix + name] = item
    return flat


def _short(left: str, right: str) -> list[str]:
    """Shorten two texts that differ, to where they do if they begin alike."""
    short = [text if len(text) <= 24 else f"{text[:12]}…" for text in (left, right)]
    if short[0] != short[1]:
        return short
    pairs = enumerate(zip(left, right, strict=False))
    # At the first letter that differs.
    start = next((place for place, (a, b) in pairs if a != b), min(len(left), len(right)))
    return [f"…{text[start : start + 12]}…" for text in (left, right)]
