"""Reading a photo, whatever it is stored as, into upright 8-bit RGB; refusing what is none.

Pillow does the decoding. This file adds what Pillow leaves to its caller: wide greys are scaled
and not clipped, transparency is laid over white, the camera's orientation is applied, the size is
judged from the header before anything is decoded, and every failure becomes one line.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from jaxtyping import Float, Num, Shaped, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from molyneux.errors import PhotoError, UsageError, on_one_line

if TYPE_CHECKING:
    from torch import Tensor

    Photo = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
    Photos = Photo | Iterable[Photo]
else:  # what is no photo gets a line of its own, from `read_photo`
    Photo = Photos = object

MAX_PIXELS = 100_000_000
"""The largest photo read, in pixels: width times height as the file's header gives them."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""What a photo's file ends in, in lower case, wherever photos are looked for and not named."""

_GIVE_AN_IMAGE = "give a JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP file"
_GIVE_A_PHOTO = (
    "a photo is a file's name, a PIL image, an array of height x width (x 3) or a tensor of "
    "3 x height x width, in uint8 or in floats from 0 to 1"
)
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]+://|(?:https?|ftp|s3|gs|hf|file):/|data:image/", re.IGNORECASE
)
_ORIENTATION = 0x0112  # EXIF and TIFF share this tag number
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_WIDE_MODES = ("I", "F")  # and every "I;16..."


def read_photo(photo: Photo, *, most_pixels: int | None = None) -> Image.Image:
    """Return the photo upright, in mode RGB, 8 bits a channel; a file is closed again.

    * 16-bit and integer greys are scaled by their range, 0..65535 to 0..255 (a 12-bit TIFF by
      0..4095); integers that leave 0..65535 (32-bit or signed files) by their own min..max.
    * Floating-point greys must be finite. Values within 0..1 are taken as 0 = black, 1 = white.
      Only when some value lies outside 0..1 is the photo scaled by its own min..max; a constant
      photo has no such range and is clipped to 0..1.
    * Transparency is laid over white; CMYK is converted as Pillow delivers it; colour profiles
      are not applied.
    * Of an animation or a document with several pages, the first frame is read; of a PIL image
      with several, the frame it stands at.
    * The orientation in the EXIF record is applied; nothing else of the record is kept.
    * An array is height x width, or height x width x 1, 3 or 4 channels; a tensor of torch is
      height x width, or 1, 3 or 4 channels x height x width. Both are uint8, or floats from 0 to
      1, which are scaled to 0..255. Anything else, such as pixels an encoder normalised, is
      refused.

    A PIL image is never changed or closed. Warnings of the decoder are not passed on: what can be
    decoded in full is a photo, what cannot is an error.

    Args:
        photo: a file's name, a PIL image, or one photo's pixels in an array or a tensor.
        most_pixels: how many it may have; `MAX_PIXELS` if None.

    Raises:
        PhotoError: the file is missing, unreadable, no regular file, empty, no image, truncated
            or otherwise broken, without area, or of more than `most_pixels` pixels; it is an
            address, which is not fetched; the pixels have another shape, type or range; or what
            was given is no photo at all.
    """
    if not isinstance(photo, str | os.PathLike):
        name = "the given image"
        image = photo if isinstance(photo, Image.Image) else _of_pixels(photo)
        _check_size(name, image.size, most_pixels)
        with _decoding(name):
            return _to_upright_rgb(name, image)
    name = _shown(photo)
    with _open_file(photo) as file:
        with _decoding(name):
            opened = _identify(name, file)
        with opened:
            _check_size(name, opened.size, most_pixels)
            if opened.format in ("EPS", "WMF"):
                # Decoding these would run another program on the file's contents.
                raise PhotoError(
                    f"cannot read {name}: it is a drawing ({opened.format}), not a photo; "
                    "export it as PNG"
                )
            with _decoding(name):
                return _to_upright_rgb(name, opened)


def photo_sha256(photo: Photo) -> str:
    """Return the SHA-256 of the file's bytes, 64 hexadecimal digits.

    Of a PIL image or of pixels, which have no file, it is that of `"<width>x<height>\\n"` in ASCII
    followed by the RGB bytes that `read_photo` returns: two images of the same bytes and different
    shape differ.

    Raises:
        PhotoError: the file is missing, unreadable, no regular file, or empty; the image or the
            pixels cannot be read.
    """
    digest = hashlib.sha256()
    if not isinstance(photo, str | os.PathLike):
        image = read_photo(photo)
        digest.update(f"{image.width}x{image.height}\n".encode("ascii"))
        digest.update(image.tobytes())
        return digest.hexdigest()
    with _open_file(photo) as file:
        try:
            while block := file.read(1 << 20):
                digest.update(block)
        except OSError as error:
            raise _unreadable(_shown(photo), error) from error
    return digest.hexdigest()


def photo_name(photo: Photo) -> str:
    """Return what a photo is called in documents: its file's name, if it is one."""
    return os.fsdecode(photo) if isinstance(photo, str | os.PathLike) else "the given image"


