"""A made-up run folder for the tests of the report: its numbers are invented, not measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

GRID = [0, 10, 50, 100, 643]
VIEWS = ("patches", "last")
TOKENS = [" guitar", " music", " sound", "ing", " women", "woman", " daughter", ",", " the", "\n"]
NOUNS = ["table", "river", "engine", "sugar", "letter", "king", "ocean", "book", "tax", "army"]


def write_run(run: Path, images: Sequence[dict[str, Any]], *, n_units: int = 100) -> Path:
    """Write a run folder of these images, each made by `image` or `broken_image`."""
    random = np.random.default_rng(0)
    (run / "photos").mkdir(parents=True)
    fields: dict[str, np.ndarray] = {}
    for number, each in enumerate(images):
        if each["error"] is not None:
            continue
        draw_photo(number).save(run / "photos" / f"{number}.jpg", quality=85)
        for place, word in enumerate(each["words"]):
            for ranking, lists in word["rankings"].items():
                for view in VIEWS:
                    units = lists[view]
                    if not units:
                        continue
                    maps = np.stack([_field(random, unit) for unit in units])
                    scaled = maps / np.abs(maps).max(axis=(1, 2), keepdims=True)
                    name = f"{number}.{place}.{ranking}.{view}"
                    fields |= {name: maps, f"{name}.set": scaled.mean(axis=0)}
    save_file(fields, run / "fields.safetensors")
    document = {
        "schema": 2,
        "model": MODEL,
        "settings": SETTINGS | {"top": n_units},
        "images": list(images),
        "run": str(run),
    }
    (run / "explain.json").write_text(json.dumps(document), encoding="utf-8")
    (run / "manifest.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
    return run


def image(
    path: str, caption: str, words: Sequence[dict[str, Any]], note: str | None = None
) -> dict[str, Any]:
    """Return the document of one photo, the spans of its words found in its caption."""
    end = 0
    for word in words:
        start = caption.find(word["word"], end)
        if start >= 0:
            end = start + len(word["word"])
            word["span"] = [start, end]
    return {
        "path": path,
        "sha256": "0f" * 32,
        "caption": caption,
        "note": note,
        "error": None,
        "grid": [7, 7],
        "sink_patches": [[0, 0]],
        "caption_tokens": caption.split(),
        "words": list(words),
    }


def broken_image(path: str, error: str) -> dict[str, Any]:
    """Return the document of a photo that could not be read."""
    return {
        "path": path,
        "sha256": None,
        "caption": None,
        "note": None,
        "error": error,
        "grid": None,
        "sink_patches": [],
        "caption_tokens": [],
        "words": [],
    }


def word(
    text: str, *, seed: int = 0, n_units: int = 100, ablated: bool = True, note: str | None = None
) -> dict[str, Any]:
    """Return the document of one word, without a span."""
    random = np.random.default_rng(seed)
    return {
        "word": text,
        "token": " " + text,
        "token_id": 2034 + seed,
        "position": 53 + seed,
        "probability": 0.312 / (1 + seed),
        "logit": 16.21,
        "span": None,
        "n_tokens": 1,
        "note": note,
        "unrelated": list(NOUNS),
        "rankings": {
            ranking: {view: _units(random, n_units, view, ranking) for view in VIEWS}
            for ranking in ("total", "specific", "raw")
        },
        "ablation": curves("patches") if ablated else None,
        "ablation_last": curves("last") if ablated else None,
        "ablated_caption": {
            "units": 100,
            "total": "a man in a field.",
            "top": " the, the, the, the",
            "specific": "a man sitting on a chair.",
            "other_specific": f"a {text} on a table.",
            "random": f"a woman with a {text}.",
        }
        if ablated
        else None,
    }


def curves(view: str) -> dict[str, Any]:
    """Return one view's curves; the interpretable set runs out before the last step."""
    specific = {"patches": [1.0, 0.78, 0.46, 0.29, 0.03], "last": [1.0, 0.41, 0.12, 0.05, 0.0004]}
    return {
        "positions": "all",
        "view": view,
        "grid": list(GRID),
        "specific": specific[view],
        "other_specific": [1.0, 1.01, 0.99, 0.97, 0.81],
        "total": [1.0, 0.5, 0.15, 0.06, 0.0],
        "absent_word": "piano",
        "absent_total": [1.0, 0.4, 0.1, 0.04, 0.0],
        "absent_specific": [1.0, 0.6, 0.3, 0.21, 0.01],
        "absent_top": [1.0, 0.5, 0.3, 0.1, 0.0],
        "top": [1.0, 0.55, 0.2, 0.08, 0.0],
        "other": [1.0, 0.6, 0.24, 0.14, 0.002],
        "interpretable": [1.0, 0.93, 0.8, 0.62, None],
        "matched": [1.0, 0.99, 0.95, 0.9, 0.52],
        "random": [1.0, 0.99, 0.94, 0.89, 0.6],
        "random_std": [0.0, 0.02, 0.05, 0.08, 0.14],
        "unrelated_top": [1.0, 0.8, 0.6, 0.4, 0.3],
        "unrelated_specific": [1.0, 1.0, 0.97, 1.08, 1.2],
        "unrelated_random": [1.0, 1.0, 0.99, 1.02, 0.9],
        "other_noun": "guitar",
        "seeds": 3,
    }


