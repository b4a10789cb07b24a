"""What a policy YAML may say, on both sides of its bounds, and what it means where it says nothing."""

import math

import numpy as np
import pytest

pytest.importorskip("torch")

from pi0_ros.policy import boxes, transforms
from pi0_ros.policy.adapter import Block, Delta
from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.adapter_vectors import actions_from_model, actions_to_model, state_to_model
from pi0_ros.policy.bins import BinTokenizer, bins_of
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.fast import FastTokenizer, _text, fit_fast
from pi0_ros.policy.fp8_scales import _checked
from pi0_ros.policy.lerobot_files import RelativeActions
from pi0_ros.policy.normalize import Normalizer, Statistics
from pi0_ros.policy.pipeline import relative_mask
from pi0_ros.policy.rehearsal import empty_scene
from pi0_ros.policy.resize import camera_bytes, fitted
from pi0_ros.policy.statistics import RunningStats
from pi0_ros.policy.subtask_choice import refusal
from pi0_ros.robot import load_robot

PLAIN = """policy: p
cameras: {{base: front}}
period: 0.1
{more}state:
  - {{channels: [a, b]{state}}}
actions:
  - {{channels: [a, b]{actions}}}
"""


def read(tmp_path, more="", state="", actions=""):
    file = tmp_path / "p.yaml"
    file.write_text(
        PLAIN.format(more=more and f"{more}\n", state=state and f", {state}", actions=actions and f", {actions}")
    )
    return load_adapter(str(file))


def test_a_block_that_says_nothing_leaves_numbers_as_they_are(tmp_path):
    found = read(tmp_path)
    for block in (found.state[0], found.actions[0]):
        assert block.signs == (1.0, 1.0) and block.scale == block.follows == 1.0
        assert (block.range, block.convert, block.clip, block.binary, block.wrap) == (None, "", None, None, None)
        assert block.delta is Delta.ABSOLUTE
    assert state_to_model(found, {"a": 0.5, "b": -2.0}).tolist() == [0.5, -2.0]


@pytest.mark.parametrize(
    ("where", "text", "match"),
    [
        ("more", "horizon: 1", ""),
        ("more", "horizon: 0", "horizon"),
        ("more", "horizon: -3", "horizon"),
        ("more", "horizon: {pi05: 1}", ""),
        ("more", "horizon: {pi05: 0}", "horizon.pi05"),
        ("actions", "delta: current, follows: 1.99", ""),
        ("actions", "delta: current, follows: 2.01", "follows"),
        ("actions", "delta: current, follows: 0.0", "follows"),
        ("actions", "delta: start, follows: 0.5", "belongs to delta: current"),
        ("actions", "follows: 0.5", "belongs to delta: current"),
        ("actions", "signs: [1, 2]", "must be 1 or -1"),
        ("actions", "range: [0.5, 0.5]", "needs two different numbers"),
        ("state", f"wrap: [0, {2 * math.pi + 0.009}]", ""),
        ("state", f"wrap: [0, {2 * math.pi + 0.011}]", "is no whole turn"),
        ("state", f"wrap: [0, {2 * math.pi - 0.011}]", "is no whole turn"),
        ("state", "wrap: true, range: [0, 1]", "is for angles"),
        ("more", "remote: {images: {base: x}, state: {s: 2}, session: prompt}", "prompt would be sent twice"),
        ("more", "remote: {images: {base: x}, state: {s: 1}}", "its state takes 1 numbers, the adapter has 2"),
        ("more", "noise: 1.0", ""),
        ("more", "noise: 1.01", "has to be between 0"),
        ("more", "noise: -0.01", "has to be between 0"),
    ],
)
def test_a_value_beyond_its_bound_is_refused_with_its_key(tmp_path, where, text, match):
    if not match:
        read(tmp_path, **{where: text})
    else:
        with pytest.raises(PolicyError, match=match):
            read(tmp_path, **{where: text})


@pytest.mark.parametrize("what", ["scale: 2.0", "range: [0, 1]"])
def test_a_wrapped_angle_has_no_other_unit_among_the_actions(tmp_path, what):
    assert read(tmp_path, state="wrap: true").state[0].wrap == -math.pi
    with pytest.raises(PolicyError, match="a, b: scale, range and convert do not go together with wrap"):
        read(tmp_path, state="wrap: true", actions=what)