def as_photos(photos: Photos) -> list[Photo]:
    """Return photos as a list; one photo, which is no list, is a list of one.

    Arrays and tensors of four dimensions are photos one after another.

    Raises:
        PhotoError: it is neither a photo nor something that holds photos.
        UsageError: there is none.
    """
    found: list[Any]
    given: Any = photos
    if isinstance(given, str | os.PathLike | Image.Image):
        return [given]
    if isinstance(given, np.ndarray) or _is_tensor(given):
        found = list(given) if given.ndim == 4 else [given]
    elif isinstance(given, Iterable) and not isinstance(given, bytes | bytearray | Mapping):
        found = list(given)
    else:
        raise _no_photo(given)
    if not found:
        raise UsageError("no photo was given; name one or more")
    return found


def is_address(name: str) -> bool:
    """Whether a name is an address, such as `https://...`, even with a slash lost on the way."""
    return _ADDRESS.match(name) is not None


def why_odd(name: str) -> str | None:
    """Return how a name that names nothing is another system's or a browser's, and what to do."""
    if "\\" in name:
        return "it is written with backslashes, as on Windows: write / for them"
    if re.match(r"[A-Za-z]:", name):
        return "it begins with a drive's letter, as on Windows: name its place here"
    if name.startswith("~"):
        return "~ stands for a home folder in a shell alone: write the folder out"
    if re.search(r"%[0-9A-Fa-f]{2}", name):
        return "%20 and its like stand for characters in addresses: write the characters"
    return None


def require_photo_file(path: str | os.PathLike[str]) -> None:
    """Check, without decoding it, that a name is a file's that can be read and is not empty.

    Raises:
        PhotoError: as `read_photo`, of a file that is missing, unreadable, no regular file or
            empty, and of an address.
    """
    with _open_file(path):
        pass


def _is_tensor(value: object) -> bool:
    """Whether it is a tensor; torch is not imported to find out that it is not."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _of_pixels(given: object) -> Image.Image:
    """Return an image of an array's or a tensor's pixels, which must be one photo's."""
    values: Shaped[np.ndarray, ...]
    if _is_tensor(given):
        tensor: Any = given
        tensor = tensor.detach().to("cpu")
        values = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        if values.ndim == 3:
            values = np.moveaxis(values, 0, -1)  # channels come first in torch
        shape = "x".join(map(str, tensor.shape))
    elif isinstance(given, np.ndarray):
        values = given
        shape = "x".join(map(str, given.shape))
    else:
        raise _no_photo(given)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] not in (1, 3, 4)):
        raise PhotoError(
            f"cannot read the given image: its shape is {shape or 'that of a number'}; "
            f"{_GIVE_A_PHOTO}"
        )
    if not values.size:
        raise PhotoError(
            f"cannot read the given image: it has no area ({shape}); give one of at least 1 x 1"
        )
    _check_size("the given image", (values.shape[1], values.shape[0]))
    if np.issubdtype(values.dtype, np.floating):
        low, high = float(values.min()), float(values.max())
        if not (low >= 0.0 and high <= 1.0):  # NaN is neither
            raise PhotoError(
                f"cannot read the given image: its values go from {low:g} to {high:g}, as those "
                f"of a normalised or unscaled photo do; {_GIVE_A_PHOTO}"
            )
        values = np.rint(values * 255.0).astype(np.uint8)
    if values.dtype != np.uint8:
        raise PhotoError(
            f"cannot read the given image: its values are {values.dtype}; {_GIVE_A_PHOTO}"
        )
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    return Image.fromarray(np.ascontiguousarray(values))


