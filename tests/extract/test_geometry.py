from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from frostline.cache import InputError
from frostline.extract.images.geometry import (
    PAPER_GEOMETRY,
    Geometry,
    clipped,
    to_uint8,
    window_limits,
    windowed,
)


def noise(width: int, height: int, channels: int | None = None, seed: int = 0) -> Image.Image:
    shape = (height, width) if channels is None else (height, width, channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels)


def torchvision_pixels(image: Image.Image, geometry: Geometry) -> np.ndarray:
    size: Any = geometry.resize_to
    if geometry.resize == "squash":
        size = [geometry.resize_to, geometry.resize_to]
    mode = v2.InterpolationMode(geometry.interpolation)
    road = v2.Compose([v2.Resize(size, interpolation=mode), v2.CenterCrop(geometry.crop)])
    return np.asarray(road(image))


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    resize=st.sampled_from(["shorter", "squash"]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    resize_to=st.integers(1, 70),
    crop=st.integers(1, 70),
    colour=st.booleans(),
)
def test_equals_torchvision_to_the_bit(
    width: int,
    height: int,
    resize: Any,
    interpolation: Any,
    resize_to: int,
    crop: int,
    colour: bool,
) -> None:
    geometry = Geometry(resize, resize_to, crop, interpolation)
    image = noise(width, height, 3 if colour else None)
    pixels = geometry.apply(image, "rgb" if colour else "grey")
    assert pixels.shape == ((crop, crop, 3) if colour else (crop, crop))
    np.testing.assert_array_equal(pixels, torchvision_pixels(image, geometry))


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    resize_to=st.sampled_from([16, 32, 64, 128]),
    data=st.data(),
    colour=st.booleans(),
)
def test_the_short_way_by_boxes_equals_torchvision(
    width: int, height: int, resize_to: int, data: st.DataObject, colour: bool
) -> None:
    """Powers of two, where resizing and cropping are one step."""
    crop = data.draw(st.integers(1, resize_to))
    resize: Any = data.draw(st.sampled_from(["shorter", "squash"]))
    interpolation: Any = data.draw(st.sampled_from(["bilinear", "bicubic"]))
    geometry = Geometry(resize, resize_to, crop, interpolation)
    image = noise(width, height, 3 if colour else None, seed=width)
    pixels = geometry.apply(image, "rgb" if colour else "grey")
    np.testing.assert_array_equal(pixels, torchvision_pixels(image, geometry))


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (200, 150), (640, 427), (3000, 2500)])
@pytest.mark.parametrize("odd", [None, (0, 0), (100, 97)])
def test_grey_stored_as_colour_equals_torchvision(
    size: tuple[int, int], odd: tuple[int, int] | None
) -> None:
    """Three equal channels are resized as one, but not if a single pixel has a colour."""
    image = noise(*size).convert("RGB")
    if odd is not None:
        image.putpixel(odd, (9, 9, 200))
    pixels = PAPER_GEOMETRY.apply(image, "rgb")
    np.testing.assert_array_equal(pixels, torchvision_pixels(image, PAPER_GEOMETRY))


@pytest.mark.parametrize("size", [(640, 427), (224, 224), (256, 256), (200, 150), (150, 1000)])
def test_paper_geometry_equals_torchvision(size: tuple[int, int]) -> None:
    image = noise(*size, 3)
    pixels = PAPER_GEOMETRY.apply(image, "rgb")
    np.testing.assert_array_equal(pixels, torchvision_pixels(image, PAPER_GEOMETRY))


def test_grey_image_as_rgb_is_three_equal_channels() -> None:
    image = noise(300, 280)
    pixels = PAPER_GEOMETRY.apply(image, "rgb")
    for channel in range(3):
        np.testing.assert_array_equal(pixels[..., channel], PAPER_GEOMETRY.apply(image, "grey"))
    np.testing.assert_array_equal(pixels, PAPER_GEOMETRY.apply(image.convert("RGB"), "rgb"))


