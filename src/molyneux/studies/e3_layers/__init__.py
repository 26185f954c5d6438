"""E3: where are they?"""

NAME = "E3"
