"""The paper's models in their own shapes, or narrower, with random weights and no hub.

GPT-J 6B as transformers' own `GPTJConfig` describes it, BEiT-large with the flags of the
self-supervised `pt22k` checkpoint, a projection between them, and a tokenizer of English words as
long as GPT-J's. A width of 8 divides every width by 8: layers, heads, patches and vocabulary stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BeitConfig,
    BeitModel,
    GPTJConfig,
    PreTrainedTokenizerFast,
)

from molyneux.adapters.registry import find_encoder_family
from molyneux.models.captioner import Captioner
from molyneux.neurons.targets import EVERYDAY
from molyneux.vision.layout import Layout
from molyneux.vision.preprocessor_config import preprocessing_of
from molyneux.vision.projection import random_projection
from molyneux.vision.transformers_encoder import TransformersEncoder
from molyneux.words.dictionary import load_dictionary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS = 50_257  # GPT-J's tokenizer has as many, and its embedding 143 rows more
PIXELS, PATCH = 224, 16
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
LIFT = 20.0  # logits by which nouns are raised in the head's bias
END = "<|endoftext|>"


@dataclass(frozen=True)
class Shape:
    """How much of the paper's model is built.

    Attributes:
        width: what widths are divided by.
        layers: of the language model; the encoder keeps its 24.
    """

    width: int = 1
    layers: int = 28

    @property
    def language_model(self) -> GPTJConfig:
        """GPT-J's configuration, which is transformers' default but for what is asked."""
        full = GPTJConfig()
        head = full.n_embd // full.n_head // self.width
        return GPTJConfig(
            n_embd=full.n_embd // self.width,
            n_layer=self.layers,
            rotary_dim=max(2, min(head, full.rotary_dim // self.width)),
        )

    @property
    def encoder(self) -> BeitConfig:
        """BEiT-large's configuration."""
        return BeitConfig(
            hidden_size=1024 // self.width,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096 // self.width,
            image_size=PIXELS,
            patch_size=PATCH,
            use_mask_token=True,
            use_shared_relative_position_bias=True,
        )

    def record(self) -> dict[str, Any]:
        """Return the shapes as plain data."""
        gptj, beit = self.language_model, self.encoder
        d_mlp = gptj.n_inner or 4 * gptj.n_embd
        return {
            "width_divided_by": self.width,
            "layers": gptj.n_layer,
            "d_model": gptj.n_embd,
            "d_mlp": d_mlp,
            "units": gptj.n_layer * d_mlp,
            "heads": gptj.n_head,
            "rotary_dim": gptj.rotary_dim,
            "vocabulary_rows": gptj.vocab_size,
            "encoder_layers": beit.num_hidden_layers,
            "encoder_width": beit.hidden_size,
            "patches": (PIXELS // PATCH) ** 2,
        }


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are everyday nouns, then other English words."""
    letters = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,", "Ġ", "Ċ"]
    ahead = dict.fromkeys((*EVERYDAY, "picture", "of", "a"))
    rest = load_dictionary() - set(ahead)
    words = [*ahead, *sorted(rest, key=lambda word: (len(word), word))]  # the longest do not fit
    vocabulary = [(END, 0.0), *((f"Ġ{word}", -1.0) for word in words)][: TOKENS - len(letters)]
    vocabulary += [(letter, -20.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        unk_token=END,
        clean_up_tokenization_spaces=False,
    )


@torch.no_grad()
def _random_language_model(
    shape: Shape, tokenizer: PreTrainedTokenizerFast, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    with device:  # weights are drawn where they stay: there is never a second copy
        model = AutoModelForCausalLM.from_config(shape.language_model, dtype=dtype)
    # A caption of random weights is a random row of words; a study needs one with a noun in it.
    nouns = [tokenizer.convert_tokens_to_ids(f"Ġ{noun}") for noun in EVERYDAY]
    model.get_output_embeddings().bias[nouns] += LIFT
    return model


def random_captioner(shape: Shape, device: torch.device, dtype: torch.dtype) -> Captioner:
    """Return a captioner of the paper's shapes; encoder and projection are in float32."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    model = _random_language_model(shape, tokenizer, device, dtype)
    family = find_encoder_family("beit")
    with device:
        network = BeitModel(shape.encoder)
    preprocessing = preprocessing_of({}, family.processor)
    encoder = TransformersEncoder(network, family, preprocessing, name="random BEiT-large")
    record = {
        "language_model": "random GPT-J 6B",
        "encoder": encoder.name,
        "layout": Layout(begin=None).record(),
    }
    gptj = shape.language_model
    projection = random_projection(encoder.d_features, gptj.n_embd, 1.0, record)
    projection.linear.to(device)
    return Captioner.from_parts(model, tokenizer, encoder, projection)
