"""Reading an atlas: a unit by its name, units by what they write. No model, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from molyneux.atlas.records import (
    AtlasUnit,
    Found,
    Measured,
    Neighbour,
    StrongestPhoto,
    Taken,
    WordCount,
    Writes,
)
from molyneux.atlas.tables import (
    TOKENS,
    UNITS,
    Effects,
    checked_table,
    read_effects,
    read_index,
)
from molyneux.checks import one_of, path_of, shown, text_of, whole_number
from molyneux.errors import RunError, UsageError
from molyneux.models import DEFAULT_PRESET
from molyneux.neurons.unit_names import read_name
from molyneux.words.dictionary import NEEDED

Order = Literal["rank", "norm", "effect", "count"]
ORDERS: tuple[Order, ...] = ("rank", "norm", "effect", "count")
_ENDS = (("top", 1), ("bottom", -1))


class Atlas:
    """Every unit of a model, from its weights; `open_atlas` gives one.

    Attributes:
        folder: where it lies.
        index: what it says of itself: model, lenses, chance levels, hashes.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder; `open_atlas` says the same."""
        self.folder, self.index = folder, read_index(folder)
        self._columns: dict[str, Int[np.ndarray, "units n"]] = {}

    def __repr__(self) -> str:
        model = self.index.model
        of = f"{model['n_layers']} layers x {model['d_mlp']} units"
        return f"Atlas({model['language_model']}: {of}, through {', '.join(self.lenses)})"

    @property
    def lenses(self) -> tuple[str, ...]:
        """The lenses that units were read through."""
        return tuple(self.index.lens_names)

    @property
    def chance(self) -> dict[str, Any]:
        """How often ten random tokens, and random directions of each lens and layer, pass as words.

        See `Index.chance`.
        """
        return self.index.chance

    @cached_property
    def units(self) -> pa.Table:
        """The table of units, in the order of layers, then units (columns: docs/atlas.md).

        Raises:
            RunError: a file is missing, or is not the one that was written.
        """
        files = {n: sha for n, sha in self.index.files.items() if n.startswith(UNITS)}
        parts = [checked_table(self.folder, name, sha) for name, sha in files.items()]
        table = pa.concat_tables([part.replace_schema_metadata(None) for part in parts])
        wanted = self.index.model["n_layers"] * self.index.model["d_mlp"]
        if table.num_rows != wanted:
            raise RunError(
                f"{self.folder} has {table.num_rows} of {wanted} units; build the atlas anew"
            )
        return table.combine_chunks()

    def token_ids(self, column: str) -> Int[np.ndarray, "units n"]:
        """Return a column of tokens; the vocabulary's size stands where there is none.

        Raises:
            RunError: as for `units`.
        """
        if column in self._columns:
            return self._columns[column]
        lists = self.units[column].combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        width = int(lengths.max(initial=0))
        found = np.full((len(lists), width), len(self.tokens), dtype=np.int32)
        found[np.arange(width) < lengths[:, None]] = pc.list_flatten(lists).to_numpy()
        self._columns[column] = found
        return found

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The text of every token of the vocabulary.

        Raises:
            RunError: as for `units`.
        """
        return tuple(self.token_table["text"].to_pylist())

    @cached_property
    def token_table(self) -> pa.Table:
        """The table of tokens: number, text, whether it is a dictionary word.

        Raises:
            RunError: as for `units`.
        """
        return checked_table(self.folder, TOKENS, self.index.files[TOKENS])

    def unit(self, name: str) -> AtlasUnit:
        """Return the unit of a name, as L12.u905.

        Raises:
            UsageError: the name does not read as a unit, or the model has no such unit.
        """
        layer, number, _ = read_name(name)
        model = self.index.model
        if layer >= model["n_layers"] or number >= model["d_mlp"]:
            raise UsageError(
                f"there is no unit L{layer}.u{number}: this atlas has layers L0 to "
                f"L{model['n_layers'] - 1} and units u0 to u{model['d_mlp'] - 1}"
            )
        row = self.units.slice(layer * model["d_mlp"] + number, 1).to_pylist()[0]
        return AtlasUnit(
            f"L{layer}.u{number}",
            layer,
            number,
            row["output_norm"],
            tuple(self._writes(row, lens) for lens in self.lenses if row[f"top_{lens}"]),
            tuple(Neighbour(_name(n["layer"], n["unit"]), n["cosine"]) for n in row["neighbours"]),
            None if row["fake"] is None else _name(layer, row["fake"]),
            self._measured_of(layer, number),
            self._measured_of(layer, row["fake"]),
        )

    def find(
        self,
        word: str | None = None,
        *,
        prefix: str | None = None,
        concept: str | None = None,
        layer: int | tuple[int, int] | None = None,
        sign: int | None = None,
        lens: str | None = None,
        by: Order = "rank",
        top: int | None = 20,
    ) -> list[Found]:
        """Return the units that have a word among the ten tokens they raise most.

        A token is the word if it is the same without the space before it and without capitals.

        Args:
            word: what is looked for.
            prefix: instead: how the tokens begin that are looked for.
            concept: instead: a noun of photos; found are the units that counted for it there, or
                are selective for a class of that name.
            layer: one layer, or the first and the last of several.
            sign: 1 or -1, for units that write it when active positively, or negatively.
            lens: what units are read through; `lenses` has the choice, the default is the
                final norm.
            by: `rank`, the word's place, first places first (of a concept, as `count`); `norm`,
                strongest writers first; `effect`, what photos' words lost without the unit, most
                first and what was not tried last; `count`, in how many photos' lists it is.
            top: at most so many; None for all.

        Raises:
            UsageError: not one of word, prefix and concept; no such layer or lens; or no run was
                joined that could be asked.
        """
        given = [each for each in (word, prefix, concept) if each is not None]
        if len(given) != 1:
            raise UsageError("find takes a word, a prefix or a concept; give one of them")
        lens = self.as_lens(lens)
        first, last = self.as_layers(layer)
        by = one_of("by", by, ORDERS)
        if top is not None:
            top = whole_number("top", top, least=1)
        if sign is not None:
            sign = one_of("sign", sign, (1, -1))
        if concept is not None and sign is not None:
            raise UsageError(
                "a sign goes with what units write; leave it out of a concept's search"
            )
        if concept is None:
            places = self._writers(self.tokens_of(word, prefix), lens, sign)
        else:
            places = self._seen_for(text_of("concept", concept, "find(concept='dog')"))
        layers = places.rows // self.index.model["d_mlp"]
        places = places.only((layers >= first) & (layers <= last))
        order = self._order(places, by, of_concept=concept is not None)[:top]
        places = places.only(order)
        chosen = self.units.take(pa.array(places.rows)).to_pylist()
        return [
            self._found(*each, lens)
            for each in zip(chosen, places.ranks.tolist(), places.signs.tolist(), strict=True)
        ]

    def _writers(self, tokens: Sequence[int], lens: str, sign: int | None) -> _Places:
        """Return the units that have one of some tokens at one end."""
        wanted = np.zeros(len(self.tokens) + 1, dtype=bool)  # the last stands for no token
        wanted[list(tokens)] = True
        found = []
        for end, direction in _ENDS:
            if sign in (None, direction):
                written: Bool[np.ndarray, "units n"] = wanted[self.token_ids(f"{end}_{lens}")]
                rows = np.flatnonzero(written.any(axis=1))
                ranks = written[rows].argmax(axis=1)
                found.append(_Places(rows, ranks, np.full(len(rows), direction)))
        return _Places(
            np.concatenate([each.rows for each in found]),
            np.concatenate([each.ranks for each in found]),
            np.concatenate([each.signs for each in found]),
        )

    def _seen_for(self, concept: str) -> _Places:
        """Return the units that counted for a noun of photos."""
        wanted = concept.strip().casefold()
        rows = [
            place
            for place, row in self._require_effects().items()
            if any(each["word"].casefold() == wanted for each in row["words"])
            or wanted in (each.casefold() for each in row["selective_for"])
        ]
        if not rows:
            runs = ", ".join(str(run["run"]) for run in self.runs)
            raise UsageError(f"no unit counted for {shown(wanted)} in {runs}; look for another")
        places = np.array(sorted(rows))
        return _Places(places, np.full(len(places), -1), np.ones(len(places), dtype=int))

    def _order(self, places: _Places, by: Order, *, of_concept: bool) -> Int[np.ndarray, " found"]:
        """Return the places in the order asked for."""
        rows, ranks = places.rows, places.ranks
        norms = self.units["output_norm"].to_numpy()[rows]
        if by == "rank" and of_concept:
            by = "count"
        if by in ("rank", "norm"):
            keys = (rows, -norms, ranks) if by == "rank" else (rows, ranks, -norms)
            return np.lexsort(keys)
        measured = self._require_effects()
        told = [measured.get(row, _NOTHING) for row in rows.tolist()]
        if by == "effect":
            effects = [-np.inf if row["effect"] is None else row["effect"] for row in told]
            return np.lexsort((rows, ranks, -np.array(effects)))
        counts = np.array([(row["n_specific"], row["n_top"]) for row in told]).reshape(-1, 2)
        return np.lexsort((rows, ranks, -counts[:, 1], -counts[:, 0]))

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs that were joined (see `Effects.runs`)."""
        return [] if self.joined is None else self.joined.runs

    @cached_property
    def joined(self) -> Effects | None:
        """What was joined, or None.

        Raises:
            RunError: another version wrote it, or it is damaged.
        """
        return read_effects(self.folder)

    @cached_property
    def effects(self) -> pa.Table | None:
        """What runs say of units, a row for each they say something of; None without any.

        Raises:
            RunError: the table is missing, or is not the one that was written.
        """
        if self.joined is None:
            return None
        ((name, sha256),) = self.joined.files.items()
        return checked_table(self.folder, name, sha256, "join the runs anew")

    @cached_property
    def _measured(self) -> dict[int, dict[str, Any]]:
        rows = [] if self.effects is None else self.effects.to_pylist()
        d_mlp = self.index.model["d_mlp"]
        return {row["layer"] * d_mlp + row["unit"]: row for row in rows}

    def _require_effects(self) -> dict[int, dict[str, Any]]:
        if self.joined is None:
            raise UsageError(
                f"no run was joined to {self.folder.name}, which says nothing of photos; `molyneux "
                "atlas join` joins some"
            )
        return self._measured

    def tokens_of(self, word: str | None = None, prefix: str | None = None) -> list[int]:
        """Return the tokens that are a word, or that begin so, capitals and spaces aside.

        Raises:
            UsageError: as for `find`, or there is no such token.
        """
        if (word is None) == (prefix is None):
            raise UsageError("tokens_of takes a word or a prefix; give one of them")
        what = "word" if prefix is None else "prefix"
        sought = text_of(what, word if prefix is None else prefix, "find('water')")
        sought = sought.strip().casefold()
        if not sought:
            raise UsageError(f"the {what} is empty; give one, as in find('water')")
        plain = self._plain_tokens
        fits = sought.__eq__ if prefix is None else lambda text: text.startswith(sought)
        same = [token for token, text in enumerate(plain) if fits(text)]
        if same:
            return same
        begins = max((t for t in plain if t and sought.startswith(t)), key=len, default="")
        hint = f"; it begins with the token {begins!r}" if begins else ""
        raise UsageError(
            f"no token of {self.index.model['language_model']} "
            f"{'is' if prefix is None else 'begins'} {shown(sought)}{hint}; look for a shorter "
            "word, or for a prefix"
        )

    def as_lens(self, lens: str | None) -> str:
        """Return the lens that is asked for, or the final norm.

        Raises:
            UsageError: units were not read through it.
        """
        if lens is None:
            return "norm" if "norm" in self.lenses else self.lenses[0]
        return one_of("lens", lens, self.lenses)

    def as_layers(self, layer: int | Sequence[int] | None) -> tuple[int, int]:
        """Return the first and the last of the layers asked for.

        Raises:
            UsageError: the model has no such layers.
        """
        n = self.index.model["n_layers"]
        if layer is None:
            return 0, n - 1
        ends = tuple(layer) if isinstance(layer, tuple | list) else (layer, layer)
        if len(ends) != 2:
            raise UsageError(f"layer takes one, or a first and a last, not {shown(layer)}")
        first, last = (whole_number("a layer", each, least=0, below=n) for each in ends)
        if first > last:
            raise UsageError(f"layers {first} to {last} are none; give the lower one first")
        return first, last

    @cached_property
    def _plain_tokens(self) -> list[str]:
        return [text.strip().casefold() for text in self.tokens]

    def _texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.tokens[token] for token in ids)

    def _writes(self, row: dict[str, Any], lens: str) -> Writes:
        return Writes(
            lens,
            self._texts(row[f"top_{lens}"]),
            self._texts(row[f"bottom_{lens}"]),
            row[f"top_words_{lens}"] >= NEEDED,
            row[f"bottom_words_{lens}"] >= NEEDED,
        )

    def _found(self, row: dict[str, Any], rank: int, sign: int, lens: str) -> Found:
        own, other = ("top", "bottom") if sign > 0 else ("bottom", "top")
        tokens = self._texts(row[f"{own}_{lens}"] or ())
        measured = self._measured.get(row["layer"] * self.index.model["d_mlp"] + row["unit"])
        told = measured or (_NOTHING if self.joined is not None else {})
        return Found(
            unit=f"{_name(row['layer'], row['unit'])}{'-' if sign < 0 else ''}",
            layer=row["layer"],
            number=row["unit"],
            sign=sign,
            token=None if rank < 0 else tokens[rank],
            rank=None if rank < 0 else rank,
            tokens=tokens,
            suppressed=self._texts(row[f"{other}_{lens}"] or ()),
            words=(row[f"{own}_words_{lens}"] or 0) >= NEEDED,
            output_norm=row["output_norm"],
            n_top=told.get("n_top"),
            n_specific=told.get("n_specific"),
            effect=told.get("effect"),
            effect_low=told.get("effect_low"),
            effect_high=told.get("effect_high"),
            n_effect=told.get("n_effect"),
            mismatched_effect=told.get("mismatched_effect"),
        )

    def _measured_of(self, layer: int, unit: int | None) -> Measured | None:
        row = None
        if unit is not None:
            row = self._measured.get(layer * self.index.model["d_mlp"] + unit)
        if row is None:
            return None
        return Measured(
            n_top=row["n_top"],
            n_specific=row["n_specific"],
            words=tuple(WordCount(**each) for each in row["words"]),
            photos=tuple(StrongestPhoto(**each) for each in row["photos"]),
            effect=_taken(row, "effect"),
            mismatched_effect=_taken(row, "mismatched_effect"),
            elsewhere_effect=_taken(row, "elsewhere_effect"),
            iou=row["iou"],
            random_iou=row["random_iou"],
            n_iou=row["n_iou"],
            selective=row["selective"],
            selective_for=tuple(row["selective_for"]),
            control_selective=row["control_selective"],
        )


_NOTHING: dict[str, Any] = {"n_top": 0, "n_specific": 0, "effect": None, "n_effect": 0}
"""What runs say of a unit that they do not list."""


@dataclass(frozen=True)
class _Places:
    """Units that were found: their rows in the table, the token's rank (-1: none), the sign."""

    rows: Int[np.ndarray, " found"]
    ranks: Int[np.ndarray, " found"]
    signs: Int[np.ndarray, " found"]

    def only(self, which: np.ndarray) -> _Places:
        return _Places(self.rows[which], self.ranks[which], self.signs[which])


def _taken(row: dict[str, Any], name: str) -> Taken | None:
    if row[name] is None:
        return None
    return Taken(row[name], row[f"{name}_low"], row[f"{name}_high"], row[f"n_{name}"])


def open_atlas(source: str | PathLike[str] = DEFAULT_PRESET) -> Atlas:
    """Return an atlas: of a folder that `molyneux atlas build` wrote, or that of a preset.

    Raises:
        UsageError: there is no such folder with a finished atlas, and none comes with a preset of
            this name.
        RunError: its file is damaged, or another version wrote it.
    """
    from molyneux.models.presets import PRESETS

    path = path_of("an atlas", source)
    shipped = PRESETS[str(source)].atlas if str(source) in PRESETS and not path.exists() else None
    if shipped is None and not path.is_dir():
        raise UsageError(
            f"there is no atlas {shown(str(source))}; give a folder of `molyneux atlas build`, or "
            "a preset that comes with one"
        )
    return Atlas(shipped or path)


def _name(layer: int, unit: int) -> str:
    return f"L{layer}.u{unit}"
