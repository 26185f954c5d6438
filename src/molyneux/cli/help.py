"""How a command's help reads: options in groups, and examples to copy."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_GROUPS = {
    "Model": {
        *("preset", "language_model", "encoder", "projection", "vlm", "prompt", "centre"),
        *("decoding", "lens", "dtype", "device", "reference", "trust"),
    },
    "Data": {
        *("where", "images", "kind", "validation", "validation_where", "validation_images"),
        *("hold_out", "selectivity", "selectivity_where", "classes", "per_class", "name", "terms"),
        *("permuted", "captions_together"),
    },
    "Output": {
        *(
            "out",
            "as_json",
            "quiet",
            "help",
            "opens",
            "export",
            "strict",
            "form",
            "push_to_hub",
            "licence",
        ),
    },
}
_ORDER = ("Arguments", "Options", "Data", "Model", "Output")
_KINDS = (
    (re.compile(r"<int( range)?>"), "N"),
    (re.compile(r"<float( range)?>"), "X"),
    (re.compile(r"<(list\[)?str\]?>"), "TEXT"),
    (re.compile(r"<(list\[)?path\]?>"), "PATH"),
)

EXAMPLES: dict[str, tuple[str, ...]] = {
    "atlas": (
        "molyneux atlas build --out atlas",
        "molyneux atlas build --language-model EleutherAI/pythia-70m --out atlas",
        "molyneux atlas join atlas my-study my-run",
    ),
    "cache": ("molyneux cache", "molyneux cache clear --yes"),
    "calibrate-bertscore": ("molyneux calibrate-bertscore --layer 5",),
    "caption": (
        "molyneux caption photo.jpg",
        "molyneux caption holiday/ --json > captions.json",
        "find . -name '*.jpg' | molyneux caption -",
    ),
    "data": ("molyneux data", "molyneux data coco", "molyneux data coco /data/coco"),
    "decode": (
        "molyneux decode L12.u905",
        "molyneux decode L12.u905 --lens lens.safetensors",
    ),
    "compare-scorers": (
        "molyneux compare-scorers /data/coco --images 50 --out compared",
        "molyneux compare-scorers /data/coco --scorer relp --images 5 --all-units 1",
    ),
    "demo": ("molyneux demo --open",),
    "doctor": ("molyneux doctor", "molyneux doctor --vlm llava-hf/llava-1.5-7b-hf"),
    "explain": (
        "molyneux explain photo.jpg --open",
        "molyneux explain photo.jpg --word river --out my-run",
        "molyneux explain photo.jpg --vlm PATH --device cuda --dtype bfloat16",
    ),
    "explore": (
        "molyneux explore my-run --open",
        "molyneux explore my-run other-run --port 8000",
        "molyneux explore my-run --export pages",
    ),
    "find": (
        "molyneux find water --layer 5-12",
        "molyneux find photo --prefix --lens jacobian --json",
        "molyneux find dog --concept --atlas my-atlas --by effect",
    ),
    "lens": (
        "molyneux lens build /data/coco --where split=train2017 --out lens.safetensors",
        "molyneux lens build --sentences --out of-sentences.safetensors",
    ),
    "models": ("molyneux models", "molyneux models fetch gptj-beit"),
    "prompts": ("molyneux prompts photo.jpg --top 3",),
    "reference": (
        "molyneux reference /data/coco --where split=train2017 --out table",
        "molyneux reference /data/coco --partners /data/flickr30k --out table",
        "molyneux explain photo.jpg --reference table/reference.safetensors",
    ),
    "report": ("molyneux report molyneux-runs/20260102-030405 --open",),
    "runs": ("molyneux runs", "molyneux runs results --json"),
    "size": ("molyneux size EleutherAI/pythia-70m", "molyneux size gptj-beit"),
    "study": (
        "molyneux study /data/coco --where masks --images 100 --out my-study",
        "molyneux study /data/coco --experiments E2,E3 --out my-study",
    ),
    "table": ("molyneux table my-study", "molyneux table my-study E6 --format latex"),
    "train": (
        "molyneux train my-photos --out my-run",
        "molyneux train my-photos --language-model gpt2 --encoder facebook/dinov2-base",
    ),
    "trust": (
        "molyneux trust set-aside.jsonl --check others.jsonl --out scale",
        "molyneux caption photo.jpg --trust scale/trust.json",
    ),
    "transfer": (
        "molyneux study /data/coco --experiments E8 --out my-units",
        "molyneux transfer my-units /data/caltech101 --out my-transfer",
    ),
    "units": ("molyneux units my-study --passing specific --top 10",),
}


class Command(TyperCommand):
    """A command whose help has its options in groups, and ends with examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options by group, then the examples."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                group = "Arguments" if argument else _group_of(str(parameter.name))
                name = record[0].split()[0] if argument else _plain(record[0])
                groups.setdefault(group, []).append((name, record[1]))
        for name in _ORDER:
            if name in groups:
                with formatter.section(name):
                    formatter.write_dl(groups[name])
        if examples := EXAMPLES.get(str(self.name), ()):
            with formatter.section("Examples"):
                for line in examples:
                    formatter.write(f"  {line}\n")


def _group_of(name: str) -> str:
    return next((group for group, names in _GROUPS.items() if name in names), "Options")


def _plain(name: str) -> str:
    """Return an option with the kind of its value in a word."""
    for pattern, word in _KINDS:
        name = pattern.sub(word, name)
    return name
