"""Putting things away: what to do next is a function of where all things are, in words that mean what they say."""

import itertools

import pytest

pytest.importorskip("mujoco")

from pi0_ros.chores.room import OBJECTS
from pi0_ros.chores.room_words import (
    DONE,
    PUT_DOWN,
    SEEN_DRIVES,
    SEEN_WISHES,
    UNSEEN_WISHES,
    Wish,
    drive_text,
    parse_drive,
    parse_take,
    parse_wish,
    take_text,
    wish_text,
)
from pi0_ros.chores.tidying import Whereabouts, free_spot, next_subtask
from pi0_ros.chores.words import SEEN_PHRASES, put_text
from pi0_ros.sim.world import COLOURS, SIDES

LEFT, RIGHT, FLOOR = Whereabouts("left", left=0.1), Whereabouts("right", left=-0.2), Whereabouts("")
LEFT_BIN, RIGHT_BIN = Whereabouts("left", binned=True), Whereabouts("right", binned=True)
HELD = Whereabouts("right", held="left", settled=False)
ALL = Wish()
WISHES = [ALL, *(Wish(colour=c) for c in COLOURS), *(Wish(table=s) for s in SIDES)]


def steps(things, standing, wish, most=20):
    """The subtasks until nothing is left, if each does what it says."""
    things, said = dict(things), []
    while len(said) < most:
        said.append(next_subtask(things, standing, wish))
        if said[-1] == DONE:
            return said
        taken, drives = parse_take(said[-1]), parse_drive(said[-1], {"left": "white", "right": "wooden"})
        if drives:
            standing = drives
            things = {n: Whereabouts(drives, held=t.held, settled=False) if t.held else t for n, t in things.items()}
        elif taken:
            name, side = taken
            assert things[name].table == standing
            things[name] = Whereabouts(standing, held=side, settled=False)
        else:
            assert said[-1] == PUT_DOWN
            things = {n: Whereabouts(standing, binned=True) if t.held else t for n, t in things.items()}
    raise AssertionError(f"it never ends: {said}")


def test_everything_goes_into_the_bin_of_its_table_those_nearby_first():
    said = steps({"red_can": RIGHT, "blue_can": LEFT, "green_block": RIGHT, "red_block": LEFT_BIN}, "left", ALL)
    assert said == [
        "pick up the blue can with the left arm",
        "put it into the bin",
        "drive to the right table",
        "pick up the red can with the right arm",
        "put it into the bin",
        "pick up the green block with the right arm",
        "put it into the bin",
        "done",
    ]


def test_things_of_one_colour_go_away_and_others_stay():
    things = {"red_can": LEFT, "blue_can": LEFT, "blue_block": RIGHT}
    said = steps(things, "", Wish(colour="blue"))
    assert said[0] == "drive to the left table" and said.count(PUT_DOWN) == 2
    assert not any("red" in text for text in said)
    assert steps(things, "left", Wish(colour="green")) == [DONE]


def test_everything_is_carried_to_the_table_that_is_named():
    things = {"red_can": RIGHT, "blue_can": LEFT, "green_can": RIGHT_BIN}
    said = steps(things, "right", Wish(table="left"))
    trip = ["drive to the left table", PUT_DOWN, "drive to the right table"]
    assert said[1:4] == trip and said[5:7] == trip[:2] and said[-1] == DONE
    assert {said[0], said[4]} == {"pick up the red can with the right arm", "pick up the green can with the left arm"}
    assert steps({"blue_can": LEFT, "red_can": LEFT_BIN}, "", Wish(table="left")) == [DONE]


@pytest.mark.parametrize(("left", "arm"), [(0.0, "left"), (0.2, "left"), (-0.001, "right")])
def test_the_arm_is_that_of_the_side_on_which_it_lies(left, arm):
    text = next_subtask({"red_can": Whereabouts("left", left=left)}, "left", ALL)
    assert text == f"pick up the red can with the {arm} arm"


