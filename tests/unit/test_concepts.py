"""Which concept a class or a noun names: each name one, and none of what only sounds like it."""

from __future__ import annotations

from collections import Counter

from molyneux.words.concepts import (
    concept_of_label,
    concepts,
    concepts_in,
    concepts_mentioned,
    concepts_named,
    labels_left_out,
)


def test_each_class_and_each_noun_names_one_concept() -> None:
    labels = Counter(label for one in concepts().values() for label in one.labels)
    nouns = Counter(noun for one in concepts().values() for noun in one.nouns)
    assert max(labels.values()) == max(nouns.values()) == 1
    assert all(one.name in one.nouns for one in concepts().values())
    left_out = {name.lower() for _, name, _ in labels_left_out()}
    assert not left_out & set(labels)
    assert all(why for _, _, why in labels_left_out())


def test_sets_call_one_thing_by_different_names() -> None:
    for label in ("airplane", "airliner", "Warplane", " wing "):
        assert concept_of_label(label) == (None if label == " wing " else "plane")
    assert concept_of_label("Labrador  retriever") == concept_of_label("dalmatian") == "dog"
    assert concept_of_label("crane") is concept_of_label("plane") is None
    assert concept_of_label("Tree") == "tree"


def test_a_noun_ahead_of_another_says_of_what_kind_that_is() -> None:
    assert concepts_in("A train station behind a bird house and a fire truck.") == {"truck"}
    assert concepts_in("A hot dog beside a teddy bear.") == set()
    assert concepts_in("Red and blue.") == concepts_in("") == set()
    assert concepts_in("Two puppies on a boat.") == {"dog", "boat"}


def test_a_photo_is_of_what_most_of_its_people_name_and_not_without_what_one_does() -> None:
    captions = ["a dog on a boat", "a dog at sea", "a puppy", "a dog and a cat", "a dog"]
    assert concepts_named(None, ["cup"], captions) == {"dog"}
    assert concepts_mentioned(None, ["cup"], captions) == {"dog", "boat", "cat", "cup"}
    assert concepts_named("Siamese cat", ["siamese cat"], ["a dog"]) == {"cat"}
    assert concepts_named(None, ["ferry"], ["ferry"]) == {"boat"}
    assert concepts_named(None, [], ["a boat with a dog"]) == {"boat", "dog"}
    assert concepts_named(None, ["police van"], ["police van"]) == set()
    assert concepts_mentioned(None, ["police van"], ["police van"]) == {"car"}
    assert concepts_named(None, [], []) == set()
