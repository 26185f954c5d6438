"""E6: do they cause it?"""

NAME = "E6"
