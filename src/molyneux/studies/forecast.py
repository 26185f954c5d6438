"""What a study will take: said before it starts, and again once its first photo is measured."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from molyneux.models.seeing_model import SeeingModel
from molyneux.studies.parts import MEASURED, Progress, finished_parts
from molyneux.studies.plan import Note, Plan

PRESET_WEIGHTS, PRESET_POSITIONS = 134.5e6, 60
"""The language model's weights, and the positions it reads, in the runs whose seconds the
experiments state: the default preset's."""
TEXT_POSITIONS = 11
"""Positions beside the patches: begin token, text, caption so far."""
TARGETS = 6
"""Words whose gradients one attribution holds at most: the noun, and five that are asked for."""
DECODED, BATCH = 512, 16
"""Units decoded at once, and sequences that E6 silences at once."""


def expected(plan: Plan, model: SeeingModel, folder: Path, world: int = 1) -> str:
    """Return the line that says time and memory before anything is measured.

    The time is each experiment's seconds a photo, as they were measured on one thread of a CPU
    with the default preset, times this model's weights and positions over that preset's. Photos
    that the folder has already are not counted.
    """
    left = len(plan.selection) - len(finished_parts(folder, MEASURED))
    known = [each.seconds(plan.settings, max(0, left)) for each in plan.experiments]
    unknown = [e.name for e, s in zip(plan.experiments, known, strict=True) if s is None]
    memory = f"about {gigabytes(memory_taken() + _working_memory(model))} of memory"
    if model.language_model.device.type != "cpu" or len(unknown) == len(known):
        return f"expected: {memory}; how long it takes, the first photo will say"
    seconds = sum(s for s in known if s is not None) * _times_preset(model) / world
    besides = f", {' and '.join(unknown)} not counted" if unknown else ""
    return (
        f"expected: about {duration(seconds)} and {memory}; the time is scaled from the default "
        f"preset's seconds on one CPU thread (docs/study.md){besides}; the first photo will say "
        "better"
    )


def measured_first(note: Note, on_photo: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Return what hears of every photo, and says after the first of a phase what all will take."""
    last, phase = time.monotonic(), ""

    def hear(progress: Progress) -> None:
        nonlocal last, phase
        now = time.monotonic()
        on_photo(progress)
        left = progress.total - progress.done
        if progress.phase != phase and left:
            took = now - last
            note(
                f"expected, from the first photo: {duration(took * left)} more for the {left} "
                f"photos left in the phase {progress.phase}; {gigabytes(memory_taken())} of memory "
                "at most so far"
            )
        phase, last = progress.phase, time.monotonic()

    return hear


def duration(seconds: float) -> str:
    """Return a time as it is said: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{round(minutes)} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def gigabytes(n: float) -> str:
    """Return bytes as gigabytes."""
    return f"{n / 1e9:.1f} GB"


def memory_taken() -> int:
    """Return the most memory this process held, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _positions(model: SeeingModel) -> int:
    return model.encoder.grid.n_patches + TEXT_POSITIONS


def _times_preset(model: SeeingModel) -> float:
    """Return how many times the default preset's multiplications a forward pass takes."""
    weights = sum(w.numel() for w in model.language_model.model.parameters())
    return weights / PRESET_WEIGHTS * _positions(model) / PRESET_POSITIONS


def _working_memory(model: SeeingModel) -> float:
    """Return the bytes that one photo's attribution, decoding and ablation take at once.

    An attribution holds every layer's activations, some three of them in the graph, and their
    gradients for each word; decoding and ablation hold logits.
    """
    lm = model.language_model
    activations = lm.n_layers * lm.d_mlp * _positions(model) * lm.dtype.itemsize
    logits = (DECODED + BATCH) * lm.d_vocab * 4
    return float(activations * (3 + TARGETS) + logits)
