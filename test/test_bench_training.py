"""Benches of training: stages that go on where they ended, commands that the command line knows, results with their uncertainty.

The commands are not run here (minutes): each is read by the real command line, and what it would have written is put in its place.
"""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from pi0_ros import commands
from pi0_ros.cli import command_parser
from pi0_ros.closed_loop.harness import spoken


class Commands:
    """Takes commands as `pi0` does, up to the work itself."""

    def __init__(self, rate=lambda checkpoint, options: 1.0):
        self.given, self._rate = [], rate

    def __call__(self, words):
        name = words[0]
        self.given.append(list(words))
        args = command_parser(importlib.import_module(f"{commands.__name__}.{name}")).parse_args(list(words))
        if name == "evaluate":
            self._evaluate(args)
        elif name == "train":
            for step in (100, 200, 300):
                (args.out / "checkpoints" / f"step-{step:08d}").mkdir(parents=True, exist_ok=True)
            (args.out / "record.jsonl").write_text(json.dumps({"step": 300, "seconds": 60.0}) + "\n")

    def _evaluate(self, args):
        good = round(self._rate(args.checkpoint, args) * args.episodes)
        colours = ("red", "yellow", "blue")
        rows = [
            {"instruction": spoken(f"touch the {colours[k % 3]} block", args.instruction), "success": k < good}
            for k in range(args.episodes)
        ]
        found = {"successes": good, "episodes": args.episodes, "success_rate": good / args.episodes}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({**found, "per_episode": rows}))


def results(capsys):
    return {(line["bench"], line["metric"]): line for line in map(json.loads, capsys.readouterr().out.splitlines())}


def test_the_ablation_says_success_with_its_interval_and_the_steps_to_reach_it(tmp_path, capsys):
    by_step = {"step-00000100": 0.2, "step-00000200": 0.6, "step-00000300": 0.95}
    run = Commands(lambda checkpoint, _: by_step.get(Path(checkpoint).name, 0.9))
    bench = importlib.import_module("bench.ablation")
    assert bench.main(["--out", str(tmp_path)], run) == 0
    said = results(capsys)
    for way in bench.WAYS:
        assert said[f"ablation/{way}", "steps_to_0.5"]["value"] == 200
        assert said[f"ablation/{way}", "steps_to_0.9"]["value"] == 300
    end = said["ablation/flow_and_FAST_end", "success"]
    # Wilson's interval of 90 of 100, from tables
    assert (end["value"], end["low"], end["high"]) == (
        0.9,
        pytest.approx(0.826, abs=1e-3),
        pytest.approx(0.945, abs=1e-3),
    )
    trained = [words for words in run.given if words[0] == "train"][1:]
    assert ["--insulate" in words for words in trained] == [False, False, True]
    assert ["--fast-tokenizer" in words for words in trained] == [False, True, True]


def test_the_ablation_begins_with_the_trunk_of_the_shipped_policy_and_draws_the_expert_anew(tmp_path, capsys):
    run = Commands()
    bench = importlib.import_module("bench.ablation")
    assert bench.main(["--out", str(tmp_path), "--start", "trunk", "--steps", "700"], run) == 0
    for words in [words for words in run.given if words[0] == "train"][1:]:
        assert words[words.index("--init") + 1] == str(tmp_path / "trunk")
        assert words[words.index("--steps") + 1] == "700"
        assert words[words.index("--model") + 1] == "pi05"
    whole, trunk = (read_weights(folder) for folder in (bench.SHIPPED, tmp_path / "trunk"))
    assert all(np.array_equal(trunk[name], whole[name]) for name in trunk)
    assert {name.split(".")[0] for name in trunk} == {"gemma", "projector", "siglip"}
    assert sum(array.size for array in whole.values()) - sum(array.size for array in trunk.values()) > 500_000


def read_weights(folder):
    """Name -> array, by the format's own library."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "torch") as file:
        return {name: file.get_tensor(name).float().numpy() for name in file.keys()}  # noqa: SIM118 - not a mapping


@pytest.mark.parametrize("name", ["ablation", "new_words", "corrections"])
def test_a_bench_goes_on_behind_the_last_stage_that_is_done(name, tmp_path, capsys):
    bench = importlib.import_module(f"bench.{name}")
    options = {"recording": fill} if name == "corrections" else {}
    whole = Commands()
    assert bench.main(["--out", str(tmp_path / "whole"), "--quick"], whole, **options) == 0
    first = results(capsys)
    again = Commands()
    assert bench.main(["--out", str(tmp_path / "whole"), "--quick"], again, **options) == 0
    assert again.given == [] and results(capsys) == first

    class Ended(Commands):
        def __call__(self, words):
            if len(self.given) == 3:
                raise SystemExit("ended")
            super().__call__(words)

    ended, rest = Ended(), Commands()
    with pytest.raises(SystemExit):
        bench.main(["--out", str(tmp_path / "parts"), "--quick"], ended, **options)
    assert bench.main(["--out", str(tmp_path / "parts"), "--quick"], rest, **options) == 0
    kinds = lambda given: {words[0] for words in given}
    assert kinds(ended.given) | kinds(rest.given) == kinds(whole.given) and len(rest.given) < len(whole.given) + 3


def fill(folder, world, corrections, scenes, run):
    """A recorded dataset in place of what the graph records."""
    import sys

    sys.path.insert(0, str(Path(__file__).parent / "train"))
    from test_from_dataset import write

    write(folder)
    run(["operate", "--corrections", str(corrections), "--scenes", str(scenes)])


def test_new_words_count_the_scenes_that_ask_with_them(tmp_path, capsys):
    run = Commands(lambda checkpoint, args: 0.2 if args.instruction and "run" not in checkpoint else 1.0)
    assert importlib.import_module("bench.new_words").main(["--out", str(tmp_path)], run) == 0
    said = results(capsys)
    assert (
        said["new_words/before_new_words", "success"]["successes"] == 8
    )  # the first 12 of 60 are good, a third asks for blue
    after = said["new_words/after_new_words", "success"]
    assert (after["successes"], after["episodes"]) == (20, 20) and said["new_words/after_old_words", "success"][
        "value"
    ] == 1
    (retitled,) = [words for words in run.given if words[:2] == ["data", "retitle"]]
    assert "--task=touch the yellow block with the right arm=touch the banana block with the right arm" in retitled
    assert len([word for word in retitled if word.startswith("--task=")]) == 4
    assert str((tmp_path / "words").resolve()) in (tmp_path / "mixture.yaml").read_text()


def test_corrections_are_recorded_between_the_evaluations_of_both_worlds(tmp_path, capsys):
    run = Commands()
    importlib.import_module("bench.corrections").main(["--out", str(tmp_path)], run, recording=fill)
    kinds = [words[0] for words in run.given]
    assert kinds == ["evaluate", "evaluate", "operate", "train", "evaluate", "evaluate"]
    assert ["--world" in words for words in run.given if words[0] == "evaluate"] == [False, True, False, True]
    recorded = json.loads((tmp_path / "recorded.json").read_text())
    assert recorded == {"episodes": 1, "frames": 12, "seconds": 1.2}
    assert results(capsys)["corrections/recorded", "seconds"]["value"] == 1.2


def test_words_of_an_instruction_are_changed_as_whole_words():
    own = "touch the red block with the left arm"
    assert spoken(own, "red=tomato, yellow=banana") == "touch the tomato block with the left arm"
    assert spoken("touch the colored redder block", "red=tomato") == "touch the colored redder block"
    assert spoken(own, "") == own and spoken(own, "wait") == "wait"
