"""The page in a real browser: it sorts, filters, switches theme, prints, and is accessible."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frostline.report import Embedded, Images, write_report

HOSTILE = ("<script>alert(1)</script>", "\"' onload=alert(1) & `x`", "x" * 200, "שלום\u202egnp")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here (apt-get install chromium)"
)


def write(folder: Path, runs, **options) -> Path:
    return write_report(folder, runs, replicates=100, figure_formats=["svg"], **options)[
        "index.html"
    ]


@pytest.fixture(scope="module")
def study(run, data_audits, tmp_path_factory) -> Path:
    """Two data sets with all that a page can have, seeds, maps and images included."""
    history = [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.1 / e} for e in (1, 2, 3)]
    runs = [
        run(
            classes,
            run=f"{dataset}-{backbone}-{way}-{seed}",
            seed=hash_of(backbone, way, seed),
            dataset=dataset,
            backbone=backbone,
            unfreeze=way,
            skill=skill,
            candidates=3,
            seconds=9.0,
            history=history if way == "all" else None,
            best_epoch=2,
        )
        for dataset, classes in (("chest", ("NORMAL", "PNEUMONIA")), ("skin", tuple("abcdefg")))
        for backbone, skill in (("resnet50", 1.0), ("vgg16", 2.5))
        for way in ("none", "all")
        for seed in (0, 1)
    ]
    for one, seed in zip(runs, [0, 1] * 8, strict=True):
        one.meta["seed"] = seed
    rng = np.random.default_rng(0)
    embedded = Embedded(
        rng.normal(size=(15, 4)), list("ab") * 7 + ["a"], [str(i // 3) for i in range(15)]
    )
    return write(
        tmp_path_factory.mktemp("study"),
        runs,
        title="A study",
        audits=data_audits,
        embeddings={"chest": {"resnet50": embedded}},
        backbones={"vgg16": {"parameters": 1e8}},
        images=Images(lambda dataset, ids: dict.fromkeys(ids, np.eye(24, dtype=np.uint8)), near),
    )


def near(dataset: str, ids: list[str]) -> pd.DataFrame:
    """Three training images near each, with hostile labels."""
    rows = [(name, f"train {n}", HOSTILE[n], n / 10) for name in ids for n in range(3)]
    return pd.DataFrame(rows, columns=["image_id", "nearest", "label", "distance"])


def hash_of(*words: object) -> int:
    return sum(map(ord, "".join(map(str, words))))


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    # Chromium keeps its sandbox from root, as which tests run in containers.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """Open a page at a size, or a part of it; nothing may have been complained of at the end."""
    contexts, complaints = [], []

    def opened(path: Path, size=WIDE, part="", **options):
        context = browser.new_context(viewport=size, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append("dialog"))
        page.on(
            "request",
            lambda request: (
                complaints.append(request.url)
                if not request.url.startswith(("file:", "data:"))
                else None
            ),
        )
        page.goto(path.as_uri() + (f"#{part}" if part else ""))
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def column(table, number: int) -> list[str]:
    return table.locator(f"tbody tr:visible > :nth-child({number})").all_inner_texts()


def test_a_table_sorts_by_mouse_and_by_key(study, open_page):
    page = open_page(study, part="scores")
    table = page.locator("#scores table").first
    head = table.locator("thead th").nth(1)
    before = column(table, 2)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    highest_first = [float(text.split()[0]) for text in column(table, 2)]
    assert highest_first == sorted(highest_first, reverse=True)
    assert sorted(column(table, 2)) == sorted(before)
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(text.split()[0]) for text in column(table, 2)] == sorted(highest_first)
    table.locator("thead th").first.get_by_role("button").press("Space")
    assert head.get_attribute("aria-sort") is None
    assert column(table, 1) == sorted(column(table, 1))


def test_a_table_filters(study, open_page):
    page = open_page(study, part="scores")
    table = page.locator("#scores table").first
    field = page.get_by_role("searchbox", name="chest: Scores in percent").first
    field.fill("VGG16 frozen")
    assert [text.split()[0] for text in column(table, 1)] == ["vgg16"]
    assert page.locator("#scores .controls output").first.inner_text() == "1 of 5 rows"
    field.fill("nothing at all")
    assert column(table, 1) == []
    field.fill("")
    assert len(column(table, 1)) == 5


def test_the_theme_follows_the_system_until_it_is_chosen(study, open_page):
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 25, 31)"
    assert open_page(study, color_scheme="dark").evaluate(colour) == dark
    page = open_page(study, color_scheme="light")
    assert page.evaluate(colour) == light
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(colour) == dark
    page.reload()
    assert page.evaluate(colour) == dark
    page.emulate_media(media="print")
    assert page.evaluate(colour) == light


def test_it_prints_with_everything_unfolded(study, open_page, tmp_path):
    page = open_page(study)
    folded = page.locator("details:not(.run):not([open])")
    assert folded.count() > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded.count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.count() > 0
    page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(("size", "scheme"), [(NARROW, "dark"), (WIDE, "light")])
def test_nothing_overflows_and_everyone_can_use_it(study, open_page, size, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(study, size, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    found = Axe().run(page)
    assert found.response["violations"] == [], found.generate_report()


def test_on_a_telephone_rows_are_sorted_by_a_list(study, open_page):
    page = open_page(study, NARROW, part="scores")
    table = page.locator("#scores table").first
    page.locator("#scores").get_by_label("Sort by").first.select_option("Accuracy")
    scores = [float(text.split("[")[0].split()[0]) for text in column(table, 2)]
    assert scores == sorted(scores, reverse=True)


def test_it_is_readable_without_its_script(study, open_page):
    page = open_page(study, part="scores", java_script_enabled=False)
    assert page.locator("#theme").is_hidden()
    # The link opened the part, and no other.
    assert page.locator("#scores table").first.locator("tbody tr").first.is_visible()
    assert page.locator("#scores table").first.locator("tbody tr").count() == 5
    assert page.locator("#classes").is_hidden()


def test_a_link_opens_what_it_points_into(study, open_page):
    page = open_page(study)
    assert page.locator("#scores").is_hidden()
    page.locator(".rows a").first.click()
    assert page.locator("#scores").is_visible()
    page.locator(".part", has=page.locator("#scores")).locator("summary").first.click()
    assert page.locator("#scores").is_hidden()
    page.locator(".rows a").first.click()
    assert page.locator("#scores").is_visible()


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext (poppler-utils)")
def test_all_of_it_is_on_paper_without_its_script(study, open_page, tmp_path):
    page = open_page(study, java_script_enabled=False)
    page.pdf(path=tmp_path / "page.pdf")
    done = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "page.pdf", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    for words in ("Confusion matrices", "True positive rate", "Scores of every run", "Loss"):
        assert words in done.stdout


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
def test_hostile_text_stays_text(run, open_page, tmp_path, size):
    runs = [
        run(HOSTILE, seed=i, run=text, dataset=text, backbone=text, hyperparameters={text: text})
        for i, text in enumerate(HOSTILE)
    ]
    image = np.zeros((8, 8, 3), np.uint8)
    path = write(
        tmp_path,
        runs,
        title=HOSTILE[0],
        about={HOSTILE[1]: HOSTILE[0]},
        images=Images(lambda dataset, ids: dict.fromkeys(ids, image), near),
    )
    page = open_page(path, size)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.locator("h1").inner_text() == HOSTILE[0]
    assert page.locator("script").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
