"""Closed lists of options, each in one place: commands show them, functions refuse what is else."""

from __future__ import annotations

from typing import Literal

Unit = Literal["group", "image"]
Aggregate = Literal["auto", "mean", "vote", "none"]
IntervalKind = Literal["auto", "percentile", "bca", "jackknife-t", "replicate-mean"]
Family = Literal["pairs", "freezing"]
