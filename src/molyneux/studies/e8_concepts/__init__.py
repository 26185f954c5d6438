"""E8: which units carry a concept?"""

NAME = "E8"
