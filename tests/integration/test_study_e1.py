"""E1 on a tiny captioner: tokens and places are what the model's own tables and head say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from study_toy import facts_over, photo_files, subject_of
from tiny_models import count_hooks, tiny_captioner, tiny_photos

from molyneux.neurons.lens import JacobianLens
from molyneux.neurons.other_photos import OtherPhoto
from molyneux.neurons.streams import patch_streams, through_lens, token_places
from molyneux.neurons.targets import Sentence
from molyneux.studies.e1_prompts.depth import MAX_CONTROLS, TOP, measure_depth, wanted_nouns
from molyneux.studies.e1_prompts.experiment import Prompts
from molyneux.studies.experiment import PhotoRecord, TextScorers
from molyneux.studies.subject import ModelFacts, Subject

CAPTIONS = ("a dog on a beach", "a small dog by the water")


class SharedWords:
    """Stands in for BERTScore: the share of a candidate's words that a reference holds."""

    name = "shared words"

    def f1(self, candidates: list[str], references: list[str]) -> np.ndarray:
        assert len(set(candidates)) == len(candidates), "each text is scored once"
        return np.array(
            [
                [len({*c.split()} & {*r.split()}) / max(1, len({*c.split()})) for r in references]
                for c in candidates
            ]
        )


class Lengths:
    """Stands in for CLIP: a text's length."""

    def score(self, image: Any, texts: list[str]) -> np.ndarray:
        return np.array([float(len(text)) for text in texts])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return photo_files(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def facts(make_captioner: Any, files: list[Path]) -> ModelFacts:
    return facts_over(make_captioner("llama"), files)


def seen(facts: ModelFacts, path: Path, captions: tuple[str, ...] = CAPTIONS) -> Subject:
    return subject_of(facts, path, captions=captions)


def test_nearest_tokens_are_those_of_the_embedding_table(facts: Any, files: list[Path]) -> None:
    subject = seen(facts, files[0])
    tokens = torch.arange(5, 5 + len(subject.projected))
    embeddings = subject.model.input_embeddings()
    subject.__dict__["projected"] = 3 * embeddings[tokens]
    rows = Prompts().measure(subject)["e1_prompts"]
    for token, row in zip(tokens.tolist(), rows, strict=True):
        assert row["tokens"][0] == subject.model.token_text(token)
        assert row["cosine"][0] == pytest.approx(1, abs=1e-5)
        assert row["norm"] == pytest.approx(3 * float(embeddings[token].norm()), rel=1e-5)
        assert row["cosine"] == sorted(row["cosine"], reverse=True)
        assert row["random_cosine"][0] < 1


def test_rows_fit_their_tables_and_repeat_to_the_bit(facts: Any, files: list[Path]) -> None:
    hooks = count_hooks(facts.captioner.language_model.model)
    first, again = (Prompts().measure(seen(facts, files[1])) for _ in range(2))
    assert first == again
    schemas = Prompts().tables()
    assert set(first) == set(schemas)
    for name, rows in first.items():
        assert all(set(row) == set(schemas[name].names) for row in rows)
        assert pa.Table.from_pylist(rows, schema=schemas[name]).num_rows == len(rows) > 0
    assert count_hooks(facts.captioner.language_model.model) == hooks
    other = Prompts().measure(seen(facts, files[2]))
    tokens = [[row["random_cosine"] for row in r["e1_prompts"]] for r in (first, other)]
    assert tokens[0] != tokens[1], "another photo's random vectors are others"


def test_the_lens_at_the_last_layer_is_the_models_output(family_captioner: Any) -> None:
    model = family_captioner.language_model
    prompt = family_captioner.see(tiny_photos(1))
    streams = patch_streams(model, prompt)
    assert len(streams) == model.n_layers + 1
    assert torch.equal(streams[0], prompt.embeddings[0, prompt.patches])
    tokens = [3, 17, 40]
    bias = model.unembedding_bias()
    places = token_places(through_lens(model, streams[-1]), model.unembedding(), tokens, bias)
    logits = model.run(inputs_embeds=prompt.embeddings).logits[0, prompt.patches, : model.d_vocab]
    for column, token in enumerate(tokens):
        above = (logits - logits[:, token, None]).numpy()
        # By another route: logits that are equal but for rounding may lie on either side.
        assert ((above > 1e-4).sum(axis=1) <= places[:, column]).all()
        assert (places[:, column] <= (above > -1e-4).sum(axis=1) - 1).all()


def test_the_streams_are_the_models_hidden_states(kind: str) -> None:
    captioner = tiny_captioner(kind)  # its own: asked for hidden states, transformers leaves hooks
    model = captioner.language_model
    prompt = captioner.see(tiny_photos(1))
    hidden = model.model(inputs_embeds=prompt.embeddings, output_hidden_states=True).hidden_states
    streams = patch_streams(model, prompt)
    for layer in range(1, model.n_layers):  # the last one comes normed
        torch.testing.assert_close(streams[layer], hidden[layer][0, prompt.patches])


def test_depth_rows_are_a_slow_count_of_the_places(facts: Any, files: list[Path]) -> None:
    subject = seen(facts, files[0])
    n = len(subject.projected)
    subject.__dict__["sink_patches"] = torch.arange(n) < 2
    said = subject.word.lemma if subject.word else ""
    names = [
        said,
        "dogs",
        "zebra",
        *(n for n in ("train", "cake", "bench", "boat", "horse") if n != said),
    ]
    subject.__dict__["others"] = [OtherPhoto(name, {}) for name in names]
    model, nouns = subject.model, wanted_nouns(subject)
    assert nouns.first == [subject.target.token_id]
    assert len(nouns.human) == 3
    assert 2 <= len(nouns.control) <= MAX_CONTROLS
    assert not {*nouns.control} & {*nouns.first, *nouns.human}
    rows = measure_depth(subject)
    table = model.input_embeddings().double()
    streams = patch_streams(model, subject.prompt)
    for row in rows:
        if row["reading"] != "cosine":
            continue
        kept = slice(None) if row["patches"] == "all" else slice(2, None)
        stream = streams[row["layer"]][kept].double()
        cosine = torch.cosine_similarity(stream[:, None], table[None], dim=2)
        order = cosine.argsort(dim=1, descending=True).tolist()
        tokens = getattr(nouns, row["role"])
        places = np.array([[ranked.index(token) for token in tokens] for ranked in order])
        best = places.min(axis=0)
        assert row["nouns"] == len(tokens)
        assert row["rank"] == pytest.approx(best.mean())
        assert row["top5"] == pytest.approx((best < TOP).mean())
        assert row["percentile"] == pytest.approx(1 - places.mean() / model.d_vocab)
        if row["compared"] == len(tokens):
            assert row["rank_best"] == pytest.approx(best.min())
            assert row["top5_any"] == pytest.approx(float((best < TOP).any()))
    layers = model.n_layers + 1
    assert len(rows) == 2 * layers * 2 * 3


def test_a_jacobian_lens_is_a_third_reading_of_the_layers_it_reads(
    facts: Any, files: list[Path]
) -> None:
    model = facts.captioner.language_model
    subject = seen(facts, files[0])
    lens = JacobianLens({}, torch.randn(model.n_layers - 1, model.d_model, model.d_stream))
    subject.captioner = replace(facts.captioner, lens=lens)
    rows = [row for row in measure_depth(subject) if row["reading"] == "jacobian"]
    assert {row["layer"] for row in rows} == {*range(1, model.n_layers)}
    streams, table = patch_streams(model, subject.prompt), model.unembedding().double()
    for row in rows:
        if (row["role"], row["patches"]) != ("first", "all"):
            continue
        read = streams[row["layer"]].double() @ lens.jacobians[row["layer"] - 1].double().T
        order = (read @ table.T).argsort(dim=1, descending=True).tolist()
        places = [ranked.index(subject.target.token_id) for ranked in order]
        assert row["rank"] == min(places)


def test_without_a_noun_or_captions_the_rest_is_there(facts: Any, files: list[Path]) -> None:
    subject = seen(facts, files[0], captions=())
    subject.__dict__["sentence"] = Sentence([4], ".", [])
    rows = Prompts().measure(subject)
    assert len(rows["e1_prompts"]) == len(subject.projected)
    assert {row["role"] for row in rows["e1_depth"]} == {"control"}
    assert {row["top5_any"] for row in rows["e1_depth"]} == {None}


def record(index: int, tokens: list[list[str]], **row: Any) -> PhotoRecord:
    prompts = [{"tokens": five, "random_tokens": ["zzz"]} for five in tokens]
    return PhotoRecord({"index": index, "e1_prompts": prompts, **row})


def test_texts_are_scored_against_this_photo(files: list[Path]) -> None:
    own = record(0, [[" dog", " beach"], [" tree", " sky"]], caption="a dog.", captions=CAPTIONS)
    partner = record(1, [[" water"], [" cat"]], caption="a cat.", captions=("a cat",))
    photo = tiny_photos(1)[0]
    scorers = TextScorers(SharedWords(), Lengths())  # type: ignore[arg-type]
    rows = Prompts().score(own, partner, photo, scorers)["e1_texts"]
    assert all(set(row) == set(Prompts().text_tables()["e1_texts"].names) for row in rows)
    bert = {(row["source"], row["patch"]): row["bert"] for row in rows}
    assert bert == {
        ("prompts", 0): pytest.approx((1 + 0.5) / 2),  # "dog beach"
        ("prompts", 1): 0,
        ("random", 0): 0,
        ("random", 1): 0,
        ("other", 0): pytest.approx(0.5),  # "water", of the second caption
        ("other", 1): 0,
        ("caption", None): pytest.approx(0.5),  # "a" and not "dog."
        ("caption_nouns", None): 1,
        ("human_nouns", None): pytest.approx(2 / 3),  # "dog beach water"
    }
    clip = {(row["source"], row["patch"]): row["clip"] for row in rows}
    assert clip["prompts", 0] == len("dog beach")


def test_what_cannot_be_scored_is_left_empty() -> None:
    own = record(0, [[" dog"]], caption="a dog.", captions=[])
    scorers = TextScorers(SharedWords(), None, "no weights")  # type: ignore[arg-type]
    rows = Prompts().score(own, own, tiny_photos(1)[0], scorers)["e1_texts"]
    assert {row["source"] for row in rows} == {"prompts", "random", "caption", "caption_nouns"}
    assert all(row["bert"] is None and row["clip"] is None for row in rows)
