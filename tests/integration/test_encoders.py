"""Every encoder family on a tiny random checkpoint: patches where they belong, and captions."""

from __future__ import annotations

import copy
import functools
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from claims import ABLATION, CAPTION, DIFFERENCES, Claim
from docs_tables import DOCS, markdown, require
from PIL import Image
from subjects import captioner_of, of_encoder
from tiny_encoders import (
    D_FEATURES,
    KINDS,
    MAPS,
    PATCH,
    SIDE,
    noisy_photos,
    reference_pixels,
    write_checkpoint,
)
from tiny_models import count_hooks, weights_hash

from molyneux.adapters import registry
from molyneux.adapters.encoder_families import ENCODER_FAMILIES, EncoderFamily
from molyneux.adapters.registry import find_encoder_family
from molyneux.checkpoints.encoders import load_encoder
from molyneux.errors import UsageError
from molyneux.explain.photo import explain_photo
from molyneux.explain.run import explain_photos
from molyneux.explain.settings import Settings
from molyneux.neurons.receptive_fields import receptive_fields
from molyneux.neurons.unit import Unit
from molyneux.pages.one_file import write_report
from molyneux.records import to_plain
from molyneux.vision.encoder import ImageEncoder, PatchGrid, prepare_pixels
from molyneux.vision.transformers_encoder import TransformersEncoder

PAGE = DOCS / "encoders.md"
CLAIMS = (CAPTION, DIFFERENCES, ABLATION)
every_kind = pytest.mark.parametrize("kind", KINDS)
tokens_only = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in MAPS])
SIDE_OF_MAP = SIDE // 8  # two stages: 4 x 2


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Load a tiny checkpoint of a kind, written once."""
    folder = tmp_path_factory.mktemp("encoders")

    @functools.cache
    def checkpoint(kind: str) -> Path:
        return write_checkpoint(folder / kind, kind)

    def encoder(kind: str, **options: Any) -> TransformersEncoder:
        return load_encoder(checkpoint(kind), **options)

    encoder.folder = checkpoint  # type: ignore[attr-defined]
    return encoder


def photos() -> list[Image.Image]:
    return noisy_photos((100, 80), (61, 97), (64, 64))


@torch.no_grad()
def moved(encoder: Any) -> torch.Tensor:
    """How far every cell's feature moves (columns) where the pixels of one cell change (rows)."""
    grid, side = encoder.grid, SIDE // encoder.grid.rows
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(3, side, side, generator=torch.Generator().manual_seed(1))
    changed = pixels.repeat(grid.n_patches, 1, 1, 1)
    for cell, photo in enumerate(changed):
        row, column = grid.place(cell)
        photo[:, row * side : (row + 1) * side, column * side : (column + 1) * side] = noise
    return (encoder.encode(changed) - encoder.encode(pixels)).norm(dim=2)


def cells_in_place(encoder: Any, within: int = 0) -> int:
    """Return of how many cells the feature, or that of a cell `within` some, moves furthest."""
    furthest = moved(encoder).argmax(dim=1).tolist()
    places = [
        (encoder.grid.place(cell), encoder.grid.place(to)) for cell, to in enumerate(furthest)
    ]
    return sum(max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= within for a, b in places)


def pixels_off(encoder: Any, folder: Path) -> float:
    """Return how far pixels are from those of transformers' own image processor."""
    expected = reference_pixels(folder, photos())
    return float((prepare_pixels(encoder, photos()) - expected).abs().max())


PIXELS = Claim("pixels", pixels_off, 0, "to the bit")


@pytest.fixture(scope="module")
def claimed(load: Any) -> Any:
    """Measure a claim of a tiny Llama that sees through an encoder of a kind, once."""

    @functools.cache
    def measured(kind: str, claim: Claim) -> float:
        return claim.measure(of_encoder(load(kind), photos()[0], claim.dtype))

    return measured


# Every family


@every_kind
def test_shape_and_determinism(load: Any, kind: str) -> None:
    encoder = load(kind)
    assert isinstance(encoder, ImageEncoder)
    side = SIDE_OF_MAP if kind in MAPS else SIDE // PATCH
    assert encoder.grid == PatchGrid(side, side)
    assert encoder.d_features == D_FEATURES
    assert find_encoder_family(kind).name == encoder.family.name
    before = weights_hash(encoder.network)
    pixels = prepare_pixels(encoder, photos())
    features = encoder.encode(pixels)
    assert features.shape == (3, side * side, D_FEATURES)
    assert not features.requires_grad
    assert not encoder.network.training
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())
    assert torch.equal(encoder.encode(pixels), features)
    torch.testing.assert_close(load(kind).encode(pixels), features)  # in other memory
    alone = torch.cat([encoder.encode(pixel[None]) for pixel in pixels])
    torch.testing.assert_close(alone, features, rtol=1e-4, atol=1e-5)
    assert weights_hash(encoder.network) == before
    assert count_hooks(encoder.network) == count_hooks(load(kind).network)


@every_kind
def test_pixels_are_those_of_the_checkpoint_s_own_processor(load: Any, kind: str) -> None:
    assert PIXELS.holds(pixels_off(load(kind), load.folder(kind)))


