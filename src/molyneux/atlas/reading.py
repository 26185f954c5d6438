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

from molyneux.atlas.tables import TOKENS, UNITS, checked_table, read_index
from molyneux.checks import one_of, path_of, shown, text_of, whole_number
from molyneux.errors import RunError, UsageError
from molyneux.models import DEFAULT_PRESET
from molyneux.neurons.unit_names import read_name
from molyneux.words.dictionary import NEEDED

Order = Literal["rank", "norm"]
ORDERS: tuple[Order, ...] = ("rank", "norm")
_ENDS = (("top", 1), ("bottom", -1))


@dataclass(frozen=True)
class Writes:
    """What a unit writes through one lens.

    Attributes:
        tokens: those it raises most when active, highest first.
        suppressed: those it lowers most, lowest first: what it raises when active negatively.
        words: whether 7 of the 10 in `tokens` are dictionary words; to be read beside
            `Atlas.chance`.
        suppressed_words: likewise of `suppressed`.
    """

    lens: str
    tokens: tuple[str, ...]
    suppressed: tuple[str, ...]
    words: bool
    suppressed_words: bool


@dataclass(frozen=True)
class Neighbour:
    """A unit that writes in nearly the same direction."""

    unit: str
    cosine: float


@dataclass(frozen=True)
class AtlasUnit:
    """A unit as the atlas has it.

    Attributes:
        unit: its name, as L12.u905.
        output_norm: the norm of what it writes at activation 1.
        writes: through each lens that reads its layer.
        neighbours: the units nearest in direction, nearest first.
        fake: the other unit of its layer nearest in `output_norm`, which has nothing else to do
            with it: what is said of the unit should not hold of this one. None where it is alone.
    """

    unit: str
    layer: int
    number: int
    output_norm: float
    writes: tuple[Writes, ...]
    neighbours: tuple[Neighbour, ...]
    fake: str | None


@dataclass(frozen=True)
class Found:
    """A unit that writes what was looked for.

    Attributes:
        unit: its name; `L12.u905-` where it writes so when active negatively.
        layer: its layer, from 0.
        number: its place among the layer's units, from 0.
        sign: 1, or -1 where it writes so when active negatively.
        token: what it writes of what was looked for.
        rank: the token's place among the ten it raises most, 0 the first.
        tokens: those ten, in the direction of `sign`.
        suppressed: the ten it lowers most.
        words: whether 7 of `tokens` are dictionary words.
        output_norm: the norm of what it writes at activation 1.
    """

    unit: str
    layer: int
    number: int
    sign: int
    token: str
    rank: int
    tokens: tuple[str, ...]
    suppressed: tuple[str, ...]
    words: bool
    output_norm: float


class Atlas:
    """Every unit of a model, from its weights; `open_atlas` gives one.

    Attributes:
        folder: where it lies.
        index: what it says of itself: model, lenses, chance levels, hashes.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder; `open_atlas` says the same."""
        self.folder, self.index = folder, read_index(folder)

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
        )

    def find(
        self,
        word: str | None = None,
        *,
        prefix: str | None = None,
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
            layer: one layer, or the first and the last of several.
            sign: 1 or -1, for units that write it when active positively, or negatively.
            lens: what units are read through; `lenses` has the choice, the default is the
                final norm.
            by: `rank`, the word's place, first places first; `norm`, strongest writers first.
            top: at most so many; None for all.

        Raises:
            UsageError: neither a word nor a prefix, or both; no such layer or lens.
        """
        tokens = self.tokens_of(word, prefix)
        lens = self.as_lens(lens)
        first, last = self.as_layers(layer)
        by = one_of("by", by, ORDERS)
        if top is not None:
            top = whole_number("top", top, least=1)
        wanted = np.zeros(len(self.tokens) + 1, dtype=bool)  # the last stands for no token
        wanted[tokens] = True
        found: list[tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], int]] = []
        for end, direction in _ENDS:
            if sign is not None and one_of("sign", sign, (1, -1)) != direction:
                continue
            written: Bool[np.ndarray, "units n"] = wanted[self._ids(f"{end}_{lens}")]
            rows = np.flatnonzero(written.any(axis=1))
            found.append((rows, written[rows].argmax(axis=1), direction))
        rows = np.concatenate([each[0] for each in found])
        ranks = np.concatenate([each[1] for each in found])
        signs = np.concatenate([np.full(len(each[0]), each[2]) for each in found])
        layers = rows // self.index.model["d_mlp"]
        inside = (layers >= first) & (layers <= last)
        rows, ranks, signs = rows[inside], ranks[inside], signs[inside]
        norms = self.units["output_norm"].to_numpy()[rows]
        keys = {"rank": (rows, -norms, ranks), "norm": (rows, ranks, -norms)}[by]
        order = np.lexsort(keys)[:top]
        chosen = self.units.take(pa.array(rows[order])).to_pylist()
        return [
            self._found(row, int(rank), int(direction), lens)
            for row, rank, direction in zip(chosen, ranks[order], signs[order], strict=True)
        ]

    def tokens_of(self, word: str | None = None, prefix: str | None = None) -> list[int]:
        """Return the tokens that are a word, or that begin so, capitals and spaces aside.

        Raises:
            UsageError: as for `find`, or there is no such token.
        """
        if (word is None) == (prefix is None):
            raise UsageError("find takes either a word or a prefix; give one of them")
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

    def _ids(self, column: str) -> Int[np.ndarray, "units n"]:
        """Return a column of tokens; the vocabulary's size stands where there is none."""
        lists = self.units[column].combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        width = int(lengths.max(initial=0))
        found = np.full((len(lists), width), len(self.tokens), dtype=np.int32)
        found[np.arange(width) < lengths[:, None]] = pc.list_flatten(lists).to_numpy()
        return found

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
        tokens = self._texts(row[f"{own}_{lens}"])
        return Found(
            f"{_name(row['layer'], row['unit'])}{'-' if sign < 0 else ''}",
            row["layer"],
            row["unit"],
            sign,
            tokens[rank],
            rank,
            tokens,
            self._texts(row[f"{other}_{lens}"]),
            row[f"{own}_words_{lens}"] >= NEEDED,
            row["output_norm"],
        )


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
