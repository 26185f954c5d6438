"""Which tokens a model has, and how each is read as text."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from tiny_models import (
    BEGIN,
    PADDING_ROWS,
    ToyEncoder,
    tiny_language_model,
    tiny_model,
    tiny_projection,
    tiny_tokenizer,
)
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from molyneux.adapters import adapt
from molyneux.models.captioner import Captioner
from molyneux.neurons.decoding import decode_units
from molyneux.neurons.streams import nearest_tokens
from molyneux.neurons.unit import Unit


def with_placeholders() -> Any:
    """The tiny tokenizer, with a name for every padding row, as GPT-J's has."""
    tokenizer = tiny_tokenizer()
    names = [AddedToken(f"<|extratoken_{i + 1}|>", special=False) for i in range(PADDING_ROWS)]
    tokenizer.add_tokens(names)
    return tokenizer


def test_placeholders_are_never_decoded_searched_or_written(photos: list[Image.Image]) -> None:
    """However a GPT-J comes to be one's own."""
    n_text, tokenizer = len(tiny_tokenizer()), with_placeholders()
    assert len(tokenizer) == n_text + PADDING_ROWS
    captioner = Captioner.from_parts(
        tiny_model("gptj"), tokenizer, ToyEncoder(), tiny_projection("tiny-gptj")
    )
    adapted = adapt(tiny_model("gptj"), tokenizer)
    again = adapt(adapted.model, adapted.tokenizer)
    units = [Unit(layer, unit) for layer in range(3) for unit in range(48)]
    for model in (captioner.language_model, adapted, again):
        assert model.d_vocab == len(model.unembedding()) == len(model.input_embeddings()) == n_text
        decoded = decode_units(model, units)
        assert not any("extratoken" in t for one in decoded for t in one.tokens + one.suppressed)
        table = model.model.get_input_embeddings().weight[n_text:]
        near = nearest_tokens(model, table)  # of a placeholder's own embedding
        assert not any("extratoken" in t for one in near for t in one.tokens)
    assert not any("extratoken" in text for text in captioner.caption_all(photos))
    written = captioner.write(captioner.see(photos))
    assert all(token < n_text for row in written for token in row)


def test_only_gpt_j_has_placeholders() -> None:
    tokenizer = with_placeholders()
    other = adapt(tiny_model("llama"), tokenizer)
    assert other.d_vocab == len(tokenizer)


# fmt: off
PIECES = (
    "<unk>", "<s>", "</s>", "<0x0A>", "<0x20>", "<0xE2>", "\u2581dog", "dog", "\u2581",
    "\u2581\u2581", "\u2581,", ",", "a", "\u2581a", "n't", "\u2581n't",
)
TEXTS = (
    "<unk>", "<s>", "</s>", "\n", " ", "\ufffd", " dog", "dog", " ", "  ", " ,", ",", "a", " a",
    "n't", " n't",
)
# fmt: on


@pytest.mark.parametrize("cleans", [False, True])
@pytest.mark.parametrize("strips", [True, False])
def test_a_sentencepiece_tokens_leading_space_is_kept(strips: bool, cleans: bool) -> None:
    """Llama 2's and Mistral's decoder drops the first space of a text; Gemma's does not."""
    vocabulary = {piece: number for number, piece in enumerate(PIECES)}
    made = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    steps: list[Any] = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if strips else [])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=cleans,
    )
    model = adapt(tiny_model("llama"), tokenizer)
    assert tuple(model.token_text(token) for token in range(len(PIECES))) == TEXTS
    plain = tuple(tokenizer.decode([token]) for token in range(len(PIECES)))
    assert (plain == TEXTS) == (not strips)
    units = decode_units(model, [Unit(0, 1)], top=len(PIECES))
    assert sorted(units[0].tokens) == sorted(TEXTS)


def test_the_tiny_tokenizers_tokens_are_read_as_they_are() -> None:
    model = tiny_language_model("llama")
    assert model.token_text(20) == " dog"
    assert model.token_text(0) == BEGIN
    assert [model.token_text(t) for t in range(4, 6)] == ["\n", "A"]
    for token in range(model.d_vocab):
        assert model.token_text(token) == model.tokenizer.decode([token])
