"""A checkpoint's files without its weights: what its files, a policy YAML and a person say, and who of them decides."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.model.config import preset
from pi0_ros.model.conventions import conventions_for
from pi0_ros.model.description import Description
from pi0_ros.policy import tiny_tokenizer
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.bins import BinTokenizer
from pi0_ros.policy.checkpoint import Overrides, build_pipeline
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.lerobot_files import has_processors
from pi0_ros.policy.normalize import Statistics, write_norm_stats
from pi0_ros.policy.reading import _graphs_of, find_adapter, load_fast_for, load_words, policy_lines, sizes_for
from pi0_ros.robot import load_robot

ARM = """policy: arm
cameras: {base: top, left_wrist: null, right_wrist: hand}
period: 0.1
state:
  - channels: [a, b, grip]
actions:
  - {channels: [a, b], delta: true}
  - {channels: [grip]}
"""


@pytest.fixture
def arm(tmp_path):
    """The arm's policy YAML, with lines more."""

    def make(more="", text=ARM):
        file = tmp_path / "arm.yaml"
        file.write_text(text + more)
        return load_adapter(file)

    return make


def statistics(size=3, shift=0.0):
    low = np.linspace(-1.0, -0.5, size) + shift
    return Statistics({"mean": low + 0.5, "std": np.full(size, 2.0), "q01": low, "q99": low + 3.0}, f"of {size}")


BOTH = {"state": statistics(), "actions": statistics(3, 0.25)}
GIVEN = Overrides(statistics=BOTH)


def opened(folder, origin="openpi", kind="pi05", settings=(), assumed=(), habits=(), **changes):
    """A checkpoint as `pi0_ros.model` describes one, without weights."""
    expert = None if kind == "pi0_fast" else preset("tiny").expert
    config = preset("tiny", **{"kind": kind, "expert": expert, "action_dim": 8, **changes})
    return Description(
        origin,
        config,
        folder,
        replace(conventions_for(origin, kind, {}), **dict(habits)),
        dict(settings),
        tuple(assumed),
    )


def said(pipeline):
    return {s.key: (s.value, s.source) for s in pipeline.settings}


# --- what every checkpoint has ---


def test_a_pipeline_says_of_each_value_where_it_is_from(tmp_path, arm):
    adapter = arm()
    found = build_pipeline(opened(tmp_path), adapter, GIVEN)
    file = str(adapter.file)
    assert said(found) == {
        "prompt.kind": ("pi05", "the network"),
        "prompt.dialect": ("openpi", "as openpi does"),
        "prompt.length": (64, "the checkpoint"),
        "prompt.state": (True, "as openpi does"),
        "prompt.pad_state_to": (0, "as openpi does"),
        "resampler": ("pil", "as openpi does"),
        "horizon": (16, str(tmp_path)),
        "normalisation of state": ("openpi_quantile", "as openpi does for pi05"),
        "normalisation of actions": ("openpi_quantile", "as openpi does for pi05"),
        "offsets": ((True, True, False), file),
        "statistics of state": ("3 dimensions", "of 3"),
        "statistics of actions": ("3 dimensions", "of 3"),
        "cameras": (("base <- top", "left_wrist <- nothing", "right_wrist <- hand"), file),
    }
    assert (found.origin, found.cameras, found.image_size) == (
        "openpi",
        ("base", "left_wrist", "right_wrist"),
        (96, 96),
    )
    assert (found.action_width, found.action_size, found.horizon, found.state_input) == (8, 3, 16, 0)
    assert (found.missing, found.delta, found.steps, found.empty_slots) == (
        "masked",
        (True, True, False),
        (0.0,) * 3,
        0,
    )
    np.testing.assert_array_equal(found.state_norm.statistics["q01"], BOTH["state"]["q01"])
    np.testing.assert_array_equal(found.action_norm.statistics["q01"], BOTH["actions"]["q01"])


