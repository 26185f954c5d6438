"""E2: do neurons say it?"""

NAME = "E2"
