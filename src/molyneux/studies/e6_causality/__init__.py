"""E6: do they cause it?"""
