"""A study small enough for tests: tiny model, tiny photos, one experiment; also run as a process.

python tests/study_toy.py FOLDER_OF_PHOTOS OUT [SECONDS_A_PHOTO]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from molyneux.studies.experiment import Experiment, PhotoRecord, Rows, Scorers
from molyneux.studies.finished import Finished, per_photo
from molyneux.studies.subject import Subject
from molyneux.studies.tables import Number, Result, ResultTable


class Toy(Experiment):
    """The three best units of a photo, and how many of them the partner shares."""

    name = "E3"
    title = "A toy"
    seconds = 0.0

    def tables(self) -> dict[str, pa.Schema]:
        fields = [("layer", pa.int32()), ("unit", pa.int32()), ("score", pa.float64())]
        return {"toy_units": pa.schema([*fields, ("draw", pa.int64())])}

    def measure(self, subject: Subject) -> Rows:
        time.sleep(self.seconds)
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

    def score(self, own: PhotoRecord, partner: PhotoRecord, photo: Any, scorers: Scorers) -> Rows:
        units = [{(u["layer"], u["unit"]) for u in r["toy_units"]} for r in (own, partner)]
        return {"toy_shared": [{"partner": partner["id"], "shared": len(units[0] & units[1])}]}

    def summarise(self, study: Finished) -> Result:
        found = study.table("toy_units")
        means = per_photo(found["photo"], found["score"], study.n_photos)
        rows = ({"what": "score", "value": Number(float(means.mean()), n=study.n_photos)},)
        table = ResultTable("E3.toy", "Scores", ("what", "value"), rows)
        return Result(self.name, self.title, (table,))


class FakeBert:
    """Stands where texts are not compared."""

    name = "none"


def use_toy() -> None:
    """Have studies measure `Toy` alone, without weights for comparing texts."""
    from molyneux.studies import collect, conclude, study, texts

    for module in (study, collect, conclude):
        module.load_experiments = lambda names: [Toy()]  # type: ignore[attr-defined]
    texts.load_scorers = lambda settings, note: Scorers(FakeBert(), None, "no")  # type: ignore


def save_photos(folder: Path, n: int) -> None:
    """Write `n` different tiny photos, each with a caption."""
    from tiny_models import tiny_photos

    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, photo in enumerate(tiny_photos(n)):
        photo.save(folder / f"{number:03d}.png")
        lines.append(f'{{"file": "{number:03d}.png", "caption": "a dog on the table."}}\n')
    (folder / "captions.jsonl").write_text("".join(lines))


def seeing_captioner(photos: Path) -> Any:
    """Return a tiny captioner with a reference table over the first photos."""
    from tiny_models import tiny_captioner

    from molyneux.neurons.measure_reference import measure_reference

    captioner = tiny_captioner("llama")
    files = sorted(photos.glob("*.png"))[:6]
    table, _ = measure_reference(captioner, files, data="drawings", n_listed=20)
    return captioner.with_reference(table)


def main() -> int:
    import torch

    from molyneux.data.open import open_dataset
    from molyneux.data.selection import select
    from molyneux.studies.settings import StudySettings
    from molyneux.studies.share import Share
    from molyneux.studies.study import begin, run_study

    photos, out = Path(sys.argv[1]), Path(sys.argv[2])
    Toy.seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    torch.set_num_threads(1)
    use_toy()
    share = Share.join()
    captioner = seeing_captioner(photos)
    selection = select(open_dataset(photos))
    settings = StudySettings(experiments=("E3",), subsets=0)
    if not share.is_first:
        share.wait()
    run, _ = begin(captioner, selection, None, settings, out)
    if share.is_first:
        share.wait()
    run_study(captioner, selection, None, settings, run, share)
    share.leave()
    return 0


if __name__ == "__main__":
    sys.exit(main())
