"""LiMBeR's published projections: what there is, where it lies, and what it was trained with.

Merullo et al. 2022 (arXiv 2209.15162) joined image encoders to GPT-J 6B by one linear map each.
Their repository (MIT) holds five, each the state dict of an `nn.Linear` saved by PyTorch.
Its example code gives the encoder with random weights the projection of the trained one; here
every projection names the encoder it was trained with, and no other is accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from molyneux.weights.cache import cache_dir

REPOSITORY = "jmerullo/limber"
COMMIT = "ed3e942564abeefaca896bef2abb7f720b0b56ae"
LICENCE = "MIT, Copyright (c) 2023 Jack Merullo"
LANGUAGE_MODEL = "EleutherAI/gpt-j-6b"
D_MODEL = 4096
TEXT = "A picture of"
FILE = "projection.safetensors"
RAW = "https://raw.githubusercontent.com"
MEDIA = "https://media.githubusercontent.com/media"


@dataclass(frozen=True)
class Shown:
    """How LiMBeR showed photos to an encoder that has no configuration on the hub to say so.

    Read from its code (image_encoders.py, transforms.py and its configurations).

    Attributes:
        size: sides of the square of pixels.
        mean: what is taken from each channel, of pixels from 0 to 1.
        std: what it is divided by then.
        rows: of the grid of features, in raster order.
        columns: likewise.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rows: int
    columns: int


@dataclass(frozen=True)
class Checkpoint:
    """One published projection.

    Attributes:
        name: of its folder in the repository.
        blob: git's id of the file: SHA-1 of `blob <size>`, a zero byte, and the content.
        encoder: what it was trained with, as an encoder has to name itself.
        d_features: features of a patch.
        n_patches: image prompts; 1 where the encoder pools the photo to one vector.
        d_model: width of the language model's input embeddings.
        shown: how photos were shown to the encoder, where it has to be given as an object.
    """

    name: str
    blob: str
    encoder: str
    d_features: int
    n_patches: int
    d_model: int = D_MODEL
    shown: Shown | None = None
    repository: str = REPOSITORY
    commit: str = COMMIT

    @property
    def path(self) -> str:
        """Where it lies in the repository."""
        return f"limber_weights/{self.name}/proj.ckpt"

    @property
    def url(self) -> str:
        """Address of what git holds: the file itself, or a Git LFS pointer to it."""
        return f"{RAW}/{self.repository}/{self.commit}/{self.path}"

    @property
    def media_url(self) -> str:
        """Address of the file that a Git LFS pointer stands for."""
        return f"{MEDIA}/{self.repository}/{self.commit}/{self.path}"

    @property
    def folder(self) -> str:
        """Name of its folder in the cache directory."""
        return f"limber-{self.name}-{self.blob[:12]}"

    @property
    def size_mb(self) -> int:
        """Megabytes of its weights in float32, rounded up: what is kept, and about the download."""
        return -(-4 * (self.d_features + 1) * self.d_model // 10**6)


_BEIT = "microsoft/beit-large-patch16-224-pt22k"
NF_RESNET50 = "nf_resnet50"
CLIP_RN50X16 = "RN50x16"

_UNTOUCHED = Shown(384, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1, 1)
"""Pixels from 0 to 1 as they are: timm's own normalisation was not applied."""
_AS_CLIP = Shown(
    384, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 12, 12
)

CHECKPOINTS: MappingProxyType[str, Checkpoint] = MappingProxyType(
    {
        checkpoint.name: checkpoint
        for checkpoint in (
            Checkpoint("beit_linear", "4d3c937de5249a297f27ccf75809242d21bb9123", _BEIT, 1024, 196),
            Checkpoint(
                "beit_ft_linear",
                "b07d6099f428389495ce77bdd3e15ddcbb00972b",
                f"{_BEIT}-ft22k",
                1024,
                196,
            ),
            Checkpoint(
                "clip_linear",
                "6364c10a62154d0b40b584c546210b3d7b145c29",
                CLIP_RN50X16,
                3072,
                144,
                shown=_AS_CLIP,
            ),
            Checkpoint(
                "nfrn50_4096_linear",
                "d43bdc33bfbd09020220388c6cb0a002ba76e42c",
                NF_RESNET50,
                2048,
                1,
                shown=_UNTOUCHED,
            ),
            Checkpoint(
                "nfrn50_4096_random_linear",
                "2e99f008720779629792888267a38d3c21ed5de6",
                f"random:{NF_RESNET50}",
                2048,
                1,
                shown=_UNTOUCHED,
            ),
        )
    }
)


def projection_path(checkpoint: Checkpoint) -> Path:
    """Return where a projection lies once it was fetched; it may not be there."""
    return cache_dir() / checkpoint.folder / FILE
