"""Photos of every kind are read rightly, and what is no photo is refused in one useful line."""

from __future__ import annotations

import builtins
import hashlib
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from molyneux.errors import PhotoError
from molyneux.vision import photo as photo_module
from molyneux.vision.photo import MAX_PIXELS, photo_sha256, read_photo


@pytest.fixture(autouse=True)
def _pillow_is_left_alone() -> Iterator[None]:
    """Pillow's switches and the warning filters stand after every test as they stood before."""

    def switches() -> tuple[object, ...]:
        return (
            Image.MAX_IMAGE_PIXELS,
            Image.WARN_POSSIBLE_FORMATS,
            ImageFile.LOAD_TRUNCATED_IMAGES,
            ImageFile.MAXBLOCK,
            list(warnings.filters),
        )

    before = switches()
    yield
    assert switches() == before


@pytest.fixture
def pillow(_pillow_is_left_alone: None) -> Iterator[pytest.MonkeyPatch]:
    """What changes Pillow for a test, and has changed it back before that is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def pixels(photo: Image.Image) -> np.ndarray:
    assert photo.mode == "RGB"
    return np.asarray(photo)


def textured(width: int = 64, height: int = 48) -> Image.Image:
    """Return a picture that no codec makes small."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG of 8-bit grey whose header says any size at all."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def refusal(path: object) -> str:
    """Return the message of the refusal, having checked its form."""
    with pytest.raises(PhotoError) as caught:
        read_photo(path)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    return message


# What must be read rightly


@pytest.mark.parametrize(
    ("name", "tolerance"), [("a.png", 0), ("a.bmp", 0), ("a.tif", 0), ("a.webp", 6), ("a.jpg", 6)]
)
def test_plain_rgb_comes_back_as_it_was(tmp_path: Path, name: str, tolerance: int) -> None:
    flat = Image.new("RGB", (32, 24), (200, 100, 50))
    flat.save(tmp_path / name)
    got = pixels(read_photo(tmp_path / name)).astype(int)
    assert got.shape == (24, 32, 3)
    assert np.abs(got - [200, 100, 50]).max() <= tolerance


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    """Adobe's CMYK JPEG stores its inks inverted: cyan must not come out red."""
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "cyan.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "cyan.jpg").read_bytes()
    red, green, blue = pixels(read_photo(tmp_path / "cyan.jpg")).mean(axis=(0, 1))
    assert red < 10
    assert green > 245
    assert blue > 245


def test_cmyk_tiff(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    assert (pixels(read_photo(tmp_path / "red.tif")) == [255, 0, 0]).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "jp2"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    ramp = np.array([[0, 128, 257, 4112], [32896, 40000, 65000, 65535]], dtype=np.uint16)
    Image.fromarray(ramp).save(tmp_path / f"ramp.{suffix}")
    with Image.open(tmp_path / f"ramp.{suffix}") as opened:
        assert opened.mode.startswith("I")
    got = pixels(read_photo(tmp_path / f"ramp.{suffix}"))
    assert got[..., 0].tolist() == [[0, 0, 1, 16], [128, 156, 253, 255]]
    assert (got == got[..., :1]).all()


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_16_bit_of_either_byte_order(mode: str) -> None:
    big = mode == "I;16B" or (mode == "I;16N" and sys.byteorder == "big")
    values = np.array([[256, 65280]], dtype=">u2" if big else "<u2")
    image = Image.frombytes(mode, (2, 1), values.tobytes())
    assert pixels(read_photo(image))[0, :, 0].tolist() == [1, 254]


def test_16_bit_big_endian_tiff(tmp_path: Path) -> None:
    values = np.array([[0, 256], [65280, 65535]], dtype=">u2")
    Image.frombytes("I;16B", (2, 2), values.tobytes()).save(tmp_path / "be.tif")
    assert pixels(read_photo(tmp_path / "be.tif"))[..., 0].tolist() == [[0, 1], [254, 255]]


def test_16_bit_tiff_whose_zero_is_white(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.array([[0, 65535]], dtype=np.uint16))
    ramp.save(tmp_path / "white-is-zero.tif")
    raw = bytearray((tmp_path / "white-is-zero.tif").read_bytes())
    entry = struct.pack("<HHI", 262, 3, 1)
    at = raw.index(entry) + len(entry)
    raw[at : at + 2] = b"\0\0"
    (tmp_path / "white-is-zero.tif").write_bytes(raw)
    assert pixels(read_photo(tmp_path / "white-is-zero.tif"))[0, :, 0].tolist() == [255, 0]


def test_12_bit_tiff_is_scaled_by_12_bits(tmp_path: Path) -> None:
    """Two 12-bit samples, 0x000 and 0xFFF, in three bytes of a hand-written file."""
    entries = [
        (256, 3, 2),
        (257, 3, 1),
        (258, 3, 12),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 3, 1),
        (279, 4, 3),
    ]
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHII", tag, kind, 1, value)
    body = b"II*\0" + struct.pack("<I", 12) + b"\x00\x0f\xff\0" + directory + b"\0\0\0\0"
    (tmp_path / "twelve.tif").write_bytes(body)
    assert pixels(read_photo(tmp_path / "twelve.tif"))[0, :, 0].tolist() == [0, 255]


