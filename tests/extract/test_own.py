"""A user's own module and transform, where names of backbones and protocols go."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

import frostline
from frostline.apply.load import Weights, load_run
from frostline.cache import EmbeddingStore, InputError, Workspace, find_stores
from frostline.doctor.stores import check_store
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.backbones.identity import identify_backbone
from frostline.extract.embed import embed_images, embedding_spec
from frostline.extract.images.transform import Transform
from frostline.extract.index import index_dataset
from frostline.extract.pixels import pixel_source
from frostline.probe.run import probe_head
from frostline.report import read_predictions
from frostline.stages import Machine, Network, extract

from .test_embed import NORMALISATION, make_images

SIDE = 32
PREPARE = v2.Compose(
    [
        v2.Resize((SIDE, SIDE)),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.25] * 3),
    ]
)


def net(seed: int = 0, width: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    layers = {"conv": nn.Conv2d(3, width, 3), "norm": nn.BatchNorm2d(width), "act": nn.ReLU()}
    return nn.Sequential(OrderedDict(layers))


class Vectors(nn.Module):
    """Gives what a function makes of its images."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Any:
        return self.function(images)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws")
    index_dataset(workspace, "set", roots=[make_images(tmp_path / "images", 12)])
    return workspace


def test_a_module_is_embedded_and_probed_by_its_name(place: Workspace, tmp_path: Path) -> None:
    module = net().train()
    network = Network(module, name="my-net", image_size=SIDE)
    done = extract(place, "set", network, machine=Machine("cpu"))
    assert (done.images, done.embedded) == (12, 12)
    assert module.training  # the user's own is left as it is
    store = EmbeddingStore.open(place, "set", "my-net", done.key)
    X, _, _ = store.arrays("train")
    assert X.shape[1] == 8
    again = extract(place, "set", network, machine=Machine("cpu"))
    assert (again.key, again.embedded) == (done.key, 0)
    run, trained = probe_head(place, "set", "my-net", head="centroid")
    assert trained
    assert "my-net" in run
    with pytest.raises(
        InputError, match="was trained on embeddings of your own module 'my-net', w"
    ):
        load_run(place, run, device="cpu")
    with pytest.raises(
        InputError, match="was trained on my-net with other weights than own module"
    ):
        load_run(place, run, weights=Weights(module=net(seed=1)))
    face = frostline.Workspace(place.root)
    new = face.predict(run, tmp_path / "images", module=module).table
    own = read_predictions(place.predictions(run)).table.set_index("image_id")
    own = own[own["split"] == "test"]  # answers of the head that is kept
    new.index = [str(Path(image).relative_to(tmp_path / "images")) for image in new["image_id"]]
    names = ["prob_a", "prob_b"]
    np.testing.assert_allclose(new.loc[own.index, names], own[names], atol=1e-6)


def test_a_transform_gives_what_the_module_sees(place: Workspace, tmp_path: Path) -> None:
    module = net().eval()
    done = extract(place, "set", Network(module, transform=PREPARE), machine=Machine("cpu"))
    store = EmbeddingStore.open(place, "set", "Sequential", done.key)
    X = store.store.read(store.store.locate(store.manifest.keys()))
    for image_id, row in zip(store.manifest.table["image_id"], X, strict=True):
        with Image.open(tmp_path / "images" / image_id) as image, torch.inference_mode():
            expected = module(PREPARE(image.convert("RGB"))[None]).mean((2, 3))[0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert not find_stores(place.pixels("set"))  # floats are not kept
    spec = store.store.spec
    assert spec["pixels"]["geometry"]["transform"] == " ".join(repr(PREPARE).split())
    assert spec["pixels"]["geometry"]["crop"] == SIDE
    assert spec["normalisation"] == {"mean": [0, 0, 0], "std": [1, 1, 1]}


def test_eight_bits_of_a_transform_are_kept_and_normalised(place: Workspace) -> None:
    def small(image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.NEAREST))

    network = Network(net(), transform=Transform(small, name="small"))
    first = extract(place, "set", network, machine=Machine("cpu"))
    assert (first.embedded, first.decoded) == (12, 12)
    other = Network(net(1), transform=Transform(small, name="small"))
    second = extract(place, "set", other, machine=Machine("cpu"))
    assert (second.embedded, second.decoded) == (12, 0)
    assert [line.split(":")[0] for line in second.differs] == ["weights"]
    renamed = Network(net(), transform=Transform(small, name="small 2"))
    assert extract(place, "set", renamed, machine=Machine("cpu")).decoded == 12


