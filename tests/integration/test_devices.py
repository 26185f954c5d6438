"""Everything on GPUs that are not there: no operation mixes devices, results are the CPU's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pretend_devices
import pytest
import study_toy
import tiny_encoders
import torch
from pretend_devices import MixedDevicesError
from tiny_models import BEGIN, D_MODEL, tiny_model, tiny_photos, tiny_tokenizer
from tiny_vlms import tiny_vlm
from torch import Tensor

from molyneux.adapters.proof.prove import prove
from molyneux.atlas import open_atlas
from molyneux.atlas.build import build_atlas
from molyneux.checkpoints.encoders import load_encoder
from molyneux.cli.model_choice import ModelChoice
from molyneux.data.open import open_dataset
from molyneux.data.selection import select
from molyneux.explain.measure_reference import measure_reference
from molyneux.explain.run import explain_photos
from molyneux.explain.settings import Settings
from molyneux.models.captioner import Captioner
from molyneux.models.parts import Parts
from molyneux.models.vlm_proof import prove_patches
from molyneux.neurons.attribution import Target, attribute_units
from molyneux.neurons.decoding import decode_units, find_writers, token_ranks
from molyneux.neurons.reference import Reference, load_reference, save_reference
from molyneux.neurons.streams import nearest_tokens
from molyneux.neurons.unit import Unit
from molyneux.records import to_plain
from molyneux.studies.e5_selectivity.confirmation import confirm
from molyneux.studies.e5_selectivity.discovery import discover
from molyneux.studies.e6_causality.design import HEADLINE
from molyneux.studies.experiment import load_experiments
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject
from molyneux.training.caption_files import load_examples
from molyneux.training.recipe import Recipe
from molyneux.training.run import Conduct, train_projection
from molyneux.training.run_folder import open_training_run
from molyneux.vision.encoder import prepare_pixels
from molyneux.vision.layout import Layout
from molyneux.vision.projection import load_projection, random_projection, save_projection

UNITS = [Unit(0, 1), Unit(2, 3), Unit(1, 7)]
RECIPE = Recipe(steps=2, batch=4, every=1, patches_kept=0.5, whole=0.3, seed=5)
EXPERIMENTS = ("E1", "E2", "E3", "E4", "E6")
# Its head is its embedding: spread over two devices, it lies on another than the final norm.
KIND = "qwen2"


@pytest.fixture
def gpus() -> Iterator[None]:
    with pretend_devices.pretend_devices():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision checkpoint, and photos in COCO's layout with a file of captions beside them."""
    folder = tmp_path_factory.mktemp("devices")
    tiny_encoders.write_checkpoint(folder / "vit", "vit")
    study_toy.save_coco(folder / "coco", 4)
    study_toy.save_photos(folder / "photos", 4)
    return folder


def photos_in(place: Path) -> list[Path]:
    return sorted((place / "photos").glob("*.png"))


def built(place: Path) -> Captioner:
    """Return a captioner whose every part is a network, on the CPU."""
    encoder = load_encoder(place / "vit")
    # Attention of another kind rounds otherwise, and the edge of a field moves by a pixel.
    encoder.network.set_attn_implementation("eager")  # type: ignore[operator]
    record = {"language_model": KIND, "encoder": encoder.name, "layout": Layout(BEGIN).record()}
    projection = random_projection(encoder.d_features, D_MODEL, 6.0, record)
    model, tokenizer = tiny_model(KIND, seed=2), tiny_tokenizer()
    with torch.no_grad():  # full stops are likelier: short captions, of which some hold a noun
        model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids(".")] *= 1.4
    return Captioner.from_parts(model, tokenizer, encoder, projection)


def moved(captioner: Captioner, device: str) -> Captioner:
    """Return the captioner on a device."""
    parts = Parts(captioner.language_model, captioner.encoder, captioner.names, {})
    parts.to(torch.device(device))
    return captioner


