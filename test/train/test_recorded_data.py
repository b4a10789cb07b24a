"""What is trained on is what the dataset's folder holds and the policy YAML names, or a refusal."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "datasets"))
from small_lerobot import CHANNELS, TASKS, write

from pi0_ros.data.dataset import Dataset
from pi0_ros.policy.adapter import Block, RecordedKeys
from pi0_ros.policy.adapter_reading import adapter_from, load_adapter
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.robot.yaml_nodes import read_yaml
from pi0_ros.train import recorded_inputs
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frame_cache import cache_folder, made_of, refreshed
from pi0_ros.train.frames import join, load_frames
from pi0_ros.train.from_dataset import frames_of, write_dataset_frames

ADAPTER = load_adapter("mobile_bimanual")


def frames(folder: Path, adapter=ADAPTER, horizon: int = 4, **more):
    dataset = Dataset(folder)
    return frames_of(dataset, adapter, 16, horizon, range(len(dataset.episodes)), **more)


def cached(dataset: Path, out: Path, adapter=ADAPTER, said: list | None = None):
    said = [] if said is None else said
    folder = refreshed(cache_folder(out, dataset), made_of(dataset, adapter, 16, 4, False), said.append)
    write_dataset_frames(dataset, folder, adapter, 16, 4, say=said.append)
    return join([load_frames(f) for f in sorted(folder.glob("shard-*"))])


# The cache


def test_two_datasets_of_one_folder_name_keep_apart(tmp_path):
    one, two = (
        write(tmp_path / "a" / "pick", lengths=(8,)),
        write(tmp_path / "b" / "pick", lengths=(6, 7), tasks=TASKS[1:]),
    )
    found = [cached(d, tmp_path / "frames") for d in (one, two)]
    assert [len(f) for f in found] == [8, 13]
    assert found[0].texts == TASKS[:1] and found[1].texts == TASKS[1:]


def test_a_dataset_that_grew_is_read_anew(tmp_path):
    place, said = tmp_path / "mine", []
    write(place, lengths=(8, 6))
    assert len(cached(place, tmp_path / "frames", said=said)) == 14
    assert len(cached(place, tmp_path / "frames", said=said)) == 14 and not any("made anew" in s for s in said)
    shutil.rmtree(place)
    write(place, lengths=(8, 6, 7))
    assert len(cached(place, tmp_path / "frames", said=said)) == 21
    assert any("made anew, because the dataset's files changed" in s for s in said)


def test_frames_follow_an_edited_policy_yaml(tmp_path):
    place, said = write(tmp_path / "d"), []
    before = cached(place, tmp_path / "frames", said=said)
    turned = replace(ADAPTER, state=ADAPTER.state[::-1], actions=ADAPTER.actions[::-1])
    after = cached(place, tmp_path / "frames", turned, said)
    assert any("made anew, because the policy YAML changed" in s for s in said)
    order = [CHANNELS.index(c) for c in turned.state_channels]
    np.testing.assert_array_equal(
        after.state, before.state[:, [ADAPTER.state_channels.index(CHANNELS[i]) for i in order]]
    )
    assert after.channels == turned.action_channels


def test_frames_of_which_nothing_says_what_they_are_of_are_refused(tmp_path):
    (tmp_path / "frames" / "old" / "shard-00000").mkdir(parents=True)
    with pytest.raises(TrainError, match="older version"):
        refreshed(tmp_path / "frames" / "old", {}, print)


# Which frames


def test_frames_without_an_instruction_are_left_out_and_counted(tmp_path):
    said = []
    place = write(tmp_path / "d", tasks=("touch the red block", "", None))
    found = cached(place, tmp_path / "frames", said=said)
    assert len(found) == 8 and found.texts == ("touch the red block",) and (found.task == 0).all()
    assert any("13 of 21 frames are left out (13 without an instruction" in s for s in said)


def test_a_dataset_without_any_instruction_is_refused(tmp_path):
    with pytest.raises(TrainError, match="no frame can be used"):
        cached(write(tmp_path / "d", tasks=("", "", "")), tmp_path / "frames")


def test_no_chunk_runs_over_a_hole_in_time(tmp_path):
    def jump(position, columns):
        if position == 0:
            columns["timestamp"] = columns["timestamp"] + np.where(np.arange(8) >= 5, 2.1, 0.0).astype(np.float32)
        return columns

    found = frames(write(tmp_path / "d", lengths=(8,), edit=jump), horizon=3)
    # Frames 3 and 4 would need frame 5, which came 2.1 s later; frames 0..2 end before it.
    times = [0, 1, 2, 5, 6, 7]
    expected = [(0.1 * np.sin(k / 10 + np.arange(18))).astype(np.float32) for k in times]
    np.testing.assert_allclose(found.state, expected, atol=1e-6)


def test_rows_behind_an_episodes_end_are_marked(tmp_path):
    found = frames(write(tmp_path / "d", lengths=(6, 3)), horizon=4)
    assert found.valid.tolist() == [4, 4, 4, 3, 2, 1, 3, 2, 1]


def test_frames_that_are_left_out_for_a_number_that_is_none_are_said_to_be_so(tmp_path):
    def spoil(position, columns):
        if position == 1:
            columns["action"][3, 2] = np.nan
        return columns

    said = []
    folder = write(tmp_path / "d", edit=spoil)
    assert write_dataset_frames(folder, tmp_path / "frames", ADAPTER, 16, 4, True, said.append) == 21 - 4
    (line,) = [s for s in said if "left out" in s]
    assert line.endswith(
        "4 of 21 frames are left out (0 without an instruction; 0 holes in time, over which no chunk runs; 1 with a value that "
        "is no number, over which none runs either)"
    )


def test_a_number_that_is_none_is_named_with_episode_and_frame(tmp_path):
    def spoilt(key):
        def edit(position, columns):
            if position == 1:
                columns[key][3, 2] = np.nan
            return columns

        return edit

    for key, match in (("action", "action of left_joint3 is no number in episode 1, frame 3"),
                       ("observation.state", "observation.state of left_joint3 is no number in episode 1, frame 3")):  # fmt: skip
        place = write(tmp_path / key, edit=spoilt(key))
        with pytest.raises(TrainError, match=match + ".*--skip-bad"):
            frames(place)
        kept = frames(place, skip_bad=True)
        assert len(kept) == 21 - 4 and np.isfinite(kept.chunk).all() and np.isfinite(kept.state).all()


# Names


def test_one_name_for_two_columns_is_refused(tmp_path):
    names = list(CHANNELS)
    names[13] = "left_gripper"
    with pytest.raises(TrainError, match="left_gripper is at 6, 13"):
        frames(write(tmp_path / "d", names=names))


def test_fewer_names_than_numbers_are_refused_with_both_sizes(tmp_path):
    with pytest.raises(TrainError, match="16 names for 18 numbers"):
        frames(write(tmp_path / "d", names=CHANNELS[:16]))


def test_names_that_nobody_wrote_can_be_given_in_the_policy_yaml(tmp_path):
    def nameless(features):
        return {
            k: {**f, "names": ["state"]} if k in ("observation.state", "action") else f for k, f in features.items()
        }

    place = write(tmp_path / "d", columns=nameless)
    with pytest.raises(TrainError, match="the joint of each number is unknown.*state_names"):
        frames(place)
    order = CHANNELS[::-1]
    found = frames(place, replace(ADAPTER, dataset=RecordedKeys(state_names=tuple(order), action_names=tuple(order))))
    expected = (0.1 * np.sin(np.arange(18))).astype(np.float32)  # frame 0 of episode 0, columns as written
    np.testing.assert_allclose(found.state[0], expected[[order.index(c) for c in ADAPTER.state_channels]], atol=1e-6)


def test_openpis_own_keys_are_named_in_the_policy_yaml(tmp_path):
    called = {"observation.state": "state", "action": "actions", "observation.images.base": "image"}

    def edit(position, columns):
        return {called.get(k, k): v for k, v in columns.items()}

    def renamed(features):
        return {called.get(k, k): f for k, f in features.items()}

    place = write(tmp_path / "d", edit=edit, columns=renamed)
    _rename_column(place, "observation.images.base", "image")
    with pytest.raises(TrainError, match="no feature 'observation.state'.*dataset: {state"):
        frames(place, replace(ADAPTER, dataset=RecordedKeys(cameras={"base": "image"})))
    keys = RecordedKeys(state=("state",), action=("actions",), cameras={"base": "image"})
    found = frames(place, replace(ADAPTER, dataset=keys))
    assert len(found) == 21 and round((found.images[8, 0].mean((0, 1))[0] - 20) / 40) == 1


def _rename_column(place, old, new):
    import pyarrow.parquet as pq

    file = next(place.glob("data/*/*.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.rename_columns([new if n == old else n for n in table.column_names]), file)


def test_a_vector_that_was_split_is_joined_again(tmp_path):
    def edit(position, columns):
        for key in ("observation.state", "action"):
            whole = columns.pop(key)
            columns[f"{key}.arms"], columns[f"{key}.base"] = whole[:, :14], whole[:, 14:]
        return columns

    def split(features):
        for key in ("observation.state", "action"):
            del features[key]
            features[f"{key}.arms"] = {"dtype": "float32", "shape": [14], "names": CHANNELS[:14]}
            features[f"{key}.base"] = {"dtype": "float32", "shape": [4], "names": CHANNELS[14:]}
        return features

    found = frames(write(tmp_path / "d", edit=edit, columns=split))
    expected = (0.1 * np.sin(np.arange(18))).astype(np.float32)
    np.testing.assert_allclose(found.state[0], expected[[CHANNELS.index(c) for c in ADAPTER.state_channels]], atol=1e-6)


def test_recorded_keys_survive_in_a_checkpoint(tmp_path):
    import json

    keys = RecordedKeys(("state",), ("actions", "more"), ("a", "b"), (), {"base": "image"})
    (tmp_path / "c.json").write_text(json.dumps(adapter_to_dict(replace(ADAPTER, dataset=keys))))
    assert adapter_from(read_yaml(tmp_path / "c.json")).dataset == keys


# Rates


def test_a_rate_of_television_gives_its_own_rows(tmp_path):
    place = write(tmp_path / "d", fps=29.97)
    found = frames(place, replace(ADAPTER, period=0.0333667))
    assert len(found) == 21
    expected = [(0.1 * np.sin(k / 29.97 + np.arange(18)) + 0.01) for k in range(4)]  # every frame a row
    np.testing.assert_allclose(
        found.chunk[0][:, 0], np.array(expected)[:, CHANNELS.index(ADAPTER.action_channels[0])], atol=1e-5
    )


def test_a_rate_that_does_not_divide_names_file_number_and_periods_that_fit(tmp_path):
    with pytest.raises(
        TrainError, match=r"info.json: 15 fps gives no rows every 0.1 s; set `period:` in .*0.0666667, 0.133333"
    ):
        frames(write(tmp_path / "d", fps=15))


def test_a_sign_of_the_policy_yaml_reaches_state_and_chunk(tmp_path):
    first = ADAPTER.state[0]
    signs = (-1.0, *first.signs[1:])
    turned = replace(
        ADAPTER, state=(replace(first, signs=signs), *ADAPTER.state[1:]),
        actions=(Block(ADAPTER.actions[0].channels, (-1.0, *ADAPTER.actions[0].signs[1:])), *ADAPTER.actions[1:]),
    )  # fmt: skip
    place = write(tmp_path / "d")
    plain, other = frames(place), frames(place, turned)
    np.testing.assert_allclose(other.state[:, 0], -plain.state[:, 0])
    np.testing.assert_allclose(other.chunk[..., 0], -plain.chunk[..., 0])
    np.testing.assert_allclose(other.state[:, 1:], plain.state[:, 1:])


def test_periods_that_fit_are_the_first_four(tmp_path):
    with pytest.raises(TrainError, match=r"a multiple of 1/25 s \(0\.04, 0\.08, 0\.12, 0\.16\), or resample"):
        frames(write(tmp_path / "d", fps=25), replace(ADAPTER, period=0.1))


def test_episodes_whose_tables_are_not_what_meta_says_are_told_when_they_are_left_out(tmp_path):
    wrong = lambda table: [table[0], table[1] | {"length": 5}, table[2]]
    place, said = write(tmp_path / "d", meta=wrong), []
    count = write_dataset_frames(place, tmp_path / "f", ADAPTER, 16, 4, skip_bad=True, say=said.append)
    assert count == 15 and any(f"{place}: left out: episode 1: " in text for text in said)
    assert f"{place}: 15 frames of 15 read" in said


def test_inputs_are_of_frames_spread_evenly_over_those_with_words_and_numbers(tmp_path, monkeypatch):
    """Of frames 0, 2, 3, 5, 6, 7 three: the first, the one nearest to the middle, the last."""
    states = np.arange(16.0).reshape(8, 2)
    states[4, 1] = np.nan
    monkeypatch.setattr(recorded_inputs, "dataset_cameras", lambda *_: [("slot", "eye")])
    monkeypatch.setattr(recorded_inputs, "model_vectors", lambda *_: (states, None))

    class Recorded:
        folder = tmp_path

        def __len__(self):
            return 8

        def task_of(self, frame):
            return "" if frame == 1 else f"task {frame}"

        def picture(self, camera, frame):
            return f"{camera} {frame}"

    class Line:
        def inputs(self, pictures, state, task, tokenizer):
            return pictures, state.tolist(), task, tokenizer

    found = list(recorded_inputs.recorded_inputs(Recorded(), None, Line(), "words", 3))
    assert found == [({"slot": f"eye {k}"}, [2.0 * k, 2.0 * k + 1], f"task {k}", "words") for k in (0, 3, 7)]
    every = [task for _, _, task, _ in recorded_inputs.recorded_inputs(Recorded(), None, Line(), "words", 99)]
    assert every == [f"task {k}" for k in (0, 2, 3, 5, 6, 7)]
    four = [task for _, _, task, _ in recorded_inputs.recorded_inputs(Recorded(), None, Line(), "words", 4)]
    assert four == [f"task {k}" for k in (0, 3, 5, 7)], "places 0, 1.67, 3.33 and 5 are 0, 2, 3 and 5"
    states[:] = np.nan
    with pytest.raises(TrainError, match="no frame has an instruction and a finite state"):
        next(recorded_inputs.recorded_inputs(Recorded(), None, Line(), "words", 3))
