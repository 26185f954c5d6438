"""What a photo adds to words and what units carry of it, where the right answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from test_attribution import TOY, ToyConfig, ToyNetwork
from tiny_models import KINDS, count_hooks, tiny_captioner, tiny_photos, tiny_tokenizer
from tiny_vlms import tiny_vlm
from torch import Tensor, nn
from transformers import PreTrainedModel

from molyneux import MolyneuxError
from molyneux.adapters import LanguageModel, adapt
from molyneux.neurons.ablation import Intervention, intervened
from molyneux.neurons.attribution import Target
from molyneux.neurons.change import change_scores
from molyneux.neurons.sight.edits import written
from molyneux.neurons.sight.gain import gain_of
from molyneux.neurons.sight.measure import (
    BehindPartners,
    BehindPhoto,
    Effect,
    PartnerPrompt,
    gains,
    in_order,
    measure_sets,
    read_partners,
    read_photo,
)
from molyneux.neurons.sight.passes import Passes
from molyneux.neurons.sight.patch_sets import (
    PatchSet,
    all_units,
    change_set,
    random_set,
)
from molyneux.neurons.sight.reading import Asked, Text, asked_of, read_behind
from molyneux.statistics.crossed import crossed_mean
from molyneux.vision.layout import ImagePrompt, joined

NAN = float("nan")


def behind(prompts: Sequence[ImagePrompt]) -> list[PartnerPrompt]:
    return [PartnerPrompt(prompt, f"photo {number}") for number, prompt in enumerate(prompts)]


# --- a network of small integers ------------------------------------------------------------

# Photo: layer 0 is active (1, 0), (2, 0) at the patches; the stream ends as (3, 0), (5, -2),
# (7, -4) and the head reads its sum. Partner: (0, 1), (1, 1) and (7, -4), (10, -4), (7, -4).
PHOTO = ImagePrompt(torch.tensor([[[1.0, 0.0], [2.0, -1.0], [0.0, 1.0]]]), slice(0, 2))
PARTNER = ImagePrompt(torch.tensor([[[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]]), slice(0, 2))
EVERY_TOKEN = Text((), tuple(Asked(token, 0) for token in range(3)))


def log_p(*logits: float) -> Tensor:
    return torch.tensor(logits).float().log_softmax(dim=0)


PHOTO_LOG_P, PARTNER_LOG_P = log_p(15, -6, 24), log_p(24, -12, 36)


@pytest.fixture(scope="module")
def toy() -> LanguageModel:
    return adapt(ToyNetwork(), tiny_tokenizer(), TOY)


def test_a_gain_of_small_integers(toy: LanguageModel) -> None:
    partners = read_partners(toy, behind([PARTNER, PHOTO]), EVERY_TOKEN, patches=2)
    photo = read_photo(toy, PHOTO, EVERY_TOKEN)
    torch.testing.assert_close(photo.log_p, PHOTO_LOG_P)
    torch.testing.assert_close(partners.log_p, torch.stack([PARTNER_LOG_P, PHOTO_LOG_P]))
    assert photo.activation[0].tolist() == [[1, 0], [2, 0]]
    found = gains(photo, partners)
    for token, gain in enumerate(found):
        own, other = float(PHOTO_LOG_P[token]), float(PARTNER_LOG_P[token])
        assert gain.value == pytest.approx(own - (own + other) / 2, abs=1e-5)
        assert gain.standard_error == pytest.approx(abs(own - other) / 2, abs=1e-5)
        assert gain.partners == 2


def test_what_units_of_small_integers_carry(toy: LanguageModel) -> None:
    partners = read_partners(toy, behind([PARTNER]), EVERY_TOKEN, patches=2)
    photo = read_photo(toy, PHOTO, EVERY_TOKEN)
    (found,) = measure_sets(toy, photo, partners, [all_units(2, 2)])
    # The photo with the partner's (0, 1), (1, 1): its stream ends as (8, -8), (10, -10), (7, -4).
    torch.testing.assert_close(found.mediated, PHOTO_LOG_P - log_p(25, -22, 28))
    # The partner with the photo's (1, 0), (2, 0): (2, 2), (5, 3), (7, -4).
    torch.testing.assert_close(found.transplant, log_p(14, 1, 29) - PARTNER_LOG_P)
    # What is written changes by (-1, 1) and (-1, 1) x rows (0, 1), (3, 0): (3, -1), twice.
    assert found.mediated_norm == found.edit_norm == pytest.approx((2 * 10) ** 0.5)
    assert found.units == 2


def test_a_partner_that_shows_the_word_is_left_out_of_it_alone(toy: LanguageModel) -> None:
    third = ImagePrompt(torch.tensor([[[3.0, 0.0], [0.0, 2.0], [0.0, 1.0]]]), slice(0, 2))
    fits = torch.tensor([[True, False, True], [True, True, True], [True, False, True]])
    prompts = [PARTNER, PHOTO, third]
    partners = read_partners(toy, behind(prompts), EVERY_TOKEN, patches=2, fits=fits, transplants=2)
    assert partners.behind.isnan().tolist() == (~fits).tolist()
    photo = read_photo(toy, PHOTO, EVERY_TOKEN)
    sets = [all_units(2, 2)]
    (found,) = measure_sets(toy, photo, partners, sets)
    assert found.transplanted.isnan().tolist() == [
        [False, True, False],
        [False, False, True],
        [False, True, False],
    ]
    for token, members in ((0, [0, 2]), (1, [0, 1, 2]), (2, [0, 2])):
        asked = EVERY_TOKEN.asking([Asked(token, 0)])
        alone = read_partners(
            toy, behind([prompts[k] for k in members]), asked, patches=2, transplants=2
        )
        (apart,) = measure_sets(toy, read_photo(toy, PHOTO, asked), alone, sets)
        torch.testing.assert_close(found.mediated[token], apart.mediated[0])
        torch.testing.assert_close(found.transplant[token], apart.transplant[0])


def test_an_absent_word_is_read_under_the_edits_of_the_word_it_stands_beside(
    toy: LanguageModel,
) -> None:
    third = ImagePrompt(torch.tensor([[[3.0, 0.0], [0.0, 2.0], [0.0, 1.0]]]), slice(0, 2))
    prompts, sets = [PARTNER, PHOTO, third], [all_units(2, 2)]
    fits = torch.tensor([[True, True, False], [False, True, False]])
    text = EVERY_TOKEN.asking(EVERY_TOKEN.asked[:2])
    partners = read_partners(
        toy, behind(prompts), text, patches=2, fits=fits, edits_of=[0, 0], transplants=2
    )
    assert len(partners.means) == 1
    photo = read_photo(toy, PHOTO, text)
    (found,) = measure_sets(toy, photo, partners, sets)
    both = read_partners(toy, behind(prompts[:2]), text, patches=2)
    (of_word,) = measure_sets(toy, photo, both, sets)
    torch.testing.assert_close(found.mediated, of_word.mediated)
    torch.testing.assert_close(found.transplanted[0, :2], of_word.transplanted[0])
    # Into a partner that shows the absent word it is not transplanted.
    assert found.transplanted[1].isnan().tolist() == [True, False, True]
    torch.testing.assert_close(found.transplanted[1, 1], of_word.transplanted[1, 1])
    assert gains(photo, partners)[1].partners == 1


def test_other_values_are_a_third_photos(toy: LanguageModel) -> None:
    third = ImagePrompt(torch.tensor([[[3.0, 0.0], [0.0, 2.0], [0.0, 1.0]]]), slice(0, 2))
    partners = read_partners(toy, behind([PARTNER, third]), EVERY_TOKEN, patches=2, transplants=1)
    assert partners.third == (1,)
    photo = read_photo(toy, PHOTO, EVERY_TOKEN)
    units = all_units(2, 2)
    other = PatchSet("other_values", 1.0, None, units.mask)
    (found,) = measure_sets(toy, photo, partners, [other])
    values = partners.kept[1]
    edits = [written(units, values)] * 2
    wanted = read_behind(toy, [PHOTO, PARTNER], EVERY_TOKEN, edits)
    torch.testing.assert_close(found.mediated, photo.log_p - wanted[0])
    torch.testing.assert_close(found.transplant, wanted[1] - partners.log_p[0])


def test_there_is_no_third_photo_where_all_partners_receive(toy: LanguageModel) -> None:
    partners = read_partners(toy, behind([PARTNER]), EVERY_TOKEN, patches=2)
    other = PatchSet("other_values", 1.0, None, all_units(2, 2).mask)
    (found,) = measure_sets(toy, read_photo(toy, PHOTO, EVERY_TOKEN), partners, [other])
    assert found.mediated.isnan().all()
    assert found.transplant.isnan().all()


def test_draws_are_one_effect_and_may_be_taken_in_turn(toy: LanguageModel) -> None:
    text = EVERY_TOKEN
    partners = read_partners(toy, behind([PARTNER, PHOTO]), text, patches=2)
    photo = read_photo(toy, PHOTO, text)
    masks = [torch.tensor([[True, False], [False] * 2]), torch.tensor([[False, True], [False] * 2])]
    draws = [PatchSet("random", 0.5, None, mask, draw) for draw, mask in enumerate(masks)]
    (all_of_both,) = measure_sets(toy, photo, partners, draws)
    apart = [measure_sets(toy, photo, partners, [draw])[0] for draw in draws]
    mean = torch.stack([one.transplanted for one in apart]).mean(dim=0)
    torch.testing.assert_close(all_of_both.transplanted, mean)
    torch.testing.assert_close(all_of_both.mediated, (apart[0].mediated + apart[1].mediated) / 2)
    (turns,) = measure_sets(toy, photo, partners, draws, draws_in_turn=True)
    taken = torch.stack([apart[0].transplanted[:, 0], apart[1].transplanted[:, 1]], dim=1)
    torch.testing.assert_close(turns.transplanted, taken)


def test_grids_of_other_sizes_have_a_mean_over_patches_and_no_transplant(
    toy: LanguageModel,
) -> None:
    wide = ImagePrompt(
        torch.tensor([[[0.0, 1.0], [1.0, 1.0], [4.0, 0.0], [0.0, 1.0]]]), slice(0, 3)
    )
    partners = read_partners(toy, behind([PARTNER, wide]), EVERY_TOKEN, patches=2)
    assert partners.by_patch == (False,)
    (mean,) = partners.means
    # (0, 1), (1, 1) and (0, 1), (1, 1), (4, 0).
    torch.testing.assert_close(mean[0], torch.tensor([(1 / 2 + 5 / 3) / 2, (1 + 2 / 3) / 2]))
    photo = read_photo(toy, PHOTO, EVERY_TOKEN)
    with pytest.raises(MolyneuxError, match="2 patches and photo 1 has 3"):
        measure_sets(toy, photo, partners, [all_units(2, 2)])
    none = read_partners(toy, behind([PARTNER, wide]), EVERY_TOKEN, patches=2, transplants=0)
    (found,) = measure_sets(toy, photo, none, [all_units(2, 2)])
    assert found.transplant.isnan().all()
    edit = written(all_units(2, 2), mean)
    wanted = photo.log_p - read_behind(toy, [PHOTO], EVERY_TOKEN, [edit])[0]
    torch.testing.assert_close(found.mediated, wanted)


# --- against a slow implementation ----------------------------------------------------------


class _Given(nn.Module):
    """A module, given other numbers one by one at some places of its input; it keeps that too."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.numbers: dict[tuple[int, int], float] = {}
        self.seen = torch.empty(0)

    def forward(self, values: Tensor) -> Tensor:
        flat = values.reshape(-1, values.shape[-1]).clone()
        self.seen = flat.clone()
        for (position, unit), number in self.numbers.items():
            flat[position, unit] = number
        result: Tensor = self.module(flat.reshape(values.shape))
        return result


