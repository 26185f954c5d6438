"""Small random models, a tokenizer, an encoder and a projection that need no network.

Shared by every test: `conftest.py` offers them as fixtures, and a test that needs one of its own
(another seed, float64, another attention) calls the functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from molyneux.adapters import adapt
from molyneux.adapters.language_model import LanguageModel
from molyneux.models.captioner import Captioner
from molyneux.vision.encoder import PatchGrid, Preprocessing
from molyneux.vision.layout import Layout
from molyneux.vision.projection import Projection, random_projection

# fmt: off
KINDS = (
    "llama", "qwen2", "mistral", "gpt2", "gptj", "gpt_neox", "gpt_neo", "opt", "opt_350m", "qwen3",
    "smollm3", "gemma", "gemma2", "gemma3", "phi", "phi3", "bloom", "falcon", "falcon_7b",
    "falcon_rw",
)
GATED = ("llama", "qwen2", "mistral", "qwen3", "smollm3", "gemma", "gemma2", "gemma3", "phi3")
# fmt: on
# Kinds for which transformers has no sdpa attention (5.23).
WITHOUT_SDPA = ("gptj", "gpt_neo", "gemma2", "bloom")
# Kinds whose units have a kink at zero, and are silent at about half of the patches.
RELU = ("opt", "opt_350m")
N_LAYERS, D_MODEL, D_MLP, N_HEADS = 3, 32, 48, 4
# Where the input embeddings have another width: OPT-350m projects them, BLOOM's MLP is 4 x as wide.
OTHER_WIDTH = {"opt_350m": 20, "bloom": D_MLP // 4}
PADDING_ROWS = 7

BEGIN, END, UNKNOWN = "<|begin|>", "<|end|>", "<|unknown|>"
# fmt: off
WORDS = (
    "picture", "of", "a", "an", "the", "and", "with", "in", "on", "man", "woman", "dog", "cat",
    "horse", "bird", "boat", "train", "table", "kitchen", "street", "water", "beach", "cake",
    "plate", "bench", "truck", "tree", "sky", "person", "people", "group", "red", "small",
    "two", "sitting", "standing", "riding",
)
# fmt: on
NOT_WORDS = ("xq", "zzt", "vrk", "##", "ckw")
PIECES = ("kit", "chen", "ing")
LETTERS = (*"abcdefghijklmnopqrstuvwxyz", "Ġ")  # the last tokens of the vocabulary


def tiny_tokenizer(*, adds_begin: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer of about 80 tokens; words carry their leading space, as in GPT-2's.

    Any other lower-case word is split into letters. With `adds_begin` the tokenizer puts its
    begin token ahead of every text it is given, as many do without being asked.
    """
    words = [f"Ġ{word}" for word in (*WORDS, *NOT_WORDS)]
    vocabulary = [(special, 0.0) for special in (BEGIN, END, UNKNOWN)]
    vocabulary += [(token, -1.0) for token in (".", "Ċ", "A", *PIECES, *words)]
    vocabulary += [(letter, -20.0) for letter in LETTERS]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in (BEGIN, END, UNKNOWN)])
    if adds_begin:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def _untrained(kind: str, d_vocab: int, attention: str) -> PreTrainedModel:
    shared: dict[str, Any] = {
        "vocab_size": d_vocab,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "attn_implementation": attention,
    }
    modern = {
        "hidden_size": D_MODEL,
        "intermediate_size": D_MLP,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": N_HEADS,
        "max_position_embeddings": 96,
    }
    grouped = {**modern, "num_key_value_heads": 2}
    classic = {
        "n_embd": D_MODEL,
        "n_inner": D_MLP,
        "n_layer": N_LAYERS,
        "n_head": N_HEADS,
        "n_positions": 96,
    }
    own = {**modern, "hidden_size": D_MODEL, "pad_token_id": 1}
    heads = {"num_key_value_heads": 2, "head_dim": 8}
    opt = {**own, "ffn_dim": D_MLP, "dropout": 0.0}
    falcon = {**own, "ffn_hidden_size": D_MLP}
    scaled = {**own, **heads, "tie_word_embeddings": True}
    gemma = {**scaled, "sliding_window": 24, "query_pre_attn_scalar": 8}
    full, near = "full_attention", "sliding_attention"
    made: dict[str, Callable[[], PreTrainedModel]] = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**shared, **grouped)),
        "qwen2": lambda: Qwen2ForCausalLM(
            Qwen2Config(**shared, **grouped, tie_word_embeddings=True)
        ),
        "mistral": lambda: MistralForCausalLM(
            MistralConfig(**shared, **grouped, sliding_window=24)
        ),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**shared, **classic)),
        "gptj": lambda: GPTJForCausalLM(GPTJConfig(**shared, **classic, rotary_dim=4)),
        "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**shared, **modern)),
        "gpt_neo": lambda: GPTNeoForCausalLM(
            GPTNeoConfig(
                **shared,
                hidden_size=D_MODEL,
                num_layers=N_LAYERS,
                num_heads=N_HEADS,
                intermediate_size=D_MLP,
                max_position_embeddings=96,
                attention_types=[[["global", "local"], 1], [["global"], 1]],
                window_size=16,
            )
        ),
        "opt": lambda: OPTForCausalLM(OPTConfig(**shared, **opt, word_embed_proj_dim=D_MODEL)),
        "opt_350m": lambda: OPTForCausalLM(
            OPTConfig(
                **shared,
                **opt,
                word_embed_proj_dim=OTHER_WIDTH[kind],
                do_layer_norm_before=False,
            )
        ),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**shared, **own, **heads)),
        "smollm3": lambda: SmolLM3ForCausalLM(
            SmolLM3Config(**shared, **own, num_key_value_heads=2, no_rope_layers=[1, 0, 1])
        ),
        "gemma": lambda: GemmaForCausalLM(GemmaConfig(**shared, **scaled)),
        "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**shared, **gemma)),
        "gemma3": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(**shared, **gemma, layer_types=[near, full, near])
        ),
        "phi": lambda: PhiForCausalLM(PhiConfig(**shared, **own)),
        "phi3": lambda: Phi3ForCausalLM(Phi3Config(**shared, **own, num_key_value_heads=2)),
        "bloom": lambda: BloomForCausalLM(
            BloomConfig(**shared, hidden_size=OTHER_WIDTH[kind], n_layer=N_LAYERS, n_head=N_HEADS)
        ),
        "falcon": lambda: FalconForCausalLM(
            FalconConfig(**shared, **falcon, new_decoder_architecture=True, num_kv_heads=2)
        ),
        "falcon_7b": lambda: FalconForCausalLM(
            FalconConfig(**shared, **falcon, multi_query=True, parallel_attn=True)
        ),
        "falcon_rw": lambda: FalconForCausalLM(
            FalconConfig(
                **shared, **falcon, multi_query=False, parallel_attn=False, bias=True, alibi=True
            )
        ),
    }
    return made[kind]()


