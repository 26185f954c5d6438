"""Which nouns name an animal, so that a set of photos can be kept from being mostly animals.

COCO's ten animals and what captions call them are read from the table of categories. The list here
adds the everyday names of the other animals among ImageNet's classes (the first 398 of its 1,000),
and words for animals in general. Nouns that more often mean something else in a caption are left
out ("bat", "kite", "mouse"). Meals and toys that are called after an animal are not known apart.
"""

from __future__ import annotations

from functools import cache

from molyneux.words.categories import category_of, table

CATEGORIES = tuple("bird cat dog horse sheep cow elephant bear zebra giraffe".split())  # noqa: SIM905
"""The animals among COCO's categories."""

OTHERS = frozenset(
    """
    animal beast creature critter herd flock pet wildlife mammal reptile amphibian insect bug fish
    cub monkey ape gorilla chimpanzee chimp orangutan baboon lemur gibbon macaque lion tiger
    leopard cheetah lynx cougar panther bobcat lioness wolf fox coyote hyena jackal dingo deer
    moose elk antelope gazelle impala reindeer caribou stag doe fawn gnu wildebeest goat llama
    alpaca camel donkey mule giraffe hippo hippopotamus rhino rhinoceros pig hog boar piglet swine
    warthog rabbit bunny hare rat hamster gerbil squirrel chipmunk beaver porcupine hedgehog
    marmot weasel ferret otter badger skunk mink polecat raccoon mongoose meerkat kangaroo wallaby
    koala wombat platypus opossum sloth armadillo anteater whale dolphin porpoise orca seal walrus
    manatee dugong shark stingray eel salmon trout tuna goldfish carp catfish pufferfish clownfish
    snake serpent cobra python viper rattlesnake lizard gecko iguana chameleon alligator crocodile
    gator turtle tortoise terrapin frog toad newt salamander tadpole dinosaur spider tarantula
    scorpion centipede ant bee wasp hornet mosquito butterfly moth dragonfly damselfly ladybug
    beetle grasshopper locust mantis cockroach cicada caterpillar worm snail slug leech crab
    lobster crayfish shrimp octopus squid jellyfish starfish urchin anemone coral clam chicken
    turkey quail partridge grouse pheasant hornbill robin wren bunting ptarmigan bustard coot
    spoonbill sandpiper oystercatcher albatross hawk lorikeet
    """.split()  # noqa: SIM905
)


@cache
def is_animal(noun: str) -> bool:
    """Whether a noun, in the singular, names an animal; of several words the last one counts."""
    last = noun.lower().replace("-", " ").split()[-1:]
    known = {*table().values(), *CATEGORIES} - {"-"}
    return not OTHERS.isdisjoint(last) or category_of(noun, known) in CATEGORIES
