"""HanTa's model, read without running what it says.

It is a pickle, and unpickling runs what the file says: so it is read only where its bytes are those
of HanTa 1.2.1, and then through an unpickler that knows no function but two stand-ins of this file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from molyneux.errors import WeightsError

HANTA = "HanTa==1.2.1"
MODEL_SHA256 = "99ddc9b14b3fe604b245e2d7a3aef59ab1bdd06b1bae4f4ce74738902e2a0265"
"""Of `HanTa/morphmodel_en.pgz` in the wheel of `HANTA`."""

_MODEL_FIELDS = 16


class _Float8:
    """Stands in for `numpy.dtype`, which the model names for one type only."""

    def __init__(self, name: str, *_: bool) -> None:
        if name != "f8":
            raise WeightsError(
                f"the noun tagger's model holds numbers of type {name!r}; only 'f8' is known: "
                f"pip install --force-reinstall {HANTA}"
            )

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[1] != "<":
            raise WeightsError(
                "the noun tagger's model holds numbers that are not little-endian: "
                f"pip install --force-reinstall {HANTA}"
            )


def _float_of(_: _Float8, packed: bytes) -> float:
    """Stands in for `numpy._core.multiarray.scalar`: the model's numbers become plain floats."""
    return float(struct.unpack("<d", packed)[0])


class ModelUnpickler(pickle.Unpickler):
    """Reads HanTa's model; whatever else a pickle asks for by name is a `WeightsError`."""

    _ADMITTED = {  # noqa: RUF012 - never written to
        ("numpy", "dtype"): _Float8,
        ("numpy._core.multiarray", "scalar"): _float_of,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for `module.name`; nothing is ever imported."""
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            raise WeightsError(
                f"the noun tagger's model asks for {module}.{name}, which it has no need of; the "
                f"file was refused: pip install --force-reinstall {HANTA}"
            ) from None


def read_model(path: Path) -> tuple[Any, ...]:
    """HanTa's model as plain Python values, from a file with the pinned SHA-256.

    Raises `WeightsError` where the file cannot be read or is another; it is not unpickled then.
    """
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"the noun tagger's model {path} cannot be read ({error.strerror}): "
            f"pip install --force-reinstall {HANTA}"
        ) from error
    digest = hashlib.sha256(packed).hexdigest()
    if digest != MODEL_SHA256:
        raise WeightsError(
            f"the noun tagger's model {path} is not the one of {HANTA} (sha256 {digest[:12]}..., "
            f"not {MODEL_SHA256[:12]}...) and was not opened: "
            f"pip install --force-reinstall {HANTA}"
        )
    model = ModelUnpickler(io.BytesIO(gzip.decompress(packed))).load()
    if not isinstance(model, tuple) or len(model) != _MODEL_FIELDS:
        raise WeightsError(
            f"the noun tagger's model {path} has another layout than {HANTA}'s: "
            f"pip install --force-reinstall {HANTA}"
        )
    return model


def find_model() -> Path:
    """Where the installed HanTa keeps its English model. `WeightsError` where it is missing."""
    spec = find_spec("HanTa")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"nouns need HanTa, which is not installed: pip install {HANTA}")
    return Path(next(iter(spec.submodule_search_locations))) / "morphmodel_en.pgz"


@lru_cache(maxsize=1)
def load_tagger() -> Any:
    """HanTa's tagger of English, read once. `WeightsError` as `find_model` and `read_model`."""
    model = read_model(find_model())
    from HanTa.HanoverTagger import HanoverTagger

    # Without a file name the constructor takes the model as given and never calls pickle; `strict`
    # is what it sets for a model from a file: words it has not met are tagged by their endings.
    tagger = HanoverTagger(None, model)
    tagger.strict = False
    return tagger
