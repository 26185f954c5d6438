"""E4: what do they look at?"""

NAME = "E4"