def test_colour_image_as_grey_is_pillows_luma() -> None:
    image = noise(300, 280, 3)
    expected = torchvision_pixels(image.convert("L"), PAPER_GEOMETRY)
    np.testing.assert_array_equal(PAPER_GEOMETRY.apply(image, "grey"), expected)


def test_arrays_and_images_give_the_same() -> None:
    image = noise(300, 280, 3)
    from_array = PAPER_GEOMETRY.apply(np.asarray(image), "rgb")
    np.testing.assert_array_equal(from_array, PAPER_GEOMETRY.apply(image, "rgb"))
    with pytest.raises(TypeError, match=r"uint8 \[H, W\] or \[H, W, 3\] wanted, not float64"):
        PAPER_GEOMETRY.apply(np.zeros((4, 4)), "grey")


def test_spec_round_trip() -> None:
    geometry = Geometry("squash", 224, 224, "bicubic", {"percentiles": [1, 99]}, [1, 1, 2])
    assert geometry.to_spec() == {
        "resize": "squash",
        "resize_to": 224,
        "crop": 224,
        "interpolation": "bicubic",
        "window": {"percentiles": [1.0, 99.0]},
        "spacing": [1.0, 1.0, 2.0],
    }
    assert Geometry.from_spec(geometry.to_spec()) == geometry


