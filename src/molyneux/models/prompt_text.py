"""The text that a vision-language model continues."""

from __future__ import annotations

from molyneux.errors import UsageError

IMAGE = "{image}"
"""Stands for the photo in it."""


def require_image(prompt: str, example: str) -> None:
    """Refuse a prompt that does not say where the photo goes.

    Args:
        example: one that does.

    Raises:
        UsageError: it has no place for it, or two.
    """
    if prompt.count(IMAGE) != 1:
        raise UsageError(
            f"the prompt {prompt!r} must hold {IMAGE} once, where the image goes; write it as in "
            f"{example!r}"
        )
