"""What a model is given beside the embeddings, through everything that is done to a prompt."""

from __future__ import annotations

import torch
from tiny_models import tiny_language_model

from molyneux.vision.layout import Beside, ImagePrompt


def prompt() -> ImagePrompt:
    """Two photos of three positions, with token types and positions of two axes."""
    positions = torch.tensor([[[0, 1, 1], [0, 1, 1]], [[0, 1, 2], [0, 1, 4]]])
    types = torch.tensor([[0, 1, 1], [0, 1, 1]])
    beside = {"types": Beside(types, 7), "positions": Beside(positions, None)}
    return ImagePrompt(torch.zeros(2, 3, 32), slice(1, 3), beside)


def test_tokens_that_follow_are_of_one_type_or_count_on_from_the_largest_position() -> None:
    longer = prompt().followed_by(tiny_language_model("llama"), [20, 21])
    given = longer.given()
    assert given["types"].tolist() == [[0, 1, 1, 7, 7]] * 2
    assert given["positions"][:, 0].tolist() == [[0, 1, 1, 3, 4], [0, 1, 2, 3, 4]]
    assert given["positions"][:, 1].tolist() == [[0, 1, 1, 5, 6], [0, 1, 4, 5, 6]]
    assert longer.patches == slice(1, 3)


def test_a_step_is_given_what_the_whole_would_be() -> None:
    whole = prompt().followed_by(tiny_language_model("llama"), [20, 21, 22]).given()["positions"]
    for step in range(3):
        at_step = prompt().given_at(step)
        assert list(at_step) == ["positions"]
        assert torch.equal(at_step["positions"], whole[..., 3 + step : 4 + step])


def test_one_photo_and_repeated_rows() -> None:
    one = prompt().photo(1)
    assert one.given()["positions"].tolist() == [[[0, 1, 1]], [[0, 1, 4]]]
    three = one.repeated(3)
    assert three.embeddings.shape == (3, 3, 32)
    assert three.given()["types"].tolist() == [[0, 1, 1]] * 3
    assert three.given()["positions"][1].tolist() == [[0, 1, 4]] * 3
    assert three.photo(2).given()["positions"].tolist() == one.given()["positions"].tolist()


def test_models_of_text_are_given_nothing_more() -> None:
    plain = ImagePrompt(torch.zeros(1, 3, 32), slice(0, 2))
    longer = plain.followed_by(tiny_language_model("llama"), [20])
    assert plain.given() == longer.given() == plain.repeated(4).given() == {}
    assert longer.given_at(0) == {}
