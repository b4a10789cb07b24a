"""`pi0 data info`, `check`, `show`, `stats`, `label`: they read a dataset, and say what is in it."""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from pi0_ros.data.curation.checks import Level
from pi0_ros.data.curation.checks import check as checked
from pi0_ros.data.curation.exact import exact_statistics, replace_statistics
from pi0_ros.data.curation.pieces import selected
from pi0_ros.data.dataset import Dataset
from pi0_ros.data.episode_log import FILE, EpisodeLog, checked_label
from pi0_ros.data.errors import DataError
from pi0_ros.data.layout import STANDARD
from pi0_ros.robot.disk import naming_full_disk
from pi0_ros.robot.replacing import replacing
from pi0_ros.robot.wording import counted

FAR = 3.0
"""How far normalised numbers may lie from 0 before a checkpoint has seen hardly any such."""


def info(args: argparse.Namespace) -> int:
    """Print what a dataset holds."""
    dataset = Dataset(args.folder)
    notes = EpisodeLog(args.folder).read()
    seconds = len(dataset) / dataset.fps
    print(
        f"{args.folder}: LeRobot {dataset.version}, robot {dataset.layout.robot_type}, {dataset.fps:g} frames a second"
    )
    print(f"{counted(len(dataset.episodes), 'episode')}, {counted(len(dataset), 'frame')}, {seconds:.1f} s")
    lengths = [e.length / dataset.fps for e in dataset.episodes]
    print(f"an episode lasts {min(lengths):.1f} to {max(lengths):.1f} s")
    for key, feature in dataset.features.items():
        if key not in STANDARD:
            about = feature.get("info") or {}
            codec = f", {about['video.codec']}" if "video.codec" in about else ""
            names = feature.get("names")
            listed = f": {', '.join(map(str, names))}" if isinstance(names, list) and len(feature["shape"]) == 1 else ""
            print(f"  {key} ({feature['dtype']}{codec} {list(feature['shape'])}){listed}")
    tasks = Counter(task for e in dataset.episodes for task in e.tasks)
    for task, count in tasks.most_common():
        print(f"  “{task}”: {counted(count, 'episode')}")
    if "driver" in dataset.features:
        drivers = Counter(map(str, dataset.column("driver")))
        print(
            "  driven by: " + ", ".join(f"{name} {count / dataset.fps:.1f} s" for name, count in drivers.most_common())
        )
    outcomes = Counter(note.get("outcome") or "not labelled" for note in notes.values())
    if outcomes:
        print("  outcomes: " + ", ".join(f"{name} {count}" for name, count in outcomes.most_common()))
    return 0


def check(args: argparse.Namespace) -> int:
    """Print what is odd; 1 if a training would learn something false."""
    dataset = Dataset(args.folder, skip_bad=True)
    found = checked(dataset)
    for finding in found:
        print(finding.line())
    lines = _against(dataset, args) if args.checkpoint else []
    for line in lines:
        print(line)
    bad = sum(f.level is Level.ERROR for f in found)
    print(
        f"{args.folder}: {counted(bad, 'error')}, {counted(len(found) - bad + len(lines), 'other remark')}, "
        f"{counted(len(dataset.episodes), 'episode')} looked at"
    )
    return 1 if bad else 0


