"""What the paper prints of GPT-J's units, and which way of decoding gives it.

The supplement of Schwettmann et al. 2023 names units with their first decoded tokens. Neither it
nor the paper says whether the final norm's scale, the head's bias or a sign takes part, so every
combination is tried: weights alone decide.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molyneux.adapters.language_model import LanguageModel
from molyneux.errors import UsageError
from molyneux.models.decoding_rule import Decoding
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.unit import Unit, parse_unit
from molyneux.words.dictionary import TOP, is_interpretable

GPTJ = Path(__file__).parent / "fixtures" / "gptj.json"
_ANY = 10**9


@dataclass(frozen=True)
class Option:
    """One way of decoding a unit."""

    final_norm: bool
    bias: bool
    sign: int

    def __str__(self) -> str:
        parts = ["final norm's scale"] * self.final_norm + ["head's bias"] * self.bias
        return f"{'+' if self.sign > 0 else '-'}row, {' and '.join(parts) or 'plain'}"

    @property
    def decoding(self) -> Decoding | None:
        """The rule that decodes so; None for the row's negative, which no rule asks for."""
        if self.sign < 0:
            return None
        return Decoding(self.final_norm, self.bias, written=False)

    @classmethod
    def of(cls, decoding: Decoding) -> Option:
        """Return a preset's way; with weights alone there is no activation to take a sign from."""
        return cls(decoding.final_norm, decoding.bias, 1)


OPTIONS = tuple(
    Option(norm, bias, sign)
    for sign, norm, bias in itertools.product((1, -1), (False, True), (False, True))
)


@dataclass(frozen=True)
class Fixtures:
    """Printed results.

    Attributes:
        units: a unit and the tokens printed for it, best first.
        undecodable: units printed as such.
        captions: photo -> greedy caption; photos are ids of COCO's val2017.
        mean_fields: photo -> IoU of its units' mean field.
        fields: (unit, photo, IoU) of single units.
        scores: the largest attribution scores printed, with their unit.
    """

    language_model: str
    source: str
    units: tuple[tuple[Unit, tuple[str, ...]], ...]
    undecodable: tuple[Unit, ...]
    captions: dict[int, str]
    mean_fields: dict[int, float]
    fields: tuple[tuple[Unit, int, float], ...]
    scores: tuple[tuple[Unit, float], ...]


def load_fixtures(path: Path | None = None) -> Fixtures:
    """Return the printed results of a file; GPT-J's, which come with the package, if not given.

    Raises:
        UsageError: the file cannot be read as such.
    """
    path = path or GPTJ
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Fixtures(
            found["language_model"],
            found["source"],
            tuple((_unit(entry["unit"]), tuple(entry["tokens"])) for entry in found["units"]),
            tuple(_unit(name) for name in found["undecodable"]),
            {int(entry["photo"]): entry["caption"] for entry in found["captions"]},
            {int(entry["photo"]): float(entry["iou"]) for entry in found["mean_fields"]},
            tuple(
                (_unit(entry["unit"]), int(entry["photo"]), float(entry["iou"]))
                for entry in found["fields"]
            ),
            tuple((_unit(entry["unit"]), float(entry["score"])) for entry in found["scores"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"cannot read fixtures from {path} ({error}); reinstall molyneux"
        ) from error


def _unit(name: str) -> Unit:
    return parse_unit(name, _ANY, _ANY)[0]


@dataclass(frozen=True)
class UnitOutcome:
    """A unit's decoded tokens beside those printed.

    Attributes:
        tokens: the ten decoded ones, best first, without the spaces around them.
        found: how many of those printed are among them.
        in_order: whether those printed come first, in the printed order; repetitions that differ
            only in a space are counted once.
    """

    unit: Unit
    printed: tuple[str, ...]
    tokens: tuple[str, ...]
    found: int
    in_order: bool

    @property
    def holds(self) -> bool:
        """Whether all printed tokens are among the ten."""
        return self.found == len(self.printed)


@dataclass(frozen=True)
class OptionOutcome:
    """What one way of decoding gives."""

    option: Option
    units: tuple[UnitOutcome, ...]
    undecodable: tuple[Unit, ...]

    @property
    def n_hold(self) -> int:
        """How many units have all their printed tokens among the ten decoded."""
        return sum(unit.holds for unit in self.units)

    @property
    def n_in_order(self) -> int:
        """How many have them first and in the printed order."""
        return sum(unit.in_order for unit in self.units)

    @property
    def passes(self) -> bool:
        """Whether every unit holds."""
        return self.n_hold == len(self.units)


def check_units(
    model: LanguageModel, fixtures: Fixtures, options: Sequence[Option] = OPTIONS
) -> list[OptionOutcome]:
    """Return what every way of decoding gives; ways that this model cannot tell apart once.

    `undecodable` lists the units printed as such whose ten tokens are fewer than seven words.

    Raises:
        UsageError: the model lacks a unit, so that it is another one.
    """
    units = [unit for unit, _ in fixtures.units]
    for unit in (*units, *fixtures.undecodable):
        if unit.layer >= model.n_layers or unit.unit >= model.d_mlp:
            raise UsageError(
                f"the fixtures name {unit}, and this model has {model.n_layers} layers of "
                f"{model.d_mlp} units: it is not {fixtures.language_model}; give that one"
            )
    has_bias = model.unembedding_bias() is not None
    outcomes = []
    for option in options:
        if option.bias and not has_bias:
            continue
        asked = [*units, *fixtures.undecodable]
        decoded = decode_units(
            model,
            asked,
            [option.sign] * len(asked),
            top=TOP,
            final_norm=option.final_norm,
            bias=option.bias,
        )
        compared = tuple(
            _compare(unit, printed, item.tokens)
            for (unit, printed), item in zip(fixtures.units, decoded, strict=False)
        )
        wordless = tuple(
            item.unit for item in decoded[len(units) :] if not is_interpretable(item.tokens)
        )
        outcomes.append(OptionOutcome(option, compared, wordless))
    return outcomes


def _compare(unit: Unit, printed: tuple[str, ...], tokens: Sequence[str]) -> UnitOutcome:
    plain = tuple(token.strip() for token in tokens)
    distinct = tuple(dict.fromkeys(plain))
    found = sum(token in plain for token in printed)
    first = printed in (plain[: len(printed)], distinct[: len(printed)])
    return UnitOutcome(unit, printed, plain, found, first)


def verdict(outcomes: Sequence[OptionOutcome], default: Option) -> tuple[bool, str]:
    """Return whether the fixtures pass as a preset decodes, and a line that says what holds."""
    own = next((outcome for outcome in outcomes if outcome.option == default), None)
    passing = [outcome for outcome in outcomes if outcome.passes]
    others = [
        outcome.option
        for outcome in sorted(passing, key=lambda outcome: -outcome.n_in_order)
        if outcome.option != default
    ]
    names = "; ".join(map(str, others))
    if own is not None and own.passes:
        also = f"; {names} pass too, so the fixtures do not tell them apart" if names else ""
        return True, f"pass: {default} gives what is printed{also}"
    if passing:
        rule = next((option.decoding for option in others if option.decoding is not None), None)
        use = f"; every command takes it with --decoding {rule}" if rule is not None else ""
        return False, (
            f"another option passes: {names}; the preset's default ({default}) does not{use}"
        )
    best = max(outcomes, key=lambda outcome: (outcome.n_hold, outcome.n_in_order))
    return False, (
        f"fail: no option gives what is printed; nearest is {best.option}, with {best.n_hold} of "
        f"{len(best.units)} units"
    )