def test_actions_of_any_shape_go_to_the_model_by_name(tmp_path):
    found = read(tmp_path, actions="signs: [1, -1]")
    names = ("x", "b", "a")
    for shape in ((3,), (4, 3), (2, 4, 3)):
        values = np.arange(np.prod(shape), dtype=float).reshape(shape)
        model = actions_to_model(found, values, names)
        np.testing.assert_array_equal(model, np.stack([values[..., 2], -values[..., 1]], axis=-1))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 3), (1, 5, 3), (5, 1, 3)])
def test_rows_of_the_model_come_back_in_any_shape_and_need_a_number_for_each_channel(tmp_path, shape):
    found = read(tmp_path, actions="signs: [1, -1], scale: 2.0")
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    np.testing.assert_array_equal(
        actions_from_model(found, values), np.stack([2.0 * values[..., 0], -2.0 * values[..., 1]], axis=-1)
    )
    assert actions_from_model(found, values.astype(np.float32)).dtype == np.float64
    assert state_to_model(found, {"a": 1, "b": 2}).dtype == actions_to_model(found, [[1, 2]], "ab").dtype == np.float64
    with pytest.raises(PolicyError, match="the model gives 1 numbers per row, .* wants 2"):
        actions_from_model(found, values[..., :1])


def test_an_alohas_gripper_is_another_number_of_the_state_than_of_the_actions(tmp_path):
    found = read(tmp_path, state="convert: aloha_gripper", actions="convert: aloha_gripper")
    both = {"a": 0.25, "b": 0.75}
    state, action = state_to_model(found, both), actions_to_model(found, [list(both.values())], ("a", "b"))[0]
    np.testing.assert_allclose(state, transforms.aloha_gripper_to_model([0.25, 0.75]))
    np.testing.assert_allclose(action, transforms.aloha_gripper_action_to_model([0.25, 0.75]))
    np.testing.assert_allclose(actions_from_model(found, action), [0.25, 0.75])


# --- action tokens ---


def test_the_outermost_bins_are_those_at_the_ends():
    """256 edges from -1 to 1 make 255 bins; the last id is the edge itself."""
    width = 2.0 / 255
    bins = BinTokenizer()
    assert bins.encode([[-1.0, -1.0 + 1.5 * width, 1.0, 7.0]]) == [0, 1, 255, 255]
    np.testing.assert_allclose(
        bins.decode([0, 1, 253, 254, 255], 5, 1)[:, 0],
        [-1 + width / 2, -1 + 1.5 * width, 1 - 1.5 * width, 1 - width / 2, 1 - width / 2],
    )
    assert bins.decode([256, -1, 3], 1, 1)[0, 0] == pytest.approx(-1 + 3.5 * width), "ids that are none do not count"


@pytest.mark.parametrize(
    ("bins", "good"), [(2, True), (65536, True), (65537, False), (1, False), (True, False), (2.0, False), (None, False)]
)
def test_bins_are_a_whole_number_from_two_on(tmp_path, bins, good):
    if good:
        assert bins_of({"bins": bins}, tmp_path, "refuse") == BinTokenizer(bins, "refuse")
    else:
        with pytest.raises(PolicyError, match="has to be a whole number from 2 to"):
            bins_of({"bins": bins}, tmp_path, "refuse")


def test_fast_rounds_coefficients_to_tenths_and_keeps_characters_within_its_range():
    """A row alone is its own cosine transform; codes below the fitted range become the lowest."""
    assert FastTokenizer(None).codes([[0.26, -1.34]]).tolist() == [[3, -13]]
    assert _text(np.array([[-400, -354, -353]]), -354) == "\x00\x00\x01"
    assert ord(_text(np.array([[10**7]]), 0)) == 0xD7FF, "the last one before those that are no characters"


