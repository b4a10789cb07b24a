"""What a run says at its end, what it counts, and what its clock leaves."""

import io
import json
import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pi0_ros.policy.boxes import Box
from pi0_ros.train import (
    ahead,
    checkpoints,
    loggers,
    mixed,
    processes,
    session,
    sharding,
    text_source,
    validate,
    workers,
)
from pi0_ros.train.compiling import transformer_layers
from pi0_ros.train.errors import TrainError
from pi0_ros.train.fingerprints import of_value, versions
from pi0_ros.train.health import Health
from pi0_ros.train.interruption import interruptible
from pi0_ros.train.loading import LoadingMeter
from pi0_ros.train.mixed import MixedMaker
from pi0_ros.train.mixture import Choice, _choice
from pi0_ros.train.objective import Weights
from pi0_ros.train.prompt_check import check_locations, room_for_actions
from pi0_ros.train.recipe import RECIPES, USUAL
from pi0_ros.train.run_folder import changed_settings, write_settings
from pi0_ros.train.settings import TrainSettings
from pi0_ros.train.so_far import Best, SoFar, so_far_of
from pi0_ros.train.text_source import MAX_BYTES, MAX_PICTURE, TextItem, boxes_of, read_texts, slots_of
from pi0_ros.train.ticker import Ticker
from pi0_ros.train.trainer import Trainer


def trainer(folder=Path("run"), best=None, words=(1,), **changes):
    made = Trainer.__new__(Trainer)
    made.settings = TrainSettings(**{"steps": 100, **changes})
    made.job = SimpleNamespace(folder=folder)
    made.so_far = SoFar(40, best=best or Best())
    made.lots = SimpleNamespace(word_rows=list(words))
    made.started = 0.0
    return made


@pytest.mark.parametrize(
    ("best", "changes", "asked", "said"),
    [
        (Best(0.25, 30), {}, 0, "run/best: best on held-out frames, val_loss 0.25 at step 30\n"),
        (Best(0.25, 30), {"keep": 0}, 0, ""),
        (Best(), {}, 0, ""),
        (Best(0.25, 30, 2), {"keep": 0, "patience": 3}, 0, ""),
        (
            Best(0.25, 30, 3), {"keep": 0, "patience": 3}, 0,
            "ended early at step 40 of 100: 3 validations without a lower val_loss; a higher --patience goes on\n",
        ),
        (Best(), {}, 2, "stopped at step 40 of 100; the same command goes on from there\n"),
    ],
)  # fmt: skip
def test_the_end_of_a_run_is_told_with_its_best_checkpoint(capsys, best, changes, asked, said):
    trainer(best=best, **changes)._tell_end(asked)
    assert capsys.readouterr().out == said


def test_a_step_counts_the_examples_of_all_processes():
    assert trainer(batch=3, word_batch=2, workers=4)._drawn() == 20
    assert trainer(batch=3, word_batch=2, workers=4, words=())._drawn() == 12


def test_a_run_ends_by_its_steps_unless_it_is_given_minutes(monkeypatch):
    made = trainer()
    assert made.settings.minutes == 0.0 and made.progress() == 0.4
    monkeypatch.setattr("time.monotonic", lambda: 90.0)
    assert trainer(minutes=2.0).progress() == pytest.approx(0.75) and trainer(minutes=9.0).progress() == 0.4


def test_the_time_that_is_left_is_told_for_slow_steps_too():
    out = io.StringIO()
    ticker = Ticker(100, out)
    for now, step in ((0.0, 1), (10.0, 2), (16.0, 5), (22.0, 5)):
        ticker.tick(now, step, 0.5, 1e-3, step / 100)
    lines = out.getvalue().splitlines()
    assert lines[1].endswith("0.1 steps/s, 16 min left") and lines[2].endswith("0.5 steps/s, 3 min left")
    assert lines[3].endswith("0 steps/s, 0 s left")


def test_waiting_is_told_to_a_thousandth_and_times_to_a_tenth_of_a_millisecond():
    meter = LoadingMeter(10.0)
    meter.add(0.123456, 7)
    meter.add(0.2, 4)
    found = meter.take(11.7)
    assert found == {"loading": 0.19, "step_s": 0.85, "data_s": 0.1617, "pictures_per_s": 34.0}
    meter.add(0.123456, 7)
    assert meter.take(11.7 + 0.6)["loading"] == 0.206


