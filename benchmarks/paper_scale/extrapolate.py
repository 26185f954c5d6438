"""From runs of a few layers at full width to all 28: a line through two points, said to be one."""

from __future__ import annotations

from typing import Any

PAPER_LAYERS = 28
SAME = ("dtype", "grid")


def extrapolate(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Return what two documents say of 28 layers: fixed seconds and seconds a layer, by step.

    Steps that do not grow with layers are the mean of the two. A step that was counted (units,
    rows) is fitted by the second per one of them.
    """
    a, b = sorted((a, b), key=lambda one: one["shape"]["layers"])
    _require_alike(a, b)
    low, high = a["shape"]["layers"], b["shape"]["layers"]

    def at_paper(first: float, second: float) -> tuple[float, float]:
        each = (second - first) / (high - low)
        return first + each * (PAPER_LAYERS - low), each

    steps: dict[str, dict[str, Any]] = {}
    for name in a["steps"]:
        one, other = a["steps"][name], b["steps"].get(name)
        if other is None:
            continue
        counts = one.get("count", 1), other.get("count", 1)
        first, second = one["seconds"] / counts[0], other["seconds"] / counts[1]
        seconds, each = at_paper(first, second)
        if not one.get("grows", True):
            seconds, each = (first + second) / 2, 0.0
        step: dict[str, Any] = {"measured": [first, second], "a_layer": each}
        if "count" in one:
            # The paper's model has this many of them, and all of them are meant.
            step["count"] = step["of"] = max(one["of"], other["of"])
            seconds *= step["count"]
        if "experiments" in one:
            step["experiments"] = one["experiments"]
        steps[name] = {"seconds": round(max(0.0, seconds), 5), **step}
    memory = {k: round(at_paper(a["memory"][k], b["memory"][k])[0], 1) for k in a["memory"]}
    return {
        "extrapolated": f"linearly in layers, from {low} and {high} to {PAPER_LAYERS}",
        "from": [{"date": one["date"], "machine": one["machine"]} for one in (a, b)],
        "dtype": a["dtype"],
        "shape": {
            **a["shape"],
            "layers": PAPER_LAYERS,
            "units": PAPER_LAYERS * a["shape"]["d_mlp"],
        },
        "grid": a["grid"],
        "steps": steps,
        "memory": memory,
        "notes": a["notes"],
    }


def _require_alike(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Refuse two runs that differ in anything but their layers."""
    wrong = [name for name in SAME if a[name] != b[name]]
    wrong += [k for k in ("cpu", "gpu", "threads") if a["machine"].get(k) != b["machine"].get(k)]
    if a["shape"]["width_divided_by"] != b["shape"]["width_divided_by"]:
        wrong.append("width")
    if a["shape"]["layers"] == b["shape"]["layers"]:
        raise SystemExit("both runs have the same number of layers; give runs that differ in it")
    if wrong:
        raise SystemExit(f"the runs differ in {', '.join(wrong)}; only their layers may")