def test_pixels_of_another_processor_are_others(load: Any) -> None:
    assert not PIXELS.holds(pixels_off(load("beit"), load.folder("clip")))


@every_kind
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.title)
def test_what_is_claimed_through_every_encoder(claimed: Any, kind: str, claim: Claim) -> None:
    """That it can fail is shown with the language models."""
    found = claimed(kind, claim)
    assert claim.holds(found), found


@tokens_only
def test_class_token_and_registers_are_dropped(load: Any, kind: str) -> None:
    """They are what the network puts ahead: the same whatever the photo, before any layer."""
    encoder = load(kind)
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    options = {"noise": torch.arange(16).expand(2, -1)} if kind == "vit_mae" else {}
    with torch.no_grad():
        output = encoder.network(pixels, output_hidden_states=True, **options)
    expected = {"siglip": 0, "siglip_vision_model": 0, "dinov2_with_registers": 4}.get(kind, 1)
    differ = (output.hidden_states[0][0] != output.hidden_states[0][1]).any(dim=1)
    assert differ.tolist() == [False] * expected + [True] * 16
    torch.testing.assert_close(encoder.encode(pixels), output.last_hidden_state[:, expected:])


@tokens_only
def test_tokens_are_in_raster_order(load: Any, kind: str) -> None:
    """Alone where patches are embedded; in the output the patch itself changes most."""
    embedded = moved(load(kind, layer=0))
    # A batch of 16 less a batch of one: others move by their rounding.
    assert torch.equal(embedded > 1e-4, torch.eye(len(embedded)) > 0)
    assert cells_in_place(load(kind)) == load(kind).grid.n_patches


@pytest.mark.parametrize("kind", MAPS)
def test_maps_are_in_raster_order(load: Any, kind: str) -> None:
    """The cell changes most, or (its convolutions overlap) one of those that touch it."""
    encoder = load(kind)
    assert cells_in_place(encoder, within=1) == encoder.grid.n_patches
    change = moved(encoder)
    places = torch.tensor([encoder.grid.place(cell) for cell in range(len(change))]).float()
    centres = change @ places / change.sum(dim=1, keepdim=True)
    assert (centres - places).abs().max() < 2


def test_patches_in_another_order_are_noticed(load: Any) -> None:
    """Numbered by columns: only the cells of the diagonal stay in place."""
    encoder = copy.copy(load("vit"))
    columns_first = torch.arange(16).reshape(4, 4).T.flatten()
    encode = encoder.encode
    encoder.encode = lambda pixels: encode(pixels)[:, columns_first]
    assert cells_in_place(encoder) == 4


@every_kind
def test_random_weights_of_every_family(load: Any, kind: str) -> None:
    trained, random = load(kind), load(kind, random=True)
    assert random.name == f"random:{kind} seed 0"
    assert random.grid == trained.grid
    assert weights_hash(random.network) == weights_hash(load(kind, random=True).network)
    assert random.sha256 != trained.sha256


@every_kind
def test_a_layer_before_the_last(load: Any, kind: str) -> None:
    encoder = load(kind, layer=-2)
    features = encoder.encode(prepare_pixels(encoder, photos()))
    assert features.shape == (3, encoder.grid.n_patches, encoder.d_features)
    assert encoder.name == f"{kind} layer 1"


# End to end


@every_kind
def test_captions_end_to_end(load: Any, kind: str) -> None:
    encoder = load(kind)
    captioner = captioner_of(encoder)
    before = weights_hash(encoder.network)
    captions = captioner.caption_all(photos())
    assert all(captions)
    assert captions == captioner.caption_all(photos())
    prompt = captioner.see(photos())
    assert prompt.patches == slice(1, 1 + encoder.grid.n_patches)
    assert weights_hash(encoder.network) == before


@pytest.mark.parametrize("kind", ["beit", "clip", "convnext"])
def test_explaining_end_to_end(load: Any, kind: str, tmp_path: Path) -> None:
    captioner = captioner_of(load(kind))
    files = []
    for number, photo in enumerate(photos()[:2]):
        files.append(tmp_path / f"{number}.png")
        photo.save(files[-1])
    settings = Settings(grid=[0, 5], top=6, words=("dog",), ablate="none")
    run = explain_photos(captioner, files, settings, tmp_path / "run")
    document = run.document()
    side = captioner.encoder.grid.rows
    for image in document.images:
        assert image.error is None
        assert image.grid == (side, side)
        for word in image.words:
            for unit in word.rankings["raw"].patches:
                assert unit.peak_patch is not None
                assert all(0 <= place < side for place in unit.peak_patch)
    with Image.open(io.BytesIO((run.folder / "photos" / "0.jpg").read_bytes())) as shown:
        assert shown.width == shown.height
    assert write_report(run.folder).is_file()


# Without a patch grid


class Pooled:
    """One vector for the whole photo: the mean over another encoder's patches."""

    def __init__(self, inner: TransformersEncoder) -> None:
        self.inner = inner
        self.name = "pooled"
        self.grid = PatchGrid(1, 1)
        self.d_features = inner.d_features
        self.preprocessing = inner.preprocessing

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.inner.encode(pixels).mean(dim=1, keepdim=True)


