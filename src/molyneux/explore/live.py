"""What is asked of a model that is there: jobs on one thread, through public functions alone.

What a photo's prompt, caption and scores are is kept between jobs, so that switching units off
costs one pass and one caption.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.errors import MolyneuxError, UsageError
from molyneux.explore.asked import (
    NO_WORD,
    AskCaption,
    AskChange,
    Asked,
    AskExplain,
    AskTransplant,
    FromRun,
    PhotoAsked,
    Sample,
    ScaledBy,
    UnitSetAsked,
)
from molyneux.explore.jobs import Job, Queue
from molyneux.explore.study_photos import StudyPhotos
from molyneux.explore.uploads import Uploads
from molyneux.neurons.unit_sets import UNIT_SETS
from molyneux.pages import photo_view
from molyneux.pages.views import Views

if TYPE_CHECKING:
    from torch import Tensor

    from molyneux.adapters.language_model import LanguageModel
    from molyneux.explain.document import ModelRecord
    from molyneux.models.captioned import Answer, Captioned
    from molyneux.models.seeing_model import SeeingModel
    from molyneux.neurons.attribution import View
    from molyneux.neurons.rankings import Ranked
    from molyneux.neurons.unit import Unit

KEPT_PHOTOS = 8
"""Photos whose captions and scores are kept; the scores of a word are some 20 MB of the default
preset's."""
KEPT_ANSWERS = 4
"""Explanations that are kept, of some MB each, for those who come back to one: making it anew
takes as long as the first time, since little of it is shared between photos or words."""
GRID = (0, 100)
"""Numbers of units that are switched off when a photo is explained here, as by `molyneux demo`."""


