"""What each family of language models calls the handful of places Molyneux needs.

One declarative row per family. A row is a claim; `molyneux.adapters.proof.prove` tests it by
intervention: in brief when a model is loaded, in full by `molyneux doctor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from molyneux.checks import several, text_of, true_or_false, whole_number


def require_row_of_text(row: Any, texts: tuple[str, ...]) -> None:
    """Refuse a row whose name, paths or `model_types` are not the texts that they should be.

    Raises:
        UsageError: says which.
    """
    for name in texts:
        text_of(name, getattr(row, name), '"mlp.down_proj"')
    for model_type in several("model_types", row.model_types, '("llama",)', least=1):
        text_of("model_types", model_type, '("llama",)')


@dataclass(frozen=True)
class Family:
    """Where a family keeps its layers, its MLPs and its head.

    Attributes:
        name: the family's name, as printed.
        model_types: the `model_type` values of Hugging Face configurations that belong to it.
        layers: path of the list of layers, from the causal LM.
        down: path of the MLP's down projection, from a layer. Its *input* holds the units.
        preactivation: path of the module whose *output* is the paper's Z, from a layer.
        final_norm: path of the norm before the head, from the causal LM; None where the family
            has none.
        rows_stored: True where the weight is kept as (d_mlp, d_model), so that unit k's output
            row is `weight[k]` (GPT-2's `Conv1D`); False for `nn.Linear`, whose column it is.
        gated: whether the activation is multiplied by a second branch, so that both signs act;
            the proof alone reads it.
        preactivation_part: (which, of how many) equal parts of that module's output is Z, where
            one matrix makes gate and input together (Phi-3).
        after_mlp_norm: path of a norm between the MLP and the residual stream, from a layer:
            what a unit writes passes its scale (Gemma 2).
        stream_norms: paths, from a layer, of the norms that the residual stream itself passes,
            in its order, the last of them after the MLP (OPT-350m); none in most families.
        norm_offset: what is added to a norm's weight to give its scale: 1 in Gemma.
        project_out: path of the linear map from the residual stream to the width of the head,
            from the causal LM (OPT-350m).
        placeholders: pattern of tokens at the end of the tokenizer's list that only name padding
            rows of the embedding: no text holds them, and none is decoded or written (GPT-J).
        activation: path of the module that is the MLP's activation function, from a layer; None
            where that is not known, and methods that need it refuse the family.
        may_lack: fields whose module some of the family's configurations leave out.
        where: values a configuration must have, beside `model_type`, to belong to this row.
    """

    name: str
    model_types: tuple[str, ...]
    layers: str
    down: str
    preactivation: str
    final_norm: str | None
    rows_stored: bool = False
    gated: bool = False
    preactivation_part: tuple[int, int] = (0, 1)
    after_mlp_norm: str | None = None
    stream_norms: tuple[str, ...] = ()
    norm_offset: float = 0.0
    project_out: str | None = None
    placeholders: str | None = None
    may_lack: tuple[str, ...] = ()
    activation: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_row_of_text(self, ("name", "layers", "down", "preactivation"))
        for flag in ("rows_stored", "gated"):
            true_or_false(flag, getattr(self, flag))
        for name in ("final_norm", "after_mlp_norm", "project_out", "placeholders", "activation"):
            if getattr(self, name) is not None:
                text_of(name, getattr(self, name), '"model.norm"')
        which, parts = several("preactivation_part", self.preactivation_part, "(0, 2)", least=2)[:2]
        parts = whole_number("the parts of preactivation_part", parts, least=1)
        whole_number("the part in preactivation_part", which, least=0, below=parts)


FAMILIES: list[Family] = [
    Family(
        name="Llama",
        model_types=("llama", "mistral", "qwen2", "qwen3", "smollm3"),
        layers="model.layers",
        down="mlp.down_proj",
        preactivation="mlp.gate_proj",
        activation="mlp.act_fn",
        final_norm="model.norm",
        gated=True,
    ),
    Family(
        name="GPT-2",
        model_types=("gpt2",),
        layers="transformer.h",
        down="mlp.c_proj",
        preactivation="mlp.c_fc",
        activation="mlp.act",
        final_norm="transformer.ln_f",
        rows_stored=True,
    ),
    Family(
        name="GPT-J",
        model_types=("gptj",),
        layers="transformer.h",
        down="mlp.fc_out",
        preactivation="mlp.fc_in",
        activation="mlp.act",
        final_norm="transformer.ln_f",
        # Ids 50257 to 50399 are <|extratoken_1|> and so on, which no training touched. LiMBeR cut
        # the embedding to 50258 rows, the last of them a token of its own.
        placeholders=r"<\|extratoken_\d+\|>|<\|image\|>",
    ),
    Family(
        name="GPT-Neo",
        model_types=("gpt_neo",),
        layers="transformer.h",
        down="mlp.c_proj",
        preactivation="mlp.c_fc",
        activation="mlp.act",
        final_norm="transformer.ln_f",
    ),
    Family(
        name="GPT-NeoX",
        model_types=("gpt_neox",),
        layers="gpt_neox.layers",
        down="mlp.dense_4h_to_h",
        preactivation="mlp.dense_h_to_4h",
        activation="mlp.act",
        final_norm="gpt_neox.final_layer_norm",
    ),
    Family(
        name="OPT",
        model_types=("opt",),
        where={"do_layer_norm_before": True},
        layers="model.decoder.layers",
        down="fc2",
        preactivation="fc1",
        activation="activation_fn",
        final_norm="model.decoder.final_layer_norm",
        project_out="model.decoder.project_out",
        may_lack=("final_norm", "project_out"),
    ),
    Family(
        name="OPT (350m)",
        model_types=("opt",),
        where={"do_layer_norm_before": False},
        layers="model.decoder.layers",
        down="fc2",
        preactivation="fc1",
        activation="activation_fn",
        final_norm=None,
        stream_norms=("self_attn_layer_norm", "final_layer_norm"),
        project_out="model.decoder.project_out",
        may_lack=("project_out",),
    ),
    Family(
        name="Gemma",
        model_types=("gemma",),
        layers="model.layers",
        down="mlp.down_proj",
        preactivation="mlp.gate_proj",
        activation="mlp.act_fn",
        final_norm="model.norm",
        norm_offset=1.0,
        gated=True,
    ),
    Family(
        name="Gemma 2 and 3",
        model_types=("gemma2", "gemma3_text"),
        layers="model.layers",
        down="mlp.down_proj",
        preactivation="mlp.gate_proj",
        activation="mlp.act_fn",
        after_mlp_norm="post_feedforward_layernorm",
        final_norm="model.norm",
        norm_offset=1.0,
        gated=True,
    ),
    Family(
        name="Phi",
        model_types=("phi",),
        layers="model.layers",
        down="mlp.fc2",
        preactivation="mlp.fc1",
        activation="mlp.activation_fn",
        final_norm="model.final_layernorm",
    ),
    Family(
        name="Phi-3",
        model_types=("phi3",),
        layers="model.layers",
        down="mlp.down_proj",
        preactivation="mlp.gate_up_proj",
        activation="mlp.activation_fn",
        preactivation_part=(0, 2),
        final_norm="model.norm",
        gated=True,
    ),
    Family(
        name="BLOOM",
        model_types=("bloom",),
        where={"apply_residual_connection_post_layernorm": False},
        layers="transformer.h",
        down="mlp.dense_4h_to_h",
        preactivation="mlp.dense_h_to_4h",
        activation="mlp.gelu_impl",
        final_norm="transformer.ln_f",
    ),
    Family(
        name="Falcon",
        model_types=("falcon",),
        layers="transformer.h",
        down="mlp.dense_4h_to_h",
        preactivation="mlp.dense_h_to_4h",
        activation="mlp.act",
        final_norm="transformer.ln_f",
    ),
]
