"""A study small enough for tests: tiny model, tiny photos, one experiment; also run as a process.

python tests/study_toy.py FOLDER_OF_PHOTOS OUT [PHOTOS], which holds in the photo after so many
until it is killed.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from molyneux.data.dataset import Item
from molyneux.studies.experiment import (
    Experiment,
    PhotoRecord,
    Rows,
    TextScorers,
    register_experiment,
)
from molyneux.studies.finished import Finished, per_photo
from molyneux.studies.results import Number, Result, ResultTable
from molyneux.studies.settings import StudySettings
from molyneux.studies.subject import ModelFacts, Subject


class Toy(Experiment):
    """The three best units of a photo, and how many of them the partner shares."""

    name = "TOY"
    title = "A toy"
    left: float = math.inf

    def tables(self) -> dict[str, pa.Schema]:
        fields = [("layer", pa.int32()), ("unit", pa.int32()), ("score", pa.float64())]
        return {"toy_units": pa.schema([*fields, ("draw", pa.int64())])}

    def measure(self, subject: Subject) -> Rows:
        while self.left < 1:
            time.sleep(0.01)
        self.left -= 1
        if subject.word is None:
            return {"toy_units": []}
        score = subject.score("patches", "top")
        return {
            "toy_units": [
                {
                    "layer": unit.layer,
                    "unit": unit.unit,
                    "score": float(score[unit.layer, unit.unit]),
                    "draw": subject.seed("toy"),
                }
                for unit in subject.ranking("patches", "top", 3)
            ]
        }

    def text_tables(self) -> dict[str, pa.Schema]:
        return {"toy_shared": pa.schema([("partner", pa.string()), ("shared", pa.int32())])}

    def score(
        self, own: PhotoRecord, partner: PhotoRecord, photo: Any, scorers: TextScorers
    ) -> Rows:
        units = [{(u["layer"], u["unit"]) for u in r["toy_units"]} for r in (own, partner)]
        return {"toy_shared": [{"partner": partner["id"], "shared": len(units[0] & units[1])}]}

    def summarise(self, study: Finished) -> Result:
        found = study.table("toy_units")
        means = per_photo(found["photo"], found["score"], study.n_photos)
        rows = ({"what": "score", "value": Number(float(means.mean()), n=study.n_photos)},)
        table = ResultTable("TOY.toy", "Scores", ("what", "value"), rows)
        return Result(self.name, self.title, (table,))


class Overlap:
    """A stand-in for BERTScore whose values are known: shared over all distinct words."""

    name = "word overlap"

    def f1(self, candidates: Sequence[str], references: Sequence[str]) -> np.ndarray:
        sets = [[set(text.lower().split()) for text in texts] for texts in (candidates, references)]
        return np.array(
            [[len(a & b) / max(1, len(a | b)) for b in sets[1]] for a in sets[0]], dtype=float
        ).reshape(len(candidates), len(references))


class FakeBert:
    """Stands where texts are not compared."""

    name = "none"


def use_toy() -> None:
    """Make `Toy` known, and no weights needed for comparing texts."""
    from molyneux.studies import texts

    register_experiment(Toy)
    texts.load_scorers = lambda settings, note: TextScorers(FakeBert(), None, "no")  # type: ignore


def photo_files(folder: Path, n: int = 6) -> list[Path]:
    """Write `n` different tiny photos and return their files."""
    from tiny_models import tiny_photos

    files = [folder / f"{number}.png" for number in range(n)]
    for file, photo in zip(files, tiny_photos(n), strict=True):
        photo.save(file)
    return files


def facts_over(captioner: Any, files: list[Path], n_listed: int = 10) -> ModelFacts:
    """Return what a study keeps of a captioner, with a reference table over photos."""
    from molyneux.explain.measure_reference import measure_reference

    table, _ = measure_reference(captioner, files, data="drawings", n_listed=n_listed)
    return ModelFacts.of(captioner.with_reference(table))


def subject_of(
    facts: ModelFacts, path: Path, settings: StudySettings | None = None, **item: Any
) -> Subject:
    """Return a photo of a study, with nothing computed of it yet."""
    found = Item(id=path.name, source=path, **item)
    return Subject(facts, settings or StudySettings(), found, found.read(), found.sha256())


def save_photos(folder: Path, n: int, *, turned: bool = False) -> None:
    """Write `n` different tiny photos, each with a caption; `turned`: every second one upright."""
    from tiny_models import tiny_photos

    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, photo in enumerate(tiny_photos(n)):
        if turned and number % 2:
            photo = photo.transpose(Image.Transpose.ROTATE_90)
        photo.save(folder / f"{number:03d}.png")
        lines.append(f'{{"file": "{number:03d}.png", "caption": "a dog on the table."}}\n')
    (folder / "captions.jsonl").write_text("".join(lines))


def save_coco(folder: Path, n: int, *, turned: bool = False) -> Path:
    """Write a data set in COCO's layout: one dog a photo, in the left half."""
    save_photos(folder / "images", n, turned=turned)
    (folder / "images" / "captions.jsonl").unlink()
    images, captions, boxes = [], [], []
    for number in range(n):
        name = f"{number:03d}.png"
        with Image.open(folder / "images" / name) as photo:
            width, height = photo.size
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for i, text in enumerate(("a dog on the table.", "a man with a dog.")):
            captions.append({"id": 10 * number + i, "image_id": number, "caption": text})
        left = [0, 0, width / 2, 0, width / 2, height, 0, height]
        boxes.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "segmentation": [left],
                "bbox": [0, 0, width / 2, height],
                "area": width * height / 2,
                "iscrowd": 0,
            }
        )
    categories = [{"id": 1, "name": "dog"}]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    (folder / "instances.json").write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": categories})
    )
    return folder


def seeing_captioner(photos: Path) -> Any:
    """Return a tiny captioner with a reference table over the first photos."""
    from tiny_models import tiny_captioner

    files = sorted(photos.glob("*.png"))[:6]
    return facts_over(tiny_captioner("llama"), files, n_listed=20).captioner


def main() -> int:
    import torch

    from molyneux.processes import Process
    from molyneux.studies.study import run_study

    photos, out = Path(sys.argv[1]), Path(sys.argv[2])
    Toy.left = float(sys.argv[3]) if len(sys.argv) > 3 else math.inf
    torch.set_num_threads(1)
    use_toy()
    Process.join()
    captioner = seeing_captioner(photos)
    run_study(captioner, photos, "TOY", out=out, settings=StudySettings(subsets=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
