"""The loops over an exported network, on graphs that are a few lines of arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pi0_ros.model.config import preset
from pi0_ros.policy.backend import NormalisedPrefix
from pi0_ros.policy.backends import onnx_backend
from pi0_ros.policy.backends.onnx_backend import OnnxBackend, check_device
from pi0_ros.policy.errors import PolicyError
from pi0_ros.policy.pipeline import ModelInputs
from pi0_ros.policy.prompts import Prompt

WIDTH, PIECES = 6, 3  # of a token; tokens a picture


class Value:
    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


class Binding:
    def __init__(self):
        self.inputs, self.places, self.outputs = {}, [], []

    def bind_cpu_input(self, name, array):
        self.inputs[name] = array

    def bind_ortvalue_input(self, name, value):
        self.inputs[name] = value.array

    def bind_output(self, name, device, number):
        self.places.append((name, device, number))

    def get_outputs(self):
        return self.outputs


class Session:
    """A graph that computes with `work` and keeps what it was asked."""

    def __init__(self, outputs, work):
        self.names, self.work, self.asked = outputs, work, []

    def get_outputs(self):
        return [type("Output", (), {"name": name}) for name in self.names]

    def io_binding(self):
        return Binding()

    def run_with_iobinding(self, binding):
        self.asked.append(binding)
        binding.outputs = [Value(np.asarray(a)) for a in self.work(**binding.inputs)]


def held(numbers):
    """Keys [layers, 1, heads, n, size] of n tokens."""
    return np.asarray(numbers, np.float32).reshape(1, 1, 1, -1, 1)


def logits_of(position):
    """Of 30 words that at 5 + position is the likeliest, by one before the last eight; the others cannot be."""
    scores = np.full((1, 30), -1e9, np.float32)
    scores[0, 22:] = 0.0
    scores[0, 5 + int(position[0, 0])] = 1.0
    return scores


@pytest.fixture
def network(monkeypatch):
    """An OnnxBackend and its sessions; keys are the ids themselves, values their negatives."""

    def make(kind="pi05", steps=4, **numerics):
        def prefix(pictures, ids):
            keys = held([*pictures[0, :, 0], *ids[0]])
            return keys, -keys

        def word(ids, position, keys, values):
            return logits_of(position), held(ids[0]), -held(ids[0])

        sessions = {
            "vision": Session(
                ["tokens"],
                lambda images: [np.repeat(images[:, :1, 0, 0], PIECES, 1).reshape(-1, PIECES, 1) * np.ones(WIDTH)],
            ),
            "prefix": Session(["keys", "values"], prefix),
            "step": Session(
                ["velocity"], lambda x, t, keys, values, **more: [x * t[0] + keys.sum() + values[..., -1, 0]]
            ),
            "word": Session(["logits", "key", "value"], word),
        }
        monkeypatch.setattr(onnx_backend, "_session", lambda file, threads, chosen: sessions[file.stem])
        monkeypatch.setattr(
            onnx_backend,
            "_runtime",
            lambda: type("R", (), {"get_available_providers": lambda: ["CPUExecutionProvider"]}),
        )
        config = preset("tiny", kind=kind, expert=None if kind == "pi0_fast" else preset("tiny").expert)
        language = replace(config.language, width=WIDTH)
        config = replace(config, language=language, numerics=replace(config.numerics, **numerics))
        return OnnxBackend("graphs", config, steps), sessions

    return make


def inputs(state=None):
    pictures = {"a": np.full((3, 2, 2), 0.5, np.float32), "b": None, "c": np.full((3, 2, 2), 0.25, np.float32)}
    return ModelInputs(pictures, Prompt("", (2, 7, 9)), state, np.zeros(0))


SEEN = [0.5] * PIECES + [0.25] * PIECES + [2.0, 7.0, 9.0]


def test_a_plan_is_euler_steps_of_the_step_graph_over_pictures_and_prompt(network):
    backend, sessions = network(steps=4)
    noise = np.arange(6.0).reshape(3, 2)
    found = backend.actions(inputs(), noise, None)
    x, total = noise.astype(np.float32), sum(SEEN)
    for t in (1.0, 0.75, 0.5, 0.25):
        x = x - 0.25 * (x * t + total - 9.0)
    np.testing.assert_allclose(found, x, rtol=1e-5)
    assert sessions["prefix"].asked[0].inputs["ids"].tolist() == [[2, 7, 9]]
    assert sessions["prefix"].asked[0].inputs["pictures"].shape == (1, 2 * PIECES, WIDTH)
    assert "state" not in sessions["step"].asked[0].inputs and len(sessions["step"].asked) == 4
    assert sessions["step"].asked[0].places == [("velocity", "cpu", 0)]
    backend.actions(inputs(np.array([1.0, 2.0])), noise, None)
    assert sessions["step"].asked[-1].inputs["state"].tolist() == [[1.0, 2.0]]


def test_a_plan_is_continued_by_identity_alone(network):
    backend, _ = network()
    noise = np.zeros((3, 2))
    free = backend.actions(inputs(), noise, None)
    led = backend.actions(inputs(), noise, NormalisedPrefix(np.full((2, 2), 5.0), 1, 2, "identity"))
    assert np.abs(led[0] - free[0]).max() > 1e-3
    for method in ("vjp", "prefix"):
        with pytest.raises(PolicyError, match=f"cannot continue a plan by {method}; use identity, or torch"):
            backend.actions(inputs(), noise, NormalisedPrefix(np.zeros((2, 2)), 1, 2, method))


@pytest.mark.parametrize("offset", [0, 1])
def test_words_are_asked_for_one_after_another_each_behind_all_before(network, offset):
    """Nine tokens are seen: the prompt's last is asked again behind the other eight; word 5 + position is the likeliest."""
    backend, sessions = network(decode_offset=offset)
    found = backend.text(inputs(), 3, (99,))
    asked = [b.inputs for b in sessions["word"].asked]
    assert [int(a["position"][0, 0]) for a in asked[:3]] == [8, 9 + offset, 10 + offset]
    assert found.ids == [13, 14 + offset, 15 + offset]
    assert [int(a["ids"][0, 0]) for a in asked[:3]] == [9, *found.ids[:2]]
    assert asked[0]["keys"][0, 0, 0, :, 0].tolist() == SEEN[:-1]
    assert asked[2]["keys"][0, 0, 0, :, 0].tolist() == [*SEEN, found.ids[0]]
    assert asked[2]["values"][0, 0, 0, :, 0].tolist() == [-v for v in [*SEEN, found.ids[0]]]


