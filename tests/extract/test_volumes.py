from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from frostline.cache import InputError
from frostline.extract.images.decode import decode, decode_file
from frostline.extract.images.geometry import Geometry
from frostline.extract.images.opened import open_image
from frostline.extract.images.slices import check_rule, pick_slices
from frostline.extract.images.volumes import Volume, axial, facts, read_volume, resample

RNG = np.random.default_rng(0)
VALUES = RNG.integers(0, 1000, (8, 10, 6)).astype(np.int16)
WHOLE = {"percentiles": [0.0, 100.0]}


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(values, np.eye(4) if affine is None else affine).to_filename(path)
    return path


def message(path: Path, geometry: Geometry | None = None, frame: int | None = 0) -> str:
    with pytest.raises(InputError) as caught:
        decode(path, frame, geometry or Geometry("squash", 8, 8, window=WHOLE), "grey")
    return str(caught.value)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "SAR", "PIR", "ASL"])
@pytest.mark.parametrize("name", ["volume.nii", "volume.nii.gz"])
def test_any_orientation_gives_the_same_voxels(tmp_path: Path, axes: str, name: str) -> None:
    image = nib.Nifti1Image(VALUES, np.diag([2.0, 3.0, 4.0, 1.0]))
    codes = nib.orientations.axcodes2ornt(axes)
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), codes)
    turned = image.as_reoriented(turn)
    assert nib.aff2axcodes(turned.affine) == tuple(axes)
    turned.to_filename(tmp_path / name)
    volume = read_volume(tmp_path / name)
    assert_array_equal(volume.values, VALUES)
    assert_array_equal(volume.spacing, [2, 3, 4])
    assert volume.values.dtype == np.float32


def test_nifti_2(tmp_path: Path) -> None:
    nib.Nifti2Image(VALUES, np.eye(4)).to_filename(tmp_path / "two.nii.gz")
    assert_array_equal(read_volume(tmp_path / "two.nii.gz").values, VALUES)
    with open_image(tmp_path / "two.nii.gz") as opened:
        assert facts(opened) == (8, 10, "int16", "NIfTI")


def test_scl_slope_is_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.header.set_slope_inter(0.5, -10)
    image.to_filename(tmp_path / "scaled.nii")
    stored = np.asanyarray(nib.load(tmp_path / "scaled.nii").dataobj)
    assert_allclose(read_volume(tmp_path / "scaled.nii").values, stored, rtol=1e-6)
    assert nib.load(tmp_path / "scaled.nii").dataobj.slope == 0.5


@pytest.mark.parametrize("extra", [(1,), (1, 1)])
def test_a_single_volume_in_four_dimensions(tmp_path: Path, extra: tuple[int, ...]) -> None:
    path = save(tmp_path / "four.nii.gz", VALUES.reshape(VALUES.shape + extra))
    assert_array_equal(read_volume(path).values, VALUES)


def test_viewing_orientation() -> None:
    """Front up, the patient's left on the left."""
    values = np.zeros((4, 5, 1))
    values[3, 4, 0] = 1  # right, front
    values[0, 4, 0] = 2  # left, front
    assert axial(values, 0).shape == (5, 4)
    assert axial(values, 0)[0].tolist() == [2, 0, 0, 1]


def test_slices_are_windowed_by_the_volume(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", VALUES)
    geometry = Geometry("squash", 9, 9, window={"percentiles": [5, 95]})
    low, high = np.percentile(VALUES, [5, 95])
    frames = [4, 0, 4]
    for frame, pixels in zip(frames, decode_file(path, frames, geometry, "grey"), strict=True):
        scaled = np.clip((VALUES[:, :, frame] - low) * 255 / (high - low), 0, 255)
        expected = geometry.apply(np.rint(np.rot90(scaled)).astype(np.uint8), "grey")
        assert_array_equal(pixels, expected)


@pytest.mark.parametrize("neighbours", [False, True])
def test_a_volume_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, neighbours: bool
) -> None:
    path = save(tmp_path / "v.nii.gz", VALUES)
    opened = []
    read = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: opened.append(path) or read(path, mode))
    geometry = Geometry("squash", 8, 8, window=WHOLE, neighbours=neighbours)
    pixels = decode_file(path, range(6), geometry, "rgb")
    assert [image.shape for image in pixels] == [(8, 8, 3)] * 6
    assert opened == [path]


