import dataclasses

import numpy as np
import pytest

from pi0_ros.policy import (
    MisfitError,
    NotFiniteError,
    Observation,
    PlanPrefix,
    Policy,
    PolicyError,
    check_fit,
    load_policy,
    tiny_tokenizer,
)
from pi0_ros.policy.backend import Words
from pi0_ros.policy.bins import BinTokenizer
from pi0_ros.policy.contract import contract_of
from pi0_ros.policy.fast import to_vocabulary
from pi0_ros.policy.prompts import PromptStyle
from pi0_ros.policy.reading import read_policy
from pi0_ros.policy.transforms import absolute
from pi0_ros.robot import load_robot

TASK = "touch the red block with the left arm"


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.fixture(scope="module")
def policy(checkpoint, robot):
    return load_policy(checkpoint, robot)


def observation(robot, seed=0, **changes):
    rng = np.random.default_rng(seed)
    images = {c.name: rng.integers(0, 256, (224, 224, 3), dtype=np.uint8) for c in robot.cameras}
    state = {name: float(rng.uniform(-0.3, 0.3)) for name in robot.channel_names}
    return dataclasses.replace(Observation(1.0, images, state, TASK), **changes)


class Scripted:
    """A backend that gives what it is told and keeps what it was given."""

    def __init__(self, actions=None, text=()):
        self.given, self.result, self.ids = [], actions, list(text)

    def actions(self, inputs, noise, prefix):
        self.given.append((inputs, noise, prefix))
        return self.result if self.result is not None else noise

    def text(self, inputs, max_tokens, stop):
        self.given.append((inputs, max_tokens, stop))
        return Words(self.ids[:max_tokens], -0.25)


def scripted(checkpoint, robot, backend):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    return Policy(robot, adapter, pipeline, tiny_tokenizer.build(), backend)


def test_a_plan_covers_every_channel_by_name(policy, robot):
    plan = policy.infer(observation(robot), seed=3)
    assert plan.names == robot.channel_names
    assert plan.values.shape == (16, 18) and plan.values.dtype == np.float64
    assert plan.period == 0.1 and plan.frozen_rows == 0 and plan.inference_seconds > 0


def test_the_same_noise_gives_the_same_plan_and_a_seed_draws_it(policy, robot):
    obs = observation(robot)
    noise = np.random.default_rng(3).standard_normal(policy.noise_shape(), np.float32)
    np.testing.assert_array_equal(policy.infer(obs, seed=3).values, policy.infer(obs, noise).values)
    assert np.any(policy.infer(obs, seed=4).values != policy.infer(obs, seed=3).values)


def test_noise_is_never_left_out_silently(policy, robot):
    with pytest.raises(PolicyError, match="noise or a seed"):
        policy.infer(observation(robot))
    with pytest.raises(PolicyError, match=r"\(16, 18\)"):
        policy.infer(observation(robot), np.zeros((4, 4)))


def test_pictures_state_and_words_all_change_the_plan(policy, robot):
    obs = observation(robot)
    plan = policy.infer(obs, seed=0).values
    dark = {name: np.zeros_like(image) for name, image in obs.images.items()}
    other = {**obs.state, "right_gripper": 0.9}
    for changed in ({"images": dark}, {"prompt": TASK.replace("red", "blue")}, {"state": other}):
        assert np.any(policy.infer(dataclasses.replace(obs, **changed), seed=0).values != plan)


def test_offset_channels_start_from_the_measured_state(checkpoint, robot):
    backend = Scripted(np.zeros((16, 18)))
    found = scripted(checkpoint, robot, backend)
    near, far = observation(robot), observation(robot, seed=1)
    difference = found.infer(far, seed=0).values - found.infer(near, seed=0).values
    for i, name in enumerate(found.contract.channels):
        moved = far.state[name] - near.state[name] if name in found.contract.delta_channels else 0.0
        np.testing.assert_allclose(difference[:, i], moved, atol=1e-12)


def test_a_plan_prefix_is_anchored_to_the_new_state_and_comes_out_unchanged(policy, robot):
    first = policy.infer(observation(robot), seed=0)
    moved = observation(robot, seed=1)
    prefix = PlanPrefix(first.values[4:], first.names, 4, 8, "prefix")
    second = policy.infer(moved, seed=1, prefix=prefix)
    np.testing.assert_allclose(second.values[:4], first.values[4:8], atol=1e-5)
    assert second.frozen_rows == 4
    assert np.abs(second.values[4:12] - first.values[8:]).max() > 1e-3


