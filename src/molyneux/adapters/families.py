"""What each family of language models calls the handful of places Molyneux needs.

One declarative row per family. A row is a claim; `molyneux.adapters.proof` tests it by
intervention (`molyneux doctor` does so for a preset).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from molyneux.errors import AdapterError


@dataclass(frozen=True)
class Family:
    """Where a family keeps its layers, its MLPs and its head.

    Attributes:
        name: the family's name, as printed.
        model_types: the `model_type` values of Hugging Face configurations that belong to it.
        layers: path of the list of layers, from the causal LM.
        down: path of the MLP's down projection, from a layer. Its *input* holds the units.
        preactivation: path of the module whose *output* is the paper's Z, from a layer.
        final_norm: path of the norm before the head, from the causal LM.
        rows_stored: True where the weight is kept as (d_mlp, d_model), so that unit k's output
            row is `weight[k]` (GPT-2's `Conv1D`); False for `nn.Linear`, whose column it is.
        gated: whether the activation is multiplied by a second branch, so that both signs act.
    """

    name: str
    model_types: tuple[str, ...]
    layers: str
    down: str
    preactivation: str
    final_norm: str
    rows_stored: bool = False
    gated: bool = False


FAMILIES: list[Family] = [
    Family(
        name="Llama",
        model_types=("llama", "mistral", "qwen2"),
        layers="model.layers",
        down="mlp.down_proj",
        preactivation="mlp.gate_proj",
        final_norm="model.norm",
        gated=True,
    ),
    Family(
        name="GPT-2",
        model_types=("gpt2",),
        layers="transformer.h",
        down="mlp.c_proj",
        preactivation="mlp.c_fc",
        final_norm="transformer.ln_f",
        rows_stored=True,
    ),
    Family(
        name="GPT-J",
        model_types=("gptj",),
        layers="transformer.h",
        down="mlp.fc_out",
        preactivation="mlp.fc_in",
        final_norm="transformer.ln_f",
    ),
    Family(
        name="GPT-NeoX",
        model_types=("gpt_neox",),
        layers="gpt_neox.layers",
        down="mlp.dense_4h_to_h",
        preactivation="mlp.dense_h_to_4h",
        final_norm="gpt_neox.final_layer_norm",
    ),
]


def register_family(family: Family) -> None:
    """Make a family known; it takes precedence over rows already there."""
    FAMILIES.insert(0, family)


def find_family(model_type: str) -> Family:
    """Return the row for a configuration's `model_type`.

    Raises:
        AdapterError: no row names this `model_type`; near matches are listed, none is guessed.
    """
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = [name for family in FAMILIES for name in family.model_types]
    near = difflib.get_close_matches(model_type, known, n=3, cutoff=0.4)
    hint = f"near matches: {', '.join(near)}" if near else f"known: {', '.join(sorted(known))}"
    raise AdapterError(
        f"no adapter for the architecture {model_type!r} ({hint}); describe it with "
        "molyneux.adapters.Family(...) and molyneux.adapters.register_family(...)"
    )
