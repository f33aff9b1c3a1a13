"""Gated attention over bags with a linear classifier behind it: loss, gradient, minimum.

M. Ilse, J. M. Tomczak, M. Welling: Attention-based Deep Multiple Instance Learning. ICML 2018,
equations 7 and 9: with the embeddings h of a bag's images,

    z = sum_i a_i h_i,   a = softmax_i(w' (tanh(V h_i) * sigmoid(U h_i))).

The loss is that of the multinomial logistic regression of z, with an L2 penalty on all weights and
none on the intercepts: where w is zero, every image counts alike, and it is logistic regression on
mean embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from frostline.probe.solver.bags import Bags

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Attention:
    """Weights of attention and classifier.

    Attributes
    ----------
    V, U : float64 [p, hidden]
    w : float64 [hidden]
    coef : float64 [p, k]
    intercept : float64 [k]
    """

    V: Numbers
    U: Numbers
    w: Numbers
    coef: Numbers
    intercept: Numbers

    def weights(self, bags: Bags) -> Numbers:
        """Give the weight of every image in its bag: [n], summing to 1 in each bag."""
        gated = np.tanh(bags.values @ self.V) * expit(bags.values @ self.U)
        return segment_softmax(gated @ self.w, bags)

    def probabilities(self, bags: Bags) -> Numbers:
        """Give the class probabilities of every bag: [bags, k]."""
        weighted = self.weights(bags)[:, None] * (bags.values @ self.coef)
        logits = np.add.reduceat(weighted, bags.starts, axis=0) + self.intercept
        found: Numbers = softmax(logits, axis=1)
        return found

    def flat(self) -> Numbers:
        """Put all weights in one vector."""
        return np.concatenate([part.ravel() for part in vars(self).values()])

    def like(self, flat: Numbers) -> Attention:
        """Take weights of these shapes out of one vector."""
        shapes = [part.shape for part in vars(self).values()]
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
        parts = np.split(flat, ends)
        return Attention(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


def segment_softmax(scores: Numbers, bags: Bags) -> Numbers:
    """Take the softmax of scores [n] within each bag: [n]."""
    shifted = np.exp(scores - np.repeat(np.maximum.reduceat(scores, bags.starts), bags.counts))
    found: Numbers = shifted / np.repeat(np.add.reduceat(shifted, bags.starts), bags.counts)
    return found


def loss_and_gradient(
    at: Attention, bags: Bags, target: Numbers, penalty: float
) -> tuple[float, Attention]:
    """Evaluate the penalised loss, and its gradient by every weight.

    Parameters
    ----------
    target : float64 [bags, k]
        Weight of each bag in the column of its class, zero elsewhere; all sum to 1.
    penalty : float
        Times half the squares of all weights but the intercepts.
    """
    H, weight = bags.values, target.sum(axis=1, keepdims=True)
    T, G, classified = np.tanh(H @ at.V), expit(H @ at.U), H @ at.coef
    a = segment_softmax((T * G) @ at.w, bags)
    logits = np.add.reduceat(a[:, None] * classified, bags.starts, axis=0) + at.intercept
    logs = log_softmax(logits, axis=1)
    squares = sum(float(np.square(part).sum()) for part in (at.V, at.U, at.w, at.coef))
    loss = -float((target * logs).sum()) + penalty / 2 * squares
    error = weight * np.exp(logs) - target
    per_image = np.repeat(error, bags.counts, axis=0)
    # By the attention weights, then through the softmax of each bag.
    by_a = (classified * per_image).sum(axis=1)
    mean = np.repeat(np.add.reduceat(a * by_a, bags.starts), bags.counts)
    by_score = (a * (by_a - mean))[:, None]
    through = by_score * at.w
    gradient = Attention(
        H.T @ (through * G * (1 - T**2)) + penalty * at.V,
        H.T @ (through * T * G * (1 - G)) + penalty * at.U,
        ((T * G) * by_score).sum(axis=0) + penalty * at.w,
        H.T @ (a[:, None] * per_image) + penalty * at.coef,
        error.sum(axis=0),
    )
    return loss, gradient


def first_weights(features: int, hidden: int, classes: int, seed: int) -> Attention:
    """Draw where the search begins: attention at random, so that units differ; the rest zero."""
    random = np.random.default_rng(seed)
    V, U = random.standard_normal((2, features, hidden)) / np.sqrt(features)
    w = random.standard_normal(hidden) / np.sqrt(hidden)
    return Attention(V, U, w, np.zeros((features, classes)), np.zeros(classes))


def solve_attention(
    bags: Bags, target: Numbers, first: Attention, penalty: float, *, tol: float, max_iter: int
) -> tuple[Attention, int]:
    """Minimise the penalised loss by L-BFGS; also give the number of iterations.

    Parameters
    ----------
    bags : Bags
        Of float64.
    target, penalty
        As in `loss_and_gradient`.
    first : Attention
        Where the search begins.
    tol : float
        The greatest entry of the gradient at which it ends.
    """
    # The loss sees weights by their products with embeddings alone, and the penalty takes away
    # what is at right angles to all of them: fewer images than features span all that matters.
    Q = None
    if len(bags.values) < bags.values.shape[1]:
        Q, R = np.linalg.qr(bags.values.T)
        bags = Bags(np.ascontiguousarray(R.T), bags.counts)
        first = Attention(Q.T @ first.V, Q.T @ first.U, first.w, Q.T @ first.coef, first.intercept)

    def value(flat: Numbers) -> tuple[float, Numbers]:
        loss, gradient = loss_and_gradient(first.like(flat), bags, target, penalty)
        return loss, gradient.flat()

    options = {"maxiter": max_iter, "gtol": tol, "maxfun": 2 * max_iter + 20}
    found = minimize(value, first.flat(), jac=True, method="L-BFGS-B", options=options)
    last = first.like(found.x)
    if Q is not None:
        last = Attention(Q @ last.V, Q @ last.U, last.w, Q @ last.coef, last.intercept)
    return last, int(found.nit)
