"""What is trained on: data sets and conditions, categories held out, random encoders, the card."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import D_MODEL, ToyEncoder, tiny_photos, tiny_projection

from molyneux.cli import main
from molyneux.errors import RunError, UsageError, WeightsError
from molyneux.models.captioner import Captioner
from molyneux.models.generation import MAX_TOKENS
from molyneux.models.parts import Parts
from molyneux.training.batches import TrainingSet
from molyneux.training.data import Wanted, open_data
from molyneux.training.evaluation import BATCH, Evaluator
from molyneux.training.examples import Example, Examples
from molyneux.training.features import cache_features
from molyneux.training.hold_out import HoldOut, leave_out, unseen_names
from molyneux.training.publish import hub_api, push
from molyneux.vision.layout import Layout
from molyneux.vision.projection import load_projection, require_match, save_projection

WORDS = ("dog", "cat", "horse", "boat", "bird", "train", "cake", "bench")


def jpeg(number: int) -> bytes:
    data = io.BytesIO()
    tiny_photos(number + 1)[number].save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards in CC3M's manner; one photo has no caption."""
    place = tmp_path / "shards"
    place.mkdir()
    for shard in range(2):
        with tarfile.open(place / f"{shard:05d}.tar", "w") as tar:
            for number in range(4 * shard, 4 * shard + 4):
                members = {"png": jpeg(number)}
                if number != 6:
                    members["txt"] = f"a {WORDS[number]}.".encode()
                for extension, data in members.items():
                    info = tarfile.TarInfo(f"{number:09d}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return place


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    place = tmp_path / "coco"
    (place / "annotations").mkdir(parents=True)
    for split, numbers in (("train2017", range(6)), ("val2017", range(6, 8))):
        (place / split).mkdir()
        for number in numbers:
            (place / split / f"{number}.png").write_bytes(jpeg(number))
        images = [{"id": n, "file_name": f"{n}.png", "width": 100, "height": 80} for n in numbers]
        captions = [
            {"id": n, "image_id": n, "caption": f"a {WORDS[n]} on the beach."} for n in numbers
        ]
        boxes = [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 0}
            for n in numbers
            if n in (2, 3)
        ]
        category = [{"id": 1, "name": "person"}]
        for kind, rows in (("captions", captions), ("instances", boxes)):
            document: dict[str, Any] = {"images": images, "annotations": rows}
            if kind == "instances":
                document["categories"] = category
            file = place / "annotations" / f"{kind}_{split}.json"
            file.write_text(json.dumps(document))
    return place


def captions_of(examples: Examples) -> list[str]:
    return [example.captions[0] for example in examples]


def test_shards_are_trained_on(shards: Path, tmp_path: Path) -> None:
    data = open_data(Wanted(str(shards)), None)
    assert len(data.training) + len(data.validation) == 7
    assert len(data.validation) == 1
    encoder = ToyEncoder()
    features, first, refused = cache_features(
        encoder, data.training, [1] * len(data.training), tmp_path / "f", 0
    )
    assert not refused
    from molyneux.vision.encoder import prepare_pixels

    for index, example in enumerate(data.training):
        number = WORDS.index(example.captions[0][2:-1])
        pixels = prepare_pixels(encoder, [tiny_photos(8)[number]])
        expected = encoder.encode(pixels)[0].half().float().numpy()
        assert features.take(first[index : index + 1])[0] == pytest.approx(expected, abs=1e-3)


def test_a_sample_of_shards_is_read_in_the_archives_order(shards: Path, tmp_path: Path) -> None:
    data = open_data(Wanted(str(shards), images=5, seed=1), Wanted(str(shards), images=1, seed=9))
    assert set(captions_of(data.training)).isdisjoint(captions_of(data.validation))
    read = {index: reader().size for index, reader in data.training.photos([2, 0])}
    assert read == {0: (100, 80), 2: (100, 80)}


