"""E5: are they selective?"""
