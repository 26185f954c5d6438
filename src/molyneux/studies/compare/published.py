"""Exact effects as a data set of their own, with its card: for others to score against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from molyneux.parquet import parquet_bytes, parquet_of
from molyneux.store import Run
from molyneux.studies.compare.design import EFFECTS, TARGETS, WORDS
from molyneux.studies.compare.gathered import MeasuredPhoto

FOLDER = "effects"
DATA, WORD_FILE, CARD = "effects.parquet", "words.parquet", "README.md"
_EFFECTS = pa.schema([("photo", pa.string()), ("sha256", pa.string()), *EFFECTS])
_WORDS = pa.schema(
    [("photo", pa.string()), ("sha256", pa.string()), ("caption", pa.string()), *WORDS]
)


class Published:
    """The data set as it grows, a photo at a time."""

    def __init__(self) -> None:
        self._effects: list[pa.Table] = []
        self._words: list[dict[str, Any]] = []
        self._samples: dict[tuple[str, str], int] = {}

    def add(self, photo: MeasuredPhoto) -> None:
        """Take a photo's effects, each unit's once for what it is put to: that of the first
        sample it is in."""
        named = {"photo": photo.id, "sha256": photo.sha256}
        seen: set[tuple[Any, ...]] = set()
        kept = []
        for row in photo.rows:
            key = (row["layer"], row["unit"], row["put_to"], row["target"])
            if key not in seen:
                seen.add(key)
                kept.append({**named, **row})
                if row["target"] == TARGETS[0]:
                    sample = row["sample"], row["put_to"]
                    self._samples[sample] = self._samples.get(sample, 0) + 1
        self._effects.append(pa.Table.from_pylist(kept, schema=_EFFECTS))
        self._words += [{**named, "caption": photo.caption, **word} for word in photo.words]

    def write(self, run: Run, manifest: Mapping[str, Any]) -> None:
        """Write effects, words and card to the run's folder `effects`.

        Raises:
            RunError: they cannot be written.
        """
        run.write_bytes(f"{FOLDER}/{DATA}", parquet_of(_EFFECTS, self._effects, "zstd"))
        words = pa.Table.from_pylist(self._words, schema=_WORDS)
        run.write_bytes(f"{FOLDER}/{WORD_FILE}", parquet_bytes(words, "zstd"))
        photos = len({row["sha256"] for row in self._words})
        run.write_bytes(f"{FOLDER}/{CARD}", self._card(manifest, photos).encode())

    def _card(self, manifest: Mapping[str, Any], photos: int) -> str:
        model, data = manifest["model"], manifest["data"]
        parts = "\n".join(
            f"| {name.replace('_', ' ')} | {model.get(name, '')} | "
            f"`{manifest['hashes'].get(name, '')}` |"
            for name in ("language_model", "encoder", "projection")
            if isinstance(model.get(name), str)
        )
        samples = "\n".join(
            f"| {sample} | {put_to} | {number:,} |"
            for (sample, put_to), number in self._samples.items()
        )
        return _CARD.format(
            preset=model.get("preset") or "a model given in parts",
            parts=parts,
            projection=manifest["hashes"].get("projection", ""),
            units=f"{model['n_units']:,}",
            layers=model["n_layers"],
            dtype=model["dtype"],
            photos=photos,
            where=", ".join(data.get("where") or ()) or "all",
            seed=data["seed"],
            ids=data["ids_sha256"],
            samples=samples,
            version=manifest["versions"]["molyneux"],
        )


_CARD = """---
task_categories:
- image-to-text
tags:
- interpretability
- mechanistic-interpretability
- attribution
- benchmark
configs:
- config_name: effects
  data_files: effects.parquet
- config_name: words
  data_files: words.parquet
---
# Exact effects of MLP units at image patches

What single MLP units of a language model that sees do to the word it is about to write: the value
with the unit minus the value without it, by intervention. Made by `molyneux compare-scorers`
({version}) to hold attribution methods against.

## The model
{preset}: {units} units in {layers} layers, {dtype}.

| part | what | SHA-256 |
|---|---|---|
{parts}
| projection | joins them | `{projection}` |

A *unit* is one coordinate of the input of a layer's down projection: the coefficient of its output
row (after the gate product in gated blocks).

## The photos
{photos} photos (conditions: {where}; seed {seed}). They are named by `photo` and the SHA-256 of the
file and are not part of this data set; their licences are their own. SHA-256 of the list of names:
`{ids}`.

## `effects.parquet`, a row for each photo, unit, intervention and word
* `photo`, `sha256`: which photo.
* `sample`: `uniform`, units of all layers but the last, each as likely; `strong`, drawn from the
  1 % of each layer with the largest mean |activation| x norm of the output row; `top`, among the
  first 20 of some scorer; `all`, every unit of the photo was measured.
* `layer`, `unit`: which unit, from 0.
* `put_to`: what the unit is put to at all patches: `zero`; its `mean` over reference photos; or
  `resample`, its values at another photo's patches, one by one.
* `target`: `word`, the caption's first noun; `absent`, an everyday noun that nobody named in the
  photo, nearest to the word in probability behind other photos.
* `logit`: the target's, unchanged minus changed, at the position that predicts the word.
* `log_probability`: likewise, in nats.

Units of the last layer are left out: nothing at a patch reaches the word from there. Rows of one
unit that lies in several samples stand once, under the first.

| sample | put to | units |
|---|---|---|
{samples}

## `words.parquet`, a row for each photo and word
`caption` (the model's own), `word`, `token`, `logit` and `probability` of the unchanged pass, and
`resampled`: the SHA-256 of the photo that `resample` takes values from.

## How to score against it
Rank correlation within a photo on `sample == "uniform"`, `put_to == "zero"`, `target == "word"`,
averaged over photos, is the headline: neither sample nor photos were chosen by any method. Report
sign agreement beside it, and the same for `target == "absent"`: a method that explains an absent
word as well explains the model, and is no evidence that the unit sees.

```python
import pyarrow.parquet as pq
from scipy.stats import spearmanr

rows = pq.read_table("effects.parquet").to_pandas().query(
    "sample == 'uniform' and put_to == 'zero' and target == 'word'"
)
rows["score"] = [score(row) for row in rows.itertuples()]  # of layer and unit on that photo
print(rows.groupby("photo").apply(lambda one: spearmanr(one.score, one.logit)[0]).mean())
```

## Limits
One unit at a time, at all patches at once: units that stand in for one another show no effect, and
put to zero a unit is where it may never be. Effects of about 1e-5 and less are rounding.
"""