def test_what_a_policy_yaml_says_counts_before_the_checkpoints_habits(tmp_path, arm):
    more = (
        "missing_cameras: black\nresampler: torch\nnormalisation: zscore\nhorizon: 16\n"
        "prompt: {dialect: lerobot, length: 77, state: false, pad_state_to: 5, control_mode: joint, lowercase: true}\n"
    )
    adapter = arm(more)
    found = build_pipeline(opened(tmp_path), adapter, GIVEN)
    style = found.style
    assert (style.kind, style.dialect, style.length, style.state) == ("pi05", "lerobot", 77, False)
    assert (style.pad_state_to, style.control_mode, style.lowercase) == (5, "joint", True)
    assert (found.missing, found.resampler) == ("black", "torch")
    assert found.state_norm.method == found.action_norm.method == "openpi_zscore"
    by_file = {key for key, (_, source) in said(found).items() if source == str(adapter.file)}
    assert by_file == {
        "prompt.dialect", "prompt.length", "prompt.state", "prompt.pad_state_to", "prompt.control_mode",
        "prompt.lowercase", "resampler", "normalisation of state", "normalisation of actions", "offsets", "cameras",
    }  # fmt: skip
    padded = build_pipeline(opened(tmp_path), adapter, replace(GIVEN, pad_state_to=9))
    assert said(padded)["prompt.pad_state_to"] == (9, "the parameter pad_state_to")
    with pytest.raises(PolicyError, match=r"arm.yaml: prompt.kind is pi0, the network is a pi05"):
        build_pipeline(opened(tmp_path), arm("prompt: {kind: pi0}\n"), GIVEN)


@pytest.mark.parametrize(
    ("kind", "state_input", "in_prompt", "method"),
    [
        ("pi0", 18, False, "openpi_zscore"),
        ("pi05", 0, True, "openpi_quantile"),
        ("pi0_fast", 0, True, "openpi_quantile"),
    ],
)
def test_the_state_is_a_vector_of_pi0s_and_words_of_the_others(tmp_path, arm, kind, state_input, in_prompt, method):
    found = build_pipeline(opened(tmp_path, kind=kind), arm(), GIVEN)
    assert (found.state_input, found.style.state) == (state_input, in_prompt)
    assert found.action_norm.method == found.state_norm.method == method


def test_a_network_with_a_memory_of_the_body_has_no_state_in_its_prompt(tmp_path, arm):
    settings = {"use_proprioceptive_memory": True}
    assert not build_pipeline(opened(tmp_path, settings=settings), arm(), GIVEN).style.state


def test_a_state_of_another_size_than_the_actions_is_padded_to_its_own(tmp_path, arm):
    assert build_pipeline(opened(tmp_path, kind="pi0", state_dim=11), arm(), GIVEN).state_input == 11


def test_without_a_policy_yaml_openpis_vectors_come_as_they_are(tmp_path):
    found = build_pipeline(opened(tmp_path), None, GIVEN)
    assert (found.action_size, found.delta, found.steps, found.missing) == (0, (), (), "masked")
    assert said(found)["cameras"] == (
        ("base <- nothing", "left_wrist <- nothing", "right_wrist <- nothing"),
        "no policy YAML",
    )
    assert said(found)["offsets"] == ((), "none are")


# --- rows ---


@pytest.mark.parametrize(
    ("line", "assumed", "source"),
    [
        ("", (), "folder"),
        ("horizon: 16\n", (), "folder"),
        ("horizon: {pi05: 16, pi0: 9}\n", ("horizon",), "yaml"),
        ("horizon: 16\n", ("horizon",), "yaml"),
        ("horizon: 9\n", ("horizon",), "guess"),
        ("", ("horizon",), "guess"),
        ("horizon: 16\n", ("prompt_length",), "folder"),
    ],
)
def test_rows_are_the_checkpoints_or_what_the_yaml_says_or_a_guess(tmp_path, arm, line, assumed, source):
    adapter = arm(line)
    rows, found = said(build_pipeline(opened(tmp_path, assumed=assumed), adapter, GIVEN))["horizon"]
    guess = "a guess: no file says how many rows it was trained with"
    assert (rows, found) == (16, {"folder": str(tmp_path), "yaml": str(adapter.file), "guess": guess}[source])


def test_rows_that_differ_are_refused_with_the_way_out(tmp_path, arm):
    for line in ("horizon: 9\n", "horizon: {pi05: 9}\n"):
        with pytest.raises(
            PolicyError, match=r"horizon: .* says 16, .*arm.yaml says 9; .* correct or remove `horizon`"
        ):
            build_pipeline(opened(tmp_path), arm(line), GIVEN)
    assert build_pipeline(opened(tmp_path), arm("horizon: {pi0: 9}\n"), GIVEN).horizon == 16


