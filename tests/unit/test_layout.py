"""Where the patches are, and that nothing gets in between unasked."""

from __future__ import annotations

import pytest
import torch
from tiny_models import BEGIN, UNKNOWN, tiny_language_model, tiny_model, tiny_tokenizer
from torch import Tensor

from molyneux.adapters import LanguageModel, adapt
from molyneux.errors import WeightsError
from molyneux.models.captioner import Captioner
from molyneux.vision.layout import ImagePrompt, Layout, lay_out

TEXT_IDS = [5, 9, 10]  # "A picture of"


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny_language_model("llama")


@pytest.fixture
def projected() -> Tensor:
    return torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("begin", [None, BEGIN])
def test_positions(model: LanguageModel, projected: Tensor, begin: str | None) -> None:
    prompt = lay_out(model, Layout(begin), projected)
    ahead = 0 if begin is None else 1
    table = model.model.get_input_embeddings().weight
    assert prompt.n_positions == ahead + 5 + 3
    assert prompt.patches == slice(ahead, ahead + 5)
    assert torch.equal(prompt.embeddings[:, prompt.patches], projected)
    for row in prompt.embeddings:
        assert torch.equal(row[-3:], table[TEXT_IDS])
        assert torch.equal(row[:ahead], table[[0] * ahead])


@pytest.mark.parametrize("begin", [None, BEGIN])
def test_a_tokenizer_that_adds_a_token_in_silence_changes_nothing(
    projected: Tensor, begin: str | None
) -> None:
    adds = tiny_tokenizer(adds_begin=True)
    assert adds("A picture of").input_ids == [0, *TEXT_IDS]
    silent = adapt(tiny_model("llama"), adds)
    plain = adapt(tiny_model("llama"), tiny_tokenizer())
    one, other = (lay_out(m, Layout(begin), projected) for m in (silent, plain))
    assert torch.equal(one.embeddings, other.embeddings)
    assert one.patches == other.patches
    assert silent.encode("A picture of") == TEXT_IDS


def test_another_text_and_none(model: LanguageModel, projected: Tensor) -> None:
    table = model.model.get_input_embeddings().weight
    prompt = lay_out(model, Layout(None, " a dog"), projected)
    assert torch.equal(prompt.embeddings[0, 5:], table[[11, 20]])
    bare = lay_out(model, Layout(None, ""), projected)
    assert torch.equal(bare.embeddings, projected)


@pytest.mark.parametrize("begin", ["<|nobody|>", "begin of text", ""])
def test_a_begin_token_the_tokenizer_does_not_know_is_refused(
    model: LanguageModel, projected: Tensor, begin: str
) -> None:
    """Else the unknown token's embedding would stand there, and nobody would notice."""
    with pytest.raises(WeightsError, match=r"begins with .* which the tokenizer does not know"):
        lay_out(model, Layout(begin), projected)
    assert lay_out(model, Layout(UNKNOWN), projected).patches == slice(1, 6)


def test_tokens_follow_every_photo(model: LanguageModel, projected: Tensor) -> None:
    prompt = lay_out(model, Layout(BEGIN), projected)
    longer = prompt.followed_by(model, [20, 21])
    assert longer.n_positions == prompt.n_positions + 2
    assert longer.patches == prompt.patches
    assert torch.equal(longer.embeddings[:, :-2], prompt.embeddings)
    expected = model.embed(torch.tensor([20, 21]))
    assert all(torch.equal(row[-2:], expected) for row in longer.embeddings)
    assert prompt.followed_by(model, []) is prompt
    in_steps = prompt.followed_by(model, [20]).followed_by(model, [21])
    assert torch.equal(in_steps.embeddings, longer.embeddings)


def test_one_photo_of_several(model: LanguageModel, projected: Tensor) -> None:
    prompt = lay_out(model, Layout(BEGIN), projected)
    second = prompt.photo(1)
    alone = lay_out(model, Layout(BEGIN), projected[1:])
    assert isinstance(second, ImagePrompt)
    assert torch.equal(second.embeddings, alone.embeddings)
    assert second.patches == alone.patches


def test_prompts_take_the_models_dtype(projected: Tensor) -> None:
    model = tiny_language_model("gpt2", dtype=torch.bfloat16)
    assert lay_out(model, Layout(BEGIN), projected).embeddings.dtype == torch.bfloat16


def test_the_record_reads_back() -> None:
    for layout in (Layout(None), Layout(BEGIN, "This is")):
        assert Layout(**layout.record()) == layout


def test_a_captioner_lays_out_as_its_projection_says(
    captioner: Captioner, photos: list[object]
) -> None:
    prompt = captioner.see(photos)  # type: ignore[arg-type]
    expected = lay_out(
        captioner.language_model,
        Layout(BEGIN),
        captioner.image_prompts(photos),  # type: ignore[arg-type]
    )
    assert torch.equal(prompt.embeddings, expected.embeddings)
    assert prompt.n_positions == 1 + 16 + 3
