"""A model that sees, as a researcher works with it: load, caption, explain, decode, switch off.

What stands below it is public too; this is the short way to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.checks import path_of, shown, text_of, whole_number
from molyneux.errors import UsageError
from molyneux.models.choice import ModelChoice

if TYPE_CHECKING:
    from molyneux.adapters.language_model import LanguageModel
    from molyneux.explain.explanation import Explanation
    from molyneux.explain.settings import Settings
    from molyneux.models.captioned import Answer
    from molyneux.models.seeing_model import SeeingModel
    from molyneux.models.transplant import Transplanted
    from molyneux.neurons.ablation import Intervention, Positions, Value
    from molyneux.neurons.decoding import Decoded
    from molyneux.neurons.unit import Unit
    from molyneux.vision.photo import Photo, Photos


def load(
    preset: str | None = None,
    *,
    language_model: str | os.PathLike[str] | None = None,
    encoder: str | os.PathLike[str] | None = None,
    projection: str | os.PathLike[str] | None = None,
    vlm: str | os.PathLike[str] | None = None,
    reference: str | os.PathLike[str] | None = None,
    trust: str | os.PathLike[str] | None = None,
    prompt: str | None = None,
    centre: int | None = None,
    decoding: str | None = None,
    lens: str | os.PathLike[str] | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Model:
    """Return a model that sees: a preset, parts joined by a projection, or a vision-language model.

    Args:
        preset: a name that `molyneux models` lists; the default preset if nothing is named.
        language_model: a folder, a GGUF file or a hub name; goes with `encoder` and `projection`.
        encoder: a folder or hub name.
        projection: a file that training wrote; with a preset, instead of its own.
        vlm: a vision-language model's folder or hub name, instead of all these.
        reference: a reference table measured on this model, instead of the preset's.
        trust: a trust scale measured on this model, instead of the preset's.
        prompt: with `vlm`, what it continues, `{image}` standing for the photo.
        centre: with `vlm`, sides in pixels of the central square that is shown, in families that
            keep every photo's shape.
        decoding: what takes part when units are decoded, of `final_norm,bias,written`; `plain` for
            the bare row.
        lens: what units are decoded through instead: `none` (the head alone), `norm` (through the
            final norm), `jacobian` (the preset's, if it has one), or a file of `molyneux lens`.
        dtype: of the language model: float32, bfloat16 or float16.
        device: cpu, cuda, auto or split.

    Raises:
        UsageError: more than one model is named, parts do not make a whole, or an argument is none
            of its choices.
        WeightsError: weights are missing, corrupt, or do not belong together.
        AdapterError: the model's family is not known, or its row does not describe it.
    """
    choice = ModelChoice(
        preset=_text("preset", preset),
        language_model=_text("language_model", language_model),
        encoder=_text("encoder", encoder),
        projection=_path("projection", projection),
        vlm=_text("vlm", vlm),
        prompt=_text("prompt", prompt),
        centre=centre,
        decoding=_text("decoding", decoding),
        lens=None if lens is None else str(_path("lens", lens)),
        dtype=dtype,
        device=device,
        reference=_path("reference", reference),
        trust=_path("trust", trust),
    )
    return Model(choice.load())


@dataclass(frozen=True, repr=False)
class Model:
    """A language model that sees, and what can be asked of it.

    Attributes:
        seeing: the model itself: a `Captioner` or a `VisionLanguageModel`, for whatever is not
            here.
    """

    seeing: SeeingModel

    @property
    def language_model(self) -> LanguageModel:
        """The language model, with the places of its units."""
        return self.seeing.language_model

    def __repr__(self) -> str:
        """Name the parts and the number of units."""
        model, names = self.language_model, self.seeing.names
        parts = " + ".join(dict.fromkeys(names.values()))
        table = "with" if self.seeing.reference is not None else "without"
        return (
            f"<Model {self.seeing.preset or parts}: {model.n_units:,} units in {model.n_layers} "
            f"layers, {table} a reference table>"
        )

    def caption(self, photo: Photo) -> str:
        """Return the greedy caption of one photo, without the prompt's text.

        Raises:
            PhotoError: the photo cannot be read.
        """
        return self.caption_all([photo])[0]

    def caption_all(self, photos: Photos) -> list[str]:
        """Return the greedy captions of several photos.

        Raises:
            PhotoError: a photo cannot be read.
            UsageError: there is none.
        """
        return _captions(self.seeing, photos)

    def explain(self, photo: Photo, **asked: Any) -> Explanation:
        """Return a photo's caption, words, units, heat maps and ablation curves; writes no file.

        Args:
            photo: a file's name, a PIL image, or one photo's pixels in an array or a tensor.
            asked: what `Settings` takes, such as `words=["dog"]`, `top=20` or `ablate="none"`.

        Raises:
            PhotoError: the photo cannot be read.
            UsageError: there is no such setting, or a setting is none of its choices.
        """
        from molyneux.explain.photo import explain_photo
        from molyneux.explain.settings import Settings

        known = Settings.__dataclass_fields__
        for name in asked:
            if name not in known:
                raise UsageError(f"explain has no setting {name!r}; there are {', '.join(known)}")
        return explain_photo(self.seeing, photo, Settings(**asked))

    def without(
        self,
        units: str | Unit | Iterable[str | Unit],
        value: Value = 0.0,
        *,
        positions: Positions = "all",
    ) -> Changed:
        """Return the model with units given another value whenever it sees or writes.

        Args:
            units: their names, as `L12.u905`, or `Unit`s; one or several.
            value: a number; `"mean"`, over the photo's patches; `Scaled(2.0)`; or a tensor of a
                value for each unit (layers, d_mlp).
            positions: `all`, those of the tokens it writes too, or the `patches`.

        Raises:
            UsageError: the model has no such unit, or positions or value are none of these.
        """
        from molyneux.neurons.ablation import Intervention
        from molyneux.neurons.checks import as_units

        chosen = as_units(self.language_model, _listed(units))
        return Changed(self.seeing, Intervention(chosen, positions, value))

    def transplant(
        self,
        from_photo: Photo,
        *,
        into: Photo,
        units: str | Unit | Iterable[str | Unit] = "change",
        patches: Sequence[int] | None = None,
        ask: Sequence[str] = (),
        controls: bool = False,
    ) -> Transplanted:
        """Return what is written behind `into` with the values that units have at `from_photo`.

        They are written at every layer at once, into the same patches.

        Args:
            units: `change`, the 5 % whose activation in `from_photo` is farthest from what it is
                in reference photos, whatever the word; `all` but the last layer's; or names or
                `Unit`s.
            patches: the numbers of those to be written into, row by row from 0; all if None.
            ask: words whose probability is wanted, before and after.
            controls: whether random units, and a third photo's values, are tried as well.

        Raises:
            PhotoError: a photo cannot be read.
            UsageError: there is no such unit or patch, the photos have different numbers of
                patches, no reference table says what is usual, or a word begins with a blank token.
        """
        from molyneux.models.transplant import transplant

        if not isinstance(units, str) or units not in ("change", "all"):
            units = _listed(units)
        return transplant(self.seeing, from_photo, into, units, patches, ask=ask, controls=controls)

    def ask(self, photo: Photo, words: Sequence[str]) -> Answer:
        """Return the caption of a photo, and how likely words are where its first noun stands.

        Raises:
            PhotoError: the photo cannot be read.
            UsageError: a word is empty, or begins with a blank token.
        """
        from molyneux.models.captioned import caption_photo

        return caption_photo(self.seeing, photo).answer(self.language_model, words)

    def decode(
        self, units: str | Unit | Iterable[str | Unit], *, top: int = 10
    ) -> Decoded | list[Decoded]:
        """Return the tokens that a unit raises and lowers most, as the model decodes units.

        Args:
            units: a name or `Unit`, for which one answer is returned, or several. `L12.u905-` is
                what it writes when its activation is negative.
            top: how many tokens.

        Raises:
            UsageError: the model has no such unit, or `top` is below 1.
        """
        from molyneux.neurons.checks import as_signed_units
        from molyneux.neurons.decoding import decode_units

        chosen = as_signed_units(self.language_model, _listed(units))
        rule = self.seeing.decoding
        found = decode_units(
            self.language_model,
            [unit for unit, _ in chosen],
            [sign for _, sign in chosen],
            top=whole_number("top", top, least=1),
            final_norm=rule.final_norm,
            bias=rule.bias,
            lens=self.seeing.lens,
        )
        return found[0] if _is_one(units) else found

    def find(self, word: str, *, top: int = 20) -> list[Decoded]:
        """Return the units in whose writing a word ranks highest, with the tokens they raise.

        Of a word of several tokens, the first counts.

        Raises:
            UsageError: the word is empty, or `top` is below 1.
        """
        from molyneux.neurons.decoding import decode_units, find_writers
        from molyneux.neurons.targets import require_tokens

        rule, model = self.seeing.decoding, self.language_model
        token = require_tokens(model, text_of("word", word, "find('water')"))[0]
        found = find_writers(
            model,
            token,
            top=whole_number("top", top, least=1),
            final_norm=rule.final_norm,
            lens=self.seeing.lens,
        )
        return decode_units(
            model,
            [unit for unit, _, _ in found],
            [sign for _, sign, _ in found],
            final_norm=rule.final_norm,
            bias=rule.bias,
            lens=self.seeing.lens,
        )


@dataclass(frozen=True, repr=False)
class Changed:
    """A model some of whose units have another value, whatever it sees.

    Attributes:
        seeing: the model, which is itself unchanged.
        intervention: what is done to it.
    """

    seeing: SeeingModel
    intervention: Intervention

    def __repr__(self) -> str:
        """Say how many units are changed, where, and to what."""
        chosen = self.intervention
        number = int(chosen.mask(self.seeing.language_model).sum())
        return f"<{number} units set to {chosen.value} at {chosen.positions}>"

    def caption(self, photo: Photo) -> str:
        """Return the caption that is written so, without the prompt's text."""
        return self.caption_all([photo])[0]

    def caption_all(self, photos: Photos) -> list[str]:
        """Return the captions of several photos that are written so."""
        return _captions(self.seeing, photos, self.intervention)

    def ask(self, photo: Photo, words: Sequence[str]) -> Answer:
        """Return what is written of a photo so, and how likely words are.

        They are asked for where the caption of the model as it is has its first noun, after the
        same text.

        Raises:
            PhotoError: the photo cannot be read.
            UsageError: a word is empty, or begins with a blank token.
        """
        from molyneux.models.captioned import answer, caption_photo

        captioned = caption_photo(self.seeing, photo)
        return answer(self.seeing, captioned, [self.intervention], words)[0]


def _captions(
    seeing: SeeingModel, given: Photos, intervention: Intervention | None = None
) -> list[str]:
    from molyneux.neurons.ablation import intervened
    from molyneux.vision.photo import as_photos

    photos = as_photos(given)
    model, prompt = seeing.language_model, seeing.see(photos)
    if intervention is None:
        written = seeing.write(prompt)
    else:
        with intervened(model, [intervention] * len(photos), prompt.patches):
            written = seeing.write(prompt)
    return [model.decode(token_ids).strip() for token_ids in written]


def _settings(asked: dict[str, Any]) -> Settings:
    from molyneux.explain.settings import Settings

    known = Settings.__dataclass_fields__
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise UsageError(f"explain has no setting {unknown[0]!r}; there are {', '.join(known)}")
    return Settings(**asked)


def _is_one(units: Any) -> bool:
    from molyneux.neurons.unit import Unit

    return isinstance(units, (str, Unit))


def _listed(units: Any) -> list[Any]:
    if _is_one(units):
        return [units]
    try:
        found = list(units)
    except TypeError as error:
        said = f"{shown(units)} is no unit; give a name, as L12.u905, or Unit(12, 905)"
        raise UsageError(said) from error
    if not found:
        raise UsageError("no unit was given; name one, as L12.u905")
    return found


def _text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, (str, os.PathLike)):
        return None if value is None else os.fspath(value)
    raise UsageError(f"{name} is a name or a path, not {shown(value)}")


def _path(name: str, value: Any) -> Path | None:
    return None if value is None else path_of(name, value)
