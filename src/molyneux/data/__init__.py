"""Pictures the package can be tried and trained on: samples, folders, captioned collections."""
