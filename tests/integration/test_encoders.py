"""Every encoder family on a tiny random checkpoint: patches where they belong, and captions."""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
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
from tiny_models import BEGIN, D_MODEL, count_hooks, tiny_model, tiny_tokenizer, weights_hash

from molyneux.errors import UsageError
from molyneux.explain.photo import Settings, explain_photo
from molyneux.explain.run import explain_photos
from molyneux.models.captioner import Captioner
from molyneux.models.encoders import load_encoder
from molyneux.neurons.receptive_fields import receptive_fields
from molyneux.neurons.unit import Unit
from molyneux.report.page import write_report
from molyneux.store import Run
from molyneux.vision import encoder_families
from molyneux.vision.encoder import ImageEncoder, PatchGrid, prepare_pixels
from molyneux.vision.encoder_families import ENCODER_FAMILIES, EncoderFamily, find_encoder_family
from molyneux.vision.layout import Layout
from molyneux.vision.projection import random_projection
from molyneux.vision.transformers_encoder import TransformersEncoder

DOCS = Path(__file__).parents[2] / "docs" / "encoders.md"
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


def seeing(encoder: Any, kind: str = "llama") -> Captioner:
    """A captioner of a tiny language model, the encoder and a random projection."""
    provenance = {
        "language_model": f"tiny-{kind}",
        "encoder": encoder.name,
        "layout": Layout(BEGIN).record(),
    }
    projection = random_projection(encoder.d_features, D_MODEL, 6.0, provenance)
    return Captioner.from_parts(tiny_model(kind), tiny_tokenizer(), encoder, projection)


def photos() -> list[Image.Image]:
    return noisy_photos((100, 80), (61, 97), (64, 64))


def with_change(row: int, column: int, side: int) -> torch.Tensor:
    """A photo, and the same with other pixels in one square of a grid."""
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    changed = pixels.clone()
    rows, columns = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
    noise = torch.randn(3, side, side, generator=torch.Generator().manual_seed(1))
    changed[0, :, rows, columns] = noise
    return torch.cat([pixels, changed])


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
    assert torch.equal(load(kind).encode(pixels), features)
    alone = torch.cat([encoder.encode(pixel[None]) for pixel in pixels])
    torch.testing.assert_close(alone, features, rtol=1e-4, atol=1e-5)
    assert weights_hash(encoder.network) == before
    assert count_hooks(encoder.network) == count_hooks(load(kind).network)


@every_kind
def test_pixels_are_those_of_the_checkpoint_s_own_processor(load: Any, kind: str) -> None:
    found = prepare_pixels(load(kind), photos())
    assert torch.equal(found, reference_pixels(load.folder(kind), photos()))


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
    assert torch.equal(encoder.encode(pixels), output.last_hidden_state[:, expected:])


