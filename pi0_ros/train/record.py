"""What a run did: one JSON object per line, and its curves as a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from pi0_ros.robot.replacing import replacing

_SIZE, _MARGIN = (960, 640), 60
_COLOURS = ((200, 60, 40), (40, 110, 200), (40, 150, 70), (150, 80, 170))


def write_line(file: Path, values: dict[str, Any]) -> None:
    """Append one line; numbers that are not finite become null, since JSON has none."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(plain, allow_nan=False) + "\n")


def cut_back(file: Path, step: int) -> None:
    """Leave out the lines of steps after `step`, from which the run goes on."""
    lines = read_lines(file)
    remaining = [line for line in lines if line.get("step", 0) <= step]
    if len(remaining) == len(lines):
        return
    with replacing(file) as new:
        new.write_text("", encoding="utf-8")
        for line in remaining:
            write_line(new, line)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All complete lines; a line cut off by an interruption is left out."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def draw_curves(lines: Sequence[dict[str, Any]], names: Sequence[str], file: Path) -> None:
    """Curves of the named values over steps, logarithmic, as a PNG. Values that are missing, zero or not finite leave
    gaps."""
    series = {n: [(x["step"], math.log10(x[n])) for x in lines if _drawable(x.get(n))] for n in names}
    points = [p for s in series.values() for p in s]
    if len(points) < 2:
        return
    steps, values = [p[0] for p in points], [p[1] for p in points]
    frame = (min(steps), max(max(steps), min(steps) + 1), math.floor(min(values)), math.ceil(max(values) + 1e-9))
    image = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(image)
    _axes(pen, frame)
    for (name, curve), colour in zip(series.items(), _COLOURS, strict=False):
        if len(curve) > 1:
            pen.line([_at(p, frame) for p in curve], fill=colour, width=2)
        pen.text((_SIZE[0] - 200, _MARGIN + 18 * list(series).index(name)), name, fill=colour)
    image.save(file)


def _drawable(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _at(point: tuple[float, float], frame: tuple[float, float, float, float]) -> tuple[float, float]:
    left, right, low, high = frame
    x = _MARGIN + (point[0] - left) / (right - left) * (_SIZE[0] - 2 * _MARGIN)
    return x, _SIZE[1] - _MARGIN - (point[1] - low) / max(high - low, 1e-9) * (_SIZE[1] - 2 * _MARGIN)


def _axes(pen: ImageDraw.ImageDraw, frame: tuple[float, float, float, float]) -> None:
    left, right, low, high = frame
    for power in range(int(low), int(high) + 1):
        y = _at((left, power), frame)[1]
        pen.line([(_MARGIN, y), (_SIZE[0] - _MARGIN, y)], fill=(220, 220, 220))
        pen.text((8, y - 6), f"{10.0**power:g}", fill="black")
    for k in range(5):
        step = left + (right - left) * k / 4
        x = _at((step, low), frame)[0]
        pen.text((x - 12, _SIZE[1] - _MARGIN + 10), f"{step:.0f}", fill="black")
    pen.text((_SIZE[0] // 2, _SIZE[1] - 24), "steps", fill="black")