def _against(dataset: Dataset, args: argparse.Namespace) -> list[str]:
    """Where the dataset's numbers lie beside those that a checkpoint was trained with."""
    from pi0_ros.policy import read_policy
    from pi0_ros.robot import load_robot
    from pi0_ros.train.recorded_vectors import model_vectors

    robot = load_robot(args.robot or dataset.layout.robot_type)
    _, adapter, pipeline = read_policy(args.checkpoint, robot, args.adapter)
    state, action = model_vectors(dataset, adapter)
    absolute = [k for k in range(action.shape[1]) if not (k < len(pipeline.delta) and pipeline.delta[k])]
    compared = [("state", name, pipeline.state_norm, state, k) for k, name in enumerate(adapter.state_channels)]
    compared += [("action", adapter.action_channels[k], pipeline.action_norm, action, k) for k in absolute]
    differences = []
    for what, name, norm, values, k in compared:
        width = norm.statistics.size or values.shape[1]
        padded = np.zeros((len(values), max(width, values.shape[1])))
        padded[:, : values.shape[1]] = values
        normal = norm.forward(padded[:, :width])[:, k] if k < width else values[:, k]
        low, high = np.quantile(normal, [0.01, 0.99])
        if low < -FAR or high > FAR:
            own = np.quantile(values[:, k], [0.01, 0.99])
            differences.append(
                f"warning: {what} {name}: {own[0]:.3g} .. {own[1]:.3g} (98 %) is {low:.1f} .. {high:.1f} by the statistics of "
                f"{args.checkpoint}, which was trained within about -1 .. 1"
            )
    return differences


def show(args: argparse.Namespace) -> int:
    """Draw a contact sheet, or write a recording of Rerun."""
    kind = args.out.suffix.lower()
    if kind not in (".png", ".rrd"):
        raise DataError(f"--out {args.out}: give a .png for a contact sheet, or an .rrd for Rerun's viewer")
    dataset = Dataset(args.folder, skip_bad=True)
    positions = selected(dataset, args.episodes)
    if kind == ".rrd":
        from pi0_ros.data.curation.rerun_file import write_rerun

        write_rerun(dataset, positions, args.out)
    else:
        from pi0_ros.data.curation.sheet import contact_sheet

        with naming_full_disk(args.out):
            contact_sheet(dataset, positions, args.out, max(2, args.columns))
    print(f"{args.out}: {len(positions)} of {counted(len(dataset.episodes), 'episode')}")
    return 0


def stats(args: argparse.Namespace) -> int:
    """Print exact statistics of the numbers; with --write those of all features go to meta/stats.json."""
    dataset = Dataset(args.folder)
    found = exact_statistics(dataset, pictures=args.write)
    for key, named in found.items():
        if key in STANDARD or key in dataset.layout.cameras.values():
            continue
        names = dataset.features[key].get("names")
        labels = names if isinstance(names, list) and len(names) == named["min"].size else range(named["min"].size)
        print(
            f"{key}{'':>{max(1, 24 - len(key))}}{'min':>10} {'q01':>10} {'q50':>10} {'q99':>10} {'max':>10} {'mean':>10} {'std':>10}"
        )
        for k, label in enumerate(labels):
            row = " ".join(
                f"{float(np.ravel(named[n])[k]):>10.4g}" for n in ("min", "q01", "q50", "q99", "max", "mean", "std")
            )
            print(f"  {str(label)[:22]:<23}{row}")
    if args.write:
        none = [key for key, named in found.items() if not all(np.isfinite(values).all() for values in named.values())]
        if none:
            raise DataError(
                f"{args.folder}: {', '.join(none)} has values that are no numbers, and so no statistics; `pi0 data check` says "
                "where, `pi0 data drop` leaves those episodes out"
            )
        copy = replace_statistics(args.folder, found)
        print(
            f"{args.folder}: meta/stats.json is of all {len(dataset)} frames"
            + (f"; what stood there is {copy.name}" if copy else "")
        )
    return 0


def label(args: argparse.Namespace) -> int:
    """Say something of episodes."""
    dataset, log = Dataset(args.folder), EpisodeLog(args.folder)
    labels = checked_label(args.outcome, args.score, args.note)
    file, number = args.folder / FILE, 1
    while (copy := file.with_name(f"pi0_episodes.{number}.json")).exists():
        number += 1
    if file.is_file():
        with replacing(copy) as new:
            new.write_bytes(file.read_bytes())
    chosen = [dataset.episodes[p].index for p in selected(dataset, args.episodes)]
    for episode in chosen:
        log.label(episode, labels)
    print(f"{args.folder}: {counted(len(chosen), 'episode')}: {', '.join(f'{k} {v}' for k, v in labels.items())}")
    return 0
