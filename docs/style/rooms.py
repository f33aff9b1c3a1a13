"""Draw the rooms and who imports whom, from the table in CONTRIBUTING.md: rooms.svg.

python docs/style/rooms.py
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).with_name("rooms.svg")
# First and last column, and row, of each room, and what it does: the hall is the roof, and what is
# at rest the ground floor, so that every line to them is upright.
PLACES = {
    "frostline": (0, 4, 0, "the hall: commands, Workspace"),
    "finetune": (1, 1, 1, "trains backbones"),
    "probe": (3, 3, 2, "trains heads"),
    "extract": (0, 0, 2, "files to embeddings"),
    "report": (2, 2, 2.9, "predictions to evidence"),
    "cache": (0, 4, 3.9, "the ground floor: what is at rest"),
}
ROOM, HEIGHT, ACROSS, DOWN, MARGIN = 150, 54, 180, 105, 12
LEFT, RIGHT = MARGIN, MARGIN + 3.35 * ACROSS + ROOM


def imports() -> dict[str, list[str]]:
    """Read who may import whom."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    return {
        room: [other for other in PLACES if other != room]
        if allowed.strip() == "all of them"
        else re.findall(r"`(\w+)`", allowed)
        for room, allowed in rows
        if room in PLACES
    }


def box(room: str) -> tuple[float, float, float, float]:
    """Give left, top, right and bottom of a room."""
    first, last, row, _ = PLACES[room]
    left, top = MARGIN + first * ACROSS, MARGIN + row * DOWN
    return left, top, RIGHT if last > first else left + ROOM, top + HEIGHT


def line(room: str, other: str) -> tuple[float, float, float, float]:
    """Give the ends of the line from a room down to another."""
    left, _, right, bottom = box(room)
    to_left, top, to_right, _ = box(other)
    start, end = (left + right) / 2, (to_left + to_right) / 2
    if {room, other} == {"frostline", "cache"}:  # past all rooms
        start = end = RIGHT - 0.2 * ACROSS
    elif room == "frostline":
        start = end
    elif other == "cache":
        end = start
    else:  # from the side towards the other, to its near corner
        start += ROOM / 4 if end > start else -ROOM / 4
        end += ROOM / 4 if end < start else -ROOM / 4
    return start, bottom + 2, end, top - 3


def picture() -> str:
    """Write the picture as SVG."""
    parts = []
    for room, others in imports().items():
        for other in others:
            x1, y1, x2, y2 = line(room, other)
            parts.append(
                f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#78909c" '
                'stroke-width="1.5" marker-end="url(#head)"/>'
            )
    for room, (*_, does) in PLACES.items():
        left, top, right, bottom = box(room)
        x, y = (left + right) / 2, (top + bottom) / 2
        parts.append(
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{right - left:.0f}" height="{HEIGHT}" '
            'rx="8" fill="#eceff1" stroke="#3f51b5" stroke-width="1.5"/>'
            f'<text x="{x:.0f}" y="{y - 4:.0f}" font-weight="bold" font-size="16">{room}/</text>'
            f'<text x="{x:.0f}" y="{y + 15:.0f}" font-size="13">{does}</text>'
        )
    width, height = RIGHT + MARGIN, box("cache")[3] + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" font-family="sans-serif" text-anchor="middle" fill="#263238">'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#78909c"/></marker></defs>'
        f"{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    HERE.write_text(picture(), encoding="utf-8")
