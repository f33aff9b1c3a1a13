"""The page of a study of depth: the answer first, the rest folded, and short however large."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from depth_runs import PLACES, READ, depth_run, reading, training

from frostline.report import write_report
from frostline.report.depth.chart import depth_chart
from frostline.report.depth.curve import Point, depth_curves
from frostline.report.depth.overview import depth_table
from frostline.report.depth.sentences import depth_sentences
from frostline.report.notes import in_words

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
SCREEN = {"width": 1280, "height": 800}
DATASETS = ("chest-xray", "brain-mri", "skin-lesions", "glioma-grades", "retina-oct")
BACKBONES = ("resnet50", "vit_base_patch14_dinov2", "effnet-lite0")
DEPTHS = {"none": 1.2, "1": 1.5, "3": 1.8, "5": 1.7, "all": 1.5}
MOST_BYTES, MOST_SCREENS = 2_500_000, 4


def history(seed: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [
        {"epoch": e, "train_loss": 1 / e, "val_loss": 1.2 / e + 0.05 * rng.random()}
        for e in range(1, 11)
    ]


def depth_study(dataset, backbones=BACKBONES, seeds=3, depths=DEPTHS, gain=0.0):
    """Runs of one data set, each backbone trained at some depths, and its curves."""
    runs, points = [], []
    for number, backbone in enumerate(backbones):
        how = {"dataset": dataset, "backbone": backbone, "patients": 60}
        more = 0.2 * number + gain
        for place, skill in zip(PLACES, READ, strict=True):
            one = depth_run(skill + more, feature=f"layer:{place.block}", **how)
            points.append(Point("read", place, [one]))
        for unfreeze, skill in depths.items():
            how |= {"unfreeze": unfreeze, "head": "linear", "seconds": 300.0}
            if unfreeze != "none":
                how |= {"history": history(number), "best_epoch": 7}
            mine = [depth_run(skill + more, seed, **how) for seed in range(seeds)]
            runs += mine
            if unfreeze != "none":
                place = None if unfreeze == "all" else PLACES[-1 - int(unfreeze)]
                points.append(Point("train", place, mine))
    places = dict.fromkeys(backbones, PLACES)
    return runs, depth_curves(points, places, metric="balanced_accuracy", replicates=200)


def write(folder, runs, depths, **options):
    options = {"figure_formats": ["svg"], "replicates": 100} | options
    return write_report(
        folder, runs, title="Depth", primary="balanced_accuracy", depths=depths, **options
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two data sets, two backbones."""
    made = [
        depth_study(name, BACKBONES[:2], 1, {"none": 1.2, "3": 1.8}, gain)
        for name, gain in (("chest/x ray", 0.0), ("skin", 0.3))
    ]
    runs = [run for own, _ in made for run in own]
    depths = [curves for _, curves in made]
    folder = tmp_path_factory.mktemp("small")
    formats = ["svg", "png", "pdf"]
    return depths, write(folder, runs, depths, figure_formats=formats), runs


def visible(text: str) -> str:
    """Text of a page without what is folded, as a browser shows it; `open` details are."""
    body = text[text.index("<body>") : text.index("<script>")]
    closed = re.compile(
        r"<details(?: class=\"[^\"]*\")?>(?:(?!<details|</details>).)*</details>", re.DOTALL
    )
    while closed.search(body):
        body = closed.sub("", body)
    body = re.sub(r"<style>.*?</style>", "", body, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).replace("\N{NO-BREAK SPACE}", " ").split())


def test_the_page_opens_with_depth(small):
    depths, paths, _ = small
    text = paths["index.html"].read_text()
    shown = visible(text)
    sentences = [one for curves in depths for one in depth_sentences(curves)]
    places = [shown.index(one) for one in sentences if one.startswith("Read ")]
    assert len(places) == 4
    assert places == sorted(places)
    assert shown.index("chest/x ray") < places[0]
    # Sentences, picture, a row for each data set and backbone, then folded parts.
    assert max(places) < shown.index("Where to read each backbone") < shown.index("Made by")
    assert text.index("Read resnet50") < text.index("<svg") < text.index("<table")
    (table,) = re.findall(r"Where to read each.*?</table>", text, re.DOTALL)
    assert table.count("<tr ") == 1 + 4
    for link in re.findall(r'href="#([^"]+)"', table):
        assert text.count(f'id="{link}"') == 1


def test_the_rows_say_what_the_sentences_say(small):
    depths, *_ = small
    table = depth_table(depths)
    assert [column.heading for column in table.columns] == [
        *("Data set", "Backbone", "Read", "Balanced accuracy (%)", "Last layer", "Training"),
        *("Trained", "Cost"),
    ]
    rows = iter(table.rows)
    for curves in depths:
        for backbone in BACKBONES[:2]:
            cells = [cell.text for cell in next(rows).cells]
            part = curves.table[curves.table["backbone"] == backbone]
            (read,) = part[part["chosen"] & (part["road"] == "read")].to_dict("records")
            assert cells[:3] == [part["dataset"].iloc[0], backbone, f"block {read['depth']} of 7"]
            assert cells[3] == f"{100 * read['estimate']:.1f}"
            asked = curves.differences.query("backbone == @backbone").set_index("question")
            # The last layer less what is read: the other way round than the comparison.
            last, trained = (asked.loc[name, "difference"] for name in ("last layer", "training"))
            assert float(cells[4].split(",")[0].replace("−", "-")) == round(-100 * last, 1)
            assert float(cells[5].split(",")[0].replace("−", "-")) == round(100 * trained, 1)
            assert cells[7] == f"{100 * read['cost']:.0f}% to read"


