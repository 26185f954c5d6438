"""How a projection is trained: the numbers, and ready-made sets of them."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from types import MappingProxyType

from molyneux.errors import UsageError

SCHEDULES = ("cosine", "linear", "plateau")
RISES = ("linear", "logarithmic")


@dataclass(frozen=True)
class Recipe:
    """How the projection is trained.

    Attributes:
        steps: of the optimiser; with the schedule `plateau`, at least.
        batch: captions in a step, over all processes and accumulated parts together.
        warmup: share of the steps over which the learning rate rises; then it falls, to 0 at the
            last one.
        warmup_steps: number of steps over which it rises, whatever `steps` is, instead.
        rise: the shape of the rise, one of `RISES`.
        schedule: the shape of the fall, one of `SCHEDULES`. With `plateau`, the rate stays until
            the held-out loss hardly falls any more; it then falls linearly, all patches shown, for
            `whole` of the steps taken so far, and the run ends (`molyneux.training.schedule`).
        betas: AdamW's, of the running means of gradients and of their squares.
        dropout: of the projection's output, as in LiMBeR.
        patches_kept: share of the patches shown in a step, drawn for each photo; fewer patches
            cost less and regularise. The last `whole` share of the steps shows all.
        average: decay of the running average of the weights, which is what is evaluated and kept;
            0 for the weights themselves.
        clip: the gradient's norm is cut to this.
        every: steps between evaluations on the held-out photos.
        caption_tokens: captions are trained on up to this many tokens.
        end_token: whether the token that ends a text is trained after each caption, so that
            captions end which have no full stop; of one that is cut, it is not.
        name: of the ready-made recipe it began from.
        captions_together: captions of a photo, at most, that are drawn and trained on together;
            the batch counts captions.
        level: with the schedule `plateau`, the fall begins when the held-out loss has fallen by
            less than this (nats per token) over `level_over` steps.
        level_over: see `level`; a multiple of `every`.
    """

    steps: int = 1000
    batch: int = 32
    learning_rate: float = 8e-4
    warmup: float = 0.05
    schedule: str = "cosine"
    weight_decay: float = 0.01
    dropout: float = 0.1
    patches_kept: float = 1 / 3
    whole: float = 0.1
    average: float = 0.98
    clip: float = 1.0
    every: int = 100
    seed: int = 0
    caption_tokens: int = 10
    name: str = "default"
    warmup_steps: int | None = None
    rise: str = "linear"
    betas: tuple[float, float] = (0.9, 0.999)
    end_token: bool = False
    captions_together: int = 1
    level: float = 0.005
    level_over: int = 500

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            UsageError: a number is out of its range.
        """
        if self.schedule not in SCHEDULES:
            raise UsageError(
                f"there is no schedule {self.schedule!r}; take {' or '.join(SCHEDULES)}"
            )
        if self.rise not in RISES:
            raise UsageError(f"there is no rise {self.rise!r}; take {' or '.join(RISES)}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"a dropout of {self.dropout} leaves nothing; give one from 0 to 0.9")
        if self.captions_together < 1:
            raise UsageError("a photo has one caption or more; give --captions-together 1")
        if self.schedule == "plateau" and (self.level_over < 1 or self.level_over % self.every):
            raise UsageError(
                f"the held-out loss is watched over {self.level_over} steps, but measured every "
                f"{self.every}; give an --every that divides {self.level_over}"
            )

    def rising(self, step: int) -> float | None:
        """Return the learning rate of a step while it rises; None after that."""
        rise = self.rise_steps
        if step >= rise:
            return None
        if self.rise == "logarithmic":
            return self.learning_rate * math.log(step + 1) / math.log(max(2, rise))
        return self.learning_rate * (step + 1) / rise

    @property
    def rise_steps(self) -> int:
        """Steps over which the learning rate rises."""
        return self.warmup_steps or max(1, round(self.warmup * self.steps))


# LiMBeR (Merullo et al. 2022, arXiv 2209.15162), as its published code trains on several GPUs:
# batch 256 accumulated 8 times, 15,000 steps, AdamW without weight decay (which is Adam), gradient
# cut to norm 1, dropout 0.1 on the projection's output, and DeepSpeed's WarmupDecayLR: 100 steps of
# logarithmic rise to 8e-4, then a linear fall to 0. The fall's end is given twice, as 300,000 and
# then as "auto", for which transformers puts the number of steps. Captions are padded with the
# end-of-text token, the first of which counts. All patches are shown and no average is kept.
_LIMBER = Recipe(
    steps=15_000,
    batch=2048,
    learning_rate=8e-4,
    warmup_steps=100,
    rise="logarithmic",
    schedule="linear",
    betas=(0.9, 0.95),
    weight_decay=0.0,
    dropout=0.1,
    patches_kept=1.0,
    average=0.0,
    every=500,
    caption_tokens=64,
    end_token=True,
    name="limber",
)

# What the default preset is trained with (docs/training.md): as long as the held-out loss falls.
_LONG = Recipe(
    steps=3000,
    learning_rate=5e-3,
    warmup_steps=50,
    schedule="plateau",
    whole=0.15,
    every=250,
    caption_tokens=12,
    captions_together=4,
    name="long",
)


@dataclass(frozen=True)
class ReadyMade:
    """A recipe and the options of a run that belong to it.

    Attributes:
        accumulate: parts of a step that are run one after another.
        views: of a photo, at most.
        begins: whether a token stands ahead of the patches (see `choose_begin`).
        data: what its authors trained on.
        features: `cache` on disk or made `live` (see `molyneux.training.run.Conduct`).
    """

    recipe: Recipe
    accumulate: int
    views: int
    begins: bool
    data: str | None
    features: str


RECIPES: MappingProxyType[str, ReadyMade] = MappingProxyType(
    {
        "default": ReadyMade(Recipe(), 1, 8, True, None, "cache"),
        "long": ReadyMade(_LONG, 1, 4, True, None, "cache"),
        "limber": ReadyMade(_LIMBER, 8, 1, False, "CC3M", "live"),
    }
)


def find_recipe(name: str) -> ReadyMade:
    """Return the ready-made recipe of a name.

    Raises:
        UsageError: there is none.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name.lower(), RECIPES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(RECIPES)}"
    raise UsageError(f"there is no recipe {name!r}; {hint}")
