from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frostline.cache import InputError
from frostline.extract.images.decode import decode, decode_file, image_facts, read_image
from frostline.extract.images.geometry import PAPER_GEOMETRY, Geometry
from frostline.extract.images.opened import open_image

EXACT = Geometry("squash", 8, 8)  # images of 8 by 8 pass unchanged
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
WIDE = RNG.integers(0, 65536, (8, 8)).astype(np.uint16)

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(image: Image.Image, name: str = "image.png", **options: object) -> Path:
        image.save(tmp_path / name, **options)  # type: ignore[arg-type]
        return tmp_path / name

    return write


def message(path: Path, geometry: Geometry = EXACT) -> str:
    with pytest.raises(InputError) as caught:
        decode(path, None, geometry, "grey")
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_lossless_formats(save: Save, suffix: str) -> None:
    path = save(Image.fromarray(COLOUR), f"image.{suffix}")
    np.testing.assert_array_equal(decode(path, None, EXACT, "rgb"), COLOUR)
    path = save(Image.fromarray(GREY), f"grey.{suffix}")
    np.testing.assert_array_equal(decode(path, None, EXACT, "grey"), GREY)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_equal_pillow(save: Save, suffix: str) -> None:
    path = save(Image.fromarray(COLOUR).resize((300, 280)), f"image.{suffix}")
    expected = PAPER_GEOMETRY.apply(Image.open(path).convert("RGB"), "rgb")
    np.testing.assert_array_equal(decode(path, None, PAPER_GEOMETRY, "rgb"), expected)


def test_names_with_spaces_quotes_newlines_and_other_scripts(save: Save) -> None:
    path = save(Image.fromarray(GREY), "a 'b' \"c\"\n日本 é.png")
    np.testing.assert_array_equal(decode(path, None, EXACT, "grey"), GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(save: Save, orientation: int) -> None:
    turned = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: np.rot90(GREY, -1),
        7: GREY[::-1, ::-1].T,
        8: np.rot90(GREY),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(GREY), exif=exif)
    np.testing.assert_array_equal(decode(path, None, EXACT, "grey"), turned[orientation])


def test_palette_is_looked_up(save: Save) -> None:
    image = Image.fromarray(COLOUR).quantize(16)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(save(image), None, EXACT, "rgb"), expected)


def test_transparency_is_composited_on_black(save: Save) -> None:
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:4] = 255
    rgba = np.dstack([COLOUR, alpha])
    expected = np.where(alpha[..., None] > 0, COLOUR, 0)
    np.testing.assert_array_equal(decode(save(Image.fromarray(rgba)), None, EXACT, "rgb"), expected)
    la = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    np.testing.assert_array_equal(
        decode(save(la), None, EXACT, "grey"), np.where(alpha > 0, GREY, 0)
    )


def test_transparent_palette_entry_becomes_black(save: Save) -> None:
    image = Image.fromarray(np.array([[0, 1]] * 2, np.uint8), mode="P")
    image.putpalette([200, 100, 50, 10, 20, 30])
    pixels = decode(save(image, transparency=0), None, Geometry("squash", 2, 2), "rgb")
    assert pixels.tolist() == [[[0, 0, 0], [10, 20, 30]]] * 2


def test_black_and_white(save: Save) -> None:
    image = Image.fromarray(GREY > 127)
    assert image.mode == "1"
    np.testing.assert_array_equal(decode(save(image), None, EXACT, "grey"), (GREY > 127) * 255)


def test_cmyk_becomes_rgb(save: Save) -> None:
    red = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    pixels = decode(save(red, "red.jpg", quality=100), None, PAPER_GEOMETRY, "rgb")
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("name", ["wide.png", "wide.tif"])
def test_sixteen_bits_keep_their_high_byte(save: Save, name: str) -> None:
    path = save(Image.fromarray(WIDE), name)
    np.testing.assert_array_equal(decode(path, None, EXACT, "grey"), WIDE >> 8)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_window_by_percentiles_of_the_image(save: Save, dtype: type) -> None:
    values = np.arange(64).reshape(8, 8).astype(dtype) * 10 + 5
    path = save(Image.fromarray(values), "wide.tif")
    geometry = Geometry("squash", 8, 8, window={"percentiles": [0, 100]})
    expected = np.rint(np.arange(64).reshape(8, 8) / 63 * 255)
    np.testing.assert_array_equal(decode(path, None, geometry, "grey"), expected)


def test_window_by_range(save: Save) -> None:
    values = np.array([[-1000, 0], [100, np.nan]], np.float32)
    path = save(Image.fromarray(values), "ct.tif")
    geometry = Geometry("squash", 2, 2, window={"range": [-100, 100]})
    assert decode(path, None, geometry, "grey").tolist() == [[0, 128], [255, 0]]


def test_a_window_leaves_eight_bits_alone(save: Save) -> None:
    geometry = Geometry("squash", 8, 8, window={"percentiles": [20, 80]})
    np.testing.assert_array_equal(decode(save(Image.fromarray(GREY)), None, geometry, "grey"), GREY)


