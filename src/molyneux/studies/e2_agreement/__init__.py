"""E2: do neurons say it?"""