class Slow:
    """One row at a time, without hooks: the down projections are exchanged."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.d_mlp = model.d_mlp
        self.downs = []
        for layer in range(model.n_layers):
            parent = model.layer(layer)
            *path, name = model.family.down.split(".")
            for part in path:
                parent = getattr(parent, part)
            down = _Given(getattr(parent, name))
            setattr(parent, name, down)
            self.downs.append((parent, name, down))

    def close(self) -> None:
        for parent, name, down in self.downs:
            setattr(parent, name, down.module)

    @torch.no_grad()
    def read(
        self,
        prompt: ImagePrompt,
        text: Text,
        values: Any = None,
        chosen: Tensor | None = None,
    ) -> tuple[list[float], list[Tensor]]:
        for layer, (_, _, down) in enumerate(self.downs):
            down.numbers = {}
            for unit in range(self.d_mlp):
                if chosen is not None and chosen[layer, unit]:
                    for patch in range(prompt.patches.stop - prompt.patches.start):
                        place = (prompt.patches.start + patch, unit)
                        down.numbers[place] = float(values[layer][patch][unit])
        tokens = self.model.embed(torch.tensor([list(text.token_ids)], dtype=torch.long))
        given = prompt.followed_by(self.model, list(text.token_ids))
        embeddings = torch.cat([prompt.embeddings, tokens], dim=1)
        logits = self.model.model(
            inputs_embeds=embeddings, use_cache=False, **given.given()
        ).logits[0]
        found = []
        for one in text.asked:
            row = logits[prompt.n_positions + one.after - 1].double()
            found.append(float(row[one.token_id] - row.exp().sum().log()))
        return found, [down.seen[prompt.patches] for _, _, down in self.downs]


def subject(kind: str) -> tuple[LanguageModel, list[ImagePrompt]]:
    if kind in ("llava", "qwen2_vl", "gemma3"):
        vlm = tiny_vlm(kind)
        squares = [photo.crop((0, 0, 80, 80)) for photo in tiny_photos(5)]
        return vlm.language_model, [vlm.see([photo]) for photo in squares]
    captioner = tiny_captioner(kind)
    return captioner.language_model, [captioner.see([photo]) for photo in tiny_photos(5)]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "llava", "qwen2_vl", "gemma3"])
def test_gain_mediated_and_transplant_are_the_formulas(kind: str) -> None:
    model, prompts = subject(kind)
    own, *others = prompts
    text = Text((9, 11, 30), (Asked(9, 0), Asked(12, 1), Asked(14, 1), Asked(30, 2), Asked(8, 3)))
    hooks = count_hooks(model.model)
    patches = own.patches.stop - own.patches.start
    partners = read_partners(model, behind(others), text, patches=patches, transplants=3)
    photo = read_photo(model, own, text)
    z = torch.randn(model.n_layers, model.d_mlp, generator=torch.Generator().manual_seed(0))
    chosen = change_set(z, 0.2)
    (found,) = measure_sets(model, photo, partners, [chosen])
    assert count_hooks(model.model) == hooks

    slow = Slow(model)
    try:
        clean, values = slow.read(own, text)
        each = [slow.read(other, text) for other in others]
        mean = [sum(seen[layer] for _, seen in each) / 4 for layer in range(model.n_layers)]
        without, _ = slow.read(own, text, mean, chosen.mask)
        into = [slow.read(other, text, values, chosen.mask)[0] for other in others[:3]]
    finally:
        slow.close()
    for place, gain in enumerate(gains(photo, partners)):
        behind_others = [found_there[place] for found_there, _ in each]
        assert gain.value == pytest.approx(clean[place] - sum(behind_others) / 4, abs=2e-5)
        assert float(found.mediated[place]) == pytest.approx(
            clean[place] - without[place], abs=2e-5
        )
        transplants = [row[place] - each[k][0][place] for k, row in enumerate(into)]
        assert float(found.transplant[place]) == pytest.approx(sum(transplants) / 3, abs=2e-5)
    # It is about something: the edits change what is read.
    assert found.mediated.abs().max() > 1e-3
    assert found.transplant.abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["llama", "gpt2", "llava"])
def test_a_photo_that_is_its_own_partner_has_nothing_to_bring(kind: str) -> None:
    model, prompts = subject(kind)
    text = Text((9, 11), (Asked(9, 0), Asked(12, 1), Asked(14, 2)))
    patches = prompts[0].patches.stop - prompts[0].patches.start
    partners = read_partners(model, behind([prompts[0]] * 3), text, patches=patches)
    photo = read_photo(model, prompts[0], text)
    z = torch.randn(model.n_layers, model.d_mlp, generator=torch.Generator().manual_seed(0))
    change = change_set(z, 0.3)
    sets = [
        change,
        random_set(change, 0),
        all_units(model.n_layers, model.d_mlp),
        PatchSet("scrambled", 0.3, None, change.mask),
    ]
    for effect in measure_sets(model, photo, partners, sets):
        for values in (effect.mediated, effect.transplanted):
            torch.testing.assert_close(values, torch.zeros_like(values), atol=2e-5, rtol=0)
        assert effect.edit_norm == pytest.approx(0, abs=1e-4)
    for gain in gains(photo, partners):
        assert gain.value == pytest.approx(0, abs=2e-5)


def test_rows_read_together_are_rows_read_apart() -> None:
    model, prompts = subject("llama")
    text = Text((9, 11), (Asked(9, 0), Asked(12, 2)))
    z = torch.randn(model.n_layers, model.d_mlp, generator=torch.Generator().manual_seed(0))
    values = read_photo(model, prompts[0], text).activation
    none = Intervention([], "patches")
    edits = [none, written(change_set(z, 0.3), values), none, written(change_set(z, 0.1), values)]
    rows = [*prompts[:3], prompts[3].followed_by(model, [7])]  # of another length
    together = read_behind(model, rows, text, edits)
    for row, (prompt, edit) in enumerate(zip(rows, edits, strict=True)):
        apart = read_behind(model, [prompt], text, [edit])
        torch.testing.assert_close(together[row : row + 1], apart, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "llava", "qwen2_vl", "gemma3"])
def test_texts_read_on_from_kept_passes_are_texts_read_anew(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another text behind the same photos and edits takes no further pass of a prompt."""
    model, (own, *others) = subject(kind)
    patches = own.patches.stop - own.patches.start
    passed: list[int] = []
    run = LanguageModel.run

    def counted(self: LanguageModel, **given: Any) -> Any:
        embeddings = given.get("inputs_embeds")
        passed.append(0 if embeddings is None else len(embeddings))
        return run(self, **given)

    monkeypatch.setattr(LanguageModel, "run", counted)
    z = torch.randn(model.n_layers, model.d_mlp, generator=torch.Generator().manual_seed(0))
    change = change_set(z, 0.2)
    sets = [change, random_set(change, 0), PatchSet("other_values", 0.2, None, change.mask)]

    def measured(text: Text, passes: Passes, own_passes: Passes) -> tuple[list[Tensor], int]:
        del passed[:]
        partners = read_partners(
            model, behind(others), text, patches=patches, transplants=3, passes=passes
        )
        photo = read_photo(model, own, text, passes=own_passes)
        effects = measure_sets(model, photo, partners, sets, passes=own_passes)
        numbers = [one for e in effects for one in (e.mediated, e.transplanted)]
        return [photo.log_p, partners.log_p, *numbers], sum(passed)

    n_rows = 4 + 1 + 3 * (1 + 3)
    kept, own_kept = Passes(), Passes()
    texts = [Text((9, 11), (Asked(9, 0), Asked(12, 2))), Text((30,), (Asked(8, 1),))]
    for place, text in enumerate(texts):
        found, passed_now = measured(text, kept, own_kept)
        anew, passed_anew = measured(text, Passes(0), Passes(0))
        assert (passed_now, passed_anew) == (0 if place else n_rows, n_rows)
        for one, other in zip(found, anew, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=0, equal_nan=True)
    # Another photo's sets are others, and the partners are still there.
    _, passed_now = measured(texts[0], kept, Passes())
    assert passed_now == n_rows - 4


