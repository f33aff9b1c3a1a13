"""Comparisons in every format, and in sentences."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import in_words, texts
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables import escape
from frostline.report.tables.formats import to_json

Record = Mapping[Any, Any]
HEADINGS = ("A", "B", "A", "B", "Difference", "p", "adjusted p", "Verdict on A")
VERDICTS = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "is equivalent to",
    "undecided": "cannot be told from",
}


def comparison_sentences(frame: pd.DataFrame) -> list[str]:
    """Each verdict in words, with the difference in points, its interval and the p-value."""
    out = []
    for row in frame.to_dict("records"):
        place = f"On {row['dataset']}, " if row["dataset"] else ""
        text = f"{place}{row['a']} {VERDICTS[row['verdict']]} {row['b']}"
        margin = f" within {_margin(row)}" if row["verdict"] == "equivalent" else ""
        points = " points" if _is_share(row) else ""
        p = f"p {p_word(row['p_adjusted'])}"
        if row["family_size"] > 1:
            p += f" by {row['adjustment']} of {row['family_size']}"
        title = find_metric(row["metric"]).title.lower()
        out.append(f"{text}{margin}: {title} {_difference(row)}{points} {_interval(row)}, {p}.")
    return [sentence[:1].upper() + sentence[1:] for sentence in out]


def comparison_footnotes(frame: pd.DataFrame) -> list[str]:
    """What was done, and what a reader has to be told."""
    first = frame.iloc[0].to_dict()
    sizes = {}
    for row in frame.to_dict("records"):
        name = f"{row['dataset']}: " if row["dataset"] else ""
        units = f"{row['n_units']:,} groups of " if row["unit"] == "group" else ""
        sizes[f"{name}{units}{row['n_images']:,} images"] = 0
    family = {"max-T": "all pairs of a data set", "Holm": "frozen against unfrozen of a data set"}
    lines = [
        f"Compared by {find_metric(first['metric']).title.lower()}"
        f"{', in percent and points' if _is_share(first) else ''}, A minus B: {'; '.join(sizes)}.",
        f"95% intervals: {', '.join(frame['method'].unique())}; p by swapping whole "
        f"{first['unit']}s between the two runs; seed {first['seed']}.",
        f"Family: {family[first['adjustment']]}, adjusted by {first['adjustment']}. Smallest p "
        f"that {'every pair' if len(frame) > 1 else 'the pair'} could have: "
        f"{p_word(frame['smallest_p'].max())}.",
    ]
    if first["margin"] is not None and not pd.isna(first["margin"]):
        lines.append(f"Equivalent: within {_margin(first)} by two one-sided tests.")
    if frame["mcnemar_p"].notna().any():
        values = ", ".join(p_word(p) for p in frame["mcnemar_p"].dropna())
        lines.append(f"McNemar's exact p, each group being one image: {values}.")
    return lines + _notes(frame)


def p_word(p: float) -> str:
    """A p-value as papers print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def to_csv(frame: pd.DataFrame) -> str:
    """Every column, fractions in full precision."""
    return in_words(frame).to_csv(index=False, lineterminator="\n")


def to_markdown(frame: pd.DataFrame) -> str:
    """A pipe table with footnotes."""
    head = ["Data set", *HEADINGS]
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + " --- |" * 3 + " ---: |" * 5 + " --- |")
    for row in frame.to_dict("records"):
        cells = [escape.markdown(cell) for cell in (row["dataset"], *_cells(row))]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"{escape.markdown(note)}  " for note in comparison_footnotes(frame)]
    return "\n".join([*lines, "", *notes]) + "\n"


def to_latex(frame: pd.DataFrame) -> str:
    """A `tabular` with booktabs rules and the footnotes as a paragraph."""
    body = [
        " & ".join(escape.latex(name) for name in ("Data set", *HEADINGS)) + r" \\",
        r"\midrule",
    ]
    for row in frame.to_dict("records"):
        cells = [f"{{{escape.latex(cell)}}}" for cell in (row["dataset"], *_cells(row))]
        body.append(" & ".join(cells) + r" \\")
    notes = r" \\ ".join(f"{{{escape.latex(note)}}}" for note in comparison_footnotes(frame))
    return "\n".join([
        r"% needs \usepackage{booktabs,graphicx,textcomp} and \usepackage[T1]{fontenc}",
        r"\resizebox{\textwidth}{!}{%", r"\begin{tabular}{lllrrrrrl}", r"\toprule", *body,
        r"\bottomrule", r"\end{tabular}}", r"\par\medskip",
        rf"\begin{{minipage}}{{\textwidth}}\footnotesize {notes}\end{{minipage}}",
    ]) + "\n"  # fmt: skip


def to_terminal(frame: pd.DataFrame, width: int = 80) -> str:
    """Sentences and footnotes, wrapped to `width`."""
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, legacy_windows=False)
    for sentence in comparison_sentences(frame):
        console.print(Text(escape.plain(sentence)))
    console.print()
    for note in comparison_footnotes(frame):
        console.print(Text(escape.plain(note)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


COMPARISON_FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "table": to_terminal,
    "csv": to_csv,
    "json": to_json,
    "markdown": to_markdown,
    "latex": to_latex,
}


def render_comparison(frame: pd.DataFrame, format: str = "table") -> str:
    """What `compare` returned as text, in one of `COMPARISON_FORMATS`."""
    if format not in COMPARISON_FORMATS:
        raise InputError(
            f"there is no format {format!r}; choose from {', '.join(COMPARISON_FORMATS)}."
        )
    return COMPARISON_FORMATS[format](frame)


def _notes(frame: pd.DataFrame) -> list[str]:
    """Every note once, with its pairs where it is not about all."""
    pairs: dict[str, list[str]] = {}
    for row in frame.to_dict("records"):
        for note in texts(row["notes"]):
            pairs.setdefault(note, []).append(f"{row['a']} and {row['b']}")
    out = []
    for note, about in pairs.items():
        text = note if len(about) == len(frame) else f"{', '.join(about)}: {note}"
        out.append(text)
    return out


def _cells(row: Record) -> list[str]:
    return [
        row["a"], row["b"], _number(row, "estimate_a"), _number(row, "estimate_b"),
        f"{_difference(row)} {_interval(row)}", p_word(row["p"]),
        p_word(row["p_adjusted"]), row["verdict"],
    ]  # fmt: skip


def _interval(row: Record) -> str:
    if pd.isna(row["low"]):
        return "(no interval)"
    return f"[{_number(row, 'low')}, {_number(row, 'high')}]"


def _is_share(row: Record) -> bool:
    """Whether percent says something: what has no highest value is no share."""
    return find_metric(row["metric"]).bounds is not None


def _number(row: Record, name: str) -> str:
    return f"{100 * row[name]:.1f}" if _is_share(row) else f"{row[name]:.3f}"


def _difference(row: Record) -> str:
    return ("+" if row["difference"] >= 0 else "") + _number(row, "difference")


def _margin(row: Record) -> str:
    return f"{100 * row['margin']:g} points" if _is_share(row) else f"{row['margin']:g}"