def test_what_slipped_is_taken_again_and_a_base_that_was_pushed_away_drives_again():
    slipped = {"red_can": Whereabouts("left", left=0.1, settled=False)}
    assert next_subtask(slipped, "left", ALL) == "pick up the red can with the left arm"
    assert next_subtask(slipped, "", ALL) == "drive to the left table"
    assert next_subtask({"red_can": HELD}, "", ALL) == "drive to the right table", "nearest to where it holds it"
    assert next_subtask({"red_can": HELD}, "right", ALL) == PUT_DOWN
    assert next_subtask({"red_can": HELD}, "right", Wish(table="left")) == "drive to the left table"


def test_what_lies_on_the_shelf_goes_into_a_bin_too():
    things = {"red_can": Whereabouts("shelf", left=-0.1), "blue_can": LEFT_BIN}
    right, left = ["drive to the right table", PUT_DOWN, DONE], ["drive to the left table", PUT_DOWN, DONE]
    first = ["drive to the shelf", "pick up the red can with the right arm"]
    assert steps(things, "left", ALL) == [*first, *right], "the table on the side of the hand"
    assert steps(things, "left", Wish(table="left")) == [*first, *left]
    assert steps({"red_can": Whereabouts("shelf", left=0.1)}, "shelf", ALL)[1:] == left
    assert next_subtask({"red_can": Whereabouts("", held="right", settled=False)}, "", ALL) == right[0]


def test_a_hand_that_still_lets_go_is_waited_for():
    going = {"red_can": Whereabouts("left", binned=True, settled=False), "blue_can": RIGHT}
    assert next_subtask(going, "left", ALL) == PUT_DOWN
    assert next_subtask(going, "right", ALL) == "pick up the blue can with the right arm"
    assert next_subtask({**going, "red_can": LEFT_BIN}, "left", ALL) == "drive to the right table"


def test_it_is_done_only_if_nothing_within_reach_is_left():
    kinds = (LEFT, RIGHT, LEFT_BIN, RIGHT_BIN, HELD, FLOOR)
    for one, other, standing in itertools.product(kinds, kinds, ("", *SIDES)):
        said = next_subtask({"red_can": one, "blue_can": other}, standing, ALL)
        away = all(there in (LEFT_BIN, RIGHT_BIN, FLOOR) for there in (one, other))
        assert (said == DONE) is away, (one, other)
        said = next_subtask({"red_can": one, "blue_can": other}, standing, Wish(table="right"))
        assert (said == DONE) is all(there in (RIGHT, RIGHT_BIN, FLOOR) for there in (one, other))


def test_every_wording_means_its_wish_and_none_is_taken_for_something_else():
    seen, unseen = set(), set()
    for wish in WISHES:
        for number in range(5):
            seen.add(wish_text(wish, SEEN_WISHES, number))
            unseen.add(wish_text(wish, UNSEEN_WISHES, number))
            for text in (wish_text(wish, SEEN_WISHES, number), wish_text(wish, UNSEEN_WISHES, number)):
                assert parse_wish(text.upper() + "!") == wish, text
                assert (
                    parse_drive(text, {"left": "white", "right": "wooden"}, "left") is None and parse_take(text) is None
                )
    assert not seen & unseen
    others = [*(drive_text(s, p) for s in SIDES for p in SEEN_DRIVES), PUT_DOWN, DONE, take_text("red_can", "left"), ""]
    others += [put_text("red", "left", phrase) for phrase in SEEN_PHRASES]
    assert [text for text in others if parse_wish(text) is not None] == []


@pytest.mark.parametrize(
    "text", ["put the red and blue things away", "bring everything to the left", "tidy up the table"]
)
def test_a_wish_that_is_not_clear_is_none(text):
    assert parse_wish(text) is None


def test_a_subtask_of_taking_names_one_thing_and_one_arm():
    for name, side in itertools.product(OBJECTS, SIDES):
        assert parse_take(take_text(name, side)) == (name, side)
    for text in (
        "pick up the red block",
        "pick up the can with the left arm",
        "touch the red can with the left arm",
        PUT_DOWN,
    ):
        assert parse_take(text) is None


def test_a_thing_is_let_go_where_there_is_most_room():
    spots = [(0.0, 0.0), (0.0, 0.1), (0.2, 0.0)]
    assert free_spot(spots, []) == (0.0, 0.0)
    assert free_spot(spots, [(0.01, 0.0)]) == (0.2, 0.0)
    assert free_spot(spots, [(0.01, 0.0), (0.19, 0.02)]) == (0.0, 0.1)
