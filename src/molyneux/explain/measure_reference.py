"""Measuring a reference table: every unit's score on photos in general."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from molyneux.data.apart import photo_hash, require_apart
from molyneux.data.dataset import Item
from molyneux.errors import PhotoError
from molyneux.models.scoring import scoring_context
from molyneux.models.seeing_model import SeeingModel
from molyneux.neurons.attribution import Attribution
from molyneux.neurons.decoding import interpretable_table
from molyneux.neurons.partners import (
    PartnerPanel,
    differ_only_at_patches,
    make_partner,
    partners_that_fit,
)
from molyneux.neurons.reference import MIN_PHOTOS, N_OTHERS, Reference, ReferenceBuilder
from molyneux.neurons.scorers import DEFAULT_SCORER, Scorer
from molyneux.neurons.sinks import FACTOR, patch_norms, sink_patches
from molyneux.neurons.targets import Sentence, read_sentence
from molyneux.vision.layout import ImagePrompt
from molyneux.vision.photo import read_photo
from molyneux.words.animals import is_animal

OnPhoto = Callable[[int, str], None]
_AT_LEAST = 2  # for a standard deviation
_SHOWN = 3  # of the photos left out, where too few remain
_NO_PARTNERS = (
    "no partner photos are kept: this model's prompt differs between photos in more than what "
    "stands at the patches, as tiles and shapes of photos make it"
)


def measure_reference(
    captioner: SeeingModel,
    photos: Iterable[Path | Item],
    *,
    data: str,
    n_listed: int,
    scorer: Scorer = DEFAULT_SCORER,
    partners: Iterable[Path | Item] | None = None,
    partners_data: str = "partners",
    n_others: int = N_OTHERS,
    n_partners: int | None = None,
    on_photo: OnPhoto = lambda number, said: None,
    on_partner: OnPhoto = lambda number, said: None,
    on_layer: Callable[[int], None] = lambda layer: None,
) -> tuple[Reference, list[str]]:
    """Return the table over photos, each with its caption's first noun, and those left out.

    Args:
        data: what the photos are, for the record.
        n_listed: how many units of each ranking are kept for photos that serve as controls.
        scorer: whose scores these are: only its own can be compared with them.
        partners: photos of their own, none among the others, that serve as controls and that can
            be shown instead of another one. Without them the controls are some of `photos`, and
            nothing can be shown instead.
        partners_data: what those are, for the record.
        n_others: how many controls there may be; of a noun three, of animals 15 %.
        n_partners: how many photos can be shown instead of another; 128 if None, or 64 where an
            image prompt is large.
        on_photo: told after each photo what became of it, and `on_partner` of each partner.

    Raises:
        PhotoError: fewer than two photos gave a noun; the first ones left out are named, each with
            its reason.
        UsageError: a photo is among the partners too.
    """
    if partners is not None:
        photos, partners = list(photos), list(partners)
        require_apart(photos, partners, (data, partners_data))
    measuring = _Measuring(captioner, scorer, ReferenceBuilder(n_listed, n_others))
    for number, photo in enumerate(photos):
        on_photo(number, measuring.add(photo, control=partners is None))
    n_found = len(measuring.names)
    if n_found < _AT_LEAST:
        raise _too_few(n_found, measuring.left_out)
    for number, photo in enumerate(partners or ()):
        on_partner(number, measuring.add_partner(photo, n_partners))
    model = captioner.language_model
    provenance: dict[str, Any] = {
        **captioner.names,
        "projection": captioner.projection.hash(),
        "layout": captioner.layout.record(),
        "decoding": asdict(captioner.decoding),
        "dtype": str(model.dtype).removeprefix("torch."),
        "data": data,
        "photos_sha256": _hash_of(measuring.names),
        "sink_patches": f"norm over {FACTOR:g} times the photo's median at some layer",
        "scorer": scorer.record(),
    }
    words = interpretable_table(model, on_layer, **asdict(captioner.decoding))
    table = measuring.builder.build(words, provenance)
    return _completed(table, measuring, partners_data if partners is not None else data)


def _completed(table: Reference, measuring: _Measuring, source: str) -> tuple[Reference, list[str]]:
    """Return the table with its partners and a record of who else is in it."""
    panel = measuring.panel.chosen() if measuring.panel else []
    nouns = [other.noun for other in table.others]
    record = {
        "controls": {
            "photos": len(nouns),
            "animals": sum(map(is_animal, nouns)),
            "data": source,
            "photos_sha256": _hash_of([other.name for other in table.others]),
        }
    }
    if panel:
        grid = measuring.captioner.encoder.grid
        record["partners"] = {
            "photos": len(panel),
            "with_human_nouns": sum(bool(partner.human_nouns) for partner in panel),
            "data": source,
            "photos_sha256": _hash_of([partner.name for partner in panel]),
            "grid": [grid.rows, grid.columns],
        }
    left_out = [*measuring.left_out, *([] if measuring.plain else [_NO_PARTNERS])]
    return replace(table, provenance={**table.provenance, **record}, partners=panel), left_out


@dataclass
class _Measuring:
    """One photo after another: captioned, scored, and taken into what it serves."""

    captioner: SeeingModel
    scorer: Scorer
    builder: ReferenceBuilder
    names: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    panel: PartnerPanel | None = None
    plain: bool = True
    first: ImagePrompt | None = None

    def add(self, photo: Path | Item, *, control: bool) -> str:
        """Take a photo of the moments; return its caption, or why it is left out."""
        found = self._written(photo)
        if isinstance(found, str):
            return found
        seen, prompt, sentence = found
        self.first = self.first or prompt
        name, word = photo_hash(photo), sentence.words[0]
        sinks = sink_patches(patch_norms(self.captioner.language_model, prompt))[0]
        scored = self._scored(seen, prompt, sentence)
        self.builder.add(word.lemma, scored, sinks, control=control, name=name)
        self.names.append(name)
        return sentence.caption

    def add_partner(self, photo: Path | Item, most: int | None) -> str:
        """Take a photo as a control and a partner, as far as there is room for it."""
        assert self.first is not None
        captions = photo.captions if isinstance(photo, Item) else ()
        if self.panel is None:
            here = self.first.embeddings[0, self.first.patches]
            self.panel = PartnerPanel(partners_that_fit(here) if most is None else most)
        wanted = self.plain and self.panel.takes(len(captions))
        if not wanted and self.builder.balance.full:
            return "not needed"
        found = self._written(photo)
        if isinstance(found, str):
            return found
        seen, prompt, sentence = found
        name, noun = photo_hash(photo), sentence.words[0].lemma
        if wanted and not differ_only_at_patches(prompt, self.first):
            self.plain, wanted, self.panel = False, False, PartnerPanel(0)
        if wanted:
            here = prompt.embeddings[0, prompt.patches]
            self.panel.add(make_partner(name, sentence.caption, captions, here))
        if self.builder.balance.takes(noun):
            scored = self._scored(seen, prompt, sentence)
            self.builder.add_control(noun, scored, name=name)
        return sentence.caption

    def _written(self, photo: Path | Item) -> tuple[Image.Image, ImagePrompt, Sentence] | str:
        """Return a photo, its prompt and its caption; why, if it is left out."""
        name = photo.id if isinstance(photo, Item) else photo
        try:
            seen = photo.read() if isinstance(photo, Item) else read_photo(photo)
            prompt = self.captioner.see([seen])
        except PhotoError as error:
            self.left_out.append(str(error))
            return str(error)
        model = self.captioner.language_model
        sentence = read_sentence(model, prompt, self.captioner.write(prompt)[0])
        if not sentence.words:
            self.left_out.append(f"{name}: the caption has no noun ({sentence.caption!r})")
            return sentence.caption
        return seen, prompt, sentence

    def _scored(self, photo: Image.Image, prompt: ImagePrompt, sentence: Sentence) -> Attribution:
        """Return the scores of the caption's first noun."""
        model, target = self.captioner.language_model, sentence.words[0].target
        until = sentence.up_to(model, prompt, target.position)
        context = scoring_context(self.captioner, self.scorer, photo)
        return self.scorer.score(model, until, [target], context=context)


def _too_few(n_found: int, left_out: list[str]) -> PhotoError:
    more = len(left_out) - _SHOWN
    reasons = [*left_out[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return PhotoError(
        f"only {n_found} of {n_found + len(left_out)} photos gave a noun; a reference table "
        f"takes {_AT_LEAST} or more, and {MIN_PHOTOS} to be steady: name other photos"
        + (f". Left out: {'; '.join(reasons)}" if reasons else "")
    )


def _hash_of(names: Iterable[str]) -> str:
    """Return the SHA-256 of photos' hashes, sorted, one a line."""
    return hashlib.sha256("\n".join(sorted(names)).encode("ascii")).hexdigest()
