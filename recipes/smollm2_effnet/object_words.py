"""The words for COCO's categories: their nouns, what they do, and what is done with them."""

from __future__ import annotations

SINGULAR = {
    "airplane": "plane",
    "potted plant": "plant",
    "dining table": "table",
    "sports ball": "ball",
    "cell phone": "phone",
    "hair drier": "hair dryer",
    "remote": "remote control",
    "mouse": "computer mouse",
    "oven": "stove",
    "handbag": "bag",
}
PLURAL = {
    "person": "people",
    "bus": "buses",
    "sheep": "sheep",
    "knife": "knives",
    "sandwich": "sandwiches",
    "bench": "benches",
    "couch": "couches",
    "skis": "skis",
    "scissors": "scissors",
    "toothbrush": "toothbrushes",
    "wine glass": "wine glasses",
    "computer mouse": "computer mice",
    "broccoli": "broccoli",
}
MASS = {"skis": "skis", "scissors": "a pair of scissors", "broccoli": "broccoli"}
HERD = {"sheep", "cow", "elephant", "zebra", "giraffe", "horse"}
ANIMALS = HERD | {"bird", "cat", "dog", "bear"}
FOODS = {
    "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut",
    "cake",
}  # fmt: skip
TABLEWARE = {"bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl"}
# How much more (or less) than its area an object draws the caption to itself.
SALIENCE = dict.fromkeys(ANIMALS, 5.0) | {
    "potted plant": 0.4,
    "person": 2.5,
    "dining table": 0.15,
    "chair": 0.2,
    "bed": 0.6,
    "couch": 0.4,
    "car": 0.6,
    "book": 0.3,
    "handbag": 0.3,
    "backpack": 0.4,
    "tie": 0.5,
    "truck": 0.8,
    "teddy bear": 3.0,
    "toilet": 3.0,
    "pizza": 3.0,
    "cake": 2.5,
    "stop sign": 5.0,
    "fire hydrant": 4.0,
    "parking meter": 3.0,
    "traffic light": 3.0,
    "clock": 4.0,
    "vase": 2.0,
    "kite": 4.0,
    "umbrella": 1.5,
    "laptop": 2.0,
    "train": 2.0,
    "bus": 2.0,
    "airplane": 4.0,
    "boat": 1.5,
    "motorcycle": 2.0,
    "bicycle": 1.5,
}
# What a lone object is usually doing in COCO's captions; `{}` is the counted noun.
LONE = {
    "airplane": ["{} in the sky", "{} at an airport"],
    "train": ["{} on the tracks", "{} at a station"],
    "bus": ["{} on the street", "{} driving down the street"],
    "truck": ["{} on the road", "{} parked on the street"],
    "car": ["{} parked on the street", "{} on the road"],
    "motorcycle": ["{} parked on the street"],
    "bicycle": ["{} parked on the sidewalk"],
    "boat": ["{} in the water", "{} on the water"],
    "bird": ["{} on a branch", "{} standing outside"],
    "cat": ["{} laying down", "{} looking at the camera"],
    "dog": ["{} laying down", "{} looking at the camera"],
    "horse": ["{} standing in a field"],
    "sheep": ["{} in a field", "{} grazing in a field"],
    "cow": ["{} in a field", "{} standing in a field"],
    "elephant": ["{} standing in the grass", "{} walking"],
    "bear": ["{} walking in the grass"],
    "zebra": ["{} standing in a field"],
    "giraffe": ["{} standing in a field", "{} next to trees"],
    "bench": ["{} in a park"],
    "fire hydrant": ["{} on the sidewalk"],
    "stop sign": ["{} on a pole", "{} on a street"],
    "traffic light": ["{} on a pole", "{} on a street"],
    "parking meter": ["{} on the sidewalk"],
    "kite": ["{} in the sky", "{} flying in the sky"],
    "clock": ["{} on a wall"],
    "vase": ["{} on a table", "{} with flowers"],
    "bed": ["{} in a bedroom"],
    "couch": ["{} in a living room"],
    "toilet": ["{} in a bathroom"],
    "sink": ["{} in a bathroom"],
    "refrigerator": ["{} in a kitchen"],
    "oven": ["{} in a kitchen"],
    "microwave": ["{} in a kitchen"],
    "pizza": ["{} on a plate", "{} on a table"],
    "cake": ["{} on a plate", "{} on a table"],
    "sandwich": ["{} on a plate"],
    "hot dog": ["{} on a plate"],
    "donut": ["{} on a plate"],
    "laptop": ["{} on a desk"],
    "tv": ["{} in a living room"],
    "umbrella": [],
    "teddy bear": ["{} sitting down"],
    "scissors": ["{} on a table"],
    "book": ["{} on a table"],
    "bowl": ["{} with food"],
    "cup": ["{} on a table"],
}
# Other plain names of one object, after its first one.
SYNONYMS = {
    "airplane": ["an airplane"],
    "tv": ["a television"],
    "oven": ["an oven"],
    "cell phone": ["a cell phone"],
    "potted plant": ["a potted plant"],
    "couch": ["a sofa"],
    "bowl": ["a bowl of food"],
    "cup": ["a cup of coffee"],
    "cake": ["a piece of cake"],
    "pizza": ["a slice of pizza"],
    "banana": ["bananas"],
    "broccoli": ["a plate of broccoli"],
    "vase": ["a vase of flowers"],
    "laptop": ["a laptop computer"],
    "bicycle": ["a bike"],
    "teddy bear": ["a stuffed bear"],
    "skis": ["a pair of skis"],
    "handbag": ["a purse"],
    "wine glass": ["a glass of wine"],
    "traffic light": ["a street light"],
    "stop sign": ["a red stop sign"],
    "bus": ["a city bus"],
}
# What people do with an object: for one person, for several.
ACTIONS: dict[str, tuple[list[str], list[str]]] = {
    "surfboard": (
        ["riding a wave on a surfboard", "surfing", "with a surfboard"],
        ["with surfboards", "surfing"],
    ),
    "skateboard": (["riding a skateboard", "doing a trick on a skateboard"], ["skateboarding"]),
    "tennis racket": (["playing tennis", "holding a tennis racket"], ["playing tennis"]),
    "horse": (["riding a horse", "on a horse"], ["riding horses", "on horses"]),
    "elephant": (["riding an elephant", "next to an elephant"], ["riding elephants"]),
    "baseball bat": (["swinging a baseball bat", "playing baseball"], ["playing baseball"]),
    "baseball glove": (["playing baseball"], ["playing baseball"]),
    "skis": (["skiing", "on skis in the snow"], ["skiing", "on skis in the snow"]),
    "snowboard": (["riding a snowboard", "snowboarding"], ["on snowboards", "snowboarding"]),
    "frisbee": (["playing frisbee", "throwing a frisbee"], ["playing frisbee"]),
    "kite": (["flying a kite"], ["flying kites", "flying a kite"]),
    "motorcycle": (["riding a motorcycle", "on a motorcycle"], ["on motorcycles"]),
    "bicycle": (["riding a bike", "on a bicycle"], ["riding bikes"]),
    "cell phone": (["talking on a cell phone", "holding a phone"], ["looking at phones"]),
    "umbrella": (["holding an umbrella", "with an umbrella"], ["with umbrellas"]),
    "pizza": (["eating pizza", "with a pizza"], ["eating pizza"]),
    "cake": (["eating cake", "with a cake"], ["with a cake"]),
    "sandwich": (["eating a sandwich"], ["eating sandwiches"]),
    "hot dog": (["eating a hot dog"], ["eating hot dogs"]),
    "donut": (["eating a donut"], ["eating donuts"]),
    "banana": (["eating a banana", "with bananas"], ["with bananas"]),
    "apple": (["with an apple"], ["with apples"]),
    "orange": (["with oranges"], ["with oranges"]),
    "laptop": (["using a laptop", "with a laptop"], ["with laptops"]),
    "tie": (["in a suit and tie", "wearing a tie"], ["in suits and ties"]),
    "toothbrush": (["brushing his teeth"], ["brushing teeth"]),
    "wine glass": (["with a glass of wine"], ["drinking wine"]),
    "cup": (["with a cup"], ["at a table"]),
    "bottle": (["with a bottle"], ["with bottles"]),
    "remote": (["playing a video game"], ["playing a video game"]),
    "tv": (["in front of a tv"], ["in front of a tv"]),
    "couch": (["sitting on a couch"], ["sitting on a couch"]),
    "chair": (["sitting in a chair"], ["sitting in chairs"]),
    "bench": (["sitting on a bench"], ["sitting on a bench"]),
    "bed": (["laying on a bed", "sitting on a bed"], ["on a bed"]),
    "dining table": (["sitting at a table"], ["sitting at a table"]),
    "train": (["next to a train"], ["next to a train"]),
    "bus": (["next to a bus"], ["next to a bus"]),
    "boat": (["in a boat"], ["in a boat"]),
    "dog": (["with a dog"], ["with a dog"]),
    "cat": (["with a cat"], ["with a cat"]),
    "suitcase": (["with a suitcase"], ["with luggage"]),
    "handbag": (["with a bag"], ["walking"]),
    "backpack": (["with a backpack"], ["with backpacks"]),
    "sports ball": (["playing with a ball"], ["playing with a ball"]),
    "oven": (["in a kitchen", "cooking in a kitchen"], ["in a kitchen"]),
    "refrigerator": (["in a kitchen"], ["in a kitchen"]),
    "microwave": (["in a kitchen"], ["in a kitchen"]),
    "teddy bear": (["with a teddy bear"], ["with teddy bears"]),
    "truck": (["next to a truck"], ["next to a truck"]),
    "car": (["next to a car"], ["next to a car"]),
    "book": (["with a book"], ["with books"]),
    "scissors": (["holding scissors"], ["with scissors"]),
    "bowl": (["with a bowl of food"], ["with food"]),
    "knife": (["cutting food with a knife"], ["preparing food"]),
    "fork": (["eating food"], ["eating food"]),
    "spoon": (["eating food"], ["eating food"]),
    "bird": (["with a bird"], ["with birds"]),
    "cow": (["with a cow"], ["with cows"]),
    "sheep": (["with a sheep"], ["with sheep"]),
    "fire hydrant": (["next to a fire hydrant"], ["next to a fire hydrant"]),
    "parking meter": (["next to a parking meter"], ["next to a parking meter"]),
    "stop sign": (["next to a stop sign"], ["next to a stop sign"]),
    "traffic light": (["crossing the street"], ["crossing the street"]),
    "sink": (["at a sink"], ["at a sink"]),
    "vase": (["with a vase of flowers"], ["with flowers"]),
}
# An action of these is certain from the object being in the photo, however small it is.
TELLING = {
    "surfboard", "skateboard", "tennis racket", "baseball bat", "baseball glove", "skis",
    "snowboard", "frisbee", "kite",
}  # fmt: skip
PLAYERS = {
    "tennis racket": ["a tennis player", "a tennis player on a court"],
    "baseball bat": ["a baseball player swinging a bat", "a baseball player"],
    "baseball glove": ["a baseball player", "a baseball player on a field"],
    "surfboard": ["a surfer on a wave", "a person riding a surfboard"],
    "skis": ["a skier in the snow"],
    "snowboard": ["a snowboarder in the snow"],
    "skateboard": ["a skateboarder doing a trick", "a boy riding a skateboard"],
}
REST_ON = {"couch": "laying on", "bed": "laying on", "chair": "sitting in", "bench": "sitting on"}
NUMBERS = {2: "two", 3: "three", 4: "four"}


def with_article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def one(category: str) -> str:
    """The plain phrase for a single object of a COCO category: "a plane", "skis"."""
    return MASS.get(category) or with_article(SINGULAR.get(category, category))


def many(category: str) -> str:
    """The plural noun of a COCO category, without a number."""
    noun = SINGULAR.get(category, category)
    return PLURAL.get(noun, noun + "s")


def counted(category: str, count: int) -> list[str]:
    """Phrases for `count` objects of a category, the commonest first."""
    if count <= 1 or category in MASS:
        return [one(category)]
    plural = many(category)
    if category in HERD and count >= 4:
        return [f"a herd of {plural}", f"a group of {plural}", plural]
    if category == "banana":
        return ["a bunch of bananas", "bananas"]
    if count in NUMBERS:
        phrases = [f"{NUMBERS[count]} {plural}"]
        return phrases if count == 4 else [*phrases, plural]
    return [f"a group of {plural}" if category in ANIMALS else plural, f"many {plural}"]