def spread(captioner: Captioner) -> Captioner:
    """Return the captioner with its language model's last layer and norm on a second device."""
    from accelerate import dispatch_model

    model = captioner.language_model.model
    first = ("model.embed_tokens", "model.layers.0", "model.layers.1", "model.rotary_emb")
    device_map: dict[str, int | str] = {**dict.fromkeys((*first, "lm_head"), 0)}
    dispatch_model(model, {**device_map, "model.layers.2": 1, "model.norm": 1})
    network: Any = captioner.encoder
    network.network.to("cuda:0")
    return captioner


def plain(value: Any) -> Any:
    """Return plain data; where tensors lie is no longer told."""
    if isinstance(value, Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def differences(found: Any, expected: Any, at: str = "") -> list[str]:
    """Return where plain data differ by more than rounding."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted({*expected, *found})
        return [d for k in keys for d in differences(found.get(k), expected.get(k), f"{at}/{k}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(found, expected, strict=True))
        return [d for i, pair in pairs for d in differences(*pair, f"{at}/{i}")]
    if isinstance(expected, float) and isinstance(found, float):
        same = found == pytest.approx(expected, rel=1e-3, abs=1e-5, nan_ok=True)
    else:
        same = found == expected and type(found) is type(expected)
    return [] if same else [f"{at}: {found} instead of {expected}"]


def measured(captioner: Captioner, place: Path) -> Reference:
    """Return a reference table over two photos, measured where the captioner is."""
    found, _ = measure_reference(captioner, photos_in(place)[:2], data="drawings", n_listed=20)
    return found


def explained(captioner: Captioner, table: Reference, place: Path, out: Path) -> dict[str, Any]:
    """Return what is asked of a captioner and of a photo, with the table as it is read again."""
    model, photos = captioner.language_model, photos_in(place)
    prompts = captioner.image_prompts(photos)[0]
    out.mkdir()
    save_reference(out / "reference.safetensors", table)
    seeing = captioner.with_reference(load_reference(out / "reference.safetensors"))
    settings = Settings(grid=[0, 5], top=5, seeds=1)
    run = explain_photos(seeing, [str(photos[0])], settings, out / "run")
    document = run.document()
    fields = (run.folder / "fields.safetensors").stat().st_size
    build_atlas(model, out / "atlas", neighbours=2)
    units = open_atlas(out / "atlas").units.to_pylist()
    return plain(
        {
            "captions": captioner.caption_all(photos[:2]),
            "photos": to_plain(document)["images"],
            "fields": fields,
            "reference": [table.mean, table.deviation, table.top_count, table.interpretable],
            "decoded": [(d.tokens, d.suppressed) for d in decode_units(model, UNITS, [1, -1, 0])],
            "ranks": token_ranks(model, UNITS, [1, -1, 1], 12),
            "writers": [(str(unit), *more) for unit, *more in find_writers(model, 12)],
            "atlas": [[row["top_norm"], row["bottom_none"], row["fake"]] for row in units],
            "neighbours": [[n["unit"] for n in row["neighbours"]] for row in units],
            "nearest": [near.tokens for near in nearest_tokens(model, prompts)],
            "proved": [(check.claim, check.holds) for check in prove(model)],
        }
    )


def studied(captioner: Captioner, table: Reference, place: Path) -> dict[str, Any]:
    """Return every experiment's rows of one photo, with the table as it was measured."""
    seeing = captioner.with_reference(table)
    settings = StudySettings(experiments=EXPERIMENTS, grid=(0, HEADLINE), units=10, seeds=1)
    _, item = next(iter(select(open_dataset(place / "coco")).items(0, 1)))
    subject = Subject(ModelFacts.of(seeing), settings, item, item.read(), item.sha256())
    rows = {each.name: each.measure(subject) for each in load_experiments(EXPERIMENTS)}
    found = discover(subject), confirm(seeing, item.read(), [(0, 1, 1), (0, 1, -1), (2, 5, 1)])
    return plain({**rows, "E5": found})


def trained(captioner: Captioner, place: Path, out: Path) -> dict[str, Any]:
    """Return the projection and log of a run that was broken off after its first checkpoint."""
    parts = Parts(captioner.language_model, captioner.encoder, captioner.names, {})
    training, held_out = load_examples(place / "photos")

    def stop(step: int, loss: float) -> None:
        if step == RECIPE.steps:
            raise KeyboardInterrupt

    def train(conduct: Conduct) -> Any:
        run = open_training_run(out)
        return train_projection(
            parts,
            training,
            held_out,
            captioner.layout,
            RECIPE,
            run,
            data_name="drawings",
            views=2,
            conduct=conduct,
        )

    with pytest.raises(KeyboardInterrupt):
        train(Conduct(on_step=stop))
    projection, log = train(Conduct(accumulate=2))
    kept = load_projection(out / "projection.safetensors")
    return plain({"weight": kept.linear.weight, "given": projection.linear.weight, "log": log})


@pytest.fixture(scope="module")
def on_the_cpu(place: Path) -> Any:
    """What each of the three gives on the CPU, asked for once."""
    captioner = built(place)
    table = measured(captioner, place)
    return {
        "explained": explained(captioner, table, place, place / "cpu"),
        "studied": studied(captioner, table, place),
        "trained": trained(captioner, place, place / "cpu-training"),
    }


@pytest.mark.slow
@pytest.mark.usefixtures("gpus")
def test_results_are_those_of_the_cpu(place: Path, on_the_cpu: Any, tmp_path: Path) -> None:
    """With photos and the first layers on one GPU, the last layer on another."""
    captioner = spread(built(place))
    places = {str(p.device) for p in captioner.language_model.model.parameters()}
    assert places == {"cuda:0", "cuda:1"}
    table = measured(captioner, place)
    found = explained(captioner, table, place, tmp_path / "explained")
    assert not differences(found, on_the_cpu["explained"])
    assert not differences(studied(captioner, table, place), on_the_cpu["studied"])
    found = trained(captioner, place, tmp_path / "training")
    assert not differences(found, on_the_cpu["trained"])


@pytest.mark.slow
def test_there_is_something_to_compare(on_the_cpu: Any) -> None:
    (photo,) = on_the_cpu["explained"]["photos"]
    assert photo["words"][0]["ablation"]["specific"][1] is not None
    assert len(on_the_cpu["explained"]["proved"]) >= 8
    assert all(holds for _, holds in on_the_cpu["explained"]["proved"])
    for name in EXPERIMENTS:
        assert all(on_the_cpu["studied"][name].values()), name
    interventions = {row["intervention"] for row in on_the_cpu["studied"]["E6"]["e6_curves"]}
    assert interventions == {"zero", "patch_mean", "blank"}
    assert [entry["step"] for entry in on_the_cpu["trained"]["log"]] == [1, 2]


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("kind", ["llava_next", "qwen2_vl"])
def test_a_vision_language_model(kind: str) -> None:
    photo = tiny_photos(1)[0]

    def asked(device: str) -> Any:
        seeing = tiny_vlm(kind)
        seeing.language_model.model.to(device)  # type: ignore[arg-type]
        prompt = seeing.see([photo])
        target = Target(5, prompt.n_positions - 1)
        attribution = attribute_units(seeing.language_model, prompt, [target])
        return plain(
            {
                "device": prompt.embeddings.device.type == torch.device(device).type,
                "caption": seeing.caption(photo),
                "score": attribution.patches.score,
                "last": attribution.last.score,
                "patches": [(c.claim, c.holds) for c in prove_patches(seeing, photo, [0, 15])],
            }
        )

    expected = asked("cpu")
    assert expected["device"]
    assert not differences(asked("cuda"), expected)


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("kind", ["vit_mae", "convnext"])
def test_an_encoder(kind: str, tmp_path: Path) -> None:
    folder = tiny_encoders.write_checkpoint(tmp_path / kind, kind)
    plain_one, placed = load_encoder(folder), load_encoder(folder, device="cuda:1")
    assert (placed.sha256, placed.name) == (plain_one.sha256, plain_one.name)
    pixels = prepare_pixels(plain_one, tiny_photos(2))
    found = placed.encode(pixels)
    assert str(found.device) == "cuda:1"
    torch.testing.assert_close(found.cpu(), plain_one.encode(pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("gpus")
def test_loading_puts_models_where_it_is_told(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From files: on one GPU, and over both as accelerate's own plan has it."""
    # Its tensors are of another class than torch's, which is refused as quantised weights are.
    monkeypatch.setattr(
        import_module("molyneux.adapters.adapt"), "_require_ordinary", lambda module, layer: None
    )
    # Threads that read weights would not be in the pretence.
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")
    folder = tmp_path / "model"
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    encoder = load_encoder(place / "vit")
    record = {"language_model": "model", "encoder": encoder.name}
    record |= {"layout": Layout(BEGIN).record()}
    save_projection(
        tmp_path / "projection.safetensors",
        random_projection(encoder.d_features, D_MODEL, 6.0, record),
    )
    captions = {}
    for device in ("cpu", "cuda"):
        captioner = Captioner.from_sources(
            folder, place / "vit", tmp_path / "projection.safetensors", device=device
        )
        assert captioner.language_model.device.type == device
        captions[device] = captioner.caption_all(photos_in(place))
    assert captions["cuda"] == captions["cpu"]
    over_both = Captioner.from_sources(
        folder, place / "vit", tmp_path / "projection.safetensors", device="split"
    )
    places = {str(p.device) for p in over_both.language_model.model.parameters()}
    assert places == {"cuda:0", "cuda:1"}
    assert over_both.caption_all(photos_in(place)) == captions["cpu"]
    choice = ModelChoice(language_model=str(folder), device="split")
    alone, _ = choice.load_language()
    assert {str(p.device) for p in alone.model.parameters()} == places


MIXED: dict[str, Callable[[Tensor, Tensor], object]] = {
    "arithmetic": lambda gpu, cpu: gpu + cpu,
    "a GPU's number": lambda gpu, cpu: cpu + gpu.sum(),
    "in place": lambda gpu, cpu: cpu.add_(gpu),
    "into a number": lambda gpu, cpu: cpu.sum().add_(gpu.sum()),
    "two numbers": lambda gpu, cpu: torch.addcmul(gpu, cpu.sum(), cpu.sum()),
    "another GPU": lambda gpu, cpu: gpu + cpu.to("cuda:1"),
    "a mask": lambda gpu, cpu: gpu.masked_fill(cpu > 0, 0.0),
    "a choice": lambda gpu, cpu: torch.where(gpu > 0, gpu, cpu),
    "together": lambda gpu, cpu: torch.stack([gpu, cpu]),
    "a product": lambda gpu, cpu: gpu @ cpu,
    "indices elsewhere": lambda gpu, cpu: cpu[gpu.long()],
    "what is put": lambda gpu, cpu: gpu.index_put_((torch.tensor([0, 1, 1]),), cpu),
    "gathered": lambda gpu, cpu: gpu.gather(0, torch.tensor([0, 1])),
    "embedded": lambda gpu, cpu: torch.nn.functional.embedding(torch.tensor([0]), gpu[:, None]),
    "a layer": lambda gpu, cpu: torch.nn.Linear(3, 2).to("cuda")(cpu),
    "a generator": lambda gpu, cpu: gpu.uniform_(generator=torch.Generator()),
    "a generator of a GPU": lambda gpu, cpu: cpu.uniform_(generator=torch.Generator("cuda")),
    "numpy": lambda gpu, cpu: gpu.numpy(),
    "numpy, unasked": lambda gpu, cpu: np.asarray(gpu),
    "no such GPU": lambda gpu, cpu: cpu.to("cuda:2"),
}


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("what", MIXED)
def test_the_pretence_refuses(what: str) -> None:
    cpu = torch.ones(3)
    with pytest.raises((MixedDevicesError, TypeError)):
        MIXED[what](torch.ones(3, device="cuda"), cpu)


@pytest.mark.usefixtures("gpus")
def test_the_pretence_allows() -> None:
    gpu = torch.tensor([1.0, 2.0, 3.0], device="cuda")
    assert (gpu.device, gpu.is_cuda) == (torch.device("cuda:0"), True)
    allowed = [
        gpu + torch.tensor(1.0),
        gpu[torch.tensor([0, 2])],
        gpu[torch.tensor([True, False, True])],
        gpu.masked_fill(gpu > 1, torch.tensor(0.0)),
        torch.empty_like(gpu).uniform_(generator=torch.Generator(gpu.device)),
        torch.zeros(3, device=1).to(gpu),
        gpu.cuda(1).to(0),
    ]
    assert {tensor.device for tensor in allowed} == {gpu.device}
    gpu[[0, 1]] = torch.tensor(5.0)
    gpu[gpu > 4] += 1
    assert gpu.tolist() == [6.0, 6.0, 3.0]
    assert (float(gpu.sum()), gpu.cpu().numpy().sum(), type(gpu.cpu())) == (15.0, 15.0, Tensor)


@pytest.mark.usefixtures("gpus")
def test_gradients_cross_the_pretended_devices() -> None:
    def gradients(first: str, second: str) -> list[Tensor]:
        layers = torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)
        generator = torch.Generator().manual_seed(0)
        for layer in layers:
            torch.nn.init.normal_(layer.weight, generator=generator)
            torch.nn.init.zeros_(layer.bias)
        for layer, device in zip(layers, (first, second), strict=True):
            layer.to(device)
        given = torch.arange(3.0).to(first).requires_grad_()
        output = layers[1](layers[0](given).tanh().to(second))
        every = torch.eye(2, device=second)
        return [*torch.autograd.grad(output, [given], every, is_grads_batched=True), output]

    one, output = gradients("cuda:0", "cuda:1")
    assert [str(t.device) for t in (one, output)] == ["cuda:0", "cuda:1"]
    torch.testing.assert_close(one.cpu(), gradients("cpu", "cpu")[0])


def test_the_pretence_ends() -> None:
    with pretend_devices.pretend_devices():
        kept = torch.ones(2, device="cuda")
    assert torch.cuda.device_count() != pretend_devices.N_DEVICES or torch.cuda.is_available()
    with pytest.raises(MixedDevicesError):
        kept + torch.ones(2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU: none of this was run")
def test_on_a_real_gpu(place: Path, on_the_cpu: Any, tmp_path: Path) -> None:
    """Everything runs; what does not hang on the order of near-equal numbers is the CPU's."""
    captioner = moved(built(place), "cuda")
    table = measured(captioner, place)
    found = explained(captioner, table, place, tmp_path / "explained")
    assert found["captions"] == on_the_cpu["explained"]["captions"]
    assert found["proved"] == on_the_cpu["explained"]["proved"]
    mean, expected = (
        np.array(d["reference"][0]["patches"]) for d in (found, on_the_cpu["explained"])
    )
    assert np.abs(mean - expected).max() < 0.01 * np.abs(expected).max()
    assert studied(captioner, table, place).keys() == on_the_cpu["studied"].keys()
    log = trained(captioner, place, tmp_path / "training")["log"]
    losses, wanted = ([e["loss"] for e in each] for each in (log, on_the_cpu["trained"]["log"]))
    assert losses == pytest.approx(wanted, rel=0.01)
