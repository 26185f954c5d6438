"""What a photo adds to words, and which units at its patches carry it.

Units are chosen without any word; then it is measured what a word loses without their values and
what they bring along into another photo's patches.
"""