@pytest.mark.parametrize("kind", [*KINDS, "llava", "qwen2_vl"])
def test_layers_below_an_edit_are_not_passed_again_and_nothing_changes(kind: str) -> None:
    model, (own, *others) = subject(kind)
    text = Text((9, 11), (Asked(9, 0), Asked(12, 2)))
    z = torch.randn(model.n_layers, model.d_mlp, generator=torch.Generator().manual_seed(0))
    values = read_photo(model, own, text).activation
    rows = others[:3]
    streams = Passes()
    clean = {n: streams.clean(model, row, streams=True) for n, row in enumerate(rows)}
    last = model.n_layers - 2
    edits = [written(change_set(z, share, [last]), values) for share in (0.2, 0.5, 1.0)]
    given: list[int] = []

    def count(_: nn.Module, args: Any) -> None:
        if args[0].shape[1] == rows[0].n_positions:
            given.append(len(args[0]))

    with ExitStack() as stack:
        for layer in (last - 1, last, last + 1):
            hook = model.layer(layer).register_forward_pre_hook(count)
            stack.callback(hook.remove)
        found = read_behind(model, rows, text, edits, clean=clean)
    alone = 3 if model.layers_are_told_rows else 1
    assert given == [alone, alone, 3]  # counted before the layer is given the rows' own streams
    anew = read_behind(model, rows, text, edits)
    torch.testing.assert_close(found, anew, atol=1e-4, rtol=0)
    assert (found - read_behind(model, rows, text)).abs().max() > 1e-3


