"""Reading what others wrote: sources, hubs, weight files, GGUF, and where weights are put."""
