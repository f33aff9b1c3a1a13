"""The Python face: a workspace with the stages as methods.

Each method is the command of the same name. What it needs is imported when it is called, so that
`import frostline` costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from frostline import stages
from frostline.cache.errors import InputError
from frostline.cache.tables.class_order import class_names
from frostline.cache.workspace import DEFAULT, VARIABLE
from frostline.cache.workspace import Workspace as Paths
from frostline.console import progress, say, say_epoch
from frostline.given import (
    as_network,
    as_networks,
    as_paths,
    as_run_id,
    as_texts,
    as_weights,
    warn_of,
)
from frostline.names import methods_in_python
from frostline.tracking.session import Track, Tracking, hand_over

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from frostline.cache import EmbeddingStore, Manifest
    from frostline.given import Backbone, PathLike
    from frostline.probe.choices import Rows
    from frostline.protocols import Protocol
    from frostline.report import Predictions
    from frostline.results import Audit, Depth, Report, Run, Similarity, Sweep
    from frostline.scoring.scores import Runs
    from frostline.stages import Machine


@methods_in_python
class Workspace:
    """A folder of manifests, caches, models, predictions and reports, and all that fills it.

    Parameters
    ----------
    folder : path, optional
        The environment's FROSTLINE_WORKSPACE if not given, else `frostline-workspace`.
    machine : Machine, optional
        Where and how to compute, in every method: device, precision, batch, workers, engine,
        whether pixels are kept, and what to do about images that cannot be read.
    verbose : bool
        Print a line for every epoch of fine-tuning to standard error.
    track : str or Tracker, optional
        Hand every run to a tracker, too: `mlflow`, `wandb`, `tensorboard`, or one of your own
        (docs/trackers.md).
    track_files : bool
        Hand over predictions, model and model card as well.

    Attributes
    ----------
    paths : frostline.cache.Workspace
        Where everything lies in the folder.

    Raises
    ------
    InputError
        By every method: a ValueError that says in one sentence what is wrong, where and what to do.

    Notes
    -----
    These parameters are the same in every method that has them:

    dataset : str
        Name given to `index`.
    backbone : str, torch.nn.Module or Network
        A name of `backbones()`, `timm:NAME`, `torchvision:NAME` or `hf:ORG/NAME`; a module of your
        own; or a `frostline.Network`, which says all about it, the following included.
    weights, weights_seed, feature, image_size, transform
        Those of `frostline.Network`: which weights, what to take as the embedding, what is seen.
    protocol : str
        `paper` or `standard`: geometry, normalisation, the head, and the recipe of training.
    machine : Machine, optional
        Instead of the workspace's.
    label, split : str
        Columns of the manifest.
    run : Run or str
        A run, its id or the beginning of it, or a folder with its model.

    Examples
    --------
    >>> ws = frostline.Workspace()
    >>> ws
    Workspace('frostline-workspace')
    """

    def __init__(
        self,
        folder: PathLike | None = None,
        *,
        machine: Machine | None = None,
        verbose: bool = False,
        track: Track | None = None,
        track_files: bool = False,
    ) -> None:
        self.folder = Path(folder or os.environ.get(VARIABLE) or DEFAULT)
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file, and a workspace is a folder: name another.")
        self.paths = Paths(self.folder)
        self.machine = machine
        self.verbose = verbose
        self.tracking = Tracking(track, track_files)

    def __repr__(self) -> str:
        return f"Workspace({str(self.folder)!r})"

    def index(
        self,
        name: str,
        root: PathLike | Iterable[PathLike],
        *,
        kind: str = "folder",
        group_pattern: str | None = None,
        classes: str | Sequence[str] | None = None,
        test_fraction: float | None = None,
        val_fraction: float = 0.2,
        seed: int = 0,
        resplit: bool = False,
        rehash: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Make a data set's manifest, or bring it up to date.

        Parameters
        ----------
        name, root
            What to call the data set, and the folders with the images, or their URLs.
        kind, options
            What reads them, and how: `table`, `{"table": "labels.csv"}` (docs/datasets.md).
        group_pattern, test_fraction, val_fraction, seed, resplit
            What finds the patient in a file's name, and the splits that the data lack.
        classes : sequence of str, optional
            All classes from the lowest to the highest, the last of two the positive one.
        rehash : bool
            Read every file again; else those whose size and time are as they were are not opened.

        Returns
        -------
        Manifest, whose `table` has one row for each image.

        Examples
        --------
        >>> manifest = ws.index("mine", "images", group_pattern="(patient[0-9]+)")
        >>> len(manifest)
        24
        >>> manifest.table["label"].value_counts().to_dict()
        {'sick': 12, 'well': 12}
        """
        from frostline.extract.index import index_dataset

        with progress("Reading files", "files") as update:
            return index_dataset(
                self.paths,
                name,
                kind=kind,
                roots=[root] if isinstance(root, str | os.PathLike) else list(root),
                group_pattern=group_pattern,
                classes=class_names(classes),
                seed=seed,
                test_fraction=test_fraction,
                val_fraction=val_fraction,
                resplit=resplit,
                rehash=rehash,
                options=options,
                progress=update,
            )

    def audit(
        self,
        dataset: str,
        *,
        controls: bool = False,
        readable: str | Sequence[str] | None = None,
        label_errors: Runs | None = None,
    ) -> Audit:
        """Count images and groups; find what leaks across splits.

        Parameters
        ----------
        controls : bool
            Also score what must score at chance: permuted labels, metadata alone, ….
        readable : str or sequence of str, optional
            Columns of the manifest, numbers with cut points: also ask whether they can be read from
            the embeddings of each backbone.
        label_errors : Run, Predictions, DataFrame, path, or several of them, optional
            Also find labels that are probably wrong, by these predictions: out of fold
            (`cv` of a sweep), or of images that were not trained on.

        Examples
        --------
        >>> found = ws.audit("mine")
        >>> found.leaks
        False
        """
        from frostline.audits import audit_datasets, run_controls, run_readable
        from frostline.results import Audit
        from frostline.scoring.label_errors import suspicious_labels
        from frostline.scoring.scores import _tables

        found = Audit.of(
            dataset,
            audit_datasets(self.paths, [dataset])[dataset],
            run_controls(self.paths, dataset)[0] if controls else None,
            run_readable(self.paths, dataset, readable) if readable else None,
        )
        if label_errors is not None:
            found.label_errors = suspicious_labels(self.paths, dataset, _tables(label_errors)).table
        return found

    def extract(
        self,
        dataset: str,
        backbone: Backbone,
        *,
        feature: str | None = None,
        protocol: Protocol = "paper",
        weights: PathLike = "pretrained",
        weights_seed: int | None = None,
        image_size: int | None = None,
        rehash: bool = False,
        transform: Callable[..., Any] | None = None,
        machine: Machine | None = None,
        views: int = 0,
        **augmentation: Any,
    ) -> EmbeddingStore:
        """Embed every image once, and views of it if asked to; called again, only what is missing.

        Parameters
        ----------
        feature : str, optional
            `blocks` embeds every depth of the backbone in one pass, a store each (docs/depth.md);
            that of the last depth, the backbone's own feature, is returned.
        views, **augmentation
            Also embed so many augmented views of each training image (docs/views.md), changed as by
            `finetune` (`augmentation`, `degrees`, …), with `seed`, `split` and `views_of="all"`.

        Returns
        -------
        EmbeddingStore
            `arrays("train")` gives X, y and groups for scikit-learn; `frame()` a pandas DataFrame.

        Examples
        --------
        >>> store = ws.extract("mine", "effnet-lite0")
        >>> X, y, groups = store.arrays("train")
        >>> X.shape[1]
        1280
        """
        from frostline.cache import EmbeddingStore
        from frostline.extract.augmentation.views import make_views

        seed, of = augmentation.pop("seed", None), augmentation.pop("views_of", "train")
        wanted = make_views(views, augmentation, seed, of, augmentation.pop("split", "split"))
        network = as_network(
            backbone,
            weights=os.fspath(weights),
            weights_seed=weights_seed,
            feature=feature,
            protocol=protocol,
            image_size=image_size,
            transform=transform,
            rehash=rehash,
        )
        name, machine = network.backbone_name, machine or self.machine
        with progress(f"Embedding {dataset} with {name}") as update:
            how: dict[str, Any] = {"machine": machine, "views": wanted, "progress": update}
            done = stages.extract(self.paths, dataset, network, **how)
        warn_of(done.skipped)
        return EmbeddingStore.open(self.paths, dataset, name, done.key)

    def probe(
        self,
        dataset: str,
        backbone: Backbone,
        head: Any = None,
        *,
        protocol: Protocol = "paper",
        feature: str | None = None,
        key: str | None = None,
        seed: int = 0,
        label: str = "label",
        split: str = "split",
        hyperparameters: Mapping[str, Any] | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        **rows: Unpack[Rows],
    ) -> Run:
        """Train one head on cached embeddings, unless that is done.

        Parameters
        ----------
        head : str or classifier, optional
            A name (docs/sweeps.md), or any classifier of scikit-learn; the protocol's if None.
        feature, key : str, optional
            Which embeddings, where several were extracted: by feature, or by the first digits of
            the store's key.
        seed : int
            For `adam`, `attention`, and classifiers with a `random_state`.
        hyperparameters : mapping, optional
            Instead of the head's own; validation chooses from a list.
        on_error : str
            `stop` where an image has no embedding, or `skip` it.
        **rows
            `level="patient"` and `pool`: one answer a group, by all images (docs/patients.md);
            `views` and `views_key`: augmented views of training images, too (docs/views.md).

        Examples
        --------
        >>> frozen = ws.probe("mine", "effnet-lite0", "logistic")
        >>> frozen.path.parent.as_posix()
        'frostline-workspace/predictions'
        >>> frozen.predictions.table["prediction"].isin(["sick", "well"]).all()
        np.True_
        """
        from frostline.probe.run import make_source, probe_head
        from frostline.protocols import choose_head, missing_images

        of = {"feature": feature, "key": key, "label": label, "split": split, **rows}
        with self.tracking.open(self.paths) as session:
            run, _ = probe_head(
                self.paths,
                dataset,
                as_network(backbone).backbone_name,
                head=choose_head(head, protocol, seed or None),
                hyperparameters=hyperparameters,
                seed=seed,
                protocol=protocol,
                source=make_source(on_missing=missing_images(on_error), **of),
            )
            session.hand_over([run])
        return self._run(run)

    def sweep(
        self,
        file: PathLike | None = None,
        *,
        jobs: int | None = None,
        scheduler: str | None = None,
        **fields: Any,
    ) -> Sweep:
        """Train many heads on cached embeddings.

        Parameters
        ----------
        file, fields
            YAML file of a sweep, and fields instead of those of the file: `datasets`, `backbones`,
            `heads`, `train_groups`, … (docs/sweeps.md).
        jobs, scheduler
            As in `frostline.probe.sweep.run.run_sweep`: how many processes, or a Dask scheduler.

        Examples
        --------
        >>> tried = ws.sweep(datasets=["mine"], backbones=["effnet-lite0"], heads=["knn"], jobs=1)
        >>> len(tried.runs)
        1
        """
        from frostline.probe.sweep.run import run_sweep
        from frostline.probe.sweep.settings import parse_sweep, read_sweep
        from frostline.results import Sweep

        where = "The fields of sweep"
        chosen = read_sweep(Path(file), fields) if file else parse_sweep(fields, where)
        session = self.tracking.open(self.paths)
        with session, progress(f"Sweep {chosen.name}", "heads") as update:
            found = run_sweep(self.paths, chosen, jobs=jobs, scheduler=scheduler, progress=update)
            session.hand_over(path.stem for path in found.predictions)
        return Sweep.of(self.paths, found)

    @overload
    def finetune(
        self,
        dataset: str,
        backbone: Backbone,
        *,
        unfreeze: str | int = "all",
        cv: None = None,
        protocol: Protocol = "paper",
        weights: PathLike = "pretrained",
        image_size: int | None = None,
        seed: int = 0,
        label: str = "label",
        split: str = "split",
        machine: Machine | None = None,
        **recipe: Any,
    ) -> Run: ...

    @overload
    def finetune(
        self, dataset: str, backbone: Backbone, *, cv: str, **options: Any
    ) -> list[Run]: ...

    def finetune(
        self,
        dataset: str,
        backbone: Backbone,
        *,
        unfreeze: str | int = "all",
        cv: str | None = None,
        protocol: Protocol = "paper",
        weights: PathLike = "pretrained",
        image_size: int | None = None,
        seed: int = 0,
        label: str = "label",
        split: str = "split",
        machine: Machine | None = None,
        **recipe: Any,
    ) -> Run | list[Run]:
        """Train backbone and head, unless that is done.

        Parameters
        ----------
        unfreeze : str or int
            How much of the backbone trains: `none`, its last N blocks, or `all`.
        cv : str, optional
            `5x3`: five folds of groups, three times, instead of the splits; a run for each repeat.
        **recipe
            Fields of the protocol's recipe to replace: `epochs`, `lr`, `batch_size`, …
            (docs/finetuning.md); `feature`; and `weights_seed`, the seed of random weights.

        Examples
        --------
        >>> tuned = ws.finetune("mine", "effnet-lite0", unfreeze=1, epochs=1)
        >>> tuned.model.training
        False
        """
        from frostline.finetune.task import Execution

        given = {"protocol": protocol, "image_size": image_size, "weights": os.fspath(weights)}
        given |= {name: recipe.pop(name, None) for name in ("feature", "weights_seed")}
        network = as_network(backbone, **given)
        options: dict[str, Any] = {
            "unfreeze": str(unfreeze),
            "machine": machine or self.machine,
            "seed": seed,
            "columns": stages.Columns(label, split),
            "changes": recipe,
            "on_epoch": say_epoch if self.verbose else None,
        }
        with self.tracking.open(self.paths) as session:
            said = say if self.verbose and cv is not None else None
            about = self.paths, dataset, network
            options["execution"] = Execution(on_rows=session.on_rows, said=said)
            if cv is None:
                found = [stages.finetune(*about, **options)]
            else:
                found = stages.finetune_folds(*about, cv, **options)
            session.hand_over(run for run, _ in found)
        runs = [self._run(run) for run, _ in found]
        return runs[0] if cv is None else runs

    def depth(
        self,
        dataset: str,
        backbone: Backbone | Sequence[Backbone],
        *,
        train: str | int | Sequence[str | int] = (),
        seeds: int | Sequence[int] = (0,),
        cv: str | None = "auto",
        metric: str = "accuracy",
        protocol: Protocol | None = None,
        image_size: int | None = None,
        jobs: int = 1,
        machine: Machine | None = None,
        **options: Any,
    ) -> Depth:
        """Read backbones at every depth, train them from some, and choose (docs/depth.md).

        Parameters
        ----------
        train : sequence of str or int
            What is trained too: numbers of last blocks, `all`, and `scratch`.
        seeds : sequence of int
            Of what is trained.
        cv : str, optional
            `5x3`: read and train by repeated cross-validation; None for the data set's splits;
            `auto`: 5x3 where there are under 100 groups.
        metric : str
            Chooses the depth on validation, and is shown.
        protocol : str, optional
            `standard` if not given; that of a `frostline.Network` is its own.
        jobs : int
            As in `run`.
        **options
            `feature` (`blocks`, or `blocks:cls+mean`), `weights`, `weights_seed`, `label`, `split`,
            and fields of the recipe of training.

        Examples
        --------
        >>> found = ws.depth("mine", "effnet-lite0", cv=None)
        >>> found.table["road"].unique().tolist()
        ['read']
        """
        from frostline.results import Depth
        from frostline.study.depth import Question, depth_study, find_depth

        given = {name: options.pop(name, None) for name in ("feature", "weights_seed")}
        given["weights"] = os.fspath(options.pop("weights", "pretrained"))
        networks = as_networks(backbone, protocol, image_size=image_size, **given)
        trained = [train] if isinstance(train, str | int) else train
        chosen = stages.Columns(options.pop("label", "label"), options.pop("split", "split"))
        numbers = [seeds] if isinstance(seeds, int) else seeds
        asked = Question(list(map(str, trained)), numbers, cv or "none", metric, chosen, options)
        study = depth_study(dataset, networks, asked, machine or self.machine)
        (curves,), folder = find_depth(self.paths, study, jobs=jobs, tracking=self.tracking)
        return Depth(curves, folder)

    def similarity(
        self,
        dataset: str,
        backbones: str | Sequence[str] = (),
        *,
        most_images: int = 2_000,
        seed: int = 0,
    ) -> Similarity:
        """Compare embeddings with each other by linear CKA and RankMe (docs/depth.md).

        Parameters
        ----------
        backbones : str or sequence of str
            Whose embeddings of the data set, at every depth that was extracted; all if not given.
        most_images, seed
            So many are drawn where more have an embedding in every store, and by which seed.

        Returns
        -------
        Similarity
            `cka` and `rankme` are pandas tables; `figure()` draws the heat map.

        Examples
        --------
        >>> alike = ws.similarity("mine", "effnet-lite0")
        >>> bool((alike.cka.to_numpy().diagonal() == 1).all())
        True
        """
        from frostline.results import Similarity
        from frostline.scoring.similarity import dataset_similarity

        names = [backbones] if isinstance(backbones, str) else list(backbones)
        how = {"most_images": most_images, "seed": seed}
        return Similarity(**vars(dataset_similarity(self.paths, dataset, names, **how)))

    def predict(
        self,
        run: Run | str,
        images: PathLike | Iterable[PathLike],
        *,
        slices: tuple[int | None, int | None] | str = (None, None),
        mask: PathLike | None = None,
        min_roi: int = 30,
        aggregate: Literal["none", "mean"] = "none",
        calibrated: bool = False,
        weights: PathLike | None = None,
        head_weights: PathLike | None = None,
        module: nn.Module | None = None,
        machine: Machine | None = None,
    ) -> Predictions:
        """Apply a run to new images.

        Parameters
        ----------
        images : path or paths
            Images, folders, NIfTI or DICOM files.
        slices, mask, min_roi
            First axial slice and the one behind the last, None for no bound; or a rule, `every:3`;
            or those with more than `min_roi` pixels in the mask of the one volume given.
        aggregate : str
            `mean`: one row for each file, by its slices' mean probabilities.
        calibrated : bool
            Scale probabilities by the temperature that fits the run's validation images best; it
            is in the metadata, as `temperature`.
        weights, head_weights, module
            As in `frostline.apply.load.Weights`: what only you have of the run's backbone.

        Examples
        --------
        >>> new = ws.predict(frozen, "images/sick")
        >>> len(new.table)
        12
        """
        from frostline.apply.calibrated import run_temperature
        from frostline.apply.load import load_run
        from frostline.apply.new_images import Slices
        from frostline.apply.predict import predict_images
        from frostline.report import Predictions

        machine = machine or self.machine or stages.Machine()
        device, files = machine.resolve()[0], as_weights(weights, head_weights, module)
        found = load_run(self.paths, as_run_id(run), device=device, weights=files)
        rule, bounds = (slices, (None, None)) if isinstance(slices, str) else (None, slices)
        with progress("Predicting") as update:
            done = predict_images(
                found,
                as_paths(images),
                slices=Slices(*bounds, None if mask is None else Path(mask), min_roi, rule),
                aggregate=aggregate,
                on_error=machine.on_error,
                temperature=run_temperature(found, aggregate) if calibrated else None,
                progress=update,
            )
        warn_of(done.skipped)
        return Predictions(done.table, done.meta)

    def export(
        self,
        run: Run | str,
        path: PathLike | None = None,
        *,
        overwrite: bool = False,
        calibrated: bool = False,
        weights: PathLike | None = None,
        head_weights: PathLike | None = None,
        module: nn.Module | None = None,
    ) -> Path:
        """Write a run as an ONNX file, and beside it what one needs to apply it without Frostline.

        Beside it are `predict.py`, and a JSON file and a model card of its name (docs/predict.md).

        Parameters
        ----------
        path, overwrite
            The file, which is returned, `RUN.onnx` if not given; and whether to replace files.
        calibrated, weights, head_weights, module
            As in `predict`.
        """
        from frostline.apply.calibrated import run_temperature
        from frostline.apply.load import load_run
        from frostline.apply.onnx import export_onnx

        files = as_weights(weights, head_weights, module)
        found = load_run(self.paths, as_run_id(run), weights=files)
        target = Path(path or f"{found.run}.onnx")
        if target.exists() and not overwrite:
            raise InputError(f"{target} is there: give another path, or overwrite=True.")
        temperature = run_temperature(found) if calibrated else None
        export_onnx(found, target, temperature, overwrite=overwrite)
        return target

    def import_embeddings(
        self,
        dataset: str,
        name: str,
        file: PathLike,
        *,
        columns: Mapping[str, str] | None = None,
    ) -> EmbeddingStore:
        """Take embeddings that another tool made, as `frostline cache import` does.

        Parameters
        ----------
        name : str
            What to call what made them, which then stands where a backbone's name does.
        file : path
            `.npz`, Parquet or CSV (docs/format.md, "Tables of others").
        columns : mapping of str to str, optional
            Our names of its columns or arrays, and theirs: `{"image_id": "filename"}`.
        """
        from frostline.cache import EmbeddingStore
        from frostline.cache.imports import IMPORTED, import_embeddings
        from frostline.extract.backbones.origins import known_origin

        origin = known_origin(name, IMPORTED, self.folder)
        done = import_embeddings(
            self.paths, dataset, name, Path(file), origin=origin, columns=columns
        )
        return EmbeddingStore.open(self.paths, dataset, name, done.key)

    def import_predictions(
        self,
        dataset: str,
        name: str,
        predictions: PathLike | pd.DataFrame,
        *,
        columns: Mapping[str, str] | None = None,
        label: str = "label",
        split: str = "split",
    ) -> Run:
        """Take predictions that another tool made, as `frostline predictions import` does.

        Labels, groups and splits are the data set's.

        Parameters
        ----------
        name : str
            What to call the model that made them.
        predictions : path or DataFrame
            A row an image (docs/format.md, "Tables of others").
        columns : mapping of str to str, optional
            Our names of its columns and theirs, as in `frostline.evaluate`.
        """
        from frostline.apply.imports import import_predictions

        table = Path(predictions) if isinstance(predictions, str | os.PathLike) else predictions
        names = {"label": label, "split": split}
        done = import_predictions(self.paths, dataset, name, table, columns=columns, **names)
        return self._run(done.run)

    def run(
        self,
        study: PathLike,
        *,
        data: PathLike | None = None,
        only: str | Sequence[str] = (),
        settings: str | Sequence[str] = (),
        jobs: int = 1,
        shard: tuple[int, int] | None = None,
        with_images: bool = False,
    ) -> Report:
        """Run a study: do every step that is not done yet, and write its report.

        Parameters
        ----------
        study, data
            A study file or the name of a built-in study, and what its roots are relative to.
        only, settings : str or sequence of str
            Patterns of runs, such as `chest/*/frozen`; `FIELD=VALUE` to replace fields.
        jobs : int
            Processes that share the work. More than one start the script again: call this under
            `if __name__ == "__main__":`.
        shard : (int, int), optional
            `(i, n)`: only share i of n of the runs, counted from 0.
        with_images : bool
            Show the images that were most confidently wrong on the page.

        Raises
        ------
        InputError
            If a run failed, after all others are done.

        Examples
        --------
        >>> report = ws.run("study.yaml")
        >>> report.page.as_posix()
        'frostline-workspace/reports/small/index.html'
        """
        from frostline.results import Report
        from frostline.study.demo import study_data
        from frostline.study.file import read_study
        from frostline.study.runner import run_study

        folder = study_data(os.fspath(study), Path(data) if data else None, self.paths)
        chosen = read_study(Path(study), data=folder, settings=as_texts(settings))
        how: dict[str, Any] = {"jobs": jobs, "shard": shard, "with_images": with_images}
        outcome = run_study(self.paths, chosen, only=as_texts(only), tracking=self.tracking, **how)
        outcome.check()
        runs = [self._run(path.stem) for path in outcome.predictions]
        return Report(outcome.report, runs)

    def report(
        self, study: PathLike, *, settings: str | Sequence[str] = (), with_images: bool = False
    ) -> Report:
        """Write tables, figures and page of a study again, from the predictions of its last run.

        Parameters
        ----------
        study, settings, with_images
            As in `run`.
        """
        from frostline.results import Report
        from frostline.study.file import read_study
        from frostline.study.results import report_study, reported_runs

        chosen = read_study(Path(study), settings=as_texts(settings))
        folder = report_study(self.paths, chosen, with_images=with_images)
        names, failed = reported_runs(folder)
        return Report(folder, [self._run(name) for name in names], failed)

    def track(
        self,
        runs: Run | str | Iterable[Run | str],
        to: Track | None = None,
        *,
        files: bool = False,
    ) -> list[Run]:
        """Hand finished runs to a tracker, those that it has not (docs/trackers.md).

        Parameters
        ----------
        runs : Run, str or several
            Runs, or their ids.
        to : str or Tracker, optional
            As the workspace's `track`, which it is if not given.
        files : bool
            Hand over predictions, model and model card, too.

        Returns
        -------
        list of Run
            Those that were handed over now.

        Raises
        ------
        InputError
            If there is no such run, or the tracker does not take one.
        """
        several: Any = [runs] if isinstance(runs, str) or hasattr(runs, "id") else runs
        names = [as_run_id(run) for run in several]
        chosen = Tracking(to or self.tracking.track, files or self.tracking.files)
        return [self._run(run) for run in hand_over(self.paths, names, chosen)]

    def backbones(self) -> pd.DataFrame:
        """List the backbones; the same as `frostline.backbones()`."""
        from frostline.results import backbones

        return backbones()

    def _run(self, name: str) -> Run:
        from frostline.results import run_at

        return run_at(self.paths, name)
