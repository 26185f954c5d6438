"""Which nouns are wider or narrower than others, so that a word can be said not to be there.

The table is a short one of our own, of what captions name: a puppy is a dog is an animal; a sedan
is a car is a vehicle. Who takes two nouns for unrelated by it may still be shown both: a photo of a
street has cars that nobody wrote of.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from molyneux.words.animals import is_animal
from molyneux.words.categories import category_of, table
from molyneux.words.singular import singular
from molyneux.words.synonyms import synonyms_of

_NARROWER = """
    dog: puppy hound terrier poodle bulldog retriever shepherd spaniel dachshund collie husky pug
    cat: kitten tabby
    horse: pony foal colt mare stallion donkey mule
    cow: bull calf ox bison buffalo cattle
    sheep: lamb ram ewe
    pig: piglet boar
    bird: duck goose swan chicken hen rooster turkey eagle hawk falcon owl parrot pigeon dove gull
        seagull pelican penguin ostrich flamingo heron crow robin sparrow
    fish: shark salmon trout tuna goldfish
    insect: bee butterfly ant fly beetle moth dragonfly
    bug: insect spider
    snake: python cobra
    pet: dog cat rabbit hamster
    herd: cow sheep horse elephant goat zebra
    vehicle: car bus truck train plane boat ship bicycle motorcycle helicopter tractor van taxi jeep
        scooter tram trolley ambulance rocket carriage wagon cart sled
    car: sedan limousine jeep suv taxi van convertible
    truck: pickup trailer semi van
    train: locomotive tram subway railroad
    plane: jet airliner jetliner biplane aircraft
    aircraft: plane helicopter
    boat: ship sailboat canoe kayak ferry yacht rowboat raft speedboat gondola
    bike: bicycle motorcycle
    cycle: bicycle motorcycle
    traffic: car bus truck motorcycle
    building: house church castle tower school hospital hotel shop restaurant station airport barn
        skyscraper temple cathedral cottage hut shed garage apartment office museum
    house: cottage cabin hut mansion
    shop: bakery market supermarket
    tower: steeple lighthouse clock
    room: kitchen bathroom bedroom office lounge hall classroom
    bathroom: toilet bath shower
    furniture: table chair bed sofa desk shelf bench stool cabinet dresser couch bookcase drawer
    table: desk counter
    chair: stool armchair seat bench
    sofa: couch
    seat: chair bench sofa stool saddle
    lamp: light lantern chandelier
    light: lamp candle lantern
    appliance: oven refrigerator microwave stove toaster freezer washer
    bath: tub shower bathtub
    food: pizza cake bread sandwich burger salad soup rice pasta meat egg cheese fruit vegetable
        potato carrot dessert meal breakfast lunch dinner donut pastry cookie snack noodle broccoli
        hotdog fries sauce steak chicken fish pie cupcake candy chocolate sushi
    meal: pizza sandwich burger salad soup pasta breakfast lunch dinner food
    dish: plate bowl pan meal salad soup pasta
    dessert: cake donut cookie pie cupcake pastry candy
    pastry: donut croissant cake pie
    sandwich: burger hotdog bagel
    bread: bun toast bagel roll loaf
    meat: steak chicken beef pork sausage ham bacon
    fruit: apple banana orange lemon strawberry grape pear peach cherry melon watermelon pineapple
        berry kiwi mango lime
    vegetable: tomato potato carrot broccoli lettuce cucumber pepper onion cauliflower cabbage bean
        corn pea spinach celery
    drink: coffee tea milk juice wine beer water soda cocktail
    beverage: coffee tea milk juice wine beer water soda
    alcohol: wine beer
    glass: cup goblet wineglass
    cup: mug glass
    container: cup glass bottle bowl basket box bag bucket jar can vase pot bin
    bag: backpack suitcase purse pouch sack luggage
    pan: pot skillet wok
    utensil: knife fork spoon spatula chopstick
    silverware: knife fork spoon
    cutlery: knife fork spoon
    tool: hammer brush knife scissors ladder rope wrench shovel
    clothing: shirt dress jacket coat hat cap shoe boot glove scarf tie uniform suit jeans pants
        skirt shorts sweater sock hoodie vest robe
    clothes: shirt dress jacket coat hat cap shoe boot glove scarf tie uniform suit jeans pants
        skirt shorts sweater sock hoodie vest robe
    outfit: dress uniform suit costume
    suit: tie jacket uniform
    shirt: jersey sweater blouse top
    coat: jacket raincoat parka
    hat: cap helmet beanie bonnet cowboy
    shoe: boot sneaker sandal slipper
    jewellery: ring necklace watch bracelet earring
    jewelry: ring necklace watch bracelet earring
    water: sea ocean lake river pool wave pond stream rain ice snow waterfall bay harbor harbour
    sea: ocean bay wave
    lake: pond
    land: field grass desert island mountain hill beach farm
    shore: beach coast
    beach: sand shore coast
    landscape: mountain hill field desert valley
    mountain: hill cliff peak
    field: meadow pasture grass farm
    grass: lawn meadow pasture
    ground: grass sand snow dirt
    park: garden playground
    garden: yard
    yard: garden lawn
    plant: tree flower grass leaf bush cactus vine shrub fern
    tree: palm pine oak branch
    flower: rose tulip daisy sunflower lily orchid bouquet
    forest: wood jungle tree
    wood: forest
    sky: cloud
    weather: rain snow cloud storm
    snow: ice
    rock: stone boulder cliff
    road: street highway lane path track
    street: road alley intersection
    path: road track trail sidewalk
    track: railroad railway rail
    wall: fence
    fence: gate railing
    floor: carpet rug tile
    door: gate
    stair: ladder step
    cover: blanket curtain carpet
    blanket: quilt towel
    bed: crib mattress bunk
    toy: doll balloon kite teddy ball puppet frisbee
    game: tennis baseball soccer football basketball frisbee match
    sport: tennis baseball soccer football basketball surfing skiing skateboarding
    ball: baseball football basketball
    racket: racquet
    board: skateboard surfboard snowboard
    equipment: bat racket skateboard surfboard helmet camera computer
    instrument: guitar piano drum violin trumpet flute saxophone
    guitar: banjo ukulele
    violin: cello fiddle
    electronics: phone computer camera television radio keyboard screen laptop
    device: phone computer camera television radio keyboard screen laptop tablet remote
    computer: laptop desktop tablet keyboard screen monitor
    screen: television computer phone
    television: screen monitor
    book: notebook novel magazine
    paper: book newspaper letter map note
    newspaper: magazine
    picture: painting photo drawing poster map
    art: painting statue sculpture picture
    statue: sculpture figure
    sign: flag signal
    body: hand face eye hair arm leg foot head
    head: face eye hair
    face: eye smile mouth nose
    arm: hand
    leg: foot
    money: coin
    watch: clock