@dataclass(eq=False)
class _Kept:
    """A photo that was captioned, and the rankings of the words that were asked for."""

    captioned: Captioned
    digest: str
    ranked: dict[tuple[str, bool], Mapping[View, Ranked]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """A photo that is asked for."""

    path: Path
    name: str
    address: str


class Live:
    """A model, loaded on the thread that asks it, and the photos it may be shown."""

    def __init__(
        self,
        load: Callable[[], SeeingModel],
        views: Views,
        uploads: Uploads,
        samples: Mapping[str, Path],
        pictures: StudyPhotos | None = None,
    ) -> None:
        """Begin to load the model; jobs wait for it.

        Args:
            load: returns the model.
            views: of the runs whose photos may be asked for.
            samples: photos that may be, by name.
            pictures: of the photos of studies.
        """
        self._load, self._views, self._uploads, self._samples = load, views, uploads, samples
        self._of_studies = pictures
        self._seeing: SeeingModel | None = None
        self._record: ModelRecord | None = None
        self._failed: str | None = None
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._explained: OrderedDict[tuple[str, tuple[str, ...]], dict[str, Any]] = OrderedDict()
        self._pictures: dict[str, bytes] = {}
        self._picturing = threading.Lock()
        self._queue = Queue()
        self._queue.add(self._loaded)

    @property
    def state(self) -> dict[str, Any]:
        """What pages are told of the model: whether it is loaded, or why it cannot be."""
        if self._failed is not None:
            return {"live": False, "live_error": self._failed}
        seeing = self._seeing
        known: dict[str, Any] = {"lead": None, "grid": None, "model": None}
        if seeing is not None:
            known = {
                "lead": seeing.layout.record().get("text"),
                "grid": self._grid,
                "model": seeing.preset or " + ".join(dict.fromkeys(seeing.names.values())),
            }
        return {
            "live": {
                "loaded": seeing is not None,
                **known,
                "samples": [
                    {"name": name, "url": f"/api/image/sample/{name}"} for name in self._samples
                ],
                "rankings": [row.name for row in dict.fromkeys(UNIT_SETS.values()) if row.own],
            }
        }

    def close(self) -> None:
        """Cancel what is asked, and end the thread."""
        self._queue.close()

    def ask(self, asked: Asked) -> dict[str, Any]:
        """Return the id of a job that does what was asked, and how many are ahead of it.

        Raises:
            UsageError: too many jobs are waiting, or a photo is not there.
        """
        photos = [asked.source, asked.into] if isinstance(asked, AskTransplant) else [asked.photo]
        for photo in photos:
            self._find(photo)
        job, place = self._queue.add(lambda job: self._answered(job, asked))
        return {"job": job.id, "place": place}

    def job(self, name: str) -> dict[str, Any]:
        """Return how far a job is.

        Raises:
            UsageError: there is no such job.
        """
        return self._queue.ask(name)

    def cancel(self, name: str) -> None:
        """Have a job end.

        Raises:
            UsageError: there is no such job.
        """
        self._queue.cancel(name)

    def picture(self, asked: PhotoAsked) -> bytes | None:
        """Return what lies under a photo's patches, as a JPEG; None until the model is loaded.

        Raises:
            UsageError: there is no such photo.
            PhotoError: it cannot be read.
        """
        found = self._find(asked)
        if self._seeing is None:
            return None
        from molyneux.explain.seen import seen_photo

        with self._picturing:
            if found.address not in self._pictures:
                while len(self._pictures) >= 4 * KEPT_PHOTOS:
                    del self._pictures[next(iter(self._pictures))]
                self._pictures[found.address] = seen_photo(self._seeing, found.path)
            return self._pictures[found.address]

    def _find(self, asked: PhotoAsked) -> _Found:
        if isinstance(asked, FromRun):
            name = self._views.name(asked.run, asked.n)
            address = self._views.address(asked.run, asked.n)
            study = self._views.study(asked.run)
            if study is None or self._of_studies is None:
                return _Found(self._views.picture(asked.run, asked.n), name, address)
            return _Found(self._of_studies.file(study, asked.n), name, address)
        if isinstance(asked, Sample):
            if asked.sample not in self._samples:
                raise UsageError(f"there is no sample photo {asked.sample[:80]!r}")
            path = self._samples[asked.sample]
            return _Found(path, path.name, f"/api/image/sample/{asked.sample}")
        given = self._uploads.get(asked.upload)
        return _Found(given.path, given.name, f"/api/image/upload/{given.id}")

    def _loaded(self, job: Job) -> dict[str, Any]:
        """Load the model; why that fails is told to every job that comes after."""
        from molyneux.explain.run import model_record

        try:
            seeing = self._load()
            self._record = model_record(seeing)
            _warm(seeing, self._samples)
            self._seeing = seeing
        except MolyneuxError as error:
            self._failed = str(error)
            raise
        except Exception as error:
            self._failed = f"the model cannot be loaded ({type(error).__name__})"
            raise
        return {}

    def _answered(self, job: Job, asked: Asked) -> dict[str, Any]:
        """Do what was asked, and look before every pass of the model whether it is still wanted."""
        if self._seeing is None:
            raise UsageError(self._failed or "the model is not loaded")
        from molyneux.hooks import edit

        def look(_: str, values: Tensor) -> Tensor:
            job.go_on()
            return values

        model = self._seeing.language_model
        with edit({"": model.down_projection(0)}, look):
            if isinstance(asked, AskCaption):
                return self._caption(job, asked)
            if isinstance(asked, AskExplain):
                return self._explain(job, asked)
            if isinstance(asked, AskChange):
                return self._change(job, asked)
            return self._transplant(job, asked)

    def _see(self, job: Job, found: _Found, fraction: float) -> _Kept:
        """Return a photo's caption, written now or before."""
        from molyneux.models.captioned import caption_photo
        from molyneux.vision.photo import photo_sha256

        kept = self._kept.get(found.address)
        if kept is None:
            job.go_on(f"captioning {found.name}", fraction)
            kept = _Kept(caption_photo(self._model, found.path), photo_sha256(found.path))
            self._kept[found.address] = kept
            while len(self._kept) > KEPT_PHOTOS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(found.address)
        return kept

    @property
    def _model(self) -> SeeingModel:
        assert self._seeing is not None
        return self._seeing

    def _caption(self, job: Job, asked: AskCaption) -> dict[str, Any]:
        found = self._find(asked.photo)
        kept = self._see(job, found, 0.1)
        said = kept.captioned.answer(self._model.language_model, _nouns(kept))
        return {
            "caption": kept.captioned.caption,
            "words": _probabilities(
                self._model.language_model, _nouns(kept), {"probability": said}
            ),
            "next": said.next,
            "grid": self._grid,
            "photo": found.address,
        }

    def _explain(self, job: Job, asked: AskExplain) -> dict[str, Any]:
        from molyneux.explain.photo import explain_photo
        from molyneux.explain.settings import Settings

        found = self._find(asked.photo)
        key = (found.address, asked.words)
        if key in self._explained:
            self._explained.move_to_end(key)
            return self._explained[key]
        job.go_on(f"explaining {found.name}", 0.1)
        settings = Settings(words=asked.words, grid=GRID)
        explanation = explain_photo(self._model, found.path, settings, on_stage=job.go_on)
        assert self._record is not None
        shown = photo_view.photo(
            self._record,
            settings.of_model(self._model.language_model.n_units).record(),
            replace(explanation.image, path=found.name),
            {name: each.numpy() for name, each in explanation.fields.items()},
        )
        self._explained[key] = shown | {"photo": found.address}
        while len(self._explained) > KEPT_ANSWERS:
            self._explained.popitem(last=False)
        return self._explained[key]

    def _change(self, job: Job, asked: AskChange) -> dict[str, Any]:
        from molyneux.models.captioned import answer
        from molyneux.neurons.ablation import Intervention, Scaled
        from molyneux.neurons.checks import as_units
        from molyneux.neurons.rankings import random_units

        found = self._find(asked.photo)
        kept = self._see(job, found, 0.1)
        model = self._model.language_model
        if isinstance(asked.units, UnitSetAsked):
            units = self._chosen(job, kept, asked.units)
        else:
            units = as_units(model, [name.rstrip("+-") for name in asked.units])
        units = list(dict.fromkeys(units))
        value = Scaled(asked.value.scale) if isinstance(asked.value, ScaledBy) else asked.value
        drawn = random_units(units, model.d_mlp, set(units), seed=0)
        beside = [unit for unit in drawn if unit is not None]
        job.go_on("writing the caption again", 0.6)
        ask = asked.ask or _nouns(kept)
        before = kept.captioned.answer(model, ask)
        changes = [Intervention(each, asked.positions, value) for each in (units, beside)]
        after, random = answer(self._model, kept.captioned, changes, ask)
        return {
            "caption": after.caption,
            "before": kept.captioned.caption,
            "units": [str(unit) for unit in units],
            "probabilities": _probabilities(
                model, ask, {"before": before, "after": after, "random": random}
            ),
            "next": {"before": before.next, "after": after.next},
            "random": {"caption": random.caption, "units": len(beside)},
            "photo": found.address,
        }

    def _transplant(self, job: Job, asked: AskTransplant) -> dict[str, Any]:
        from molyneux.models.transplant import Beside, transplant

        source, into = self._find(asked.source), self._find(asked.into)
        first, second = self._see(job, source, 0.1), self._see(job, into, 0.3)
        ask = asked.ask or tuple(dict.fromkeys((*_nouns(first), *_nouns(second))))
        job.go_on(f"putting units of {source.name} into {into.name}", 0.5)
        found = transplant(
            self._model,
            first.captioned,
            second.captioned,
            asked.units
            if isinstance(asked.units, str)
            else [name.rstrip("+-") for name in asked.units],
            asked.patches,
            ask=ask,
            controls=True,
        )

        def beside(one: Beside | None) -> dict[str, Any] | None:
            if one is None:
                return None
            named = {} if one.name is None else {"name": one.name, "shows": one.shows}
            return {"caption": one.answer.caption, "edit_norm": one.edit_norm, **named}

        answers = {"before": found.as_it_is, "after": found.answer}
        answers |= {} if found.random is None else {"random": found.random.answer}
        answers |= {} if found.third is None else {"third": found.third.answer}
        return {
            "before": found.before,
            "from": first.captioned.caption,
            "caption": found.caption,
            "units": found.units,
            "edit_norm": found.edit_norm,
            "random": beside(found.random),
            "third": beside(found.third),
            "probabilities": _probabilities(self._model.language_model, ask, answers),
            "next": {"before": found.as_it_is.next, "after": found.answer.next},
            "grid": self._grid,
            "photos": {"from": source.address, "into": into.address},
        }

    def _chosen(self, job: Job, kept: _Kept, asked: UnitSetAsked) -> list[Unit]:
        """Return the first units of a ranking or a control.

        Raises:
            UsageError: there is no such set, the caption has no noun and no word was named, or
                the set cannot be made without a reference table.
        """
        from molyneux.explain.ranked import rank_word

        if asked.set not in UNIT_SETS:
            known = ", ".join(dict.fromkeys(row.name for row in UNIT_SETS.values()))
            raise UsageError(f"there is no set {asked.set!r}; there are {known}")
        nouns = _nouns(kept)
        if asked.word is not None and not asked.word.strip():
            raise UsageError(NO_WORD)
        word = (asked.word or (nouns[0] if nouns else "")).lower()
        if not word:
            raise UsageError("the caption has no noun; name a word whose units are meant")
        contrast = "behind" in UNIT_SETS[asked.set].needs
        if (word, contrast) not in kept.ranked:
            job.go_on(f"scoring units for “{word}”", 0.3)
            kept.ranked[word, contrast] = rank_word(
                self._model, kept.captioned, word, kept.digest, contrast=contrast
            )
        ranked = kept.ranked[word, contrast][asked.view]
        if not ranked.has(asked.set):
            raise UsageError(
                f"the set {asked.set!r} cannot be made here: it needs a reference table, a first "
                "noun, or the other view"
            )
        return ranked.first(asked.set, asked.top)

    @property
    def _grid(self) -> list[int] | None:
        grid = self._model.encoder.grid
        return [grid.rows, grid.columns] if grid.has_patches else None


def _warm(seeing: SeeingModel, photos: Mapping[str, Path]) -> None:
    """Have a model see a photo once: what it builds at its first pass, no visitor waits for."""
    from molyneux.neurons.sinks import patch_norms

    for path in list(photos.values())[:1]:
        # What cannot be done is said where it is asked for.
        with suppress(Exception):
            patch_norms(seeing.language_model, seeing.see([path]))


def _nouns(kept: _Kept) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.word for word in kept.captioned.sentence.words))


def _probabilities(
    model: LanguageModel, words: Sequence[str], answers: Mapping[str, Answer]
) -> list[dict[str, Any]]:
    """Return how likely each word is; of a word of several tokens also its first, which is read."""
    from molyneux.neurons.targets import require_tokens

    rows = []
    for n, word in enumerate(words):
        tokens = require_tokens(model, word)
        first = model.decode(tokens[:1]) if len(tokens) > 1 else None
        each = {name: answer.probabilities[n] for name, answer in answers.items()}
        rows.append({"word": word, "token": first, **each})
    return rows
