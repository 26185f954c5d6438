"""How a run ends: at a number that is none, and how captions end."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_photos

from molyneux.errors import RunError, UsageError
from molyneux.models.captioner import Captioner
from molyneux.models.generation import continue_greedily
from molyneux.models.parts import Parts
from molyneux.training import run as run_module
from molyneux.training.caption_files import load_examples
from molyneux.training.checkpoint import LOG, State
from molyneux.training.evaluation import Evaluator
from molyneux.training.loss import IGNORED, caption_ids, caption_nats, require_end_token
from molyneux.training.recipe import Recipe
from molyneux.training.run import Conduct, train_projection
from molyneux.training.run_folder import open_training_run
from molyneux.vision.encoder import prepare_pixels
from molyneux.vision.layout import lay_out
from molyneux.vision.photo import read_photo

RECIPE = Recipe(steps=6, batch=4, every=2, whole=1.0, dropout=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, photo in enumerate(tiny_photos(6)):
        photo.save(tmp_path / f"{number}.png")
    rows = [{"file": f"{n}.png", "caption": f"a {'dog' if n % 2 else 'cat'}"} for n in range(6)]
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def trained(captioner: Captioner, folder: Path, out: str = "run", **recipe: Any) -> Any:
    training, held_out = load_examples(folder)
    return train_projection(
        Parts(captioner.language_model, captioner.encoder, captioner.names, {}),
        training,
        held_out,
        captioner.layout,
        replace(RECIPE, **recipe),
        open_training_run(folder / out),
        data_name="drawings",
        conduct=Conduct(),
    )


def test_a_run_that_diverges_says_so_and_keeps_what_it_had(
    captioner: Captioner, folder: Path
) -> None:
    with pytest.raises(RunError) as said:
        trained(captioner, folder, learning_rate=1e30)
    line = str(said.value)
    assert "\n" not in line
    for part in (
        "loss of step ",
        "--learning-rate below 1e+30",
        "--dtype float32",
        "another --out",
    ):
        assert part in line, line
    entries = [json.loads(text) for text in (folder / "run" / LOG).read_text().splitlines()]
    assert all(math.isfinite(e[k]) for e in entries for k in ("loss", "loss_held_out") if k in e)
    assert not (folder / "run" / "projection.safetensors").exists()
    assert not (folder / "run" / "MODEL_CARD.md").exists()
    assert not list((folder / "run").rglob("*.part"))


def test_the_last_checkpoint_is_named_and_stays(
    captioner: Captioner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = Evaluator.brief
    seen: list[int] = []

    def brief(self: Evaluator, linear: torch.nn.Linear) -> dict[str, Any]:
        seen.append(1)
        found = true(self, linear)
        return {**found, "loss_held_out": math.nan} if len(seen) == 2 else found

    monkeypatch.setattr(run_module.Evaluator, "brief", brief)
    with pytest.raises(RunError, match=r"held-out loss of step 4 is nan, .* step 2's; give"):
        trained(captioner, folder)
    state = State.load(folder / "run")
    assert state is not None
    assert state.step == 2
    assert state.best is not None
    assert math.isfinite(state.best)
    assert len((folder / "run" / LOG).read_text().splitlines()) == 3
    assert "NaN" not in (folder / "run" / LOG).read_text()


@pytest.mark.parametrize("what", ["training loss", "gradient's norm"])
def test_a_step_without_a_number_is_not_taken(
    captioner: Captioner, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from molyneux.training import loop

    true = loop._step

    def step(*arguments: Any) -> Any:
        loss, unreadable = true(*arguments)
        if what == "training loss":
            return math.inf, unreadable
        for parameter in arguments[4].parameters():
            parameter.grad.fill_(math.nan)
        return loss, unreadable

    monkeypatch.setattr(loop, "_step", step)
    with pytest.raises(RunError, match=rf"{what} of step 1 is .* there is no checkpoint yet; give"):
        trained(captioner, folder)
    assert (folder / "run" / LOG).read_bytes() == b""


def test_the_end_of_a_caption_is_a_token_where_it_is_asked_for(captioner: Captioner) -> None:
    model = captioner.language_model
    end = model.tokenizer.eos_token_id
    plain = caption_ids(model, ["a dog", "a man riding a horse"])
    ended = caption_ids(model, ["a dog", "a man riding a horse"], end_token=True)
    assert ended.shape[1] == plain.shape[1] + 1
    for with_it, without in zip(ended.tolist(), plain.tolist(), strict=True):
        own = [token for token in without if token != IGNORED]
        assert [token for token in with_it if token != IGNORED] == [*own, end]
    # What a caption is cut to does not end there.
    assert end not in caption_ids(model, ["a man riding a horse"], end_token=True)[:, :3]


def test_the_end_is_learned(captioner: Captioner, folder: Path) -> None:
    """Of captions without a full stop, which end nowhere otherwise."""
    model = captioner.language_model
    features = captioner.encoder.encode(
        prepare_pixels(captioner.encoder, [read_photo(folder / "1.png")])
    )
    nats = []
    for end_token in (False, True):
        projection, _ = trained(
            captioner,
            folder,
            out=f"run {end_token}",
            end_token=end_token,
            steps=100,
            every=100,
            learning_rate=3e-2,
            average=0.0,
        )
        assert projection.provenance["recipe"]["end_token"] is end_token
        prompts = projection.project(features)
        ids = [caption_ids(model, ["a dog"], ends) for ends in (True, False)]
        ended, plain = (caption_nats(model, captioner.layout, prompts, one) for one in ids)
        nats.append(float(ended - plain))
    assert nats[1] < nats[0] - 1


def test_greedy_decoding_stops_at_the_end_token(
    captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = captioner.language_model
    end, word = model.tokenizer.eos_token_id, model.encode(" dog")[0]
    true = type(model).run
    steps: list[int] = []

    def run(self: Any, **options: Any) -> Any:
        output = true(self, **options)
        steps.append(1)
        output.logits[:, -1, end if len(steps) == 3 else word] = 1e9
        return output

    monkeypatch.setattr(type(model), "run", run)
    prompts = torch.zeros(1, captioner.encoder.grid.n_patches, model.d_model)
    assert continue_greedily(model, lay_out(model, captioner.layout, prompts)) == [[word, word]]
    assert len(steps) == 3


def test_a_tokenizer_without_an_end_is_refused(captioner: Captioner) -> None:
    class Endless:
        eos_token_id = None

    require_end_token(captioner.language_model.tokenizer, "tiny")
    with pytest.raises(UsageError, match=r"tiny has no token that ends a text.*--no-end-token"):
        require_end_token(Endless(), "tiny")
