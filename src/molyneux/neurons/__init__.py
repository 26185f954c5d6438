"""Units: attributing, ranking, decoding, locating and ablating them. Pure functions on tensors."""
