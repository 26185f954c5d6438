"""Nouns that say the same of a photo, by one list of our own.

A word of a group may stand for any other of it. What is narrower or wider is no synonym: a puppy is
a dog, and "dog" is not counted as right where people wrote "animal" only.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

GROUPS = tuple(
    tuple(line.split())
    for line in """
    man guy gentleman
    woman lady
    child kid
    baby infant
    person people human
    mother mom mum
    father dad
    grandmother grandma
    grandfather grandpa
    policeman cop
    fireman firefighter
    cyclist bicyclist
    skateboarder skater
    spectator onlooker
    dog doggy
    puppy pup
    cat kitty
    rabbit bunny
    cow cattle
    pig hog
    bicycle bike
    motorcycle motorbike
    car automobile
    truck lorry
    taxi cab
    plane airplane aeroplane
    boat vessel
    sea ocean
    shore seashore
    river stream
    road street
    highway freeway motorway
    sidewalk pavement
    path trail
    rock stone
    forest woodland
    house home
    shop store
    bathroom restroom washroom
    couch sofa
    cupboard cabinet
    rug carpet
    fridge refrigerator
    stove cooker
    tv television
    phone telephone cellphone smartphone
    computer pc
    screen monitor
    photo photograph picture image
    bag handbag purse
    backpack rucksack
    suitcase luggage baggage
    stroller pram pushchair
    pants trousers
    sneaker trainer
    donut doughnut
    flower blossom bloom
    frisbee disc disk
    football soccer
    trash garbage rubbish
    """.strip().splitlines()
)


@cache
def synonyms_of(noun: str) -> frozenset[str]:
    """Return the nouns that may stand for one, in the singular; itself among them."""
    return frozenset((noun, *(other for group in GROUPS if noun in group for other in group)))


def names_one_of(noun: str, nouns: Collection[str]) -> bool:
    """Whether a noun or a synonym of it is among some nouns; all in the singular."""
    return not synonyms_of(noun).isdisjoint(nouns)
