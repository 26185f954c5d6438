"""The explorer: run folders and a model to look into, in a browser on the same machine."""
