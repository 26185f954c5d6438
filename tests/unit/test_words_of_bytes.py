"""Where words stand among tokens, of tokenizers that cut characters into bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_models import tiny_language_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from molyneux.adapters.language_model import LanguageModel
from molyneux.neurons.targets import read_sentence
from molyneux.vision.layout import ImagePrompt

CAPTIONS = (
    " a dog.",
    " a dog's cat.",
    " a café dog.",
    " a 🐶 dog 日本 cat.",
    " an éclair, and a 👩‍👩‍👧 cat",
    " 犬 dog",
    "  a   dog",
    " \u00a0a dog",
    " a dog.\ufffd cat",
    "dog",
    "éclair",
)
PROMPT = ImagePrompt(torch.zeros(1, 60, 32), slice(1, 50))


def byte_level() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE as GPT-2's, of all bytes and a few words."""
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = []
    for word in ("Ġdog", "Ġcat", "Ġa", "Ġcaf", "Ġæ", "'s", "©cl"):
        for i in range(1, len(word)):
            if word[: i + 1] not in vocabulary:
                vocabulary[word[: i + 1]] = len(vocabulary)
                merges.append((word[:i], word[i]))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, unk_token="<unk>"
    )


def byte_fallback() -> PreTrainedTokenizerFast:
    """Return a tokenizer of SentencePiece's kind, whose unknown characters become bytes."""
    vocabulary = [("<unk>", 0.0), *((f"<0x{i:02X}>", -20.0) for i in range(256))]
    vocabulary += [(piece, -1.0) for piece in ("▁", "▁a", "▁dog", "▁cat", "s", "'", ".", ",")]
    vocabulary += [(letter, -9.0) for letter in "abcdefghijklmnopqrtuvwxyz"]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, unk_token="<unk>"
    )


def bytes_of(piece: str) -> bytes:
    """Return what a token of either tokenizer stands for, read from its name alone."""
    if piece.startswith("<0x"):
        return bytes.fromhex(piece[3:5])
    return piece.replace("▁", " ").encode()


def bytes_of_level(piece: str) -> bytes:
    """Return the same of byte-level BPE, whose alphabet stands for the bytes in order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}
    return bytes(table[c] for c in piece)


KINDS = {"byte level": (byte_level, bytes_of_level), "byte fallback": (byte_fallback, bytes_of)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("caption", CAPTIONS)
def test_a_word_s_tokens_are_those_that_hold_its_bytes(kind: str, caption: str) -> None:
    make, read = KINDS[kind]
    model = _with(make)
    ids = model.encode(caption)
    pieces = [read(piece) for piece in model.tokenizer.convert_ids_to_tokens(ids)]
    holder = [number for number, piece in enumerate(pieces) for _ in piece]
    whole = b"".join(pieces)
    words = read_sentence(model, PROMPT, ids).words
    assert words
    for word in words:
        at = whole.decode().lower().index(word.word)
        start = len(whole.decode()[:at].encode())
        first = holder[start]
        last = holder[start + len(word.word.encode()) - 1]
        assert word.target.token_id == ids[first], word
        assert word.target.position == PROMPT.n_positions + first - 1, word
        assert word.n_tokens == last - first + 1, word


def test_an_emoji_moves_no_word_behind_it() -> None:
    model = _with(byte_fallback)
    (word,) = read_sentence(model, PROMPT, model.encode(" a 🐶 dog")).words
    assert (word.token, word.n_tokens) == (" dog", 1)


def test_a_character_of_two_bytes_is_counted_whole() -> None:
    model = _with(byte_level)
    (word,) = read_sentence(model, PROMPT, model.encode(" a café")).words
    assert (word.token, word.n_tokens) == (" caf", 3)


def _with(make: Callable[[], PreTrainedTokenizerFast]) -> LanguageModel:
    tokenizer, language = make(), tiny_language_model("llama")
    language.model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return replace(language, tokenizer=tokenizer)
