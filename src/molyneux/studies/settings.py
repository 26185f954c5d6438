"""What a study computes: everything here changes its numbers, so a resumed run must agree on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

NO_SCORER = "none"
"""As a backbone: texts are not compared with it."""
EXPERIMENTS = ("E1", "E2", "E3", "E4", "E5", "E6")


@dataclass(frozen=True)
class StudySettings:
    """The choices behind a study's numbers.

    Attributes:
        experiments: which of the paper's experiments.
        seed: of every random draw, together with the photo's sha256 and the draw's purpose.
        units: how many units of a ranking are listed, decoded and scored against texts.
        grid: how many units are switched off at each step of E6.
        seeds: random controls of E6.
        subsets: disjoint random subsets on which E2 and E6 are repeated; 0 for none.
        threads: of torch; sums over other numbers of threads differ in their last digits.
        classes: how many classes E5 takes, or their names.
        per_class: photos of each class: the first half to find units, the second to confirm them.
        bertscore: backbone; None for the default one, `none` for no BERTScore.
        clip: CLIP checkpoint of CLIPScore; `none` for no CLIPScore.
    """

    experiments: tuple[str, ...] = EXPERIMENTS
    seed: int = 0
    units: int = 100
    grid: tuple[int, ...] = ()
    seeds: int = 5
    subsets: int = 5
    threads: int = 1
    classes: int | tuple[str, ...] = 10
    per_class: int = 40
    bertscore: str | None = None
    clip: str = "openai/clip-vit-large-patch14"


def draw_seed(seed: int, sha256: str, purpose: str) -> int:
    """Return the seed of one random draw: of a photo and a purpose, whichever process draws."""
    digest = hashlib.sha256(f"{seed}/{sha256}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
