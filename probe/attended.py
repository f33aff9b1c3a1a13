"""Which images of a patient a trained attention head looks at."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from frostline.cache import InputError, Store, Workspace, read_manifest
from frostline.probe.embedded import split_images, with_embeddings
from frostline.probe.patients import to_patients


def attention_weights(workspace: Workspace, run: str) -> pd.DataFrame:
    """Weigh the images of the test patients of a run of head `attention`.

    Parameters
    ----------
    run : str
        Its id; trained on the splits of a data set, as a cross-validation keeps no head.

    Returns
    -------
    DataFrame
        One row an image, patient after patient, in the order of the manifest: `image_id`,
        `group_id`, `label`, `prediction` (of the patient) and `weight`, which sums to 1 in each
        patient.

    Raises
    ------
    InputError
        If the run has no stored head, its head is another, or there is no test patient.
    """
    # Here, and not above: it takes scikit-learn.
    from frostline.probe.heads.attention import AttentionProbe
    from frostline.probe.heads.storage import read_head

    head, about = read_head(workspace.model(run))
    if not isinstance(head, AttentionProbe):
        raise InputError(f"Run {run} has no weights of images: only head 'attention' has them.")
    name = about["dataset"]
    manifest = read_manifest(workspace.manifest(name))
    store = Store.open(workspace.embeddings(name, about["backbone"]) / about["store_key"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the run was trained
        images = split_images(manifest, about["label"], about["split"])
        images = images[images["split"] == "test"].reset_index(drop=True)
        if images.empty:
            raise InputError(f"Data set {name!r} has no test patient whose images have weights.")
        embedded = with_embeddings(images, store, name, on_missing=about["on_missing"])
    patients = to_patients(embedded, "attention")
    assert patients.members is not None  # they are patients
    counts = patients.X.counts
    return patients.members[["image_id", "group_id"]].assign(
        label=np.repeat(patients.images["label"].to_numpy(), counts),
        prediction=np.repeat(head.predict(patients.X), counts),
        weight=head.attention(patients.X),
    )
