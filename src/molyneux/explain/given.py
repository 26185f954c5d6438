"""What a run is given to explain: photos, or items of a data set, of which something is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from molyneux.data.dataset import Item
from molyneux.explain.document import Image
from molyneux.vision.photo import Photo, Photos, as_photos, photo_name, photo_sha256
from molyneux.words.nouns import find_nouns, nouns_text
from molyneux.words.synonyms import names_one_of


@dataclass(frozen=True)
class Given:
    """A photo to be explained, or an item of a data set."""

    given: Photo | Item

    @property
    def name(self) -> str:
        """What it is called: an item's id, a file's name."""
        return self.given.id if isinstance(self.given, Item) else photo_name(self.given)

    def read(self) -> Photo:
        """Return the photo, of an item in an archive its pixels.

        Raises:
            PhotoError: an archive's photo cannot be read.
        """
        if not isinstance(self.given, Item):
            return self.given
        source = self.given.source
        return source if isinstance(source, Path) else self.given.read()

    def sha256(self) -> str:
        """Return the SHA-256 of the file's bytes.

        Raises:
            PhotoError: the photo cannot be read.
        """
        return self.given.sha256() if isinstance(self.given, Item) else photo_sha256(self.given)

    @property
    def named(self) -> tuple[str, ...]:
        """The nouns that people said of it, singular; none where none are known."""
        if not isinstance(self.given, Item):
            return ()
        return tuple(nouns_text(self.given.captions).split())

    def told_of(self, image: Image) -> Image:
        """Return a photo's part of the document with what is known of the photo."""
        if not isinstance(self.given, Item):
            return image
        nouns = self.named or None
        first = find_nouns(image.caption or "")[:1]
        agrees = names_one_of(first[0].lemma, nouns) if nouns and first else None
        return replace(image, credit=self.given.credit, known=nouns, agrees=agrees)


def as_given(photos: Photos | Item | Iterable[Photo | Item]) -> list[Given]:
    """Return photos and items as a list; one of them is a list of one.

    Raises:
        PhotoError: it is neither a photo nor something that holds photos.
        UsageError: there is none.
    """
    held: Any = [photos] if isinstance(photos, Item) else photos  # what it holds is looked at later
    return [Given(each) for each in as_photos(held)]
