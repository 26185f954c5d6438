"""Shapley values of a few players, by sampling orders in which they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from molyneux.checks import whole_number

Worth = Callable[[Bool[np.ndarray, "sets players"]], Float[np.ndarray, " sets"]]
"""What each of some sets of players is worth; a row is True for those who are in it."""


@dataclass(frozen=True, eq=False)
class ShapleyValues:
    """What each player is worth, and how sure that is.

    Attributes:
        value: sums to the worth of all players minus that of none, to rounding.
        error: the standard error of each value, over pairs of orders.
        pairs: how many.
    """

    value: Float[np.ndarray, " players"]
    error: Float[np.ndarray, " players"]
    pairs: int


def sample_shapley(
    worth: Worth, players: int, *, pairs: int, rng: np.random.Generator
) -> ShapleyValues:
    """Return Shapley values estimated from orders of the players, and the same orders backwards.

    Castro, Gomez and Tejada 2009: a player's value is the mean, over orders in which all come, of
    what it adds to those who came before. An order and its reverse are one draw (antithetic
    sampling: Mitchell et al. 2022, arXiv 2104.12199, section 4.1): what is early in one is late in
    the other.

    Args:
        worth: asked once, of all sets: 2 x pairs x (players - 1) + 2.

    Raises:
        UsageError: there is no player, or there are fewer than two pairs, of which no error is
            known.
    """
    players = whole_number("players", players, least=1)
    pairs = whole_number("pairs", pairs, least=2)
    orders = [rng.permutation(players) for _ in range(pairs)]
    both = np.array([way for order in orders for way in (order, order[::-1])])
    # ranks[o, p] = how many come before p, so that p is in the set of the first k if it is below k.
    ranks = both.argsort(axis=1)
    sizes = np.arange(1, players)
    sets = ranks[:, None, :] < sizes[None, :, None]
    none, whole = np.zeros((1, players), bool), np.ones((1, players), bool)
    found = worth(np.concatenate([none, whole, sets.reshape(-1, players)]))
    found = np.asarray(found, dtype=np.float64)
    along = np.empty((len(both), players + 1))
    along[:, 0], along[:, -1] = found[0], found[1]
    along[:, 1:-1] = found[2:].reshape(len(both), players - 1)
    added = np.take_along_axis(np.diff(along, axis=1), ranks, axis=1)
    each = added.reshape(pairs, 2, players).mean(axis=1)
    return ShapleyValues(each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(pairs), pairs)
