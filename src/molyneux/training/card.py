"""The model card that lies beside a trained projection, made from its provenance record."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from molyneux.store import Run
from molyneux.training.permuted import PERMUTED

NAME = "MODEL_CARD.md"
ROWS_OF_CURVE = 20

_SCORES = {
    "loss": "caption loss, nats per token",
    "hit": "first noun among the photo's nouns",
    "cider": "CIDEr-D",
    "bertscore": "BERTScore F1",
}


def write_card(
    provenance: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    *,
    sha256: str,
    command: Sequence[str],
    versions: Mapping[str, str],
    limits: Sequence[str] = (),
    licences: Mapping[str, str] | None = None,
) -> str:
    """Return the card as Markdown, with the header that model hubs read.

    Args:
        provenance: the projection's record.
        log: of every step.
        sha256: of the projection's weight and bias.
        command: the words after `molyneux` that began the run.
        licences: part -> licence, where they are known.
    """
    hashes = provenance.get("hashes", {})
    parts = [
        ["language model", provenance["language_model"], _hash(hashes.get("language_model"))],
        ["encoder", provenance["encoder"], _hash(hashes.get("encoder"))],
        ["projection", "weight and bias of this folder", _hash(sha256)],
    ]
    layout = provenance["layout"]
    begin = f"`{layout['begin']}`, then " if layout["begin"] else ""
    lines = [
        "---",
        *([f"license: {json.dumps(provenance['licence'])}"] if "licence" in provenance else []),
        "library_name: molyneux",
        "pipeline_tag: image-to-text",
        "tags: [molyneux, projection, image-captioning, interpretability]",
        "---",
        "",
        f"# A projection from {provenance['encoder']} to {provenance['language_model']}",
        "",
        "One linear layer that turns the patch features of a frozen image encoder into input "
        "embeddings of a frozen, text-only language model. It was trained on captions; nothing "
        "else was.",
        "",
        "## Parts",
        "",
        *_table(["part", "name", "sha256"], parts),
        "",
        f'Layout: {begin}the patches, then "{layout["text"]}". Used with other parts, or laid '
        "out otherwise, it is refused.",
        "",
        *_licences(provenance, licences or {}),
        "## Data",
        "",
        *_data(provenance),
        "",
        "## Recipe",
        "",
        *_table(["setting", "value"], _settings(provenance)),
        "",
        "## Training",
        "",
        f"The weights of step {provenance['step']} were kept: the lowest held-out loss.",
        "",
        *_curve(log),
        "",
        "## Evaluation",
        "",
        *_evaluation(provenance.get("evaluation")),
        "",
        "## Limits",
        "",
        *(f"* {limit}" for limit in _limits(provenance, limits)),
        "",
        "## Made with",
        "",
        "```",
        shlex.join(["molyneux", *command]),
        "```",
        "",
        *_table(["package", "version"], [[k, v] for k, v in versions.items()]),
        "",
    ]
    return "\n".join(lines)


def _hash(value: Any) -> str:
    return f"`{value}`" if value else "not recorded"


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _table(head: list[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(map(_cell, row)) + " |" for row in rows),
    ]


def _licences(provenance: Mapping[str, Any], licences: Mapping[str, str]) -> list[str]:
    known = [[part, licence] for part, licence in licences.items() if part != "projection"]
    rows = [*known, ["projection", provenance.get("licence", "not stated")]]
    terms = [provenance["terms"], ""] if "terms" in provenance else []
    return ["## Licences", "", *_table(["part", "licence"], rows), "", *terms]


def _data(provenance: Mapping[str, Any]) -> list[str]:
    held_out = provenance["held_out_photos"]
    rows: list[list[Any]] = [
        ["name", provenance["data"]],
        ["photos trained on", provenance["photos"]],
        ["photos held out", held_out],
        ["photos that did not read", provenance.get("unreadable", 0)],
    ]
    rows += [[f"examples: {name}", n] for name, n in sorted(provenance["examples"].items())]
    for part, record in (provenance.get("sets") or {}).items():
        if not isinstance(record, Mapping):
            rows.append([part, record])
            continue
        for key, value in record.items():
            if value not in (None, [], {}):
                rows.append([f"{part}: {key.replace('_', ' ')}", value])
        if "licence" in record and record["licence"] is None:
            rows.append([f"{part}: licence", "not stated by the set's files"])
    if provenance.get(PERMUTED) is not None:
        seed = provenance[PERMUTED]
        rows.append(["captions", f"permuted against the photos, as a control (seed {seed})"])
    left_out = provenance.get("held_out_categories")
    if left_out:
        rows.append(["categories never trained on", ", ".join(left_out["names"])])
        for part in ("training", "validation"):
            counts = left_out[part]
            rows.append(
                [
                    f"{part}: left out for them",
                    f"{counts['left_out']} (annotated: {_counts(counts['by_annotation'])}; "
                    f"in captions: {_counts(counts['by_caption'])})",
                ]
            )
    return _table(["what", "value"], rows)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def _settings(provenance: Mapping[str, Any]) -> list[list[Any]]:
    rows = [[name.replace("_", " "), value] for name, value in provenance["recipe"].items()]
    how = provenance.get("how", {})
    rows += [[name.replace("_", " "), value] for name, value in how.items()]
    return [*rows, ["number type", provenance["dtype"]]]


def _curve(log: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the loss curve as a table: training loss as the mean since the row before."""
    stride = max(1, -(-len(log) // ROWS_OF_CURVE))
    rows, since = [], 0
    for end in range(1, len(log) + 1):
        if end % stride == 0 or end == len(log):
            chunk = log[since:end]
            scored = [entry for entry in chunk if "loss_held_out" in entry]
            held = [f"{scored[-1][k]:.3f}" for k in ("loss_held_out", "hit")] if scored else []
            cider = f"{scored[-1]['cider']:.3f}" if scored and "cider" in scored[-1] else ""
            mean = sum(entry["loss"] for entry in chunk) / len(chunk)
            rows.append([chunk[-1]["step"], f"{mean:.3f}", *(held or ["", ""]), cider])
            since = end
    return _table(["step", "training loss", "held-out loss", "hit", "CIDEr-D"], rows)


def _evaluation(found: Mapping[str, Any] | None) -> list[str]:
    if not found:
        return ["Not evaluated beyond the table above."]
    rows, notes = [], []
    for key, title in _SCORES.items():
        score = found.get(key)
        if score is None:
            continue
        if "skipped" in score:
            notes.append(f"* {title}: none; {score['skipped']}")
            continue
        control = score["control"]
        told = f"{title} ({score['backbone']})" if "backbone" in score else title
        other = "" if control is None else _interval(control)
        rows.append([told, _interval(score), other, score["n"]])
    return [
        *_table(["score", "value [95 % interval]", "control: another photo's", "photos"], rows),
        "",
        "Percentile bootstrap over held-out photos, which also decided which step was kept. The "
        "control gives each photo another one's caption (for the loss: another one's features).",
        *(["", *notes] if notes else []),
    ]


def _interval(score: Mapping[str, Any]) -> str:
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def _limits(provenance: Mapping[str, Any], limits: Sequence[str]) -> list[str]:
    found = [
        *limits,
        "It writes short captions and names wrong things; it is made for studying units, not for "
        "describing photos to people.",
        "Trained and evaluated on the data above alone; other photos may fare worse.",
    ]
    if str(provenance["encoder"]).startswith("random:"):
        found.insert(0, "A control: the encoder's weights are random. It is not meant to see.")
    if provenance.get(PERMUTED) is not None:
        found.insert(0, "A control: trained on other photos' captions. It is not meant to see.")
    return found


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
