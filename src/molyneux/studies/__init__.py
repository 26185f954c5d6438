"""The paper's experiments over a data set: one file each, and what runs and resumes them."""
