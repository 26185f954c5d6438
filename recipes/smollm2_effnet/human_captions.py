"""Captions people wrote, made to continue the text "A picture of"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rows import MAX_WORDS

OPENERS = re.compile(
    r"^(?:there (?:is|are)|this is|these are|here is|"
    r"(?:an? |the )?(?:very |blurry |black and white |digital |cartoon |animated |cgi )*"
    r"(?:close[- ]?up|picture|photo|photograph|image|aerial view|view|shot)"
    r"(?: picture| photo| shot| view| image)? of)\s+",
    re.IGNORECASE,
)
PROPER = {"Thai", "German", "Lego", "LEGO", "Serta", "Christmas", "Asian", "Chinese", "I", "London"}
BARE = re.compile(r"^(?:young |old |little |small )?(?:man|woman|person|boy|girl|cat|dog|double)\b")


def clean_caption(text: str) -> str | None:
    """A human caption as a continuation of "A picture of", without the full stop.

    None for one that cannot continue it: a sentence about a pronoun, or of one word.
    """
    line = re.split(r"[.;!?](?:\s|$)", " ".join(text.split()))[0].strip(" .,;:\"'")
    if line.isupper():
        line = line.lower()
    while OPENERS.match(line):
        line = OPENERS.sub("", line, count=1).strip()
    words = line.split()
    if len(words) < 2 or words[0].lower() in {"she", "he", "they", "it", "i", "we", "you"}:
        return None
    if words[0] not in PROPER:
        line = line[0].lower() + line[1:]
    return f"a {line}" if BARE.match(line) else line


def human_captions(texts: Sequence[str]) -> list[str]:
    """The cleaned captions of one photo: those of at most MAX_WORDS words, or all where none is.

    Training counts the first tokens of a caption, so that of a long one the end is not learned.
    """
    lines = [line for line in map(clean_caption, texts) if line]
    fitting = [line for line in lines if len(line.split()) <= MAX_WORDS]
    return [f"{line}." for line in fitting or lines]
