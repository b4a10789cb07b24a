"""What a run is made of: chunks for its action tokenizer, its draws, its statistics, its network at the start."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi0_ros.policy.adapter_reading import load_adapter
from pi0_ros.policy.normalize import Statistics, read_norm_stats, write_norm_stats
from pi0_ros.train import session
from pi0_ros.train.embodiments import Embodiment, SourceSpec
from pi0_ros.train.errors import TrainError
from pi0_ros.train.frames import save_frames
from pi0_ros.train.hooks import no_hooks

sys.path.insert(0, str(Path(__file__).parent))
from test_training import MODEL, plan, some_frames

ADAPTER = load_adapter("mobile_bimanual")


class Line:
    """A pipeline whose normalised chunks are ten times the chunk less its state, three numbers wider than the robot."""

    def normalised_actions(self, chunk, state):
        return np.concatenate([10.0 * (chunk - state[:, None]), np.zeros((*chunk.shape[:2], 3))], axis=2)


def test_chunks_that_were_shown_to_their_end_are_taken_evenly_with_the_robots_numbers_alone():
    frames = some_frames()
    whole = np.array([0, 3, 4, 9, 12, 13, 20])
    valid = np.full(len(frames), 15, np.int32)
    valid[whole] = 16
    frames = replace(frames, valid=valid)

    def rows(most: int) -> list[int]:
        found = session.whole_chunks(frames, Line(), most)
        every = 10.0 * (frames.chunk.astype(np.float64) - frames.state[:, None])
        assert found.shape[1:] == (16, 18)
        return [int(np.flatnonzero(np.abs(every - one).max((1, 2)) < 1e-5)[0]) for one in found]

    assert rows(100) == rows(7) == whole.tolist() and rows(3) == [0, 9, 20] and rows(1) == [0]
    assert len(session.whole_chunks(replace(frames, valid=valid - 1), Line())) == 0


def test_an_action_tokenizer_is_fitted_once_on_every_robots_chunks_with_as_many_ids_as_there_is_room_for(
    tmp_path, monkeypatch
):
    fitted, asked = [], []

    def fit(chunks, vocab_size):
        fitted.append((list(chunks), vocab_size))
        return SimpleNamespace(save=lambda folder: (folder.mkdir(parents=True), (folder / "made").touch()))

    monkeypatch.setattr(session, "fit_fast", fit)
    monkeypatch.setattr(session, "_tokenizer", lambda plan: "words")
    monkeypatch.setattr(session, "pipeline_for", lambda *what: asked.append(what) or what[0])
    monkeypatch.setattr(session, "whole_chunks", lambda frames, pipeline, most: [f"{frames} by {pipeline}, {most}"])
    robots = [
        SimpleNamespace(adapter=n, vectors=f"{n}'s", statistics=lambda folder, first, n=n: (n, folder, first))
        for n in ("one", "two")
    ]
    for name, room, vocabulary in (("a", 1024, 1024), ("b", 1023, 512)):
        monkeypatch.setattr(session, "room_for_actions", lambda tokenizer, room=room: room)
        made = SimpleNamespace(fast="fit", folder=str(tmp_path / name), model="model", conventions="habits")
        assert session.fast_tokenizer(made, robots) == str(tmp_path / name / "fast_tokenizer")
        assert fitted[-1] == (["one's by one, 10000", "two's by two, 10000"], vocabulary)
        assert (tmp_path / name / "fast_tokenizer" / "made").exists()
    assert asked[:2] == [
        (n, "model", (n, tmp_path / "a", first), "habits") for n, first in (("one", True), ("two", False))
    ]
    session.fast_tokenizer(made, robots)
    assert len(fitted) == 2
    given = SimpleNamespace(fast="a/folder", folder=str(tmp_path / "c"))
    assert session.fast_tokenizer(given, robots) == "a/folder" and not (tmp_path / "c").exists()
    monkeypatch.setattr(session, "whole_chunks", lambda *_: [])
    with pytest.raises(TrainError, match="no chunk is shown to its end"):
        session.fast_tokenizer(SimpleNamespace(**{**vars(made), "folder": str(tmp_path / "d")}), robots)


def test_bins_need_no_chunks(tmp_path):
    folder = session.fast_tokenizer(SimpleNamespace(fast="bins", folder=str(tmp_path)), ())
    assert folder == str(tmp_path / "fast_tokenizer") and any(Path(folder).iterdir())


def test_how_lively_a_chunk_is_counts_up_to_half_of_what_the_liveliest_tenth_moves():
    """Eleven chunks that go 0 to 10 rad in the first channel: nine tenths go up to 9, and 4.5 of them count as 1."""
    chunk = np.zeros((11, 3, 2), np.float32)
    chunk[:, 0] = 7.0
    chunk[:, 1:, 0] = 7.0 + np.arange(11)[:, None]
    chunk[:, 1:, 1] = 7.0 - 40.0 * np.arange(11)[:, None]
    wanted = np.minimum(np.arange(11) / 4.5, 1.0)
    shown = np.full(11, 2)
    np.testing.assert_allclose(session.moving(chunk, (True, False), shown), wanted, atol=1e-6)
    np.testing.assert_allclose(session.moving(chunk, (False, False), shown), wanted, atol=1e-6)
    assert session.moving(chunk, (True, False), np.zeros(11, int)).tolist() == [0.0] * 11
    both = np.zeros((2, 2, 2), np.float32)
    both[1, 1] = (3.0, 4.0)
    assert session.moving(both, (True, True), np.full(2, 2)).tolist() == [0.0, 1.0]


def draws(mixture=(), frames=("f1", "f2"), robots=()):
    return session.draws_of(SimpleNamespace(mixture=mixture, frames=frames), robots)


def test_a_mixture_is_drawn_by_source_task_and_given_weight():
    one, other = some_frames(0, 8), some_frames(1, 4)
    other = replace(other, texts=("touch every block", "x", "y"), weight=np.full(4, 2.0, np.float32))
    robots = [
        Embodiment("a", ADAPTER, (("home", one), ("lab", other))),
        Embodiment("b", ADAPTER, (("shop", replace(one, texts=("z", "x", "y"))),)),
    ]
    specs = [SourceSpec(name, "f", weight=w) for name, w in (("shop", 3.0), ("web", 9.0), ("home", 1.0), ("lab", 2.0))]
    found = draws(specs, (), robots)
    assert found.names == ("home", "lab", "shop") and found.given == (1.0, 2.0, 3.0)
    assert found.sources.tolist() == [0] * 8 + [1] * 4 + [2] * 8
    assert found.tasks.tolist() == [0] * 8 + [1] * 4 + [4] * 8 or len(set(found.tasks.tolist())) == 3
    assert found.weight.tolist() == [1.0] * 8 + [2.0] * 4 + [1.0] * 8
    assert found.frames.episode.tolist() == [*np.repeat(range(4), 2), *range(4, 8), *np.repeat(range(8, 12), 2)]
    lively = [session.moving(f.chunk, ADAPTER.offset_mask, f.valid) for f in (one, other, one)]
    np.testing.assert_allclose(found.lively, np.concatenate(lively))
    plain = [replace(s, weight=0.0) for s in specs]
    assert draws(plain, (), robots).given == ()


def test_folders_of_frames_are_sources_by_their_names(tmp_path):
    parts = [some_frames(0, 4), some_frames(1, 8), some_frames(2, 4)]
    for name, part in zip(("a/x", "a/y", "b/z"), parts, strict=True):
        save_frames(part, tmp_path / name)
    roots = (str(tmp_path / "b"), str(tmp_path / "a"))
    robots = [Embodiment("one", ADAPTER, (("", session.frames_below(roots)),))]
    found = draws((), roots, robots)
    assert found.names == roots and found.sources.tolist() == [0] * 4 + [1] * 12
    assert found.tasks is None is found.weight and found.given == () and len(found.lively) == 16


@pytest.mark.parametrize(("first", "wanted"), [(True, ("file", "start")), (False, ("data", ""))])
def test_statistics_are_settled_once_and_those_of_a_start_are_the_first_robots(
    tmp_path, monkeypatch, capsys, first, wanted
):
    table = {k: Statistics({"q01": np.full(18, -2.0), "q99": np.full(18, 2.0)}) for k in ("state", "actions")}
    asked: list[tuple] = []
    monkeypatch.setattr(
        session, "choose", lambda *what: asked.append((*what[:2], len(what[3]))) or (table, "of somewhere")
    )
    made = SimpleNamespace(folder=str(tmp_path), statistics="file", init="start", mixture=("x",))
    robot = Embodiment("arm", ADAPTER, (("a", some_frames(0, 8)), ("b", some_frames(1, 4))))
    session._settle_statistics(made, robot, first)
    said = capsys.readouterr().out
    assert asked == [(*wanted, 12)]
    assert said == "12 frames of 8 episodes of arm\nstatistics of arm of somewhere\n"
    place = tmp_path if first else tmp_path / "statistics" / "arm"
    assert read_norm_stats(place)["state"]["q99"].tolist() == [2.0] * 18
    tight = {k: Statistics({"q01": np.full(18, -0.01), "q99": np.full(18, 0.01)}) for k in ("state", "actions")}
    write_norm_stats(place, tight)
    session._settle_statistics(SimpleNamespace(**{**vars(made), "mixture": ()}), robot, first)
    said = capsys.readouterr().out
    assert len(asked) == 1 and "12 frames of 8 episodes\nstatistics of the run that is continued\n" in said
    assert "look: state of left_joint1: " in said and "far outside" in said


@pytest.mark.parametrize(("recipe", "per_head"), [("openpi", True), ("pi0_ros", False), ("lerobot", False)])
def test_a_network_begins_by_the_runs_seed_and_with_adapters_of_its_recipe(tmp_path, monkeypatch, recipe, per_head):
    given = []
    monkeypatch.setattr(session, "with_adapters", lambda *what: given.append(what) or what[0])
    made = plan(tmp_path, no_hooks, recipe=recipe, gradient_checkpointing=True, seed=4)
    one, other = session.make_model(made, "words"), session.make_model(made, "words")
    another = session.make_model(plan(tmp_path, no_hooks, seed=5), "words")
    weights = [m.action_in_proj.weight for m in (one, other, another)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert [stack.gradient_checkpointing for stack in (one.siglip, one.gemma, one.expert)] == [True] * 3
    assert [stack.gradient_checkpointing for stack in (another.siglip, another.gemma, another.expert)] == [False] * 3
    assert given[0][0] is one and given[0][1] is made.settings and given[0][3] is per_head
    assert session.parameter_count(MODEL) == sum(p.numel() for p in one.parameters())


def test_an_experiment_prepares_random_weights_by_the_runs_generator(tmp_path):
    prepared = []

    def prepare(model, tokenizer, generator):
        prepared.append((tokenizer, generator.initial_seed()))
        model.action_in_proj.bias.data.fill_(3.0)

    made = plan(tmp_path, lambda tokenizer: SimpleNamespace(prepare=prepare), seed=6)
    assert bool((session.make_model(made, "words").action_in_proj.bias == 3.0).all()) and prepared == [("words", 6)]


def test_a_run_of_one_robot_has_the_frames_of_all_its_folders(monkeypatch):
    monkeypatch.setattr(session, "load_adapter", lambda name: replace(ADAPTER, name=f"the {name}"))
    monkeypatch.setattr(session, "frames_below", lambda roots: f"frames of {roots}")
    found = session.robots_of(SimpleNamespace(mixture=(), adapter="arm", frames=("a", "b")))
    assert [(r.name, r.adapter.name, r.sources) for r in found] == [
        ("the arm", "the arm", (("", "frames of ('a', 'b')"),))
    ]


class Asked:
    """Stands where `session` asks others, and notes what it asks, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers) -> None:
        self.calls: list[tuple] = []
        for name, answer in answers.items():
            monkeypatch.setattr(session, name, self._answering(name, answer))

    def _answering(self, name, answer):
        def ask(*given, **more):
            self.calls.append((name, *given, *more.values()))
            return answer(*given) if callable(answer) else answer

        return ask

    def of(self, name: str) -> list[tuple]:
        """What was asked of one of them."""
        return [call[1:] for call in self.calls if call[0] == name]