@pytest.mark.parametrize(
    ("line", "assumed", "given", "found"),
    [
        ("horizon: 9\n", ("horizon",), None, {"horizon": 9}),
        ("horizon: 9\n", ("horizon",), {"depth": 2, "horizon": 3}, {"depth": 2, "horizon": 9}),
        ("horizon: 9\n", (), {"depth": 2}, {"depth": 2}),
        ("horizon: {pi0: 9}\n", ("horizon",), None, None),
        ("", ("horizon",), {"depth": 2}, {"depth": 2}),
    ],
)
def test_the_yamls_rows_are_a_size_only_where_the_checkpoint_records_none(tmp_path, arm, line, assumed, given, found):
    assert sizes_for(opened(tmp_path, assumed=assumed), arm(line), given) == found


# --- cameras ---


def test_openpis_fast_on_droid_and_libero_has_slots_of_other_names(tmp_path, arm):
    other = "cameras: {wrist_0_rgb: hand, base_0_rgb: top}\n"
    text = ARM.replace("cameras: {base: top, left_wrist: null, right_wrist: hand}\n", other)
    fast = opened(tmp_path, kind="pi0_fast")
    assert build_pipeline(fast, arm(), GIVEN).cameras == ("base", "left_wrist", "right_wrist")
    assert build_pipeline(fast, arm(text=text), GIVEN).cameras == ("base_0_rgb", "base_1_rgb", "wrist_0_rgb")
    with pytest.raises(
        PolicyError, match="picture slots are base, left_wrist, right_wrist, the adapter fills wrist_0_rgb, base_0_rgb;"
    ):
        build_pipeline(opened(tmp_path), arm(text=text), GIVEN)
    with pytest.raises(PolicyError, match="the adapter fills wrist_0_rgb, base_3_rgb"):
        build_pipeline(fast, arm(text=text.replace("base_0", "base_3")), GIVEN)


def lerobot(folder, settings=(), **more):
    features = {"output_features": {"action": {"shape": [3]}}, "input_features": {"observation.state": {"shape": [3]}}}
    return opened(folder, "lerobot", settings=features | dict(settings), **more)


@pytest.mark.parametrize(
    ("network", "yaml", "slots"),
    [
        (
            ("base", "left_wrist", "right_wrist"),
            "{base: top, right_wrist: hand}",
            ("base", "left_wrist", "right_wrist"),
        ),
        (("only",), "{whatever: top}", ("whatever",)),
        (("base", "only"), "{whatever: top}", None),
        (("base",), "{a: top, b: hand}", None),
    ],
)
def test_a_single_camera_of_lerobots_needs_no_name(tmp_path, arm, network, yaml, slots):
    adapter = arm(text=ARM.replace("{base: top, left_wrist: null, right_wrist: hand}", yaml))
    checkpoint = lerobot(tmp_path, cameras=network)
    if slots is None:
        with pytest.raises(PolicyError, match=f"picture slots are {', '.join(network)}, the adapter fills"):
            build_pipeline(checkpoint, adapter, GIVEN)
    else:
        assert build_pipeline(checkpoint, adapter, GIVEN).cameras == slots


def test_pictures_beyond_the_networks_own_slots_stay_empty(tmp_path, arm):
    found = build_pipeline(lerobot(tmp_path, {"empty_cameras": 5}), arm(), GIVEN)
    assert found.empty_slots == 2 and build_pipeline(lerobot(tmp_path), arm(), GIVEN).empty_slots == 0


# --- lerobot's vectors ---


