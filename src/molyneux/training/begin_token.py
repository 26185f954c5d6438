"""Which token stands ahead of the patches, where the user names none.

A causal model lets its first position be what every later one can look at without effect: an
attention sink. Without a token ahead of them, that is the first patch (`molyneux.vision.layout`).
"""

from __future__ import annotations

from typing import Any

from molyneux.adapters.language_model import is_token
from molyneux.errors import UsageError
from molyneux.models.presets import Preset
from molyneux.training.recipe import ReadyMade
from molyneux.vision.layout import Layout


def choose_begin(
    tokenizer: Any, recipe: ReadyMade, preset: Preset | None, before: Layout | None = None
) -> tuple[str | None, str]:
    """Return the begin token, or None for none, and a line that says why it is that one.

    Args:
        preset: the one whose language model is taken; None for one of the user's own.
        before: the layout of a run that is resumed.
    """
    if before is not None:
        return before.begin, _line(before.begin, "as this run was begun")
    if not recipe.begins:
        return None, _line(None, f"as in the recipe {recipe.recipe.name}")
    if preset is not None:
        return preset.begin, _line(preset.begin, f"as in the preset {preset.name}")
    own: str | None = getattr(tokenizer, "bos_token", None)
    if own is None:
        why = "for the tokenizer has none of its own: the first patch may become an attention sink"
        return None, _line(None, f"{why} (docs/training.md, the prompt layout); --begin names one")
    why = "the tokenizer's own: it keeps the first patch from becoming an attention sink"
    return own, _line(own, f"{why} (docs/training.md, the prompt layout); --begin names another")


def require_begin(tokenizer: Any, token: str | None, called: str) -> None:
    """Refuse a begin token that is not one token of the language model's.

    Raises:
        UsageError: it is not.
    """
    if token is not None and not is_token(tokenizer, token):
        raise UsageError(
            f"the tokenizer of {called} has no token {token!r} to begin with; choose one of its "
            "own with --begin, or none with --begin ''"
        )


def _line(token: str | None, why: str) -> str:
    return f"begin token: {token or 'none'}, {why}"
