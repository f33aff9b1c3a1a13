"""The files of a manuscript: methods in Markdown and LaTeX, references, rows of checklists."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from frostline.report.manuscript.bibliography import CITED, as_keys, bibtex, cited
from frostline.report.manuscript.checklist import checklist
from frostline.report.manuscript.methods import Material, Section, methods
from frostline.report.tables.escape import latex, markdown

LEAD = (
    "Written from what the runs of this study recorded. What no record holds (where patients came "
    "from, how labels were made, ethics) is yours to add."
)


def manuscript(material: Material) -> dict[str, str]:
    """Write the files, by their names.

    Returns
    -------
    dict of str to str
        `methods.md` (citations as Pandoc's, `[@key]`), `methods.tex` (`\\cite`, for `\\input`),
        `references.bib` and `checklist.md`.
    """
    sections = methods(material)
    keys = cited(sentence for _, sentences in sections for sentence in sentences)
    return {
        "methods.md": _markdown(sections),
        "methods.tex": _latex(sections),
        "references.bib": bibtex(keys),
        "checklist.md": checklist(material),
    }


def _markdown(sections: Sequence[Section]) -> str:
    lines = ["# Methods", "", f"*{LEAD}*", ""]
    for heading, sentences in sections:
        lines += [f"## {heading}", "", " ".join(map(markdown_text, sentences)), ""]
    return "\n".join(lines)


def markdown_text(sentence: str) -> str:
    """Keep other people's names from being read as markup; citations stay."""
    return _escaped(sentence, markdown, lambda keys: f" [{'; '.join(f'@{key}' for key in keys)}]")


def _latex(sections: Sequence[Section]) -> str:
    lines = [f"% {LEAD}", r"\section{Methods}"]
    for heading, sentences in sections:
        lines += ["", rf"\subsection{{{heading}}}", " ".join(map(_latex_text, sentences))]
    return "\n".join(lines) + "\n"


def _latex_text(sentence: str) -> str:
    return _escaped(sentence, latex, lambda keys: rf"~\cite{{{','.join(keys)}}}")


def _escaped(sentence: str, escape: Callable[[str], str], cite: Callable[[list[str]], str]) -> str:
    """Escape what stands between citations, which go to the word before them."""
    written, last = "", 0
    for found in [*CITED.finditer(sentence), None]:
        text = sentence[last : found.start() if found else len(sentence)]
        blank = " " if last and text.startswith(" ") else ""
        written += blank + escape(text.strip())
        if found:
            written, last = written + cite(as_keys(found[0])), found.end()
    return written