def test_lerobots_own_words_on_a_checkpoint_without_processors(tmp_path, arm):
    found = build_pipeline(lerobot(tmp_path), arm(), GIVEN)
    assert not has_processors(tmp_path)
    assert (found.origin, found.style.dialect, found.resampler) == ("lerobot", "lerobot", "torch")
    assert found.state_norm.method == found.action_norm.method == "lerobot_quantiles"
    assert said(found)["normalisation of state"] == ("lerobot_quantiles", "as lerobot does for pi05")
    assert (found.action_size, found.action_width, found.rename) == (3, 8, {})
    np.testing.assert_array_equal(found.state_norm.statistics["q01"], BOTH["state"]["q01"])
    np.testing.assert_array_equal(found.action_norm.statistics["q01"], BOTH["actions"]["q01"])
    mean = build_pipeline(lerobot(tmp_path), arm("normalisation: zscore\n"), GIVEN)
    assert mean.state_norm.method == mean.action_norm.method == said(mean)["normalisation of state"][0]
    wanted = (np.array([0.5, 1.0, -1.0]) - [-0.5, -0.25, 0.0]) / 2.0  # means and deviations of `statistics`
    np.testing.assert_allclose(mean.normalised_state([0.5, 1.0, -1.0]), wanted, atol=1e-6)
    with pytest.raises(PolicyError, match="no normalisation statistics"):
        build_pipeline(lerobot(tmp_path), arm())
    write_norm_stats(tmp_path, BOTH)
    assert build_pipeline(lerobot(tmp_path), arm()).state_norm.statistics.size == 3


@pytest.mark.parametrize(
    ("settings", "habits", "delta", "source"),
    [
        ({}, {}, (True, True, False), "yaml"),
        ({}, {"relative_actions": True}, None, "3 named none"),
        ({"action_feature_names": ["a.pos", "b.pos", "gripper.pos"]}, {"relative_actions": True, "absolute_joints": ("GRIP",)},
         (True, True, False), "config.json"),
    ],
)  # fmt: skip
def test_offsets_of_lerobots_are_by_the_names_of_the_actions(tmp_path, arm, settings, habits, delta, source):
    checkpoint, adapter = lerobot(tmp_path, settings, habits=habits), arm()
    if delta is None:
        with pytest.raises(
            PolicyError, match="offsets: config.json says True, True, True, .*arm.yaml says True, True, False"
        ):
            build_pipeline(checkpoint, adapter, GIVEN)
    else:
        found = build_pipeline(checkpoint, adapter, GIVEN)
        wanted = str(adapter.file) if source == "yaml" else source
        assert (found.delta, said(found)["offsets"][1]) == (delta, wanted)


@pytest.mark.parametrize(
    ("shape", "statistics_of", "size"),
    [([3], 3, 3), ([4], 3, None), ([3, 1], 3, 3), ("3", 3, 3), ([3.0], 3, 3), (None, 4, None)],
)
def test_how_many_actions_there_are_is_what_the_features_say_or_the_statistics(
    tmp_path, arm, shape, statistics_of, size
):
    checkpoint = lerobot(tmp_path, {"output_features": {"action": {"shape": shape}} if shape else None})
    given = Overrides(statistics={"state": statistics(), "actions": statistics(statistics_of)})
    if size is None:
        with pytest.raises(PolicyError, match="the checkpoint has 4 actions, .*arm.yaml has 3"):
            build_pipeline(checkpoint, arm(), given)
    else:
        assert build_pipeline(checkpoint, arm(), given).action_size == size


def test_how_long_a_state_is_is_what_the_features_say_or_the_statistics(tmp_path, arm):
    for features, numbers, told in ((None, 4, 4), ([4], 3, 4), ([3], 4, None)):
        checkpoint = lerobot(tmp_path, {"input_features": {"observation.state": {"shape": features}}})
        given = Overrides(statistics={"state": statistics(numbers), "actions": statistics()})
        if told is None:
            assert build_pipeline(checkpoint, arm(), given).state_norm.statistics.size == 4
        else:
            with pytest.raises(PolicyError, match=f"the checkpoint has {told} state, .*arm.yaml has 3"):
                build_pipeline(checkpoint, arm(), given)


