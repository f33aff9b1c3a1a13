"""Every option of every command acts or is refused.

`ROWS` has a row for each: two command lines that differ in that option alone. Both are run, in
fresh copies of one prepared folder, and what they print and leave behind must differ (`Acts`), the
second must be refused by a sentence (`Refused`), or a function inside must be called with other
arguments (`Passes`: what costs time or needs other hardware). An option without a row fails.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from filelock import FileLock
from typer.testing import CliRunner

from frostline.cache import InputError, read_manifest
from frostline.cli import app
from frostline.reference import COMMON, commands
from frostline.report import read_predictions, write_predictions

from .conftest import make_images

TINY = "--backbone timm:test_vit --weights random --image-size 32"
STUDY = {
    "name": "small",
    "datasets": {"mine": {"root": "images", "group_pattern": "(patient[0-9]+)"}},
    "backbones": [{"name": "timm:test_vit", "weights": "random"}],
    "protocols": {
        "near": {"head": "knn", "image_size": 32},
        "mean": {"head": "centroid", "image_size": 32},
    },
    "replicates": 100,
}
# What is never the same twice.
TIMES = re.compile(
    r"\d+ images/s|[\d.]+ [kMG]?B/s|\d+:\d\d:\d\d left|[\d.]+ s\b|\d+ min\b|\d+ MB/s|"
    r"[\d.]+ G[Bi]+|about \S+"
)


@dataclass(frozen=True)
class Acts:
    """Two command lines that both work and differ in what they print or leave."""

    first: str
    second: str


@dataclass(frozen=True)
class Refused:
    """A command line that works, and one that ends in a sentence."""

    first: str
    second: str
    sentence: str


@dataclass(frozen=True)
class Passes:
    """Two command lines that call `function` (module:name) with different arguments."""

    function: str
    first: str
    second: str


INDEX = "index new --root images"
MINE = "index mine --root images --group-pattern '(patient[0-9]+)'"
TABLE = f"{INDEX} --kind table --table table.csv --image-column file --label-column label"
SLICES = "index new --root volumes --kind mri-slices --table grades.csv --label-column grade"
SLICES += " --group-column patient --image '{patient}_flair.nii.gz' --mask '{patient}_mask.nii.gz'"
BARE = SLICES.replace(" --mask '{patient}_mask.nii.gz'", "")
EXTRACT = f"extract --dataset mine {TINY}"
VIEWS = f"{EXTRACT} --views 1 --set degrees=5"
FINETUNE = f"finetune --dataset mine {TINY} --unfreeze 1 --epochs 1"
PROBE = "probe --dataset mine --backbone timm:test_vit --head knn"
ATTENTION = PROBE.replace("knn", "attention") + " --level patient --set C=1"
SWEEP = "sweep --dataset mine --backbone timm:test_vit --head centroid --jobs 1"
EVALUATE = "evaluate centroid.parquet --replicates 100"
BENEFIT = "evaluate centroid.parquet --net-benefit 0.2"
CALIBRATION = "evaluate knn.parquet --calibration"
POINTS = f"{EVALUATE} --threshold youden"
COMPARE = "compare centroid.parquet knn.parquet --replicates 100"
PRECISION = f"{EVALUATE} --metric average_precision"
BY_PRECISION = f"{COMPARE} --metric average_precision"
PROBED = "mine-timm%3Atest_vit-cls-centroid"
PREDICT = f"predict images/sick --run {PROBED}"
VOLUME = "predict volumes/p00_flair.nii.gz --run brains"
TRACK = f"track {PROBED.replace('centroid', 'knn')}"
EXPORT = "export --run mine-timm-test_vit-paper"
DEPTHS = "frostline.study.depth:depth_study"
DEPTH = f"depth --dataset mine {TINY}"
RUN = "run study.yaml"
DRY = f"{RUN} --dry-run"
IMPORT = "cache import theirs.npz --dataset mine --backbone theirs"
ALIKE = "cache similarity --dataset mine"
ANSWERS = "predictions import guesses.csv --dataset mine --name them --columns image_id=file"
STORE = "cache export --dataset mine --backbone timm:test_vit"

ROWS: dict[str, Acts | Refused | Passes] = {
    "demo --on": Passes("frostline.study.demo:run_demo", "demo", "demo --on pneumoniamnist"),
    "demo --workspace": Passes(
        "frostline.study.demo:run_demo", "demo --workspace a", "demo --workspace b"
    ),
    "run --data": Acts(DRY, f"{DRY} --data elsewhere"),
    "run --only": Acts(DRY, f"{DRY} --only 'mine/*/near'"),
    "run --set": Acts(DRY, f"{DRY} --set datasets.mine.root=elsewhere/images"),
    "run --dry-run": Acts(RUN, DRY),
    "run --jobs": Passes("frostline.study.runner:_settle", RUN, f"{RUN} --jobs 2"),
    "run --shard": Acts(RUN, f"{RUN} --shard 0/2"),
    "run --with-images": Passes(
        "frostline.study.runner:update_report", RUN, f"{RUN} --with-images"
    ),
    "run --workspace": Acts(DRY, f"{DRY} --workspace other"),
    "run --dry-run --jobs": Refused(RUN, f"{RUN} --dry-run --jobs 2", "leave --jobs out"),
    "index --root": Acts(INDEX, "index new --root elsewhere/images"),
    "index --kind": Refused(INDEX, f"{INDEX} --kind table", "table"),
    "index --table": Acts(TABLE, TABLE.replace("table.csv", "other.csv")),
    "index --image-column": Acts(TABLE, TABLE.replace("-column file", "-column copy")),
    "index --label-column": Acts(TABLE, TABLE.replace("-column label", "-column site")),
    "index --group-column": Acts(TABLE, f"{TABLE} --group-column patient"),
    "index --split-column": Acts(TABLE, f"{TABLE} --split-column part"),
    "index --image": Refused(SLICES, SLICES.replace("_flair", "_t1"), "without an image"),
    "index --mask": Acts(SLICES, SLICES.replace("_mask", "_core")),
    "index --min-roi": Acts(SLICES, f"{SLICES} --min-roi 60"),
    "index --slices": Acts(f"{BARE} --slices all", f"{BARE} --slices middle:2"),
    "index --neighbours": Acts(SLICES, f"{SLICES} --neighbours"),
    "index --spacing": Acts(SLICES, f"{SLICES} --spacing 0.5 0.5 1"),
    "index --keep-val": Refused(INDEX, f"{INDEX} --keep-val", "keep_val"),
    "index --follow": Acts(f"{INDEX} --seed 5", f"{INDEX} --seed 5 --follow mine"),
    "index --source": Acts(INDEX, f"{INDEX} --source chexpert"),
    "index --option": Refused(INDEX, f"{INDEX} --option colour=red", "colour"),
    "index --group-pattern": Acts(INDEX, f"{INDEX} --group-pattern '(patient[0-9]+)'"),
    "index --test-fraction": Acts(INDEX, f"{INDEX} --test-fraction 0.5"),
    "index --val-fraction": Acts(INDEX, f"{INDEX} --val-fraction 0.5"),
    "index --seed": Acts(INDEX, f"{INDEX} --seed 1"),
    "index --resplit": Acts(
        f"{MINE} --seed 9",
        f"{MINE} --seed 9 --resplit",
    ),
    "index --classes": Acts(INDEX, f"{INDEX} --classes well,sick"),
    "index --rehash": Passes("frostline.extract.index:index_dataset", MINE, f"{MINE} --rehash"),
    "index --workspace": Acts(INDEX, f"{INDEX} --workspace other"),
    "audit --strict": Acts("audit leaking", "audit leaking --strict"),
    "audit --with-images": Acts("audit leaking", "audit leaking --with-images sheet.png"),
    "audit --out": Acts("audit leaking", "audit leaking --out findings.csv"),
    "audit --controls": Acts("audit mine", "audit mine --controls"),
    "audit --readable": Passes(
        "frostline.audits:run_readable", "audit mine --readable label", "audit mine --readable site"
    ),
    "audit --label-errors": Acts("audit mine", "audit mine --label-errors centroid.parquet"),
    "audit --label-errors --strict": Refused(
        "audit mine --strict", "audit mine --strict --label-errors", "leave one of them out"
    ),
    "audit --workspace": Refused("audit mine", "audit mine --workspace other", "no data set"),
    "extract --dataset": Acts(EXTRACT, EXTRACT.replace("mine", "two")),
    "extract --backbone": Acts(EXTRACT, EXTRACT.replace("test_vit", "test_resnet")),
    "extract --protocol": Acts(EXTRACT, f"{EXTRACT} --protocol standard"),
    "extract --weights": Acts(EXTRACT, EXTRACT.replace("random", "vit.pth")),
    "extract --weights-seed": Acts(EXTRACT, f"{EXTRACT} --weights-seed 1"),
    "extract --weights --weights-seed": Refused(
        EXTRACT, EXTRACT.replace("random", "vit.pth --weights-seed 1"), "--weights-seed"
    ),
    "extract --image-size": Acts(EXTRACT, EXTRACT.replace("32", "48")),
    "extract --rehash": Passes(
        "frostline.extract.backbones.identity:identify_features", EXTRACT, f"{EXTRACT} --rehash"
    ),
    "extract --device": Refused(EXTRACT, f"{EXTRACT} --device gpu", "'gpu'"),
    "extract --precision": Acts(EXTRACT, f"{EXTRACT} --precision bfloat16"),
    "extract --workers": Passes(
        "frostline.extract.pixels:pixel_source", EXTRACT, f"{EXTRACT} --workers 1"
    ),
    "extract --on-error": Refused(
        EXTRACT.replace("mine", "broken") + " --on-error skip",
        EXTRACT.replace("mine", "broken"),
        "broken",
    ),
    "extract --feature": Acts(EXTRACT, f"{EXTRACT} --feature mean"),
    "extract --head-weights": Refused(
        EXTRACT, f"{EXTRACT} --head-weights vit.pth", "--feature imagenet-logits"
    ),
    "extract --batch": Passes(
        "frostline.extract.embed:StoreFiller", EXTRACT, f"{EXTRACT} --batch 4"
    ),
    "extract --engine": Passes(
        "frostline.extract.embed:StoreFiller", EXTRACT, f"{EXTRACT} --engine onnx"
    ),
    "extract --keep-pixels": Passes(
        "frostline.extract.pixels:pixel_source", EXTRACT, f"{EXTRACT} --keep-pixels no"
    ),
    "extract --shard": Acts(
        EXTRACT.replace("mine", "two"), EXTRACT.replace("mine", "two") + " --shard 0/2"
    ),
    "extract --views": Acts(VIEWS, VIEWS.replace("views 1", "views 2")),
    "extract --set": Acts(VIEWS, VIEWS.replace("degrees=5", "degrees=6")),
    "extract --set --views": Refused(VIEWS, f"{EXTRACT} --set degrees=5", "is for --views"),
    "extract --seed": Acts(VIEWS, f"{VIEWS} --seed 1"),
    "extract --views-of": Acts(VIEWS, f"{VIEWS} --views-of all"),
    "extract --split": Refused(VIEWS, f"{VIEWS} --split fold", "fold"),
    "extract --fail-on-skip": Refused(EXTRACT, f"{EXTRACT} --fail-on-skip", "--on-error skip"),
    "extract --workspace": Refused(EXTRACT, f"{EXTRACT} --workspace other", "no data set"),
    "probe --dataset": Refused(PROBE, PROBE.replace("mine", "two"), "two"),
    "probe --backbone": Refused(PROBE, PROBE.replace("test_vit", "test_resnet"), "test_resnet"),
    "probe --head": Acts(PROBE, PROBE.replace("knn", "majority")),
    "probe --set": Acts(PROBE, f"{PROBE} --set n_neighbors=1"),
    "probe --epochs": Refused(PROBE, f"{PROBE} --epochs 5", "epochs"),
    "probe --seed": Refused(PROBE, f"{PROBE} --seed 1", "--seed"),
    "probe --feature": Refused(PROBE, f"{PROBE} --feature mean", "mean"),
    "probe --protocol": Acts(PROBE, f"{PROBE} --protocol standard"),
    "probe --key": Refused(PROBE, f"{PROBE} --key 0", "'0'"),
    "probe --on-error": Refused(
        PROBE.replace("mine", "grown") + " --on-error skip", PROBE.replace("mine", "grown"), "no "
    ),
    "probe --label": Refused(PROBE, f"{PROBE} --label grade", "grade"),
    "probe --split": Refused(PROBE, f"{PROBE} --split fold", "fold"),
    "probe --level": Acts(PROBE, f"{PROBE} --level patient"),
    "probe --pool": Acts(f"{PROBE} --level patient", f"{PROBE} --level patient --pool max"),
    "probe --views": Acts(PROBE, f"{PROBE} --views 1"),
    "probe --views-key": Refused(
        f"{PROBE} --views 1", f"{PROBE} --views 1 --views-key z", "starts with 'z'"
    ),
    "probe --figure": Acts(ATTENTION, f"{ATTENTION} --figure weights.png"),
    "probe --with-images": Acts(
        f"{ATTENTION} --figure weights.png", f"{ATTENTION} --figure weights.png --with-images"
    ),
    "probe --workspace": Refused(PROBE, f"{PROBE} --workspace other", "no data set"),
    "sweep --name": Acts(SWEEP, f"{SWEEP} --name mine"),
    "sweep --dataset": Refused(SWEEP, SWEEP.replace("mine", "two"), "two"),
    "sweep --backbone": Refused(SWEEP, SWEEP.replace("test_vit", "test_resnet"), "test_resnet"),
    "sweep --feature": Refused(SWEEP, f"{SWEEP} --feature mean", "mean"),
    "sweep --head": Acts(SWEEP, f"{SWEEP} --head majority"),
    "sweep --grid": Acts(SWEEP, f"{SWEEP} --grid centroid.metric=cosine"),
    "sweep --protocol": Acts(SWEEP, f"{SWEEP} --protocol standard"),
    "sweep --seed": Acts(
        f"{SWEEP} --head adam --grid adam.epochs=1",
        f"{SWEEP} --head adam --grid adam.epochs=1 --seed 1",
    ),
    "sweep --metric": Acts(SWEEP, f"{SWEEP} --metric accuracy"),
    "sweep --train-groups": Acts(SWEEP, f"{SWEEP} --train-groups 4,all --draws 1"),
    "sweep --draws": Acts(
        f"{SWEEP} --train-groups 4 --draws 1", f"{SWEEP} --train-groups 4 --draws 2"
    ),
    "sweep --cv": Acts(SWEEP, f"{SWEEP} --cv 3x1"),
    "sweep --test-dataset": Refused(
        SWEEP, f"{SWEEP} --test-dataset again", "a test must be of others"
    ),
    "sweep --jobs": Passes(
        "frostline.probe.sweep.run:compute_runs", SWEEP, SWEEP.replace("--jobs 1", "--jobs 2")
    ),
    "sweep --scheduler": Refused(SWEEP, f"{SWEEP} --scheduler tcp://nowhere:1", "--scheduler"),
    "sweep --figures": Acts(SWEEP, f"{SWEEP} --figures drawn"),
    "sweep --key": Refused(SWEEP, f"{SWEEP} --key 0", "'0'"),
    "sweep --on-error": Refused(
        SWEEP.replace("mine", "grown") + " --on-error skip", SWEEP.replace("mine", "grown"), "no "
    ),
    "sweep --label": Refused(SWEEP, f"{SWEEP} --label grade", "grade"),
    "sweep --split": Refused(SWEEP, f"{SWEEP} --split fold", "fold"),
    "sweep --level": Acts(SWEEP, f"{SWEEP} --level patient"),
    "sweep --pool": Acts(f"{SWEEP} --level patient", f"{SWEEP} --level patient --pool max"),
    "sweep --views": Acts(SWEEP, f"{SWEEP} --views 1"),
    "sweep --views-key": Refused(SWEEP, f"{SWEEP} --views-key z", "add --views, or leave it out"),
    "sweep --workspace": Refused(SWEEP, f"{SWEEP} --workspace other", "no data set"),
    # Depth: what the command does with them is in test_depth.py.
    "depth --dataset": Passes(DEPTHS, DEPTH, DEPTH.replace("mine", "two")),
    "depth --backbone": Passes(DEPTHS, DEPTH, DEPTH.replace("test_vit", "test_resnet")),
    "depth --weights": Passes(DEPTHS, DEPTH, DEPTH.replace("random", "vit.pth")),
    "depth --train": Passes(DEPTHS, DEPTH, f"{DEPTH} --train 1"),
    "depth --seeds": Passes(DEPTHS, DEPTH, f"{DEPTH} --seeds 0,1"),
    "depth --cv": Passes(DEPTHS, DEPTH, f"{DEPTH} --cv 3x1"),
    "depth --metric": Passes(DEPTHS, DEPTH, f"{DEPTH} --metric log_loss"),
    "depth --dry-run": Acts(DEPTH, f"{DEPTH} --dry-run"),
    "depth --jobs": Passes("frostline.study.runner:_settle", DEPTH, f"{DEPTH} --jobs 2"),
    "depth --dry-run --jobs": Refused(
        f"{DEPTH} --dry-run", f"{DEPTH} --dry-run --jobs 2", "leave --jobs out"
    ),
    "depth --protocol": Passes(DEPTHS, DEPTH, f"{DEPTH} --protocol paper"),
    "depth --feature": Passes(DEPTHS, DEPTH, f"{DEPTH} --feature blocks:cls+mean"),
    "depth --engine": Passes(DEPTHS, DEPTH, f"{DEPTH} --engine onnx"),
    "depth --weights-seed": Passes(DEPTHS, DEPTH, f"{DEPTH} --weights-seed 1"),
    "depth --image-size": Passes(DEPTHS, DEPTH, DEPTH.replace("32", "48")),
    "depth --rehash": Passes(DEPTHS, DEPTH, f"{DEPTH} --rehash"),
    "depth --device": Passes(DEPTHS, DEPTH, f"{DEPTH} --device cpu"),
    "depth --precision": Passes(DEPTHS, DEPTH, f"{DEPTH} --precision bfloat16"),
    "depth --workers": Passes(DEPTHS, DEPTH, f"{DEPTH} --workers 1"),
    "depth --on-error": Passes(DEPTHS, DEPTH, f"{DEPTH} --on-error skip"),
    "depth --label": Passes(DEPTHS, DEPTH, f"{DEPTH} --label grade"),
    "depth --split": Passes(DEPTHS, DEPTH, f"{DEPTH} --split fold"),
    "depth --epochs": Passes(DEPTHS, f"{DEPTH} --train 1", f"{DEPTH} --train 1 --epochs 2"),
    "depth --batch-size": Passes(DEPTHS, f"{DEPTH} --train 1", f"{DEPTH} --train 1 --batch-size 4"),
    "depth --lr": Passes(DEPTHS, f"{DEPTH} --train 1", f"{DEPTH} --train 1 --lr 1e-2"),
    "depth --set": Passes(DEPTHS, f"{DEPTH} --train 1", f"{DEPTH} --train 1 --set ema=0.9"),
    "depth --workspace": Passes(
        "frostline.study.runner:run_study", DEPTH, f"{DEPTH} --workspace other"
    ),
    "finetune --dataset": Acts(FINETUNE, FINETUNE.replace("mine", "two")),
    "finetune --backbone": Acts(FINETUNE, FINETUNE.replace("test_vit", "test_resnet")),
    "finetune --protocol": Acts(
        f"{FINETUNE} --lr 1e-3", f"{FINETUNE} --lr 1e-3 --protocol standard"
    ),
    "finetune --weights": Acts(FINETUNE, FINETUNE.replace("random", "vit.pth")),
    "finetune --weights-seed": Acts(FINETUNE, f"{FINETUNE} --weights-seed 1"),
    "finetune --image-size": Acts(FINETUNE, FINETUNE.replace("32", "48")),
    "finetune --rehash": Passes(
        "frostline.extract.backbones.identity:identify_backbone", FINETUNE, f"{FINETUNE} --rehash"
    ),
    "finetune --epochs": Acts(FINETUNE, FINETUNE.replace("epochs 1", "epochs 2")),
    "finetune --batch-size": Acts(FINETUNE, f"{FINETUNE} --batch-size 4"),
    "finetune --lr": Acts(FINETUNE, f"{FINETUNE} --lr 1e-2"),
    "finetune --set": Acts(FINETUNE, f"{FINETUNE} --set ema=0.9"),
    "finetune --device": Refused(FINETUNE, f"{FINETUNE} --device gpu", "'gpu'"),
    "finetune --precision": Acts(FINETUNE, f"{FINETUNE} --precision bfloat16"),
    "finetune --workers": Passes(
        "frostline.extract.pixels:pixel_source", FINETUNE, f"{FINETUNE} --workers 1"
    ),
    "finetune --on-error": Refused(
        FINETUNE.replace("mine", "broken") + " --on-error skip",
        FINETUNE.replace("mine", "broken"),
        "broken",
    ),
    "finetune --label": Refused(FINETUNE, f"{FINETUNE} --label grade", "grade"),
    "finetune --split": Refused(FINETUNE, f"{FINETUNE} --split fold", "fold"),
    "finetune --unfreeze": Acts(FINETUNE, FINETUNE.replace("freeze 1", "freeze 2")),
    "finetune --feature": Acts(FINETUNE, f"{FINETUNE} --feature mean"),
    "finetune --boundary": Acts(
        f"{FINETUNE} --seed 7 --boundary off", f"{FINETUNE} --seed 7 --boundary on"
    ),
    "finetune --compile": Passes("frostline.stages:finetune", FINETUNE, f"{FINETUNE} --compile"),
    **{
        f"{line.split()[0]} --track": Passes(
            "frostline.tracking.session:make_tracker",
            f"{line} --track tensorboard",
            f"{line} --track wandb",
        )
        for line in (RUN, PROBE, SWEEP, FINETUNE, DEPTH)
    },
    **{
        f"{line.split()[0]} --track-files": Passes(
            "frostline.tracking.session:Tracking",
            f"{line} --track wandb",
            f"{line} --track wandb --track-files",
        )
        for line in (RUN, PROBE, SWEEP, FINETUNE, DEPTH)
    },
    "run --dry-run --track": Refused(DRY, f"{DRY} --track wandb", "leave --track out"),
    "depth --dry-run --track": Refused(
        f"{DEPTH} --dry-run", f"{DEPTH} --dry-run --track wandb", "leave --track out"
    ),
    "finetune --seed": Acts(FINETUNE, f"{FINETUNE} --seed 1"),
    "finetune --cv": Acts(FINETUNE, f"{FINETUNE} --cv 3x1"),
    "finetune --cv --split": Refused(
        f"{FINETUNE} --cv 3x1", f"{FINETUNE} --cv 3x1 --split fold", "--split does not go with --cv"
    ),
    "finetune --workspace": Refused(FINETUNE, f"{FINETUNE} --workspace other", "no data set"),
    "evaluate --split": Acts(EVALUATE, f"{EVALUATE} --split val"),
    "evaluate --ci": Acts(EVALUATE, f"{EVALUATE} --ci percentile"),
    "evaluate --replicates": Acts(
        f"{EVALUATE} --ci percentile", f"{EVALUATE} --ci percentile".replace("100", "150")
    ),
    "evaluate --unit": Acts(EVALUATE, f"{EVALUATE} --unit image"),
    "evaluate --seed": Acts(f"{EVALUATE} --ci percentile", f"{EVALUATE} --ci percentile --seed 3"),
    "evaluate --metric": Acts(EVALUATE, f"{EVALUATE} --metric accuracy"),
    "evaluate --aggregate": Acts(EVALUATE, f"{EVALUATE} --aggregate mean"),
    "evaluate --stratified": Acts(
        f"{EVALUATE} --ci percentile", f"{EVALUATE} --ci percentile --stratified"
    ),
    "evaluate --stratified --ci": Refused(
        f"{EVALUATE} --ci percentile --stratified",
        f"{EVALUATE} --stratified",
        "Stratified resampling needs a bootstrap",
    ),
    "evaluate --against": Acts(EVALUATE, f"{EVALUATE} --against paper"),
    "evaluate --over": Acts(
        "evaluate centroid.parquet knn.parquet",
        "evaluate centroid.parquet knn.parquet --over seeds",
    ),
    "evaluate --by": Acts(EVALUATE, f"{EVALUATE} --by side"),
    "evaluate --by --over": Refused(
        f"{EVALUATE} --by side", "evaluate centroid.parquet --by side --over seeds", "--over"
    ),
    "evaluate --figure": Acts(
        f"{EVALUATE} --by side", f"{EVALUATE} --by side --figure subgroups.png"
    ),
    "evaluate --figure --by": Refused(
        EVALUATE, f"{EVALUATE} --figure subgroups.png", "give --by too"
    ),
    "evaluate --classes": Acts(PRECISION, f"{PRECISION} --classes well --classes sick"),
    "evaluate --columns": Acts(
        "evaluate guesses.csv", "evaluate guesses.csv --columns prediction=second"
    ),
    "evaluate --positive": Acts(PRECISION, f"{PRECISION} --positive sick"),
    "evaluate --net-benefit": Acts(BENEFIT, BENEFIT.replace("0.2", "0.1,0.3")),
    "evaluate --calibration": Acts("evaluate knn.parquet", CALIBRATION),
    "evaluate --net-benefit --ci": Refused(
        BENEFIT, f"{BENEFIT} --ci bca", "`--ci` does not act with"
    ),
    "evaluate --calibration --ci": Refused(
        CALIBRATION, f"{CALIBRATION} --ci bca", "`--ci` does not act with"
    ),
    "evaluate --net-benefit --replicates": Refused(
        BENEFIT, f"{BENEFIT} --replicates 100", "`--replicates` does not act with"
    ),
    "evaluate --calibration --replicates": Refused(
        CALIBRATION, f"{CALIBRATION} --replicates 100", "`--replicates` does not act with"
    ),
    "evaluate --net-benefit --seed": Refused(
        BENEFIT, f"{BENEFIT} --seed 3", "`--seed` does not act with"
    ),
    "evaluate --calibration --seed": Refused(
        CALIBRATION, f"{CALIBRATION} --seed 3", "`--seed` does not act with"
    ),
    "evaluate --net-benefit --stratified": Refused(
        BENEFIT, f"{BENEFIT} --stratified", "`--stratified` does not act with"
    ),
    "evaluate --calibration --stratified": Refused(
        CALIBRATION, f"{CALIBRATION} --stratified", "`--stratified` does not act with"
    ),
    "evaluate --net-benefit --metric": Refused(
        BENEFIT, f"{BENEFIT} --metric accuracy", "`--metric` does not act with"
    ),
    "evaluate --calibration --metric": Refused(
        CALIBRATION, f"{CALIBRATION} --metric accuracy", "`--metric` does not act with"
    ),
    "evaluate --net-benefit --against": Refused(
        BENEFIT, f"{BENEFIT} --against paper", "`--against` does not act with"
    ),
    "evaluate --calibration --against": Refused(
        CALIBRATION, f"{CALIBRATION} --against paper", "`--against` does not act with"
    ),
    "evaluate --net-benefit --over": Refused(
        BENEFIT, f"{BENEFIT} --over seeds", "`--over` does not act with"
    ),
    "evaluate --calibration --over": Refused(
        CALIBRATION, f"{CALIBRATION} --over seeds", "`--over` does not act with"
    ),
    "evaluate --threshold": Acts(EVALUATE, POINTS),
    "evaluate --threshold --ci": Refused(POINTS, f"{POINTS} --ci bca", "`--ci` does not act with"),
    "evaluate --threshold --metric": Refused(
        POINTS, f"{POINTS} --metric accuracy", "`--metric` does not act with `--threshold youden`"
    ),
    "evaluate --threshold --over": Refused(
        POINTS,
        "evaluate centroid.parquet --threshold youden --over seeds",
        "`--over` does not act with `--threshold youden`",
    ),
    "evaluate --threshold --stratified": Refused(
        POINTS, f"{POINTS} --stratified", "`--stratified` does not act with"
    ),
    "evaluate --threshold --against": Refused(
        POINTS, f"{POINTS} --against paper", "`--against` does not act with"
    ),
    "evaluate --threshold --replicates": Refused(
        POINTS, POINTS.replace("youden", "0.5"), "`--replicates` does not act with"
    ),
    "evaluate --threshold --seed": Acts(POINTS, f"{POINTS} --seed 3"),
    "evaluate --prevalence": Acts(POINTS, f"{POINTS} --prevalence 0.02"),
    "evaluate --format": Acts(EVALUATE, f"{EVALUATE} --format csv"),
    "compare --metric": Acts(COMPARE, f"{COMPARE} --metric balanced_accuracy"),
    "compare --family": Refused(COMPARE, f"{COMPARE} --family freezing", "frozen"),
    "compare --margin": Acts(COMPARE, f"{COMPARE} --margin 0.5"),
    "compare --split": Acts(COMPARE, f"{COMPARE} --split val"),
    "compare --replicates": Acts(
        f"{COMPARE} --format json", f"{COMPARE} --format json".replace("100", "150")
    ),
    "compare --unit": Acts(COMPARE, f"{COMPARE} --unit image"),
    "compare --aggregate": Acts(COMPARE, f"{COMPARE} --aggregate mean"),
    "compare --seed": Acts(f"{COMPARE} --format json", f"{COMPARE} --format json --seed 3"),
    "compare --intersection": Acts(
        "compare centroid.parquet short.parquet --replicates 100 --intersection",
        "compare knn.parquet short.parquet --replicates 100 --intersection",
    ),
    "compare --ranks": Acts(COMPARE, f"{COMPARE} --ranks"),
    "compare --plan": Acts(COMPARE, f"{COMPARE} --plan"),
    "compare --discordance": Acts(
        "compare --plan --discordance 0.15", "compare --plan --discordance 0.3"
    ),
    "compare --groups": Acts(
        "compare --plan --discordance 0.15", "compare --plan --discordance 0.15 --groups 200"
    ),
    "compare --figure": Acts(COMPARE, f"{COMPARE} --figure pairs.svg"),
    "compare --classes": Acts(BY_PRECISION, f"{BY_PRECISION} --classes well,sick"),
    "compare --columns": Acts(
        "compare guesses.csv others.csv --columns image_id=file",
        "compare guesses.csv others.csv --columns image_id=file,prediction=second",
    ),
    "compare --positive": Acts(BY_PRECISION, f"{BY_PRECISION} --positive sick"),
    "compare --format": Acts(COMPARE, f"{COMPARE} --format markdown"),
    "report --set": Acts("report done.yaml", "report done.yaml --set primary_metric=f1_weighted"),
    "report --with-images": Passes(
        "frostline.study.results:update_report",
        "report done.yaml",
        "report done.yaml --with-images",
    ),
    "report --workspace": Refused(
        "report done.yaml", "report done.yaml --workspace other", "no finished run"
    ),
    "predict --run": Acts(PREDICT, PREDICT.replace(PROBED, "tuned")),
    "predict --out": Acts(PREDICT, f"{PREDICT} --out new.csv"),
    "predict --overwrite": Refused(
        f"{PREDICT} --out table.csv --overwrite", f"{PREDICT} --out table.csv", "--overwrite"
    ),
    "predict --slices": Acts(
        VOLUME,
        VOLUME + " --slices 2:4",
    ),
    "predict --mask": Acts(
        VOLUME,
        VOLUME + " --mask volumes/p00_mask.nii.gz",
    ),
    "predict --min-roi": Refused(PREDICT, f"{PREDICT} --min-roi 5", "--mask"),
    "predict --weights": Refused(PREDICT, f"{PREDICT} --weights vit.pth", "--weights"),
    "predict --head-weights": Refused(PREDICT, f"{PREDICT} --head-weights vit.pth", "head"),
    "predict --aggregate": Acts(
        VOLUME,
        VOLUME + " --aggregate mean",
    ),
    "predict --calibrated": Refused(
        PREDICT.replace(PROBED, "tuned"),
        f"{PREDICT.replace(PROBED, 'tuned')} --calibrated",
        "has no predictions in",
    ),
    "predict --device": Refused(PREDICT, f"{PREDICT} --device gpu", "'gpu'"),
    "predict --on-error": Refused(
        PREDICT.replace("images/sick", "broken") + " --on-error skip",
        PREDICT.replace("images/sick", "broken"),
        "broken",
    ),
    "predict --workspace": Refused(PREDICT, f"{PREDICT} --workspace other", "no run"),
    "export --run": Refused(EXPORT, f"export --run {PROBED}", "not a layer"),
    "export --out": Acts(EXPORT, f"{EXPORT} --out new.onnx"),
    "export --overwrite": Refused(
        f"{EXPORT} --out old.onnx --overwrite", f"{EXPORT} --out old.onnx", "--overwrite"
    ),
    "export --calibrated": Refused(
        EXPORT, "export --run tuned --calibrated", "has no predictions in"
    ),
    "export --weights": Refused(EXPORT, f"{EXPORT} --weights vit.pth", "--weights"),
    "export --head-weights": Refused(EXPORT, f"{EXPORT} --head-weights vit.pth", "head"),
    "export --to": Refused(EXPORT, f"{EXPORT} --to jax", "--to"),
    "export --workspace": Refused(EXPORT, f"{EXPORT} --workspace other", "no run"),
    "track runs": Passes(
        "frostline.tracking.session:hand_over",
        f"{TRACK} --to wandb",
        f"{TRACK} --to wandb".replace("knn", "centroid"),
    ),
    "track --to": Passes(
        "frostline.tracking.session:make_tracker",
        f"{TRACK} --to wandb",
        f"{TRACK} --to tensorboard",
    ),
    "track --files": Passes(
        "frostline.tracking.session:hand_over",
        f"{TRACK} --to wandb",
        f"{TRACK} --to wandb --files",
    ),
    "track --workspace": Refused(
        f"{TRACK} --to tensorboard", f"{TRACK} --to tensorboard --workspace other", "no run"
    ),
    "backbones name": Acts("backbones resnet50", "backbones vgg16"),
    "backbones --search": Acts("backbones", "backbones --search chest"),
    "backbones --blocks": Acts("backbones", "backbones --blocks timm:test_vit"),
    "backbones --format": Acts("backbones resnet50", "backbones resnet50 --format json"),
    "backbones --workspace": Acts(
        "backbones --search own", "backbones --search own --workspace owned"
    ),
    "doctor --check": Passes("frostline.doctor.doctor:run_doctor", "doctor", "doctor --check 1"),
    "doctor --json": Acts("doctor --check 0", "doctor --check 0 --json"),
    "doctor --workspace": Passes(
        "frostline.doctor.doctor:run_doctor", "doctor", "doctor --workspace other"
    ),
    "cache ls --json": Acts("cache ls", "cache ls --json"),
    "cache ls --workspace": Acts("cache ls", "cache ls --workspace other"),
    "cache verify --repair": Acts(
        "cache verify --workspace damaged", "cache verify --workspace damaged --repair"
    ),
    "cache verify --images": Acts("cache verify", "cache verify --images"),
    "cache verify --workspace": Acts("cache verify", "cache verify --workspace damaged"),
    "cache compact --dataset": Refused(
        "cache compact", "cache compact --dataset nothing", "nothing"
    ),
    "cache compact --workspace": Passes(
        "frostline.cache.listing:workspace_stores",
        "cache compact",
        "cache compact --workspace other",
    ),
    "cache gc --yes": Acts("cache gc --workspace littered", "cache gc --workspace littered --yes"),
    "cache gc --workspace": Acts("cache gc", "cache gc --workspace littered"),
    "cache export --dataset": Refused(
        f"{STORE} out.csv", f"{STORE} out.csv".replace("mine", "two"), "two"
    ),
    "cache export --backbone": Refused(
        f"{STORE} out.csv", f"{STORE} out.csv".replace("test_vit", "test_resnet"), "test_resnet"
    ),
    "cache export --to": Acts(f"{STORE} out.csv", f"{STORE} out.csv --to parquet"),
    "cache export --key": Refused(f"{STORE} out.csv", f"{STORE} out.csv --key 0", "'0'"),
    "cache export --label": Refused(f"{STORE} out.csv", f"{STORE} out.csv --label grade", "grade"),
    "cache export --split": Refused(f"{STORE} out.csv", f"{STORE} out.csv --split fold", "fold"),
    "cache export --workspace": Refused(
        f"{STORE} out.csv", f"{STORE} out.csv --workspace other", "no data set"
    ),
    "cache similarity --dataset": Refused(ALIKE, ALIKE.replace("mine", "nothing"), "nothing"),
    "cache similarity --backbone": Refused(
        ALIKE, f"{ALIKE} --backbone resnet50", "no embeddings of 'mine' by 'resnet50'"
    ),
    "cache similarity --most-images": Acts(ALIKE, f"{ALIKE} --most-images 10"),
    "cache similarity --seed": Acts(
        f"{ALIKE} --most-images 10", f"{ALIKE} --most-images 10 --seed 1"
    ),
    "cache similarity --format": Acts(ALIKE, f"{ALIKE} --format csv"),
    "cache similarity --figure": Acts(ALIKE, f"{ALIKE} --figure alike.svg"),
    "cache similarity --workspace": Refused(
        ALIKE, f"{ALIKE} --workspace other", "There are no embeddings of 'mine'"
    ),
    "cache import --dataset": Refused(IMPORT, IMPORT.replace("mine", "nothing"), "nothing"),
    "cache import --backbone": Acts(IMPORT, f"{IMPORT}2"),
    "cache import --spec": Acts(IMPORT, f"{IMPORT} --spec spec.json"),
    "cache import --columns": Acts(IMPORT, f"{IMPORT} --columns embedding=Y"),
    "predictions import --dataset": Refused(
        ANSWERS, ANSWERS.replace("mine", "nothing"), "no data set 'nothing'"
    ),
    "predictions import --name": Acts(ANSWERS, ANSWERS.replace("them", "others")),
    "predictions import --columns": Acts(ANSWERS, f"{ANSWERS},prediction=second"),
    "predictions import --label": Refused(ANSWERS, f"{ANSWERS} --label group_id", "the label of"),
    "predictions import --split": Refused(ANSWERS, f"{ANSWERS} --split part", "no column 'part'"),
    "predictions import --workspace": Refused(
        ANSWERS, f"{ANSWERS} --workspace other", "no data set"
    ),
    "cache import --workspace": Refused(IMPORT, f"{IMPORT} --workspace other", "no data set"),
}


GROWN = "index grown --root growing --group-pattern '(patient[0-9]+)'"
PREPARING = (
    MINE,
    "index two --root elsewhere/images",
    "index again --root images --group-pattern '(patient[0-9]+)' --seed 3",
    "index broken --root broken",
    GROWN,
    "index leaking --root leaky --kind table --table leaking.csv --image-column file "
    "--label-column label --split-column part",
    EXTRACT,
    VIEWS,
    EXTRACT.replace("mine", "again"),
    EXTRACT.replace("mine", "grown"),
    PROBE,
    PROBE.replace("knn", "centroid"),
    FINETUNE,
    "run done.yaml",
    SLICES.replace("new", "brains"),
    EXTRACT.replace("mine", "brains"),
    PROBE.replace("mine", "brains"),
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the rows name, and a workspace with data sets, stores and runs.

    It is made once for all tests, those in other processes too, which work in copies of it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prepared"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            prepare(folder)
            (folder / "done").touch()
    return folder


def prepare(folder: Path) -> None:
    folder.mkdir()
    with inside(folder):
        make_images(Path("images"), 24)
        make_images(Path("elsewhere/images"), 20)
        make_images(Path("growing"), 20)
        make_images(Path("broken"), 20)
        Path("broken/well/patient000_1.png").write_bytes(b"no image")
        make_tables()
        make_volumes()
        make_weights()
        Path("owned").mkdir()
        Path("owned/catalog.yaml").write_text("backbones: [{name: mine, kind: own}]")
        Path("study.yaml").write_text(yaml.safe_dump(STUDY))
        simple = {"most": {"head": "majority", "image_size": 32}}
        done = STUDY | {"name": "done", "protocols": simple}
        Path("done.yaml").write_text(yaml.safe_dump(done))
        for line in PREPARING:
            done = invoke(line)
            assert done.exit_code == 0, f"{line}: {done.output} {done.exception!r}"
        make_images(Path("more"), 1, size=40)
        shutil.copy("more/well/patient000_0.png", "growing/well/patient099_0.png")
        assert invoke(GROWN).exit_code == 0
        make_runs(Path("frostline-workspace"))
        make_faults(Path("frostline-workspace"))


def make_tables() -> None:
    """Tables of the images, one with the same picture in two splits, and one of embeddings."""
    files = sorted(str(path.relative_to("images")) for path in Path("images").rglob("*.png"))
    table = pd.DataFrame({"file": files, "copy": files[::-1]})
    table["label"] = [name.split("/")[0] for name in files]
    table["site"] = ["north", "south"] * 12
    table["patient"] = [name.split("/")[1].split("_")[0] for name in files]
    table["part"] = ["train", "train", "val", "test"] * 6
    table.to_csv("table.csv", index=False)
    table.iloc[:16].to_csv("other.csv", index=False)
    twice = pd.concat([table, table.iloc[:1].assign(part="test", file="again.png")])
    shutil.copytree("images", "leaky")
    shutil.copy(Path("images", files[0]), "leaky/again.png")
    twice.to_csv("leaking.csv", index=False)
    ones = np.ones((len(files), 3), np.float32)
    np.savez("theirs.npz", image_id=np.array(files), X=ones, Y=ones[:, :2])
    Path("spec.json").write_text('{"made": "elsewhere"}')
    guesses = table[["file", "label", "patient"]].assign(prediction="sick", second=table["label"])
    guesses.to_csv("guesses.csv", index=False)
    guesses.assign(prediction="well", second="sick").to_csv("others.csv", index=False)


def make_volumes() -> None:
    """Small volumes of patients of two grades, each with two masks."""
    import nibabel

    rng = np.random.default_rng(0)
    Path("volumes").mkdir()
    for number in range(12):
        values = {"flair": rng.integers(0, 200, (16, 16, 6)), "mask": np.zeros((16, 16, 6))}
        values["mask"][2:12, 2:10, 1:5] = 1
        values["mask"][2:9, 2:9, 2] = 0
        values["core"] = values["mask"] * (np.arange(6) < 4)
        for name, voxels in values.items():
            image = nibabel.Nifti1Image(voxels.astype(np.int16), np.eye(4))
            nibabel.save(image, f"volumes/p{number:02d}_{name}.nii.gz")
    grades = {"patient": [f"p{n:02d}" for n in range(12)], "grade": [2, 3] * 6}
    pd.DataFrame(grades).to_csv("grades.csv", index=False)


def make_weights() -> None:
    """A file of weights for the small backbone."""
    import timm
    import torch

    model = timm.create_model("test_vit", num_classes=0, img_size=32)
    torch.save(model.state_dict(), "vit.pth")


def make_runs(place: Path) -> None:
    """Short names for runs, one with fewer images, and an ONNX file that is in the way."""
    for head in ("knn", "centroid"):
        (path,) = (place / "predictions").glob(f"mine-timm*-{head}-paper-*[!0-9]*.parquet")
        run = read_predictions(path)
        # Other answers than the other head's, whatever the images.
        answers = run.table if head == "knn" else contradicted(run.table)
        sides = np.where(np.arange(len(answers)) % 2 == 0, "left", "right")
        write_predictions(f"{head}.parquet", answers.assign(side=sides), run.meta)
    (model,) = (path.parent for path in (place / "models").glob("*/model.json"))
    shutil.copytree(model, "tuned")
    short = read_predictions("knn.parquet")
    half = short.table.groupby(["split", "label"], group_keys=False).head(3)
    write_predictions("short.parquet", half, {**short.meta, "run": "short"})
    Path("old.onnx").write_text("old")


def contradicted(table: pd.DataFrame) -> pd.DataFrame:
    """The other answer for every third image."""
    table, rows = table.copy(), np.arange(len(table)) % 3 == 0
    names = ["prob_sick", "prob_well"]
    table.loc[rows, names] = table.loc[rows, names[::-1]].to_numpy()
    table["prediction"] = np.where(table["prob_sick"] > table["prob_well"], "sick", "well")
    return table


def make_faults(place: Path) -> None:
    """Copies of the workspace with a flipped bit, and with a part that was set aside."""
    store = next((place / "embeddings" / "mine").rglob("part-*.h5"))
    inside_place = store.relative_to(place)
    shutil.copytree(place, "damaged")
    data = bytearray(store.read_bytes())
    data[-3] ^= 1
    Path("damaged", inside_place).write_bytes(data)
    shutil.copytree(place, "littered")
    Path("littered", inside_place).with_name("damaged-1.h5").write_bytes(b"set aside")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, with the terminal and environment of a test."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with patch.dict(os.environ, {"COLUMNS": "100", "HF_HUB_OFFLINE": "1"}):
            os.environ.pop("FROSTLINE_WORKSPACE", None)
            yield
    finally:
        os.chdir(before)


def invoke(line: str) -> Any:
    """Run a command line in this process; a user's mistake is its exit code 2."""
    return CliRunner().invoke(app, shlex.split(line))