def test_a_fitted_tokenizer_has_a_character_for_every_code_it_saw_and_decodes_all_of_its_ids():
    chunks = [np.array([[0.1 * k, -0.05 * k]]) for k in range(9)]  # codes from -4 to 8
    fitted = fit_fast(chunks, vocab_size=64)
    plain = {piece for piece in fitted.bpe.get_vocab() if piece < " "}
    assert plain == {chr(code) for code in range(13)} and fitted.min_token == -4
    asked = []

    class Pieces:
        def get_vocab_size(self):
            return 9

        def decode(self, ids, **how):
            asked.append((ids, how))
            return "ab"

    assert FastTokenizer(Pieces())._coefficients([3], 1, 2).tolist() == [[97 - 354, 98 - 354]], "as the published one's"
    asked.clear()
    found = FastTokenizer(Pieces(), min_token=-97)._coefficients([3, 9, -1, 8], 2, 1)
    assert found.tolist() == [[0.0], [1.0]] and asked == [([3, 8], {"skip_special_tokens": False})]


# --- small ones ---


def test_what_follows_boxes_is_stripped_and_half_a_box_is_nothing():
    assert [boxes.without_boxes(t) for t in (" go on ", "  <loc00", "<loc0001><loc0002><loc0003><loc0004> cup ;  lift ")] == [
        "go on", "", "lift",
    ]  # fmt: skip


@pytest.mark.parametrize("pair", [[1.0, 0.0], [-1.0, 2.0], [1.0, "2"], [1.0], [1.0, True], [float("inf"), 1.0], 1.0])
def test_scales_are_pairs_of_positive_numbers(tmp_path, pair):
    whole = {"version": 1, "weights": "w", "dataset": "d", "observations": 3}
    good = _checked(tmp_path / "f", whole | {"layers": [[1.0, 2]]})
    assert good.layers == ((1.0, 2.0),) and good.observations == 3
    with pytest.raises(PolicyError, match="key layers must be a list of pairs of positive numbers"):
        _checked(tmp_path / "f", whole | {"layers": [[1.0, 2.0], pair]})


def test_relative_actions_leave_out_joints_whose_name_has_one_of_the_words():
    found = RelativeActions(True, ("Gripper", "", "lift"), ("left_GRIPPER", "Arm", "lift_axis", "gripper_arm"))
    assert found.mask(6) == (False, True, False, False, True, True) and found.mask(2) == (False, True)
    assert RelativeActions(False, ("x",), ("a",)).mask(3) == (False,) * 3


def test_statistics_without_width_are_those_of_what_never_changed():
    """From -1 to 1 is a width, though their sum is none."""
    found = Normalizer(
        "openpi_quantile", Statistics({"q01": np.array([-1.0, 3.0, 0.0]), "q99": np.array([1.0, 3.0, 0.5])})
    )
    assert found.constant() == (1,)
    spread = Normalizer("openpi_zscore", Statistics({"mean": np.array([0.0, 5.0]), "std": np.array([0.1, 0.0])}))
    assert spread.constant() == (1,) and Normalizer("identity").constant() == ()


def test_dimensions_beyond_the_statistics_pass_as_they_are_in_any_shape():
    found = Normalizer("openpi_quantile", Statistics({"q01": np.array([-2.0]), "q99": np.array([2.0])}))
    for shape in ((3,), (4, 3), (2, 4, 3)):
        x = np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape)
        back = found.inverse(x)
        np.testing.assert_allclose(back[..., 0], 2.0 * x[..., 0], atol=1e-5)
        np.testing.assert_array_equal(back[..., 1:], x[..., 1:])


@pytest.mark.parametrize(
    ("low", "high", "match"),
    [([0.0, 1.0], [1.0, 2.0, 3.0], "are no lists of one length"), ([], [], "no lists"), ([[0.0]], [[1.0]], "no lists")],
)
def test_statistics_are_lists_of_one_length(low, high, match):
    with pytest.raises(PolicyError, match=match):
        Normalizer("openpi_quantile", Statistics({"q01": np.array(low), "q99": np.array(high)}))


def test_statistics_need_two_vectors():
    one = RunningStats.start(np.array([[1.0, 2.0]]))
    with pytest.raises(PolicyError, match="statistics need at least two vectors"):
        one.statistics()
    assert one.update(np.array([[3.0, 2.0]])).statistics()["mean"].tolist() == [2.0, 2.0]