def test_a_checkpoint_of_lerobots_in_our_layout_keeps_its_offsets_and_its_exact_size(tmp_path, arm):
    ours = {"dialect": "lerobot", "state_norm": "lerobot_mean_std", "action_norm": "lerobot_quantiles"}
    masked = opened(tmp_path, "pi0_ros", habits=ours | {"relative_mask": (True, True, False)})
    found = build_pipeline(masked, arm(), GIVEN)
    assert (found.delta, found.action_size) == ((True, True, False), 3)
    assert (found.state_norm.method, found.action_norm.method) == ("lerobot_mean_std", "lerobot_quantiles")
    assert said(found)["normalisation of state"][1] == "the checkpoint's files"
    assert said(found)["offsets"][1] == "the checkpoint's config.json"
    named = opened(tmp_path, "pi0_ros", habits=ours | {"relative_actions": True, "absolute_joints": ("grip",)})
    assert build_pipeline(named, arm(), GIVEN).delta == (True, True, False)
    assert build_pipeline(named, None, GIVEN).delta == (True, True, True), "dimensions without a name are offsets"
    four = Overrides(statistics={"state": statistics(), "actions": statistics(4)})
    with pytest.raises(PolicyError, match="has 4 actions, .* has 3"):
        build_pipeline(masked, arm(), four)
    assert build_pipeline(opened(tmp_path, "pi0_ros", habits=ours), None, four).action_size == 4


def test_steps_and_offsets_of_one_channel_contradict_each_other(tmp_path, arm):
    text = ARM.replace("delta: true", "delta: step")
    found = build_pipeline(opened(tmp_path), arm(text=text), GIVEN)
    assert found.steps == (1.0, 1.0, 0.0) and found.delta == ()
    habits = {"dialect": "lerobot", "relative_mask": (False, True, False)}
    with pytest.raises(
        PolicyError, match=r"arm.yaml calls b steps from the row before, the checkpoint's config.json offsets"
    ):
        build_pipeline(opened(tmp_path, "pi0_ros", habits=habits), arm(text=text), GIVEN)


# --- statistics ---


def test_statistics_given_come_before_those_of_the_folder_by_value_by_file_and_by_asset(tmp_path, arm):
    for name, shift in (("one", 1.0), ("two", 2.0), ("three", 3.0)):
        (tmp_path / "assets" / name).mkdir(parents=True)
        write_norm_stats(
            tmp_path / "assets" / name, {"state": statistics(3, shift), "actions": statistics(3, 10 * shift)}
        )
    write_norm_stats(tmp_path / "mine.json", {"state": statistics(3, 7.0), "actions": statistics(3, 8.0)})
    adapter = arm("asset: two\n")

    def lows(overrides=None, adapter=adapter):
        found = build_pipeline(opened(tmp_path), adapter, overrides)
        return [float(n.statistics["q01"][0]) for n in (found.state_norm, found.action_norm)]

    assert lows() == [1.0, 19.0]
    assert lows(Overrides(asset="three")) == [2.0, 29.0]
    assert lows(Overrides(statistics=tmp_path / "mine.json", asset="three")) == [6.0, 7.0]
    assert lows(GIVEN) == [-1.0, -0.75]
    for nothing in (arm(), arm("asset: four\n")):
        with pytest.raises(PolicyError, match="statistics for one, three, two; choose"):
            lows(adapter=nothing)
    with pytest.raises(PolicyError, match="the statistics given: statistics of actions are missing; both are needed"):
        lows(Overrides(statistics={"state": statistics()}))
    with pytest.raises(PolicyError, match="statistics of state and actions are missing"):
        lows(Overrides(statistics={"other": statistics()}))


# --- which adapter ---


def test_an_adapter_given_comes_before_the_checkpoints_own_and_that_before_the_robots(tmp_path, arm):
    robot, given = load_robot("mobile_bimanual"), arm()
    own = replace(load_adapter("mobile_bimanual"), name="its own")
    (tmp_path / "config.json").write_text(json.dumps({"policy": adapter_to_dict(own)}))
    ours = opened(tmp_path, "pi0_ros")
    assert find_adapter(ours, robot, given) is given
    assert find_adapter(ours, robot, str(given.file)) == given
    assert find_adapter(ours, robot).name == "its own"
    assert find_adapter(opened(tmp_path, "openpi"), robot).name == "mobile_bimanual"
    (tmp_path / "config.json").write_text("{}")
    assert find_adapter(ours, robot).name == "mobile_bimanual"
    with pytest.raises(
        PolicyError, match=r"nothing says how .* to robot stranger; write config/policies/stranger.yaml"
    ):
        find_adapter(ours, replace(robot, name="stranger"))