def test_an_edit_that_would_go_on_behind_the_prompt_is_refused(toy: LanguageModel) -> None:
    with pytest.raises(MolyneuxError, match="positions='patches'"):
        read_behind(toy, [PHOTO], EVERY_TOKEN, [Intervention(["L0.u1"])])


def test_half_precision_prompts_are_read_in_the_models(toy: LanguageModel) -> None:
    half = PARTNER.to(torch.float16)
    torch.testing.assert_close(read_behind(toy, [half], EVERY_TOKEN)[0], PARTNER_LOG_P)


def test_an_edit_lasts_while_a_caption_is_written() -> None:
    """Only the prompt's patches are edited: what is cached of them is what later steps read."""
    from molyneux.models.generation import continue_greedily

    model, prompts = subject("llama")
    nothing = Text((), (Asked(9, 0),))
    values = read_photo(model, prompts[0], nothing).activation
    edit = written(all_units(model.n_layers, model.d_mlp), 3 * values)
    into = prompts[1]
    with intervened(model, [edit], into.patches):
        written_there = continue_greedily(model, into, 6)[0]
    wanted: list[int] = []
    for _ in range(len(written_there)):  # the whole text anew for each token
        given = into.followed_by(model, wanted)
        with torch.no_grad(), intervened(model, [edit], into.patches):
            logits = model.read(given, keep=1).logits[0, -1, : model.d_vocab]
        wanted.append(int(logits.argmax()))
    assert written_there == wanted
    assert written_there != continue_greedily(model, into, 6)[0]


