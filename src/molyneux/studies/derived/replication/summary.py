"""The headline numbers again, on disjoint random subsets of the photos and with other controls.

Subsets of the same photos differ by sampling alone, so their spread should be the sampling error
that the intervals claim: more would say that the intervals are too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from molyneux.statistics.bootstrap import median
from molyneux.studies.e6_causality.curves import Curves
from molyneux.studies.e6_causality.design import HEADLINE
from molyneux.studies.experiment import Headline
from molyneux.studies.finished import Finished
from molyneux.studies.results import NONE, Cell, Number, ResultTable, over_photos
from molyneux.studies.settings import draw_seed

LEAST = 20
"""Photos of the smallest subset: of fewer, a mean says little of any sign."""
FEW = "fewer than two photos in a subset, or all alike"
NO_SIGN = "it is no difference, and claims no sign"
VIEW = "patches"
ALONE = 0.025
"""How often an interval of 95 % lies by chance on the one side of 0 that is asked for."""
COMPARED = (
    "same sign",
    "by luck",
    "shown alone",
    "alone by luck",
    "spread",
    "expected spread",
    "chi-square",
    "p",
)


def replicate(
    study: Finished, headlines: Sequence[tuple[str, Headline]], subsets: int
) -> tuple[ResultTable, ...]:
    """Return headline numbers on disjoint random subsets, and E6's by control seed.

    Args:
        headlines: the numbers of each experiment, by its name.
        subsets: how many are asked for; fewer are made where one would have under 20 photos.
    """
    made = count_subsets(study.n_photos, subsets)
    groups = deal_photos(study, made) if made else []
    rows = [
        {"experiment": experiment, "number": name, **_compared(name, values, groups, study)}
        for experiment, found in headlines
        for name, values in found.items()
    ]
    names = tuple(f"subset {i + 1}" for i in range(made))
    tables = [
        ResultTable(
            "R.subsets",
            "Headline numbers on disjoint random subsets",
            ("experiment", "number", "all photos", *names, *(COMPARED if made else ())),
            tuple(rows),
            (
                *_said(study.n_photos, subsets, [len(group) for group in groups]),
                "E2: patch view, BERTScore of a photo's units with its human captions, minus that "
                "of another photo's units. E6: patch view, silenced at all positions. E7: of the "
                "5 % of units that change most.",
            ),
        )
    ]
    if study.has("e6_curves"):
        tables.append(_seed_table(Curves.of(study)))
    return tuple(tables)


def count_subsets(n_photos: int, asked: int) -> int:
    """Return how many subsets are made: those asked for, of 20 photos or more; 0 for under two."""
    made = min(asked, n_photos // LEAST)
    return made if made >= 2 else 0


def _said(n_photos: int, asked: int, sizes: list[int]) -> tuple[str, ...]:
    made = len(sizes)
    least = f"{n_photos} photos are too few for {asked} subsets of {LEAST} or more: "
    if not made:
        return (least + "there are none, and nothing is replicated.",)
    return (
        *((f"{least}there are {made}.",) if made < asked else ()),
        f"The photos are dealt at random into {made} disjoint subsets of {min(sizes)} to "
        f"{max(sizes)}; photos without a noun count in none of the numbers.",
        "`same sign`: in how many subsets a difference has the sign that it has over all photos; "
        "`by luck`: how often as many subsets or more share a sign where there is no difference "
        "(binomial, either sign). `shown alone`: in how many the subset's own interval lies on "
        f"that side of 0; `alone by luck`: the same, with {ALONE} for each. All subsets agreeing "
        f"in sign happens by luck in {luck(made, made, 0.5, sides=2):.1%} of such tables: it is "
        "weak evidence beside the interval over all photos.",
        "`spread`: standard deviation over subsets. `expected spread`: the standard error "
        "over all photos times the root of the number of subsets, as sampling alone would "
        f"give; between subsets {_range_text(made)}.",
        "`chi-square`: of homogeneity, the subsets' means against their common mean in "
        "units of the variance within subsets; p below .05 would say that the subsets "
        "differ by more than sampling.",
    )


def luck(k: int, n: int, chance: float, *, sides: int = 1) -> float:
    """Return how often k or more of n subsets agree by chance; at most 1.

    Args:
        chance: of one subset.
        sides: 2 where either of two ways to agree would count.
    """
    from scipy.stats import binom

    return min(1.0, sides * float(binom.sf(k - 1, n, chance)))


def deal_photos(study: Finished, subsets: int) -> list[Int[np.ndarray, " photos"]]:
    """Return the photos dealt into disjoint subsets of equal size, but for one photo.

    A photo's place depends on the seed and the photos' hashes, not on the order of the data.
    """
    keys = [
        (draw_seed(study.settings.seed, sha256, "replication"), sha256)
        for sha256 in study.photos["sha256"].to_pylist()
    ]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=int)
    return [np.sort(order[start::subsets]) for start in range(subsets)]


def _why(study: Finished, name: str) -> str:
    """Return why a headline number cannot be had of any photo."""
    missing = study.manifest.get("bert_missing") if "BERTScore" in name else None
    return str(missing or NONE)


def _compared(
    name: str, values: np.ndarray, groups: list[np.ndarray], study: Finished
) -> dict[str, Cell]:
    why = _why(study, name)
    parts = [values[group] for group in groups]
    whole = over_photos(values, why=why)
    numbers = [over_photos(part, why=why) for part in parts]
    cells: dict[str, Cell] = {"all photos": whole}
    cells |= {f"subset {i + 1}": number for i, number in enumerate(numbers)}
    if not groups:
        return cells
    cells |= _agreeing(whole, numbers, difference=" - " in name)
    parts = [part[~np.isnan(part)] for part in parts]
    found = homogeneity(parts)
    if found is None:
        few = Number.missing(FEW if any(len(part) for part in parts) else why)
        return cells | dict.fromkeys(("spread", "expected spread", "chi-square", "p"), few)
    return cells | {
        name: Number(value, n=len(parts))
        for name, value in zip(("spread", "expected spread", "chi-square", "p"), found, strict=True)
    }


def _agreeing(whole: Number, numbers: list[Number], *, difference: bool) -> dict[str, Cell]:
    """Return in how many subsets a difference is as over all photos, and how lucky that is."""
    if whole.value is None or not difference:
        why = whole.why or NO_SIGN
        return dict.fromkeys(COMPARED[:4], Number.missing(why))
    values = [number.value for number in numbers if number.value is not None]
    sign = float(np.sign(whole.value))
    same = sum(sign * value > 0 for value in values)
    alone = sum(
        low is not None and high is not None and min(sign * low, sign * high) > 0
        for low, high in ((number.low, number.high) for number in numbers)
    )
    n = len(values)
    return {
        "same sign": f"{same} of {n}",
        "by luck": Number(luck(same, n, 0.5, sides=2), n=n),
        "shown alone": f"{alone} of {n}",
        "alone by luck": Number(luck(alone, n, ALONE), n=n),
    }


def homogeneity(parts: list[np.ndarray]) -> tuple[float, float, float, float] | None:
    """Return spread, expected spread, chi-square and p of subsets of one sample.

    The chi-square is that of means with one variance, estimated within subsets (Cochran 1954),
    with one degree of freedom less than there are subsets. None where a subset has fewer than
    two photos, or nothing varies within subsets.
    """
    from scipy.stats import chi2

    sizes = np.array([len(part) for part in parts])
    if len(parts) < 2 or sizes.min() < 2:
        return None
    means = np.array([part.mean() for part in parts])
    squares = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    within = squares / (sizes.sum() - len(parts))
    if within == 0:
        return None
    everything = np.concatenate(parts)
    error = everything.std(ddof=1) / len(everything) ** 0.5
    expected = float(error * len(parts) ** 0.5)
    weighted = float(sizes @ means / sizes.sum())
    statistic = float(sizes @ (means - weighted) ** 2 / within)
    p = float(chi2.sf(statistic, len(parts) - 1))
    return float(means.std(ddof=1)), expected, statistic, p


def _range_text(subsets: int) -> str:
    """Return what a spread over so few subsets may be by chance, as a share of the expected."""
    from scipy.stats import chi2

    low, high = np.sqrt(chi2.ppf([0.025, 0.975], subsets - 1) / (subsets - 1))
    return f"this few, 95 % of spreads lie between {low:.2f} and {high:.2f} times it"


def _seed_table(curves: Curves) -> ResultTable:
    """Return the random control of E6 for each of its seeds, and the spread of their means."""
    steps = sorted({step for step in (HEADLINE, curves.last) if step})
    rows: list[dict[str, Cell]] = []
    means: dict[str, list[float]] = {}
    for seed in curves.seeds:
        row: dict[str, Cell] = {"control": f"random, seed {seed}"}
        for step in steps:
            values = curves.values(VIEW, "all", "random", step, "ratio", seed=seed)
            own = curves.values(VIEW, "all", "top", step, "ratio")
            numbers = {
                f"{step} units, mean": over_photos(values),
                f"{step} units, median": over_photos(values, median),
                f"top - random at {step}": over_photos(own - values),
            }
            row |= numbers
            for name, number in numbers.items():
                if number.value is not None:
                    means.setdefault(name, []).append(number.value)
        rows.append(row)
    spread: dict[str, Cell] = {
        name: Number(float(np.std(found, ddof=1)), n=len(found))
        for name, found in means.items()
        if len(found) > 1
    }
    if spread:
        rows.append({"control": "standard deviation over seeds", **spread})
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return ResultTable(
        "R.seeds",
        "The random control, seed by seed",
        columns or ("control",),
        tuple(rows),
        (
            "Probability left of the target, patch view, silenced at all positions. Each seed "
            "draws other units for every photo.",
        ),
    )