def test_depth_is_a_table_and_a_figure_like_every_other(small):
    depths, paths, _ = small
    table = pd.concat([curves.table for curves in depths], ignore_index=True)
    assert paths["tables/depth.csv"].read_text() == in_words(table).to_csv(
        index=False, lineterminator="\n"
    )
    names = [
        f"figures/depth-{name}.{kind}"
        for name in ("chest-x-ray", "skin")
        for kind in ("svg", "png", "pdf")
    ]
    assert set(names) <= set(paths)
    assert all(paths[name].stat().st_size > 5_000 for name in names)


def test_the_terminal_answer_opens_with_sentences_and_chart(small):
    depths, paths, _ = small
    text = paths["answer.txt"].read_text()
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    place = 0
    for curves in depths:
        assert depth_chart(curves, 80) in text
        for one in (*depth_sentences(curves), depth_chart(curves, 80)):
            words = " ".join(one.split())
            place = flat.index(words, place) + len(words)
    # Then the table of scores. No interval is broken over two lines.
    assert "majority class" in flat[place:]
    assert not re.search(r"\[[^\]]*\n", text)


def test_figures_of_depth_are_drawn_once(small, monkeypatch, tmp_path):
    depths, _, runs = small
    depths, runs = depths[:1], runs[:2]
    first = write(tmp_path, runs, depths)["index.html"].read_bytes()

    def fail(*args, **kwargs):
        raise AssertionError("drawn again")

    monkeypatch.setattr("frostline.report.page.drawing.depth_figure", fail)
    assert write(tmp_path, runs, depths)["index.html"].read_bytes() == first


def test_one_data_set_of_one_backbone_says_everything(tmp_path):
    points = reading(shift=1.2, patients=400) + training({"3": 1.8}, patients=400)
    curves = depth_curves(points, {"effnet-lite0": PLACES})
    runs = [run for point in points[-1:] for run in point.runs]
    shown = visible(write(tmp_path, runs, [curves])["index.html"].read_text())
    for sentence in depth_sentences(curves):
        assert sentence in shown


def test_what_validation_cannot_speak_for_is_never_folded(tmp_path):
    found = []
    for name in ("a", "b", "c", "d", "e"):
        points = [
            replace(
                point, runs=[replace(run, meta=run.meta | {"dataset": name}) for run in point.runs]
            )
            for point in reading(shift=1.2, patients=400)
        ]
        found.append(depth_curves(points, {"effnet-lite0": PLACES}, replicates=100))
    runs = [depth_run(1.2, dataset="a")]
    shown = visible(write(tmp_path, runs, found)["index.html"].read_text())
    assert shown.count("Validation does not speak for this test set") == len(found)
    assert "whether its last layer is better" not in shown


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """5 data sets × 3 backbones × 5 depths × 3 seeds."""
    made = [depth_study(name, gain=0.05 * i) for i, name in enumerate(DATASETS)]
    runs = [run for own, _ in made for run in own]
    assert len(runs) == 5 * 3 * 5 * 3
    folder = tmp_path_factory.mktemp("large")
    return write(folder, runs, [curves for _, curves in made])["index.html"]


@pytest.mark.slow
def test_the_page_of_a_large_study_is_small(large):
    assert large.stat().st_size <= MOST_BYTES
    text = large.read_text()
    # By count, where there is no browser: first sentences alone, and one picture.
    shown = visible(text)
    assert shown.count("Read ") == 15 + 1
    assert len(re.findall(r"<details open", text)) == 1 + 4


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_large_study_opens_within_four_screens(large, scheme):
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        page = chromium.new_page(viewport=SCREEN, color_scheme=scheme)
        page.goto(large.as_uri())
        height = page.evaluate("document.documentElement.scrollHeight")
        assert height <= MOST_SCREENS * SCREEN["height"]
        assert page.evaluate("document.documentElement.scrollWidth") <= SCREEN["width"]
        # The first picture is on the first screen, in the page's ink.
        picture = page.locator("figure.depth svg").first
        assert picture.bounding_box()["y"] < SCREEN["height"] / 2
        ink = picture.locator("text").first.evaluate("one => getComputedStyle(one).fill")
        assert ink == page.evaluate("getComputedStyle(document.body).color")
        # On a telephone the picture is one of a column, which is not scrolled sideways.
        page.set_viewport_size({"width": 375, "height": 800})
        figures = page.locator("figure.depth")
        assert set(figures.evaluate_all("all => all.map(e => e.scrollWidth - e.clientWidth)")) == {
            0
        }
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        letters = page.locator("figure.depth .narrow text").first
        assert letters.evaluate("one => one.getBoundingClientRect().height") > 8
        chromium.close()
