"""The page and the figures: whole, self-contained, and nobody's text becomes markup."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from xml.etree import ElementTree

import joblib
import numpy as np
import pandas as pd
import pytest
from processes import ends

from frostline.cache import InputError
from frostline.report import (
    DataAudit,
    Embedded,
    Images,
    Swept,
    confusion_figure,
    evaluate,
    forest_figure,
    save_figure,
    write_report,
)
from frostline.report.figures import difference_figure
from frostline.report.spread import LEAST_RUNS, on_all_cores
from frostline.report.statistics.metrics import OWN_METRICS

HOSTILE = (
    "<script>alert(1)</script>",
    '"> \'x\' & $\\frac$ id="y" url(#z)',
    "x" * 200,
    "שלום\u202egnp",
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Tags, ids and text of a page; fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    runs = [run(), run(seed=1, unfreeze="all"), run(("a", "b", "c"), seed=2, dataset="skin")]
    paths = write_report(
        folder, runs, title="A study", about={"command": "frostline run s.yaml"}, replicates=200
    )
    return folder, paths


FIGURES = ("confusion", "decision", "forest", "freezing", "precision-recall", "reliability", "roc")


def test_files(report):
    folder, paths = report
    # The second data set has no fine-tuned run, so nothing to compare.
    figures = {f"{name}-{i}" for name in FIGURES for i in (1, 2)} - {"freezing-2"}
    tables = {
        f"{name}.{kind}" for name in ("scores", "paper") for kind in ("md", "tex", "html", "csv")
    }
    assert set(paths) == {
        "index.html",
        "answer.txt",
        "methods.md",
        "methods.tex",
        "references.bib",
        "checklist.md",
        "tables/runs.csv",
        "tables/classes.csv",
        "tables/freezing.csv",
        "tables/benefit.csv",
        "tables/calibration.csv",
        *(f"tables/{name}" for name in tables),
        *(f"figures/{name}.{kind}" for name in figures for kind in ("svg", "png", "pdf")),
    }
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {name for name in there if not name.startswith("statistics/")} == set(paths)
    assert all(path.stat().st_size > 0 for path in paths.values())


def test_answer_fits_a_terminal(report):
    text = report[1]["answer.txt"].read_text()
    assert max(map(len, text.splitlines())) <= 80
    assert text.strip().splitlines()[0].startswith(("Freezing ", "Whether freezing"))
    assert "majority class" in text


def test_page_is_self_contained_and_well_formed(report):
    text = report[1]["index.html"].read_text()
    page = Outline(text)
    assert len(page.ids) == len(set(page.ids))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 1
    assert not {"link", "iframe", "img"} & set(tags)
    for tag, attributes in page.tags:
        for name in ("href", "src", "xlink:href"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)", text)
    references = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert references
    assert set(references) <= set(page.ids)


def test_only_our_script_may_run(report):
    text = report[1]["index.html"].read_text()
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in text
    assert f"script-src 'sha256-{digest}'" in text


def test_page_can_be_read_aloud(report):
    page = Outline(report[1]["index.html"].read_text())
    tags = [tag for tag, _ in page.tags]
    # A row a data set; scores and classes of both, one comparison, three matrices; net benefit and
    # calibration of both.
    assert tags.count("caption") == tags.count("table") == 1 + 2 + 2 + 1 + 3 + 2 + 2
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    # The matrices are tables.
    assert len(figures) == 2 * (len(FIGURES) - 1) - 1
    assert all(one["role"] == "img" and len(one["aria-label"]) > 30 for one in figures)
    assert dict(page.tags)["html"] == {"lang": "en"}


def test_statistics_and_figures_are_made_once(run, tmp_path, monkeypatch):
    runs = [run(), run(seed=1, unfreeze="all")]

    def write():
        written = write_report(tmp_path, runs, title="t", replicates=100, figure_formats=["svg"])
        return {name: path.read_bytes() for name, path in written.items()}

    first = write()

    def fail(*args, **kwargs):
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr("frostline.report.page.computing.tabulate", fail)
        patch.setattr("frostline.report.page.computing.mark_best", fail)
        patch.setattr("frostline.report.page.drawing.figures.to_svg", fail)
        assert write() == first
    runs[0].table.loc[0, "label"] = (
        "NORMAL" if runs[0].table["label"][0] != "NORMAL" else "PNEUMONIA"
    )
    assert write()["tables/runs.csv"] != first["tables/runs.csv"]
    (tmp_path / "statistics" / "runs-1.parquet").write_bytes(b"damaged")
    (tmp_path / "figures" / "roc-1.svg").unlink()
    assert "figures/roc-1.svg" in write()


@pytest.mark.slow
def test_a_large_report_is_made_on_all_cores(run, tmp_path, monkeypatch):
    class_names = ("a", "\N{CJK UNIFIED IDEOGRAPH-4E00}", "c")  # not a letter of our font
    runs = [run(), run(seed=1, unfreeze="all"), run(class_names, seed=2, dataset="skin")]
    texts, pools, pool = {}, [], joblib.externals.loky.get_reusable_executor

    def noted(workers, **options):
        pools.append(workers)
        return pool(workers, **options)

    monkeypatch.setattr("joblib.externals.loky.get_reusable_executor", noted)
    monkeypatch.setattr("frostline.report.spread.OWN_METRICS", {})
    for least in (4, 3):
        monkeypatch.setattr("frostline.report.spread.LEAST_RUNS", least)
        monkeypatch.setattr("frostline.report.spread.own_cores", lambda: 2)
        folder = tmp_path / str(least)
        with pytest.warns(UserWarning, match="not in the font"):
            paths = write_report(folder, runs, title="A study", replicates=200)
        texts[least] = {name: path.read_bytes() for name, path in paths.items()}
        assert pools == ([1, 1] if least == 3 else [])  # numbers, figures: one helps
    assert texts[3] == texts[4]
    # A metric of one's own is known to this process alone.
    monkeypatch.setitem(OWN_METRICS, "first", lambda truth, prediction, probs: 0.5)
    monkeypatch.setattr("frostline.report.spread.OWN_METRICS", OWN_METRICS)
    with pytest.warns(UserWarning, match="not in the font"):
        write_report(tmp_path / "own", runs, title="t", replicates=20, metrics=["first"])
    assert pools == [1, 1]


def test_a_process_that_is_ended_from_outside_is_one_sentence(tmp_path, monkeypatch):
    own, ended = os.getpid(), tmp_path / "ended"

    def end():
        if os.getpid() != own:
            ended.touch()
            os._exit(9)
        while not ended.exists():
            time.sleep(0.01)

    monkeypatch.setattr("frostline.report.spread.own_cores", lambda: 2)
    monkeypatch.setattr("frostline.report.spread.OWN_METRICS", {})
    with pytest.raises(InputError, match="ended from outside, as where memory is short"):
        on_all_cores([end] * 2, LEAST_RUNS)


def test_an_error_in_either_process_ends_a_large_report(tmp_path, monkeypatch):
    monkeypatch.setattr("frostline.report.spread.own_cores", lambda: 2)
    monkeypatch.setattr("frostline.report.spread.OWN_METRICS", {})
    own = os.getpid()

    def work(place, here):
        (tmp_path / f"{place}-{os.getpid() == own}").touch()
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        if (os.getpid() == own) == here:
            raise InputError(f"Task of {'this process' if here else 'another'}.")
        time.sleep(0.2)

    for here, which in ((True, "this process"), (False, "another")):
        with pytest.raises(InputError, match=which):
            on_all_cores([partial(work, place, here) for place in range(40)], LEAST_RUNS)
        assert len(list(tmp_path.iterdir())) < 40  # the rest was not begun
        for path in tmp_path.iterdir():
            path.unlink()


LARGE = """
import os, time
from functools import partial
from frostline.report import spread