# --- a network that sees, and blind ones ----------------------------------------------------

N = 6  # nouns


class SeeingLayer(nn.Module):
    def __init__(self, strength: float) -> None:
        super().__init__()
        self.up = nn.Linear(2 * N, N, bias=False)
        self.down = nn.Linear(N, 2 * N, bias=False)
        with torch.no_grad():
            self.up.weight.copy_(torch.eye(N, 2 * N))
            self.down.weight.zero_()
            self.down.weight[N:] = strength * torch.eye(N)

    def forward(self, stream: Tensor) -> Tensor:
        return stream + self.down(self.up(stream).relu())


class SeeingNetwork(ToyNetwork):
    """A patch that is the vector of noun i activates unit i, which writes what token i is read by.

    Nothing else reaches the head: it reads the second half of the stream, summed over positions.
    """

    def __init__(self) -> None:
        PreTrainedModel.__init__(self, ToyConfig())
        self.tokens = nn.Embedding(N, 2 * N)
        nn.init.zeros_(self.tokens.weight)
        self.layers = nn.ModuleList([SeeingLayer(2.0), SeeingLayer(0.0)])
        self.norm = nn.LayerNorm(2 * N)
        self.head = nn.Linear(2 * N, N, bias=False)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[:, N:] = torch.eye(N)