def test_16_bit_png_with_a_transparent_grey_lies_over_white(tmp_path: Path) -> None:
    ramp = Image.fromarray(np.array([[0, 4112, 65535]], dtype=np.uint16))
    ramp.save(tmp_path / "t.png", transparency=4112)
    assert pixels(read_photo(tmp_path / "t.png"))[0, :, 0].tolist() == [0, 255, 255]


def test_integers_beyond_16_bits_are_scaled_by_their_own_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-1000, 0, 1000]], dtype=np.int32)).save(tmp_path / "signed.tif")
    assert pixels(read_photo(tmp_path / "signed.tif"))[0, :, 0].tolist() == [0, 128, 255]


def test_integer_mode_within_16_bits_is_scaled_by_16_bits() -> None:
    image = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.int32))
    assert image.mode == "I"
    assert pixels(read_photo(image))[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.25, 0.25, 0.5], [64, 64, 128]),  # within 0..1: not stretched
        ([-1.0, 0.0, 3.0], [0, 64, 255]),  # outside: by its own min..max
        ([0.0, 127.5, 255.0], [0, 128, 255]),
        ([7.0, 7.0, 7.0], [255, 255, 255]),  # constant: no range to scale by
        ([-3e38, 0.0, 3e38], [0, 128, 255]),  # a range that overflows float32
    ],
)
def test_float_tiff(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    Image.fromarray(np.array([values], dtype=np.float32)).save(tmp_path / "f.tif")
    assert pixels(read_photo(tmp_path / "f.tif"))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float_tiff_with_values_that_are_no_numbers_is_refused(tmp_path: Path, bad: float) -> None:
    Image.fromarray(np.array([[0.0, bad]], dtype=np.float32)).save(tmp_path / "f.tif")
    assert "not finite" in refusal(tmp_path / "f.tif")


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_transparency_lies_over_white(mode: str) -> None:
    source = Image.new("RGBA", (3, 1))
    for x, value in enumerate([(0, 0, 0, 255), (0, 0, 0, 0), (0, 0, 0, 128)]):
        source.putpixel((x, 0), value)
    if mode == "PA":
        image = Image.merge("LA", [source.getchannel(0), source.getchannel(3)])
        image = Image.frombytes("PA", (3, 1), image.tobytes())
        image.putpalette([0, 0, 0, 255, 0, 0], "RGB")
    elif mode in ("LA", "La"):
        image = Image.merge("LA", [source.getchannel(0), source.getchannel(3)])
        image = image.convert(mode)
    else:
        image = source.convert(mode)
    assert image.mode == mode
    assert pixels(read_photo(image))[0, :, 0].tolist() == [0, 255, 127]


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_rgba_files_lie_over_white(tmp_path: Path, suffix: str) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.save(tmp_path / f"clear.{suffix}")
    assert (pixels(read_photo(tmp_path / f"clear.{suffix}")) == 255).all()


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80"])
def test_palette_with_alpha_lies_over_white(tmp_path: Path, transparency: int | bytes) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([0, 0, 0, 0, 0, 255, 0, 0, 0])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "p.png", transparency=transparency)
    with Image.open(tmp_path / "p.png") as opened:
        assert opened.mode == "P"
    last = 0 if transparency == 1 else 127
    expected = [[0, 0, 0], [255, 255, 255], [last, last, last]]
    assert pixels(read_photo(tmp_path / "p.png"))[0].tolist() == expected