def test_a_joint_that_has_turned_further_is_planned_where_it_is_and_seen_within_its_turn(checkpoint, robot):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    arm = dataclasses.replace(adapter.state[0], wrap=-np.pi)
    adapter = dataclasses.replace(adapter, state=(arm, *adapter.state[1:]))
    backend = Scripted(np.zeros((16, 18)))
    found = Policy(robot, adapter, pipeline, tiny_tokenizer.build(), backend)
    near = observation(robot)
    turned = dataclasses.replace(near, state=near.state | {"left_joint6": near.state["left_joint6"] + 4.0 * np.pi})
    here, there = found.infer(near, seed=0), found.infer(turned, seed=0)
    column = here.names.index("left_joint6")
    difference = there.values - here.values
    np.testing.assert_allclose(difference[:, column], 4.0 * np.pi)
    assert not np.delete(difference, column, axis=1).any()
    assert backend.given[0][0].prompt.text == backend.given[1][0].prompt.text
    found.infer(turned, seed=0, prefix=PlanPrefix(there.values[2:], there.names, 2, 5))
    found.infer(near, seed=0, prefix=PlanPrefix(here.values[2:], here.names, 2, 5))
    np.testing.assert_allclose(backend.given[2][2].values, backend.given[3][2].values, atol=1e-6)


@pytest.mark.parametrize("method", ["identity", "vjp"])
def test_a_guided_plan_is_nearer_to_the_running_one(policy, robot, method):
    obs = observation(robot)
    first = policy.infer(obs, seed=0)
    free = policy.infer(obs, seed=1)
    led = policy.infer(obs, seed=1, prefix=PlanPrefix(first.values[2:], first.names, 3, 10, method))
    goal = first.values[2:5]
    assert np.abs(led.values[:3] - goal).mean() < 0.5 * np.abs(free.values[:3] - goal).mean()


def test_the_prefix_reaches_the_network_on_its_own_scale(checkpoint, robot):
    backend = Scripted()
    found = scripted(checkpoint, robot, backend)
    obs = observation(robot)
    values = np.random.default_rng(5).uniform(-0.5, 0.5, (7, 18))
    shuffled = np.random.default_rng(6).permutation(18)
    names = tuple(found.contract.channels[i] for i in shuffled)
    found.infer(obs, seed=0, prefix=PlanPrefix(values[:, shuffled], names, 2, 5))
    given = backend.given[0][2]
    state = np.array([obs.state[c] for c in found.contract.state_channels])
    back = found.pipeline.action_norm.inverse(given.values)
    np.testing.assert_allclose(absolute(back, state, found.pipeline.delta), values, atol=1e-6)
    assert (given.delay_rows, given.execution_rows, given.method) == (2, 5, "identity")


@pytest.mark.parametrize(
    ("values", "delay", "message"),
    [(np.zeros((0, 18)), 0, "empty"), (np.full((3, 18), np.nan), 1, "not finite"), (np.zeros((3, 18)), 17, "17 rows")],
)
def test_an_impossible_prefix_is_refused(checkpoint, robot, values, delay, message):
    found = scripted(checkpoint, robot, Scripted())
    with pytest.raises(PolicyError, match=message):
        found.infer(observation(robot), seed=0, prefix=PlanPrefix(values, robot.channel_names, delay, 5))


def test_nan_out_of_the_network_makes_no_plan(checkpoint, robot):
    bad = np.zeros((16, 18))
    bad[3, 2] = np.nan
    with pytest.raises(NotFiniteError, match="NaN"):
        scripted(checkpoint, robot, Scripted(bad)).infer(observation(robot), seed=0)


def test_an_absent_camera_is_masked_and_none_at_all_is_refused(checkpoint, robot):
    backend = Scripted()
    found, obs = scripted(checkpoint, robot, backend), observation(robot)
    found.infer(dataclasses.replace(obs, images={"base": obs.images["base"]}), seed=0)
    pictures = backend.given[0][0].images
    assert [p is not None for p in pictures.values()] == [True, False, False]
    assert pictures["base"].shape == (3, 32, 32)
    with pytest.raises(PolicyError, match="no picture at all"):
        found.infer(dataclasses.replace(obs, images={}), seed=0)


def test_a_wrong_picture_is_named_by_its_camera(policy, robot):
    obs = observation(robot)
    with pytest.raises(PolicyError, match="camera left_wrist.*float32"):
        bad = {**obs.images, "left_wrist": np.zeros((224, 224, 3), np.float32)}
        policy.infer(dataclasses.replace(obs, images=bad), seed=0)


def test_a_missing_measurement_and_an_empty_prompt_are_refused(policy, robot):
    obs = observation(robot)
    with pytest.raises(PolicyError, match="lift"):
        policy.infer(dataclasses.replace(obs, state={**obs.state, "lift": float("nan")}), seed=0)
    with pytest.raises(PolicyError, match="prompt is empty"):
        policy.infer(dataclasses.replace(obs, prompt=" "), seed=0)