def robot_of(name: str, *sources: tuple[str, bool]) -> SimpleNamespace:
    """A robot with sources, of which some say what to do next."""
    frames = [
        SimpleNamespace(
            texts=f"texts of {s}", channels=f"channels of {s}", cameras="c", has_subtask=np.array([False, told])
        )
        for s, told in sources
    ]
    return SimpleNamespace(
        name=name,
        adapter=f"adapter of {name}",
        statistics=lambda folder, first: f"statistics of {name}, {folder}, {first}",
        sources=tuple(zip([s for s, _ in sources], frames, strict=True)),
    )


ROBOTS = (robot_of("one", ("", True), ("lab", False)), robot_of("two", ("shop", False)))


def prepared(monkeypatch, capsys=None, hooks=None, makers=(), **changes) -> Asked:
    given = {"model": "model", "fast": "", "init": "", "origin": "pi0_ros", "mixture": (), "frames": ("f",)}
    settings = session.TrainSettings(**{k: v for k, v in changes.items() if k not in given})
    made = SimpleNamespace(
        **{**given, **{k: v for k, v in changes.items() if k in given}}, settings=settings, folder="run",
        tokenizer="", conventions="habits",
        hooks=lambda tokenizer: hooks or SimpleNamespace(augmentations=(), answer=None, loss=None),
    )  # fmt: skip
    asked = Asked(
        monkeypatch, _tokenizer="words", load_action_tokenizer=lambda f: f"tokens of {f}", check_action_tokens=None,
        check_fits=None, pipeline_for=lambda *what: f"pipeline of {what[0]}", check_locations=None,
        check_questions=None, check_question_lengths=None, check_prompts=None, memory_plan="memory", check_memory=None,
        check_room=None, check_loggers=None, check_compile=None, base_keys=None, text_makers=makers,
        parameter_count=1000, draws_of=lambda *_: draws_known(),
        split_episodes=(np.array([0, 2, 3]), np.array([1])),
    )  # fmt: skip
    session.prepare(made, ROBOTS)
    return asked


