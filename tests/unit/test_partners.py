"""Partner photos: their nouns, their words, their precision, and which of them are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from molyneux.data.apart import require_apart
from molyneux.data.dataset import Item
from molyneux.errors import AdapterError, UsageError
from molyneux.neurons.other_photos import Balance, OtherPhoto, packed, unpacked
from molyneux.neurons.partners import (
    Partner,
    PartnerPanel,
    differ_only_at_patches,
    in_half,
    make_partner,
    partners_that_fit,
    partners_without,
    restore_partner,
)
from molyneux.neurons.unit import Unit
from molyneux.vision.layout import ImagePrompt
from molyneux.words.animals import is_animal

PEOPLE = (
    "A man is riding two horses on the beach.",
    "Men ride a horse near the ocean.",
    "A horse and a dog.",
    "Two people with a horse.",
    "A rider at the beach.",
)


def partner(caption: str = "a boat on a lake", *human: str, name: str = "ab") -> Partner:
    return make_partner(name, caption, human, torch.zeros(4, 3))


def test_a_partner_knows_what_the_model_and_people_named() -> None:
    found = partner("a small boat with two boats near a bridge", *PEOPLE)
    assert found.noun == "boat"
    assert found.nouns == ("boat", "bridge")
    assert set(found.human_nouns) == {"man", "horse", "beach", "ocean", "dog", "people", "rider"}
    assert found.agreed == ("horse",)  # 4 of 5; man and beach are in 2
    assert found.n_human_captions == 5
    again = restore_partner(found.record(), found.patches)
    assert again.record() == found.record()


def test_one_persons_words_are_no_agreement() -> None:
    assert partner("a boat", "A horse.", "A horse.").agreed == ()
    assert partner("a boat", "A horse.", "A horse.", "A horse and a cat.").agreed == ("horse",)
    assert partner("a boat", "A horse.", "A horse.", "A cat.", "A cat.").agreed == ()
    assert partner("a boat").human_nouns == ()


def test_a_caption_without_a_noun_makes_no_partner() -> None:
    with pytest.raises(UsageError, match="has no noun"):
        partner("the and of")


@pytest.mark.parametrize(
    ("caption", "human", "word"),
    [
        ("a boat on a lake", (), "boat"),
        ("a boat on a lake", (), "boats"),
        ("two boats on a lake", (), "boat"),
        ("a boat on a lake", (), "Ship"),  # one category
        ("a couch in a room", (), "sofa"),  # one group
        ("a room with a table", ("People on sofas.",), "couch"),
        ("a room with a table", ("Two men at a table.",), "woman"),  # both are persons
        ("a room with a table", ("A puppy.",), "dog"),
        ("a red boat", (), "red"),  # a word that is no noun
        ("a bear in a tree", (), "polar bear"),
    ],
)
def test_partners_that_show_a_word_are_left_out(
    caption: str, human: tuple[str, ...], word: str
) -> None:
    shows, other = partner(caption, *human), partner("a bench under the sky", "A bench.")
    assert partners_without([shows, other], {word}) == [other]
    assert partners_without([shows, other], {word, "benches"}) == []
    assert partners_without([shows, other], {"zebra", "pizza"}) == [shows, other]
    assert partners_without([shows, other], set()) == [shows, other]


@pytest.mark.parametrize("scale", [1e-2, 1.0, 6e4])
def test_half_precision_is_half_precision(scale: float) -> None:
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).clamp(-1, 1) * scale
    half = in_half(values)
    assert half.dtype == torch.float16
    # Round to nearest: 10 bits behind the first one; below 2^-14 steps of 2^-24.
    assert ((half.float() - values).abs() <= 2**-11 * values.abs() + 2**-25).all()


def test_what_float16_cannot_hold_is_not_clipped() -> None:
    values = torch.tensor([[1e5, -2.0]])
    half = in_half(values)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), values, rtol=2**-8)
    for bad in (float("nan"), float("inf")):
        with pytest.raises(AdapterError, match="not finite"):
            in_half(torch.tensor([[bad, 1.0]]))
    own = torch.tensor([[1.5, 2.0]], dtype=torch.bfloat16)
    assert in_half(own).dtype == torch.bfloat16


def prompt_of(patches: Tensor) -> ImagePrompt:
    ahead, text = torch.full((1, 1, 3), 7.0), torch.full((1, 2, 3), 9.0)
    return ImagePrompt(torch.cat([ahead, patches[None], text], dim=1), slice(1, 1 + len(patches)))


def test_instead_of_changes_the_patches_alone() -> None:
    here, there = torch.arange(12.0).reshape(4, 3), -torch.arange(12.0).reshape(4, 3)
    stand_in = make_partner("ab", "a boat", (), there)
    prompt = prompt_of(here)
    swapped = stand_in.instead_of(prompt)
    assert torch.equal(swapped.embeddings, prompt_of(there).embeddings)
    assert torch.equal(prompt.embeddings, prompt_of(here).embeddings)
    assert differ_only_at_patches(prompt, swapped)
    with pytest.raises(UsageError, match="5 patches, and the partner 4"):
        stand_in.instead_of(prompt_of(torch.zeros(5, 3)))


def test_prompts_that_differ_elsewhere_are_known() -> None:
    one, other = prompt_of(torch.zeros(4, 3)), prompt_of(torch.ones(4, 3))
    assert differ_only_at_patches(one, other)
    other.embeddings[0, -1, 0] = 1
    assert not differ_only_at_patches(one, other)
    assert not differ_only_at_patches(one, prompt_of(torch.zeros(5, 3)))


def test_half_of_the_panel_has_several_human_captions() -> None:
    panel = PartnerPanel(6)
    for number in range(20):
        human = PEOPLE if number % 4 == 3 else ()
        panel.add(partner("a boat", *human, name=f"{number:02}"))
        panel.add(partner("a boat", *human, name=f"{number:02}"))  # twice the same photo
    found = panel.chosen()
    assert [one.name for one in found] == ["00", "01", "02", "03", "07", "11"]
    assert panel.takes(5)  # 5 of them came, of at most 6
    assert not panel.takes(0)


@pytest.mark.parametrize(("n_several", "n_others"), [(1, 9), (9, 1), (2, 2), (0, 3), (9, 0)])
def test_a_panel_is_filled_from_what_there_is(n_several: int, n_others: int) -> None:
    panel = PartnerPanel(6)
    for number in range(n_several):
        panel.add(partner("a boat", *PEOPLE, name=f"s{number}"))
    for number in range(n_others):
        panel.add(partner("a boat", "A boat.", name=f"o{number}"))
    found = panel.chosen()
    assert len(found) == min(6, n_several + n_others)
    assert sum(one.n_human_captions == 5 for one in found) >= min(3, n_several)


def test_large_prompts_make_a_smaller_panel() -> None:
    assert partners_that_fit(torch.zeros(49, 576)) == 128
    assert partners_that_fit(torch.zeros(576, 4096, device="meta")) == 64


def controls(nouns: list[str], most: int) -> list[str]:
    balance = Balance(most)
    for noun in nouns:
        if balance.takes(noun):
            balance.add(noun)
    return [balance.nouns[place] for place in balance.kept()]


THINGS = [f"thing{number}" for number in range(200)]


def test_no_noun_rules_the_controls() -> None:
    found = controls(["man"] * 50 + THINGS, 100)
    assert len(found) == 100
    assert found.count("man") == 3


def test_no_animals_rule_the_controls() -> None:
    animals = ["dog", "cat", "bird", "puppy", "monkey", "horse"] * 3
    found = controls([*animals, *THINGS], 100)
    assert len(found) == 100
    assert sum(map(is_animal, found)) == 15
    # Where fewer came than there may be, it is 15 % of those that came.
    found = controls([*animals, *THINGS[:34]], 100)
    assert sum(map(is_animal, found)) == 6
    assert len(found) == 40
    # The first animals stay, and one always.
    assert found[:6] == animals[:6]
    assert controls(["dog", "cat"], 100) == ["dog"]


@pytest.mark.parametrize("noun", ["dog", "puppy", "cow", "sheep", "monkey", "animal", "zebra"])
def test_animals_are_known(noun: str) -> None:
    assert is_animal(noun)


@pytest.mark.parametrize("noun", ["man", "hot dog", "kite", "mouse", "teddy bear", "people", ""])
def test_what_is_no_animal_is_none(noun: str) -> None:
    assert not is_animal(noun)


def test_lists_of_controls_are_packed() -> None:
    keys = [(view, ranking) for view in ("patches", "last") for ranking in ("top", "specific")]
    lists = [
        {key: [Unit(k % 3, 10 * k + n) for n in range((k + i) % 3)] for k, key in enumerate(keys)}
        for i in range(4)
    ]
    others = [OtherPhoto(f"n{i}", one, f"h{i}") for i, one in enumerate(lists)]  # type: ignore[arg-type]
    tensors = packed(others, d_mlp=50)
    assert len(tensors) == 5
    assert unpacked(tensors, [o.noun for o in others], [o.name for o in others], 50) == others
    assert unpacked(packed([], 50), [], [], 50) == []


def photo(folder: Path, name: str, content: bytes) -> Item:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return Item(id=name, source=folder / name)


def test_sets_that_share_a_photo_are_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    data = [photo(one, "a.jpg", b"a"), photo(one, "b.jpg", b"b")]
    require_apart(data, [photo(other, "c.jpg", b"c")])
    with pytest.raises(UsageError, match=r"b.jpg and d.jpg are the same photo, in both X and Y"):
        require_apart(data, [photo(other, "c.jpg", b"c"), photo(other, "d.jpg", b"b")], ("X", "Y"))
    with pytest.raises(UsageError, match=r"a file a.jpg is in both the photos and the partners"):
        require_apart(data, [photo(other, "a.jpg", b"another")])
    packed_photo = Item(id="shard/a.jpg", source=b"z")
    with pytest.raises(UsageError, match=r"a file a.jpg is in both"):
        require_apart(data, [packed_photo])
    with pytest.raises(UsageError, match="are the same photo"):
        require_apart([one / "b.jpg"], [Item(id="shard/z.jpg", source=b"b")])
    # What cannot be read is for its reader to say.
    require_apart([one / "gone.jpg", *data], [other / "gone too.jpg"])
