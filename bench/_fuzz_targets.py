"""What is fuzzed: each target reads one kind of file or message, and what it may raise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEEDS = Path(__file__).with_name("fuzz_seeds")
Parse = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """`prepare(folder)` gives a function of the bytes. It may raise `own()` alone.

    named: what it raises has to name the file, as it comes from one. module: what coverage is measured of.
    """

    prepare: Callable[[Path], Parse]
    own: Callable[[], tuple[type[BaseException], ...]]
    named: bool = True
    module: str = "pi0_ros.data"


def seeds(name: str) -> list[bytes]:
    """The committed inputs of a target: sound ones, those of public reports, and what was found before."""
    return [file.read_bytes() for file in sorted((SEEDS / name).iterdir())]


def _sound(name: str) -> bytes:
    return (SEEDS / name / "sound").read_bytes()


def _robot_errors() -> tuple[type[BaseException], ...]:
    from pi0_ros.robot.errors import RobotError

    return (RobotError,)


def _data_errors() -> tuple[type[BaseException], ...]:
    from pi0_ros.data.errors import DataError

    return (DataError,)


def _policy_errors() -> tuple[type[BaseException], ...]:
    from pi0_ros.model.errors import CheckpointError
    from pi0_ros.policy.errors import PolicyError

    return (PolicyError, CheckpointError)


def _message_errors() -> tuple[type[BaseException], ...]:
    from pi0_ros.data.encoded_pictures import PictureError
    from pi0_ros.ros.bounded import MessageRefusedError
    from pi0_ros.ros.conversions import ConversionError

    return (ConversionError, MessageRefusedError, PictureError)


def _file(folder: Path, name: str, parse: Callable[[Path], object]) -> Parse:
    """Write the bytes to a file and read that."""
    file = folder / name

    def run(data: bytes) -> object:
        file.write_bytes(data)
        return parse(file)

    return run


def _robot_yaml(folder: Path) -> Parse:
    from pi0_ros.robot import load_robot

    (folder / "two.urdf").write_bytes(_sound("urdf"))
    return _file(folder, "robot.yaml", load_robot)


def _yaml(folder: Path) -> Parse:
    from pi0_ros.robot.yaml_nodes import YamlNode, read_yaml

    def walk(node: YamlNode) -> None:
        if node.is_mapping:
            for entry in node.items():
                walk(entry[1])
        elif node.is_list:
            for child in node.entries():
                walk(child)
        else:
            node.value()

    return _file(folder, "any.yaml", lambda file: walk(read_yaml(file)))


def _urdf(folder: Path) -> Parse:
    from pi0_ros.robot.urdf import read_urdf

    return _file(folder, "robot.urdf", read_urdf)


def _xacro(folder: Path) -> Parse:
    from pi0_ros.robot.urdf import read_urdf

    return _file(folder, "robot.urdf.xacro", read_urdf)


def _adapter(folder: Path) -> Parse:
    from pi0_ros.policy.adapter_reading import load_adapter

    return _file(folder, "policy.yaml", load_adapter)


def _parameters(folder: Path) -> Parse:
    from pi0_ros.ros.parameter_file import sections

    return _file(folder, "parameters.yaml", sections)


def _parameter_errors() -> tuple[type[BaseException], ...]:
    from pi0_ros.ros.parameter_file import ParameterFileError

    return (ParameterFileError,)


def _dataset(changed: str, version: str) -> Callable[[Path], Parse]:
    """A sound dataset of which one file is replaced."""

    def prepare(folder: Path) -> Parse:
        from pi0_ros.data.dataset import Dataset

        kinds = {"v3": "episodes episodes.parquet", "v21": "episodes_jsonl episodes.jsonl"}
        _small_dataset(folder, kinds[version].split()[0])
        file = folder / changed

        def run(data: bytes) -> object:
            file.write_bytes(data)
            with Dataset(folder) as dataset:
                return dataset[0]

        return run

    return prepare


def _small_dataset(folder: Path, episodes: str) -> None:
    """The files of a dataset out of the seeds."""
    v3 = episodes == "episodes"
    places: Mapping[str, str] = {
        "meta/info.json": "info" if v3 else "info_v21",
        ("meta/tasks.parquet" if v3 else "meta/tasks.jsonl"): "tasks" if v3 else "tasks_jsonl",
        ("meta/episodes/chunk-000/file-000.parquet" if v3 else "meta/episodes.jsonl"): episodes,
        ("data/chunk-000/file-000.parquet" if v3 else "data/chunk-000/episode_000000.parquet"): "rows",
        "meta/stats.json": "stats",
    }
    for place, name in places.items():
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_sound(name))


def _info(folder: Path) -> Parse:
    """Without the tables: the file itself and the paths in it."""
    from pi0_ros.data.layout import checked_info
    from pi0_ros.data.paths import filled

    def parse(file: Path) -> None:
        info = checked_info(file)
        places = {"chunk_index": 0, "file_index": 1, "episode_chunk": 0, "episode_index": 7, "video_key": "a.b"}
        for key in ("data_path", "video_path"):
            filled(file, key, info.get(key), places)

    (folder / "meta").mkdir()
    return _file(folder / "meta", "info.json", parse)


def _norm_stats(folder: Path) -> Parse:
    import numpy as np

    from pi0_ros.policy.normalize import METHODS, Normalizer, read_norm_stats

    def parse(file: Path) -> None:
        found = read_norm_stats(file)
        for statistics in found.values():
            for method in METHODS[:2]:
                if {"mean", "std"} <= set(statistics.values) and (method != "openpi_quantile" or "q01" in statistics):
                    normal = Normalizer(method, statistics)
                    values = normal.inverse(np.zeros((2, statistics.size)))
                    assert np.all(np.isfinite(values)), "statistics that were taken give a plan that is not finite"

    return _file(folder, "norm_stats.json", parse)


def _config(folder: Path) -> Parse:
    from pi0_ros.model.checkpoints.load import open_checkpoint

    shutil.copy(ROOT / "checkpoints" / "pi05_reach_tiny" / "model.safetensors", folder)
    return _file(folder, "config.json", lambda file: open_checkpoint(file.parent))


def _lerobot_config(folder: Path) -> Parse:
    from pi0_ros.model.checkpoints.load import open_checkpoint

    _lerobot_weights(folder)
    return _file(folder, "config.json", lambda file: open_checkpoint(file.parent))


def _lerobot_weights(folder: Path) -> None:
    """Of a small network without weights."""
    import torch

    from pi0_ros.model.checkpoints.lerobot import lerobot_weights
    from pi0_ros.model.checkpoints.save import sizes_json
    from pi0_ros.model.checkpoints.tensorfile import write
    from pi0_ros.model.config import preset
    from pi0_ros.model.network import Pi0

    torch.manual_seed(0)
    model = Pi0(preset("dummy"))
    write(folder / "model.safetensors", lerobot_weights(model))
    (folder / "sizes.json").write_text(json.dumps(sizes_json(model.config)), encoding="utf-8")


def _peft(folder: Path) -> Parse:
    from pi0_ros.model.checkpoints.peft import read_peft

    return _file(folder, "adapter_config.json", lambda file: read_peft(file.parent))


def _processors(folder: Path) -> Parse:
    from pi0_ros.policy.lerobot_files import read_processors

    (folder / "policy_postprocessor.json").write_bytes(_sound("postprocessor"))
    (folder / "stats.safetensors").write_bytes(_sound("safetensors"))
    return _file(folder, "policy_preprocessor.json", lambda file: read_processors(file.parent))


def _safetensors(folder: Path) -> Parse:
    from pi0_ros.model.checkpoints.tensorfile import read_all

    return _file(folder, "model.safetensors", read_all)


def _index(folder: Path) -> Parse:
    from pi0_ros.model.checkpoints.shards import open_weights

    (folder / "model-00001-of-00001.safetensors").write_bytes(_sound("safetensors"))
    return _file(folder, "model.safetensors.index.json", open_weights)


def _json_tokenizer(folder: Path) -> Parse:
    from pi0_ros.policy.tokenizer import load_tokenizer

    return _file(folder, "tokenizer.json", lambda file: _speak(load_tokenizer(file)))


def _sentencepiece(folder: Path) -> Parse:
    from pi0_ros.policy.tokenizer import load_tokenizer

    return _file(folder, "tokenizer.model", lambda file: _speak(load_tokenizer(file)))


def _speak(tokenizer) -> None:  # type: ignore[no-untyped-def]
    tokenizer.decode(tokenizer.encode("touch the red block"))


def _fast(folder: Path) -> Parse:
    from pi0_ros.policy.fast import load_fast

    shutil.copy(SEEDS / "json_tokenizer" / "sound", folder / "tokenizer.json")
    return _file(folder, "processor_config.json", lambda file: load_fast(file.parent))


def _mcap(folder: Path) -> Parse:
    from pi0_ros.data.recording import load_recording
    from pi0_ros.robot import load_robot

    robot = load_robot("mobile_bimanual")
    return _file(folder, "box.mcap", lambda file: load_recording(file, robot))


def _picture(folder: Path) -> Parse:
    from pi0_ros.data.encoded_pictures import decode_rgb

    return decode_rgb


def _picture_errors() -> tuple[type[BaseException], ...]:
    from pi0_ros.data.encoded_pictures import PictureError

    return (PictureError,)


def _wire(folder: Path) -> Parse:
    from pi0_ros.policy.adapter import Remote
    from pi0_ros.policy.adapter_reading import load_adapter
    from pi0_ros.policy.backends.answers import actions_of
    from pi0_ros.policy.backends.metadata import misfits, notes
    from pi0_ros.policy.backends.wire import unpack
    from pi0_ros.robot import load_robot

    robot, adapter = load_robot("mobile_bimanual"), load_adapter("mobile_bimanual")
    remote = Remote({}, {})

    def parse(data: bytes) -> object:
        value = unpack(data)
        if isinstance(value, dict) and "actions" not in value:
            return misfits(value, adapter, remote, robot), notes(value, adapter, remote, 16)
        return actions_of(value, ("actions",), 18, "policy.yaml")

    return parse


def _ros(folder: Path) -> Parse:
    """The first byte says which message the others are."""
    from pi0_ros.robot import load_robot
    from pi0_ros.ros import bounded, conversions
    from pi0_ros.ros.images import decode_picture
    from pi0_ros.ros.polled_subscriptions import frame_and_names

    robot = load_robot("mobile_bimanual")
    arm, base = robot.group("left_arm"), robot.group("base")
    reads: Mapping[type, Callable[..., object]] = {
        bounded.JointState: lambda m: (
            conversions.joint_state_values(m),
            conversions.channel_values(arm, m, arm.command),
        ),
        bounded.ActionChunk: conversions.chunk_from_message,
        bounded.Odometry: lambda m: (conversions.odometry_values(m), conversions.odometry_values(m, "world")),
        bounded.Float64MultiArray: lambda m: conversions.channel_values(arm, m, arm.command),
        bounded.JointTrajectory: lambda m: conversions.channel_values(arm, m, arm.command),
        bounded.Twist: lambda m: conversions.channel_values(base, m, base.command),
        bounded.TwistStamped: lambda m: conversions.channel_values(base, m, base.command),
        bounded.Image: decode_picture,
        bounded.CompressedImage: decode_picture,
        bounded.ExecutorState: lambda m: conversions.MODE_NAMES.get(m.mode),
        bounded.String: lambda m: m.data,
    }
    kinds = list(reads)

    def parse(data: bytes) -> object:
        kind, body = kinds[data[0] % len(kinds) if data else 0], data[1:]
        frame_and_names(body)
        return reads[kind](bounded.parse_message(body, kind))

    return parse


def _black_box(folder: Path) -> Parse:
    """Whatever is in the records: a file comes out, and it can be read again. The bytes seed what is in them."""
    import random

    from pi0_ros.control import Record
    from pi0_ros.data.bag import read_bag
    from pi0_ros.data.blackbox_file import CHUNK, write_black_box

    def parse(data: bytes) -> object:
        rng = random.Random(data)
        records = [_record(rng, Record) for _ in range(rng.randrange(8))]
        file = write_black_box(folder / "boxes", records, data.decode("utf-8", "replace"), ["a", "b"])
        return read_bag(file, (CHUNK,))

    return parse


def _record(rng, record):  # type: ignore[no-untyped-def]
    import numpy as np

    from bench._fuzz_mutations import VALUES
    from pi0_ros.control import Chunk, Event

    def anything():  # type: ignore[no-untyped-def]
        return rng.choice(VALUES)

    def number():  # type: ignore[no-untyped-def]
        return rng.choice([v for v in VALUES if isinstance(v, int | float)])

    rows = np.array([[float(min(max(number(), -1e300), 1e300)) for _ in range(2)] for _ in range(rng.randrange(4))])
    chunk = Chunk(float(rng.random()), 0.1, ("a", str(anything())), rows.reshape(-1, 2), 1, 2, str(anything()))
    kind, data = rng.choice(
        [
            ("chunk", chunk),
            ("event", Event(number(), number(), "warn", str(anything()), str(anything()))),
            ("state", (number(), {str(anything()): number()}, str(anything()))),
            ("command", (number(), [number(), number()])),
            ("odometry", (number(), (number(), number(), number()))),
            ("picture", ("eye", number(), b"\xff\xd8")),
            ("other", anything()),
        ]
    )
    return record(number(), number(), kind, data, rng.randrange(1000))


TARGETS: Mapping[str, Target] = {
    "robot_yaml": Target(_robot_yaml, _robot_errors, module="pi0_ros.robot"),
    "yaml": Target(_yaml, _robot_errors, module="pi0_ros.robot"),
    "urdf": Target(_urdf, _robot_errors, module="pi0_ros.robot"),
    "xacro": Target(_xacro, _robot_errors, module="pi0_ros.robot"),
    "adapter": Target(_adapter, _policy_errors, module="pi0_ros.policy"),
    "parameters": Target(_parameters, _parameter_errors, module="pi0_ros.ros"),
    "info": Target(_info, _data_errors),
    "info_v21": Target(_dataset("meta/info.json", "v21"), _data_errors),
    "layout": Target(_dataset("meta/info.json", "v3"), _data_errors),
    "tasks": Target(_dataset("meta/tasks.parquet", "v3"), _data_errors),
    "tasks_jsonl": Target(_dataset("meta/tasks.jsonl", "v21"), _data_errors),
    "episodes": Target(_dataset("meta/episodes/chunk-000/file-000.parquet", "v3"), _data_errors),
    "episodes_jsonl": Target(_dataset("meta/episodes.jsonl", "v21"), _data_errors),
    "rows": Target(_dataset("data/chunk-000/file-000.parquet", "v3"), _data_errors),
    "stats": Target(_dataset("meta/stats.json", "v3"), _data_errors),
    "norm_stats": Target(_norm_stats, _policy_errors, module="pi0_ros.policy"),
    "config": Target(_config, _policy_errors, module="pi0_ros.model"),
    "lerobot_config": Target(_lerobot_config, _policy_errors, module="pi0_ros.model"),
    "peft": Target(_peft, _policy_errors, module="pi0_ros.model"),
    "processors": Target(_processors, _policy_errors, module="pi0_ros.policy"),
    "safetensors": Target(_safetensors, _policy_errors, module="pi0_ros.model"),
    "index": Target(_index, _policy_errors, module="pi0_ros.model"),
    "json_tokenizer": Target(_json_tokenizer, _policy_errors, module="pi0_ros.policy"),
    "sentencepiece": Target(_sentencepiece, _policy_errors, module="pi0_ros.policy"),
    "fast": Target(_fast, _policy_errors, module="pi0_ros.policy"),
    "mcap": Target(_mcap, _data_errors),
    "picture": Target(_picture, _picture_errors, named=False),
    "wire": Target(_wire, _policy_errors, named=False, module="pi0_ros.policy"),
    "ros": Target(_ros, _message_errors, named=False, module="pi0_ros.ros"),
    "black_box": Target(_black_box, tuple, named=False),
}
"""Everything that reads what others wrote, by name."""


def as_json(name: str) -> object:
    """A target's sound input as a value, None if it is no JSON."""
    try:
        return json.loads(_sound(name))
    except (ValueError, UnicodeDecodeError):
        return None
