"""The experiments by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module

from molyneux.errors import UsageError
from molyneux.studies.experiment import Experiment

# E5 has a data set of its own and is not measured photo by photo with the others.
_PLACES = {
    "E1": ("e1_prompts", "Prompts"),
    "E2": ("e2_agreement", "Agreement"),
    "E3": ("e3_layers", "Layers"),
    "E4": ("e4_fields", "Fields"),
    "E6": ("e6_causality", "Causality"),
}
SELECTIVITY = "E5"
NAMES = ("E1", "E2", "E3", "E4", "E5", "E6")


def parse_names(text: str) -> tuple[str, ...]:
    """Return the experiments named in a list such as `E1,E6`, in the paper's order.

    Raises:
        UsageError: a name is none of them.
    """
    asked = [name.strip().upper() for name in text.split(",") if name.strip()]
    for name in asked:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1) or ["E1,E2"]
            raise UsageError(
                f"there is no experiment {name!r}; name some of {', '.join(NAMES)}, "
                f"as in --experiments {near[0]}"
            )
    if not asked:
        raise UsageError("no experiment was named; name some, as in --experiments E2,E6")
    return tuple(name for name in NAMES if name in asked)


def load_experiments(names: Sequence[str]) -> list[Experiment]:
    """Return the named experiments that are measured photo by photo."""
    found = []
    for name in names:
        if name in _PLACES:
            module, cls = _PLACES[name]
            found.append(getattr(import_module(f"molyneux.studies.{module}"), cls)())
    return found
