"""How alike embeddings of the same images are (linear CKA), and their effective rank (RankMe).

Both look at embeddings alone, at no label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError

if TYPE_CHECKING:
    Floats = npt.NDArray[np.float64]

MOST_IMAGES = 2_000  # unless asked for more
FEWEST = 4  # the estimator divides by n - 3
RANKME_EPSILON = 1e-7  # as Garrido et al. add it
BLOCK_BYTES = 64 << 20
NO_SPREAD = 1e-10  # of a norm: what rounding leaves of zero
_ALIKE = (
    "The embeddings {name} are the same for all images, or all equally far from each other, so "
    "that they cannot be compared: look at what made them."
)


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike the embeddings of one data set's images are, in two numbers.

    Attributes
    ----------
    cka : DataFrame
        Debiased linear CKA (`linear_cka`) of every two, 1 on the diagonal; rows and columns have
        the names of the embeddings.
    rankme : DataFrame
        A row for each: `rankme` (`rankme`) and `dimensions`, the length of one embedding.
    images : int
        How many images both were computed on.
    of : int
        How many images have all of these embeddings; the others were not drawn.
    seed : int
        That drew them.
    left_out : sequence of str
        Embeddings that were left out, each with a sentence that says why.
    """

    cka: pd.DataFrame
    rankme: pd.DataFrame
    images: int
    of: int
    seed: int = 0
    left_out: Sequence[str] = ()

    @property
    def table(self) -> pd.DataFrame:
        """One row for each: its `name`, `rankme`, `dimensions`, and its CKA with every one."""
        return self.rankme.join(self.cka).rename_axis("name").reset_index()

    @property
    def sentence(self) -> str:
        """Which images, in words."""
        if self.images == self.of:
            return f"On all {self.images:,} images that have these embeddings."
        return (
            f"On {self.images:,} of the {self.of:,} images that have these embeddings, drawn with "
            f"seed {self.seed}."
        )


def similarity(
    embeddings: Mapping[str, npt.ArrayLike], *, of: int | None = None, seed: int = 0
) -> Similarity:
    """Compare embeddings of the same images; those that cannot be compared are left out.

    Parameters
    ----------
    embeddings : mapping of str to array, float [n, dim]
        By name; row i of each is of the same image, dim may differ.
    of, seed
        From how many images these were drawn, and how; n if not given.

    Raises
    ------
    InputError
        If fewer than two can be compared, or they are not of equally many images, four or more.
    """
    kept: dict[str, Floats] = {}
    left_out = []
    for name, values in embeddings.items():
        try:
            kept[name] = _checked(values, name)
        except InputError as error:
            left_out.append(str(error))
    products = _debiased_cka(kept)
    for name, own in zip(list(kept), np.diag(products).tolist(), strict=True):
        if np.isnan(own):
            del kept[name]
            left_out.append(_ALIKE.format(name=name))
    if not kept:
        raise InputError("There are no embeddings to compare.", *left_out)
    names = pd.Index(kept, name="name")
    defined = ~np.isnan(np.diag(products))
    cka = pd.DataFrame(products[np.ix_(defined, defined)], names, names)
    rows = [(rankme(X), X.shape[1]) for X in kept.values()]
    ranks = pd.DataFrame(rows, names, ["rankme", "dimensions"])
    images = len(next(iter(kept.values())))
    return Similarity(cka, ranks, images, of or images, seed, left_out)


def linear_cka(X: npt.ArrayLike, Y: npt.ArrayLike) -> float:
    """Compute the linear centred kernel alignment of two embeddings of the same images, debiased.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) of the Gram matrices K = XXᵀ and L = YYᵀ
    (Kornblith, Norouzi, Lee and Hinton 2019, "Similarity of Neural Network Representations
    Revisited", ICML). HSIC is estimated without bias (Song, Smola, Gretton, Bedo and Borgwardt
    2012, "Feature Selection via Dependence Maximization", JMLR 13, 1393-1434): by the biased
    estimator of the paper, embeddings of many dimensions and few images are alike even if they have
    nothing to do with each other (Murphy, Zylberberg and Fyshe 2024, arXiv:2405.01012). The same
    number is the cosine of the U-centred Gram matrices (Székely and Rizzo 2014, Annals of
    Statistics 42, 2382-2412), and is computed so.

    Parameters
    ----------
    X, Y : array, float [n, p] and [n, q]
        Row i of both is of the same image; n is 4 or more.

    Returns
    -------
    float
        1 if one is the other but for shift, rotation, reflection and one scale of all; about 0 if
        they have nothing in common, where chance may make it slightly negative.

    Raises
    ------
    InputError
        If they are no such arrays, hold NaN, or are the same for all images.

    Notes
    -----
    Time grows with n² (p + q); of Gram matrices, n × n, some rows at a time are in memory.
    """
    found = _debiased_cka({"X": _checked(X, "X"), "Y": _checked(Y, "Y")})
    for name, own in zip("XY", np.diag(found).tolist(), strict=True):
        if np.isnan(own):
            raise InputError(_ALIKE.format(name=name))
    return float(found[0, 1])


