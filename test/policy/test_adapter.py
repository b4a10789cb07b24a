import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi0_ros.policy import PolicyError, load_adapter
from pi0_ros.policy.adapter import Adapter, Binary, Block, Delta, RecordedKeys, Remote
from pi0_ros.policy.adapter_keys import ADAPTER
from pi0_ros.policy.adapter_reading import adapter_names, adapter_of_checkpoint
from pi0_ros.policy.adapter_remote import remote_to_dict
from pi0_ros.policy.adapter_vectors import actions_from_model, actions_to_model, state_to_model
from pi0_ros.policy.adapter_writing import adapter_to_dict

GOOD = """policy: arm
cameras: {base_0_rgb: top}
period: 0.1
state:
  - {channels: [a, b], signs: [1, -1]}
  - {channels: [grip], range: [1, 0]}
actions:
  - {channels: [a, b], signs: [1, -1], delta: true}
  - {channels: [grip], range: [1, 0]}
"""


def written(folder, text):
    file = folder / "arm.yaml"
    file.write_text(text)
    return file


def test_the_shipped_adapters_cover_the_named_robots():
    expected = {"aloha", "droid", "libero", "mobile_bimanual", "mobile_manipulator", "ur5e"}
    assert expected <= set(adapter_names())


@pytest.mark.parametrize("name", adapter_names())
def test_every_shipped_adapter_survives_a_checkpoints_config(name, tmp_path):
    adapter = load_adapter(name)
    (tmp_path / "config.json").write_text(json.dumps({"policy": adapter_to_dict(adapter)}, indent=1))
    again = adapter_of_checkpoint(tmp_path / "config.json")
    for field in (f for f in fields(adapter) if f.name != "file"):
        assert getattr(again, field.name) == getattr(adapter, field.name), field.name


@pytest.mark.parametrize("name", [n for n in adapter_names() if not n.startswith("aloha")])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_actions_come_back_from_the_model_as_they_went_in(name, seed):
    adapter = load_adapter(name)
    values = np.random.default_rng(seed).uniform(0, 1, (4, len(adapter.action_channels)))
    binary = [b.binary is not None for b in adapter.actions for _ in b.channels]
    values[:, binary] = np.random.default_rng(seed).integers(0, 2, (4, sum(binary)))
    model = actions_to_model(adapter, values, adapter.action_channels)
    wide = np.pad(model, ((0, 0), (0, 14)))
    np.testing.assert_allclose(actions_from_model(adapter, wide), values, atol=1e-12)


def test_signs_and_ranges_apply_by_name(tmp_path):
    adapter = load_adapter(written(tmp_path, GOOD))
    state = {"grip": 0.25, "b": 2.0, "a": 1.0, "other": 9.0}
    np.testing.assert_allclose(state_to_model(adapter, state), [1.0, -2.0, 0.75])
    found = actions_to_model(adapter, [[0.25, 9.0, 2.0, 1.0]], ("grip", "other", "b", "a"))
    np.testing.assert_allclose(found, [[1.0, -2.0, 0.75]])


def test_a_missing_measurement_is_named(tmp_path):
    adapter = load_adapter(written(tmp_path, GOOD))
    with pytest.raises(PolicyError, match="no measured value for b, grip"):
        state_to_model(adapter, {"a": 1.0, "b": float("nan")})