def noun_prompt(noun: int, patches: int = 2) -> ImagePrompt:
    """Two patches of a noun, and one position of text."""
    embeddings = torch.zeros(1, patches + 1, 2 * N)
    embeddings[0, :patches, noun] = 1
    return ImagePrompt(embeddings, slice(0, patches))


@pytest.fixture(scope="module")
def seeing() -> LanguageModel:
    return adapt(SeeingNetwork(), tiny_tokenizer(), TOY)


def each_photo(
    model: LanguageModel, shown: Sequence[int]
) -> list[tuple[BehindPhoto, BehindPartners, Effect]]:
    """Return what each of N photos adds to its human noun (first) and to another's (second).

    Photo i's human noun is i, the other's i + 1; `shown` is what the photos' prompts hold.
    """
    prompts = [noun_prompt(noun) for noun in shown]
    stacked = torch.stack(
        [read_photo(model, p, Text((), (Asked(0, 0),))).activation for p in prompts]
    )
    over_patches = stacked.mean(dim=2)
    mean, deviation = over_patches.mean(dim=0), over_patches.std(dim=0)
    found = []
    for noun, prompt in enumerate(prompts):
        asked = (Asked(noun, 0), Asked((noun + 1) % N, 0))
        text = Text((), asked)
        others = [PartnerPrompt(prompts[k], str(k)) for k in range(N) if k != noun]
        fits = torch.tensor([[int(p.name) != one.token_id for p in others] for one in asked])
        partners = read_partners(model, others, text, patches=2, fits=fits)
        photo = read_photo(model, prompt, text)
        change = change_set(change_scores(photo.activation, mean, deviation), 1 / N)
        found.append((photo, partners, measure_sets(model, photo, partners, [change])[0]))
    return found


