"""Figures can be read: nothing is cut or written over, and legends name every line."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from frostline.report import (
    Failed,
    confusion_figure,
    forest_figure,
    table_html,
    write_report,
)
from frostline.report.figures.style import (
    inline_svg,
    legend_height,
    new_figure,
    save_figure,
    to_svg,
)
from frostline.report.page.computing import compute_numbers
from frostline.report.page.overview import overview_table
from frostline.report.page.score_figures import draw_curves, draw_decision, draw_reliability
from frostline.report.page.training_figures import draw_learning
from frostline.report.tables.escape import unbroken
from frostline.report.tables.table import Cell, Column, Row, Table

LONG = "vit_base_patch14_dinov2"
DEPTHS = ("none", "1", "3", "all")


@pytest.fixture(scope="module")
def numbers(run, tmp_path_factory):
    """Two backbones, one of a long name, at several depths."""
    history = [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.1 / e} for e in (1, 2, 3)]
    runs = [
        run(
            run=f"{backbone}-{unfreeze}",
            seed=seed,
            backbone=backbone,
            unfreeze=unfreeze,
            skill=0.6 + 0.1 * seed,
            history=None if unfreeze == "none" else history,
            best_epoch=2,
        )
        for seed, (backbone, unfreeze) in enumerate(itertools.product((LONG, "resnet50"), DEPTHS))
    ]
    return compute_numbers(tmp_path_factory.mktemp("numbers"), runs, replicates=50)


def drawn(numbers):
    (part,) = numbers.datasets
    made = {
        "roc": draw_curves(part, "roc"),
        "decision": draw_decision(numbers, part),
        "reliability": draw_reliability(part),
        "learning": draw_learning(part),
    }
    return {kind: figure for kind, (figure, _) in made.items()} | {
        "forest": forest_figure(numbers.by_method, part.name, numbers.primary)
    }


def names_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_nothing_is_cut_or_written_over(numbers):
    for kind, figure in drawn(numbers).items():
        figure.canvas.draw()
        boxes = []
        for axes in figure.axes:
            title = axes.title if axes.get_title() else axes._left_title
            boxes.append((title.get_text(), title.get_window_extent()))
        boxes += [(one.get_text(), one.get_window_extent()) for one in figure.texts]
        boxes += [(one, legend.get_window_extent()) for legend in figure.legends for one in [kind]]
        boxes = [(text, box) for text, box in boxes if text]
        for text, box in boxes:
            assert box.x0 >= -1, (kind, text)
            assert box.x1 <= figure.bbox.x1 + 1, (kind, text)
            assert box.y1 <= figure.bbox.y1 + 1, (kind, text)
        for (one, a), (other, b) in itertools.combinations(boxes, 2):
            apart = a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
            assert apart, (kind, one, other)


def test_titles_name_the_whole_method(numbers):
    titles = [axes.get_title(loc="left") for axes in drawn(numbers)["reliability"].axes]
    assert f"{LONG}\nlast 3" in titles
    # A panel a method: bars of two would hide each other.
    assert len(titles) == len(set(titles)) == 2 * len(DEPTHS)
    confusion = confusion_figure(np.eye(2), ["a", "b"], f"{LONG}, last 3 blocks fine-tuned")
    title = confusion.axes[0].get_title(loc="left")
    assert title.split("\n") == ["vit_base_patch14_", "dinov2", "last 3 blocks", "fine-tuned"]


def test_legends_name_every_line(numbers):
    named = {kind: names_of(figure) for kind, figure in drawn(numbers).items()}
    assert named["roc"][-1] == "chance"
    assert named["decision"][-2:] == ["act on all", "act on none"]
    assert named["reliability"] == ["calibrated", "95% of points if calibrated"]
    assert named["learning"] == ["training loss", "validation loss", "epoch kept"]
    assert named["forest"][-1] == "always the commonest"


def test_a_legend_has_the_lines_that_it_needs():
    assert legend_height([]) < legend_height(["one"]) == legend_height(["one", "two"])
    assert legend_height(["a name that is long enough"] * 3) > legend_height(["one", "two"])


def test_on_a_page_a_figure_is_the_same_lines_in_fewer_characters(numbers):
    figure = drawn(numbers)["roc"]
    svg = to_svg(figure)
    page = inline_svg(svg, "roc-1", "Curves")
    assert len(page) < 0.4 * len(svg)
    one, other = (ends(re.findall(r'<path[^>]* d="([^"]+)"', text)) for text in (svg, page))
    # The paper behind all is left out.
    assert other == pytest.approx(one[-len(other) :], abs=0.1)
    assert set(re.findall(r'class="([^"]+)"', page)) == set(re.findall(r"\.([\w-]+){", page))


def ends(paths):
    """Where each path ends; steps are added up."""
    found = []
    for path in paths:
        x = y = 0.0
        for letter, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
            values = [float(number) for number in numbers.split()]
            if letter == "l":
                x, y = x + sum(values[::2]), y + sum(values[1::2])
            elif values:
                x, y = values[-2:]
        found += [x, y]
    return found


def test_an_interval_stays_in_one_line():
    text = unbroken("worse [−7.1, 24.4] of [a list, of words] and [1, 2]")
    assert (
        text
        == "worse [−7.1,\N{NO-BREAK SPACE}24.4] of [a list, of words] and [1,\N{NO-BREAK SPACE}2]"
    )


def test_marks_do_not_look_like_links():
    cells = (Cell("a", mark="alike", link="there"), Cell("1", mark="alone", value=1.0))
    page = table_html(Table((Column("Model"), Column("F1", True, "f1_weighted")), (Row(cells),)))
    assert "<u>" not in page
    assert '<a href="#there"><mark><bdi>a</bdi></mark></a>' in page
    assert "<mark><strong>1</strong></mark>" in page


def test_notes_are_no_wall(run, tmp_path):
    runs = [run(seed=seed, run=f"r{seed}", unfreeze=how) for seed, how in enumerate(DEPTHS)]
    page = write_report(tmp_path, runs, title="t", replicates=50, figure_formats=["svg"])
    text = page["index.html"].read_text()
    for shown in re.findall(
        r'<ul class="notes quiet">((?:(?!</ul>).)*)</ul>\n(?:<details>|</div>)', text, re.DOTALL
    ):
        assert shown.count("<li>") <= 3


def test_classes_count_what_is_scored(run, tmp_path):
    one = run(n=60)
    slices = one.table.assign(
        image_id=[f"volume-{i // 3}.nii#z={i % 3}" for i in range(60)],
        group_id=[f"patient-{i // 3}" for i in range(60)],
        label=[one.table["label"][i - i % 3] for i in range(60)],
    )
    one.table[slices.columns] = slices
    paths = write_report(tmp_path, [one], title="t", replicates=50, figure_formats=["svg"])
    table = pd.read_csv(paths["tables/classes.csv"])
    assert table["count"].sum() == 20
    assert set(table["of"]) == {"groups"}
    page = paths["index.html"].read_text()
    section = page[page.index('id="classes"') :]
    assert "<bdi>Groups</bdi></th>" in section
    assert "<bdi>Images</bdi></th>" not in section[: section.index("</table>")]


def test_what_was_not_run_is_a_row(numbers, run, tmp_path):
    word = "not run yet"
    failed = [
        Failed("chest", "vgg16", "all", "pretrained", "paper", (0, 1), True, "Run it.", word),
        Failed("skin", "vgg16", "all", "pretrained", "paper", (0,), True, "Run it.", word),
    ]
    rows = overview_table(numbers, failed).rows
    assert [row.cells[0].text for row in rows] == ["chest", "skin"]
    assert rows[0].cells[0].detail.endswith("; 1 method missing")
    assert rows[1].cells[1].text == word
    options = {"replicates": 50, "figure_formats": ["svg"], "failed": failed}
    paths = write_report(tmp_path, [run()], title="t", **options)
    page = paths["index.html"].read_text()
    assert page.count(f">{word}<") > 2
    assert "Not run yet: chest, vgg16, paper, seeds 0, 1. Run it." in page


def test_many_data_sets_are_rows_and_no_paragraphs(run, tmp_path):
    runs = [
        run(dataset=name, run=f"{name}-{way}", unfreeze=way, seed=seed)
        for name in ("a", "b", "c")
        for seed, way in enumerate(("none", "all"))
    ]
    paths = write_report(tmp_path, runs, title="t", replicates=50, figure_formats=["svg"])
    for text in (paths["index.html"].read_text(), paths["answer.txt"].read_text()):
        assert "scored highest" not in text
        assert " of 3 data sets one method is ahead of all others" in " ".join(text.split())


def test_how_many_are_behind_the_best_is_what_the_sentence_says(run, tmp_path):
    skills = {"far": 5.0, "near": 4.5, "worse": 0.2, "worst": 0.1}
    runs = [
        run(n=400, n_groups=300, skill=skill, seed=seed, run=name, backbone=name)
        for seed, (name, skill) in enumerate(skills.items())
    ]
    for chosen, said in ((runs, "2 of 3"), (runs[1:], "all of 2"), (runs[2:], "none of 1")):
        numbers = compute_numbers(tmp_path / said, chosen)
        (row,) = overview_table(numbers).rows
        assert row.cells[3].text == said


def test_a_pdf_has_each_letter_as_itself_in_one_font(tmp_path):
    figure = new_figure(1.0)
    figure.text(0.1, 0.5, "fine-tuned, office, difference")
    save_figure(figure, tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().count(b"/Type /FontDescriptor") == 1
