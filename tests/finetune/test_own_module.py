"""A network of the user's own is fine-tuned, saved, loaded and applied."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import frostline
from frostline.apply import predict_alone
from frostline.apply.load import Weights, load_run
from frostline.apply.predict import predict_images
from frostline.cache import InputError, Workspace
from frostline.cli import app
from frostline.extract.backbones.backbone import load_backbone
from frostline.finetune import load_model
from frostline.finetune.model import Classifier
from frostline.finetune.unfreeze import unfreeze
from frostline.report import read_predictions
from frostline.stages import Machine, Network, finetune

CPU = Machine("cpu")
CHANGES = {"epochs": 2, "lr": 1e-2, "batch_size": 8}


class TinyNet(nn.Module):
    """Two convolutions; what they are called, no library knows."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 4, 3, stride=2)
            self.norm = nn.BatchNorm2d(4)
            self.second = nn.Conv2d(4, 6, 3, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.norm(self.first(images)).relu()).mean(dim=(2, 3))


class Staged(nn.Module):
    """A network whose stages are the children of `features`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 6, 3)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.features(images).mean(dim=(2, 3))


PAGE = Path(__file__).resolve().parents[2] / "docs" / "finetuning.md"


def index(root: Path, name: str, workspace: Path) -> Workspace:
    """Index forty images of two kinds."""
    rng = np.random.default_rng(0)
    for number in range(40):
        label = "sick" if number % 2 else "well"
        pixels = rng.integers(0, 100, (32, 32, 3), dtype=np.uint8)
        pixels[..., 0] += 100 * (label == "sick")
        path = root / label / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    place = ("--root", str(root), "--workspace", str(workspace))
    app(["index", name, *place], standalone_mode=False)
    return Workspace(workspace)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return index(tmp_path / "images", "set", tmp_path / "ws")


def test_the_example_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    index(Path("images"), "chest", Path("frostline-workspace"))
    (example,) = re.findall(r"```python\n(.*?class SmallNet.*?)```", PAGE.read_text("utf-8"), re.S)
    names: dict[str, Any] = {}
    exec(compile(example, "finetuning.md", "exec"), names)
    assert names["card"]["trained_blocks"] == ["features.1"]
    assert names["card"]["run"] == names["tuned"].predictions.run
    assert "accuracy" in set(names["scores"]["metric"])


@pytest.mark.parametrize("protocol", ["paper", "standard"])
@pytest.mark.parametrize("how", ["none", "all"])
def test_a_module_is_trained_saved_and_applied(
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    how: str,
    protocol: str,
) -> None:
    network, before = TinyNet(), TinyNet().state_dict()
    chosen = Network(network, protocol=protocol, image_size=32)
    run, new = finetune(workspace, "set", chosen, unfreeze=how, machine=CPU, changes=CHANGES)
    assert new
    assert finetune(workspace, "set", chosen, unfreeze=how, machine=CPU, changes=CHANGES) == (
        run,
        False,
    )
    # The user's own module is as it was.
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    found = read_predictions(workspace.predictions(run))
    assert (found.meta["backbone"], found.meta["weights"]) == ("TinyNet", "own module")
    loaded = load_run(workspace, run, weights=Weights(module=TinyNet(seed=5)))
    paths = [tmp_path / "images" / name for name in found.table["image_id"]]
    again = predict_images(loaded, paths).table
    np.testing.assert_array_equal(again["prob_sick"].to_numpy(), found.table["prob_sick"])
    ws = frostline.Workspace(workspace.root)
    same = ws.predict(run, paths, module=TinyNet(seed=5), machine=CPU).table
    model = ws.export(run, tmp_path / "own.onnx", module=TinyNet(seed=5))
    capsys.readouterr()
    predict_alone.main(str(model), *map(str, paths))
    alone = pd.read_csv(io.StringIO(capsys.readouterr().out))
    np.testing.assert_allclose(alone["prob_sick"], same["prob_sick"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(same["prob_sick"].to_numpy(), found.table["prob_sick"])
    with pytest.raises(InputError) as caught:
        load_run(workspace, run)
    assert str(caught.value) == (
        f"The backbone of the model in {workspace.model(run)} is a module of your own, 'TinyNet': "
        "give one like it in Python, such as `ws.predict(run, images, module=...)`."
    )
    with pytest.raises(InputError, match="is damaged or of another model"):
        load_model(workspace.model(run), Staged())


def test_other_weights_of_a_module_are_another_run(workspace: Workspace) -> None:
    runs = [
        finetune(
            workspace,
            "set",
            Network(network, image_size=32, name=name),
            unfreeze="none",
            machine=CPU,
            changes=CHANGES,
        )[0]
        for network, name in ((TinyNet(), None), (TinyNet(seed=1), None), (TinyNet(), "mine"))
    ]
    assert len(set(runs)) == 3
    assert "-mine-" in runs[2]


def test_blocks_of_a_module_are_unfrozen_where_they_are_known() -> None:
    staged = Classifier(load_backbone(Staged(), image_size=32), 2, seed=0)
    assert unfreeze(staged, "1") == ["features.3"]
    trained = [name for name, p in staged.backbone.named_parameters() if p.requires_grad]
    assert trained == ["module.features.3.weight", "module.features.3.bias"]
    tiny = Classifier(load_backbone(TinyNet(), image_size=32), 2, seed=0)
    with pytest.raises(InputError) as caught:
        unfreeze(tiny, "1")
    assert str(caught.value) == (
        "Unfreeze must be none, all, norm or lora for backbone 'TinyNet', whose blocks are not "
        "known, not '1'."
    )