def test_coco_trains_on_its_training_split_alone(coco: Path) -> None:
    said: list[str] = []
    data = open_data(Wanted(str(coco)), Wanted(str(coco), ("split=val2017",)), said.append)
    assert captions_of(data.training) == [f"a {word} on the beach." for word in WORDS[:6]]
    assert captions_of(data.validation) == [f"a {word} on the beach." for word in WORDS[6:]]
    assert "train2017 only" in said[0]
    assert data.record["training"]["where"] == ["split=train2017"]
    assert str(coco) not in json.dumps(data.record)
    named = open_data(Wanted(str(coco), ("split=val2017",)), None)
    assert len(named.training) + len(named.validation) == 2


def test_photos_in_both_sets_are_refused(coco: Path, shards: Path) -> None:
    with pytest.raises(UsageError, match="6 photos are both trained on and validated on"):
        open_data(Wanted(str(coco)), Wanted(str(coco)))
    with pytest.raises(UsageError, match="7 photos are both"):
        open_data(Wanted(str(shards)), Wanted(str(shards)))


def test_a_set_without_captions_is_one_line(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(jpeg(number))
    with pytest.raises(UsageError, match="has a caption"):
        open_data(Wanted(str(tmp_path)), None)


def test_crops_are_not_dropped_in_silence(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(jpeg(0))
    row = {"file": "0.png", "caption": "a dog.", "crop": [0, 0, 9, 9]}
    (tmp_path / "captions.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match="crops or weights"):
        open_data(Wanted(str(tmp_path), ("captions",)), None)


@pytest.mark.parametrize(
    ("names", "caption", "categories", "left_out"),
    [
        (("dog",), "a dog on a beach.", (), True),
        (("dog",), "two puppies asleep.", (), True),
        (("dog",), "an empty beach.", ("dog",), True),
        (("dog",), "a cat on a bed.", ("cat",), False),
        (("dog",), "a hot summer day.", (), False),
        (("hot dog",), "a dog on a beach.", (), False),
        (("hot dog",), "a hot dog on a plate.", (), True),
        (("person",), "three men on a wall.", (), True),
        (("unicorn",), "a painting of unicorns.", (), True),
        (("orange",), "an orange cat on a bed.", (), False),
        (("Dog", "cat"), "a cat.", (), True),
    ],
)
def test_what_names_a_category(
    names: tuple[str, ...], caption: str, categories: tuple[str, ...], left_out: bool
) -> None:
    example = Example(Path("x"), (caption,), categories=categories)
    assert HoldOut(names).names_one(example) is left_out


def test_held_out_categories_are_counted(coco: Path) -> None:
    data = open_data(Wanted(str(coco)), Wanted(str(coco), ("split=val2017",)))
    left, record = leave_out(data, ("dog", "person"))
    assert [text.split()[1] for text in captions_of(left.training)] == ["cat", "bird", "train"]
    assert record["training"] == {
        "left_out": 3,
        "by_annotation": {"dog": 0, "person": 2},
        "by_caption": {"dog": 1, "person": 0},
    }
    assert record["validation"]["left_out"] == 0
    assert unseen_names(record) == []
    with pytest.raises(UsageError, match="no photo is left to validate on"):
        leave_out(data, ("cake", "bench"))


def test_a_category_that_leaves_nothing_out_is_named(coco: Path) -> None:
    data = open_data(Wanted(str(coco)), Wanted(str(coco), ("split=val2017",)))
    left, record = leave_out(data, ("dogg", "person"))
    assert len(left.training) < len(data.training)
    assert unseen_names(record) == ["dogg"]


@pytest.fixture
def trained(coco: Path, captioner: Captioner, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """A run of the command on COCO's layout, and what it prints."""
    parts = Parts(captioner.language_model, captioner.encoder, captioner.names, captioner.hashes)
    monkeypatch.setattr(Parts, "load", lambda *args, **options: parts)
    tokenizer = captioner.language_model.tokenizer
    monkeypatch.setattr("molyneux.models.parts.load_tokenizer", lambda *args: (tokenizer, "tiny"))
    out = coco.parent / "run"
    command = ["train", str(coco), "--validation", str(coco), "--validation-where"]
    command += ["split=val2017", "--hold-out-categories", "cake", "--steps", "4", "--batch", "4"]
    command += ["--accumulate", "2", "--every", "2", "--dropout", "0.2", "--device", "cpu"]
    command += ["--begin", captioner.layout.begin or "", "--out", str(out), "--json"]

    def run(*options: str) -> tuple[int, str, str]:
        status = main([*command, *options])
        return status, *capsys.readouterr()

    return SimpleNamespace(run=run, out=out, parts=parts)


def test_the_command_writes_record_and_card(trained: Any) -> None:
    status, printed, _ = trained.run("--bertscore", "none", "--name", "beaches | drawn")
    assert status == 0
    summary = json.loads(printed)
    record = load_projection(Path(summary["projection"])).provenance
    assert record["held_out_categories"]["names"] == ["cake"]
    assert record["held_out_categories"]["validation"]["by_caption"] == {"cake": 1}
    assert record["recipe"]["dropout"] == 0.2
    assert record["how"]["accumulate"] == 2
    assert record["sets"]["training"]["chosen"] == 6
    assert record["evaluation"]["bertscore"] == {"skipped": "it was not asked for"}
    card = Path(summary["card"]).read_text()
    projection = load_projection(Path(summary["projection"]))
    for said in (
        record["language_model"],
        record["encoder"],
        projection.hash(),
        "beaches \\| drawn",
        "annotations CC BY 4.0",
        "categories never trained on | cake",
        "| dropout | 0.2 |",
        "| accumulate | 2 |",
        "first noun among the photo's nouns",
        "CIDEr-D",
        "BERTScore F1: none; it was not asked for",
        "molyneux",
        "torch",
        "## Limits",
        "pipeline_tag: image-to-text",
    ):
        assert said in card, said
    curve = [line for line in card.splitlines() if line.startswith(("| 1 |", "| 4 |"))]
    assert len(curve) == 2
    log = [json.loads(line) for line in (trained.out / "log.jsonl").read_text().splitlines()]
    assert f"| 4 | {log[3]['loss']:.3f} | {log[3]['loss_held_out']:.3f} |" in curve[1]


def test_a_control_of_permuted_captions_says_so_everywhere(trained: Any) -> None:
    status, printed, said = trained.run(
        "--bertscore",
        "none",
        "--permute-captions",
        "3",
        "--terms",
        "research use",
        "--keep-at",
        "2",
    )
    assert status == 0
    assert "every photo has another one's captions (seed 3)" in said
    summary = json.loads(printed)
    record = load_projection(Path(summary["projection"])).provenance
    assert (record["captions_permuted"], record["terms"]) == (3, "research use")
    on_the_way = load_projection(trained.out / "projection-000002.safetensors").provenance
    assert (on_the_way["captions_permuted"], on_the_way["step"]) == (3, 2)
    card = Path(summary["card"]).read_text()
    for line in ("* A control: trained on other photos' captions.", "research use", "(seed 3) |"):
        assert line in card
    status, _, said = trained.run("--bertscore", "none")
    assert status == 2
    assert "another captions_permuted" in said


def test_a_step_to_keep_is_a_number(trained: Any) -> None:
    status, _, said = trained.run("--keep-at", "100,soon")
    assert (status, "--keep-at takes steps such as 100,400,1000" in said) == (2, True)


def test_bertscore_is_skipped_with_its_reason(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise WeightsError("no weights here; fetch them")

    monkeypatch.setattr("molyneux.metrics.bertscore.load_bert_scorer", refuse)
    _, printed, _ = trained.run()
    found = json.loads(printed)["evaluation"]["bertscore"]
    assert found == {"skipped": "no weights here; fetch them"}
    assert "BERTScore F1: none; no weights here" in (trained.out / "MODEL_CARD.md").read_text()


def test_a_backbone_that_was_named_is_had_before_anything_is_read(
    trained: Any, tmp_path: Path
) -> None:
    status, _, said = trained.run("--bertscore", str(tmp_path / "nowhere"))
    assert status == 1
    assert "no BERTScore: cannot load" in said
    assert not trained.out.exists()


def test_a_licence_is_the_user_s_to_give(trained: Any) -> None:
    status, printed, _ = trained.run("--bertscore", "none")
    assert status == 0
    projection, card = (Path(json.loads(printed)[key]) for key in ("projection", "card"))
    assert "licence" not in load_projection(projection).provenance
    assert "license:" not in card.read_text()
    assert "| projection | not stated |" in card.read_text()
    assert trained.run("--bertscore", "none", "--licence", "cc-by-4.0")[0] == 0
    assert load_projection(projection).provenance["licence"] == "cc-by-4.0"
    assert '\nlicense: "cc-by-4.0"\n' in card.read_text().partition("\n---\n")[0]
    assert "| projection | cc-by-4.0 |" in card.read_text()


class FakeApi:
    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[Any] = []
        self.error = error

    def create_repo(self, repo: str, **options: Any) -> None:
        self.calls.append((repo, options))

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        if self.error:
            raise self.error
        files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
        self.calls.append((repo_id, files))
        return SimpleNamespace(commit_url="https://hub.example/commit/1")


def test_weights_and_card_are_pushed_and_nothing_else(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = FakeApi()
    monkeypatch.setattr("molyneux.training.publish.hub_api", lambda: api)
    status, printed, _ = trained.run("--bertscore", "none", "--push-to-hub", "me/mine")
    assert status == 0
    assert json.loads(printed)["pushed"] == "https://hub.example/commit/1"
    assert api.calls[0] == ("me/mine", {"private": True, "exist_ok": True})
    repo, files = api.calls[1]
    assert repo == "me/mine"
    assert files == {
        "README.md": (trained.out / "MODEL_CARD.md").read_bytes(),
        "projection.safetensors": (trained.out / "projection.safetensors").read_bytes(),
    }
    with pytest.raises(RunError, match=r"could not be pushed \(no way\); the run is whole"):
        push(trained.out, "me/mine", FakeApi(OSError("no way")))


def test_without_a_token_nothing_is_trained(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    status, _, said = trained.run("--push-to-hub", "me/mine")
    assert status == 2
    assert said.count("\n") == 1
    assert "needs a token" in said
    assert not trained.out.exists()
    with pytest.raises(UsageError):
        hub_api()


def evaluator(captioner: Captioner, folder: Path, n: int, longer: int = 10**9) -> Evaluator:
    for number in range(n):
        (folder / f"{number}.png").write_bytes(jpeg(number % 8))
    more = " on a bed in a red boat on the water at night"
    rows = [
        Example(
            folder / f"{i}.png", ("the beach.", f"a {WORDS[i % 8]}{more if i >= longer else ''}.")
        )
        for i in range(n)
    ]
    features, first, _ = cache_features(captioner.encoder, rows, [1] * n, folder / "f", 0)
    data = TrainingSet(features, first, [1] * n, Examples(rows))
    return Evaluator(captioner.language_model, captioner.layout, data)


def test_every_score_has_its_interval_and_its_control(
    captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = evaluator(captioner, tmp_path, 8)
    texts = [f"a {word}." for word in WORDS]
    monkeypatch.setattr(captioner.language_model.__class__, "decode", lambda self, ids: ids)
    monkeypatch.setattr(
        "molyneux.training.evaluation.continue_greedily", lambda *args, **options: texts
    )

    class Scorer:
        name = "letters, layer 0"

        def f1(self, candidates: list[str], references: list[str]) -> np.ndarray:
            return np.array([[float(c == r) for r in references] for c in candidates])

    found = judge.whole(captioner.projection.linear, Scorer)  # type: ignore[arg-type]
    assert found["photos"] == 8
    assert (found["hit"]["value"], found["hit"]["n"]) == (1.0, 8)
    assert found["hit"]["control"]["value"] == 0.0
    assert found["cider"]["value"] > 1 > found["cider"]["control"]["value"]
    assert found["bertscore"]["backbone"] == "letters, layer 0"
    assert found["bertscore"]["value"] == pytest.approx(0.5)
    assert found["bertscore"]["control"]["value"] == 0.0
    for score in ("loss", "cider", "bertscore"):
        assert found[score]["low"] <= found[score]["value"] <= found[score]["high"]
    assert found["loss"]["value"] != found["loss"]["control"]["value"]
    brief = judge.brief(captioner.projection.linear)
    assert brief["hit"] == 1.0
    assert brief["cider"] == pytest.approx(found["cider"]["value"])


def test_the_held_out_loss_is_one_number_per_token(captioner: Captioner, tmp_path: Path) -> None:
    """The curve's and the card's are the same, also where batches differ in their lengths."""
    from molyneux.training.loss import caption_ids, caption_nats

    n = BATCH + 3
    judge = evaluator(captioner, tmp_path, n, longer=BATCH)
    linear = captioner.projection.linear
    nats, tokens = 0.0, 0
    for i in range(n):
        features = judge.data.features.take([int(judge.data.first[i])])
        ids = caption_ids(captioner.language_model, [judge.references[i][1]])
        prompts = captioner.projection.project(torch.from_numpy(features))
        nats += float(caption_nats(captioner.language_model, captioner.layout, prompts, ids).sum())
        tokens += ids.shape[1]
    found = judge.brief(linear)["loss_held_out"]
    assert found == pytest.approx(nats / tokens, rel=1e-5)
    assert judge.whole(linear, None)["loss"]["value"] == pytest.approx(found, rel=1e-6)


def test_captions_are_scored_at_the_length_they_are_written_at(
    captioner: Captioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioner.language_model.__class__, "token_text", lambda self, token: "x")
    rows: list[Any] = []
    decode = captioner.language_model.__class__.decode
    monkeypatch.setattr(
        captioner.language_model.__class__,
        "decode",
        lambda self, ids: rows.append(ids) or decode(self, ids),
    )
    judge = evaluator(captioner, tmp_path, 3)
    judge.see(captioner.projection.linear)
    assert max(map(len, rows)) == MAX_TOKENS


def test_a_random_encoder_is_seeded_and_sees() -> None:
    from molyneux.vision.efficientnet import EfficientNetEncoder
    from molyneux.vision.encoder import prepare_pixels
    from molyneux.weights.efficientnet import random_efficientnet_lite0

    before = torch.random.get_rng_state()
    network, digest = random_efficientnet_lite0(1)
    assert random_efficientnet_lite0(1)[1] == digest != random_efficientnet_lite0(2)[1]
    assert torch.equal(torch.random.get_rng_state(), before)
    encoder = EfficientNetEncoder(network)
    features = encoder.encode(prepare_pixels(encoder, tiny_photos(2)))
    # A dead or constant network would be another control: photos and patches differ.
    assert float((features[0] - features[1]).abs().mean()) > 0.05
    assert float(features.std(1).mean()) > 0.05
    # Calibrated: what a norm puts out has about the mean and deviation of its batch.
    normed: list[torch.Tensor] = []
    hook = network._bn1.register_forward_hook(lambda *passed: normed.append(passed[2]))
    encoder.encode(prepare_pixels(encoder, tiny_photos(8)))
    hook.remove()
    assert 0.2 < float(normed[0].std()) < 3


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, captioner: Captioner) -> Callable[[str | None], Parts]:
    """`Parts.load` of the default preset, its fetched parts replaced by tiny ones."""
    from molyneux.models.presets import find_preset
    from molyneux.weights import cache, efficientnet, smollm2

    tiny = captioner.language_model
    record = {"source": {"sha256": {"weights": "f" * 64}}}
    monkeypatch.setattr(smollm2, "prepare_smollm2", lambda note: Path("language"))
    monkeypatch.setattr(smollm2, "load_smollm2", lambda *a, **k: (tiny.model, tiny.tokenizer))
    monkeypatch.setattr(cache, "read_record", lambda folder: record)
    monkeypatch.setattr(efficientnet, "prepare_efficientnet_lite0", lambda note: Path("encoder"))
    network = efficientnet.random_efficientnet_lite0(77)[0]
    monkeypatch.setattr(efficientnet, "load_efficientnet_lite0", lambda folder: network)
    preset = find_preset("smollm2-effnet")
    return lambda encoder: Parts.load(preset, encoder=encoder)


def test_a_control_is_loaded_with_its_own_encoder_and_no_other(
    loaded: Callable[[str | None], Parts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    normal, control = loaded(None), loaded("random")
    assert normal.names["encoder"] == "efficientnet-lite0"
    assert control.names["encoder"] == "random:efficientnet-lite0 seed 0"
    other = loaded("random:efficientnet-lite0 seed 4")
    assert other.names["encoder"] == "random:efficientnet-lite0 seed 4"
    assert len({p.hashes["encoder"] for p in (normal, control, other)}) == 3
    assert set(normal.licences) - set(control.licences) == {"encoder weights"}
    made = tiny_projection(d_features=1280)
    layout = {"begin": "<|im_start|>", "text": "A picture of"}
    record = {**made.provenance, **other.names, "hashes": other.hashes, "layout": layout}
    path = tmp_path / "projection.safetensors"
    save_projection(path, replace(made, provenance=record))
    with pytest.raises(WeightsError, match="random:efficientnet-lite0 seed 4', not 'efficient"):
        Captioner.join(normal, load_projection(path))
    seeing = Captioner.load(projection=path)
    assert seeing.encoder.name == "random:efficientnet-lite0 seed 4"
    assert seeing.hashes["encoder"] == other.hashes["encoder"]
    changed = {**record, "hashes": {**other.hashes, "encoder": "0" * 64}}
    save_projection(path, replace(made, provenance=changed))
    with pytest.raises(WeightsError, match="encoder whose weights have sha256 000000000000…"):
        Captioner.load(projection=path)


@pytest.mark.parametrize(
    ("changed", "d_model", "said"),
    [
        ({"language_model": "another"}, D_MODEL, "made for language_model 'another'"),
        ({"encoder": "another"}, D_MODEL, "made for encoder 'another'"),
        ({"layout": Layout(None).record()}, D_MODEL, "made for layout {'begin': None"),
        ({"layout": Layout("<|im_start|>", "This is").record()}, D_MODEL, "'text': 'This is'"),
        ({}, D_MODEL + 1, f"maps 1280 features to {D_MODEL + 1}"),
    ],
)
def test_a_preset_refuses_what_was_trained_otherwise(
    loaded: Callable[[str | None], Parts],
    tmp_path: Path,
    changed: dict[str, Any],
    d_model: int,
    said: str,
) -> None:
    parts = loaded(None)
    path = tmp_path / "projection.safetensors"

    def save(changed: dict[str, Any], d_model: int) -> None:
        made = tiny_projection(d_features=1280, d_model=d_model)
        record = {**made.provenance, **parts.names, "hashes": parts.hashes}
        record["layout"] = Layout("<|im_start|>").record()
        save_projection(path, replace(made, provenance={**record, **changed}))

    save({}, D_MODEL)
    assert Captioner.load(projection=path).names == parts.names
    save(changed, d_model)
    with pytest.raises(WeightsError) as caught:
        Captioner.load(projection=path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_mismatch_is_one_line() -> None:
    made = tiny_projection()
    recorded = {"language_model": "a" * 64, "encoder": "b" * 64}
    projection = replace(made, provenance={**made.provenance, "hashes": recorded})
    names = {name: made.provenance[name] for name in ("language_model", "encoder", "layout")}
    require_match(projection, names, (32, 24), recorded)
    require_match(made, names, (32, 24), recorded)  # nothing recorded, nothing compared
    for part, said in (("language_model", "language model"), ("encoder", "encoder")):
        wrong = {**recorded, part: "c" * 64}
        with pytest.raises(WeightsError, match=f"{said} whose weights have sha256") as caught:
            require_match(projection, names, (32, 24), wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError) as caught:
        require_match(
            projection,
            {**names, "encoder": "another"},
            (32, 20),
            {**recorded, "language_model": "c" * 64},
        )
    assert "\n" not in str(caught.value)
    said = str(caught.value).split("; and ")
    assert len(said) == 3
    assert ["encoder" in said[0], "sha256" in said[1], "20 to 32" in said[2]] == [True] * 3


def test_a_projection_is_always_the_same_file(tmp_path: Path) -> None:
    for number in range(6):
        save_projection(tmp_path / str(number), tiny_projection())
    assert len({(tmp_path / str(number)).read_bytes() for number in range(6)}) == 1