@torch.no_grad()
def _randomise(model: PreTrainedModel, seed: int, d_tokens: int) -> None:
    """Give every parameter a seeded value: biases are not zero, norms do not all scale by 1."""
    generator = torch.Generator().manual_seed(seed)
    d_rows = len(model.get_input_embeddings().weight)
    gemma = model.config.model_type.startswith("gemma")
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            is_norm_scale = name.endswith("weight")
            middle = 0.0 if gemma else 1.0  # Gemma scales by 1 + w
            parameter.copy_(middle + 0.3 * noise if is_norm_scale else 0.2 * noise)
        else:
            # Gemma's embeddings are tied, and scaled on their way in: as large as others', they
            # would have every token followed by itself.
            token = 0.15 if gemma else 0.5
            parameter.copy_(noise * (token if len(parameter) == d_rows else 1.8 / D_MODEL**0.5))
    tables = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    for table in tables[:1] if tables[0] is tables[1] else tables:
        # Padding rows that would win most argmaxes, so that a test notices one let through.
        table[d_tokens:] *= 3
        # Letters seldom win, nor what ends a caption, so that captions are made of words.
        table[d_tokens - len(LETTERS) : d_tokens] *= 0.2
        table[[0, 1, 2, 4]] *= 0.4  # the special tokens and the line break