def test_an_answer_ends_before_its_stop_and_the_stop_counts_for_how_sure_it_is(network):
    """Each word stands against eight others of e^-1: its probability is 1 / (1 + 8 / e)."""
    backend, _ = network()
    found = backend.text(inputs(), 9, (15, 3))
    assert found.ids == [13, 14]
    assert found.log_probability == pytest.approx(-math.log(1.0 + 8.0 / math.e))
    assert backend.text(inputs(), 0, ()).ids == [] and backend.text(inputs(), 0, ()).log_probability == 0.0


def test_tokens_that_a_network_starts_its_answer_with_follow_the_prompt(network):
    backend, sessions = network("pi0_fast", decode_start=(2,))
    backend.text(inputs(), 1, ())
    assert sessions["prefix"].asked[0].inputs["ids"].tolist() == [[2, 7, 9, 2]]
    empty = replace(inputs(), prompt=Prompt("", ()))
    plain, _ = network()
    with pytest.raises(PolicyError, match="text needs a prompt"):
        plain.text(empty, 1, ())


# --- sessions ---


MADE: list = []


class Options:
    pass


class Runtime:
    """onnxruntime, as far as a session is made."""

    SessionOptions = Options

    @staticmethod
    def get_available_providers():
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    @staticmethod
    def InferenceSession(file, options, providers):
        MADE.append((file, vars(options), providers))
        return "session"


def test_a_session_has_the_threads_it_was_given_and_tensorrt_a_folder_for_its_engines(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_backend, "_runtime", lambda: Runtime)
    file = tmp_path / "checkpoint" / "onnx" / "step.onnx"
    with pytest.raises(
        PolicyError, match=rf"step.onnx: missing; write the graphs with `pi0 export {tmp_path / 'checkpoint'}`"
    ):
        onnx_backend._session(file, 3, ["a"])
    file.parent.mkdir(parents=True)
    file.write_text("graph")
    assert onnx_backend._session(file, 3, ["a", "b"]) == "session"
    assert [(str(file), {"intra_op_num_threads": 3, "log_severity_level": 3}, ["a", "b"])] == MADE
    assert not (file.parent / "engines").exists()
    for _ in range(2):
        onnx_backend._session(file, 0, ["a", "b", "c"])
    assert (file.parent / "engines").is_dir()


@pytest.mark.parametrize(
    ("device", "where", "number"), [("cpu", "cpu", 0), ("cuda:1", "cuda", 1), ("tensorrt:2", "cuda", 2)]
)
def test_answers_stay_on_the_device_that_they_were_computed_on(tmp_path, monkeypatch, device, where, number):
    session = Session(["keys"], lambda **_: [np.zeros(1)])
    monkeypatch.setattr(onnx_backend, "_runtime", lambda: Runtime)
    monkeypatch.setattr(onnx_backend, "_session", lambda *_: session)
    graphs = OnnxBackend(tmp_path, preset("tiny"), device=device)._graphs
    assert list(graphs) == ["vision", "prefix", "step", "word"]
    graphs["word"](ids=np.zeros(1))
    assert session.asked[0].places == [("keys", where, number)]


def test_without_onnxruntime_its_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PolicyError, match=r"needs the package onnxruntime: pip install pi0_ros\[onnx\]"):
        check_device("cpu")
