"""Tasks as they are put on the desk of the thread that decides."""

import threading

import pytest

from pi0_ros.ros.task_desk import TaskDesk


@pytest.fixture
def desk():
    return TaskDesk()


def put(desk, text):
    with desk.lock:
        return desk.put_task(text)


def test_a_task_is_new_once_each_time_it_is_said_and_changed_only_by_other_words(desk):
    assert put(desk, "go")
    assert desk.wait(0.0, lambda: False) == ("go", True)
    assert desk.wait(0.0, lambda: False) == ("go", False)
    assert not put(desk, "go")
    assert desk.wait(0.0, lambda: False) == ("go", True)
    assert put(desk, "come")


def test_a_new_task_is_left_on_the_desk_by_an_activation_that_is_over(desk):
    put(desk, "go")
    assert desk.wait(60.0, lambda: True) == ("go", False)
    assert desk.wait(0.0, lambda: False) == ("go", True)


def test_a_task_stands_until_another_one_is_said_or_an_operator_says_something(desk):
    put(desk, "go")
    assert desk.stands("go")
    desk.put_override("wave")
    assert not desk.stands("go")
    desk.put_override("")
    assert desk.stands("go")
    put(desk, "come")
    assert not desk.stands("go") and desk.stands("come")


@pytest.mark.parametrize("change", ["task", "wake"])
def test_who_waits_is_woken_by_a_task_and_at_the_end(desk, change):
    waiting, over, found = threading.Event(), threading.Event(), []

    def asked():
        waiting.set()
        return over.is_set()

    thread = threading.Thread(target=lambda: found.append(desk.wait(60.0, asked)), daemon=True)
    thread.start()
    assert waiting.wait(60.0)
    if change == "task":
        put(desk, "go")
    else:
        with desk.lock:  # who waits has begun to
            over.set()
        desk.wake()
    thread.join(20.0)
    assert found == [("go", True) if change == "task" else ("", False)]