def rankme(Z: npt.ArrayLike) -> float:
    """Compute RankMe, the effective rank of embeddings: how many directions they spread over.

    exp(−Σ p_k log p_k) with p_k = σ_k / Σ σ + 1e-7 and the singular values σ of the embeddings as
    they are, not centred (Garrido, Balestriero, Najman and LeCun 2023, "RankMe: Assessing the
    Downstream Performance of Pretrained Self-Supervised Representations by Their Rank", ICML,
    equation 1). The authors use 25,600 images, and compare runs of one method alone by it.

    Parameters
    ----------
    Z : array, float [n, dim]

    Returns
    -------
    float
        From about 1 (all embeddings are multiples of one) to the smaller of n and dim.

    Raises
    ------
    InputError
        If it is no such array, holds NaN, or zeros alone.

    Notes
    -----
    The singular values are the roots of the eigenvalues of ZᵀZ or ZZᵀ, whichever is smaller: what
    that costs in precision, 1e-8 of the largest, is below the 1e-7 that is added.
    """
    values = _checked(Z, "Z")
    gram = values.T @ values if values.shape[1] <= len(values) else values @ values.T
    sigma = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0.0, None))
    if not sigma.any():
        raise InputError("Embeddings that are all 0 have no rank: look at what made them.")
    p = sigma / sigma.sum() + RANKME_EPSILON
    return float(np.exp(-(p * np.log(p)).sum()))


def _checked(values: npt.ArrayLike, name: str) -> Floats:
    """Give embeddings as float64 [n, dim], refusing what are none."""
    try:
        X = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"The embeddings {name} are no numbers: give an array [n, dim].") from None
    if X.ndim != 2 or not X.size:
        raise InputError(
            f"The embeddings {name} have the shape {list(X.shape)}: give one vector an image, "
            "[n, dim]."
        )
    if not np.isfinite(X).all():
        raise InputError(
            f"The embeddings {name} hold NaN or infinity, so that they cannot be compared: look at "
            "what made them."
        )
    return X


def _debiased_cka(embeddings: Mapping[str, Floats]) -> Floats:
    """Compute the cosines of the U-centred Gram matrices of checked embeddings: [D, D].

    NaN in rows and columns of those whose matrix is zero.
    """
    lengths = {name: len(X) for name, X in embeddings.items()}
    for name, length in lengths.items():
        if length < FEWEST:
            raise InputError(
                f"The embeddings {name} are of {length} images: CKA needs {FEWEST} or more."
            )
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} of {length}" for name, length in lengths.items())
        raise InputError(
            f"Embeddings are of different numbers of images ({told}): give those of the same "
            "images, in the same order."
        )
    given = [_unit(X) for X in embeddings.values()]
    products = np.zeros((len(given), len(given)))
    n = next(iter(lengths.values()), 0)
    step = max(1, BLOCK_BYTES // (8 * max(1, n * len(given))))
    for start in range(0, n, step):
        block = np.stack([_u_centred(X, slice(start, start + step)).ravel() for X in given])
        products += block @ block.T
    norms = np.sqrt(np.diag(products))
    norms[norms <= NO_SPREAD] = np.nan
    found = np.clip(products / np.outer(norms, norms), -1.0, 1.0)
    np.fill_diagonal(found, norms / norms)
    return found


def _unit(X: Floats) -> Floats:
    """Centre embeddings, and give them norm 1; 0 where all are the same."""
    centred = X - X.mean(axis=0)
    norm = np.linalg.norm(centred)
    return centred / norm if norm > NO_SPREAD * np.linalg.norm(X) else np.zeros_like(X)


def _u_centred(X: Floats, rows: slice) -> Floats:
    """Give some rows of the U-centred Gram matrix of centred embeddings.

    Without its diagonal, the Gram matrix of centred embeddings has the row sums −|x_i|².
    """
    n, squares = len(X), np.einsum("ij,ij->i", X, X)
    block = X[rows] @ X.T
    block += (squares[rows, None] + squares) / (n - 2) - squares.sum() / ((n - 1) * (n - 2))
    place = np.arange(len(block))
    block[place, rows.start + place] = 0.0
    return block
