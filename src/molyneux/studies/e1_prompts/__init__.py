"""E1: do image prompts already say it?"""

NAME = "E1"