def test_float_without_window_is_refused(save: Save) -> None:
    path = save(Image.fromarray(WIDE.astype(np.float32)), "float.tif")
    assert message(path) == (
        f"Cannot read image {path}: its intensities are floating point numbers of unknown "
        "range; give a window (percentiles or a range)."
    )


def test_blank_window_names_the_file(save: Save) -> None:
    path = save(Image.fromarray(np.full((8, 8), 300, np.uint16)))
    geometry = Geometry("squash", 8, 8, window={"percentiles": [0.5, 99.5]})
    assert message(path, geometry) == (
        f"Cannot read image {path}: the percentiles 0.5 and 99.5 of the intensities are both "
        "300, so the image would be blank; choose a wider window."
    )


def test_pages_by_frame(save: Save) -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(GREY.T)]
    path = save(pages[0], "pages.tif", save_all=True, append_images=pages[1:])
    first, second = decode_file(path, [1, 0], EXACT, "grey")
    np.testing.assert_array_equal(first, GREY.T)
    np.testing.assert_array_equal(second, GREY)
    with pytest.raises(InputError, match=r"pages.tif: no more images in TIFF file\.$"):
        decode(path, 2, EXACT, "grey")


@pytest.mark.parametrize("name", ["pages.tif", "pages.webp", "pages.png"])
def test_several_pages_without_a_frame_are_refused(save: Save, name: str) -> None:
    pages = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1])]
    path = save(pages[0], name, save_all=True, append_images=pages[1:])
    assert message(path) == (
        f"Cannot read image {path}: it has several pages; say which one by a table's frame column."
    )
    with open_image(path) as opened:
        assert image_facts(opened) is None
    with open_image(path) as opened:
        assert image_facts(opened, pages=True) is not None


# JPEG files of 100 megapixels

LARGE_AND_BOUNDED = """
import resource, sys, warnings
from pathlib import Path
from frostline.extract.images.decode import decode, image_facts
from frostline.extract.images.geometry import PAPER_GEOMETRY
from frostline.extract.images.opened import open_image
warnings.simplefilter("ignore")  # Pillow's, of a possible decompression bomb
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path = Path(sys.argv[1])
decode(path, None, PAPER_GEOMETRY, "rgb")
with open_image(path) as opened:
    image_facts(opened)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_100_megapixels_in_bounded_memory(save: Save) -> None:
    image = Image.radial_gradient("L").resize((10_000, 10_000))
    path = save(Image.merge("RGB", [image] * 3), "large.jpg")
    command = [sys.executable, "-c", LARGE_AND_BOUNDED, str(path)]
    kibibytes = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert kibibytes < 64 * 1024  # all of its pixels are 400 MB in Pillow


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("geometry", [PAPER_GEOMETRY, Geometry("squash", 320, 299, "bicubic")])
def test_large_jpeg_at_a_part_of_its_size_is_nearly_the_same(
    save: Save, monkeypatch: pytest.MonkeyPatch, geometry: Geometry, orientation: int
) -> None:
    rng = np.random.default_rng(3)
    blobs = rng.integers(0, 256, (12, 17, 3), dtype=np.uint8)
    detail = rng.integers(0, 256, (600, 850, 3), dtype=np.uint8)
    images = [Image.fromarray(array).resize((4250, 3000)) for array in (blobs, detail)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.blend(*images, 0.3), "large.jpg", quality=95, exif=exif)
    whole = decode(path, None, geometry, "rgb").astype(int)
    sizes = []
    shrunken = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda im: sizes.append(im.size) or shrunken(im))
    monkeypatch.setattr("frostline.extract.images.decode.LARGE", 10**6)
    part = decode(path, None, geometry, "rgb").astype(int)
    assert (4250, 3000) not in sizes
    difference = np.abs(whole - part)
    assert 0 < difference.mean() < 1
    assert difference.max() <= 8


@pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.tif", "image.bmp", "image.webp"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_truncated_files_are_never_blank(save: Save, name: str, kept: float) -> None:
    big = RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = save(Image.fromarray(big), name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert message(path).startswith(f"Cannot read image {path}: ")
    with open_image(path) as opened:
        assert image_facts(opened) is None


def test_empty_missing_and_other_files(tmp_path: Path) -> None:
    empty, text, missing = (tmp_path / name for name in ("empty.png", "text.png", "none.png"))
    empty.touch()
    text.write_text("not an image")
    assert message(empty) == f"Cannot read image {empty}: the file is empty."
    assert message(missing) == f"Cannot read image {missing}: there is no such file."
    assert message(text) == (
        f"Cannot read image {text}: it is not an image, or of a format that is not known here."
    )
    assert message(tmp_path).startswith(f"Cannot read image {tmp_path}: ")


def test_facts_of_the_header(save: Save) -> None:
    path = save(Image.fromarray(WIDE[:4]))
    with open_image(path) as opened:
        assert image_facts(opened) == (8, 4, "I;16", "PNG")


def test_read_image_keeps_the_size(save: Save) -> None:
    image = read_image(save(Image.fromarray(COLOUR[:5])))
    assert (image.mode, image.size) == ("RGB", (8, 5))
