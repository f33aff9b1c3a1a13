"""The table of backbones, `catalog.yaml`, and a workspace's own table of the same name and format.

docs/backbones.md says what each field is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from frostline.cache import InputError
from frostline.cache.validation import read_yaml, validated

NAME = "catalog.yaml"
# Where weights come from, as stores and runs record it; a seed or a name follows the last two.
PRETRAINED, OWN_MODULE, RANDOM, FILE = "pretrained", "own module", "random", "file "


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageSet(_Strict):
    """A public set of images.

    Attributes
    ----------
    name : str
        In words.
    tag : str
        timm's word for it in the names of weights; "" if it has none.
    of : tuple of str
        Keys of the sets whose images it holds, too.
    kind : str
        The kind of `frostline index` that reads it; "" if none is for it alone.
    """

    name: str
    tag: str = ""
    of: tuple[str, ...] = ()
    kind: str = ""


class Row(_Strict):
    """What is published about a backbone; "", 0 or nothing where a page does not say.

    Attributes
    ----------
    name : str
        As one writes it, or, of those that are not loaded by name, as it is listed.
    kind : str
        The images that it is for: general, chest, medical, skin, retina, pathology, ….
    url, source : str
        Its page, and where the facts are that this page does not have.
    licence, gated : str
        Of the weights; and how one gets them, in a sentence, where not everybody does.
    size, dim, parameters : int
        Side of its images in pixels, length of its embedding, and number without the classifier.
    pretrained_on : tuple of str
        Keys of sets of images.
    said : str
        More on its data, in words.
    work : str
        Key of the work that describes it in the bibliography of reports.
    loads, file : str
        How it is used if not by its name; and the name of the file of its weights.
    paper : bool
        Whether it is one of the paper's.
    """

    name: str = Field(min_length=1)
    kind: str = "own"
    url: str = ""
    source: str = ""
    licence: str = ""
    gated: str = ""
    size: int = 0
    dim: int = 0
    parameters: int = 0
    pretrained_on: tuple[str, ...] = ()
    said: str = ""
    work: str = ""
    loads: str = ""
    file: str = ""
    paper: bool = False

    @property
    def facts_from(self) -> str:
        """The address of what says on which images it was pretrained."""
        return self.source or self.url

    @property
    def access(self) -> str:
        """How one gets the weights, with their licence; "" where everybody does."""
        licence = f" Their licence: {self.licence}." if self.licence else ""
        return f"They are gated. {self.gated}{licence}" if self.gated else ""


class _File(_Strict):
    images: dict[str, ImageSet] = {}
    works: dict[str, str] = {}
    backbones: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Facts:
    """The table, with a workspace's own rows before it.

    Attributes
    ----------
    images : mapping of str to ImageSet
    works : mapping of str to str
        Keys of works by what a library's name of a network begins with or holds.
    rows, own : tuple of Row
        Published ones, and the workspace's.
    """

    images: Mapping[str, ImageSet]
    works: Mapping[str, str]
    rows: tuple[Row, ...]
    own: tuple[Row, ...] = ()

    def find(self, name: str, weights: str = PRETRAINED) -> Row | None:
        """Find what is known of a backbone with these weights; None of random ones.

        Parameters
        ----------
        name : str
            As it was asked for; of a module or of imported embeddings what they are called.
        weights : str
            "pretrained", "file NAME", "random, …", "own module" or "imported".
        """
        if weights.startswith(RANDOM):
            return None
        file = weights.removeprefix(FILE) if weights.startswith(FILE) else ""
        for row in self.own:
            if row.name == name:
                return row
        for row in self.rows:
            # A file may hold anything; a module and imported embeddings are what they are called.
            if (row.name == name and not file) or (file and row.file == file):
                return row
        return None

    def held(self, keys: Iterable[str]) -> dict[str, str]:
        """Name sets of images and those whose images they hold: words by key."""
        found: dict[str, str] = {}
        for key in keys:
            known = self.images.get(key)
            found[key] = known.name if known else key
            for other in known.of if known else ():
                found.setdefault(other, self.images[other].name if other in self.images else other)
        return found


@cache
def published() -> Facts:
    """Read the table that comes with Frostline, once."""
    found = _read(Path(__file__).with_name(NAME))
    return Facts(found.images, found.works, found.backbones)


def facts(root: Path | None = None) -> Facts:
    """Read the table, and the own one of the workspace in folder `root` if there is one.

    Raises
    ------
    InputError
        If the own table is not of the format.
    """
    known = published()
    path = None if root is None else root / NAME
    if path is None or not path.is_file():
        return known
    own = _read(path)
    return Facts({**known.images, **own.images}, known.works, known.rows, own.backbones)


def key_of(text: str) -> str:
    """Write the name of a set of images as a key: `NIH ChestX-ray14` as `nih-chestx-ray14`."""
    return "-".join(text.lower().replace("_", " ").split())


def _read(path: Path) -> _File:
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise InputError(
            f"{path} is no table of backbones: write `backbones:` and a list below it."
        )
    return validated(_File, data, str(path))