"""


@cache
def _wider() -> dict[str, frozenset[str]]:
    """Return each noun's wider ones, one step up."""
    found: dict[str, set[str]] = {}
    wide = ""
    for word in _NARROWER.split():
        if word.endswith(":"):
            wide = word[:-1]
        else:
            found.setdefault(word, set()).add(wide)
    return {noun: frozenset(wider) for noun, wider in found.items()}


@cache
def wider_than(noun: str) -> frozenset[str]:
    """Return what a noun, in the singular, is a kind of, by any number of steps.

    Synonyms of the noun and of what is wider are followed too; it is not among them itself unless
    the table runs in a circle ("seat", "chair").
    """
    found: set[str] = set()
    step = synonyms_of(noun)
    while step:
        up = {wide for one in step for wide in _wider().get(one, ())}
        up |= {"animal" for one in step if is_animal(one)}
        step = frozenset(other for one in up - found for other in synonyms_of(one)) - found
        found |= step
    return frozenset(found)


def are_related(noun: str, other: str) -> bool:
    """Whether two nouns may name one thing: equal, synonyms, or one wider than the other.

    They are in the singular; of nouns of several words the last counts too. Nouns of the same
    category (`words.categories`) are related: "man", "surfer" and "child" are each a `person`.
    """
    return any(_related(one, two) for one in _names(noun) for two in _names(other))


@cache
def _related(noun: str, other: str) -> bool:
    one, two = synonyms_of(noun), synonyms_of(other)
    if not one.isdisjoint(two) or not one.isdisjoint(wider_than(other)):
        return True
    if not two.isdisjoint(wider_than(noun)):
        return True
    category = category_of(noun, _categories())
    return category is not None and category == category_of(other, _categories())


def unrelated_to(nouns: Collection[str], candidates: Collection[str]) -> list[str]:
    """Return the candidates that are related to none of some nouns, in their order."""
    return [one for one in candidates if not any(are_related(one, noun) for noun in nouns)]


@cache
def _names(noun: str) -> tuple[str, ...]:
    whole = singular(" ".join(noun.lower().split()))
    return tuple(dict.fromkeys((whole, *whole.replace("-", " ").split()[-1:])))


@cache
def _categories() -> frozenset[str]:
    return frozenset(table().values()) - {"-"}