def means(found: list[tuple[BehindPhoto, BehindPartners, Effect]]) -> dict[str, float]:
    """Return what the photo's own noun has more than the other, in nats, over photos."""

    def over_photos(values: list[float]) -> float:
        return crossed_mean(values, draws=1).value

    each = [gains(photo, partners) for photo, partners, _ in found]
    return {
        "gain": over_photos([one.value - other.value for one, other in each]),
        "mediated": over_photos([float(e.mediated[0] - e.mediated[1]) for _, _, e in found]),
        "transplant": over_photos([float(e.transplant[0] - e.transplant[1]) for *_, e in found]),
    }


def test_one_word_blind_unit_carries_all_that_a_seeing_network_sees(seeing: LanguageModel) -> None:
    found = each_photo(seeing, range(N))
    # Two patches write 2 each: the noun's logit is 4, all others' 0.
    shown, hidden = float(log_p(4, *[0] * (N - 1))[0]), float(log_p(4, *[0] * (N - 1))[1])
    for noun, (photo, partners, effect) in enumerate(found):
        assert change_of(effect, noun)
        own, other = gains(photo, partners)
        assert own.value == pytest.approx(shown - hidden, abs=1e-5)
        assert own.is_there
        assert not other.is_there
        # The partner's own unit is none of the set: both nouns stand at 4.
        both = float(log_p(4, 4, *[0] * (N - 2))[0])
        assert float(effect.transplant[0]) == pytest.approx(both - hidden, abs=1e-5)
        # Without the unit's values (none of the partners' is active) nothing is left.
        assert float(effect.mediated[0]) == pytest.approx(
            shown - float(log_p(*[0] * N)[0]), abs=1e-5
        )
        assert own.fraction(float(effect.transplant[0])) == pytest.approx(
            (both - hidden) / (shown - hidden), abs=1e-5
        )
        assert other.fraction(1.0) is None
    assert min(means(found).values()) > 1


def change_of(effect: Effect, noun: int) -> bool:
    """Return whether the set is one unit, as its norm says: two patches, 2 written at each."""
    return effect.units == 1 and effect.edit_norm == pytest.approx((2 * 4) ** 0.5, abs=1e-5)


def test_a_model_to_which_all_photos_are_one_fails(seeing: LanguageModel) -> None:
    for photo, partners, effect in each_photo(seeing, [3] * N):
        for gain in gains(photo, partners):
            assert gain.value == pytest.approx(0, abs=1e-6)
            assert not gain.is_there
            assert gain.fraction(1.0) is None
        assert effect.transplant.tolist() == pytest.approx([0, 0], abs=1e-6)
        assert effect.mediated.tolist() == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("step", [2, 3])
def test_a_model_that_is_given_other_photos_features_fails(
    seeing: LanguageModel, step: int
) -> None:
    """Features permuted among photos: units carry as much, and none of it is true."""
    found = each_photo(seeing, [(noun + step) % N for noun in range(N)])
    # Not 0 to the bit: each noun has partners of its own.
    assert max(means(found).values()) < 0.3
    # What the photo is taken for still comes along: that alone is no sight.
    prompt = Text((), (Asked((0 + step) % N, 0),))
    partners = read_partners(seeing, behind([noun_prompt(1)]), prompt, patches=2)
    photo = read_photo(seeing, noun_prompt(step), prompt)
    (effect,) = measure_sets(seeing, photo, partners, [all_units(2, N)])
    assert float(effect.transplant[0]) > 3


def test_a_captioner_whose_projection_is_blind_adds_nothing() -> None:
    captioner = tiny_captioner("llama")
    with torch.no_grad():
        captioner.projection.linear.weight.zero_()
    model = captioner.language_model
    own, *others = (captioner.see([photo]) for photo in tiny_photos(4))
    text = Text((9, 11), (Asked(9, 0), Asked(12, 2)))
    partners = read_partners(model, behind(others), text, patches=16)
    photo = read_photo(model, own, text)
    z = torch.randn(model.n_layers, model.d_mlp, generator=torch.Generator().manual_seed(0))
    (effect,) = measure_sets(model, photo, partners, [change_set(z, 0.2)])
    for gain in gains(photo, partners):
        assert gain.value == pytest.approx(0, abs=2e-5)
    torch.testing.assert_close(effect.transplant, torch.zeros(2), atol=2e-5, rtol=0)
    torch.testing.assert_close(effect.mediated, torch.zeros(2), atol=2e-5, rtol=0)


