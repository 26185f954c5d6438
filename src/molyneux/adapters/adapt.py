"""Taking a Hugging Face causal language model: its row found, resolved and proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from molyneux.adapters.families import Family
from molyneux.adapters.language_model import LanguageModel, parameter_of
from molyneux.adapters.proof.prove import require_row
from molyneux.adapters.registry import find_family
from molyneux.checks import is_a, true_or_false
from molyneux.errors import AdapterError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ORDINARY = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def adapt(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    family: Family | None = None,
    *,
    check: bool | None = None,
) -> LanguageModel:
    """Return the model with its family's row resolved: frozen, in evaluation mode, with outputs
    that have names.

    Args:
        family: another row than the one found by the configuration.
        check: prove the row in brief (`molyneux.adapters.proof.prove.require_row`): three forward
            passes of four tokens. If not given, a row found by the configuration is proved, and
            one that is given is not: `molyneux.adapters.proof.prove.prove` tells all its faults.

    Raises:
        UsageError: an argument is of another kind.
        AdapterError: the architecture has no row, the row does not fit the model, the weights
            of a down projection are quantised or are not all that it computes with (an adapter
            beside them), or the model overflows in its dtype.
    """
    require_hugging_face(model, tokenizer)
    if family is not None:
        family = is_a("family", family, Family, "a row, as in adapt(model, tokenizer, Family(...))")
    if check is not None:
        check = true_or_false("check", check)
    check = family is None if check is None else check
    family = family or find_family(model.config.model_type, model.config)
    model.eval()
    model.requires_grad_(False)
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if getattr(config, "return_dict", True) is False:
            config.return_dict = True
    adapted = LanguageModel(model, tokenizer, family)
    for layer in range(adapted.n_layers):
        adapted.preactivation(layer)
        down = adapted.down_projection(layer)
        _require_ordinary(down, layer)
        _require_plain(down, f"layer {layer}'s down projection")
        adapted.norms_of_write(layer)
    adapted.norms_of_stream(0)
    adapted.optional("project_out")
    _require_plain(model.get_output_embeddings(), "the head")
    adapted.require_width_of_head()
    if check:
        require_row(adapted)
    return adapted


def require_hugging_face(model: Any, tokenizer: Any) -> None:
    """Refuse what is no model and tokenizer of transformers.

    Raises:
        UsageError: says which.
    """
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    is_a("model", model, PreTrainedModel, "what AutoModelForCausalLM.from_pretrained gives")
    example = "what AutoTokenizer.from_pretrained gives"
    is_a("tokenizer", tokenizer, PreTrainedTokenizerBase, example)


def _require_plain(module: nn.Module, called: str) -> None:
    """Refuse a linear map that computes with more than its weight and bias.

    Raises:
        AdapterError: names what else it holds.
    """
    more = sorted({name for name, _ in module.named_parameters()} - {"weight", "bias"})
    more += [name for name, _ in module.named_children() if name not in more]
    if more:
        listed = ", ".join(more[:3]) + (", …" if len(more) > 3 else "")
        raise AdapterError(
            f"{called} ({type(module).__name__}) computes with more than its weight and bias "
            f"({listed}): units are read from the weight alone; merge adapters into the weights "
            "(peft: `merge_and_unload()`), or make pruning and parametrisations permanent"
        )


def _require_ordinary(module: nn.Module, layer: int) -> None:
    """Refuse a down projection whose weight is not a plain tensor of floating numbers.

    Raises:
        AdapterError: says what the weight is instead.
    """
    weight = parameter_of(module, "weight")
    if (
        isinstance(weight, Tensor)
        and type(weight) in (Tensor, nn.Parameter)
        and weight.dtype in ORDINARY
        and weight.dim() == 2
    ):
        return
    if weight is None:
        found = "holds no weight"
    else:
        found = f"is a {type(weight).__name__} of {str(weight.dtype).removeprefix('torch.')}"
    raise AdapterError(
        f"layer {layer}'s down projection ({type(module).__name__}) {found}: units are read from "
        "ordinary floating-point weights; load the model unquantised (float32, bfloat16 or "
        "float16), or leave its down projections out of the quantisation"
    )