def test_one_transparent_colour_of_an_rgb_png_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    image.save(tmp_path / "t.png", transparency=(1, 2, 3))
    assert pixels(read_photo(tmp_path / "t.png"))[0].tolist() == [[255, 255, 255], [9, 9, 9]]


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_1_bit(tmp_path: Path, suffix: str) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    image.save(tmp_path / f"b.{suffix}")
    assert pixels(read_photo(tmp_path / f"b.{suffix}"))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    """A picture with three different corners, stored turned, is read as it was before."""
    upright = Image.new("RGB", (32, 16))
    upright.paste((255, 0, 0), (0, 0, 16, 8))
    upright.paste((0, 255, 0), (16, 0, 32, 8))
    upright.paste((0, 0, 255), (0, 8, 16, 16))
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # stored on its side: turn clockwise to see it upright
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    turned = upright if stored is None else upright.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif}
    if suffix == "jpg":
        options |= {"quality": 100, "subsampling": 0}
    if suffix == "webp":
        options |= {"lossless": True}
    turned.save(tmp_path / f"turned.{suffix}", **options)
    got = read_photo(tmp_path / f"turned.{suffix}")
    assert got.size == upright.size
    assert np.abs(pixels(got).astype(int) - np.asarray(upright)).max() <= 3
    assert got.getexif().get(0x0112, 1) == 1
    assert read_photo(got).size == upright.size  # turned once, not at every reading


def test_a_turned_16_bit_png_is_scaled_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    ramp = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
    ramp.save(tmp_path / "t.png", exif=exif)
    assert pixels(read_photo(tmp_path / "t.png"))[0, :, 0].tolist() == [255, 1, 0]


@pytest.mark.parametrize("exif", [b"Exif\0\0junk", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_a_damaged_exif_record_does_not_cost_the_photo(tmp_path: Path, exif: bytes) -> None:
    Image.new("RGB", (8, 4), "blue").save(tmp_path / "e.jpg", exif=exif)
    assert read_photo(tmp_path / "e.jpg").size == (8, 4)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_several_is_read(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    lossless = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(
        tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=50, **lossless
    )
    with Image.open(tmp_path / f"a.{suffix}") as opened:
        assert getattr(opened, "n_frames", 1) == 3
    assert (pixels(read_photo(tmp_path / f"a.{suffix}")) == [255, 0, 0]).all()


def test_a_transparent_gif_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "t.gif", transparency=0)
    assert pixels(read_photo(tmp_path / "t.gif"))[0].tolist() == [[255, 255, 255], [255, 0, 0]]


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp"])
def test_one_pixel(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (1, 1), "white").save(tmp_path / f"one.{suffix}")
    assert pixels(read_photo(tmp_path / f"one.{suffix}")).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize(
    "name", ["my photo.png", "Ðǿñkey 驢馬 🐴.png", " .png", "a\nb.png", "-x.png"]
)
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (2, 2), "red").save(tmp_path / name, "PNG")
    for path in (tmp_path / name, str(tmp_path / name)):
        assert (pixels(read_photo(path)) == [255, 0, 0]).all()
    assert "no such file" in refusal(tmp_path / f"not {name}")


def test_the_contents_count_and_not_the_suffix(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), "red").save(tmp_path / "really-a-png.jpg", "PNG")
    assert (pixels(read_photo(tmp_path / "really-a-png.jpg")) == [255, 0, 0]).all()


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "L", "RGBX", "CMYK"])
def test_other_colour_modes(mode: str) -> None:
    grey = Image.new("RGB", (2, 2), (128, 128, 128)).convert(mode)
    assert np.abs(pixels(read_photo(grey)).astype(int) - 128).max() <= 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_nothing_of_the_record_is_kept(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    textured().save(tmp_path / "t.jpg", exif=exif, comment="private")
    got = read_photo(tmp_path / "t.jpg")
    assert got.info == {}
    assert dict(got.getexif()) == {}


# PIL images


def test_a_given_image_is_neither_changed_nor_returned_itself() -> None:
    given = textured()
    given.getexif()[0x0112] = 6
    given.info["note"] = "kept"
    before = given.tobytes()
    got = read_photo(given)
    assert got is not given
    assert got.size == (given.height, given.width)
    assert given.tobytes() == before
    assert given.getexif()[0x0112] == 6
    assert given.info == {"note": "kept"}
    got.putpixel((0, 0), (0, 0, 0))
    assert given.tobytes() == before


def test_a_file_given_as_an_image_reads_the_same(tmp_path: Path) -> None:
    textured().save(tmp_path / "t.png")
    with Image.open(tmp_path / "t.png") as opened:
        assert read_photo(opened).tobytes() == read_photo(tmp_path / "t.png").tobytes()
        opened.getpixel((0, 0))  # still open


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_given_image_without_area_is_refused(size: tuple[int, int]) -> None:
    assert "no area" in refusal(Image.new("RGB", size))


def test_a_given_image_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_module, "MAX_PIXELS", 99)
    assert "10 x 10" in refusal(Image.new("RGB", (10, 10)))
    monkeypatch.setattr(photo_module, "MAX_PIXELS", 100)
    assert read_photo(Image.new("RGB", (10, 10))).size == (10, 10)


