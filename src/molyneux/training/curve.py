"""The loss curve of a training run, drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from molyneux.store import Run


def draw_loss_curve(run: Run, log: Sequence[Mapping[str, Any]]) -> None:
    """Write the loss curve, training and held out, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([e["step"] for e in log], [e["loss"] for e in log], lw=0.6, label="training batch")
    scored = [e for e in log if "loss_held_out" in e]
    axes.plot(
        [e["step"] for e in scored],
        [e["loss_held_out"] for e in scored],
        "o-",
        label="held-out photos",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step", ylabel="nats per caption token")
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=140)
    run.write_bytes("loss.png", buffer.getvalue())