def draws_known() -> SimpleNamespace:
    """Four frames of two sources, drawn 1 : 2 : 1 where they are trained on."""
    return SimpleNamespace(
        frames="mixed frames",
        sources=np.array([0, 0, 1, 1]),
        names=("home", "lab"),
        chances=lambda trained, still: np.array([0.25, 0.5, 0.25]) if still == 0.25 else None,
    )


def test_every_source_of_every_robot_is_looked_at_before_anything_is_trained(monkeypatch, capsys):
    checked = []
    change = SimpleNamespace(check=lambda channels, cameras: checked.append((channels, cameras)))
    hooks = SimpleNamespace(augmentations=(change,), answer=None, loss=None)
    asked = prepared(monkeypatch, hooks=hooks, fast="tokens", keep=3, device="cuda", frames=("a", "b"))
    assert asked.of("check_action_tokens") == [("tokens of tokens", "words", "tokens")]
    assert asked.of("check_fits") == [("adapter of one", "model"), ("adapter of two", "model")]
    assert asked.of("pipeline_for") == [
        ("adapter of one", "model", "statistics of one, run, True", "habits"),
        ("adapter of two", "model", "statistics of two, run, False", "habits"),
    ]
    sources = [(name, frames) for robot in ROBOTS for name, frames in robot.sources]
    assert asked.of("check_locations") == [
        (f.texts, "words", name or "one") for name, f in sources
    ]  # a source without a name is called as its robot
    assert asked.of("check_questions") == [("adapter of one",)], "of the source that says what to do next"
    assert asked.of("check_question_lengths") == [(sources[0][1], "pipeline of adapter of one", "words")]
    assert [call[:2] for call in asked.of("check_prompts")] == [
        (f, f"pipeline of adapter of {n}") for (_, f), n in zip(sources, ("one", "one", "two"), strict=True)
    ]
    assert checked == [(f"channels of {name}", "c") for name, _ in sources]
    assert asked.of("memory_plan")[0][0] == "model" and asked.of("memory_plan")[0][2] is True
    assert asked.of("check_memory") == [("memory", "cuda")]
    assert asked.of("check_room") == [(Path("run"), 26_000)], "20 bytes a weight, and 2 for each checkpoint that stays"
    assert asked.of("split_episodes")[0][:2] == ("mixed frames", 0.02)
    assert len(asked.of("check_loggers")) == 1
    assert not asked.of("check_compile") and not asked.of("base_keys")
    said = capsys.readouterr().out
    assert said == "mixture: 25.0% of the action examples from home\nmixture: 75.0% of the action examples from lab\n"


