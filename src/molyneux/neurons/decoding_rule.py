"""How a unit is decoded into tokens, where nothing else is asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from molyneux.checks import is_a, true_or_false
from molyneux.errors import UsageError

PLAIN = "plain"
"""The bare output row: what a rule without any part is called."""


@dataclass(frozen=True)
class Decoding:
    """What takes part when a unit is decoded; printed as `final_norm,written`, or `plain`.

    Attributes:
        final_norm: whether the scale of the final norm takes part.
        bias: whether the head's bias is added.
        written: whether the direction is the one written, sign(activation) x row; else the row.
    """

    final_norm: bool = True
    bias: bool = False
    written: bool = True

    def __post_init__(self) -> None:
        for part in fields(self):
            true_or_false(part.name, getattr(self, part.name))

    def __str__(self) -> str:
        return ",".join(f.name for f in fields(self) if getattr(self, f.name)) or PLAIN

    @classmethod
    def parse(cls, text: str) -> Decoding:
        """Return the rule that a text names.

        Raises:
            UsageError: it names something else.
        """
        text = is_a("decoding", text, str, "one, as in 'final_norm,written'")
        known = [field.name for field in fields(cls)]
        asked = [] if text.strip() == PLAIN else [part.strip() for part in text.split(",")]
        unknown = [part for part in asked if part not in known]
        if unknown:
            raise UsageError(
                f"decoding has no part {unknown[0]!r}; give {PLAIN}, or of {', '.join(known)} "
                "those that take part, as in final_norm,written"
            )
        return cls(**{name: name in asked for name in known})


DEFAULT_DECODING = Decoding()
"""Through the final norm, without the bias, in the direction written."""
