"""`--set FIELD=VALUE`: what it changes of a study, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from frostline.cache import InputError
from frostline.study.settings import replace_fields

from .small_study import study_at


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("seeds", "--set is FIELD=VALUE, such as seeds=[0,1,2], not 'seeds'."),
        ("seeds=[", "--set seeds: '[' is not YAML: line 1, column 2: expected the node content"),
        ("protocol.x.lr=1", "--set protocol.x.lr: there is no 'protocol'; there are name, "),
        ("protocols.cold.lr=1", "there is no 'cold'; there are frozen, tuned."),
        ("name.x=1", "--set name.x: there are no fields to set in 'small'."),
        ("sedes=[1]", "--set sedes: a study has no 'sedes'; there are name, title, datasets"),
        ("protocols.tuned.lrr=1", "has no key 'protocols.tuned.lrr': there are augmentation"),
        ("sweeps.few.protocol=tuned", "must be a protocol with unfreeze: none (frozen), not"),
        ("sweeps.few.draws=0", "sweeps.few.draws must be greater"),
    ],
)
def test_a_setting_that_cannot_be(tmp_path: Path, setting: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        study_at(tmp_path, setting)
    assert sentence in str(caught.value)


def test_settings_reach_every_name_and_leave_the_file_as_it_was() -> None:
    study = {"backbones": ["a", {"name": "b"}], "protocols": {"x": {}, "y": {"lr": 1}}, "seeds": 1}
    changed = replace_fields(
        study, ["backbones.*.weights=random", "protocols.*.lr=2", "seeds=[0, 1]"]
    )
    assert changed["backbones"] == [
        {"name": "a", "weights": "random"},
        {"name": "b", "weights": "random"},
    ]
    assert changed["protocols"] == {"x": {"lr": 2}, "y": {"lr": 2}}
    assert changed["seeds"] == [0, 1]
    assert study["backbones"] == ["a", {"name": "b"}]
