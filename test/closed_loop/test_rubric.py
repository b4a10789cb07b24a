"""Rubrics: the shipped ones say what the papers say, and trials are scored by them."""

import pytest

from pi0_ros.closed_loop.rubric import RubricError, load_rubric, mean_score, read_trials

GOOD = "rubric: two\nordered: true\nsteps:\n  - {name: a, text: one}\n  - {name: b, points: 3, text: two}\n"


@pytest.mark.parametrize(
    ("name", "total", "steps"),
    [
        ("pick_place", 5, 5),
        ("drive_to", 4, 4),
        ("tidy", 4, 4),
        ("shirt_folding", 1, 1),
        ("bussing_easy", 7, 1),
        ("microwave", 4, 4),
        ("box_building", 5, 5),
    ],
)
def test_the_shipped_rubrics_have_the_points_of_their_papers(name, total, steps):
    rubric = load_rubric(name)
    assert (rubric.name, rubric.total, len(rubric.steps)) == (name, total, steps) and rubric.source


def test_a_step_of_an_ordered_rubric_gives_the_points_of_those_before_it(tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD)
    rubric = load_rubric(str(tmp_path / "r.yaml"))
    assert [rubric.points_of(reached) for reached in (None, "a", "b")] == [0, 1, 4]
    with pytest.raises(RubricError, match="'c' is not one of its ordered steps"):
        rubric.points_of("c")
    with pytest.raises(RubricError, match="is not one of its ordered steps"):
        load_rubric("microwave").points_of("picked")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: b", "name: a", "step a is named twice"),
        ("points: 3", "points: 0", "must be above 0"),
        ("points: 3", "points: 1.5", "must be a whole number"),
        ("points: 3", "weight: 3", "unknown key"),
        ("rubric: two\n", "", "key rubric is missing"),
        (", text: one", "", "key text is missing"),
        ("ordered: true", "ordered: 3", "must be true or false"),
    ],
)
def test_a_broken_rubric_is_refused_with_file_and_line(tmp_path, old, new, said):
    (tmp_path / "r.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(RubricError, match=rf"r\.yaml:\d+: .*{said}"):
        load_rubric(str(tmp_path / "r.yaml"))


def test_an_unknown_rubric_lists_those_there_are():
    with pytest.raises(
        RubricError, match=r"no rubric 'juggling': .* box_building, bussing_easy, drive_to, microwave, pick_place"
    ):
        load_rubric("juggling")


def test_trials_are_points_per_step_and_their_mean_is_a_share_of_all(tmp_path):
    (tmp_path / "t.csv").write_text("trial,sorted,note\n1,7,\n2, 3 ,dropped a cup\n3,0,\n")
    rubric = load_rubric("bussing_easy")
    points = read_trials(tmp_path / "t.csv", rubric)
    assert points == [7, 3, 0] and mean_score(points, rubric) == pytest.approx(10 / 21)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("sorted\n8\n", "trial 1: sorted: '8' has to be a whole number from 0 to 7"),
        ("sorted\n1\nyes\n", "trial 2: sorted: 'yes'"),
        ("sorted,note\n1,\n,\n", "trial 2: sorted: ''"),
        ("sorted\n-1\n", "trial 1: sorted: '-1'"),
        ("other\n1\n", "there is no column 'sorted'"),
        ("sorted\n", "needs 1 to 100000 trials"),
        ("sorted,note\n2\n1,x,y\n", None),
    ],
)
def test_a_broken_table_is_refused_by_trial_and_column(tmp_path, table, said):
    (tmp_path / "t.csv").write_text(table)
    if said is None:
        assert read_trials(tmp_path / "t.csv", load_rubric("bussing_easy")) == [2, 1]
        return
    with pytest.raises(RubricError, match=said):
        read_trials(tmp_path / "t.csv", load_rubric("bussing_easy"))