def test_subtasks_are_decoded_text_from_pictures_and_task_without_the_state(checkpoint, robot):
    words = tiny_tokenizer.build()
    backend = Scripted(text=words.encode("touch the blue block with the right arm"))
    found = scripted(checkpoint, robot, backend)
    assert found.subtask(observation(robot), "Touch every block.") == "touch the blue block with the right arm"
    inputs, _, stop = backend.given[0]
    assert inputs.prompt.text == "Task: touch every block. Subtask: " and stop == (words.eos,)
    assert found.subtask(observation(robot), "touch every block", max_tokens=2) == "touch the"


def test_a_network_that_says_boxes_first_gives_the_subtask_behind_them(checkpoint, robot):
    words = tiny_tokenizer.build()
    said = "<loc0512><loc0256><loc1023><loc0768> red block ; touch the blue block with the right arm"
    found = scripted(checkpoint, robot, Scripted(text=words.encode(said)))
    assert found.answer(observation(robot), "touch every block").text == "touch the blue block with the right arm"


def test_the_text_head_of_a_real_network_answers(policy, robot):
    found = policy.answer(observation(robot), "touch every block", max_tokens=3)
    assert found.text == policy.subtask(observation(robot), "touch every block", max_tokens=3)
    assert -20.0 < found.log_probability < 0.0


def test_a_checkpoint_for_another_robot_is_refused_with_both_lists(checkpoint):
    with pytest.raises(MisfitError, match=r"(?s)policy wants: .*left_joint1.*robot has: left_waist"):
        load_policy(checkpoint, load_robot("aloha"))


def test_a_fit_names_what_was_compared(checkpoint, robot):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    fit = check_fit(robot, contract_of(adapter, pipeline, robot))
    assert fit.ok and all(line.startswith("ok") for line in fit.lines)


def test_a_channel_that_no_one_would_command_does_not_fit(checkpoint, robot):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    less = dataclasses.replace(adapter, actions=adapter.actions[:-1])
    fit = check_fit(robot, contract_of(less, pipeline, robot))
    assert not fit.ok and any("lift; name them under hold" in line for line in fit.lines)
    held = dataclasses.replace(less, hold=("lift",))
    assert check_fit(robot, contract_of(held, pipeline, robot)).ok


def test_held_channels_stay_where_they_are(checkpoint, robot):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    arms = dataclasses.replace(adapter, actions=adapter.actions[:4], hold=("base_vx", "base_vy", "base_wz", "lift"))
    found = Policy(robot, arms, pipeline, tiny_tokenizer.build(), Scripted())
    obs = observation(robot)
    plan = found.infer(obs, seed=0)
    assert plan.names == robot.channel_names
    np.testing.assert_array_equal(plan.values[:, -4:], np.tile([0.0, 0.0, 0.0, obs.state["lift"]], (16, 1)))


def test_threads_are_not_touched_unless_asked(checkpoint, robot):
    import torch

    before = torch.get_num_threads()
    load_policy(checkpoint, robot)
    assert torch.get_num_threads() == before


def test_a_calm_policy_plans_alike_from_one_seed_to_the_next(policy, robot):
    calm = Policy(
        robot, dataclasses.replace(policy.adapter, noise=0.0), policy.pipeline, policy._tokenizer, policy._backend
    )
    seen = observation(robot)
    assert np.array_equal(calm.infer(seen, seed=1).values, calm.infer(seen, seed=2).values)
    assert not np.array_equal(policy.infer(seen, seed=1).values, policy.infer(seen, seed=2).values)
    zeros = np.zeros(policy.noise_shape(), np.float32)
    assert np.array_equal(calm.infer(seen, seed=1).values, policy.infer(seen, noise=zeros).values)


def test_a_question_sees_the_cameras_of_the_question_and_without_any_those_of_a_plan(checkpoint, robot):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    *_, third = adapter.cameras.values()
    for cameras, seen in (
        ({slot: (third if slot == "left_wrist" else None) for slot in adapter.cameras}, {"left_wrist": third}),
        (None, dict(adapter.cameras)),
    ):
        backend = Scripted(text=tiny_tokenizer.build().encode("done"))
        asked = Policy(
            robot, dataclasses.replace(adapter, high_level_cameras=cameras), pipeline, tiny_tokenizer.build(), backend
        )
        obs = observation(robot)
        found = asked.answer(obs, "touch every block", max_tokens=7)
        assert (found.text, found.log_probability) == ("done", -0.25)
        inputs, most, _ = backend.given[0]
        assert most == 7
        given = {slot: picture for slot, picture in inputs.images.items() if picture is not None}
        assert set(given) == set(seen)
        planned = pipeline.inputs({s: obs.images[c] for s, c in seen.items()}, np.zeros(18), TASK, asked._tokenizer)
        for slot in seen:
            np.testing.assert_array_equal(given[slot], planned.images[slot])


