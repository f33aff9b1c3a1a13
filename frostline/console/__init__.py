"""The terminal and the log: sentences, tables and warnings, and how far something is."""

from __future__ import annotations

from frostline.console.running import (
    commanding,
    in_helper,
    progress,
    sharing_the_terminal,
    showing,
)
from frostline.console.speech import (
    NORMAL,
    QUIET,
    VERBOSE,
    alert,
    console,
    detail,
    say,
    say_epoch,
    set_verbosity,
    show_table,
    show_warning,
    speak_in_python,
    summary,
    text_width,
    verbosity,
    write_legibly,
)
from frostline.console.steps import Progress, Running, called

__all__ = [
    "NORMAL",
    "QUIET",
    "VERBOSE",
    "Progress",
    "Running",
    "alert",
    "called",
    "commanding",
    "console",
    "detail",
    "in_helper",
    "progress",
    "say",
    "say_epoch",
    "set_verbosity",
    "sharing_the_terminal",
    "show_table",
    "show_warning",
    "showing",
    "speak_in_python",
    "summary",
    "text_width",
    "verbosity",
    "write_legibly",
]