def work(task):
    print(os.getpid(), flush=True)
    time.sleep(300)

spread.own_cores = lambda: 3
spread.on_all_cores([partial(work, task) for task in range(3)], spread.LEAST_RUNS)
"""


def test_the_processes_of_a_large_report_end_with_their_command():
    # What loky's tracker says of a parent that was killed is no matter here.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", LARGE], **pipes) as report:
        workers = {int(report.stdout.readline()) for _ in range(3)}
        report.kill()
        report.wait()
        assert len(workers - {report.pid}) == 2
        assert all(map(ends, workers))


def test_runs_without_probabilities_have_no_curves(run, tmp_path):
    one = run()
    table = one.table.drop(columns=[c for c in one.table if c.startswith("prob_")])
    paths = write_report(
        tmp_path, [replace(one, table=table)], title="t", replicates=50, figure_formats=["svg"]
    )
    assert "No curves: the predictions have no probabilities." in paths["index.html"].read_text()
    assert not any("roc" in name for name in paths)


def test_maps_costs_learning_curves_and_images(run, tmp_path):
    history = [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.2 / e} for e in (1, 2)]
    runs = [run(seconds=3.0), run(seed=1, unfreeze="all", history=history, best_epoch=2)]
    lines = pd.DataFrame(
        {
            "line": "resnet50",
            "groups": [5, 5, 10, 10],
            "draw": [0, 1, 0, 1],
            "metric": "accuracy",
            "score": [0.6, 0.7, 0.8, 0.8],
            "dataset": "chest",
        }
    )
    strengths = pd.DataFrame(
        {
            "dataset": "chest",
            "backbone": ["resnet50", "resnet50", "vgg16", "vgg16"],
            "C": [0.1, 1.0] * 2,
            "metric": "log_loss",
            "score": [0.4, 0.3, 0.5, 0.6],
        }
    )
    rng = np.random.default_rng(0)
    embedded = Embedded(rng.normal(size=(12, 5)), list("ab") * 6, [str(i // 2) for i in range(12)])
    asked = []

    def images(dataset, ids):
        asked.extend(ids)
        return {ids[0]: rng.integers(0, 255, (400, 300, 3), dtype=np.uint8)}

    paths = write_report(
        tmp_path,
        runs,
        title="t",
        replicates=50,
        figure_formats=["svg"],
        images=Images(images),
        embeddings={"chest": {"resnet50": embedded}},
        backbones={"resnet50": {"parameters": 25e6}},
        swept=Swept(lines, strengths),
    )
    page = Outline(paths["index.html"].read_text())
    assert {
        "figures/learning-1.svg",
        "figures/cost-1.svg",
        "figures/embeddings-pca-1.svg",
        "figures/efficiency-1.svg",
        "figures/validation-1.svg",
    } <= set(paths)
    (image,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert image["src"].startswith("data:image/webp;base64,")
    assert image["alt"] == asked[0]
    text = " ".join("".join(page.text).split())
    assert "Log loss on validation of 2 backbones by strength C" in paths["index.html"].read_text()
    wrong = runs[0].table.set_index("image_id").loc[asked[0]]
    assert f"true class: {wrong['label']};" in text
    assert len(asked) <= 12


def test_page_opens_with_the_answer(report):
    text = "".join(Outline(report[1]["index.html"].read_text()).text)
    answer = text.index("resnet50 on chest")
    assert answer < text.index("Balanced accuracy") < text.rindex("How this was made")
    assert "frostline run s.yaml" in text


def test_hostile_text_stays_text(run, tmp_path):
    runs = [
        run(HOSTILE, seed=i, run=text, dataset=text, backbone=text, hyperparameters={text: text})
        for i, text in enumerate(HOSTILE)
    ]
    paths = write_report(tmp_path, runs, title=HOSTILE[0], replicates=50, figure_formats=["svg"])
    text = paths["index.html"].read_text()
    page = Outline(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "<script>alert(1)</script>" in "".join(page.text)
    assert "\u202e" not in text
    assert len(page.ids) == len(set(page.ids))
    for name, path in paths.items():
        if name.endswith(".svg"):
            ElementTree.parse(path)


def data_audit(dataset, *, copies=0, findings=(), label="sick"):
    splits = {"dataset": [dataset], "groups_train": [1200], "images_test": [5], "classes": [2]}
    classes = {"label": [label, "well"], "images_train": [7, 3], "images_test": [2, 3]}
    duplicates = {
        "image_id": [f"{label}-{number}.png" for number in range(copies)],
        "split": pd.array([None] * copies, "string"),
        "across_splits": [True] * copies,
        "share": [0.25] * copies,
    }
    return DataAudit(
        pd.DataFrame(splits),
        pd.DataFrame(classes),
        findings,
        {"Byte-identical images": pd.DataFrame(duplicates), "Unreadable": pd.DataFrame()},
    )


@pytest.fixture(scope="module")
def audited(run, tmp_path_factory):
    leak = ("leak", "30 images occur in more than one split, byte for byte.")
    audits = {"chest": data_audit("chest", copies=1021, findings=[leak]), "skin": data_audit("s")}
    return write_report(
        tmp_path_factory.mktemp("audited"),
        [run()],
        title="A study",
        audits=audits,
        replicates=50,
        figure_formats=["svg"],
    )


def test_page_has_the_audit_of_each_data_set(audited):
    page = Outline(audited["index.html"].read_text())
    text = " ".join("".join(page.text).split())
    section = text[text.index("what the audit found Groups are") : text.rindex("How this was made")]
    assert "Leak: 30 images occur in more than one split, byte for byte." in section
    assert "The audit found nothing that would make results look better or worse" in section
    assert "chest: Byte-identical images, the first 20 of 1,021 rows" in section
    assert section.count("sick-") == 20
    assert "sick-19.png \N{EN DASH} yes 0.25" in section
    assert "Unreadable" not in section
    assert section.count("1,200") == 2
    assert "The data may leak (chest): see" in text


def test_audit_can_be_read_aloud(audited):
    page = Outline(audited["index.html"].read_text())
    tags = [tag for tag, _ in page.tags]
    # The best; scores, a matrix, scores of classes; net benefit, calibration; then splits, classes
    # of two data sets, copies.
    assert tags.count("caption") == tags.count("table") == 10
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    assert "data" in page.ids


def test_data_tables_are_files_too(audited):
    assert audited["tables/data.md"].read_text() == (
        "**Groups and images of each split**\n\n"
        "| Data set | Groups train | Images test | Classes |\n| --- | ---: | ---: | ---: |\n"
        "| chest | 1,200 | 5 | 2 |\n| s | 1,200 | 5 | 2 |\n\n"
        "**chest: images and groups of each class by split**\n\n"
        "| Label | Images train | Images test |\n| --- | ---: | ---: |\n"
        "| sick | 7 | 2 |\n| well | 3 | 3 |\n\n"
        "**skin: images and groups of each class by split**\n\n"
        "| Label | Images train | Images test |\n| --- | ---: | ---: |\n"
        "| sick | 7 | 2 |\n| well | 3 | 3 |\n"
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_data_stay_text(run, tmp_path, hostile):
    audit = data_audit(hostile, copies=2, findings=[("leak", hostile)], label=hostile)
    audits = {hostile: replace(audit, flagged={hostile: pd.DataFrame({hostile: [hostile]})})}
    paths = write_report(
        tmp_path, [run()], title="t", audits=audits, replicates=50, figure_formats=["svg"]
    )
    text = paths["index.html"].read_text()
    page = Outline(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert len(page.ids) == len(set(page.ids))
    assert "\u202e" not in text
    # Caption, heading, sentence and cell, each as it was given.
    assert "".join(page.text).count(hostile.replace("\u202e", "\N{REPLACEMENT CHARACTER}")) >= 10
    assert "<script" not in paths["tables/data.md"].read_text()


def test_figures_are_the_same_bytes_each_time(run, tmp_path):
    frame = evaluate([run()], replicates=50)
    for kind in ("svg", "pdf", "png"):
        for name in ("one", "two"):
            save_figure(forest_figure(frame, "chest"), tmp_path / f"{name}.{kind}")
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_dollar_signs_are_no_mathematics(run, tmp_path):
    frame = evaluate([run(backbone="$\\frac$")], replicates=50)
    save_figure(forest_figure(frame, "chest"), tmp_path / "forest.svg")
    names = ["$\\frac$", "b"]
    save_figure(confusion_figure(np.eye(2), names, "$\\frac$"), tmp_path / "confusion.svg")


def test_confusion_figure_takes_any_counts():
    figure = confusion_figure(np.array([[0, 0], [12345, 1]]), ["a", "b"], "none of a")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "0", "12,345", "1"]


def test_drawing_touches_no_global_state(report):
    import matplotlib as mpl

    assert "matplotlib.pyplot" not in sys.modules
    assert mpl.rcParams["svg.fonttype"] == "path"


def test_importing_report_is_light():
    code = "import sys, frostline.report; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pandas", "matplotlib", "jinja2", "sklearn", "torch", "pyarrow", "rich"}
    assert not heavy & set(done.stdout.split())


def test_every_public_name_is_there():
    import frostline.report

    for name in frostline.report.__all__:
        assert getattr(frostline.report, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = frostline.report.nothing


def test_depths_are_marked_by_their_number_of_blocks(run):
    runs = [run(unfreeze=how, run=f"r{how}", head="linear") for how in ("none", "1", "3", "all")]
    axes = forest_figure(evaluate(runs), "chest").axes[0]
    markers = [line.get_marker() for line in axes.lines if line.get_marker() not in ("None", "")]
    assert sorted(m for m in markers if isinstance(m, str) and m[0] == "$") == ["$1$", "$3$"]
    alone = forest_figure(evaluate(runs[:2]), "chest").axes[0]
    assert "^" in [line.get_marker() for line in alone.lines]


def test_what_is_no_share_is_not_drawn_in_percent(run):
    frame = evaluate([run(), run(seed=1)], metrics=["log_loss"], replicates=50)
    values = ["estimate", "low", "high"]
    frame[values] = frame[values].to_numpy(float) + 1.5  # beyond what 101% would be
    figure = forest_figure(frame, "chest", "log_loss")
    (axes,) = figure.axes
    assert figure.texts[0].get_text() == "Log loss with 95% interval"
    said = {text.get_text().split(" [")[0] for text in axes.texts}
    assert {f"{one:.3f}" for one in frame["estimate"]} <= said
    drawn = [x for line in axes.lines for x in line.get_xdata() if line.get_linewidth() == 2.2]
    assert len(drawn) >= 4
    assert axes.get_xlim()[0] < min(drawn) < max(drawn) < axes.get_xlim()[1]
    rows = pd.DataFrame([{"name": "a", "difference": -1.25, "low": -2.0, "high": -1e-5}])
    apart = difference_figure(rows.assign(verdict="better"), "log_loss")
    assert apart.texts[0].get_text() == "Frozen minus fine-tuned, log loss"
    assert "−1.250 [−2.000, −0.00001]" in [text.get_text() for text in apart.axes[0].texts]


def test_what_never_varies_has_no_interval_and_is_said_once(run, tmp_path):
    runs = [run(unfreeze=how, run=f"r{how}") for how in ("none", "1", "2", "3", "all")]
    for one in runs:
        one.table["prediction"] = one.classes[0]
    paths = write_report(tmp_path, runs, title="All alike", replicates=50)
    page = paths["index.html"].read_text()
    assert "nan" not in page.partition("<script")[0].lower()
    notes = [line for line in page.splitlines() if "never predicted" in line]
    absent = ", ".join(sorted(runs[0].classes[1:]))
    assert len(notes) == 1
    assert f"a class that is never predicted ({absent})." in notes[0]
    table = (tmp_path / "tables" / "freezing.csv").read_text()
    assert table.count("identical predictions") == 4
