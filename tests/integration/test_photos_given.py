"""Whatever stands for a photo is seen alike, one as a list of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_photos

from molyneux.errors import MolyneuxError, PhotoError, UsageError
from molyneux.explain.photo import explain_photo
from molyneux.explain.settings import Settings


@pytest.fixture
def seeing(make_captioner: Any) -> Any:
    return make_captioner("llama")


def forms(folder: Path) -> list[Any]:
    photo = tiny_photos(1)[0].convert("RGB")
    photo.save(folder / "a.png")
    pixels = np.array(photo)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    return [folder / "a.png", str(folder / "a.png"), photo, pixels, tensor, tensor / 255]


def test_every_form_is_seen_as_the_same_photo(seeing: Any, tmp_path: Path) -> None:
    first, *others = forms(tmp_path)
    patches, caption = seeing.image_prompts([first]), seeing.caption(first)
    for photo in (first, *others):
        assert torch.equal(seeing.see(photo).embeddings, seeing.see([photo]).embeddings)
        assert torch.equal(seeing.image_prompts(photo), patches)
        assert seeing.caption_all(photo) == seeing.caption_all([photo]) == [caption]
    assert len(seeing.caption_all(np.stack([others[2]] * 2))) == 2


def test_a_photo_without_a_file_is_explained(seeing: Any, tmp_path: Path) -> None:
    file, *_, pixels, _, _ = forms(tmp_path)
    settings = Settings(grid=[0, 5], top=3)
    of_file, of_pixels = (explain_photo(seeing, given, settings).image for given in (file, pixels))
    assert (of_file.path, of_pixels.path) == (file.name, "the given image")
    assert of_file.caption == of_pixels.caption
    assert [word.word for word in of_file.words] == [word.word for word in of_pixels.words]


@pytest.mark.parametrize("given", [None, 5, b"a.png", {"a.png": 1}, [None], [["a.png"]]])
def test_what_is_no_photo_is_refused(seeing: Any, given: Any) -> None:
    for look in (seeing.see, seeing.caption_all, seeing.image_prompts, seeing.caption):
        with pytest.raises(MolyneuxError, match="as a photo"):
            look(given)


def test_a_string_is_a_name_and_not_its_letters(seeing: Any) -> None:
    with pytest.raises(PhotoError, match=r"cannot read gone\.jpg: there is no such file"):
        seeing.see("gone.jpg")
    with pytest.raises(PhotoError, match="addresses are not fetched"):
        seeing.caption_all("https://example.org/a.jpg")
    with pytest.raises(UsageError, match="no photo was given"):
        seeing.see([])
