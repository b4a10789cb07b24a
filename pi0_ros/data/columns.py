"""The columns and files of the datasets that are recorded here, declared; the reference page is made of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column; `<…>` stands for a name."""

    name: str
    dtype: str
    meaning: str


@dataclass(frozen=True)
class DatasetFile:
    """One file of a dataset's folder, or a pattern of several."""

    path: str
    meaning: str


COLUMNS = (
    Column("observation.images.<camera>", "video", "RGB picture of a camera, as the robot YAML turns it"),
    Column(
        "observation.state",
        "float32[n]",
        "measured channels in the order of the action vector, then joints that are state only; rad, m, rad/s, m/s, "
        "gripper 0 closed .. 1 open",
    ),
    Column("action", "float32[n]", "commands that the executor sent, in the order of the action vector; same units"),
    Column("driver", "string", "mode while the frame was taken: hold, teleop, autonomy or stopped"),
    Column("intervention", "bool", "a person drives, and the policy has driven before in this recording"),
    Column("high_level_task", "string", "text on the topic task"),
    Column(
        "high_level_target",
        "string",
        "the operator's subtask_override; else the network's subtask while the policy drives; else empty",
    ),
    Column("subtask_source", "string", "who chose it: network, operator, or nobody (empty)"),
    Column("stamp", "float64", "ROS time of the frame [s]: that of the first one plus frame_index / fps"),
    Column("picture_offset", "float32[cameras]", "when each picture was taken, less the frame's time [s]"),
    Column(
        "camera_present", "bool[cameras]", "false if a camera that may be missing was missing: its picture is black"
    ),
    Column("timestamp", "float32", "seconds since the episode's first frame"),
    Column("frame_index", "int64", "number of the frame in its episode"),
    Column("episode_index", "int64", "number of the episode"),
    Column("index", "int64", "number of the frame in the dataset"),
    Column("task_index", "int64", "row of meta/tasks.parquet: the subtask if there is one, else the task"),
)

FILES = (
    DatasetFile("meta/info.json", "version, frame rate, features with their names, counts; written last"),
    DatasetFile("meta/stats.json", "mean, deviation, extremes and quantiles of every feature"),
    DatasetFile("meta/tasks.parquet", "task_index and text"),
    DatasetFile("meta/episodes/chunk-*/file-*.parquet", "one row per episode: length, tasks, files, statistics"),
    DatasetFile(
        "meta/pi0_episodes.json",
        "by episode: outcome, score, note; robot, limits, checkpoint, adapter, versions; when it began, and what was dropped",
    ),
    DatasetFile("data/chunk-*/file-*.parquet", "all columns that are no pictures"),
    DatasetFile("videos/observation.images.<camera>/chunk-*/file-*.mp4", "the pictures"),
)