def test_values_are_the_same_in_any_order_and_lists_are_not():
    assert of_value({"a": 1, "b": {"c": 2, "d": 3}}) == of_value({"b": {"d": 3, "c": 2}, "a": 1})
    assert of_value([1, 2]) != of_value([2, 1]) and len(of_value({})) == 16


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ([1, 2], [1, 3], ["x[1]: 2 -> 3"]),
        ([1, 2], [1], ["x: [1, 2] -> [1]"]),
        ("ab", [1, 2], ['x: "ab" -> [1, 2]']),
        ([1, 2], "ab", ['x: [1, 2] -> "ab"']),
        (None, [1], ["x: null -> [1]"]),
        ({"k": 1}, {"k": 1, "m": 2}, ["x.m: null -> 2"]),
        ({"k": 1}, [1], ['x: {"k": 1} -> [1]']),
        ("a" * 70, "b", [f'x: "{"a" * 56}... -> "b"']),
        ("a" * 58, "b" * 59, [f'x: "{"a" * 58}" -> "{"b" * 56}...']),
    ],
)
def test_a_setting_that_changed_is_said_as_deep_as_both_are_alike(tmp_path, before, now, said):
    write_settings(tmp_path, {"x": before, "steps": 1})
    assert changed_settings(tmp_path, {"x": now, "steps": 2}) == said
    assert changed_settings(tmp_path, json.loads((tmp_path / "settings.json").read_text())) == []


def test_settings_that_are_no_plain_values_are_written_as_their_words(tmp_path):
    write_settings(tmp_path, {"init": Path("a/b"), "steps": 3})
    assert json.loads((tmp_path / "settings.json").read_text()) == {"init": "a/b", "steps": 3}


def test_a_state_of_an_older_version_has_seen_no_examples_and_no_validation():
    assert so_far_of({"step": 3, "seconds": 2.5}) == SoFar(3, 2.5, 0, Best())
    best = {"loss": 0.5, "step": 2, "since": 1}
    assert so_far_of({"step": 3, "seconds": 2.5, "examples": 9, "best": best}) == SoFar(3, 2.5, 9, Best(0.5, 2, 1))


@pytest.mark.parametrize(
    ("good", "wrong", "match"),
    [
        ({"loaders": 256}, {"loaders": 257}, "--loaders has to be between 0 and 256"),
        ({"steps": 1}, {"steps": 0}, "--steps"),
        ({"brightness": 1.0}, {"brightness": 1.01}, "--brightness"),
        ({"ema": 0.9999999}, {"ema": 1.0}, "--ema"),
        ({"seed": 0, "keep": 0}, {"seed": -1}, "--seed"),
        ({"lora_export": "peft", "lora_trunk": 1}, {"lora_export": "peft"}, "give --lora-trunk or --lora-expert too"),
        ({"lora_export": "peft", "lora_expert": 1}, {"lora_export": "folder"}, "choose merged or peft"),
        ({"patience": 2}, {"patience": 2, "validation_share": 0.0}, "--patience ends a run"),
        ({"shard": True}, {"shard": True, "compile": True}, "not supported together"),
        ({"compile": True}, {"shard": True, "moments": "8bit"}, "do not go together"),
    ],
)
def test_settings_are_taken_up_to_their_bounds_and_refused_beyond_by_name(good, wrong, match):
    TrainSettings(**good)
    with pytest.raises(TrainError, match=match):
        TrainSettings(**wrong)


@pytest.mark.parametrize(
    ("names", "least", "most"),
    [
        ("steps batch draws workers validate_every", 1, 10**9),
        ("keep patience", 0, 10**6),
        ("word_batch warmup language_steps prefix_rows lora_trunk lora_expert seed", 0, 2**31),
        ("minutes weight_decay clip alpha save_every answer_weight word_weight state_noise picture_noise", 0.0, 1e9),
        ("peak_rate final_rate", 0.0, 1e9),
        ("brightness contrast prefix_chance still_weight", 0.0, 1.0),
        ("ema validation_share", 0.0, 0.9999999),
    ],
)
def test_a_number_of_a_run_is_taken_to_both_ends_of_its_range_and_no_further(names, least, most):
    """Counts that a run cannot do without begin at 1, others at 0; shares end at 1, and what divides by the rest of it before."""
    step = 1 if isinstance(least, int) else 1e-7
    for name in names.split():
        for value in (least, most):
            assert getattr(TrainSettings(**{name: value}), name) == value
        for value in (least - step, most * (1.0 + 1e-7) + step * (least == 1), math.nan):
            with pytest.raises(TrainError, match=f"--{name.replace('_', '-')} has to be between {least:g} and"):
                TrainSettings(**{name: value})


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1", "cuda:12", "mps"])
def test_devices_are_those_of_pytorch_and_the_average_may_be_on_another(device):
    assert TrainSettings(device=device).device == device
    assert TrainSettings(device="cuda", ema_device=device).ema_device == device
    for name in ("device", "ema_device"):
        for wrong in (f"{device}x", f"x{device}", "cuda:", "cpu:0"):
            with pytest.raises(TrainError, match=f"--{name.replace('_', '-')} '{wrong}' is not known"):
                TrainSettings(**{name: wrong})


def test_losses_have_the_weights_of_the_paper_unless_a_run_says_otherwise():
    """π0.5 weighs flow tenfold against cross-entropy (arXiv 2504.16054, section IV)."""
    assert Weights() == Weights(alpha=10.0, answer=1.0, words=1.0, insulate=False, by_row=False)


