"""U: what is a multimodal neuron?"""

NAME = "U"