def sentence(done: Any) -> str:
    """What a command says when it is refused."""
    said = f"{done.exception} " if isinstance(done.exception, InputError) else ""
    return f"{said}{done.output}"


class Copies:
    """Outcomes of command lines, each run once in a copy of the prepared folder."""

    def __init__(self, prepared: Path, scratch: Path) -> None:
        self.prepared, self.scratch = prepared, scratch
        self.known: dict[str, tuple[Any, list[str]]] = {}

    @contextmanager
    def copy(self, line: str) -> Iterator[None]:
        folder = self.scratch / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        # Workspaces with faults are copied for those who name them.
        others = [name for name in ("damaged", "littered") if name not in line]
        # As links: no command writes into a file that is there, it puts another in its place.
        shutil.copytree(self.prepared, folder, ignore=lambda *_: others, copy_function=os.link)
        with inside(folder):
            yield

    def outcome(self, line: str) -> tuple[Any, list[str]]:
        """What a command line printed, and what it left behind."""
        if line not in self.known:
            with self.copy(line):
                before = set(left_behind())
                done = invoke(line)
                self.known[line] = done, sorted(set(left_behind()) ^ before)
        return self.known[line]


def left_behind() -> Iterator[str]:
    """Every file, with its content where that is the same whenever it is written."""
    for path in sorted(path for path in Path().rglob("*") if path.is_file()):
        if "manifests" in path.parts:
            yield f"{path} {facts_of(path.read_bytes())}"
        elif path.suffix in (".csv", ".png", ".md"):
            yield f"{path} {hash(path.read_bytes())}"
        elif not path.name.startswith(".") and "lock" not in path.name:
            yield str(path)