def test_nan_and_infinities(tmp_path: Path) -> None:
    values = np.arange(4 * 4 * 2, dtype=np.float32).reshape(4, 4, 2)
    values[0, 3, 0], values[1, 3, 0], values[2, 3, 0] = np.nan, np.inf, -np.inf
    path = save(tmp_path / "v.nii", values)
    pixels = decode(path, 0, Geometry("squash", 4, 4, window=WHOLE), "grey")
    assert pixels[0, :3].tolist() == [0, 255, 0]
    spaced = Geometry("squash", 4, 4, window=WHOLE, spacing=[1, 1, 1])
    assert_array_equal(decode(path, 0, spaced, "grey"), pixels)


def test_neighbours_are_the_other_channels(tmp_path: Path) -> None:
    """Below, itself, above; at the ends the slice itself twice."""
    values = np.full((4, 4, 3), 10, np.int16) * np.arange(3, dtype=np.int16)
    path = save(tmp_path / "v.nii", values)
    window = {"range": [0, 255]}
    stacked = Geometry("squash", 4, 4, window=window, neighbours=True)
    found = [pixels[0, 0].tolist() for pixels in decode_file(path, [0, 1, 2], stacked, "rgb")]
    assert found == [[0, 0, 10], [0, 10, 20], [10, 20, 20]]
    plain = Geometry("squash", 4, 4, window=window)
    assert decode(path, 1, plain, "rgb")[0, 0].tolist() == [10, 10, 10]
    # Slices 2 mm apart, resampled to 1 mm: 0, 5, 10, 15, 20; the neighbours are 1 mm away.
    path = save(tmp_path / "coarse.nii", values, np.diag([1.0, 1, 2, 1]))
    fine = Geometry("squash", 4, 4, window=window, spacing=[1, 1, 1], neighbours=True)
    assert decode(path, 1, fine, "rgb")[0, 0].tolist() == [0, 5, 10]
    assert decode(path, 4, fine, "rgb")[0, 0].tolist() == [15, 20, 20]
    one = save(tmp_path / "one.nii", values[..., 1:2])
    assert decode(one, 0, stacked, "rgb")[0, 0].tolist() == [10, 10, 10]


def test_a_volume_is_z_normalised_as_a_whole(tmp_path: Path) -> None:
    """Voxels that are not 0: 16 of 10 and 16 of 30, mean 20, deviation 10; NaN counts for none."""
    values = np.zeros((4, 4, 3), np.float32)
    values[..., 1], values[..., 2] = 10, 30
    values[0, 3, 0] = np.nan
    path = save(tmp_path / "v.nii", values)
    window = {"znormalization": [-2, 2], "nonzero": True}
    geometry = Geometry("squash", 4, 4, window=window)
    found = list(decode_file(path, [0, 1, 2], geometry, "grey"))
    # -1 and 1 deviations of -2 to 2: a quarter and three quarters of 255.
    assert [np.unique(pixels).tolist() for pixels in found] == [[0], [64], [191]]
    spaced = Geometry("squash", 4, 4, window=window, spacing=[1, 1, 1])
    assert_array_equal(decode(path, 0, spaced, "grey"), found[0])


@pytest.mark.parametrize(
    ("rule", "count", "expected"),
    [
        ("all", 3, [0, 1, 2]),
        ("middle:4", 10, [3, 4, 5, 6]),
        ("middle:3", 10, [3, 4, 5]),
        ("middle:4", 11, [3, 4, 5, 6]),
        ("middle:20", 3, [0, 1, 2]),
        ("middle:1", 1, [0]),
        ("every:3", 10, [0, 3, 6, 9]),
        ("every:30", 10, [0]),
    ],
)
def test_rules_for_slices(rule: str, count: int, expected: list[int]) -> None:
    assert list(pick_slices(rule, count)) == expected


@pytest.mark.parametrize(
    "rule", ["", "middle", "middle:0", "every:-1", "all:3", "every:x", 20, "½"]
)
def test_rules_that_are_none(rule: object) -> None:
    with pytest.raises(InputError) as caught:
        check_rule(rule)
    assert str(caught.value) == (
        "The option slices must be all, middle:N or every:N with N from 1, such as middle:20 or "
        f"every:3, not {rule!r}."
    )


