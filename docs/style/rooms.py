"""Draw the rooms and who imports whom, from the table in CONTRIBUTING.md: rooms.svg.

python docs/style/rooms.py
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).with_name("rooms.svg")
# Column and row of each room, and what it does: the hall on top, what is at rest below.
PLACES = {
    "frostline": (0.9, 0, "commands, Workspace"),
    "finetune": (0.9, 1, "trains backbones"),
    "probe": (2.1, 2.1, "trains heads"),
    "extract": (0, 3.4, "files to embeddings"),
    "report": (1, 3.2, "predictions to evidence"),
    "cache": (1.9, 4.4, "what is at rest"),
}
WIDTH, HEIGHT, ACROSS, DOWN = 190, 56, 240, 100


def imports() -> dict[str, list[str]]:
    """Read who may import whom, without what is said by "all of them"."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    return {
        room: [other for other in PLACES if other != room]
        if allowed.strip() == "all of them"
        else re.findall(r"`(\w+)`", allowed)
        for room, allowed in rows
        if room in PLACES
    }


def centre(room: str) -> tuple[float, float]:
    """Give the middle of a room."""
    across, down, _ = PLACES[room]
    return 20 + across * ACROSS + WIDTH / 2, 15 + down * DOWN + HEIGHT / 2


def edge(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    """Give where the line from a room's middle to another's leaves it."""
    (x, y), (dx, dy) = start, (end[0] - start[0], end[1] - start[1])
    part = min(
        (WIDTH / 2 + 4) / abs(dx) if dx else float("inf"),
        (HEIGHT / 2 + 4) / abs(dy) if dy else float("inf"),
    )
    return x + dx * part, y + dy * part


def picture() -> str:
    """Write the picture as SVG. The hall imports all, so that its arrow goes to one alone."""
    parts = []
    for room, others in imports().items():
        for other in ["finetune"] if room == "frostline" else others:
            (x1, y1) = edge(centre(room), centre(other))
            (x2, y2) = edge(centre(other), centre(room))
            parts.append(
                f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="#78909c" '
                'stroke-width="1.5" marker-end="url(#head)"/>'
            )
    for room, (_, _, does) in PLACES.items():
        x, y = centre(room)
        parts.append(
            f'<rect x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" '
            f'height="{HEIGHT}" rx="8" fill="#eceff1" stroke="#3f51b5" stroke-width="1.5"/>'
            f'<text x="{x:.0f}" y="{y - 5:.0f}" font-weight="bold" font-size="15">{room}/</text>'
            f'<text x="{x:.0f}" y="{y + 15:.0f}" font-size="12">{does}</text>'
        )
    width, height = 20 + 2.1 * ACROSS + WIDTH + 20, 15 + 4.4 * DOWN + HEIGHT + 15
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" font-family="sans-serif" text-anchor="middle" fill="#263238">'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#78909c"/></marker></defs>'
        f"{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    HERE.write_text(picture(), encoding="utf-8")