def test_what_is_not_asked_for_is_not_looked_at(monkeypatch, capsys):
    asked = prepared(monkeypatch, word_batch=0, keep=0, precision="float32")
    for name in ("check_action_tokens", "check_questions", "check_question_lengths", "draws_of"):
        assert not asked.of(name), name
    assert asked.of("check_room") == [(Path("run"), 20_000)] and asked.of("memory_plan")[0][2] is False
    assert not capsys.readouterr().out
    assert prepared(monkeypatch, mixture=("x",)).of("draws_of")


@pytest.mark.parametrize(
    ("native", "precision", "said"), [(False, "auto", True), (True, "auto", False), (False, "bfloat16", False)]
)
def test_a_run_says_if_it_computes_in_float32_for_want_of_instructions(monkeypatch, capsys, native, precision, said):
    monkeypatch.setattr("pi0_ros.train.precision.has_bfloat16", lambda: native)
    prepared(monkeypatch, precision=precision)
    assert ("computing in float32, as this processor has no instructions" in capsys.readouterr().out) is said


def test_a_warm_up_that_is_shortened_is_said_and_compiling_and_adapters_are_tried(monkeypatch, capsys):
    asked = prepared(monkeypatch, steps=200, warmup=150, compile=True, device="cuda")
    assert capsys.readouterr().out == "warm-up of 150 steps is shortened to 20: the run has 200\n"
    assert asked.of("check_compile") == [("cuda",)]
    asked = prepared(monkeypatch, lora_trunk=4, lora_export="peft", init="start")
    assert asked.of("base_keys") == [("start",)]


