"""Proving by intervention that a family's row describes the model it is used for."""