def test_actions_without_a_channel_are_refused(tmp_path):
    adapter = load_adapter(written(tmp_path, GOOD))
    with pytest.raises(PolicyError, match="lack b"):
        actions_to_model(adapter, np.zeros((2, 2)), ("a", "grip"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("period: 0.1", "perod: 0.1", r"arm.yaml:3: perod: unknown key"),
        ("period: 0.1\n", "", r"key period is missing"),
        ("period: 0.1", "period: 0", r"arm.yaml:3: period: must be above 0"),
        ("{base_0_rgb: top}", "{base_0_rgb: null}", r"arm.yaml:2: cameras: needs at least one camera"),
        ("period: 0.1", "period: 0.1\nnoise: 2", r"arm.yaml:4: noise: has to be between 0"),
        ("signs: [1, -1]}", "signs: [1, 2]}", r"arm.yaml:5: state\[0\].signs: must be 1 or -1"),
        ("signs: [1, -1]}", "signs: [1]}", r"needs 2 numbers"),
        ("signs: [1, -1]}", "delta: true}", r"state\[0\].delta: unknown key"),
        ("{channels: [grip], range: [1, 0]}", "{channels: [grip], range: [1, 1]}", r"two different numbers"),
        ("[grip], range: [1, 0]}", "[grip], convert: magic}", r"one of aloha_gripper"),
        ("[grip], range: [1, 0]}", "[grip], range: [1, 0], convert: aloha_gripper}", r"keep one"),
        ("{channels: [grip]", "{channels: [a]", r"a is there more than once"),
        ("state:\n  - {channels: [a, b]", "state:\n  - {channels: [b, a]", r"a is an offset, so the state needs it"),
    ],
)
def test_mistakes_are_named_with_file_line_and_key(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(PolicyError, match=message):
        load_adapter(written(tmp_path, GOOD.replace(old, new, 1)))


def test_an_unknown_name_lists_the_adapters_there_are():
    with pytest.raises(PolicyError, match="aloha, "):
        load_adapter("no_such_robot")


def test_what_a_policy_yaml_does_not_say_is_left_to_the_checkpoint_or_the_usual(tmp_path):
    found = load_adapter(written(tmp_path, GOOD))
    assert (found.period, found.noise, found.horizon, dict(found.horizons)) == (0.1, 1.0, 0, {})
    assert (found.hold, found.asset, found.normalisation, found.resampler) == ((), "", "", "")
    assert (found.prompt, found.high_level_cameras, found.remote, found.dataset) == (None, None, None, None)
    assert (found.finished, found.subtasks, found.subtask_log_probability) == ((), None, -1.0)
    assert found.missing == "masked"
    block = found.actions[1]
    assert (block.delta, block.scale, block.clip, block.binary, block.follows, block.wrap, block.convert) == (
        Delta.ABSOLUTE, 1.0, None, None, 1.0, None, "",
    )  # fmt: skip
    assert Adapter("a", tmp_path, {}, (), ()).noise == 1.0 and Block(("a",), (1.0,)).follows == 1.0


def test_a_row_goes_through_every_block_with_its_own_sign_scale_range_and_clip(tmp_path):
    """By hand: b is 2 (-1) 0.25; the gripper is closed at the model's 0.9 and open at 0.1; wide is clipped to 1.5."""
    text = """policy: arm
cameras: {base_0_rgb: top}
period: 0.1
state:
  - {channels: [a, b], signs: [1, -1]}
  - {channels: [grip], range: [0.9, 0.1]}
actions:
  - {channels: [wide], clip: [-1, 1.5]}
  - {channels: [b], signs: [-1], scale: 2.0}
  - {channels: [grip], range: [0.9, 0.1]}
"""
    found = load_adapter(written(tmp_path, text))
    assert state_to_model(found, {"a": 0.3, "b": 0.4, "grip": 0.25}).tolist() == pytest.approx([0.3, -0.4, 0.7])
    rows = actions_from_model(found, [[1.7, 0.25, 0.7, 99.0], [-3.0, -0.5, 0.5, 99.0]])
    np.testing.assert_allclose(rows, [[1.5, -0.5, 0.25], [-1.0, 1.0, 0.5]])
    back = actions_to_model(found, [[0.25, -0.5, 9.0, 1.2]], ["grip", "b", "other", "wide"])
    np.testing.assert_allclose(back, [[1.2, 0.25, 0.7]])


WHOLE = """policy: whole
cameras: {base_0_rgb: top, left_wrist_0_rgb: null, right_wrist_0_rgb: hand}
high_level_cameras: {base_0_rgb: hand}
missing_cameras: black
state:
  - {channels: [a, b], signs: [1, -1]}
  - {channels: [turn], wrap: [0, 6.2832]}
  - {channels: [grip], convert: aloha_gripper}
actions:
  - {channels: [a], delta: step}
  - {channels: [b], signs: [-1], delta: start}
  - {channels: [turn], delta: current, follows: 0.6}
  - {channels: [c], scale: 3.0, clip: [-1, 2]}
  - {channels: [grip], range: [0.9, 0.1], threshold: 0.4, hysteresis: 0.2}
hold: [lift, base]
period: 0.04
horizon: {pi05: 12, pi0_fast: 7}
asset: trossen
normalisation: zscore
resampler: jax
prompt: {kind: pi05, dialect: lerobot, length: 99, state: false, pad_state_to: 32, control_mode: joint, lowercase: true}
remote:
  images: {eye: top}
  state: {first: 3, second: 1}
  nested: true
  layout: chw
  size: [180, 320]
  missing_cameras: masked
  width: 32
  actions: [arm, hand]
  prompt: words
  constants: {endpoint: infer, count: 3, share: 0.5, yes: true}
  session: id
  reset: {endpoint: reset}
noise: 0.3
finished: [done, over]
subtasks: lift .*
subtask_log_probability: -0.4
dataset: {state: [s], action: [x, y], state_names: [n, m], action_names: [o], cameras: {top: picture}}
"""


def test_every_key_of_a_policy_yaml_is_read_and_survives_a_checkpoints_config(tmp_path):
    said = {key.name for key in ADAPTER}
    assert {line.split(":")[0] for line in WHOLE.splitlines() if line[0].isalpha()} == said
    found = load_adapter(written(tmp_path, WHOLE))
    pi = 2.0 * np.pi
    expected = Adapter(
        name="whole",
        file=tmp_path / "arm.yaml",
        cameras={"base_0_rgb": "top", "left_wrist_0_rgb": None, "right_wrist_0_rgb": "hand"},
        high_level_cameras={"base_0_rgb": "hand"},
        missing="black",
        state=(
            Block(("a", "b"), (1.0, -1.0)),
            Block(("turn",), (1.0,), wrap=0.0),
            Block(("grip",), (1.0,), convert="aloha_gripper"),
        ),
        actions=(
            Block(("a",), (1.0,), delta=Delta.STEP),
            Block(("b",), (-1.0,), delta=Delta.START),
            Block(("turn",), (1.0,), delta=Delta.CURRENT, follows=0.6),
            Block(("c",), (1.0,), scale=3.0, clip=(-1.0, 2.0)),
            Block(("grip",), (1.0,), range=(0.9, 0.1), binary=Binary(0.4, 0.2)),
        ),
        hold=("lift", "base"),
        period=0.04,
        horizons={"pi05": 12, "pi0_fast": 7},
        asset="trossen",
        normalisation="zscore",
        resampler="jax",
        prompt={"kind": "pi05", "dialect": "lerobot", "length": 99, "state": False, "pad_state_to": 32,
                "control_mode": "joint", "lowercase": True},
        remote=Remote(
            images={"eye": "top"}, state={"first": 3, "second": 1}, nested=True, layout="chw", size=(180, 320),
            missing="masked", width=32, actions=("arm", "hand"), prompt="words",
            constants={"endpoint": "infer", "count": 3, "share": 0.5, "yes": True}, session="id",
            reset={"endpoint": "reset"},
        ),
        noise=0.3,
        finished=("done", "over"),
        subtasks="lift .*",
        subtask_log_probability=-0.4,
        dataset=RecordedKeys(("s",), ("x", "y"), ("n", "m"), ("o",), {"top": "picture"}),
    )  # fmt: skip
    assert found == expected
    plain = adapter_to_dict(found)
    (tmp_path / "config.json").write_text(json.dumps({"policy": plain}))
    assert replace(adapter_of_checkpoint(tmp_path / "config.json"), file=found.file) == expected
    assert set(plain) == said and plain["state"][1]["wrap"] == [0.0, pytest.approx(pi)]
    assert [found.rows(kind) for kind in ("pi05", "pi0_fast", "pi0")] == [12, 7, 0]
    assert found.delta_mask == (False, True, False, False, False)
    assert found.offset_mask == (True, True, True, False, False)
    assert found.step_shares == (1.0, 0.0, 0.6, 0.0, 0.0)


def test_a_plain_adapter_is_written_without_what_it_does_not_say(tmp_path):
    plain = adapter_to_dict(load_adapter(written(tmp_path, GOOD)))
    assert plain == {
        "policy": "arm",
        "cameras": {"base_0_rgb": "top"},
        "missing_cameras": "masked",
        "state": [{"channels": ["a", "b"], "signs": [1.0, -1.0]}, {"channels": ["grip"], "range": [1.0, 0.0]}],
        "actions": [
            {"channels": ["a", "b"], "signs": [1.0, -1.0], "delta": True},
            {"channels": ["grip"], "range": [1.0, 0.0]},
        ],
        "period": 0.1,
    }
    (tmp_path / "config.json").write_text(json.dumps({"model": {}}))
    assert adapter_of_checkpoint(tmp_path / "config.json") is None


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_a_policy_file_may_end_as_yaml_or_json_files_do(tmp_path, suffix):
    file = tmp_path / f"arm{suffix}"
    file.write_text(json.dumps(adapter_to_dict(load_adapter(written(tmp_path, GOOD)))))
    assert load_adapter(file).name == "arm"
    with pytest.raises(PolicyError, match="no such policy YAML"):
        load_adapter(tmp_path / f"nothing{suffix}")


def test_cameras_of_its_own_for_the_question_mean_that_the_network_was_trained_to_answer(tmp_path):
    asked = load_adapter(written(tmp_path, GOOD + "high_level_cameras: {base_0_rgb: hand}\n"))
    assert asked.subtasks == ".+" and dict(asked.question_cameras) == {"base_0_rgb": "hand"}
    form = load_adapter(written(tmp_path, GOOD + "high_level_cameras: {base_0_rgb: hand}\nsubtasks: lift\n"))
    assert form.subtasks == "lift"
    assert dict(load_adapter(written(tmp_path, GOOD)).question_cameras) == {"base_0_rgb": "top"}


REMOTE = "remote: {images: {base: top}, state: {s: 3}%s}\n"


@pytest.mark.parametrize(
    ("absent", "remote", "missing"),
    [
        ("", "", "black"),  # openpi's servers for flat keys read every picture
        ("", ", nested: true", "masked"),
        ("", ", nested: true, missing_cameras: black", "black"),
        ("missing_cameras: masked\n", "", "masked"),
        ("missing_cameras: black\n", ", nested: true", "black"),
        ("missing_cameras: masked\n", ", missing_cameras: black", "black"),
    ],
)
def test_what_a_server_gets_for_an_absent_picture_is_the_sections_word_then_the_adapters_then_its_keys(
    tmp_path, absent, remote, missing
):
    assert load_adapter(written(tmp_path, GOOD + absent + REMOTE % remote)).remote.missing == missing


def test_a_server_section_that_says_little_is_openpis(tmp_path):
    found = load_adapter(written(tmp_path, GOOD + REMOTE % "")).remote
    assert (found.nested, found.layout, found.size, found.width) == (False, "hwc", (224, 224), 0)
    assert (found.actions, found.prompt, found.constants, found.session, found.reset) == (
        ("actions",),
        "prompt",
        {},
        "",
        {},
    )
    assert remote_to_dict(found) == {"missing_cameras": "black", "images": {"base": "top"}, "state": {"s": 3}}


@pytest.mark.parametrize(
    ("remote", "match"),
    [
        (", width: 0", "remote.width"),
        (", size: [0, 5]", "remote.size"),
        (", size: [5]", "remote.size"),
        (", layout: whc", "remote.layout"),
        (", constants: {a: [1]}", "remote.constants.a"),
        (", constants: {a: null}", "remote.constants: a must be text, a number"),
        (", constants: {base: 1}", "base would be sent twice"),
        (", prompt: s", "s would be sent twice"),
    ],
)
def test_a_server_section_that_cannot_be_sent_is_refused(tmp_path, remote, match):
    with pytest.raises(PolicyError, match=match):
        load_adapter(written(tmp_path, GOOD + REMOTE % remote))


def test_keys_that_would_be_sent_twice_are_named_in_order(tmp_path):
    remote = (
        "remote: {images: {e: top}, state: {d: 1, a: 1, c: 1}, constants: {c: 1, b: 1, a: 1, d: 1, e: 1}, prompt: b}"
    )
    with pytest.raises(PolicyError, match="a, b, c, d, e would be sent twice"):
        load_adapter(written(tmp_path, f"{GOOD}{remote}\n"))


def test_a_key_of_a_server_takes_at_least_one_number(tmp_path):
    with pytest.raises(PolicyError, match="remote.state"):
        load_adapter(written(tmp_path, GOOD + "remote: {images: {base: top}, state: {s: 3, t: 0}}\n"))
    assert load_adapter(written(tmp_path, GOOD + REMOTE % ", width: 1")).remote.width == 1


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("subtask_log_probability: 0.001", "subtask_log_probability"),
        ("subtasks: '('", "is no regular expression"),
        ("horizon: {pi9: 3}", "pi9"),
        ("resampler: cubic", "resampler"),
        ("normalisation: minmax", "normalisation"),
        ("missing_cameras: grey", "missing_cameras"),
        ("hold: [a]", "a is there more than once"),
    ],
)
def test_a_value_that_is_none_is_refused_with_its_key(tmp_path, line, match):
    with pytest.raises(PolicyError, match=match):
        load_adapter(written(tmp_path, GOOD + line + "\n"))


def test_certain_answers_alone_may_be_believed(tmp_path):
    assert load_adapter(written(tmp_path, GOOD + "subtask_log_probability: 0\n")).subtask_log_probability == 0.0
    bare = GOOD.split("actions:")[0] + "actions: []\n"
    with pytest.raises(PolicyError, match="actions: needs at least one block"):
        load_adapter(written(tmp_path, bare))