@tokens_only
@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 3), (1, 2), (2, 1), (3, 0), (3, 3)])
def test_tokens_are_in_raster_order(load: Any, kind: str, row: int, column: int) -> None:
    """Exactly where patches are embedded; in the output the patch itself changes most."""
    pixels = with_change(row, column, PATCH)
    place = 4 * row + column
    embedded = load(kind, layer=0).encode(pixels)
    change = (embedded[1] - embedded[0]).abs().amax(dim=1)
    assert change.argmax() == place
    change[place] = 0
    assert not change.any()
    features = load(kind).encode(pixels)
    assert (features[1] - features[0]).norm(dim=1).argmax() == place


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 6), (2, 5), (5, 2), (7, 7)])
def test_maps_are_in_raster_order(load: Any, kind: str, row: int, column: int) -> None:
    """The cell changes most, or (its convolutions overlap) one of those that touch it."""
    encoder = load(kind)
    features = encoder.encode(with_change(row, column, SIDE // SIDE_OF_MAP))
    change = (features[1] - features[0]).norm(dim=1)
    found = encoder.grid.place(int(change.argmax()))
    assert max(abs(found[0] - row), abs(found[1] - column)) <= 1
    y, x = np.mgrid[:SIDE_OF_MAP, :SIDE_OF_MAP]
    weights = (change / change.sum()).reshape(SIDE_OF_MAP, SIDE_OF_MAP).numpy()
    assert abs((weights * y).sum() - row) < 2
    assert abs((weights * x).sum() - column) < 2


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
    captioner = seeing(encoder)
    before = weights_hash(encoder.network)
    captions = captioner.caption_all(photos())
    assert all(captions)
    assert captions == captioner.caption_all(photos())
    prompt = captioner.see(photos())
    assert prompt.patches == slice(1, 1 + encoder.grid.n_patches)
    assert weights_hash(encoder.network) == before


@pytest.mark.parametrize("kind", ["beit", "clip", "convnext"])
def test_explaining_end_to_end(load: Any, kind: str, tmp_path: Path) -> None:
    captioner = seeing(load(kind))
    files = []
    for number, photo in enumerate(photos()[:2]):
        files.append(tmp_path / f"{number}.png")
        photo.save(files[-1])
    run = Run(tmp_path / "run")
    document = explain_photos(
        captioner, files, Settings(grid=[0, 5], top=6, words=("dog",), ablate="none"), run
    )
    side = captioner.encoder.grid.rows
    for image in document["images"]:
        assert image["error"] is None
        assert image["grid"] == [side, side]
        for word in image["words"]:
            for unit in word["units"]["patches"]:
                assert all(0 <= place < side for place in unit["peak_patch"])
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
    assert seeing(encoder).caption_all(photos())


def test_explaining_without_a_grid_leaves_the_maps_out_and_says_so(
    load: Any, tmp_path: Path
) -> None:
    captioner = seeing(Pooled(load("vit")))
    path = tmp_path / "photo.png"
    photos()[0].save(path)
    settings = Settings(grid=[0, 5], top=6, words=("dog",))
    explanation = explain_photo(captioner, path, settings)
    assert explanation.fields == {}
    assert "no heat maps: the encoder has no patch grid" in explanation.document["note"]
    word = explanation.document["words"][0]
    assert len(word["units"]["patches"]) == 6
    assert "peak_patch" not in word["units"]["patches"][0]
    assert word["ablation"]["top"][0] == pytest.approx(1.0, abs=1e-5)
    run = Run(tmp_path / "run")
    explain_photos(captioner, [path], settings, run)
    assert "no patch grid" in write_report(run.folder).read_text()


# Documentation


def table() -> str:
    """The table of families, made from the rows."""
    lines = [
        "| family | `model_type` | image processor | ahead of the patches | features | note | "
        "example, about MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for family in ENCODER_FAMILIES:
        types = ", ".join(f"`{model_type}`" for model_type in family.model_types)
        ahead = "a map, no tokens" if family.is_map else f"{family.leading or 'no'} token"
        if family.registers:
            ahead += f" + `{family.registers}`"
        note = family.limits
        if family.ordered_noise:
            note = "; ".join(filter(None, [note, "its masking and shuffling are switched off"]))
        cells = (
            family.name,
            types,
            family.processor,
            ahead,
            f"`{family.output}`",
            note,
            f"`{family.example}`, {family.example_mb:,}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_table_of_the_documentation_is_made_from_the_rows() -> None:
    """Run with MOLYNEUX_WRITE_DOCS=1 to write it anew."""
    text = DOCS.read_text(encoding="utf-8")
    start, end = "<!-- table of families: made by the tests -->\n", "\n<!-- end of table -->"
    assert text.count(start) == text.count(end) == 1
    head, rest = text.split(start)
    found, tail = rest.split(end)
    if os.environ.get("MOLYNEUX_WRITE_DOCS"):
        DOCS.write_text(head + start + table() + end + tail, encoding="utf-8")
    else:
        assert found == table()


def test_the_documentation_s_new_family_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Any
) -> None:
    import re

    import transformers

    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
        if "register_encoder_family" in block
    )
    assert len(code.splitlines()) < 20
    rows = list(ENCODER_FAMILIES)
    monkeypatch.setattr(encoder_families, "ENCODER_FAMILIES", rows)
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
    exec(compile(code, str(DOCS), "exec"), names)
    assert names["encoder"].grid == PatchGrid(4, 4)
    assert all(seeing(names["encoder"]).caption_all(photos()))
