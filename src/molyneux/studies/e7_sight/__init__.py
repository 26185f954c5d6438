"""E7: was it seen?"""

NAME = "E7"