def draw_photo(number: int) -> Image.Image:
    """Return a hill, a house and a sun, on another day for each number."""
    skies = ("#8ec5e8", "#f0c39a", "#46567c")
    photo = Image.new("RGB", (448, 448), skies[number % len(skies)])
    draw = ImageDraw.Draw(photo)
    draw.ellipse((300 - 60 * number, 40, 390 - 60 * number, 130), fill="#ffe27a")
    draw.ellipse((-120, 260, 600, 720), fill="#5f8f4e")
    draw.rectangle((120, 210, 270, 340), fill="#c9683f")
    draw.polygon([(100, 215), (195, 130), (290, 215)], fill="#6b3a2c")
    draw.rectangle((178, 270, 214, 340), fill="#3d2a22")
    return photo


def _units(
    random: np.random.Generator, count: int, view: str, ranking: str
) -> list[dict[str, Any]]:
    scores = np.sort(random.exponential(0.2, count))[::-1] + 0.02
    specifics = np.sort(random.exponential(3, count))[::-1] + 1
    units = []
    for place in range(count):
        by_score = ranking != "specific"
        unit = {
            "layer": int(random.integers(0, 30)),
            "unit": int(random.integers(0, 1536)),
            "score": float(scores[place] if by_score else random.choice(scores)),
            "total": float(2 * scores[place] if by_score else random.choice(scores)),
            "share": float(random.normal(0.001, 0.002)),
            "specific": None
            if by_score and place % 4 == 1
            else float(random.choice(specifics) if by_score else specifics[place]),
            "sign": int(random.choice([-1, 1])),
            "sink": bool(by_score and random.random() < 0.3),
            "tokens": [str(token) for token in random.permutation(TOKENS)],
            "suppressed": [str(token) for token in random.permutation(TOKENS)],
            "interpretable": bool(random.random() < 0.25),
        }
        if view == "patches":
            unit["peak_patch"] = [int(random.integers(1, 6)), int(random.integers(1, 6))]
        units.append(unit)
    return units


def _field(random: np.random.Generator, unit: dict[str, Any]) -> np.ndarray:
    row, column = unit.get("peak_patch", [3, 2])
    rows, columns = np.mgrid[0:7, 0:7]
    bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 3)
    return (3 * bump + 0.3 * random.normal(size=(7, 7))).astype(np.float32)


SETTINGS = {
    "top": 100,
    "positions": "all",
    "grid": GRID,
    "seeds": 3,
    "of": "logit",
    "site": "activation",
    "ablate": "first",
    "seed": 0,
}
MODEL = {
    "preset": "smollm2-effnet",
    "language_model": "SmolLM2-135M-Instruct Q4_1",
    "encoder": "efficientnet-lite0",
    "projection": {"kind": "trained", "steps": 1234, "data": {"pictures": 12000}},
    "layout": {"begin": None, "text": "A picture of"},
    "dtype": "float32",
    "hashes": {"language_model": "ab" * 32, "encoder": "cd" * 32, "projection": "ef" * 32},
    "n_layers": 30,
    "d_mlp": 1536,
    "n_units": 46080,
    "limits": ["The encoder's 49 cells see far beyond their own square."],
    "reference": {"photos": 200},
}
MANIFEST = {
    "schema": 1,
    "kind": "explain",
    "created": "2024-05-01T12:00:00+00:00",
    "argv": ["molyneux", "explain", "house.jpg"],
    "seed": 0,
    "threads": 2,
    "versions": {"molyneux": "0.1.0", "torch": "2.6.0"},
    "hashes": {},
}


def reading(
    *, lens: str = "jacobian", grid: tuple[int, int] | None = (7, 7)
) -> list[dict[str, Any]]:
    """Return what the patches say, at each patch too: of all layers, then of two layers alone."""
    nouns = ["guitar", *NOUNS]
    found: list[dict[str, Any]] = []
    for layers in ("all", [0, 1]):
        found.append(
            {
                "lens": lens,
                "set": "change",
                "fraction_of_units": 0.05,
                "layers": layers,
                "words": [
                    {
                        "word": noun,
                        "score": 3.0 - n,
                        "percentile": 1.0 - n / 100,
                        "in_other_photos": 0.44,
                    }
                    for n, noun in enumerate(nouns)
                ],
                "effects_up": [{"word": "guitar", "nats": 2.13}],
                "effects_down": [{"word": "tax", "nats": -0.52}],
            }
        )
    for shift, one in enumerate(found if grid is not None else ()):
        one["at_patches"] = [
            {
                "words": [nouns[(n + k + 3 * shift) % 11] for k in range(5)],
                "scores": [5.0 - k - shift for k in range(5)],
            }
            for n in range(grid[0] * grid[1] if grid else 0)
        ]
    return found