# --- what is asked, and what is refused -----------------------------------------------------


def test_a_gain_is_there_if_it_exceeds_two_standard_errors() -> None:
    close = gain_of(1.0, torch.tensor([0.0, 0.5, NAN, -0.5, 0.0]))
    assert (close.value, close.partners, close.is_there) == (1.0, 4, True)
    assert close.fraction(0.5) == 0.5
    wide = gain_of(1.0, torch.tensor([-2.0, 2.0]))
    assert (wide.value, wide.standard_error, wide.fraction(0.5)) == (1.0, 2.0, None)
    assert gain_of(-1.0, torch.tensor([0.0, 0.0, 0.0])).fraction(0.5) is None
    assert gain_of(1.0, torch.tensor([0.0])).fraction(0.5) is None
    with pytest.raises(MolyneuxError, match="none"):
        gain_of(1.0, torch.tensor([NAN]))


def test_a_target_is_asked_for_behind_photos_of_any_length() -> None:
    text = PHOTO.n_positions
    assert asked_of(PHOTO, Target(2, text - 1)) == Asked(2, 0)
    assert asked_of(PHOTO, Target(2, text + 3)) == Asked(2, 4)
    with pytest.raises(MolyneuxError, match="inside the prompt"):
        asked_of(PHOTO, Target(2, 0))


def test_an_order_of_partners_is_each_photos_own() -> None:
    names = [f"{number}.jpg" for number in range(30)]
    one, same, other = (in_order(names, seed) for seed in ("a", "a", "b"))
    assert one == same != other
    assert sorted(one) == list(range(30))
    backwards = in_order(names[::-1], "a")
    assert [names[k] for k in one] == [names[::-1][k] for k in backwards]


def test_prompts_are_joined_in_order() -> None:
    both = joined([PHOTO, PARTNER])
    assert torch.equal(both.photo(1).embeddings, PARTNER.embeddings)
    longer = ImagePrompt(torch.zeros(1, 4, 2), slice(0, 2))
    for others in ([PHOTO, longer], []):
        with pytest.raises(MolyneuxError):
            joined(others)


@pytest.mark.parametrize(
    ("tokens", "asked"), [((), ()), ((1,), (Asked(0, 2),)), ((9,), (Asked(2, 0),))]
)
def test_texts_that_cannot_be_read_are_refused(
    toy: LanguageModel, tokens: tuple[int, ...], asked: tuple[Asked, ...]
) -> None:
    with pytest.raises(MolyneuxError):
        read_behind(toy, [PHOTO], Text(tokens, asked))


def test_edits_and_partners_are_counted(toy: LanguageModel) -> None:
    with pytest.raises(MolyneuxError, match="1 prompts and 2 edits"):
        read_behind(toy, [PHOTO], EVERY_TOKEN, [Intervention([])] * 2)
    none_fits = torch.tensor([[True], [False], [True]])
    with pytest.raises(MolyneuxError, match="more partners"):
        read_partners(toy, behind([PARTNER]), EVERY_TOKEN, patches=2, fits=none_fits)


def test_seconds_of_a_row_do_not_hang_on_unused_words() -> None:
    """A text is read up to the last token asked for: what comes later changes nothing."""
    text = Text((1, 2, 0, 1), (Asked(0, 1), Asked(2, 2)))
    assert (text.first, text.read) == (1, (1, 2))


def test_hooks_are_removed_after_a_failure(
    toy: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BrokenError(Exception):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise BrokenError

    hooks = count_hooks(toy.model)
    edit = written(all_units(2, 2), torch.zeros(2, 2, 2))
    monkeypatch.setattr(toy.model, "forward", fail)
    for edits in ([edit], None):
        with pytest.raises(BrokenError):
            read_behind(toy, [PHOTO], EVERY_TOKEN, edits)
    assert count_hooks(toy.model) == hooks
