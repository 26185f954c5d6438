"""BERTScore against its authors' package, and against its definition token by token."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from molyneux.errors import UsageError, WeightsError
from molyneux.metrics import bertscore
from molyneux.metrics.bertscore import BertScorer, load_backbone, load_bert_scorer

CANDIDATES = ["a dog with a cat", "the bridge at night", "dog", "a lion and a lioness", "water !"]
REFERENCES = ["a dog and a cat", "a tiger", "the bridge", "a man riding a wave on top of a board"]
PIECES = ["a", "dog", "cat", "with", "and", "the", "bridge", "at", "night", "man", "on", "of", "!"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def save_tokenizer(folder: Path, longest: int) -> None:
    words = [*SPECIAL, *PIECES, *(c for c in LETTERS if c not in PIECES)]
    words += [f"##{letter}" for letter in LETTERS]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=longest,
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert") / "tiny-bert"
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=80,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=40,
        initializer_range=0.6,
    )
    BertModel(config).save_pretrained(folder)
    save_tokenizer(folder, longest=40)
    return folder


@pytest.fixture(scope="module")
def scorer(tiny_bert: Path) -> BertScorer:
    return load_bert_scorer(tiny_bert, layer=2)


def by_definition(folder: Path, layer: int, candidate: str, reference: str) -> float:
    """F1 with one text at a time, and a loop over tokens: nothing is padded or batched."""
    network: Any = BertModel.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    states = []
    for text in (candidate, reference):
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            hidden = network.eval()(input_ids=ids, output_hidden_states=True).hidden_states
        states.append([(vector / vector.norm()).double() for vector in hidden[layer][0]])
    matches = []
    for one, other in (states, states[::-1]):
        best = [max(float(a @ b) for b in other) for a in one]
        matches.append(sum(best[1:-1]) / (len(best) - 2))
    precision, recall = matches
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_it_is_the_definition(tiny_bert: Path, layer: int) -> None:
    found = load_bert_scorer(tiny_bert, layer=layer).f1(CANDIDATES, REFERENCES)
    assert found.shape == (len(CANDIDATES), len(REFERENCES))
    for row, candidate in enumerate(CANDIDATES):
        for column, reference in enumerate(REFERENCES):
            slow = by_definition(tiny_bert, layer, candidate, reference)
            assert found[row, column] == pytest.approx(slow, abs=1e-5)
    assert len({round(value, 3) for value in found.ravel()}) > 15  # not one figure everywhere


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_it_equals_the_authors_package(tiny_bert: Path, layer: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        package = pytest.importorskip("bert_score")
        theirs = package.BERTScorer(
            model_type=str(tiny_bert), num_layers=layer, idf=False, device="cpu"
        )
        pairs = [(c, r) for c in CANDIDATES for r in REFERENCES]
        expected = theirs.score([c for c, _ in pairs], [r for _, r in pairs])
    scorer = load_bert_scorer(tiny_bert, layer=layer)
    shape = (len(CANDIDATES), len(REFERENCES))
    precision, recall = scorer.precision_and_recall(CANDIDATES, REFERENCES)
    f1 = scorer.f1(CANDIDATES, REFERENCES)
    for ours, their in zip((precision, recall, f1), expected, strict=True):
        np.testing.assert_allclose(ours, their.numpy().reshape(shape), atol=5e-5)


def test_dropping_layers_that_are_not_read_changes_nothing(tiny_bert: Path) -> None:
    backbone = load_backbone(tiny_bert)
    for layer in range(4):
        whole = BertScorer(backbone, layer).f1(CANDIDATES, REFERENCES)
        found = load_bert_scorer(tiny_bert, layer).f1(CANDIDATES, REFERENCES)
        np.testing.assert_allclose(found, whole, atol=1e-6)  # weights in other memory
    assert backbone.n_layers == backbone.chosen_layer == 3


def test_neither_order_nor_repetition_changes_a_bit(
    scorer: BertScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bertscore, "_TEXTS_PER_BATCH", 4)  # several batches
    monkeypatch.setattr(bertscore, "_PAIRS_PER_STEP", 300)
    straight = scorer.f1(CANDIDATES, REFERENCES)
    turned = scorer.f1(CANDIDATES[::-1], REFERENCES[::-1])
    assert np.array_equal(straight, turned[::-1, ::-1])
    doubled = scorer.f1([*CANDIDATES, *CANDIDATES], [*REFERENCES, REFERENCES[0]])
    assert np.array_equal(doubled[:5, :4], straight)
    assert np.array_equal(doubled[5:, :4], straight)
    assert np.array_equal(doubled[:5, 4], straight[:, 0])


def test_batches_and_steps_do_not_matter(
    scorer: BertScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scorer.f1(CANDIDATES, REFERENCES)
    monkeypatch.setattr(bertscore, "_TEXTS_PER_BATCH", 2)
    monkeypatch.setattr(bertscore, "_PAIRS_PER_STEP", 1)
    np.testing.assert_allclose(scorer.f1(CANDIDATES, REFERENCES), whole, atol=1e-6)


def test_each_distinct_text_is_embedded_once(
    scorer: BertScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    embed = BertScorer._embed

    def counting(self: BertScorer, ids: list[list[int]]) -> Any:
        seen.append(len(ids))
        return embed(self, ids)

    monkeypatch.setattr(BertScorer, "_embed", counting)
    scorer.f1(["a dog", "a cat", "a dog "], ["a cat", "a cat", "the bridge"])
    assert sum(seen) == 3


def test_another_process_gives_the_same_bits(tiny_bert: Path, scorer: BertScorer) -> None:
    code = f"""