def test_noise_of_another_shape_is_refused_and_what_is_drawn_is_scaled(checkpoint, robot):
    backend = Scripted()
    found = scripted(checkpoint, robot, backend)
    rows, width = found.noise_shape()
    with pytest.raises(PolicyError, match="noise has shape"):
        found.infer(observation(robot), noise=np.zeros((rows + 1, width), np.float32))
    calm = Policy(
        robot, dataclasses.replace(found.adapter, noise=0.25), found.pipeline, tiny_tokenizer.build(), backend
    )
    calm.infer(observation(robot), seed=7)
    drawn = np.random.default_rng(7).standard_normal((rows, width), np.float32)
    np.testing.assert_array_equal(backend.given[-1][1], 0.25 * drawn)


def test_frozen_rows_are_those_that_will_have_run_and_are_there(checkpoint, robot):
    found, obs = scripted(checkpoint, robot, Scripted()), observation(robot)
    there = np.tile([obs.state[n] for n in robot.channel_names], (5, 1))
    for delay, frozen in ((3, 3), (5, 5), (9, 5), (0, 0)):
        prefix = PlanPrefix(there, robot.channel_names, delay, 4, "prefix")
        assert found.infer(obs, seed=0, prefix=prefix).frozen_rows == frozen
    assert found.infer(obs, seed=0).frozen_rows == 0
    plan = found.infer(obs, seed=0)
    assert plan.names == found.contract.channels and plan.period == found.contract.period == 0.1
    assert plan.values.shape == (found.contract.horizon, 18)


def test_a_policy_is_not_made_for_a_robot_that_it_does_not_fit(checkpoint, robot):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    less = dataclasses.replace(adapter, actions=adapter.actions[:-1])
    with pytest.raises(MisfitError, match=r"(?s)^robot mobile_bimanual and policy mobile_bimanual do not fit:\n.*lift"):
        Policy(robot, less, pipeline, tiny_tokenizer.build(), Scripted())


@pytest.mark.parametrize(("codes", "longest"), [(BinTokenizer(256, "refuse"), 16 * 18 + 16), (None, 256)])
def test_an_answer_in_action_tokens_may_be_as_long_as_its_tokenizer_needs(checkpoint, robot, codes, longest):
    """One token a number, and 16 around them; 256 with FAST. It ends at its bar or at the end of the text."""

    class Fast:
        vocab_size, failure = 300, "refuse"

        def decode(self, ids, horizon, size):
            return np.zeros((horizon, size))

    words = tiny_tokenizer.build()
    _, adapter, pipeline = read_policy(checkpoint, robot)
    backend = Scripted(text=[*words.encode("Action: "), *to_vocabulary([128] * 16 * 18, words.vocab_size).tolist()])
    spoken = Policy(robot, adapter, pipeline, words, backend, codes or Fast())
    assert spoken.infer(observation(robot)).values.shape == (16, 18)
    assert backend.given[0][1:] == (longest, (words.eos, words.encode("|")[-1]))


def test_action_tokens_need_their_tokenizer(checkpoint, robot):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    style = dataclasses.replace(pipeline.style, kind="pi0_fast")
    with pytest.raises(PolicyError, match="needs the FAST tokenizer's folder"):
        Policy(robot, adapter, dataclasses.replace(pipeline, style=style), tiny_tokenizer.build(), Scripted())


def test_a_prefix_may_be_as_long_as_the_chunk_and_its_delay_not_negative(checkpoint, robot):
    found, obs = scripted(checkpoint, robot, Scripted()), observation(robot)
    rows = np.tile([obs.state[n] for n in robot.channel_names], (16, 1))
    assert found.infer(obs, seed=0, prefix=PlanPrefix(rows, robot.channel_names, 16, 4)).frozen_rows == 16
    for delay in (-1, 17):
        with pytest.raises(PolicyError, match=f"a delay of {delay} rows does not fit a chunk of 16"):
            found.infer(obs, seed=0, prefix=PlanPrefix(rows, robot.channel_names, delay, 4))


def test_held_positions_are_those_commanded_and_else_those_measured(checkpoint, robot):
    _, adapter, pipeline = read_policy(checkpoint, robot)
    held = dataclasses.replace(adapter, actions=adapter.actions[:-1], hold=("lift",))
    found = Policy(robot, held, pipeline, tiny_tokenizer.build(), Scripted())
    obs = observation(robot)
    commanded = dataclasses.replace(obs, command={"lift": 0.123})
    for seen, value in ((obs, obs.state["lift"]), (commanded, 0.123)):
        plan = found.infer(seen, seed=0)
        assert set(plan.values[:, plan.names.index("lift")]) == {value}
    assert found.lanes(3) == [found]
    with pytest.raises(PolicyError, match="without a text head"):
        plain = Policy(
            robot, adapter, dataclasses.replace(pipeline, style=PromptStyle("pi0")), found._tokenizer, Scripted()
        )
        plain.answer(obs, "tidy up")
