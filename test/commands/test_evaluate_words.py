"""`pi0 evaluate --instruction`: other words for what a scene asks."""

from __future__ import annotations

import pytest

from pi0_ros.commands.evaluate import check_words
from pi0_ros.sim.errors import SimError

SCENES = ("touch the blue block with the left arm", "touch the red block with the right arm")


@pytest.mark.parametrize("wanted", ["", "wait", "red=tomato", "red=tomato, blue=plum", "left=other"])
def test_words_that_scenes_ask_with_may_be_changed(wanted, capsys):
    check_words(wanted, SCENES)
    assert not capsys.readouterr().err


def test_a_word_that_no_scene_asks_with_would_measure_the_old_words(capsys):
    with pytest.raises(SimError, match="no scene asks with 'rad'; one asks 'touch the red block with the right arm'"):
        check_words("rad=tomato", SCENES)
    check_words("red=tomato, yelow=banana", SCENES)
    assert "no scene asks with 'yelow'" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", ["red=", "=tomato", "red=tomato, blue"])
def test_half_a_pair_is_refused(wanted):
    with pytest.raises(SimError, match="needs a word on both sides of each ="):
        check_words(wanted, SCENES)


def test_no_scene_is_laid_where_no_word_is_changed():
    def scenes():
        raise AssertionError("asked for a scene")
        yield ""

    check_words("wait", scenes())


def test_what_is_kept_for_evaluation_is_asked_of_the_task_alone():
    pytest.importorskip("mujoco")
    from pi0_ros.sim.tasks import choose_unseen, make_task

    task = make_task("pick_place")
    choose_unseen(task, ["places", "words"])
    assert sorted(task.unseen) == ["places", "words"]
    choose_unseen(make_task("reach"), [])
    with pytest.raises(SimError, match="--unseen words: task reach keeps nothing for evaluation but the seeds"):
        choose_unseen(make_task("reach"), ["words"])
