"""Other people's text, kept text: in Markdown, LaTeX, CSV, figures and terminals."""

from __future__ import annotations

import re
import unicodedata

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "·": r"\textperiodcentered{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "…": r"\dots{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": r"$-$",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
}


def plain(text: object, limit: int | None = None) -> str:
    """Write one line, cut in the middle to `limit`, without control characters.

    Nor has it characters that change the direction of writing.
    """
    line = " ".join(str(text).split())
    line = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c
        for c in line
    )
    if limit is None or len(line) <= limit:
        return line
    head = (limit - 1) // 2
    return f"{line[:head]}…{line[len(line) - (limit - 1 - head) :]}"


def unbroken(text: str) -> str:
    """Keep an interval such as [1.2, 3.4] in one line: its space breaks no line."""
    return re.sub(r"\[([^\[\], ]+), ([^\[\], ]+)\]", "[\\1,\N{NO-BREAK SPACE}\\2]", text)


def spreadsheet(text: object) -> object:
    """Write what a spreadsheet would run as a formula with an apostrophe in front; numbers stay.

    Those are texts that begin with =, +, -, @ or a tab (OWASP, "CSV injection"). Carriage returns,
    which end a row for some readers, are left out.
    """
    if not isinstance(text, str):
        return text
    text = text.replace("\r", "")
    if not text.startswith(("=", "+", "-", "@", "\t")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def markdown(text: object) -> str:
    """Write text for a cell of a Markdown table."""
    line = plain(text).replace("&", "&amp;").replace(">", "&gt;")
    # Before a space it is no tag, and "p < 0.001" stays legible.
    line = re.sub(r"<(?! )", "&lt;", line)
    line = re.sub(r"([\\`*\[\]|~!])", r"\\\1", line)
    # An underscore or hash inside a word is harmless, and run names are full of them.
    return re.sub(r"(?<![A-Za-z0-9])[_#]|[_#](?![A-Za-z0-9])", r"\\\g<0>", line)


def latex(text: object) -> str:
    """Write text for a cell of a LaTeX table; scripts that pdfTeX cannot set need LuaLaTeX."""
    line = plain(text).replace("\N{REPLACEMENT CHARACTER}", "?")
    # Two hyphens would be set as one dash.
    return "".join(_LATEX.get(c, c) for c in line.replace("--", "-\0-")).replace("\0", "{}")


def markdown_note(text: str) -> str:
    """Write a note for Markdown, what stands between backticks as code."""
    return re.sub(r"\\`(.*?)\\`", r"`\1`", markdown(text))


def latex_note(text: str) -> str:
    """Write a note for LaTeX, what stands between backticks as code."""
    grave = re.escape(_LATEX["`"])
    return re.sub(f"{grave}(.*?){grave}", r"\\texttt{\1}", latex(text))