def test_one_cell_is_no_grid() -> None:
    assert not PatchGrid(1, 1).has_patches
    assert PatchGrid(1, 2).has_patches
    with pytest.raises(UsageError, match="no patch grid") as error:
        receptive_fields(torch.ones(1, 1, 3), [Unit(0, 0)], [1], PatchGrid(1, 1))
    assert "\n" not in str(error.value)


def test_a_pooled_output_is_expressed_by_its_row(load: Any) -> None:
    """A map of one cell and a plain vector both give one image prompt."""
    network = load("resnet").network
    row = find_encoder_family("resnet")
    pooled = EncoderFamily(**{**vars(row), "output": "pooler_output"})
    encoder = TransformersEncoder(network, pooled, load("resnet").preprocessing, name="pooled")
    assert encoder.grid == PatchGrid(1, 1)
    network = load("clip").network
    row = find_encoder_family("clip")
    pooled = EncoderFamily(**{**vars(row), "output": "pooler_output"})
    encoder = TransformersEncoder(network, pooled, load("clip").preprocessing, name="pooled")
    assert encoder.grid == PatchGrid(1, 1)
    assert encoder.encode(torch.rand(2, 3, SIDE, SIDE)).shape == (2, 1, D_FEATURES)
    assert captioner_of(encoder).caption_all(photos())


def test_explaining_without_a_grid_leaves_the_maps_out_and_says_so(
    load: Any, tmp_path: Path
) -> None:
    captioner = captioner_of(Pooled(load("vit")))
    path = tmp_path / "photo.png"
    photos()[0].save(path)
    settings = Settings(grid=[0, 5], top=6, words=("dog",))
    explanation = explain_photo(captioner, path, settings)
    assert explanation.fields == {}
    assert "no heat maps: the encoder has no patch grid" in str(explanation.image.note)
    word = explanation.image.words[0]
    assert len(word.rankings["raw"].patches) == 6
    assert "peak_patch" not in to_plain(word.rankings["raw"].patches[0])
    assert word.ablation is not None
    assert word.ablation.top[0] == pytest.approx(1.0, abs=1e-5)
    run = explain_photos(captioner, [path], settings, tmp_path / "run")
    assert "no patch grid" in write_report(run.folder).read_text()


# Documentation


def facts(family: EncoderFamily) -> tuple[str, ...]:
    """Return what a row says."""
    ahead = "a map, no tokens" if family.is_map else f"{family.leading or 'no'} token"
    if family.registers:
        ahead += f" + `{family.registers}`"
    note = family.limits
    if family.ordered_noise:
        note = "; ".join(filter(None, [note, "its masking and shuffling are switched off"]))
    return (
        family.name,
        ", ".join(f"`{model_type}`" for model_type in family.model_types),
        family.processor,
        ahead,
        f"`{family.output}`",
        note,
        f"`{family.example}`, {family.example_mb:,}",
    )


def test_the_docs_hold_exactly_the_facts(request: pytest.FixtureRequest) -> None:
    where = ("family", "`model_type`", "image processor", "ahead of the patches")
    head = (*where, "features", "note", "example, about MB")
    require(PAGE, "families", markdown(head, map(facts, ENCODER_FAMILIES)), request)


def test_the_docs_hold_exactly_what_was_measured(
    load: Any, claimed: Any, request: pytest.FixtureRequest
) -> None:
    def row(family: EncoderFamily) -> tuple[str, ...]:
        kinds = [kind for kind in KINDS if kind in family.model_types]
        assert set(kinds) == set(family.model_types)
        encoders = [load(kind) for kind in kinds]
        within = 1 if family.is_map else 0
        placed = sum(cells_in_place(encoder, within) for encoder in encoders)
        cells = sum(encoder.grid.n_patches for encoder in encoders)
        return (
            family.name,
            str(len(kinds)),
            PIXELS.cell(pixels_off(load(kind), load.folder(kind)) for kind in kinds),
            f"{placed} of {cells}" + (", within a cell" if within else ""),
            *(claim.cell(claimed(kind, claim) for kind in kinds) for claim in CLAIMS),
        )

    ahead = ("family", "tiny encoders", PIXELS.title, "patches in place")
    head = (*ahead, *(claim.title for claim in CLAIMS))
    require(PAGE, "claims", markdown(head, map(row, ENCODER_FAMILIES)), request)


def test_the_documentation_s_new_family_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Any
) -> None:
    import re

    import transformers

    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
        if "register_encoder_family" in block
    )
    assert len(code.splitlines()) < 20
    rows = list(ENCODER_FAMILIES)
    monkeypatch.setattr(registry, "ENCODER_FAMILIES", rows)
    config = transformers.ViTMSNConfig(
        hidden_size=D_FEATURES,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=SIDE,
        patch_size=PATCH,
    )
    folder = tmp_path / "my-vit-msn"
    transformers.ViTMSNModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"size": 64}')
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    assert names["encoder"].grid == PatchGrid(4, 4)
    assert all(captioner_of(names["encoder"]).caption_all(photos()))
