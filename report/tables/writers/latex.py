"""Tables in LaTeX."""

from __future__ import annotations

from frostline.report.tables import escape
from frostline.report.tables.note_lines import split_notes
from frostline.report.tables.table import Cell, Table

AROUND = {"": ("", ""), "alike": (r"\underline{", "}"), "alone": (r"\textbf{", "}")}
# What pdfTeX sets as it is, in T1 encoding.
LAST_LATIN = "\u017f"
BEYOND_LATIN = "% has characters beyond Latin: compile with LuaLaTeX and a font of them"
# Compiled alone, a table is a document; inside a paper it is a table only.
PREAMBLE = (
    r"% in a paper: \input this file; needs \usepackage{booktabs,graphicx,textcomp} and",
    r"% \usepackage[T1]{fontenc}",
    r"\expandafter\ifx\csname @nodocument\endcsname\relax\else",
    r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx,textcomp}",
    r"\begin{document}\def\frostlinealone{}",
    r"\fi",
)
END = r"\ifdefined\frostlinealone\end{document}\fi"


def to_latex(table: Table) -> str:
    """Write a `table*` with booktabs rules, which compiles as it is and can be put into a paper.

    Notes for which there is no room are comments. Characters beyond Latin need LuaLaTeX, said in a
    comment.
    """
    shown, rest = split_notes(table)
    notes = r" \\ ".join(f"{{{escape.latex_note(note)}}}" for note in shown)
    lines = [
        *PREAMBLE,
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escape.latex(table.caption)}}}",
        r"\resizebox{\textwidth}{!}{%",
        *_tabular(table),
        r"\par\medskip",
        rf"\begin{{minipage}}{{\textwidth}}\footnotesize {notes}\end{{minipage}}",
        r"\end{table*}",
    ]
    if rest:
        lines += ["% More notes, for which there is no room:"]
        lines += [f"% {escape.plain(note)}" for note in rest]
    lines.append(END)
    if any(c > LAST_LATIN for line in lines if not line.startswith("%") for c in line):
        lines.insert(0, BEYOND_LATIN)
    return "\n".join(lines) + "\n"


def _tabular(table: Table) -> list[str]:
    named = any(table.datasets)
    kinds = "l" * named + "".join("r" if column.numbers else "l" for column in table.columns)
    headings = [escape.latex(column.heading) for column in table.columns]
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule"]
    lines.append(" & ".join([*["Data set"] * named, *headings]) + r" \\")
    for dataset, rows in table.parts():
        lines.append(r"\midrule")
        for number, row in enumerate(rows):
            name = "" if number else f"{{{escape.latex(dataset)}}}"
            lines.append(" & ".join([*[name] * named, *map(_cell, row.cells)]) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}}"]


def _cell(cell: Cell) -> str:
    """Write a cell in braces: without them "[" would be read as an option of the line before."""
    start, end = AROUND[cell.mark]
    intervals = map(escape.latex, cell.intervals)
    return f"{{{' '.join([f'{start}{escape.latex(cell.label)}{end}', *intervals])}}}"
