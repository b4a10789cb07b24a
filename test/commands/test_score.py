"""`pi0 score`: a lab's own trials by the same rubric."""

from pi0_ros.cli import main


def test_trials_get_progress_and_success_with_its_interval(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("door_open,picked,inside,door_closed\n1,1,1,1\n1,1,0,0\n1,0,0,0\n")
    assert main(["score", "--rubric", "microwave", str(tmp_path / "t.csv")]) == 0
    said = capsys.readouterr().out
    assert "microwave: progress 58.3%, 1 of 3 trials whole, 33.3% (95 % interval 6.1% to 79.2%)" in said


def test_without_trials_the_steps_are_shown(capsys):
    assert main(["score", "--rubric", "bussing_easy"]) == 0
    assert capsys.readouterr().out.startswith("sorted (0 to 7): ")


def test_a_table_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["score", "--rubric", "microwave", str(tmp_path / "no.csv")]) == 1
    assert "no.csv" in capsys.readouterr().err
