"""The conditions of a multimodal neuron, asked of one and the same photo and its word.

Conditions that are each met on some photo need not be met on any one of them: a unit may be
specific to a dog and take from the word "train". So they are asked of pairs of a photo and one of
its top units, and twice more where a chance meeting would show: with conditions of different
photos joined, and with those of different units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from molyneux.studies.finished import Columns, Finished
from molyneux.studies.settings import draw_seed
from molyneux.words.categories import category_of

DRAWS = 20
"""Orders of the photos in which conditions of different ones are joined."""

CONDITIONS = ("top", "interpretable", "specific", "above_other", "selective")
MET, FAILED, UNTESTED = 1, 0, -1

Of = Int[np.ndarray, " pairs"]
Left = Bool[np.ndarray, " pairs"]


@dataclass(frozen=True)
class Pairs:
    """Photos with one of their top units each, and what is known of any photo and unit.

    Units are numbered through the layers. What is looked up by photo and unit is kept under
    `photo x n_units + unit`, ascending.

    Attributes:
        photo: of each pair; its word is the caption's first noun.
        sign: the direction in which the unit wrote there, -1 or 1.
        listed: units listed for a photo, and the direction in which each wrote.
        specific: those of them in its specific list.
        effects: units silenced by themselves, and the logits that the photo's own word lost.
        threshold: what other photos' units take (logits); NaN where none was tried.
        words: whether a unit writes words, for signs -1 and +1.
        tested: directions (`2 x unit + (sign > 0)`) measured on confirmation photos.
        active: by class, the directions that are more active on it than on other classes.
        names: of every photo, the place among these classes of what its word names; -1 for none.
        nouns: of every photo, None for none.
    """

    photo: Of
    unit: Of
    sign: Of
    n_units: int
    d_mlp: int
    listed: tuple[Int[np.ndarray, " listed"], Int[np.ndarray, " listed"]]
    specific: Int[np.ndarray, " specific"]
    effects: tuple[Int[np.ndarray, " silenced"], Float[np.ndarray, " silenced"]]
    threshold: float
    words: Bool[np.ndarray, "2 units"]
    tested: Int[np.ndarray, " tested"]
    active: list[Int[np.ndarray, " _"]]
    names: Int[np.ndarray, " photos"]
    nouns: list[str | None]
    row_norms: Float[np.ndarray, " units"]

    @classmethod
    def of(
        cls, study: Finished, listed: Columns, tested: Columns, silenced: Columns, threshold: float
    ) -> Pairs:
        """Return a study's pairs.

        Args:
            listed: rows of `e2_units`, of the patch view.
            tested: rows of `e5_units`, of units found in the patch view.
            silenced: rows of `e6_units`, of a photo's own units.
        """
        d_mlp, n_units = study.model.d_mlp, study.model.n_layers * study.model.d_mlp
        place, way = _units(listed, d_mlp), np.where(listed["sign"] < 0, -1, 1)
        key = listed["photo"].astype(np.int64) * n_units + place
        keys, first = np.unique(key, return_index=True)
        top = np.flatnonzero(listed["ranking"] == "top")
        top = top[np.unique(key[top], return_index=True)[1]]
        alone = silenced["photo"].astype(np.int64) * n_units + _units(silenced, d_mlp)
        alone, at = np.unique(alone, return_index=True)  # a unit of both lists counts once
        direction = 2 * _units(tested, d_mlp) + (tested["sign"] > 0)
        active: dict[str, set[int]] = {}
        for row, number in enumerate(direction.tolist()):
            for name in (*tested["found_in"][row], *tested["active_in"][row]):
                active.setdefault(str(name), set())
            for name in tested["active_in"][row]:
                active[str(name)].add(number)
        nouns, classes = study.photos["noun"].to_pylist(), list(active)
        named = [None if noun is None else category_of(noun, classes) for noun in nouns]
        return cls(
            listed["photo"][top].astype(np.int64),
            place[top],
            way[top],
            n_units,
            d_mlp,
            (keys, way[first]),
            np.unique(key[listed["ranking"] == "specific"]),
            (alone, silenced["effect"][at].astype(float)),
            threshold,
            study.model.interpretable.reshape(2, n_units),
            np.unique(direction),
            [np.array(sorted(found), dtype=np.int64) for found in active.values()],
            np.array([-1 if c is None else classes.index(c) for c in named], dtype=np.int64),
            nouns,
            study.model.row_norms.reshape(n_units),
        )

    def ask(self, condition: str, photo: Of, unit: Of, sign: Of) -> Int[np.ndarray, " pairs"]:
        """Return `MET`, `FAILED` or `UNTESTED` for each photo and unit, in its direction.

        `interpretable` and `selective` are of the direction; the latter for the class that the
        photo's word names, untested where it names none.
        """
        key = photo * self.n_units + unit
        found: Int[np.ndarray, " pairs"]
        if condition == "top":
            return np.full(len(photo), MET)
        if condition == "interpretable":
            found = self.words[(sign > 0).astype(int), unit].astype(int)
            return found
        if condition == "specific":
            return np.isin(key, self.specific).astype(int)
        if condition == "above_other":
            keys, effect = self.effects
            at, there = _find(keys, key)
            if np.isnan(self.threshold):
                there = np.zeros_like(there)
            found = np.full(len(photo), UNTESTED)
            found[there] = (effect[at[there]] > self.threshold).astype(int)
            return found
        direction = 2 * unit + (sign > 0)
        found = np.full(len(photo), UNTESTED)
        measured = np.isin(direction, self.tested)
        for number, active in enumerate(self.active):
            its = measured & (self.names[photo] == number)
            found[its] = np.isin(direction[its], active).astype(int)
        return found

    def own(self) -> Iterator[tuple[Left, Left]]:
        """Yield, condition by condition, which pairs are left and which of the others are open.

        Open: met all conditions before, and this one is untested.
        """
        left = np.ones(len(self.photo), dtype=bool)
        for condition in CONDITIONS:
            answer = self.ask(condition, self.photo, self.unit, self.sign)
            unknown = left & (answer == UNTESTED)
            left = left & (answer == MET)
            yield left, unknown

    def joined(self, seed: int) -> list[list[int]]:
        """Return how many units are left where each condition is another photo's, draw by draw.

        A pair's own photo has it among its top units; being specific, taking from the word and
        being selective for it are asked of three others, each with another noun than this one.
        """
        return [self._count(self._of_others(draw_seed(seed, str(d), "U"))) for d in range(DRAWS)]

    def _of_others(self, seed: int) -> Callable[[int], tuple[Of, Of, Of, Left]]:
        named = [number for number, noun in enumerate(self.nouns) if noun is not None]
        order = np.random.default_rng(seed).permutation(np.array(named, dtype=np.int64)).tolist()
        others: dict[int, list[int]] = {}
        for place, photo in enumerate(order):
            cycle = order[place + 1 :] + order[:place]
            different = [p for p in cycle if self.nouns[p] != self.nouns[photo]]
            others[photo] = different[: len(CONDITIONS)]

        def partner(k: int) -> tuple[Of, Of, Of, Left]:
            if k < CONDITIONS.index("specific"):  # of the photo or of no photo
                return self.photo, self.unit, self.sign, np.ones(len(self.photo), dtype=bool)
            found = [others.get(photo) or [-1] for photo in self.photo.tolist()]
            photo = np.array([ps[(k - 2) % len(ps)] for ps in found], dtype=np.int64)
            return photo.clip(0), self.unit, self.sign, photo >= 0

        return partner

    def swapped(self) -> list[int]:
        """Return how many units are left where each condition is another unit's.

        The k-th is asked of the unit k-th nearest in the norm of its output row among those listed
        for the same photo in the same layer; where they run out, of the pair's own, and so on from
        the nearest. A unit without another beside it has none left.
        """
        keys, signs = self.listed
        photo, unit = keys // self.n_units, keys % self.n_units
        layer = unit // self.d_mlp
        groups: dict[tuple[int, int], list[int]] = {}
        for row, group in enumerate(zip(photo.tolist(), layer.tolist(), strict=True)):
            groups.setdefault(group, []).append(row)
        nearest: dict[int, list[int]] = {}
        for rows in groups.values():
            norms = self.row_norms[unit[rows]]
            for row, norm in zip(rows, norms, strict=True):
                order = np.argsort(np.abs(norms - norm), kind="stable").tolist()
                ranked = [rows[place] for place in order if rows[place] != row]
                nearest[row] = [*ranked[: len(CONDITIONS)], row] if ranked else []
        at, _ = _find(keys, self.photo * self.n_units + self.unit)

        def partner(k: int) -> tuple[Of, Of, Of, Left]:
            if k == 0:
                return self.photo, self.unit, self.sign, np.ones(len(self.photo), dtype=bool)
            found = [nearest[row] or [-1] for row in at.tolist()]
            rows = np.array([ranked[(k - 1) % len(ranked)] for ranked in found], dtype=np.int64)
            there = rows >= 0
            rows = np.where(there, rows, at)
            return self.photo, unit[rows], signs[rows], there

        return self._count(partner)

    def _count(self, partner: Callable[[int], tuple[Of, Of, Of, Left]]) -> list[int]:
        """Return how many units are left at each condition, where the k-th is asked of a partner.

        Args:
            partner: photo, unit and direction to be asked, and whether there is one.
        """
        left = np.ones(len(self.photo), dtype=bool)
        counts = []
        for k, condition in enumerate(CONDITIONS):
            photo, unit, sign, there = partner(k)
            left = left & there & (self.ask(condition, photo, unit, sign) == MET)
            counts.append(len(np.unique(self.unit[left])))
        return counts


def _units(columns: Columns, d_mlp: int) -> Int[np.ndarray, " rows"]:
    found: Int[np.ndarray, " rows"] = columns["layer"].astype(np.int64) * d_mlp + columns[
        "unit"
    ].astype(np.int64)
    return found


def _find(
    keys: Int[np.ndarray, " rows"], wanted: Of
) -> tuple[Int[np.ndarray, " pairs"], Bool[np.ndarray, " pairs"]]:
    """Return where each wanted key stands among the ascending ones, and whether it is there."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted
