"""E3: where are they?"""