def test_functions_take_a_module_and_a_callable(place: Workspace, tmp_path: Path) -> None:
    module = net()
    manifest = index_dataset(place, "set", roots=[tmp_path / "images"])
    source = pixel_source(place, manifest, PREPARE)
    known = identify_backbone(module)
    assert known.weights_source == "own module"
    spec = embedding_spec(source, module, known.weights, known.feature, NORMALISATION)
    assert spec["backbone"] == "Sequential"
    done = embed_images(place, source, spec, lambda: load_backbone(module, image_size=SIDE))
    assert done.embedded == 12


def test_layers_of_a_module() -> None:
    backbone = load_backbone(net(), feature="layer:module.conv", image_size=SIDE)
    assert (backbone.dim, backbone.feature) == (8, "layer:module.conv")
    with pytest.raises(
        InputError, match=r"^Backbone 'Sequential' has no layer 'conv'; .*module.co"
    ):
        identify_backbone(net(), feature="layer:conv")


# identity


def test_a_modules_digest_is_of_its_state_class_and_printed_form() -> None:
    def digest(module: nn.Module) -> str:
        return identify_backbone(module).weights

    assert digest(net()) == digest(net().train()) == load_backbone(net()).weights
    changed = net()
    with torch.no_grad():
        changed.conv.bias[0] += 1e-6  # type: ignore[union-attr, operator]
    buffer = net()
    buffer.register_buffer("scale", torch.ones(1), persistent=False)
    strided = net()
    strided.conv.stride = (2, 2)  # type: ignore[union-attr, assignment]
    found = [net(), net(1), changed, buffer, strided, nn.ModuleList(net().children())]
    assert len({digest(module) for module in found}) == len(found)
    # What is printed with an address is the same module in another process.
    assert digest(Vectors(lambda x: x)) == digest(Vectors(lambda x: x))


def test_names_of_modules() -> None:
    with pytest.raises(InputError) as caught:
        identify_backbone(net(), name="vgg16")
    assert str(caught.value) == (
        "'vgg16' is the name of another backbone: give your module a name of its own, "
        "name='my-net'."
    )


@pytest.mark.parametrize("find", [identify_backbone, load_backbone])
def test_a_module_has_its_own_weights(find: Callable[..., object]) -> None:
    with pytest.raises(InputError, match=r"has its weights already: load w\.pth into it"):
        find(net(), weights="w.pth")
    with pytest.raises(InputError, match="how to draw random weights for module 'Sequential'"):
        find(net(), weights="random")


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: x.flatten(2), r"\[1, 3, 1024\]"),
        (lambda x: x.sum(), r"\[\]"),
        (lambda x: (x, x), "tuple"),
        (lambda x: torch.cat([x, x]).mean((2, 3)), r"\[2, 3\]"),
        (lambda x: x.flatten(1)[:, :0], r"\[1, 0\]"),
    ],
)
def test_other_outputs_are_refused(function: Callable[[Tensor], Any], shape: str) -> None:
    with pytest.raises(InputError, match=rf"Vectors gives {shape} for 1 images, where \[n, dim\]"):
        load_backbone(Vectors(function), image_size=SIDE)


def test_a_size_that_a_module_cannot_take() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    with pytest.raises(InputError, match=r"cannot take float images \[1, 3, 32, 32\] \(mat1"):
        load_backbone(module, image_size=SIDE)
    assert load_backbone(module, image_size=16).dim == 4


