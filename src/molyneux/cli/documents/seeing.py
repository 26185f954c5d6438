"""What `caption`, `prompts` and `decode` print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from molyneux.explain.document import ModelRecord
from molyneux.models.trust import Trust
from molyneux.records import ABSENT


@dataclass(frozen=True, kw_only=True)
class FirstNoun:
    """A caption's first noun, and how often such a one is right.

    Attributes:
        word: as written, lower case.
        probability: of its first token.
        trust: how often such a noun is right; null if the scale was not verified.
        said: the same in a few words.
    """

    word: str
    probability: float
    trust: Trust | None
    said: str | None


@dataclass(frozen=True, kw_only=True)
class CaptionedPhoto:
    """A photo and its caption.

    Attributes:
        path: as given.
        caption: without "A picture of"; null if the photo could not be read.
        error: null, or one line that says why.
        first_noun: with a trust scale: the caption's first noun, absent where it has none.
    """

    path: str
    caption: str | None
    error: str | None
    first_noun: Annotated[FirstNoun | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True)
class Captions:
    """The captions of photos.

    Attributes:
        schema: 1.
        model: what produced them, as in the document of `explain`.
        images: one entry for each photo, in the order given.
    """

    schema: Literal[1]
    model: ModelRecord
    images: tuple[CaptionedPhoto, ...]


@dataclass(frozen=True, kw_only=True)
class PatchPrompt:
    """The input embeddings nearest to one image prompt.

    Attributes:
        patch: `[row, column]`.
        tokens: the nearest, nearest first.
        cosine: of each with the image prompt.
        lens_tokens: with `--lens`, those that the patch's position raises most after `--layer`;
            absent without.
    """

    patch: tuple[int, int]
    tokens: tuple[str, ...]
    cosine: tuple[float, ...]
    lens_tokens: Annotated[tuple[str, ...] | None, ABSENT] = None


@dataclass(frozen=True, kw_only=True)
class PromptedPhoto:
    """A photo's image prompts as tokens.

    Attributes:
        path: as given.
        patches: one entry for each patch.
        random_cosine: mean cosine of the token nearest to random vectors of the same norms; absent
            if the photo could not be read.
        error: null, or one line that says why.
    """

    path: str
    patches: tuple[PatchPrompt, ...]
    random_cosine: Annotated[float | None, ABSENT] = None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The image prompts of photos.

    Attributes:
        schema: 1.
        model: what produced them, as in the document of `explain`.
        images: one entry for each photo, in the order given.
    """

    schema: Literal[1]
    model: ModelRecord
    images: tuple[PromptedPhoto, ...]


@dataclass(frozen=True, kw_only=True)
class DecodedUnit:
    """A unit and the tokens it writes.

    Attributes:
        layer: its layer, from 0.
        unit: its place among the layer's units, from 0.
        sign: the direction decoded, -1 or 1.
        tokens: those it raises most, at least 10 unless `--top` asks for fewer; none where the lens
            does not read its layer.
        suppressed: those it lowers most.
        lens: what it was read through, `none` for the head alone.
    """

    layer: int
    unit: int
    sign: int
    tokens: tuple[str, ...]
    suppressed: tuple[str, ...]
    lens: Literal["none", "norm", "jacobian"]
