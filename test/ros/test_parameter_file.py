"""A parameter file in which something would have no effect is refused with file, section and parameter."""

import pytest

from pi0_ros.ros.parameter_file import ParameterFileError, check, matches, sections

DECLARED = {
    "/left/policy": ("seed", "replan_period"),
    "/left/executor": ("strategy", "realtime_priority"),
    "/left/other": (),
}


def written(tmp_path, text):
    file = tmp_path / "p.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("pattern", "name", "right"),
    [
        ("/**", "/left/policy", True),
        ("/**", "/policy", True),
        ("/*/policy", "/left/policy", True),
        ("/*/policy", "/policy", False),
        ("/*/policy", "/a/left/policy", False),
        ("/**/policy", "/a/left/policy", True),
        ("/**/policy", "/policy", True),
        ("/left/policy", "/left/policy", True),
        ("/left/policy", "/right/policy", False),
        ("/left/*", "/left/policy", True),
        ("/left", "/left/policy", False),
        ("/le.t/policy", "/left/policy", False),
    ],
)
def test_a_pattern_names_the_nodes_that_rcl_means(pattern, name, right):
    assert matches(pattern, name) is right


def test_nested_names_are_joined_and_every_section_is_found(tmp_path):
    text = """
left:
  policy:
    ros__parameters: {seed: 3, deep: {er: {x: 1.5}, y: [1, 2]}}
  ros__parameters: {of_the_namespace: true}
/**:
  ros__parameters:
"""
    assert sections(written(tmp_path, text)) == {
        "/left": {"of_the_namespace": True},
        "/left/policy": {"seed": 3, "deep.er.x": 1.5, "deep.y": [1, 2]},
        "/**": {},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("[1, 2]", "must be a map of node names"),
        ("policy: 3", "section policy: holds no map"),
        ("policy: {ros__parameters: [1]}", "section policy: ros__parameters must be a map"),
        ("policy: {seed: 3}", "section policy: key ros__parameters is missing"),
        ("left: {policy: {seed: 3}}", "section left/policy: key ros__parameters is missing"),
    ],
)
def test_what_is_no_parameter_file_is_refused_with_the_section(tmp_path, text, said):
    with pytest.raises(ParameterFileError, match=said) as caught:
        sections(written(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "p.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "/**: {ros__parameters: {seed: 1, strategy: replace, use_sim_time: true}}",
        "/left/policy: {ros__parameters: {qos_overrides./scan.x: 1, start_type_description_service: false}}",
        "/*/policy: {ros__parameters: {seed: 1, replan_period: 0.3}}",
        "/left/other: {ros__parameters: {whatever: 1}}",  # what it declares is not known
    ],
)
def test_what_has_an_effect_is_accepted(tmp_path, text):
    check(written(tmp_path, text), DECLARED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/policy: {ros__parameters: {seed: 1}}", "section policy: no node has that name; it is /left/policy here"),
        ("/x: {ros__parameters: {}}", "no node has that name; there are /left/executor, /left/other, /left/policy"),
        ("/left/policy: {ros__parameters: {sed: 1}}", "section left/policy: sed is no parameter; did you mean seed?"),
        (
            "/left/policy: {ros__parameters: {strategy: auto}}",
            "strategy is no parameter; there are replan_period, seed",
        ),
        ("/left/*: {ros__parameters: {seed: 1, zzz: 2}}", "section left/\\*: zzz is no parameter"),
    ],
)
def test_what_would_have_none_is_refused_with_what_there_is(tmp_path, text, said):
    with pytest.raises(ParameterFileError, match=said):
        check(written(tmp_path, text), DECLARED)
