"""Everyday nouns, by one list of our own: what people name in photos, and much that they do not.

They were chosen by what they mean, before any model was asked for them.
"""

from __future__ import annotations

EVERYDAY_NOUNS = tuple(
    """
    man woman boy girl child baby person people family couple crowd group team friend mother father
    player runner rider swimmer dancer singer soldier officer worker doctor nurse teacher student
    artist farmer king queen bride
    dog cat horse cow sheep goat pig bird duck chicken eagle owl parrot fish shark whale dolphin
    bear lion tiger elephant giraffe zebra monkey deer fox wolf rabbit mouse snake lizard frog
    turtle spider bee butterfly insect
    car bus truck train plane boat ship bicycle motorcycle helicopter rocket tractor wheel engine
    road street bridge track station airport
    house building church castle tower school hospital hotel shop restaurant kitchen bathroom room
    door window wall roof floor stair fence gate garden park field farm
    table chair bed sofa desk shelf lamp mirror clock curtain carpet pillow blanket bath toilet sink
    oven
    tree flower grass leaf plant forest mountain hill rock river lake sea ocean beach sand snow ice
    sky cloud sun moon star rain fire water wave desert island
    pizza cake bread sandwich burger salad soup rice pasta meat egg cheese fruit apple banana orange
    lemon strawberry tomato potato carrot coffee tea milk juice wine beer
    cup glass plate bowl bottle knife fork spoon pan pot basket box bag
    shirt dress jacket coat hat cap shoe boot glove scarf tie uniform helmet umbrella watch ring
    necklace
    ball bat racket skateboard surfboard kite swing slide pool game toy doll balloon
    book newspaper letter map picture painting camera phone computer keyboard screen television
    radio guitar piano drum violin
    hand face eye hair arm leg foot head smile
    sign flag statue light candle rope ladder hammer brush key coin
    """.split()  # noqa: SIM905
)
"""In the singular, each once."""
