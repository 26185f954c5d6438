"""What `doctor` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from molyneux.cli.documents.presets import PartToFetch


@dataclass(frozen=True, kw_only=True)
class CheckRecord:
    """A claim that was checked.

    Attributes:
        claim: what ought to hold.
        holds: whether it does.
        measured: what was found.
    """

    claim: str
    holds: bool
    measured: str


@dataclass(frozen=True, kw_only=True)
class Health:
    """Whether everything is what it claims to be.

    Attributes:
        healthy: whether all checks hold.
        checks: each claim.
        versions: of Python, the platform and the packages.
    """

    healthy: bool
    checks: tuple[CheckRecord, ...]
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class PartsMissing:
    """What `doctor` says where parts are missing; nothing is fetched.

    Attributes:
        healthy: false.
        missing: those parts.
    """

    healthy: Literal[False]
    missing: tuple[PartToFetch, ...]


@dataclass(frozen=True, kw_only=True)
class PrintedUnit:
    """A unit whose tokens the paper prints.

    Attributes:
        unit: its name.
        printed: the tokens printed.
        tokens: those found.
    """

    unit: str
    printed: tuple[str, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DecodingOption:
    """One way of decoding, against the units that the paper prints.

    Attributes:
        final_norm: whether the scale of the final norm takes part.
        bias: whether the head's bias does.
        sign: of the output row, 1 or -1.
        passes: whether this way agrees with the paper.
        hold: how many units have all printed tokens among their ten.
        in_order: how many have them first and in order.
        undecodable: which of the units said to be undecodable are.
        units: each unit.
    """

    final_norm: bool
    bias: bool
    sign: int
    passes: bool
    hold: int
    in_order: int
    undecodable: tuple[str, ...]
    units: tuple[PrintedUnit, ...]


@dataclass(frozen=True, kw_only=True)
class PrintedPhoto:
    """What the paper prints of a photo, and what was found.

    Attributes:
        what: of the photo.
        printed: as printed.
        found: as found.
        holds: whether they agree; null where they are only shown side by side.
    """

    what: str
    printed: str
    found: str
    holds: bool | None


@dataclass(frozen=True, kw_only=True)
class FixturesHealth:
    """What `doctor --fixtures` found.

    Attributes:
        healthy: whether the units, and the photos if given, agree with the paper.
        verdict: the same in a sentence.
        options: each way of decoding.
        photos: what is printed of photos, with `--coco`.
    """

    healthy: bool
    verdict: str
    options: tuple[DecodingOption, ...]
    photos: tuple[PrintedPhoto, ...]