def test_all_frames_of_a_dataset_are_chosen_unless_a_mixture_says_otherwise():
    assert Choice() == Choice((), (), 0.0, float("inf"), 1.0) == _choice({}, "x")
    assert _choice({"longest": 0.5, "shortest": 0.25}, "x") == Choice((), (), 0.25, 0.5, 1.0)
    with pytest.raises(TrainError, match="x: longest 0.5 has to be above shortest 0.5"):
        _choice({"longest": 0.5, "shortest": 0.5}, "x")


def test_lines_of_blanks_are_no_examples_and_pictures_are_a_file_or_a_mapping(tmp_path):
    (tmp_path / "a.png").touch()
    file = tmp_path / "t.jsonl"
    line = {"image": "a.png", "question": " what? ", "answer": " a cup "}
    file.write_text("\n   \n" + json.dumps(line) + "\n\t\n")
    (item,) = read_texts(file)
    assert (item.question, item.answer, item.images) == ("what?", "a cup", (("", tmp_path / "a.png"),))
    for images in (["a.png"], {}, {"base": 3}, "a.png"):
        file.write_text(json.dumps({"images": images, "answer": "x"}))
        with pytest.raises(TrainError, match="line 1: give `image`, a file, or `images`, a mapping"):
            read_texts(file)