def test_options_of_a_data_set_fill_in_window_and_spacing() -> None:
    options = {"window": {"percentiles": [0.5, 99.5]}, "spacing": None, "min_roi": 30}
    assert PAPER_GEOMETRY.with_options(options).window == {"percentiles": [0.5, 99.5]}
    assert PAPER_GEOMETRY.with_options(options).spacing is None
    assert PAPER_GEOMETRY.with_options({}) == PAPER_GEOMETRY


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"resize": "longer"}, "resize must be one of shorter, squash, not 'longer'."),
        (
            {"interpolation": "nearest"},
            "interpolation must be one of bilinear, bicubic, not 'nearest'.",
        ),
        ({"crop": 0}, "crop must be a whole number of pixels from 1 to 4096, not 0."),
        ({"resize_to": 2.5}, "resize_to must be a whole number of pixels from 1 to 4096, not 2.5."),
        (
            {"window": {"percentiles": [99, 1]}},
            "The percentiles of a window must be two numbers of 0 to 100, rising, not [99, 1].",
        ),
        (
            {"window": {"level": [0, 1]}},
            "The option window must be {percentiles: [low, high]} or {range: [low, high]}, or "
            "{znormalization: [low, high]}, percentiles and znormalization also together and with "
            "nonzero: true, not {'level': [0, 1]}.",
        ),
        (
            {"window": {"range": [0, 1], "nonzero": True}},
            "The option window must be {percentiles: [low, high]} or {range: [low, high]}, or "
            "{znormalization: [low, high]}, percentiles and znormalization also together and with "
            "nonzero: true, not {'range': [0, 1], 'nonzero': True}.",
        ),
        (
            {"window": {"znormalization": [3, -3]}},
            "The znormalization of a window must be two numbers, rising, not [3, -3].",
        ),
        ({"neighbours": 3}, "The option neighbours is true or false, not 3."),
        (
            {"spacing": [1, 0, 1]},
            "The option spacing must be three positive numbers (mm), not [1, 0, 1].",
        ),
    ],
)
def test_bad_geometry(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Geometry(**bad)
    assert str(caught.value) == message


def test_window_maps_linearly_and_clips() -> None:
    values = np.array([-np.inf, -5.0, 0.0, 5.0, 10.0, 20.0, np.inf, np.nan])
    np.testing.assert_array_equal(to_uint8(values, 0, 10), [0, 0, 0, 128, 255, 255, 255, 0])


def test_large_arrays_are_windowed_in_pieces() -> None:
    values = np.random.default_rng(0).normal(500, 300, (700, 300))
    expected = np.rint(np.clip((values - 100) * 255 / 800, 0, 255))
    np.testing.assert_array_equal(to_uint8(values, 100, 900), expected)
    np.testing.assert_array_equal(to_uint8(values.T, 100, 900), expected.T)
    assert to_uint8(np.zeros((0, 4)), 0, 1).shape == (0, 4)


def test_window_limits_use_finite_values_only() -> None:
    values = np.array([np.nan, np.inf, -np.inf, *range(101)])
    assert window_limits(values, {"percentiles": [10, 90]}) == (10, 90)
    assert window_limits(values, {"range": [-100, 300]}) == (-100, 300)


def test_z_normalization_counted_by_hand() -> None:
    """Of 2, 4, 6 and 8 the mean is 5 and the deviation sqrt(5); 0 and NaN count for nothing."""
    values = np.array([0, 2, 4, 6, 8, np.nan])
    window = {"znormalization": [-1, 1], "nonzero": True}
    low, high = window_limits(values, window)
    assert (low, high) == (5 - 5**0.5, 5 + 5**0.5)
    # 4 is -1 / sqrt(5) deviations off: (1 - 0.4472) / 2 * 255 = 70.48.
    assert windowed(values, window).tolist() == [0, 0, 70, 185, 255, 0]
    # Over 0, 2, 4, 6 and 8 the mean is 4 and the deviation sqrt(8).
    assert window_limits(values, {"znormalization": [-1, 1]}) == (4 - 8**0.5, 4 + 8**0.5)


def test_percentiles_of_what_is_not_zero() -> None:
    values = np.array([0] * 900 + list(range(1, 102)))
    assert window_limits(values, {"percentiles": [10, 90], "nonzero": True}) == (11, 91)


def test_clipping_comes_before_z_normalization() -> None:
    """Of 1 to 5 and 900, clipped to the percentiles 20 and 80 (2 and 5), the mean is 3.5."""
    values = np.array([1, 2, 3, 4, 5, 900, 0], np.int16)
    window = {"percentiles": [20, 80], "znormalization": [-4, 4], "nonzero": True}
    clip = clipped(values, window)
    assert clip.tolist() == [2, 2, 3, 4, 5, 5, 0]
    deviation = (np.array([2.25, 2.25, 0.25, 0.25, 2.25, 2.25]).sum() / 6) ** 0.5
    assert window_limits(clip, window) == (3.5 - 4 * deviation, 3.5 + 4 * deviation)
    found = windowed(values, window)
    assert found[0] == found[1]
    assert found[4] == found[5] == round((1.5 / deviation + 4) / 8 * 255)


def test_windows_that_cannot_be_found() -> None:
    zeros = np.array([0.0, 0, np.nan])
    with pytest.raises(ValueError, match="^all intensities are 0, and the window is that of those"):
        window_limits(zeros, {"znormalization": [-1, 1], "nonzero": True})
    with pytest.raises(ValueError, match="^the intensities are all 0, so the image would be blank"):
        window_limits(zeros, {"znormalization": [-1, 1]})


def test_a_window_has_one_form_in_keys() -> None:
    one = Geometry(window={"nonzero": False, "percentiles": (1, 99)}).to_spec()
    assert one == Geometry(window={"percentiles": [1.0, 99.0]}).to_spec()
    assert "nonzero" in Geometry(window={"percentiles": [1, 99], "nonzero": True}).window
    plain, stacked = Geometry().to_spec(), Geometry(neighbours=True).to_spec()
    assert "neighbours" not in plain
    assert stacked == {**plain, "neighbours": True}
    assert Geometry.from_spec(stacked) == Geometry(neighbours=True)


def test_window_that_would_make_a_blank_image_is_refused() -> None:
    values = np.zeros(1000)
    values[0] = 7
    with pytest.raises(ValueError, match="^the percentiles") as caught:
        window_limits(values, {"percentiles": [0.5, 99.5]})
    assert str(caught.value) == (
        "the percentiles 0.5 and 99.5 of the intensities are both 0, so the image would be "
        "blank; choose a wider window"
    )
    with pytest.raises(ValueError, match="^no intensity is a finite number$"):
        window_limits(np.full(3, np.nan), {"percentiles": [0, 100]})