class Shift(nn.Module):
    """A transform whose parameter is in no printed form."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, image: Image.Image) -> Image.Image:
        return image.rotate(self.by)


@pytest.mark.parametrize(
    "function",
    [
        lambda image: image,
        v2.Compose([v2.Resize(32), v2.Lambda(lambda image: image)]),
        torchvision.transforms.Compose([torchvision.transforms.Lambda(np.asarray)]),
        Shift(3),
        v2.Compose([v2.Resize(32), Shift(3)]),
        nn.Sequential(Shift(3)),
    ],
)
def test_a_transform_that_hides_its_parameters_needs_a_name(function: Any) -> None:
    with pytest.raises(InputError, match=r"does not show its parameters, .*: give it a name, Tr"):
        Transform(function)
    assert Transform(function, name="mine").to_spec()["transform"] == "mine"


@pytest.mark.parametrize(
    "function",
    [
        PREPARE,
        torchvision.models.ResNet18_Weights.DEFAULT.transforms(),
        torchvision.transforms.Compose(
            [torchvision.transforms.CenterCrop(32), torchvision.transforms.ToTensor()]
        ),
    ],
)
def test_the_librarys_transforms_name_themselves(function: Any) -> None:
    assert Transform(function).to_spec()["transform"] == " ".join(repr(function).split())
    assert Transform(function) == Transform(function) != Transform(v2.CenterCrop(7))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (np.zeros((4, 4), np.uint8), (4, 4, 3)),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), (4, 4, 3)),
        (torch.zeros(3, 4, 4, dtype=torch.float64), (3, 4, 4)),
        (Image.new("L", (4, 4)), (4, 4, 3)),
    ],
)
def test_what_a_transform_may_give(given: Any, found: tuple[int, ...]) -> None:
    transform = Transform(lambda image: given, name="x")
    assert transform.apply(Image.new("RGB", (9, 9)), "rgb").shape == found
    assert transform.crop == 4


@pytest.mark.parametrize(
    "given",
    [torch.zeros(1, 4, 4), torch.zeros(3, 4, 5), np.zeros((4, 4, 3), np.int64), np.zeros(3)],
)
def test_what_a_transform_may_not_give(given: Any) -> None:
    with pytest.raises(
        InputError, match=r"^The transform x gives .*, where a float tensor \[3, si"
    ):
        Transform(lambda image: given, name="x")


def test_images_of_several_sizes_are_named(place: Workspace) -> None:
    transform = Transform(lambda image: np.asarray(image)[:, : image.height], name="as it is")
    with pytest.raises(
        InputError, match=r"^Cannot read image .*png: the transform gives uint8 \[80"
    ):
        extract(place, "set", Network(net(), transform=transform), machine=Machine("cpu"))


def test_a_transform_decides_the_size(place: Workspace) -> None:
    with pytest.raises(InputError, match="^Your own transform decides the size: leave out --image"):
        extract(place, "set", Network(net(), image_size=32, transform=PREPARE))


def test_the_doctor_does_not_check_what_only_the_user_can_make(place: Workspace) -> None:
    for network, reason in (
        (Network(net(), image_size=SIDE), r"its weights \(own module, digest "),
        (Network("timm:test_vit", "random", transform=PREPARE), "your own transform made its pix"),
    ):
        done = extract(place, "set", network, machine=Machine("cpu"))
        folder = place.embeddings("set", network.backbone_name) / done.key
        found = check_store(place, folder, 2)
        assert found.state == "note"
        assert re.search(rf"not checked because .*{reason}", found.found)


def test_engines_agree_on_an_own_module(place: Workspace) -> None:
    pytest.importorskip("onnxruntime")
    network = Network(net(), transform=PREPARE)
    done = extract(place, "set", network, machine=Machine("cpu", engine="onnx"))
    assert done.embedded == 12  # the engine compares its first batch with PyTorch's
