"""Small LeRobot datasets written as other tools write them: plain pyarrow, pictures in the tables or as videos.

Pictures tell what they are: red is 40 times the episode's position plus 20, green 8 times the frame.
"""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIDES = [f"{side}_{n}" for side in ("left", "right") for n in (*[f"joint{i}" for i in range(1, 7)], "gripper")]
CHANNELS = [*SIDES, "base_vx", "base_vy", "base_wz", "lift"]
CAMERAS = ("base", "left_wrist", "right_wrist")
TASKS = ("touch the red block", "touch the blue block", "touch the green block")
STANDARD = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


def picture(episode: int, frame: int) -> np.ndarray:
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0], image[..., 1] = 40 * episode + 20, 8 * frame
    return image


def encoded(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def write_video(file: Path, pictures: list[np.ndarray], fps: float, pts=None, ticks: int = 0) -> None:
    """pts: of each picture, in units of 1 / ticks s (default: frame n at n / fps)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    base = Fraction(1, ticks) if ticks else 1 / Fraction(fps)
    with av.open(str(file), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(fps), options={"g": "2", "crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = base
        for k, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = (k if pts is None else pts[k]), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def features(kind: str, names: list[str] | None = None) -> dict:
    image = {"dtype": kind, "shape": [32, 32, 3], "names": ["height", "width", "channels"]}
    vectors = {
        k: {"dtype": "float32", "shape": [18], "names": names or CHANNELS} for k in ("observation.state", "action")
    }
    plain = {k: {"dtype": d, "shape": [1], "names": None} for k, d in STANDARD.items()}
    return {f"observation.images.{c}": dict(image) for c in CAMERAS} | vectors | plain


def rows(position: int, number: int, length: int, start: int, fps: float, task: int) -> dict:
    t = np.arange(length) / fps
    state = (0.1 * np.sin(t[:, None] + np.arange(18)[None] + position)).astype(np.float32)
    return {
        "observation.state": state,
        "action": state + np.float32(0.01),
        "timestamp": t.astype(np.float32),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, number),
        "index": np.arange(start, start + length),
        "task_index": np.full(length, task),
    }


def as_table(columns: dict) -> pa.Table:
    return pa.table(
        {k: pa.array(v.tolist() if v.ndim > 1 else v) if isinstance(v, np.ndarray) else v for k, v in columns.items()}
    )


def write(
    folder: Path,
    version: str = "v3.0",
    lengths=(8, 6, 7),
    numbers=None,
    fps: float = 10,
    kind: str = "image",
    tasks=TASKS,
    edit=None,
    meta=None,
    names: list[str] | None = None,
    per_file: int = 100,
    info: dict | None = None,
    video=write_video,
    columns=None,
) -> Path:
    """A dataset. edit(position, columns) changes an episode's rows, meta(rows) the table of episodes, columns(features)
    the features of info.json."""
    numbers = numbers or list(range(len(lengths)))
    files: dict[int, list[pa.Table]] = {}
    shown: dict[int, list[np.ndarray]] = {}
    table, start = [], 0
    for position, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
        task = position % len(tasks)
        held = rows(position, number, length, start, fps, task)
        held = edit(position, held) if edit else held
        pictures = [picture(position, k) for k in range(length)]
        if kind == "image":
            held |= {f"observation.images.{c}": png_column(pictures) for c in CAMERAS}
        file = position // per_file if version == "v3.0" else number
        row = {"episode_index": number, "tasks": [tasks[task]], "length": length}
        before = shown.setdefault(file, [])
        row |= {"data/chunk_index": 0, "data/file_index": file, "dataset_from_index": start}
        for camera in CAMERAS if kind == "video" else ():
            place = {"chunk_index": 0, "file_index": file, "from_timestamp": len(before) / fps}
            row |= {f"videos/observation.images.{camera}/{k}": v for k, v in place.items()}
        before += pictures
        files.setdefault(file, []).append(as_table(held))
        table.append(row)
        start += length
    table = meta(table) if meta else table
    write_files(folder, version, files, shown if kind == "video" else {}, fps, video)
    write_meta(folder, version, table, tasks)
    known = features(kind, names)
    write_info(folder, version, len(lengths), start, fps, columns(known) if columns else known, info or {})
    return folder


def png_column(pictures: list[np.ndarray]) -> pa.Array:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": encoded(p), "path": None} for p in pictures], kind)


def write_files(
    folder: Path,
    version: str,
    files: dict[int, list[pa.Table]],
    films: dict[int, list[np.ndarray]],
    fps: float,
    video,
) -> None:
    """Rows and films by the number of their file."""
    data = "data/chunk-000/file-{:03d}.parquet" if version == "v3.0" else "data/chunk-000/episode_{:06d}.parquet"
    film = "videos/{1}/chunk-000/file-{0:03d}.mp4" if version == "v3.0" else "videos/chunk-000/{1}/episode_{0:06d}.mp4"
    (folder / "data" / "chunk-000").mkdir(parents=True)
    for file, tables in files.items():
        pq.write_table(pa.concat_tables(tables), folder / data.format(file))
        for camera in CAMERAS if file in films else ():
            video(folder / film.format(file, f"observation.images.{camera}"), films[file], fps)


def write_info(
    folder: Path, version: str, episodes: int, frames: int, fps: float, features: dict, changes: dict
) -> None:
    paths = {
        "v3.0": ("data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"),
        "v2.1": ("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet", "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"),
    }[version]  # fmt: skip
    content = {
        "codebase_version": version, "robot_type": "x", "total_episodes": episodes, "total_frames": frames,
        "chunks_size": 1000, "fps": fps, "data_path": paths[0], "video_path": paths[1], "features": features,
    }  # fmt: skip
    (folder / "meta" / "info.json").write_text(json.dumps(content | changes))


def write_meta(folder: Path, version: str, table: list[dict], tasks) -> None:
    if version == "v3.0":
        (folder / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(table), folder / "meta/episodes/chunk-000/file-000.parquet")
        words = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
        pq.write_table(words, folder / "meta" / "tasks.parquet")
        return
    (folder / "meta").mkdir(parents=True)
    plain = [{k: row[k] for k in ("episode_index", "tasks", "length")} for row in table]
    (folder / "meta" / "episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
    listed = [{"task_index": i, "task": t} for i, t in enumerate(tasks)]
    (folder / "meta" / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