def test_numbers_in_tensorboards_file_while_the_run_goes_on(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs the extra `tensorboard`")
    board = loggers.TensorBoard(tmp_path, 0)
    try:
        board.write(3, {"loss flow": 0.5})
        (file,) = (tmp_path / "tensorboard").iterdir()
        end = time.monotonic() + 60.0  # a second later
        while b"loss/flow" not in file.read_bytes() and time.monotonic() < end:
            time.sleep(0.02)
        assert b"loss/flow" in file.read_bytes()
    finally:
        board.close()


def test_held_out_noise_is_drawn_by_seed_and_part(monkeypatch):
    class Asked(Exception):
        pass

    def streams(*numbers):
        raise Asked(numbers)

    monkeypatch.setattr(validate, "step_streams", streams)
    with pytest.raises(Asked) as asked:
        validate.held_out_loss(torch.nn.Linear(1, 1), None, [1], replace(TrainSettings(), seed=5), None, 3)
    assert asked.value.args[0] == (5, 0, 3)


def test_a_subtask_is_right_word_for_word(monkeypatch):
    said = {0: " reach ", 1: "lift", 2: "reach", 3: "liftoff"}

    class Maker:
        frames = SimpleNamespace(texts=("reach", "lift"), high_target=np.array([0, 1, 1, 1, 0]))
        tokenizer = SimpleNamespace(decode=lambda ids: said[ids])

        def words(self, rows):
            return SimpleNamespace(inputs=None)

    monkeypatch.setattr(validate, "prompt_only", lambda inputs: torch.zeros(1))
    lengths = []
    monkeypatch.setattr(
        validate, "generate_text", lambda model, prompts, longest: lengths.append(longest) or [0, 1, 2, 3]
    )
    assert validate.subtask_accuracy(torch.nn.Linear(1, 1), Maker(), [0, 1, 2, 3]) == 0.5
    from pi0_ros.train.memory import WORDS

    assert lengths == [WORDS] == [16], "what a step learns of a subtask at most is what a validation reads of it"


def test_a_checkpoint_is_written_with_one_for_each_further_robot(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(
        checkpoints, "export", lambda model, target, *what, **more: done.append((model, target, *what, more))
    )
    monkeypatch.setattr(checkpoints, "export_beside", lambda *what: done.append(what))
    others = (("left", "adapter 1", "table 1"), ("right", "adapter 2", "table 2"))
    job = SimpleNamespace(
        folder=tmp_path, adapter="adapter 0", statistics="table 0", tokenizer_file="t", origin="o", fast_folder="f",
        conventions="c", others=others,
    )  # fmt: skip
    checkpoints.write_checkpoint(job, "network", "best", "a note")
    more = {"origin": "o", "fast_folder": "f", "conventions": "c"}
    assert done == [
        ("network", tmp_path / "best", "adapter 0", "table 0", "a note", "t", more),
        (tmp_path / "best", tmp_path / "best-left", "adapter 1", "table 1"),
        (tmp_path / "best", tmp_path / "best-right", "adapter 2", "table 2"),
    ]


@pytest.mark.parametrize(
    ("box", "good"),
    [
        ([0.0, 0.0, 1.0, 1.0, "cup"], True),
        ([0.1, 0.2, 1.01, 0.9, "cup"], False),
        ([-0.01, 0.2, 0.5, 0.9, "cup"], False),
        ([0.1, True, 0.5, 1, "cup"], False),
        ([0.1, "0.2", 0.5, 0.9, "cup"], False),
        ([0.5, 0.2, 0.5, 0.9, "cup"], False),
        ([0.1, 0.9, 0.5, 0.2, "cup"], False),
        ([0.1, 0.2, 0.5, "cup"], False),
        ([0.1, 0.2, 0.5, 0.9, 7], False),
    ],
)
def test_a_box_is_four_fractions_in_order_and_a_word(box, good):
    if good:
        assert boxes_of([box], "line 3") == (Box(*box[:4], "cup"),)
    else:
        with pytest.raises(TrainError, match="line 3: box .* has to be"):
            boxes_of([[0.1, 0.1, 0.2, 0.2, "fine"], box], "line 3")


def test_texts_are_asked_as_the_first_robot_is_with_its_statistics(monkeypatch):
    made = []
    monkeypatch.setattr(session, "pipeline_for", lambda *what: made.append(what) or "pipeline")
    monkeypatch.setattr(session, "read_texts", lambda file: (f"items of {file}",))
    sources = [SimpleNamespace(text=t, name=n) for t, n in (("", "home"), ("a.jsonl", "web"), ("b.jsonl", "more"))]
    plan = SimpleNamespace(mixture=sources, folder="run", model="model", conventions="habits")
    robots = [
        SimpleNamespace(adapter=n, statistics=lambda folder, first, n=n: (n, folder, first)) for n in ("one", "two")
    ]
    found = session.text_makers(plan, robots, "words")
    assert [(t.items, t.pipeline, t.tokenizer, t.name) for t in found] == [
        (("items of a.jsonl",), "pipeline", "words", "web"), (("items of b.jsonl",), "pipeline", "words", "more"),
    ]  # fmt: skip
    assert made == [("one", "model", ("one", Path("run"), True), "habits")]
    assert session.text_makers(SimpleNamespace(mixture=sources[:1]), robots, "words") == ()


@pytest.mark.parametrize(
    ("slots", "found"),
    [
        ((("", "a"),), {"base": "a"}),
        ((("wrist", "b"), ("", "a")), {"wrist": "b", "base": "a"}),
    ],
)
def test_a_picture_without_a_slot_is_in_the_networks_first(slots, found):
    item = TextItem(slots, "what?", "a cup")
    assert slots_of(item, ("base", "wrist"), "web") == found
    with pytest.raises(TrainError, match="web: the network has no picture slot 'hand'; it has base, wrist"):
        slots_of(TextItem((*slots, ("hand", "c")), "", "x"), ("base", "wrist"), "web")


def test_a_question_may_be_called_a_prompt_and_question_and_answer_are_text(tmp_path):
    (tmp_path / "a.png").touch()
    file = tmp_path / "t.jsonl"
    lines = (
        {"image": "a.png", "prompt": "where?", "answer": "there"},
        {"image": "a.png", "question": "what?", "prompt": "where?", "boxes": [[0.1, 0.2, 0.3, 0.4, " cup "]]},
        {"images": {"b": "a.png", "a": "a.png"}, "answer": "x"},
    )
    file.write_text("\n".join(map(json.dumps, lines)))
    first, second, third = read_texts(file)
    assert (first.question, first.answer, first.boxes) == ("where?", "there", ())
    assert (second.question, second.answer, second.boxes) == ("what?", "", (Box(0.1, 0.2, 0.3, 0.4, "cup"),))
    assert third.images == (("b", tmp_path / "a.png"), ("a", tmp_path / "a.png")) and third.question == ""
    for wrong, match in (
        ({"image": "a.png", "question": 3, "answer": "x"}, "line 2: question and answer have to be text"),
        ({"image": "a.png", "question": "x", "answer": 3}, "line 2: question and answer have to be text"),
        ({"image": "a.png", "answer": " ", "question": "x"}, "line 2: has neither answer nor boxes"),
        ({"image": "a.png", "boxes": {"x": 1}, "answer": "x"}, "line 2: box {'x': 1} has to be"),
        ([1], "line 2: has to be an object with image"),
    ):
        file.write_text(json.dumps(lines[0]) + "\n" + json.dumps(wrong))
        with pytest.raises(TrainError, match=match):
            read_texts(file)


@pytest.mark.parametrize("label", ["a;b", "a<b", "a>b", "a\nb", "", "  "])
def test_a_label_of_a_box_is_words_that_cannot_be_taken_for_another_box(label):
    with pytest.raises(TrainError, match="line 3: the label .* has to be words"):
        boxes_of([[0.1, 0.2, 0.3, 0.4, label]], "line 3")


def test_boxes_of_a_picture_that_is_as_the_networks_stay_where_they_are_and_words_come_behind():
    item = TextItem((), "", "a cup", (Box(0.25, 0.5, 0.75, 1.0, "cup"),))
    assert item.said((20, 20), (40, 40)) == "<loc0512><loc0256><loc1023><loc0768> cup ; a cup"
    assert TextItem((), "", "a cup").said((20, 30), (40, 40)) == "a cup"


def test_sources_of_rows_are_found_by_number_each_with_its_own():
    """5, 3 and 2 rows: 0 to 4, 5 to 7, 8 and 9."""
    parts = [SimpleNamespace(frames=range(n)) for n in (5, 3)]
    maker = MixedMaker(tuple(parts), (SimpleNamespace(items="ab"),))
    assert maker.starts.tolist() == [0, 5, 8, 10]
    assert maker.source_of(np.array([0, 4, 5, 7, 8, 9])).tolist() == [0, 0, 1, 1, 2, 2]
    found = [(k, own.tolist()) for k, own in maker.by_source([9, 5, 0, 7, 4, 5])]
    assert found == [(0, [0, 4]), (1, [0, 2, 0]), (2, [1])]


def test_each_source_makes_its_own_rows_and_texts_are_behind_the_frames(monkeypatch):
    monkeypatch.setattr(mixed, "joined_examples", list)

    def source(name, **kinds):
        makes = lambda what: lambda own, *rng: (name, what, own.tolist(), *rng)
        return SimpleNamespace(**{what: makes(what) for what in ("actions", "words")}, **kinds)

    maker = MixedMaker(
        (source("a", frames=range(5)), source("b", frames=range(3))),
        (source("web", items="xy"), source("more", items="z")),
    )
    assert maker.actions([6, 1, 5], "rng") == [("a", "actions", [1], "rng"), ("b", "actions", [1, 0], "rng")]
    assert maker.words([10, 9, 2, 8, 7], "rng") == [
        ("a", "words", [2], "rng"), ("b", "words", [2], "rng"), ("web", "words", [1, 0]), ("more", "words", [0]),
    ]  # fmt: skip


def test_a_signal_asks_once_and_a_second_one_ends_the_process(monkeypatch):
    done = []
    monkeypatch.setattr("os.kill", lambda pid, number: done.append((pid, number)))
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible() as asked:
        assert not asked and asked.number == 0
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == [asked.ask] * 2
        asked.ask(signal.SIGTERM)
        assert asked and asked.number == signal.SIGTERM and not done
        asked.ask(signal.SIGINT)
        assert done == [(os.getpid(), signal.SIGINT)] and signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "3", "MASTER_ADDR": "a", "MASTER_PORT": "1"}


def test_a_process_that_torchrun_started_has_the_card_of_its_number_and_others_the_one_they_are_given(monkeypatch):
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    assert not processes.launched() and processes.own_device("cuda") == "cuda"
    for name, value in TORCHRUN.items():
        assert not processes.launched()
        monkeypatch.setenv(name, value)
    assert processes.launched() and [processes.own_device(d) for d in ("cuda", "cpu", "cuda:2")] == [
        *("cuda:3", "cpu", "cuda:2")
    ]
    with (
        pytest.raises(TrainError, match="--device cuda:2: each process needs a GPU of its own"),
        processes.process_group("cuda:2"),
    ):
        pass


def test_a_process_alone_decides_sums_and_goes_first_without_asking_others():
    value = torch.tensor([2.0, 3.0])
    assert processes.summed(value) is value and (processes.world(), processes.rank()) == (1, 0)
    assert [processes.decided_by_first(said) for said in (True, False)] == [True, False]
    module = torch.nn.Linear(1, 1)
    assert processes.in_parallel(module) is module
    with processes.first_one_first():
        pass


@pytest.mark.parametrize(("rank", "order"), [(0, ["work", "barrier"]), (1, ["barrier", "work"])])
def test_the_first_process_works_before_the_others_begin(monkeypatch, rank, order):
    done = []
    monkeypatch.setattr(processes, "rank", lambda: rank)
    monkeypatch.setattr(processes, "world", lambda: 2)
    monkeypatch.setattr(processes.dist, "barrier", lambda: done.append("barrier"))
    with processes.first_one_first():
        done.append("work")
    assert done == order


def test_a_process_that_makes_examples_has_half_a_minute_for_its_step_when_it_is_asked_to_end(monkeypatch):
    taken, asked = {}, []
    monkeypatch.setattr(ahead.signal, "signal", lambda number, handler: taken.update({number: handler}))
    monkeypatch.setattr(ahead.signal, "alarm", asked.append)
    monkeypatch.setattr(ahead, "end_with_parent", asked.append)
    ahead._begin(3)
    assert asked == [signal.SIGKILL]
    assert taken[signal.SIGINT] is signal.SIG_IGN and taken[signal.SIGALRM] is signal.SIG_DFL
    taken[signal.SIGTERM](signal.SIGTERM, None)
    assert asked == [signal.SIGKILL, 30]


def test_boxes_need_a_tokenizer_that_has_a_token_for_each_place():
    words = SimpleNamespace(encode=lambda text: [1, 2, 3])
    places = SimpleNamespace(encode=lambda text: [1])
    boxed, plain = "<loc0512><loc0256><loc1023><loc0768> cup ; go", "go"
    check_locations([plain, boxed], places, "web")
    check_locations([plain, plain], words, "web")
    for answers in ([boxed], [plain, boxed], [boxed, plain]):
        with pytest.raises(TrainError, match="web: boxes are written in location tokens"):
            check_locations(answers, words, "web")


class Vocabulary:
    """Words, and 1024 location tokens from `first` on."""

    def __init__(self, size, first, single=True):
        self.vocab_size, self._first, self._single = size, first, single

    def encode(self, text):
        number = self._first + int(text[4:8])
        return [number] if self._single else [5, number]


def test_action_tokens_have_the_ids_of_places_where_these_are_the_last_and_else_those_of_rare_words():
    """FAST leaves the last 128 ids out (openpi)."""
    assert room_for_actions(Vocabulary(5000, 5000 - 1024)) == 1024 - 128
    assert room_for_actions(Vocabulary(5000, 5000 - 1025)) == 5000
    assert room_for_actions(Vocabulary(5000, 5000 - 1024, single=False)) == 5000


class Saves:
    """Notes what is saved, and whether that is possible."""

    def __init__(self, possible=True):
        self.calls, self.possible = [], possible

    def save(self, last):
        self.calls.append("last" if last else "state")

    def save_best(self, model):
        self.calls.append(model)
        return self.possible


def comparing(loss, best=None, step=40, possible=True, rank=0, held=(1,), **changes):
    made = trainer(best=best, **changes)
    made.so_far = replace(made.so_far, step=step)
    made.job.rank, made.lots.held = rank, held
    made.reporter, made.saver = SimpleNamespace(val_loss=loss), Saves(possible)
    made._compare(lambda: "averaged")
    return made.so_far.best, made.saver.calls


def test_a_validation_that_is_better_is_kept_if_it_could_be_written_and_one_that_is_not_is_counted():
    assert comparing(0.5) == (Best(0.5, 40), ["averaged"])
    assert comparing(0.5, Best(0.4, 30, 1)) == (Best(0.4, 30, 2), [])
    assert comparing(0.5, Best(0.6, 30, 1)) == (Best(0.5, 40), ["averaged"])
    assert comparing(0.5, Best(0.6, 30, 1), possible=False) == (Best(0.6, 30, 1), ["averaged"])
    assert comparing(0.5, Best(0.6, 30, 1), keep=0) == (Best(0.5, 40), [])
    assert (
        comparing(0.5, Best(0.6, 30, 1), rank=1) == comparing(0.5, Best(0.6, 30, 1), held=()) == (Best(0.6, 30, 1), [])
    )


@pytest.mark.parametrize(
    ("best", "changes", "asked", "goes_on"),
    [
        (Best(), {}, None, True),
        (Best(), {}, 2, False),
        (Best(0.5, 3, 9), {}, None, True),
        (Best(0.5, 3, 9), {"patience": 9}, None, False),
        (Best(0.5, 3, 9), {"patience": 10}, None, True),
        (Best(), {"steps": 41}, None, True),
        (Best(), {"steps": 40}, None, False),
    ],
)
def test_a_run_goes_on_until_its_last_step_unless_it_is_asked_to_end_or_has_no_patience(best, changes, asked, goes_on):
    assert trainer(best=best, **changes)._goes_on(asked) is goes_on


def test_the_first_process_decides_for_all_of_a_sharded_run_and_each_for_itself_else(monkeypatch):
    monkeypatch.setattr("pi0_ros.train.trainer.decided_by_first", lambda value: f"first: {value}")
    made = trainer()
    made.learner = SimpleNamespace(sharded=True)
    assert made._together(True) == "first: True"
    made.learner = SimpleNamespace(sharded=False)
    assert made._together(True) is True and made._together(False) is False


def test_the_time_of_a_run_is_that_of_its_earlier_parts_and_of_this_one(monkeypatch):
    made = trainer()
    made.so_far, made.started = SoFar(7, 100.0, 30, Best(0.5, 3)), 20.0
    monkeypatch.setattr("time.monotonic", lambda: 26.5)
    assert made.now() == SoFar(7, 106.5, 30, Best(0.5, 3))


def test_a_run_that_diverged_ends_with_its_step_and_what_to_do():
    made = trainer()
    made.health = Health(best=0.5)
    made._check(99.0)
    with pytest.raises(
        TrainError, match="run: the run has diverged at step 40: the loss is 101, and was 0.5; the last"
    ):
        made._check(101.0)


@pytest.mark.parametrize(("loss", "ends"), [(199.9, False), (200.1, True), (math.nan, True), (math.inf, True)])
def test_a_loss_a_hundred_times_the_best_or_no_number_ends_a_run(loss, ends):
    health = Health().after_report(3.0).after_report(2.0).after_report(4.0).after_report(-math.inf)
    assert health.best == 2.0 and bool(health.complaint(loss)) is ends


def test_twenty_steps_in_a_row_that_are_not_finite_end_a_run_and_one_that_is_begins_anew():
    health = Health()
    for _ in range(19):
        health = health.after_step(False)
    assert not health.complaint() and (health.skipped, health.in_a_row) == (19, 19)
    health = health.after_step(True)
    assert (health.skipped, health.in_a_row) == (19, 0)
    for _ in range(20):
        health = health.after_step(False)
    assert "not finite in 20 steps in a row" in health.complaint() and health.skipped == 39


def training(steps, monkeypatch, **changes):
    """A run of which steps, reports and saves are noted; the clock goes on by 40 s at each look."""
    told: list = []
    made = trainer(steps=steps, words=(), **{"batch": 3, **changes})
    made.so_far, made.health = SoFar(0, 0.0, 10), Health()
    ticks = iter(range(0, 100_000, 40))
    monkeypatch.setattr("time.monotonic", lambda: float(next(ticks)))
    made.learner, made.saver = SimpleNamespace(sharded=False), Saves()
    made.saver.calls = told
    made.reporter = SimpleNamespace(note=lambda loss, step, progress: told.append((loss, step)))
    made._one_step = lambda: (f"loss {made.step}", made.step != 1)
    made._report = lambda: told.append("report")
    made.progress = lambda: made.step / steps
    made._train(None)
    return made, told


def test_steps_are_counted_noted_validated_and_saved_in_their_turn(monkeypatch):
    made, told = training(5, monkeypatch, validate_every=2, save_every=1.9)
    # A look a step: 120 s are over after the third, and after three more from there.
    assert told == [
        ("loss 0", 1),
        ("loss 1", 2),
        "report",
        ("loss 2", 3),
        "state",
        ("loss 3", 4),
        "report",
        ("loss 4", 5),
    ]
    assert made.so_far.step == 5 and made.so_far.examples == 10 + 5 * 3
    assert (made.health.skipped, made.health.in_a_row) == (1, 0)


def test_a_report_is_checked_and_compared_with_the_averages_that_are_shown():
    made, done = trainer(), []
    made.job.rank = 0
    made.health = Health(skipped=4)
    model = SimpleNamespace(to=lambda device: f"on {device}")
    made.learner = SimpleNamespace(
        sharded=False, averaged=lambda: "averaged", with_averages=lambda: "shown", device="card"
    )
    made.now, made.progress = (lambda: "now"), (lambda: 0.5)
    made._compare = lambda averaged: done.append(averaged())
    made.reporter = SimpleNamespace(report=lambda *what: done.append(what) or 0.25)
    made._report()
    assert done == [("now", 0.5, 4, "shown"), "averaged"] and made.health.best == 0.25
    done.clear()
    made.learner.sharded, made.learner.averaged = True, lambda: model
    shown = lambda *what: done.append((*what[:3], what[3].__enter__()))
    made.reporter = SimpleNamespace(report=shown)
    made._report()
    assert done == [("now", 0.5, 4, "on card")], "without a step since nothing is compared"
    made.reporter = SimpleNamespace(report=lambda *what: 9e9)
    with pytest.raises(TrainError, match="diverged"):
        made._report()


def test_a_run_closes_its_examples_reports_and_saves_and_the_first_process_tells_how_it_ended():
    for rank, told in ((0, ["trained", "closed", "report", "last", "reporter closed", "told"]), (1, None)):
        made, done = trainer(), []
        made.job.rank = rank
        made.examples = SimpleNamespace(close=lambda d=done: d.append("closed"))
        made._train = lambda asked, d=done: d.append("trained")
        made._report = lambda d=done: d.append("report")
        made._tell_end = lambda asked, d=done: d.append("told")
        made.saver, made.reporter = Saves(), SimpleNamespace(close=lambda d=done: d.append("reporter closed"))
        made.saver.calls = done
        made.run()
        assert done == (told or ["trained", "closed", "report", "last", "reporter closed"])


class Worked:
    def __init__(self, monkeypatch, rank, launched=False):
        self.calls = []
        monkeypatch.setattr(workers, "launched", lambda: launched)
        monkeypatch.setattr(workers, "rank", lambda: rank)

    def __call__(self, *what):
        self.calls.append(what)
        if what[1] is not None:
            what[1].ask(signal.SIGTERM)


def test_one_process_works_here_and_says_which_signal_ended_it(monkeypatch):
    work = Worked(monkeypatch, 0)
    assert workers.run_workers(1, work, "plan") == signal.SIGTERM
    ((number, asked, plan),) = work.calls
    assert (number, plan) == (0, "plan") and asked.number == signal.SIGTERM
    assert workers.run_workers(1, lambda *_: None) == 0


def test_a_process_that_torchrun_started_does_its_own_part_and_the_first_alone_is_asked_to_end(monkeypatch):
    ignored = []
    first, second = Worked(monkeypatch, 0, True), None
    assert workers.run_workers(4, first, "plan") == signal.SIGTERM and first.calls[0][::2] == (0, "plan")
    second = Worked(monkeypatch, 3, True)
    monkeypatch.setattr(workers.signal, "signal", lambda number, handler: ignored.append((number, handler)))
    assert workers.run_workers(4, second, "plan") == 0 and second.calls == [(3, None, "plan")]
    assert ignored == [(signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, signal.SIG_IGN)]


def drawn_from(acting, words):
    part = lambda counts, images: SimpleNamespace(
        counts=torch.tensor(counts), inputs=SimpleNamespace(images=images)
    )  # counts: tokens with a loss
    return (None if acting is None else part(*acting)), (None if words is None else part(*words))


@pytest.mark.parametrize(
    ("acting", "words", "parts"),
    [
        (([[True, False]], [None, 1]), None, [1, 0, 1]),
        (([[False, False]], [None, None]), ([[False, True]], [None]), [0, 1, 0]),
        (([[False, False]], [None, None]), ([[False, False]], [3, 4]), [0, 0, 1]),
        (None, ([[True, True]], [None]), [0, 1, 0]),
    ],
)
def test_what_a_step_uses_is_compared_over_all_processes(monkeypatch, acting, words, parts):
    """Two processes: where the sum over them is one, one of them does not use it."""
    seen = []
    for others, differs in (([0, 0, 0], bool(sum(parts))), (parts, False), ([1, 1, 1], sum(parts) < 3)):
        monkeypatch.setattr(sharding, "world", lambda: 2)
        monkeypatch.setattr(
            sharding, "summed", lambda own, o=others: seen.append(own.tolist()) or own + torch.tensor(o)
        )
        assert sharding._differs(*drawn_from(acting, words)) is differs
    assert seen == [parts] * 3


def test_layers_of_all_stacks_are_grouped_each_once_and_without_an_expert_there_are_fewer():
    stack = lambda *names: SimpleNamespace(
        get_submodule=lambda name: SimpleNamespace(children=lambda: [f"{n}.{name}" for n in names])
    )
    model = SimpleNamespace(
        siglip=SimpleNamespace(encoder=stack("v0")),
        gemma=stack("t0", "t1"),
        expert=stack("e0"),
        config=SimpleNamespace(expert=1),
    )
    assert transformer_layers(model) == ["v0.layers", "t0.layers", "t1.layers", "e0.layers"]
    model.config.expert = None
    assert transformer_layers(model) == ["v0.layers", "t0.layers", "t1.layers"]


def test_a_run_that_was_begun_without_options_goes_on_by_the_numbers_it_was_begun_with():
    """As its settings.json has them: another default would make it another run, which `check_continues` refuses. Since 29 November 2026
    `precision` is "auto": a run begun before goes on with `--precision bfloat16`."""
    begun = {
        "steps": 6000, "minutes": 0.0, "batch": 12, "word_batch": 4, "draws": 4, "workers": 1, "loaders": 0,
        "seed": 0, "peak_rate": 0.001, "final_rate": 3e-05, "warmup": 150, "weight_decay": 0.01, "clip": 1.0, "ema": 0.998,
        "alpha": 10.0, "language_steps": 0, "prefix_chance": 0.25, "prefix_rows": 6, "lora_trunk": 0, "lora_expert": 0, "state_noise": 0.01,
        "brightness": 0.08, "contrast": 0.08, "picture_noise": 0.02, "answer_weight": 1.0, "word_weight": 4.0, "still_weight": 0.25, "validate_every": 250,
        "validation_share": 0.02, "save_every": 3.0, "keep": 1, "patience": 0,
    }  # fmt: skip
    settings = TrainSettings().to_dict()
    assert {name: settings.pop(name) for name in begun} == begun
    assert {n for n, value in settings.items() if value} == {"device", "moments", "precision", "lora_export"}
    assert (settings["device"], settings["precision"], settings["moments"]) == ("cpu", "auto", "float32")
    assert settings["lora_export"] == "merged"


def test_a_start_of_another_project_is_trained_on_with_the_numbers_of_that_project():
    """openpi 9b67f32, training/optimizer.py (CosineDecaySchedule, AdamW) and config.py (ema_decay); lerobot 0.6.1,
    policies/pi0/configuration_pi0.py."""
    both = {"peak_rate": 2.5e-5, "final_rate": 2.5e-6, "warmup": 1000, "clip": 1.0}
    assert USUAL["openpi"] == {**both, "weight_decay": 1e-10, "ema": 0.99}
    assert USUAL["lerobot"] == {**both, "weight_decay": 0.01, "ema": 0.0} and USUAL["pi0_ros"] == {}
    habits = lambda name: (RECIPES[name].decay_all, RECIPES[name].real_dims, RECIPES[name].by_row)
    assert habits("openpi") == (True, False, True), "its losses count padded dimensions, and rows alike"
    assert habits("lerobot") == (True, True, False) and habits("pi0_ros") == (False, True, False)


def test_a_package_that_is_not_installed_has_no_version_and_others_have_theirs():
    found = versions(("torch", "no_such_package"))
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert found["no_such_package"] == "" and found["python"].count(".") == 2
    assert set(versions()) == {"python", "pi0_ros", "torch", "numpy", "safetensors"}


def test_files_of_texts_are_read_up_to_a_gigabyte_and_pictures_up_to_64_megabytes(tmp_path, monkeypatch):
    assert (MAX_BYTES, MAX_PICTURE) == (1024**3, 64 * 1024**2)
    asked = []
    monkeypatch.setattr(text_source, "read_bytes", lambda file, most, error: asked.append(most) or b"")
    with pytest.raises(TrainError, match="is no picture that can be read"):
        text_source.picture(tmp_path / "a.png")
    monkeypatch.setattr(text_source, "read_text", lambda file, most, error: asked.append(most) or "")
    with pytest.raises(TrainError, match="holds no example"):
        read_texts(tmp_path / "t.jsonl")
    assert asked == [MAX_PICTURE, MAX_BYTES]
