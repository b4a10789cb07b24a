"""Boxes and arrows as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

LINE, SIZE, LETTER = 17.0, 13.0, 7.1  # [px] height of a line, of a letter, and its width
INK, MUTED, EDGE = "#1b1f24", "#57606a", "#0969da"


@dataclass(frozen=True)
class Box:
    """A rectangle with its middle at (x, y); the first line is bold."""

    x: float
    y: float
    lines: tuple[str, ...]
    fill: str = "#eef4fb"
    wide: float = 0.0

    @property
    def width(self) -> float:
        """Wide enough for the text, or as asked for."""
        return self.wide or max(len(line) for line in self.lines) * LETTER + 30.0

    @property
    def height(self) -> float:
        """High enough for the lines."""
        return len(self.lines) * LINE + 12.0

    def border(self, x: float, y: float) -> tuple[float, float]:
        """Where the line from the middle towards (x, y) leaves the rectangle."""
        dx, dy = x - self.x, y - self.y
        scale = min(self.width / 2 / abs(dx) if dx else math.inf, self.height / 2 / abs(dy) if dy else math.inf)
        return self.x + dx * scale, self.y + dy * scale


@dataclass(frozen=True)
class Arrow:
    """From one box to another; `bend` [px] moves its middle to the left of the way, `at` says where the text stands."""

    begin: Box
    end: Box
    lines: tuple[str, ...] = ()
    bend: float = 0.0
    at: float = 0.5
    dashed: bool = False


def drawing(width: float, height: float, boxes: Iterable[Box], arrows: Iterable[Arrow], title: str) -> str:
    """An SVG document."""
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="{SIZE:g}" role="img">'
        ),
        f"<title>{escape(title)}</title>",
        (
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="{EDGE}"/></marker></defs>'
        ),
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        *(_arrow(arrow) for arrow in arrows),
        *(_box(box) for box in boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _box(box: Box) -> str:
    left, top = box.x - box.width / 2, box.y - box.height / 2
    shape = (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="6" fill="{box.fill}" '
        f'stroke="{MUTED}"/>'
    )
    return shape + _text(box.x, top + 6.0, box.lines, INK, bold=True)


def _text(x: float, top: float, lines: Sequence[str], colour: str, bold: bool) -> str:
    said = []
    for i, line in enumerate(lines):
        weight = ' font-weight="600"' if bold and i == 0 else ""
        y = top + (i + 0.75) * LINE
        said.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{colour}"{weight}>{escape(line)}</text>')
    return "".join(said)


def _arrow(arrow: Arrow) -> str:
    a, b = arrow.begin, arrow.end
    dx, dy = b.x - a.x, b.y - a.y
    length = math.hypot(dx, dy) or 1.0
    mx, my = (a.x + b.x) / 2 + dy / length * arrow.bend, (a.y + b.y) / 2 - dx / length * arrow.bend
    (x0, y0), (x1, y1) = a.border(mx, my), b.border(mx, my)
    dashes = ' stroke-dasharray="5 4"' if arrow.dashed else ""
    path = (
        f'<path d="M{x0:.1f} {y0:.1f}Q{mx:.1f} {my:.1f} {x1:.1f} {y1:.1f}" fill="none" stroke="{EDGE}" stroke-width="1.4"'
        f'{dashes} marker-end="url(#tip)"/>'
    )
    if not arrow.lines:
        return path
    t = arrow.at
    x = (1 - t) ** 2 * x0 + 2 * t * (1 - t) * mx + t * t * x1
    y = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * my + t * t * y1
    width, height = max(len(line) for line in arrow.lines) * LETTER, len(arrow.lines) * LINE
    if arrow.bend:  # beside the curve, on the side to which it is bent
        side = math.copysign(1.0, arrow.bend)
        x += side * (abs(dy) / length * width / 2 + 6.0) * math.copysign(1.0, dy) if abs(dy) > 1.0 else 0.0
        y -= side * (abs(dx) / length * height / 2 + 2.0) * math.copysign(1.0, dx) if abs(dx) > 1.0 else 0.0
    top = y - height / 2
    back = (
        f'<rect x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="white" '
        'fill-opacity="0.85"/>'
    )
    return path + back + _text(x, top, arrow.lines, MUTED, bold=False)