def test_bad_volumes_are_named(tmp_path: Path) -> None:
    def path(name: str) -> Path:
        return tmp_path / name

    save(path("many.nii"), np.zeros((4, 4, 4, 3), np.int16))
    save(path("flat.nii"), np.zeros((4, 4), np.int16))
    save(path("complex.nii"), np.zeros((4, 4, 4), np.complex64))
    save(path("constant.nii"), np.full((4, 4, 4), 7, np.int16))
    save(path("good.nii.gz"), VALUES)
    save(path("good.nii"), VALUES)
    for name in ("nii.gz", "nii"):
        path(f"cut.{name}").write_bytes(path(f"good.{name}").read_bytes()[:-200])
    nib.Nifti1Image(VALUES, np.diag([-1.0, 1, 1, 1])).to_filename(path("turned.nii"))
    path("turned.nii").write_bytes(path("turned.nii").read_bytes()[:-200])
    bent = bytearray(path("good.nii").read_bytes())
    struct.pack_into("<hh3f", bent, 252, 1, 0, 1, 1, 1)  # qform_code, sform_code, quatern_b, c, d
    path("bent.nii").write_bytes(bent)
    path("head.nii").write_bytes(bent[:300])
    path("empty.nii.gz").touch()
    path("text.nii").write_text("text")
    reasons = {
        "many.nii": "it holds several volumes (4 x 4 x 4 x 3); save the one you mean as a volume "
        "of its own",
        "flat.nii": "it has 4 x 4 voxels, which is no volume",
        "complex.nii": "voxels of type complex64 are not supported",
        "constant.nii": "the percentiles 0 and 100 of the intensities are both 7, so the image "
        "would be blank; choose a wider window",
        "bent.nii": "its qform is no rotation; mend the header, or give it an sform alone",
        "empty.nii.gz": "the file is empty",
        "cut.nii": "it is cut off, after 1112 of 1312 bytes",
        "turned.nii": "it is cut off, after 1112 of 1312 bytes",
        "cut.nii.gz": "it is cut off, in the middle of its compressed data",
        "missing.nii": "there is no such file",
    }
    for name, reason in reasons.items():
        assert message(path(name)) == f"Cannot read image {path(name)}: {reason}."
    assert message(path("text.nii")).startswith(f"Cannot read image {path('text.nii')}: ")
    for name in ("cut.nii.gz", "cut.nii", "text.nii"):
        with open_image(path(name)) as opened:
            assert facts(opened) is None


def test_a_volume_needs_a_window_and_a_slice_of_its_own(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii", VALUES)
    assert message(path, Geometry()) == (
        f"Cannot read image {path}: intensities of a volume need a window (percentiles or a range)."
    )
    for frame in (None, -1, 6):
        assert message(path, frame=frame) == (
            f"Cannot read image {path}: it has axial slices 0 to 5, not {frame}."
        )


@given(
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    old=st.tuples(*[st.floats(0.5, 4)] * 3),
    new=st.tuples(*[st.floats(0.5, 4)] * 3),
)
def test_resampling_keeps_a_linear_ramp(shape: tuple, old: tuple, new: tuple) -> None:
    """Linear interpolation is exact on a plane, and positions in mm stay what they are."""
    affine = np.diag([*old, 1.0])
    affine[:3, 3] = [5, -7, 11]

    def ramp(shape: tuple, affine: np.ndarray) -> np.ndarray:
        voxels = np.stack([*np.indices(shape), np.ones(shape)])
        return np.einsum("i,ij,jxyz->xyz", [1, 2, 3, 0], affine, voxels)

    volume = Volume(ramp(shape, affine), affine)
    result = resample(volume, new, order=1)
    assert_allclose(result.spacing, new)
    assert_allclose(result.values, ramp(result.values.shape, result.affine), atol=1e-3)
    assert all(np.array(result.values.shape) >= 1)
    far = (np.array(shape) - 1) * old - (np.array(result.values.shape) - 1) * np.array(new)
    assert (far > -1e-3).all()
    assert (far < np.array(new)).all()


def test_masks_stay_masks() -> None:
    mask = Volume((RNG.random((8, 8, 4)) > 0.5).astype(np.float32), np.eye(4))
    assert set(np.unique(resample(mask, [0.7, 1.3, 0.5], order=0).values)) == {0, 1}
