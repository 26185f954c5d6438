"""R: the headline numbers again, on disjoint subsets of the photos."""

NAME = "R"
