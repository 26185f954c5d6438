"""E5: are they selective?"""

NAME = "E5"
