"""A contact sheet of episodes: pictures of every camera over time, the subtask below them, and the states as curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import EpisodeLog
from pi0_ros.data.layout import Episode
from pi0_ros.robot.wording import counted

THUMB, GAP, LEFT, TEXT, CURVES = 120, 4, 110, 16, 90
INK, PALE, PAPER = (20, 20, 20), (150, 150, 150), (255, 255, 255)
COLOURS = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
)
DRIVERS = {"autonomy": (198, 219, 239), "teleop": (199, 233, 192), "hold": (230, 230, 230), "stopped": (252, 187, 161)}


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(dataset: Dataset, positions: Sequence[int], file: Path, columns: int) -> None:
    """Draw these episodes, one below the other, `columns` pictures each, as a PNG."""
    blocks = [_episode(dataset, dataset.episodes[p], columns) for p in positions]
    sheet = Image.new("RGB", (blocks[0].width, sum(b.height + 2 * GAP for b in blocks)), PAPER)
    at = 0
    for block in blocks:
        sheet.paste(block, (0, at))
        at += block.height + 2 * GAP
    sheet.save(file, "PNG")


def _episode(dataset: Dataset, episode: Episode, columns: int) -> Image.Image:
    frames = np.unique(np.linspace(episode.start, episode.stop - 1, columns).astype(int)).tolist()
    heights = {camera: _thumb(dataset, camera, frames[0]).height for camera in dataset.cameras}
    width = LEFT + columns * (THUMB + GAP)
    height = 2 * TEXT + sum(h + GAP for h in heights.values()) + 2 * TEXT + CURVES + 2 * GAP
    image = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    _heading(dataset, episode, draw, font)
    y = 2 * TEXT
    for camera, tall in heights.items():
        draw.text((GAP, y + tall // 2 - 6), camera[:17], INK, font)
        for k, frame in enumerate(frames):
            image.paste(_thumb(dataset, camera, frame), (LEFT + k * (THUMB + GAP), y))
        y += tall + GAP
    close = episode.length / dataset.fps < 0.2 * columns  # [s] apart that one decimal would not tell
    for k, frame in enumerate(frames):
        x = LEFT + k * (THUMB + GAP)
        draw.text((x, y), f"{(frame - episode.start) / dataset.fps:.{2 if close else 1}f} s", PALE, font)
        before = dataset.task_of(frames[k - 1]) if k else ""
        words = dataset.task_of(frame) or "(no words)"
        draw.text((x, y + TEXT - 3), words[:20] if words != before else "…", INK, font)
    _curves(dataset, episode, draw, font, (LEFT, y + 2 * TEXT, width - GAP, y + 2 * TEXT + CURVES))
    return image


def _heading(dataset: Dataset, episode: Episode, draw: ImageDraw.ImageDraw, font: Font) -> None:
    note = EpisodeLog(dataset.folder).read().get(episode.index, {})
    labels = ", ".join(f"{k} {note[k]}" for k in ("outcome", "score", "note") if note.get(k) not in (None, ""))
    text = f"episode {episode.index}: {counted(episode.length, 'frame')}, {episode.length / dataset.fps:.1f} s at {dataset.fps:g} Hz"
    draw.text((GAP, 1), text + (f", {labels}" if labels else ""), INK, font)
    draw.text((GAP, TEXT - 1), f"“{' · '.join(episode.tasks)[:150]}”", INK, font)


def _thumb(dataset: Dataset, camera: str, frame: int) -> Image.Image:
    picture = Image.fromarray(dataset.picture(camera, frame))
    return picture.resize((THUMB, max(1, round(THUMB * picture.height / picture.width))))


def _curves(
    dataset: Dataset,
    episode: Episode,
    draw: ImageDraw.ImageDraw,
    font: Font,
    box: tuple[int, int, int, int],
) -> None:
    """The state's channels, each over its own range in the dataset; who drove as the colour behind."""
    left, top, right, bottom = box
    keys = [
        k
        for k in dataset.features
        if k.startswith(("observation.state", "state")) and dataset.features[k]["dtype"] != "string"
    ]
    xs = np.linspace(left, right, max(2, episode.length))
    if "driver" in dataset.features:
        drivers = dataset.column("driver")[episode.start : episode.stop]
        for x, after, driver in zip(xs, [*xs[1:], right], drivers, strict=False):
            draw.rectangle((x, top, after, bottom), DRIVERS.get(str(driver), PAPER))
        for k, name in enumerate(dict.fromkeys(map(str, drivers))):
            draw.rectangle(
                (GAP, top + TEXT * (k + 1), GAP + 9, top + TEXT * (k + 1) + 9), DRIVERS.get(name, PAPER), PALE
            )
            draw.text((GAP + 13, top + TEXT * (k + 1) - 2), name, INK, font)
    draw.rectangle(box, None, PALE)
    draw.text((GAP, top), "state", INK, font)
    if not keys:
        return
    values = np.nan_to_num(np.asarray(dataset.column(keys[0])).reshape(len(dataset), -1))
    low, spread = values.min(0), np.ptp(values, axis=0)
    for column in np.flatnonzero(spread > 1e-9):
        own = (values[episode.start : episode.stop, column] - low[column]) / spread[column]
        ys = bottom - 3 - own * (bottom - top - 6)
        if len(ys) > 1:
            draw.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), COLOURS[column % len(COLOURS)], 1)
