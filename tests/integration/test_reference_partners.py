"""Reference tables with controls and partners of their own, measured on tiny models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import tiny_captioner, tiny_photos
from tiny_vlms import VLM_KINDS, tiny_vlm
from torch import Tensor

from molyneux.data.open import open_dataset
from molyneux.errors import UsageError
from molyneux.explain.measure_reference import measure_reference
from molyneux.neurons.attribution import VIEWS, attribute_units
from molyneux.neurons.reference import load_reference, save_reference
from molyneux.neurons.targets import read_sentence

HUMAN = ["A boat on the water.", "Two boats.", "A boat and a man.", "A lake.", "A ship."]


def written(folder: Path, photos: list[Image.Image]) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{folder.name}-{number}.png" for number in range(len(photos))]
    for file, photo in zip(files, photos, strict=True):
        photo.save(file)
    return files


def by_hash(folder: Path) -> dict[str, Path]:
    """Return a folder's photos by what partners are called."""
    return {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in folder.glob("*.png")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two sets: `own`, and `apart` with people's captions for two of its photos."""
    folder = tmp_path_factory.mktemp("sets")
    photos = tiny_photos(12)
    written(folder / "own", photos[:5])
    files = written(folder / "apart", photos[5:])
    lines = [{"file": file.name, "captions": HUMAN} for file in files[:2]]
    (folder / "apart" / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module")
def measured(data: Path) -> Any:
    captioner = tiny_captioner("llama")
    own, apart = sorted((data / "own").iterdir()), list(open_dataset(data / "apart"))
    said: dict[str, list[int]] = {"photo": [], "partner": []}
    table, left_out = measure_reference(
        captioner,
        own,
        data="own",
        n_listed=10,
        partners=apart,
        partners_data="apart",
        on_photo=lambda number, text: said["photo"].append(number),
        on_partner=lambda number, text: said["partner"].append(number),
    )
    assert said == {"photo": list(range(5)), "partner": list(range(7))}
    return captioner, table, left_out


def activations_and_norms(captioner: Any, prompt: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return activations and stream norms at the patches, by hooks of the test's own."""
    model, seen = captioner.language_model.model, []
    handles = [
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
        for layer in model.model.layers
    ]
    streams: list[Tensor] = []
    handles += [
        layer.register_forward_hook(
            lambda _, given, out: streams.append((out[0] if isinstance(out, tuple) else out)[-1])
        )
        for layer in model.model.layers
    ]
    with torch.no_grad():
        model(inputs_embeds=prompt.embeddings)
    for handle in handles:
        handle.remove()
    streams = [one[0] if one.dim() == 3 else one for one in streams]
    active = torch.stack([one[prompt.patches] for one in seen]).double().numpy()
    norms = torch.stack([one[prompt.patches].norm(dim=-1) for one in streams]).double().numpy()
    return active, norms


def test_moments_are_those_of_a_slow_pass(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molyneux.neurons.sinks.FACTOR", 1.15)  # or a tiny model has no sinks
    captioner = tiny_captioner("llama")
    files = sorted((data / "own").iterdir())
    table, _ = measure_reference(captioner, files, data="own", n_listed=10)
    active, totals, n_sinks = [], [], 0
    for file in files:
        prompt = captioner.see([file])
        sentence = read_sentence(captioner.language_model, prompt, captioner.write(prompt)[0])
        if not sentence.words:
            continue
        here, norms = activations_and_norms(captioner, prompt)
        sinks = (norms > 1.15 * np.sort(norms, axis=1)[:, [(norms.shape[1] - 1) // 2]]).any(axis=0)
        n_sinks += sinks.sum()
        assert not sinks.all()
        active.append(here[:, ~sinks].mean(axis=1))
        target = sentence.words[0].target
        until = sentence.up_to(captioner.language_model, prompt, target.position)
        found = attribute_units(captioner.language_model, until, [target])
        totals.append([found.view(view).total[0].double().numpy() for view in VIEWS])
    assert n_sinks
    assert table.n_photos == len(active) > 2
    measured = table.require_activation()
    stacked = np.stack(active)
    np.testing.assert_allclose(measured.mean, stacked.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(measured.deviation, stacked.std(0, ddof=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(measured.magnitude, np.abs(stacked).mean(0), rtol=1e-4, atol=1e-5)
    assert table.total_mean is not None
    assert table.total_deviation is not None
    for number, view in enumerate(VIEWS):
        each = np.stack([one[number] for one in totals])
        np.testing.assert_allclose(table.total_mean[view], each.mean(0), rtol=1e-4, atol=1e-5)
        deviation = each.std(0, ddof=1)
        np.testing.assert_allclose(table.total_deviation[view], deviation, rtol=1e-4, atol=1e-5)


def test_controls_and_partners_are_none_of_the_photos(data: Path, measured: Any) -> None:
    _, table, _ = measured
    hashes = {
        name: {
            hashlib.sha256(file.read_bytes()).hexdigest() for file in (data / name).glob("*.png")
        }
        for name in ("own", "apart")
    }
    assert table.others
    assert table.partners
    assert {one.name for one in (*table.others, *table.partners)} <= hashes["apart"]
    record = table.provenance
    assert record["photos"] == table.n_photos
    assert record["controls"]["photos"] == len(table.others)
    assert record["partners"]["photos"] == len(table.partners)
    assert record["partners"]["with_human_nouns"] == sum(
        one.n_human_captions > 0 for one in table.partners
    )
    assert record["controls"]["data"] == record["partners"]["data"] == "apart"
    assert record["partners"]["grid"] == [4, 4]
    sorted_names = "\n".join(sorted(one.name for one in table.partners))
    expected = hashlib.sha256(sorted_names.encode()).hexdigest()
    assert record["partners"]["photos_sha256"] == expected
    assert str(data) not in json.dumps([record, [one.record() for one in table.partners]])
    for one in table.partners:
        if one.n_human_captions:
            assert one.agreed == ("boat",)
            assert set(one.human_nouns) == {"boat", "water", "man", "lake", "ship"}


def test_a_partner_is_what_the_model_was_given(data: Path, measured: Any, tmp_path: Path) -> None:
    captioner, table, _ = measured
    model = captioner.language_model
    save_reference(tmp_path / "table", table)
    files = by_hash(data / "apart")
    other = captioner.see([sorted((data / "own").iterdir())[0]])
    for partner in load_reference(tmp_path / "table").partners:
        original = captioner.see([files[partner.name]])
        again = partner.prompt(model, captioner.layout)
        assert again.patches == original.patches
        size = original.embeddings.abs()
        difference = (again.embeddings - original.embeddings).abs()
        assert (difference <= 2**-11 * size + 2**-25).all()
        assert torch.equal(partner.instead_of(other).embeddings, again.embeddings)
        before, after, another = (
            model.read(prompt, keep=1).logits[0, -1].float().log_softmax(dim=-1)
            for prompt in (original, again, other)
        )
        changed = (after - before).abs()
        assert changed.max() < 0.05  # nats, of every token
        assert changed.max() < (another - before).abs().max() / 20
        assert captioner.caption(files[partner.name]) == partner.caption


def test_a_photo_in_both_sets_is_refused(data: Path) -> None:
    captioner = tiny_captioner("llama")
    own = sorted((data / "own").iterdir())
    apart = list(open_dataset(data / "apart"))
    said: list[int] = []
    with pytest.raises(UsageError, match="in both own and apart"):
        measure_reference(
            captioner,
            own,
            data="own",
            n_listed=5,
            partners=[*apart, own[2]],
            partners_data="apart",
            on_photo=lambda number, text: said.append(number),
        )
    assert said == []


@pytest.mark.parametrize("kind", VLM_KINDS)
def test_a_vision_language_model_keeps_partners_where_only_patches_differ(
    data: Path, kind: str, tmp_path: Path
) -> None:
    seeing = tiny_vlm(kind)
    own, apart = (sorted((data / name).glob("*.png")) for name in ("own", "apart"))
    table, left_out = measure_reference(
        seeing, own[:3], data="own", n_listed=5, partners=apart[:3], n_others=2
    )
    assert table.others
    prompts = [seeing.see([file]) for file in apart[:3]]
    if not table.partners:
        assert any("no partner photos are kept" in line for line in left_out)
        alike = all(
            torch.equal(prompts[0].embeddings[:, at], one.embeddings[:, at])
            for one in prompts[1:]
            for at in (slice(0, one.patches.start), slice(one.patches.stop, None))
        )
        assert not alike
        return
    save_reference(tmp_path / "table", table)
    here = by_hash(data / "apart")
    for partner in load_reference(tmp_path / "table").partners:
        original = seeing.see([here[partner.name]])
        again = partner.instead_of(prompts[0])
        assert torch.allclose(again.embeddings, original.embeddings, rtol=2**-10, atol=1e-6)
        assert again.given().keys() == original.given().keys()
        for name, values in again.given().items():
            assert torch.equal(values, original.given()[name])
