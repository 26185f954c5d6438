"""From a photo to image prompts: reading, encoding into a patch grid, projecting, laying out."""
