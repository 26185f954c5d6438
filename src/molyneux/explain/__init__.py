"""One photo, end to end: caption, words, units, fields, ablation, as one document."""