@pytest.mark.parametrize(
    ("hooks", "changes", "match"),
    [
        ({"answer": "a"}, {"augment": "openpi"}, "--augment openpi crops and turns pictures"),
        ({"answer": "a"}, {"origin": "openpi"}, "--augment openpi crops and turns pictures"),
        ({"answer": "a"}, {"origin": "openpi", "augment": "light"}, None),
        ({"loss": "l"}, {"augment": "openpi"}, None),
        ({"loss": "l"}, {"compile": True}, "--compile: the losses of --experiment touch"),
        ({"answer": "a"}, {"compile": True}, None),
        ({"loss": "l"}, {"shard": True}, "--shard: the losses of --experiment touch"),
        ({"answer": "a"}, {"shard": True}, None),
    ],
)
def test_an_experiment_is_refused_beside_what_it_does_not_go_with(monkeypatch, hooks, changes, match):
    hooks = SimpleNamespace(**{"augmentations": (), "answer": None, "loss": None, **hooks})
    if match is None:
        prepared(monkeypatch, hooks=hooks, **changes)
    else:
        with pytest.raises(TrainError, match=match):
            prepared(monkeypatch, hooks=hooks, **changes)


def test_texts_are_looked_at_and_need_a_batch_of_words(monkeypatch):
    looked = []
    makers = [SimpleNamespace(name=n, check=lambda n=n: looked.append(n)) for n in ("web", "more")]
    prepared(monkeypatch, makers=makers, word_batch=1)
    assert looked == ["web", "more"]
    with pytest.raises(TrainError, match="web: texts are drawn with --word-batch, which is 0"):
        prepared(monkeypatch, makers=makers, word_batch=0)
    prepared(monkeypatch, word_batch=0)