def tiny_model(
    kind: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    attention: str = "eager",
) -> PreTrainedModel:
    """Return a random Hugging Face model of one of `KINDS`, in evaluation mode.

    Raises ValueError for `attention="sdpa"` where transformers has none (`WITHOUT_SDPA`).
    """
    d_tokens = len(tiny_tokenizer())
    with torch.random.fork_rng(devices=[]):
        model = _untrained(kind, d_tokens + PADDING_ROWS, attention)
    _randomise(model, 100 * seed + KINDS.index(kind), d_tokens)
    return model.to(dtype).eval().requires_grad_(False)


def tiny_language_model(kind: str, **options: Any) -> LanguageModel:
    """Return a random model, adapted (see `tiny_model`)."""
    return adapt(tiny_model(kind, **options), tiny_tokenizer())


class ToyEncoder:
    """A fixed random linear map of each 16 x 16 square, through tanh: a 4 x 4 grid of patches."""

    def __init__(self, d_features: int = 24) -> None:
        self.name = "toy-encoder"
        self.grid = PatchGrid(4, 4)
        self.d_features = d_features
        self.preprocessing = Preprocessing(64, 64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn(d_features, 3 * 16 * 16, generator=generator) / 16

    @torch.no_grad()
    def encode(self, pixels: Float[Tensor, "n 3 64 64"]) -> Float[Tensor, "n 16 feat"]:
        """Return the features of every patch, in raster order."""
        squares = pixels.unfold(2, 16, 16).unfold(3, 16, 16)  # n 3 rows columns 16 16
        flat = squares.permute(0, 2, 3, 1, 4, 5).reshape(len(pixels), 16, -1)
        return (flat @ self.weight.T).tanh()


def tiny_projection(
    name: str = "tiny-llama",
    *,
    begin: str | None = BEGIN,
    d_features: int = 24,
    d_model: int = D_MODEL,
    seed: int = 0,
) -> Projection:
    """Return a random projection whose provenance names a tiny model and the toy encoder."""
    provenance = {
        "language_model": name,
        "encoder": "toy-encoder",
        "layout": Layout(begin).record(),
        "data": "none",
    }
    projection = random_projection(d_features, d_model, 6.0, provenance, seed)
    with torch.no_grad():
        nn.init.normal_(
            projection.linear.bias, std=0.2, generator=torch.Generator().manual_seed(seed)
        )
    projection.linear.requires_grad_(False)
    return projection


def tiny_captioner(kind: str = "llama", *, begin: str | None = BEGIN, **options: Any) -> Captioner:
    """Return a captioner of a tiny model, the toy encoder and a random projection."""
    return Captioner.from_parts(
        tiny_model(kind, **options),
        tiny_tokenizer(),
        ToyEncoder(),
        tiny_projection(f"tiny-{kind}", begin=begin, d_model=OTHER_WIDTH.get(kind, D_MODEL)),
    )


def tiny_photos(n: int = 3) -> list[Image.Image]:
    """Return photos of smooth random colour, none of them square."""
    photos = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
        photos.append(Image.fromarray(coarse).resize((100, 80), Image.Resampling.BICUBIC))
    return photos


def count_hooks(model: nn.Module) -> int:
    """Return how many hooks of any kind a model carries.

    Compare with the number before: once asked for hidden states, transformers keeps hooks of its
    own on a model, and tests share their models.
    """
    kinds = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_state_dict_hooks",
    )
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def weights_hash(model: nn.Module) -> str:
    """Return the sha256 of every parameter and buffer."""
    digest = hashlib.sha256()
    for name, tensor in sorted(
        {**dict(model.named_parameters()), **dict(model.named_buffers())}.items()
    ):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