def test_a_given_image_whose_file_is_truncated_is_refused(tmp_path: Path) -> None:
    buffer = BytesIO()
    textured().save(buffer, "JPEG")
    with Image.open(BytesIO(buffer.getvalue()[: len(buffer.getvalue()) // 2])) as opened:
        assert "truncated" in refusal(opened)


# What must be refused


@pytest.mark.parametrize("part", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp", "tif", "ppm", "jp2"])
def test_truncated(tmp_path: Path, suffix: str, part: float) -> None:
    whole = BytesIO()
    form = {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM", "jp2": "JPEG2000"}
    textured().save(whole, form.get(suffix, suffix.upper()))
    path = tmp_path / f"half.{suffix}"
    path.write_bytes(whole.getvalue()[: int(part * len(whole.getvalue()))])
    message = refusal(path)
    assert str(path) in message
    assert "truncated or damaged" in message


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_a_compressed_tiff_that_is_truncated(
    tmp_path: Path, compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    textured().save(tmp_path / "t.tif", compression=compression)
    whole = (tmp_path / "t.tif").read_bytes()
    (tmp_path / "t.tif").write_bytes(whole[: len(whole) // 2])
    refusal(tmp_path / "t.tif")
    assert capfd.readouterr() == ("", "")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    message = refusal(tmp_path / "empty.jpg")
    assert "empty (0 bytes)" in message
    assert "again" in message


@pytest.mark.parametrize(
    "text",
    [
        "Hello, this is no photo.\n",
        "<!DOCTYPE html><html>404</html>",
        "é" * 700,
        "x",
        "a" * 511 + "é",
    ],
)
def test_text_renamed(tmp_path: Path, text: str) -> None:
    (tmp_path / "text.jpg").write_text(text, encoding="utf-8")
    message = refusal(tmp_path / "text.jpg")
    assert "holds text" in message
    assert "give a JPEG" in message


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF"),
        (b"\xff\xd8\xff", "header is truncated or damaged"),
        (b"\x80\x81\x82\x83" * 100, "header is truncated or damaged"),
    ],
)
def test_other_files(tmp_path: Path, contents: bytes, why: str) -> None:
    (tmp_path / "other.jpg").write_bytes(contents)
    assert why in refusal(tmp_path / "other.jpg")


def test_a_drawing_is_refused_before_anything_runs_it(tmp_path: Path) -> None:
    (tmp_path / "d.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    )
    assert "EPS" in refusal(tmp_path / "d.jpg")


def test_a_folder(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path)
    assert "folder" in refusal(".")


def test_missing(tmp_path: Path) -> None:
    message = refusal(tmp_path / "no.jpg")
    assert str(tmp_path / "no.jpg") in message
    assert "no such file" in message
    assert "check the spelling" in message


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    textured().save(tmp_path / "secret.png")

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", deny)
    message = refusal(tmp_path / "secret.png")
    assert "permission denied" in message
    assert "make it readable" in message
    with pytest.raises(PhotoError, match="permission denied"):
        photo_sha256(tmp_path / "secret.png")


def test_impossible_names(tmp_path: Path) -> None:
    refusal("a\0b.png")
    refusal("x" * 5000)
    refusal("")
    textured().save(tmp_path / "a.png")
    refusal(tmp_path / "a.png" / "b.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "pipe" in refusal(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 10_001), (200_000, 3_000)])
def test_a_bomb_is_refused_by_its_header(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(_: object) -> None:
        raise AssertionError("the photo was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    message = refusal(tmp_path / "bomb.png")
    assert f"{size[0]} x {size[1]}" in message
    assert f"{MAX_PIXELS:,}" in message
    assert "downscale" in message


@pytest.mark.parametrize("suffix", ["gif", "bmp", "jpg", "webp", "tif"])
def test_bombs_of_other_formats_name_their_size(tmp_path: Path, suffix: str) -> None:
    """A small file whose header is rewritten to announce 16,000 x 16,000 pixels."""
    path = tmp_path / f"bomb.{suffix}"
    lossless = {"lossless": True} if suffix == "webp" else {}
    Image.new("RGB", (8, 8)).save(path, **lossless)
    raw = bytearray(path.read_bytes())
    if suffix == "gif":
        raw[6:10] = struct.pack("<HH", 16_000, 16_000)
    elif suffix == "bmp":
        raw[18:26] = struct.pack("<ii", 16_000, 16_000)
    elif suffix == "jpg":
        at = raw.index(b"\xff\xc0") + 5
        raw[at : at + 4] = struct.pack(">HH", 16_000, 16_000)
    elif suffix == "webp":
        at = raw.index(b"VP8L") + 9
        raw[at : at + 4] = struct.pack("<I", 15_999 | 15_999 << 14)
    else:
        for tag in (256, 257):
            at = raw.index(struct.pack("<HHI", tag, 4, 1)) + 8
            raw[at : at + 4] = struct.pack("<I", 16_000)
    path.write_bytes(raw)
    message = refusal(path)
    # Pillow 13 refuses a large WebP before it tells the two sides.
    assert "16000 x 16000" in message or (suffix == "webp" and "256,000,000 pixels" in message)
    assert "downscale" in message


def test_between_pillows_limit_and_ours_no_warning_leaks(
    tmp_path: Path, pillow: pytest.MonkeyPatch
) -> None:
    """Pillow warns from its limit on; a photo below ours is read, and nothing is said."""
    textured(64, 48).save(tmp_path / "t.png")
    pillow.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 - 1)
    assert read_photo(tmp_path / "t.png").size == (64, 48)


def test_pillows_own_lower_limit_is_respected(tmp_path: Path, pillow: pytest.MonkeyPatch) -> None:
    textured(64, 48).save(tmp_path / "t.png")
    pillow.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    message = refusal(tmp_path / "t.png")
    assert "3,072 pixels" in message
    assert "downscale" in message


def test_our_limit_holds_where_pillows_is_off(tmp_path: Path, pillow: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(20_000, 20_000))
    pillow.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "20000 x 20000" in refusal(tmp_path / "bomb.png")


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_no_area(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "flat.png").write_bytes(png_header(*size))
    refusal(tmp_path / "flat.png")
    (tmp_path / "flat.gif").write_bytes(b"GIF89a" + struct.pack("<HH", *size) + b"\0\0\0;")
    refusal(tmp_path / "flat.gif")
    (tmp_path / "flat.ppm").write_bytes(b"P6 %d %d 255\n" % size)
    refusal(tmp_path / "flat.ppm")


def test_running_out_of_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_: object) -> None:
        raise MemoryError

    textured().save(tmp_path / "t.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    assert "memory" in refusal(tmp_path / "t.png")


def test_random_damage_is_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    """Bytes overwritten at random, in many formats: never another exception, never a warning."""
    random = np.random.default_rng(1)
    path = tmp_path / "damaged"
    refusals = []
    for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "PPM"):
        buffer = BytesIO()
        textured(40, 30).save(buffer, form)
        for _ in range(40):
            raw = bytearray(buffer.getvalue())
            for at in random.integers(0, min(len(raw), 400), 4):
                raw[at] = random.integers(0, 256)
            path.write_bytes(raw)
            try:
                assert read_photo(path).mode == "RGB"
            except PhotoError as error:
                refusals.append(str(error))
    assert len(refusals) > 40
    assert all(message.isprintable() for message in refusals)


# Files stay closed


def open_files() -> set[str]:
    folder = Path("/proc/self/fd")
    found = set()
    for entry in folder.iterdir():
        try:
            found.add(os.readlink(entry))
        except OSError:
            continue  # the listing's own handle
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif"])
def test_the_file_is_closed_after_success_and_after_failure(tmp_path: Path, suffix: str) -> None:
    good, bad = tmp_path / f"good.{suffix}", tmp_path / f"bad.{suffix}"
    textured().save(good)
    bad.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    kept = read_photo(good)
    with pytest.raises(PhotoError) as error:
        read_photo(bad)
    photo_sha256(good)
    assert not {str(good), str(bad)} & open_files()
    assert kept.getpixel((0, 0))
    assert error.value.__cause__ is not None


# Hashes


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    textured(1200, 900).save(tmp_path / "t.png")  # more than one block
    raw = (tmp_path / "t.png").read_bytes()
    assert len(raw) > 1 << 20
    assert photo_sha256(tmp_path / "t.png") == hashlib.sha256(raw).hexdigest()
    assert photo_sha256(str(tmp_path / "t.png")) == hashlib.sha256(raw).hexdigest()


def test_the_hash_of_an_image_is_that_of_its_rgb_bytes_and_size() -> None:
    image = textured(6, 4)
    expected = hashlib.sha256(b"6x4\n" + image.tobytes()).hexdigest()
    assert photo_sha256(image) == expected
    assert photo_sha256(image.copy()) == expected
    same_bytes = Image.frombytes("RGB", (4, 6), image.tobytes())
    assert photo_sha256(same_bytes) != expected
    changed = image.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    assert photo_sha256(changed) != expected


@pytest.mark.parametrize("name", ["missing.png", "empty.png", "."])
def test_the_hash_of_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(PhotoError):
        photo_sha256(tmp_path / name)