def test_a_subtask_of_120_characters_is_one():
    assert refusal("x" * 120) == "" != refusal("x" * 121)


def test_white_is_white_in_whatever_form_a_picture_was_recorded():
    white = np.ones((3, 2, 5), np.float32)
    assert camera_bytes(white).shape == (2, 5, 3) and np.unique(camera_bytes(white)).tolist() == [255]
    assert np.unique(camera_bytes(np.full((2, 5, 3), 0.5, np.float32))).tolist() == [127]


def test_an_empty_scene_is_black_and_in_the_middle_of_the_limits():
    robot = load_robot("mobile_bimanual")
    scene = empty_scene(robot, ("base", "wrist"))
    assert list(scene.images) == ["base", "wrist"] and scene.images["wrist"].shape == (224, 224, 3)
    assert not scene.images["base"].any()
    lift = robot.channels[robot.index["lift"]].limits
    assert scene.state["lift"] == pytest.approx(lift.lower + (lift.upper - lift.lower) / 2)
    assert lift.lower != -lift.upper and scene.state["base_vx"] == 0.0 and len(scene.state) == len(robot.channels)


def test_a_block_of_names_alone_changes_no_number():
    block = Block(("a", "b"), (1.0, 1.0))
    assert (block.scale, block.follows, block.delta) == (1.0, 1.0, Delta.ABSOLUTE)
    assert (block.range, block.convert, block.clip, block.binary, block.wrap) == (None, "", None, None, None)


@pytest.mark.parametrize(
    ("shape", "size", "found"),
    [
        ((50, 50), (100, 200), (100, 100)),
        ((100, 50), (40, 80), (40, 20)),
        ((50, 100), (40, 80), (40, 80)),
        ((30, 120), (40, 80), (20, 80)),
    ],
)
def test_a_picture_is_as_large_as_fits_with_its_proportions_kept(shape, size, found):
    assert fitted(shape, size) == found


def test_a_box_lies_between_the_bars_of_a_network_whose_pictures_are_no_squares():
    """A square picture stands in the middle of one twice as wide, a strip in the middle of one as high."""
    box = boxes.Box(0.25, 0.5, 0.75, 1.0, "cup")
    assert boxes.in_padded_picture(box, (50, 50), (100, 200)) == boxes.Box(0.375, 0.5, 0.625, 1.0, "cup")
    assert boxes.in_padded_picture(box, (20, 80), (80, 160)) == boxes.Box(0.25, 0.5, 0.75, 0.75, "cup")


@pytest.mark.parametrize(("size", "mask"), [(1, (True,)), (2, (True, False)), (4, (True, False, False, False))])
def test_a_mask_of_another_length_is_cut_or_goes_on_with_no(size, mask):
    assert relative_mask((True, False), size) == mask


def test_one_camera_of_the_robot_is_enough(tmp_path):
    file = tmp_path / "p.yaml"
    text = PLAIN.format(more="", state="", actions="")
    file.write_text(text.replace("{base: front}", "{base: null, left: wrist, right: null}"))
    assert load_adapter(str(file)).cameras == {"base": None, "left": "wrist", "right": None}
    file.write_text(text.replace("{base: front}", "{base: null, left: null}"))
    with pytest.raises(PolicyError, match="needs at least one camera of the robot"):
        load_adapter(str(file))


def test_what_is_said_of_the_prompt_is_kept_each_in_its_kind(tmp_path):
    said = {"kind": "pi05", "dialect": "lerobot", "length": 0, "state": False, "lowercase": True}
    text = ", ".join(f"{key}: {str(value).lower()}" for key, value in said.items())
    assert read(tmp_path, f"prompt: {{{text}}}").prompt == said
    for wrong in ("kind: pi9", "dialect: none", "length: -1", "state: 1", "lowercase: a"):
        with pytest.raises(PolicyError, match=f"prompt.{wrong.split(':')[0]}"):
            read(tmp_path, f"prompt: {{{wrong}}}")


GRIPPER = "policy: p\ncameras: {{base: front}}\nperiod: 0.1\nstate:\n  - channels: [a]\nactions:\n  - {{channels: [grip], {said}}}\n"