import hashlib, torch
from molyneux.metrics.bertscore import load_bert_scorer
torch.set_num_threads({torch.get_num_threads()})
found = load_bert_scorer({str(tiny_bert)!r}, layer=2).f1({CANDIDATES!r}, {REFERENCES!r})
print(hashlib.sha256(found.tobytes()).hexdigest())
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    here = scorer.f1(CANDIDATES, REFERENCES)
    assert said.stdout.strip() == hashlib.sha256(here.tobytes()).hexdigest()


def test_texts_without_tokens_score_zero(scorer: BertScorer) -> None:
    found = scorer.f1(["", " \n", "a dog", "\u200b"], ["a dog", ""])
    assert found[:2].tolist() == [[0, 0], [0, 0]]
    assert found[2].tolist() == [pytest.approx(1), 0]
    assert found[3].tolist() == [0, 0]  # a zero-width space is cleaned away by the tokenizer
    assert scorer.f1([], ["a dog"]).shape == (0, 1)
    assert scorer.f1(["a dog"], []).shape == (1, 0)


def test_any_script_and_half_characters(scorer: BertScorer) -> None:
    texts = ["un été", "犬と猫", "🐶🐱", "cut \ud83d off", "a dog\u0000", "cafe\u0301"]
    found = scorer.f1(texts, ["a dog", *texts])
    assert np.isfinite(found).all()
    assert np.diag(found[:, 1:]) == pytest.approx(1)


def test_a_text_with_itself_is_one_and_both_ways_are_equal(scorer: BertScorer) -> None:
    found = scorer.f1(CANDIDATES, CANDIDATES)
    assert np.diag(found) == pytest.approx(1)
    assert found == pytest.approx(found.T)
    assert found[~np.eye(5, dtype=bool)].max() < 0.99


def test_f1_is_zero_where_there_is_no_harmonic_mean(
    scorer: BertScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With -.01 and .011 the quotient would be -.22; with less between them, anything."""
    precision, recall = np.array([[-0.01, 0.5, -0.2, 0.3]]), np.array([[0.011, 0.25, -0.1, 0.0]])
    monkeypatch.setattr(scorer, "precision_and_recall", lambda *_: (precision, recall))
    assert scorer.f1(["a"], ["b"] * 4).tolist() == [[0, pytest.approx(1 / 3), 0, 0]]


def test_long_texts_are_cut(scorer: BertScorer) -> None:
    found = scorer.f1(["a dog " * 100], ["a dog " * 19, "a dog " * 200])
    assert found == pytest.approx(1)  # 40 positions: CLS, 38 words, SEP


def test_a_byte_level_tokenizer_gets_its_leading_space(tmp_path: Path) -> None:
    """Without it the first word of a text is another token than the same word inside one."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = ["<pad>", "<unk>", "Ġa", "Ġdog", "Ġcat", "a", "Ġ", *LETTERS[1:]]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = byte_level
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(tmp_path)
    config = RobertaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
        pad_token_id=0,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    scorer = load_bert_scorer(tmp_path, layer=0)
    assert list(scorer._token_ids(["a dog"], ["cat"]).values()) == [[2, 3], [4]]
    # Layer 0 holds positions too; both texts begin with the same word at the same place.
    assert scorer.f1(["a"], ["a dog"])[0, 0] > 0.5
    long = scorer.f1(["a dog " * 30], ["a dog " * 5])  # 12 position rows, of which 10 are usable
    assert long == pytest.approx(1)


def test_what_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hidden layers 0 to 3, not 4"):
        load_bert_scorer(tiny_bert, layer=4)
    with pytest.raises(WeightsError, match=r"no BERTScore: cannot load .*give a folder"):
        load_bert_scorer(tmp_path)
    with pytest.raises(WeightsError, match="hub cannot be reached"):
        load_bert_scorer("nobody/no-such-model")


def test_its_name_says_backbone_and_layer(scorer: BertScorer) -> None:
    assert scorer.name == "tiny-bert, layer 2"


def test_loading_leaves_the_random_state(tiny_bert: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load_bert_scorer(tiny_bert)
    assert torch.equal(torch.rand(1), expected)


def test_the_command_prints_every_layer(
    tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from molyneux.cli import main
    from molyneux.metrics.calibration import PAIRS

    assert main(["calibrate-bertscore", str(tiny_bert)]) == 0
    said = capsys.readouterr().out
    assert "0.83    0.67    0.64    0.70" in said
    assert main(["calibrate-bertscore", str(tiny_bert), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["layer"] for row in document["layers"]] == [1, 2, 3]
    scorer = load_bert_scorer(tiny_bert, layer=2)
    expected = [float(scorer.f1([a], [b])[0, 0]) for a, b, _ in PAIRS]
    assert document["layers"][1]["f1"] == pytest.approx(expected, abs=1e-6)
    off = [abs(f1 - printed) for f1, (_, _, printed) in zip(expected, PAIRS, strict=True)]
    assert document["layers"][1]["distance"] == pytest.approx(sum(off) / 4, abs=1e-6)
    nearest = min(document["layers"], key=lambda row: row["distance"])
    assert document["closest_layer"] == nearest["layer"]
    assert f"closest: layer {nearest['layer']}" in said
    assert main(["calibrate-bertscore", str(tiny_bert), "--layer", "2", "--json"]) == 0
    assert [row["layer"] for row in json.loads(capsys.readouterr().out)["layers"]] == [2]