def test_a_job_has_what_each_robot_and_text_needs(monkeypatch, tmp_path):
    mixture = tuple(
        SourceSpec(name, frames="" if text else "f", text=text, weight=weight)
        for name, text, weight in (("home", "", 1.0), ("web", "t.jsonl", 2.0), ("more", "u.jsonl", 3.0))
    )
    known = session.Draws("frames", np.zeros(2, int), ("home", "lab", "shop"))
    asked = Asked(
        monkeypatch, robots_of=ROBOTS, _tokenizer="words", make_model="network", text_makers=(), draws_of=known,
        load_action_tokenizer="action tokens", pipeline_for=lambda *what: f"pipeline of {what[0]}",
        find_tokenizer=lambda place: f"found {place}", question_slots=lambda adapter: f"slots of {adapter}",
        ExampleMaker=lambda *what: what,
    )  # fmt: skip
    texts = (SimpleNamespace(name="web"), SimpleNamespace(name="more"))
    monkeypatch.setattr(session, "text_makers", lambda *_: texts)
    monkeypatch.setattr(session, "MixedMaker", lambda parts, texts: ("mixed", parts, texts))
    settings = session.TrainSettings(recipe="lerobot", augment="none")
    made = session.Plan(
        (), "", "model", settings, str(tmp_path), "start", "own words", "", "fast folder", "openpi", "habits",
        lambda tokenizer: f"hooks of {tokenizer}", mixture,
    )  # fmt: skip
    job = session.make_job(2, made)
    parts = tuple(
        (frames, f"pipeline of adapter of {robot.name}", "words", settings, "hooks of words", "action tokens",
         session.Augment.NONE, f"slots of adapter of {robot.name}")
        for robot in ROBOTS
        for _, frames in robot.sources
    )  # fmt: skip
    assert job.maker == ("mixed", parts, texts) and job.model == "network" and job.rank == 2
    assert asked.of("pipeline_for")[0] == ("adapter of one", "model", f"statistics of one, {tmp_path}, True", "habits")
    assert asked.of("pipeline_for")[-1] == (
        "adapter of two",
        "model",
        f"statistics of two, {tmp_path}, False",
        "habits",
    )
    assert (job.adapter, job.statistics) == ("adapter of one", f"statistics of one, {tmp_path}, True")
    assert job.others == (("two", "adapter of two", f"statistics of two, {tmp_path}, False"),)
    assert job.draws == replace(known, texts=("web", "more"), text_weights=(2.0, 3.0))
    assert (job.folder, job.tokenizer_file, job.fast_folder) == (tmp_path, "found own words", Path("fast folder"))
    assert (job.origin, job.base, job.conventions, job.recipe.name) == (
        *("the checkpoint start", "start", "habits", "lerobot"),
    )
    assert job.hooks == "hooks of words" and job.settings is settings
    alone = session.make_job(0, replace(made, mixture=(), init="", tokenizer="", fast="", origin="openpi"))
    assert alone.maker[0] is ROBOTS[0].sources[0][1] and alone.maker[5] is None and alone.origin == "random weights"
    assert alone.tokenizer_file is None is alone.fast_folder and alone.recipe.name == "lerobot"
