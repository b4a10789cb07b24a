"""Numbers that make no sense are refused with the option's name before any work begins."""

import pytest

from pi0_ros.cli import main
from pi0_ros.commands._numbers import any_number, number, whole

CASES = [
    (["convert", "in", "out", "--shard-gb", "nan"], "--shard-gb: must be a number from 0 to 1e+06, not 'nan'"),
    (["convert", "in", "out", "--shard-gb", "-1"], "--shard-gb: must be a number from 0 to 1e+06, not '-1'"),
    (["convert", "in", "out", "--horizon", "1000000000"], "--horizon: must be a whole number from 1 to 1000"),
    (["evaluate", "--checkpoint", "x", "--latency", "-5"], "--latency: must be a number from 0 to 59, not '-5'"),
    (["evaluate", "--checkpoint", "x", "--jitter", "inf"], "--jitter: must be a number from 0 to 1, not 'inf'"),
    (["evaluate", "--checkpoint", "x", "--episodes", "0"], "--episodes: must be a whole number from 1"),
    (["collect", "--out", "x", "--seed", "9" * 5000], "--seed: must be a whole number from 0 to 2147483647, not '999"),
    (["collect", "--out", "x", "--push-rate", "1e400"], "--push-rate: must be a number from 0 to 100, not '1e400'"),
    (["check", "--robot", "x", "--seconds", "nan"], "--seconds: must be a number from 0.1 to 600, not 'nan'"),
    (["robot", "measure-latency", "--robot", "x", "--amplitude", "nan"], "--amplitude: must be a number from"),
    (["train", "--out", "x", "--minutes", "nan"], "--minutes: must be a number from"),
]


@pytest.mark.parametrize(
    ("words", "sentence"), CASES, ids=lambda case: " ".join(case)[:40] if isinstance(case, list) else ""
)
def test_a_number_that_makes_no_sense_is_refused_with_its_options_name(words, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert sentence in said and len(said.splitlines()[-1]) < 200


def test_numbers_within_their_bounds_are_taken():
    assert number(0, 1)("0.25") == 0.25 and number(0, 1)("1") == 1.0
    assert whole(1, 9)("9") == 9
    assert any_number(3)("7") == 7 and any_number(0.5)("1e-4") == 1e-4


def test_a_target_in_the_source_or_around_it_and_a_folder_without_a_tokenizer_are_refused(tmp_path, capsys):
    source = tmp_path / "around" / "source"
    source.mkdir(parents=True)
    (source / "config.json").write_text("{}")
    for target, words in ((source / "sub", []), (tmp_path / "around", ["--overwrite"]), (source, ["--overwrite"])):
        assert main(["convert", str(source), str(target), *words]) == 1
        assert "is inside the checkpoint that is read" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["convert", str(source), str(tmp_path / "out"), "--tokenizer", str(tmp_path / "empty")]) == 1
    assert f"--tokenizer {tmp_path / 'empty'}: there is none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and (source / "config.json").is_file()
