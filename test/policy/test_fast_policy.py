"""π0-FAST from observation to plan, with scripted ids in place of a network."""

import shutil

import numpy as np
import pytest

from pi0_ros.policy import Observation, PlanPrefix, Policy, PolicyError, fast, load_policy, tiny_tokenizer
from pi0_ros.policy.backend import Words
from pi0_ros.policy.reading import load_words, read_policy
from pi0_ros.robot import load_robot

CHUNK = np.cumsum(np.random.default_rng(1).normal(0, 0.05, (16, 18)), axis=0)


class Speaker:
    """Says the ids it was given."""

    def __init__(self, ids):
        self.ids = ids

    def text(self, inputs, max_tokens, stop):
        self.prompt = inputs.prompt.text
        ends = [i for i, token in enumerate(self.ids) if token in stop]
        return Words(self.ids[: ends[0]] if ends else self.ids, 0.0)


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, maker):
    place = maker(tmp_path_factory.mktemp("fast"), kind="pi0_fast", expert=None, horizon=16)
    fitted = fast.fit_fast([CHUNK * s for s in np.linspace(-1, 1, 9)], vocab_size=512)
    fitted.save(place / "fast_tokenizer")
    return place


def observation(robot):
    images = {c.name: np.zeros((32, 32, 3), np.uint8) for c in robot.cameras}
    return Observation(0.0, images, dict.fromkeys(robot.channel_names, 0.1), "Open the drawer")


@pytest.fixture
def speaking(folder, robot):
    """A policy whose network says the given ids."""

    def make(ids):
        opened, adapter, pipeline = read_policy(folder, robot)
        words, codes = load_words(opened, pipeline)
        return Policy(robot, adapter, pipeline, words, Speaker(ids), codes)

    return make


def test_spoken_ids_become_the_chunk_they_stand_for(folder, robot, speaking):
    _, _, pipeline = read_policy(folder, robot)
    words, codes = tiny_tokenizer.build(), fast.load_fast(folder / "fast_tokenizer")
    plan = speaking(fast.answer_ids(words, codes, CHUNK)).infer(observation(robot))
    state = np.full(18, 0.1)
    expected = pipeline.actions(codes.decode(codes.encode(CHUNK), 16, 18), state)
    grippers = [6, 13]  # whose rows the adapter's threshold makes open or closed
    assert set(np.unique(plan.values[:, grippers])) <= {0.0, 1.0}
    others = np.delete(np.arange(18), grippers)
    np.testing.assert_allclose(plan.values[:, others], expected[:, others])


def test_an_answer_that_is_no_chunk_is_refused_and_no_plan_of_zeros(folder, robot, speaking):
    with pytest.raises(PolicyError, match="no 'Action: ' in it"):
        load_policy(folder, robot).infer(observation(robot))  # random weights say something else
    words = tiny_tokenizer.build()
    half = fast.answer_ids(words, fast.load_fast(folder / "fast_tokenizer"), CHUNK[:8])
    with pytest.raises(PolicyError, match="144 coefficients instead of 16 x 18"):
        speaking(half).infer(observation(robot))


def test_its_prompt_is_lower_case_and_ends_before_the_answer(folder, robot):
    _, _adapter, pipeline = read_policy(folder, robot)
    found = pipeline.inputs({"base": np.zeros((8, 8, 3), np.uint8)}, np.zeros(18), "Open It", tiny_tokenizer.build())
    assert found.prompt.text.startswith("Task: open it, State: ") and found.prompt.text.endswith(";\n")


def test_it_ignores_a_plan_prefix_and_freezes_no_rows(folder, robot, speaking):
    policy = speaking(fast.answer_ids(tiny_tokenizer.build(), fast.load_fast(folder / "fast_tokenizer"), CHUNK))
    told = PlanPrefix(np.zeros((4, 18)), robot.channel_names, 1, 2)
    plan = policy.infer(observation(robot), prefix=told)
    assert plan.frozen_rows == 0 and not policy.contract.continues


def test_without_its_fast_tokenizer_it_is_not_loaded(folder, robot, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("fast_tokenizer"))
    with pytest.raises(PolicyError, match="FAST tokenizer"):
        load_policy(bare, robot)