@cache
def facts_of(data: bytes) -> str:
    """What a manifest says, without times; most are the same in every copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "copy.parquet")
        path.write_bytes(data)
        manifest = read_manifest(path)
    kept = manifest.table.drop(columns=["file_mtime_ns"]).to_csv(index=False)
    return f"{manifest.meta} {kept}"


def told(outcome: tuple[Any, list[str]]) -> tuple[int, str, list[str]]:
    """An outcome without times."""
    done, files = outcome
    # A column is as wide as the longest of its times.
    return done.exit_code, " ".join(TIMES.sub("TIME", done.output).split()), files


@pytest.fixture(scope="module")
def copies(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(prepared, tmp_path_factory.mktemp("copies"))


class Reached(Exception):
    """A function inside was called; nothing further happens."""


def arguments_of(function: str, line: str) -> str:
    """With which arguments a command line calls a function."""
    module, _, name = function.partition(":")
    seen: list[str] = []

    def stop(*given: Any, **named: Any) -> Any:
        seen.append(repr((given, named)))
        raise Reached

    with patch.object(import_module(module), name, stop):
        done = invoke(line)
    assert isinstance(done.exception, Reached), sentence(done)
    return re.sub(r" at 0x[0-9a-f]+", "", seen[0])


# It computes all that the same line without it does.
SLOW = ("depth --dry-run",)


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.slow] * (row in SLOW)) for row in ROWS]
)
def test_an_option_acts_or_is_refused(row: str, copies: Copies) -> None:
    case = ROWS[row]
    if isinstance(case, Passes):
        with copies.copy(case.first + case.second):
            assert arguments_of(case.function, case.first) != arguments_of(
                case.function, case.second
            )
        return
    first, second = copies.outcome(case.first), copies.outcome(case.second)
    works = (0, 1) if row in EXIT_WITH_ONE else (0,)
    assert first[0].exit_code in works, sentence(first[0])
    if isinstance(case, Refused):
        assert second[0].exit_code != 0, second[0].output
        assert case.sentence in sentence(second[0])
    else:
        assert second[0].exit_code in works, sentence(second[0])
        assert told(first) != told(second)


# Whose exit code is their answer.
EXIT_WITH_ONE = ("audit --strict", "cache verify --repair", "cache verify --workspace")


@pytest.mark.parametrize("line", [INDEX, EXTRACT, PROBE, EVALUATE, "audit mine", "cache ls"])
def test_the_same_line_twice_has_the_same_outcome(line: str, copies: Copies) -> None:
    first = told(copies.outcome(line))
    copies.known.pop(line)
    assert told(copies.outcome(line)) == first


def test_every_option_has_a_row() -> None:
    known = set()
    for name, command in commands(typer.main.get_command(app), above=""):
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name not in COMMON:
                known.add(f"{name.strip()} {parameter.opts[0]}")
    assert known - set(ROWS) == set(), "write a row that shows how the option acts"
    rows = {row for row in ROWS if row.count(" --") == 1}
    assert rows - known == set(), "there are no such options"


def test_quiet_and_verbose_act_on_every_command(copies: Copies) -> None:
    loud, quiet = copies.outcome(EXTRACT)[0], copies.outcome(f"{EXTRACT} -q")[0]
    assert "embedded now" in loud.output
    assert quiet.output == ""
    assert "Finished after" in copies.outcome(f"{EXTRACT} -v")[0].output
    for name, command in commands(typer.main.get_command(app)):
        assert {"quiet", "verbose"} <= {parameter.name for parameter in command.params}, name
    both = sentence(copies.outcome("audit mine -q -v")[0])
    assert "Give --quiet or --verbose, not both." in both