@pytest.mark.parametrize(
    ("said", "good"),
    [
        ("threshold: 0.25, hysteresis: 0.49", True),
        ("threshold: 0.25, hysteresis: 0.51", False),
        ("threshold: 0.75, hysteresis: 0.49", True),
        ("threshold: 0.75, hysteresis: 0.51", False),
        ("threshold: 0.5, hysteresis: 0.0", True),
        ("threshold: 0.5, hysteresis: -0.1", False),
        ("threshold: 0.0", False),
        ("threshold: 1.0", False),
        ("range: [3, 1], threshold: 2.5", True),
        ("range: [3, 1], threshold: 0.5", False),
        ("convert: aloha_gripper, threshold: 0.5", False),
        ("clip: [0.5, 0.6]", True),
        ("clip: [0.5, 0.5]", False),
        ("scale: -0.1", True),
        ("scale: 2.0, delta: false", False),
    ],
)
def test_a_grippers_threshold_lies_between_its_two_ends_with_all_of_its_hysteresis(tmp_path, said, good):
    file = tmp_path / "p.yaml"
    file.write_text(GRIPPER.format(said=said))
    if good:
        load_adapter(file)
    else:
        with pytest.raises(PolicyError, match=r"p.yaml:7: actions\[0\]"):
            load_adapter(file)


def test_a_gripper_is_the_models_upper_end_above_its_threshold_and_else_the_lower_one(tmp_path):
    """Of several chunks each begins from the side before; a range that falls turns open and closed around."""
    file = tmp_path / "p.yaml"
    rows = np.array([[[0.55], [0.65], [0.45], [0.35]], [[0.41], [0.39], [0.59], [0.61]]])
    for said, first, ends in (
        ("threshold: 0.5, hysteresis: 0.2", 1.0, (0.0, 1.0)),
        ("range: [1, 0], threshold: 0.5, hysteresis: 0.2", 0.0, (1.0, 0.0)),
        ("range: [-2, 2], threshold: 0.5, hysteresis: 0.2", 1.0, (0.0, 1.0)),
    ):
        file.write_text(GRIPPER.format(said=said))
        found = actions_from_model(load_adapter(file), rows, {"grip": first})[..., 0]
        low, high = ends
        assert found.tolist() == [[high, high, high, low], [high, low, low, high]]
    file.write_text(GRIPPER.format(said="threshold: 0.5, hysteresis: 0.2"))
    assert actions_from_model(load_adapter(file), [[0.5]]).tolist() == [[1.0]], "open unless somebody knows better"
    assert actions_from_model(load_adapter(file), [[0.5]], {"grip": 0.2}).tolist() == [[0.0]]
    with pytest.raises(PolicyError, match="the model gives 0 numbers per row, .*p.yaml wants 1"):
        actions_from_model(load_adapter(file), np.zeros((3, 0)))


def test_a_closed_gripper_is_nothing_and_not_less_than_nothing(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(GRIPPER.format(said="signs: [-1]"))
    found = actions_from_model(load_adapter(file), [[0.0], [0.5]])
    assert found.tolist() == [[0.0], [-0.5]] and not np.signbit(found[0, 0])


def test_a_vector_without_blocks_is_empty(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("policy: p\ncameras: {base: front}\nperiod: 0.1\nstate: []\nactions:\n  - channels: [a]\n")
    assert state_to_model(load_adapter(file), {"a": 1.0}).shape == (0,)


# --- an angle within its turn ---


@pytest.mark.parametrize(
    ("wrap", "angle", "seen"),
    [
        ("true", 3.2, 3.2 - 2 * math.pi),
        ("true", -3.2, 2 * math.pi - 3.2),
        ("true", 3.1, 3.1),
        ("[0, 6.2832]", -0.1, 2 * math.pi - 0.1),
        ("[0, 6.2832]", 6.2, 6.2),
        ("[-1, 5.2832]", 5.5, 5.5 - 2 * math.pi),
        ("false", 9.0, 9.0),
    ],
)
def test_an_angle_is_seen_within_the_turn_that_the_model_knows(tmp_path, wrap, angle, seen):
    assert state_to_model(read(tmp_path, state=f"wrap: {wrap}"), {"a": angle, "b": 0.0})[0] == pytest.approx(seen)
