"""The reference table against numpy on stacked scores; its file; whom it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tiny_models import tiny_projection
from torch import Tensor

from molyneux.errors import WeightsError
from molyneux.models.captioner import Captioner
from molyneux.neurons.attribution import VIEWS, Attribution, Target, View, score_units
from molyneux.neurons.moments import Moments
from molyneux.neurons.other_photos import OtherPhoto
from molyneux.neurons.partners import make_partner
from molyneux.neurons.reference import (
    Reference,
    ReferenceBuilder,
    load_reference,
    save_reference,
    specific_scores,
)
from molyneux.neurons.sinks import mean_activation
from molyneux.neurons.unit import Unit, top_units

LAYERS, D_MLP = 3, 60
NOUNS = ["dog", "lamp", "dog", "boat", "tree", "lamp", "cake", "dog"]
PROVENANCE = {
    "language_model": "tiny-llama",
    "encoder": "toy-encoder",
    "projection": tiny_projection().hash(),
    "data": "made up",
}


def photo_of(seed: int) -> Attribution:
    """Return the made-up attribution of two targets; at patches the last layer scores nothing."""
    generator = torch.Generator().manual_seed(seed)
    activation = torch.randn(LAYERS, 4, D_MLP, generator=generator)
    gradient = torch.randn(2, LAYERS, 4, D_MLP, generator=generator)
    gradient[:, -1] = 0
    activation_last = torch.randn(2, LAYERS, D_MLP, generator=generator)
    gradient_last = torch.randn(2, LAYERS, 1, D_MLP, generator=generator)
    return Attribution(
        targets=(Target(1, 5), Target(2, 6)),
        patches=score_units(activation, gradient),
        last=score_units(activation_last.unsqueeze(2), gradient_last),
        logit=torch.zeros(2),
        probability=torch.zeros(2),
        activation=activation,
        activation_last=activation_last,
    )


def interpretable() -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.rand(2, LAYERS, D_MLP, generator=generator) > 0.5


def table(n_photos: int = len(NOUNS), n_others: int = 3) -> Reference:
    builder = ReferenceBuilder(n_units_listed=25, n_others=n_others)
    for seed in range(n_photos):
        builder.add(NOUNS[seed % len(NOUNS)], photo_of(seed))
    return builder.build(interpretable(), PROVENANCE)


def stacked(view: View) -> np.ndarray:
    return np.stack([photo_of(s).view(view).score[0].double().numpy() for s in range(len(NOUNS))])


@pytest.mark.parametrize("view", VIEWS)
def test_the_table_is_numpys_of_the_first_targets_scores(view: View) -> None:
    found, scores = table(), stacked(view)
    np.testing.assert_allclose(found.mean[view], scores.mean(axis=0), rtol=1e-5, atol=1e-6)
    deviation = scores.std(axis=0, ddof=1)
    np.testing.assert_allclose(found.deviation[view], deviation, rtol=1e-5, atol=1e-6)
    counts = np.zeros((LAYERS, D_MLP), dtype=int)
    for one in scores:
        for i in np.argsort(-one.flatten(), kind="stable")[:100]:
            counts[divmod(i, D_MLP)] += 1
    assert (found.top_count[view].numpy() == counts).all()
    assert (found.sinks(view).numpy() == (counts >= 4)).all()
    assert found.sinks(view).any()
    assert not found.sinks(view).all()
    assert found.n_photos == len(NOUNS)
    assert found.mean[view].dtype == found.deviation[view].dtype == torch.float32


@pytest.mark.parametrize("view", VIEWS)
def test_specific_scores_by_the_tables_own_figures(view: View) -> None:
    found, scores = table(), stacked(view)
    photo = photo_of(77).view(view).score[0]
    mean, deviation = scores.mean(axis=0), scores.std(axis=0, ddof=1)
    d0 = np.sort(deviation, axis=1)[:, (D_MLP - 1) // 2, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (photo.numpy() - mean) / (deviation + d0)
    expected[(photo.numpy() <= 0) | (deviation.max(axis=1, keepdims=True) == 0)] = -np.inf
    np.testing.assert_allclose(found.specific(photo, view), expected, rtol=1e-4, atol=1e-5)
    if view == "patches":  # nothing there reaches the prediction
        assert torch.isinf(found.specific(photo, view)[-1]).all()
        assert torch.isfinite(found.specific(photo, view)[:-1]).any()


def test_other_photos_are_of_different_nouns_with_their_own_lists() -> None:
    found = table()
    assert [other.noun for other in found.others] == ["dog", "lamp", "boat"]  # seeds 0, 1, 3
    for other, seed in zip(found.others, (0, 1, 3), strict=True):
        for view in VIEWS:
            score = photo_of(seed).view(view).score[0]
            assert other.units[view, "top"] == top_units(score, 25)
            # Ranked against the rest of the table, as a photo that is not in it would be.
            rest = np.delete(stacked(view), seed, axis=0)
            mean, deviation = (
                torch.from_numpy(x).float() for x in (rest.mean(axis=0), rest.std(axis=0, ddof=1))
            )
            specific = top_units(specific_scores(score, mean, deviation), 25)
            assert other.units[view, "specific"] == specific
            assert len(specific) == 25
            assert specific != other.units[view, "top"]


def test_another_photo_is_one_with_another_noun_and_always_the_same() -> None:
    found = table()
    for seed in map(str, range(30)):
        other = found.other_than({"dog", "person"}, seed)
        assert other is not None
        assert other.noun in {"lamp", "boat"}
        assert found.other_than({"dog", "person"}, seed) is other
    assert {found.other_than(set(), str(s)).noun for s in range(30)} == {  # type: ignore[union-attr]
        "dog",
        "lamp",
        "boat",
    }
    assert found.other_than({"dog", "lamp", "boat"}, "0") is None


def test_words_are_read_in_the_direction_written() -> None:
    found, both = table(), interpretable()
    sign = torch.tensor([-1, 0, 1], dtype=torch.int8).repeat(LAYERS, D_MLP // 3)
    words = found.interpretable_as(sign)
    assert torch.equal(words[:, 0::3], both[0][:, 0::3])
    assert torch.equal(words[:, 1::3], both[1][:, 1::3])  # no sign is positive
    assert torch.equal(words[:, 2::3], both[1][:, 2::3])


def same(one: Reference, other: Reference) -> None:
    assert one.provenance == other.provenance
    assert one.others == other.others
    assert torch.equal(one.interpretable, other.interpretable)
    for name in ("mean", "deviation", "top_count"):
        for view in VIEWS:
            assert torch.equal(getattr(one, name)[view], getattr(other, name)[view])


@pytest.mark.parametrize("n_others", [0, 3])
def test_it_comes_back_from_its_file(tmp_path: Path, n_others: int) -> None:
    path = tmp_path / "reference.safetensors"
    saved = table(n_others=n_others)
    save_reference(path, saved)
    same(load_reference(path), saved)
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_list_of_units_comes_back(tmp_path: Path) -> None:
    """One photo has no spread, hence no specific units."""
    path = tmp_path / "one"
    saved = table(n_photos=1)
    assert saved.others[0].units["patches", "specific"] == []
    assert saved.others[0].units["patches", "top"]
    save_reference(path, saved)
    same(load_reference(path), saved)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.safetensors"
    with pytest.raises(WeightsError, match=r"no reference table at .*; make one"):
        load_reference(path)
    save_reference(path, table())
    good = path.read_bytes()
    for bad in (b"", b"not a table", good[:50], good[: len(good) // 2], good[:-1], good[3:]):
        path.write_bytes(bad)
        with pytest.raises(WeightsError, match="is not a reference table") as caught:
            load_reference(path)
        assert "\n" not in str(caught.value)
    n_header = int.from_bytes(good[:8], "little") + 8
    refused = []
    for place in range(0, n_header, 11):
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        try:
            load_reference(path)
        except WeightsError as error:
            refused.append(str(error))
    assert refused
    assert not any("\n" in message for message in refused)
    from molyneux.vision.projection import save_projection

    save_projection(path, tiny_projection())
    with pytest.raises(WeightsError, match="is not a reference table"):
        load_reference(path)


@pytest.mark.parametrize("part", ["projection", "language_model", "encoder"])
def test_a_table_measured_on_other_parts_is_refused(part: str) -> None:
    right = {k: PROVENANCE[k] for k in ("projection", "language_model", "encoder")}
    table(1).require(right)
    with pytest.raises(WeightsError, match=f"measured with another {part}") as caught:
        table(1).require({**right, part: tiny_projection(seed=1).hash()})
    assert "molyneux reference" in str(caught.value)


def test_a_captioner_takes_only_its_own_table(make_captioner: Callable[..., Any]) -> None:
    good: Captioner = make_captioner("llama")
    assert good.with_reference(table(1)).reference is not None
    swapped = dataclasses.replace(
        table(1), provenance={**PROVENANCE, "projection": tiny_projection(seed=1).hash()}
    )
    with pytest.raises(WeightsError, match="another projection"):
        good.with_reference(swapped)
    with pytest.raises(WeightsError, match="another language_model"):
        make_captioner("gpt2").with_reference(table(1))


def test_moments_of_parts_merge_into_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(1e4, 1, size=(23, 2, 5))
    whole, parts = Moments(), [Moments(), Moments(), Moments()]
    for i, value in enumerate(values):
        whole.add(torch.tensor(value))
        parts[0 if i < 4 else 1].add(torch.tensor(value))  # the third stays empty
    merged = Moments()
    for part in parts:
        merged.merge(part)
    for found in (whole, merged):
        assert found.count == 23
        assert found.mean is not None
        np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.deviation(), values.std(axis=0, ddof=1), rtol=1e-9)
    assert parts[0].count == 4  # merging takes nothing from the part
    np.testing.assert_allclose(parts[0].deviation(), values[:4].std(axis=0, ddof=1), rtol=1e-9)


def test_one_observation_has_no_deviation() -> None:
    one = Moments()
    one.add(torch.tensor([3.0, 4.0]))
    assert one.deviation().tolist() == [0, 0]


def test_other_photos_are_plain_data() -> None:
    units = {("patches", "top"): [Unit(0, 1)]}
    assert OtherPhoto("dog", units) == OtherPhoto("dog", dict(units))  # type: ignore[arg-type]


def test_moments_without_an_observation_are_those_of_the_rest() -> None:

    values = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    whole, rest = Moments(), Moments()
    for i, value in enumerate(values):
        whole.add(value)
        if i != 2:
            rest.add(value)
    found = whole.without(values[2])
    assert found.count == rest.count
    assert found.mean is not None
    assert rest.mean is not None
    assert torch.allclose(found.mean, rest.mean)
    assert torch.allclose(found.deviation(), rest.deviation())


def test_totals_and_activations_are_numpys_too() -> None:
    builder = ReferenceBuilder(5, n_others=0)
    masks = [torch.tensor([seed % 2 == 0, False, seed == 3, True]) for seed in range(5)]
    for seed, sinks in enumerate(masks):
        builder.add("dog", photo_of(seed), sinks)
    found = builder.build(interpretable(), PROVENANCE)
    photos = [photo_of(seed) for seed in range(5)]
    assert found.total_mean is not None
    assert found.total_deviation is not None
    for view in VIEWS:
        totals = np.stack([one.view(view).total[0].double().numpy() for one in photos])
        np.testing.assert_allclose(found.total_mean[view], totals.mean(0), rtol=1e-5, atol=1e-6)
        deviation = totals.std(0, ddof=1)
        np.testing.assert_allclose(found.total_deviation[view], deviation, rtol=1e-5, atol=1e-6)
    active = np.stack(
        [
            one.activation.double().numpy()[:, ~sinks.numpy()].mean(axis=1)
            for one, sinks in zip(photos, masks, strict=True)
        ]
    )
    measured = found.require_activation()
    np.testing.assert_allclose(measured.mean, active.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(measured.deviation, active.std(0, ddof=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(measured.magnitude, np.abs(active).mean(0), rtol=1e-5, atol=1e-6)
    assert not np.allclose(measured.magnitude, measured.mean.abs(), atol=1e-2)


def test_patches_that_are_all_sinks_count() -> None:
    activation = torch.randn(2, 3, 4)
    everything = mean_activation(activation, torch.ones(3, dtype=torch.bool))
    assert torch.equal(everything, activation.mean(dim=1))
    one = mean_activation(activation, torch.tensor([True, False, True]))
    assert torch.equal(one, activation[:, 1])


def test_totals_are_specific_by_their_own_moments() -> None:
    found = table()
    total = photo_of(77).patches.total[0]
    assert found.total_mean is not None
    assert found.total_deviation is not None
    expected = specific_scores(total, found.total_mean["patches"], found.total_deviation["patches"])
    assert torch.equal(found.specific(total, "patches", "total"), expected)
    assert not torch.equal(found.specific(total, "patches"), expected)


def test_controls_of_photos_apart_are_ranked_against_all_of_the_table() -> None:
    builder = ReferenceBuilder(25, n_others=3)
    for seed in range(5):
        builder.add("dog", photo_of(seed), control=False)
    for seed, noun in ((20, "lamp"), (21, "boat"), (20, "lamp")):
        builder.add_control(noun, photo_of(seed), name=str(seed))
    found = builder.build(interpretable(), PROVENANCE)
    assert [(other.noun, other.name) for other in found.others] == [("lamp", "20"), ("boat", "21")]
    assert found.n_photos == 5
    scores = np.stack([photo_of(seed).last.score[0].double().numpy() for seed in range(5)])
    mean, deviation = (torch.from_numpy(x).float() for x in (scores.mean(0), scores.std(0, ddof=1)))
    score = photo_of(21).last.score[0]
    expected = top_units(specific_scores(score, mean, deviation), 25)
    assert found.others[1].units["last", "specific"] == expected


def old_file(path: Path, reference: Reference) -> None:
    """Write a table as it was written before there were totals, activations and partners."""
    tensors = {"interpretable": reference.interpretable.to(torch.uint8)}
    for view in VIEWS:
        for name in ("mean", "deviation"):
            tensors[f"{name}.{view}"] = getattr(reference, name)[view].contiguous()
        tensors[f"top_count.{view}"] = reference.top_count[view].to(torch.int32).contiguous()
    for index, other in enumerate(reference.others):
        for (view, ranking), units in other.units.items():
            pairs = torch.tensor([list(unit) for unit in units], dtype=torch.int32).reshape(-1, 2)
            tensors[f"other.{index}.{view}.{ranking}"] = pairs
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    header = {
        "sha256": digest.hexdigest(),
        "provenance": json.dumps(reference.provenance),
        "nouns": json.dumps([other.noun for other in reference.others]),
    }
    path.write_bytes(save(tensors, metadata=header))


def test_a_table_from_before_still_opens(tmp_path: Path) -> None:
    path, saved = tmp_path / "old", table()
    old_file(path, saved)
    found = load_reference(path)
    same(found, saved)
    assert found.total_mean is None
    assert found.total_deviation is None
    assert found.activation is None
    assert found.partners == []
    assert found.partners_without({"dog"}) == []
    score = photo_of(77).patches.score[0]
    assert torch.equal(found.specific(score, "patches"), saved.specific(score, "patches"))
    with pytest.raises(WeightsError, match=r"no moments of totals.*`molyneux reference`"):
        found.specific(score, "patches", "total")
    with pytest.raises(WeightsError, match=r"no moments of activations.*`molyneux reference`"):
        found.require_activation()
    save_reference(path, found)  # and is written as it was read
    same(load_reference(path), saved)
    assert load_reference(path).activation is None


def test_everything_comes_back_from_the_file(tmp_path: Path) -> None:
    patches = torch.randn(4, 6)
    partners = [
        make_partner("a" * 64, "a boat on a lake", ("A boat.", "A ship é.", "Boats."), patches),
        make_partner("b" * 64, "a dog", (), 1e6 * patches),
    ]
    saved = dataclasses.replace(table(), partners=partners)
    save_reference(tmp_path / "table", saved)
    found = load_reference(tmp_path / "table")
    same(found, saved)
    for moments in ("total_mean", "total_deviation"):
        for view in VIEWS:
            assert torch.equal(getattr(found, moments)[view], getattr(saved, moments)[view])
    for name in ("mean", "deviation", "magnitude"):
        assert torch.equal(getattr(found.activation, name), getattr(saved.activation, name))
    assert [one.record() for one in found.partners] == [one.record() for one in partners]
    for one, other in zip(found.partners, partners, strict=True):
        assert one.patches.dtype == other.patches.dtype
        assert torch.equal(one.patches, other.patches)
    assert [one.name[0] for one in found.partners_without({"ships"})] == ["b"]
    damaged = bytearray((tmp_path / "table").read_bytes())
    damaged[-3] ^= 1
    (tmp_path / "table").write_bytes(damaged)
    with pytest.raises(WeightsError, match="not the ones its header names"):
        load_reference(tmp_path / "table")