@pytest.mark.parametrize("given", ["checkpoint", "checkpoint/params", "checkpoint/model.safetensors"])
def test_graphs_lie_beside_the_weights_whatever_of_a_checkpoint_is_named(tmp_path, given):
    (tmp_path / "checkpoint" / "params").mkdir(parents=True)
    (tmp_path / "checkpoint" / "onnx").mkdir()
    assert _graphs_of(tmp_path / given) is None
    (tmp_path / "checkpoint" / "onnx" / "network.json").write_text("{}")
    assert _graphs_of(tmp_path / given) == tmp_path / "checkpoint" / "onnx"


# --- words ---


def test_words_are_those_given_or_the_checkpoints_and_have_a_row_each(tmp_path, arm):
    tiny_tokenizer.save(tmp_path / "tokenizer.json")
    many = tiny_tokenizer.build().vocab_size
    checkpoint = opened(tmp_path, vocab=many)
    pipeline = build_pipeline(checkpoint, arm(), GIVEN)
    words, codes = load_words(checkpoint, pipeline)
    assert words.vocab_size == many and codes is None
    with pytest.raises(PolicyError, match=rf"^{tmp_path}: the tokenizer has {many} ids, the network {many - 1};"):
        load_words(opened(tmp_path, vocab=many - 1), pipeline)
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    with pytest.raises(PolicyError, match="elsewhere: no tokenizer there"):
        load_words(checkpoint, pipeline, empty)


@pytest.mark.parametrize(("origin", "failure"), [("lerobot", "truncate"), ("openpi", "refuse"), ("pi0_ros", "refuse")])
def test_an_answer_of_the_wrong_length_is_cut_as_lerobot_does_and_else_refused(tmp_path, arm, origin, failure):
    BinTokenizer(12).save(tmp_path / "fast_tokenizer")
    BinTokenizer(34).save(tmp_path / "mine")
    checkpoint = opened(tmp_path, origin, kind="pi0_fast", vocab=tiny_tokenizer.build().vocab_size)
    assert load_fast_for(checkpoint, None) == BinTokenizer(12, failure)
    assert load_fast_for(checkpoint, tmp_path / "mine") == BinTokenizer(34, failure)
    tiny_tokenizer.save(tmp_path / "tokenizer.json")
    _, codes = load_words(checkpoint, build_pipeline(checkpoint, arm(), GIVEN), fast=tmp_path / "mine")
    assert codes == BinTokenizer(34, failure)


# --- what deserves a look ---


def test_dimensions_that_never_changed_are_named_by_their_channels(tmp_path, arm):
    still = {k: v.copy() for k, v in statistics(5).values.items()}
    still["q99"][[1, 3]] = still["q01"][[1, 3]]  # the fourth is no channel
    adapter, checkpoint = arm(), opened(tmp_path)
    pipeline = build_pipeline(
        checkpoint, adapter, Overrides(statistics={"state": statistics(), "actions": Statistics(still)})
    )
    lines = policy_lines(checkpoint, adapter, pipeline)
    assert [line for line in lines if line.startswith("look")] == [
        "look  statistics of actions: b never changed where they were computed"
    ]
    assert lines[: len(pipeline.settings)] == tuple(f"    {s.line()}" for s in pipeline.settings)
    swapped = {"state": Statistics(still), "actions": statistics()}
    lines = policy_lines(checkpoint, adapter, build_pipeline(checkpoint, adapter, Overrides(statistics=swapped)))
    assert lines[-1] == "look  statistics of state: b never changed where they were computed"


@pytest.mark.parametrize(
    ("origin", "kind", "settings", "padded", "told"),
    [
        ("lerobot", "pi05", {}, 0, True),
        ("lerobot", "pi05", {"use_relative_actions": False}, 0, False),
        ("lerobot", "pi05", {}, 32, False),
        ("lerobot", "pi0", {}, 0, False),
        ("openpi", "pi05", {}, 0, False),
    ],
)
def test_a_checkpoint_that_may_be_of_lerobot_04_is_told(tmp_path, arm, origin, kind, settings, padded, told):
    adapter = arm()
    checkpoint = lerobot(tmp_path, settings, kind=kind) if origin == "lerobot" else opened(tmp_path, kind=kind)
    pipeline = build_pipeline(checkpoint, adapter, replace(GIVEN, pad_state_to=padded))
    assert any("may be of LeRobot 0.4" in line for line in policy_lines(checkpoint, adapter, pipeline)) is told
