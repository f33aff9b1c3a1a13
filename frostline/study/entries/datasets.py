"""Data sets in a study file: those that runs train on, and those of other hospitals."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from frostline.cache.validation import ClassName, Seed
from frostline.stages import Columns


class Strict(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Images(Strict):
    """Where images lie, and how they are read."""

    root: str | list[str] | None = None
    label: str = "label"
    kind: str = "folder"
    group_pattern: str | None = None
    options: dict[str, Any] = {}

    def roots(self) -> list[str]:
        """List the folders."""
        return [self.root] if isinstance(self.root, str) else self.root or []

    def indexing(self) -> dict[str, Any]:
        """Give what `frostline.extract.index.index_dataset` takes."""
        names = ("kind", "group_pattern", "options")
        return {"roots": self.roots(), **{name: getattr(self, name) for name in names}}


class DatasetEntry(_Images):
    """A data set, as `frostline index` takes it.

    Attributes
    ----------
    root : str or list of str, optional
        Folders with the images, relative to the study file. Without it the data set is taken as it
        is indexed in the workspace.
    label, split : str
        Columns of the manifest that hold labels and splits.
    classes : list of str, optional
        Their order, from the lowest to the highest; the last of two is the positive one.
    options : dict
        Options of the kind: `table`, `label_column`, ….
    """

    split: str = "split"
    classes: list[ClassName] | None = Field(None, min_length=2)
    test_fraction: float | None = Field(None, gt=0, lt=1)
    val_fraction: float = Field(0.2, gt=0, lt=1)
    seed: Seed = 0

    def columns(self) -> Columns:
        """Give the columns of the stages."""
        return Columns(self.label, self.split)

    def indexing(self) -> dict[str, Any]:
        """Give that with the order of the classes, and how splits that the data lack are made."""
        names = ("classes", "seed", "test_fraction", "val_fraction")
        return {**super().indexing(), **{name: getattr(self, name) for name in names}}


class ExternalEntry(_Images):
    """A data set that runs are scored on, and never trained: another hospital's.

    Attributes
    ----------
    of : str, optional
        The data set whose runs are scored on it; every one that has its classes if not given.
    root, label, kind, group_pattern, options
        As of `DatasetEntry`. Splits are not looked at: all images with a label are scored.
    ids : {"shared", "own"}
        Whether equal group ids are the same patient, who is then left out of the score, or ids of
        each hospital's own, which say nothing about patients of the other.
    shared : list of str
        Columns of both manifests whose values are compared, besides those with the usual names.
    """

    of: str | None = None
    ids: Literal["shared", "own"] = "shared"
    shared: list[str] = []
