"""What was found of one photo, as Python and a notebook show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL.Image import Image
from torch import Tensor

from molyneux.errors import UsageError
from molyneux.explain.document import Image as ExplainedImage
from molyneux.explain.document import Ranking, View
from molyneux.explain.document import Word as ExplainedWord
from molyneux.explain.seen import over_photo
from molyneux.explain.text import photo_html, photo_text
from molyneux.neurons.unit_sets import DEFAULT

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Explanation:
    """What was found of one photo: it prints as a short table, and shows itself in a notebook.

    Attributes:
        image: the photo's part of a document: its caption and words.
        fields: heat maps over the patches by `<word>.<ranking>.<view>`, units x rows x columns in
            the order of the list, and of its whole set by the same name with `.set`, rows x
            columns.
        seen: what lies under the patches.
        lead: the text that the caption goes on from.
    """

    image: ExplainedImage
    fields: Mapping[str, Tensor]
    seen: Image
    lead: str

    @property
    def caption(self) -> str:
        """What the model wrote, without the text it went on from."""
        return self.image.caption or ""

    @property
    def words(self) -> tuple[ExplainedWord, ...]:
        """The caption's nouns in order, then the words asked for."""
        return self.image.words

    def __repr__(self) -> str:
        return photo_text(self.image, self.lead)

    def _repr_html_(self) -> str:
        maps = [
            picture
            for number in range(len(self.words))
            if (picture := self.heat_map(number)) is not None
        ]
        return photo_html(self.image, self.lead, [self.seen, *maps])

    def heat_map(
        self, word: int = 0, *, view: View = "patches", ranking: Ranking | None = None
    ) -> Image | None:
        """Return the photo under the heat map of one list's units, of all together.

        None where the list is empty or the encoder has no patch grid.

        Args:
            word: which of `words`.
            ranking: that of `words[word].units`, `total`, if None.

        Raises:
            UsageError: there is no such word.
        """
        self._word(word)
        chosen = ranking or DEFAULT
        there = self.fields.get(f"{word % len(self.words)}.{chosen}.{view}.set")
        return None if there is None else over_photo(self.seen, there)

    def plot(self, word: int = 0) -> Figure:
        """Return a figure: the photo, the heat map of the word's units, and its curves.

        Raises:
            UsageError: there is no such word.
        """
        from molyneux.explain.plots import draw

        found, heat = self._word(word), self.heat_map(word)
        pictures = [(f"{self.lead} {self.caption}", self.seen)]
        if heat is not None:
            pictures.append((f"where its {len(found.units)} units are active", heat))
        return draw(found, pictures, self.lead)

    def _word(self, number: int) -> ExplainedWord:
        if not -len(self.words) <= number < len(self.words):
            raise UsageError(
                f"there is no word {number}: {len(self.words)} were explained"
                + (f" ({', '.join(word.word for word in self.words)})" if self.words else "")
            )
        return self.words[number]
