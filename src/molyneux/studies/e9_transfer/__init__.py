"""E9: do the same units keep their concepts on photos of another source?"""

NAME = "E9"
