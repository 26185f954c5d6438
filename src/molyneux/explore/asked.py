"""What a page may ask of the model: one dataclass a kind of job, checked as it comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from molyneux.errors import UsageError, quote

_STRICT = ConfigDict(extra="forbid")
NO_WORD = "a word to ask for is empty"


def _some(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("no_word", NO_WORD)
    return text


_Text = Annotated[str, Field(min_length=1, max_length=80)]
_Word = Annotated[str, Field(max_length=80), AfterValidator(_some)]
_Unit = Annotated[str, Field(pattern=r"^L[0-9]{1,5}\.u[0-9]{1,7}[+-]?$")]
_Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
_Words = Annotated[tuple[_Word, ...], Field(max_length=12)]
MOST_UNITS = 5000


@dataclass(frozen=True)
class FromRun:
    """A photo of a run that is shown, as its folder keeps it."""

    __pydantic_config__ = _STRICT
    run: str
    n: int


@dataclass(frozen=True)
class Upload:
    """A photo that was given to the page."""

    __pydantic_config__ = _STRICT
    upload: str


@dataclass(frozen=True)
class Sample:
    """One of the package's sample photos."""

    __pydantic_config__ = _STRICT
    sample: str


PhotoAsked = FromRun | Upload | Sample


@dataclass(frozen=True)
class UnitSetAsked:
    """Units by how they are chosen: the first of a ranking, or of a control of one."""

    __pydantic_config__ = _STRICT
    set: _Text
    top: Annotated[int, Field(ge=0, le=MOST_UNITS)]
    word: _Text | None = None
    view: Literal["patches", "last"] = "patches"


@dataclass(frozen=True)
class ScaledBy:
    """A value: what is there, times a factor."""

    __pydantic_config__ = _STRICT
    scale: _Number


Units = Annotated[tuple[_Unit, ...], Field(max_length=MOST_UNITS)]


@dataclass(frozen=True)
class AskCaption:
    """Caption a photo."""

    __pydantic_config__ = _STRICT
    kind: Literal["caption"]
    photo: PhotoAsked


@dataclass(frozen=True)
class AskExplain:
    """Explain a photo, and words beside its own."""

    __pydantic_config__ = _STRICT
    kind: Literal["explain"]
    photo: PhotoAsked
    words: _Words = ()


@dataclass(frozen=True)
class AskChange:
    """Give units another value, and read caption and probabilities again."""

    __pydantic_config__ = _STRICT
    kind: Literal["change"]
    photo: PhotoAsked
    units: Units | UnitSetAsked
    value: _Number | Literal["mean"] | ScaledBy = 0.0
    positions: Literal["all", "patches"] = "all"
    ask: _Words = ()


@dataclass(frozen=True)
class AskTransplant:
    """Put one photo's units into another photo's patches."""

    __pydantic_config__ = _STRICT
    kind: Literal["transplant"]
    source: Annotated[PhotoAsked, Field(alias="from")]
    into: PhotoAsked
    units: Literal["change", "all"] | Units = "change"
    patches: Annotated[tuple[int, ...], Field(min_length=1, max_length=5000)] | None = None
    ask: _Words = ()


Asked = AskCaption | AskExplain | AskChange | AskTransplant
_ADAPTER: TypeAdapter[Asked] = TypeAdapter(Annotated[Asked, Field(discriminator="kind")])


def read_asked(body: bytes) -> Asked:
    """Return what a request asks.

    Raises:
        UsageError: it asks for nothing that there is; what is wrong is named.
    """
    try:
        return _ADAPTER.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "string_pattern_mismatch":
            raise UsageError("units are named as L12.u905, several with commas between") from error
        raise UsageError(f"{place or 'the request'}: {quote(first['msg'])}") from error