def _no_photo(given: object) -> PhotoError:
    kind = type(given).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    return PhotoError(f"cannot read {article} {kind} as a photo; {_GIVE_A_PHOTO}")


@contextmanager
def _open_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield the open file, non-empty and regular; anything else is a `PhotoError`."""
    name = _shown(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise PhotoError(
                f"cannot read {name}: it is a folder, not a photo; name the photos inside it"
            )
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe nobody writes to would wait for ever.
            raise PhotoError(
                f"cannot read {name}: it is a pipe or device, not a file; "
                "save the photo to a file and name that"
            )
        if status.st_size == 0:
            raise PhotoError(
                f"cannot read {name}: the file is empty (0 bytes); copy or download it again"
            )
        file = open(path, "rb")  # noqa: SIM115 -- only opening is to be judged inside this try
    except FileNotFoundError as error:
        raise PhotoError(f"cannot read {name}: {_why_missing(os.fsdecode(path))}") from error
    except PermissionError as error:
        raise PhotoError(
            f"cannot read {name}: permission denied; make it readable for this user "
            "or copy it elsewhere"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        if is_address(os.fsdecode(path)):  # one that is too long for a name, such as `data:`
            raise PhotoError(f"cannot read {name[:80]}: {_why_missing(name)}") from error
        raise _unreadable(name, error) from error
    with file:
        yield file


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Keep the decoder's warnings in, and turn whatever it raises into a `PhotoError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PhotoError:
        raise
    except Image.DecompressionBombError as error:
        # Pillow's own limit, where the size could not be asked for: a frame, a nested image.
        count = re.search(r"\d+", str(error))
        size = f"{int(count.group()):,}" if count else "too many"
        raise PhotoError(
            f"refused {name}: it is {size} pixels, more than Pillow allows in this process; "
            "downscale it and try again"
        ) from error
    except MemoryError as error:
        raise PhotoError(
            f"cannot read {name}: memory ran out while decoding it; downscale it and try again"
        ) from error
    except Exception as error:  # decoders raise nearly every type on broken bytes
        raise PhotoError(
            f"cannot read {name}: it is truncated or damaged ({_one_line(error)}); "
            "copy or download it again, or save it anew from an image editor"
        ) from error


def _identify(name: str, file: BinaryIO) -> Image.Image:
    """Return the photo with its header read and nothing decoded."""
    try:
        return Image.open(file)
    except UnidentifiedImageError as error:
        file.seek(0)
        raise PhotoError(
            f"cannot read {name}: {_why_unidentified(file.read(512))}; {_GIVE_AN_IMAGE}"
        ) from error
    except Image.DecompressionBombError:
        size = _header_size(file)
        if size is not None:
            _check_size(name, size)
        raise


def _header_size(file: BinaryIO) -> tuple[int, int] | None:
    """Return width and height of a photo that Pillow refused before it could be asked for them."""
    file.seek(0)
    prefix = file.read(16)
    for format_name in Image.ID:
        factory, accept = Image.OPEN[format_name]
        if accept is not None and accept(prefix) is not True:
            continue
        file.seek(0)
        try:
            return factory(file, "").size
        except Exception:  # this format does not fit; another may
            continue
    return None


def _check_size(name: str, size: tuple[int, int], most: int | None = None) -> None:
    """Raise unless the photo has an area, and one of at most so many pixels."""
    width, height = size
    most = MAX_PIXELS if most is None else most
    if width < 1 or height < 1:
        raise PhotoError(
            f"cannot read {name}: it has no area ({width} x {height} pixels); "
            "give a photo of at least 1 x 1"
        )
    if width * height > most:
        raise PhotoError(
            f"refused {name}: it is {width} x {height} = {width * height:,} pixels, "
            f"more than the {most:,} allowed; downscale it and try again"
        )


def _to_upright_rgb(name: str, photo: Image.Image) -> Image.Image:
    """Return a new RGB image: values scaled, transparency over white, orientation applied."""
    photo.load()
    orientation = _orientation(photo)
    if photo.mode in _WIDE_MODES or photo.mode.startswith("I;16"):
        rgb = Image.fromarray(_wide_to_8_bits(name, photo)).convert("RGB")
    elif photo.has_transparency_data:
        if photo.mode == "La":  # Pillow has no direct way from here to RGBA
            photo = photo.convert("LA")
        rgba = photo.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    else:
        rgb = photo.convert("RGB")
    # The record is replaced by the one entry that matters: transposing rewrites the record, and
    # a camera's broken maker notes must not cost the photo.
    rgb.info.clear()
    if orientation != 1:
        rgb.getexif()[_ORIENTATION] = orientation
        rgb = ImageOps.exif_transpose(rgb)
        rgb.info.clear()
    return rgb


def _orientation(photo: Image.Image) -> int:
    """Return the EXIF orientation 1..8; 1, upright, where there is none or it cannot be read."""
    try:
        value = photo.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged record: the pixels are still a photo
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _wide_to_8_bits(name: str, photo: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """Return a grey of 16 or 32 bits scaled to 0..255, as `read_photo` describes."""
    tags = getattr(photo, "tag_v2", {})
    values = np.asarray(photo)
    if photo.mode == "F":
        if not np.isfinite(values).all():
            raise PhotoError(
                f"cannot read {name}: some of its values are not finite (NaN or infinity); "
                "replace them and save it again"
            )
        grey = _scale(values, 0.0, 1.0)
    else:
        twelve_bits = photo.mode != "I" and tags.get(_BITS_PER_SAMPLE) == (12,)
        grey = _scale(values, 0.0, 4095.0 if twelve_bits else 65535.0)
    if tags.get(_PHOTOMETRIC) == 0:
        grey = 255 - grey  # white is zero; Pillow inverts only the narrow modes
    transparent = photo.info.get("transparency")
    if isinstance(transparent, int):  # PNG: one grey value stands for "nothing here"
        grey = np.where(values == transparent, np.uint8(255), grey)
    return grey


def _scale(
    values: Num[np.ndarray, "height width"], black: float, white: float
) -> UInt8[np.ndarray, "height width"]:
    """Return values from black..white, or from their own range where they leave it, in 0..255."""
    low, high = float(values.min()), float(values.max())
    if (low < black or high > white) and low < high:
        black, white = low, high
    fraction: Float[np.ndarray, "height width"] = values.astype(np.float64)
    fraction -= black
    fraction /= white - black
    return np.rint(fraction.clip(0.0, 1.0) * 255.0).astype(np.uint8)


def _why_unidentified(beginning: bytes) -> str:
    """Return why no decoder knew the file, judged by its first bytes."""
    if beginning[4:8] == b"ftyp":
        return "it is a HEIC photo or a video, which Pillow cannot decode here"
    if beginning.startswith(b"%PDF"):
        return "it is a PDF document, not a photo"
    try:
        text = beginning.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character cut in two where the sample ends is still text.
        cut = error.start > len(beginning) - 4
        text = beginning[: error.start].decode("utf-8") if cut else "\0"
    if text and all(c.isprintable() or c in "\t\r\n\f\ufeff" for c in text):
        return "it holds text, whatever its name says, and no image"
    return "it is in no image format known here, or its header is truncated or damaged"


def _why_missing(name: str) -> str:
    """Return why a name names no file, and what to do."""
    if is_address(name):
        return (
            "it is an address, and addresses are not fetched; download the photo and name its file"
        )
    return f"there is no such file; {why_odd(name) or 'check the spelling and the folder'}"


def _unreadable(name: str, error: Exception) -> PhotoError:
    reason = (error.strerror if isinstance(error, OSError) else None) or _one_line(error)
    return PhotoError(f"cannot read {name}: {reason}; check the name and the disk, or copy it")


def _shown(path: str | os.PathLike[str]) -> str:
    """Return the name as given, on one line whatever characters are in it."""
    return on_one_line(os.fsdecode(path)) or "''"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
