"""Data sets as strangers write them, for the tests of what is read of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from molyneux.data.coco import Coco
from molyneux.data.open import open_dataset
from molyneux.errors import UsageError
from molyneux.training.caption_files import read_examples


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 8), "red").save(path, "PNG")
    return path


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 8), "red").save(data, "PNG")
    return data.getvalue()


def refused(opens: Callable[[], Any]) -> str:
    with pytest.raises(UsageError) as caught:
        opens()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def by_open(folder: Path) -> dict[str, tuple[str, ...]]:
    return {item.id: item.captions for item in open_dataset(folder) if item.captions}


def by_train(folder: Path) -> dict[str, tuple[str, ...]]:
    said: dict[str, tuple[str, ...]] = {}
    for example in read_examples(folder)[0]:
        assert example.file is not None
        name = example.file.relative_to(folder).as_posix()
        said[name] = said.get(name, ()) + example.captions
    return said


every_reader = pytest.mark.parametrize("read", [by_open, by_train])


CAPTIONED = {
    "jsonl": ('{"file": "a.png", "caption": "a cat."}\n{"file": "b.png", "caption": "a dog."}'),
    "csv": "file,caption\na.png,a cat.\nb.png,a dog.",
    "tsv": "file\tcaption\na.png\ta cat.\nb.png\ta dog.",
}


def coco(folder: Path, text: str) -> Coco:
    (folder / "instances.json").write_text(text)
    return Coco(folder)


def packed(
    files: dict[str, bytes] | list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT
) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def tar(path: Path, files: Any, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(files, form))
    return path


P = png()
