"""A URDF as vendors write it: encodings, joints that lack something, and files that are no URDF."""

import math

import pytest

from pi0_ros.robot import RobotError
from pi0_ros.robot.urdf import Joint, Mimic, read_urdf, urdf_text

JOINT = '<joint name="j" type="revolute"><limit lower="-1" upper="2" velocity="3" effort="4"/></joint>'


def read(folder, body, name="r.urdf", encoding="utf-8", head=""):
    (folder / name).write_bytes(f'{head}<robot name="r">{body}</robot>'.encode(encoding))
    return read_urdf(folder / name).joints


def one(folder, limit, kind="revolute", more=""):
    return read(folder, f'<joint name="j" type="{kind}">{limit}{more}</joint>')["j"]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("UTF-16", "utf-16"), ("UTF-8", "utf-8-sig"),
        ("gb2312", "gb2312"), ("Shift_JIS", "shift_jis"),
    ],
)  # fmt: skip
def test_the_encoding_is_what_the_file_declares(tmp_path, declared, encoding):
    comment = "<!-- 腕 -->" if encoding in ("gb2312", "shift_jis") else "<!-- für den Arm, é -->"
    head = f'<?xml version="1.0" encoding="{declared}"?>{comment}'
    joint = read(tmp_path, JOINT, encoding=encoding, head=head)["j"]
    assert (joint.lower, joint.upper, joint.velocity, joint.effort) == (-1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'<robot name="r">\n<!-- \xe9 --></robot>', r":2: is not text in UTF-8 \(byte 0xe9 at 22\); save it as UTF-8"),
        (b'<?xml version="1.0" encoding="klingon"?><robot/>', "its encoding 'klingon' is not known"),
        (b"\x00\x01\x02", r":1: is not XML"),
        (b"<robot>\n<joint></robot>", r":2: is not XML"),
        (b"", r":1: is not XML"),
        (b'<mujoco model="x"><worldbody/></mujoco>', r"its root is <mujoco>, not <robot> \(an MJCF model\); give a URDF"),
        (b"<sdf version='1.6'><model/></sdf>", r"its root is <sdf>, not <robot> \(an SDF model\)"),
        (b"<html><body>404</body></html>", r"a web page"),
        (b'<robot><joint name="j" type="fixed"/><joint name="j" type="fixed"/></robot>', "there are two joints j"),
        (b'<!DOCTYPE r [<!ENTITY a "b">]><robot>&a;</robot>', "declares XML entities"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "is a Git LFS pointer"),
        (b'<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:m/><joint name="j"/></robot>', "name it r.urdf.xacro"),
        (b'<robot><joint name="${prefix}j" type="fixed"/></robot>', "or expand it: xacro r.urdf > "),
    ],
)  # fmt: skip
def test_a_file_that_is_no_urdf_is_told_by_name(tmp_path, data, words):
    (tmp_path / "r.urdf").write_bytes(data)
    with pytest.raises(RobotError, match=rf"r\.urdf.*{words}"):
        read_urdf(tmp_path / "r.urdf")


def test_an_attribute_in_another_namespace_is_no_xacro(tmp_path):
    assert read(tmp_path, JOINT + '<gazebo xmlns:i="http://ignition.org"><i:plugin/></gazebo>')["j"].upper == 2.0


def test_a_continuous_joint_has_no_bounds_whatever_its_limit_says(tmp_path):
    joint = one(tmp_path, '<limit lower="-6.28" upper="6.28" velocity="2" effort="1"/>', "continuous")
    assert (joint.lower, joint.upper, joint.velocity) == (-math.inf, math.inf, 2.0)
    assert not joint.bounded
    assert "-6.28 .. 6.28" in joint.hint


def test_a_missing_lower_or_upper_is_zero_as_the_specification_says(tmp_path):
    assert (one(tmp_path, '<limit upper="1" velocity="1"/>').lower, one(tmp_path, '<limit lower="-1"/>').upper) == (
        0,
        0,
    )


@pytest.mark.parametrize(
    ("limit", "bounded", "has_speed"),
    [
        ('<limit lower="-1" upper="1" velocity="2"/>', True, True),
        ('<limit lower="-1" upper="1" effort="30"/>', True, False),
        ('<limit lower="-1" upper="1" velocity="0" effort="0"/>', True, False),
        ('<limit lower="-1" upper="1" velocity="inf"/>', True, False),
        ('<limit lower="-1" upper="1" velocity="-1"/>', True, False),
        ('<limit lower="-1" upper="1" velocity="nan"/>', True, False),
        ('<limit lower="-1e16" upper="1e16" velocity="1e16"/>', False, False),
        ('<limit lower="-inf" upper="inf" velocity="2"/>', False, True),
        ('<limit lower="nan" upper="1" velocity="2"/>', False, True),
        ('<limit velocity="2"/>', False, True),
        ("", False, False),
    ],
)
def test_only_a_finite_range_and_a_speed_above_zero_are_limits(tmp_path, limit, bounded, has_speed):
    joint = one(tmp_path, limit)
    assert (joint.bounded, joint.has_speed) == (bounded, has_speed)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ('<limit lower="-1,5" upper="1" velocity="1"/>', "lower is '-1,5', which is no number"),
        ('<limit lower="-1" upper="" velocity="1"/>', "upper is '', which is no number"),
        ('<limit lower="1" upper="-1" velocity="1"/>', "lower 1 is above upper -1"),
    ],
)
def test_what_cannot_be_read_waits_until_the_joint_is_used(tmp_path, limit, words):
    assert words in one(tmp_path, limit).problem


@pytest.mark.parametrize(
    ("more", "soft"),
    [
        ('<safety_controller soft_lower_limit="-0.9" soft_upper_limit="1.5" k_velocity="1"/>', (-0.9, 1.5)),
        ('<safety_controller soft_upper_limit="1.5" k_velocity="1"/>', (0.0, 1.5)),
        ('<safety_controller k_velocity="10"/>', (-math.inf, math.inf)),
        ('<safety_controller soft_lower_limit="0" soft_upper_limit="0" k_velocity="1"/>', (-math.inf, math.inf)),
        ("", (-math.inf, math.inf)),
    ],
)
def test_soft_limits_are_those_of_the_safety_controller(tmp_path, more, soft):
    joint = one(tmp_path, '<limit lower="-1" upper="2" velocity="1"/>', more=more)
    assert (joint.soft_lower, joint.soft_upper) == soft
    assert joint.soft == (soft[0] > -1.0 or soft[1] < 2.0)


def test_a_mimic_joint_names_the_joint_it_follows(tmp_path):
    assert one(tmp_path, "", more='<mimic joint="other" multiplier="-1"/>').mimic == Mimic("other", -1.0, 0.0)
    assert "names no joint" in one(tmp_path, "", more="<mimic/>").problem


def test_joints_of_controllers_and_simulators_are_no_joints_of_the_robot(tmp_path):
    extra = '<ros2_control><joint name="j"/></ros2_control><transmission><joint name="j"/></transmission>'
    assert list(read(tmp_path, JOINT + extra)) == ["j"]


def test_arguments_are_for_xacro_alone(tmp_path):
    (tmp_path / "r.urdf").write_text("<robot/>")
    with pytest.raises(RobotError, match="urdf_args are for xacro files"):
        urdf_text(tmp_path / "r.urdf", {"name": "r"})


def test_a_file_name_that_the_locale_cannot_spell_in_a_comment_does_not_matter(tmp_path):
    from pi0_ros.robot.urdf import _parse

    text = '<?xml version="1.0" ?><!-- autogenerated from /home/a b \udcc3\udcbc/r.xacro --><robot name="r"><link name="a"/></robot>'
    assert _parse(tmp_path / "r.urdf.xacro", text).tag == "robot"


def test_a_joint_of_which_nothing_more_is_said_has_no_soft_limits():
    joint = Joint("elbow", "revolute", -1.5, 2.0, 3.0, 10.0)
    assert (joint.soft_lower, joint.soft_upper, joint.soft) == (-math.inf, math.inf, False)


@pytest.mark.parametrize(("size", "read"), [(16 << 20, True), ((16 << 20) + 1, False)])
def test_a_file_of_more_than_sixteen_mebibytes_is_no_urdf(tmp_path, size, read):
    file = tmp_path / "r.urdf"
    with file.open("wb") as stream:
        stream.truncate(size)  # nothing but zeros, which are no XML either
    with pytest.raises(
        RobotError, match="is not XML" if read else f"has {size} bytes; more than {16 << 20} are not read"
    ):
        read_urdf(file)


@pytest.mark.parametrize(
    ("soft", "kind", "narrower"),
    [
        ((-0.9, 2.5), "revolute", True),
        ((-1.5, 1.7), "revolute", True),
        ((-0.9, 1.7), "prismatic", True),
        ((-1.0, 2.0), "revolute", False),
        ((-1.5, 2.5), "revolute", False),
        ((1.7, -0.9), "revolute", False),
        ((-0.9, 1.7), "continuous", False),
    ],
)
def test_soft_limits_narrow_a_joint_from_one_side_or_both(soft, kind, narrower):
    joint = Joint("elbow", kind, -1.0, 2.0, 3.0, 10.0, soft_lower=soft[0], soft_upper=soft[1])
    assert joint.soft is narrower


@pytest.mark.parametrize(
    ("lower", "upper", "bounded"),
    [(-9999.0, 9999.0, True), (-10_001.0, 1.0, False), (-1.0, 10_001.0, False), (1.0, 1.0, False), (1.0, -1.0, False)],
)
def test_a_range_of_ten_thousand_is_none(lower, upper, bounded):
    assert Joint("j", "revolute", lower, upper, 1.0, 1.0).bounded is bounded
    assert not Joint("j", "continuous", lower, upper, 1.0, 1.0).bounded


@pytest.mark.parametrize(
    ("speed", "good"), [(0.0, False), (1e-6, True), (9999.0, True), (10_000.0, False), (-1.0, False)]
)
def test_a_speed_of_ten_thousand_is_none(speed, good):
    assert Joint("j", "revolute", -1.0, 1.0, speed, 1.0).has_speed is good


@pytest.mark.parametrize(
    ("text", "kind", "joint"),
    [
        ('<limit lower="-1.5" upper="2.5" velocity="3.5" effort="4.5"/>', "revolute",
         Joint("j", "revolute", -1.5, 2.5, 3.5, 4.5)),
        ('<limit lower="-1.5" upper="2.5" velocity="3.5" effort="4.5"/>', "continuous",
         Joint("j", "continuous", -math.inf, math.inf, 3.5, 4.5, hint="-1.5 .. 2.5")),
        ('<limit lower="-1.5" velocity="3.5" effort="4.5"/>', "continuous",
         Joint("j", "continuous", -math.inf, math.inf, 3.5, 4.5)),
        ('<limit upper="2.5" velocity="3.5" effort="4.5"/>', "continuous",
         Joint("j", "continuous", -math.inf, math.inf, 3.5, 4.5)),
        ('<limit upper="0.5" velocity="3.5" effort="4.5"/><mimic joint="k" offset="0.25"/>', "prismatic",
         Joint("j", "prismatic", 0.0, 0.5, 3.5, 4.5, Mimic("k", 1.0, 0.25))),
        ('<limit lower="-0.5" velocity="3.5" effort="4.5"/><mimic joint="k" multiplier="-2"/>', "prismatic",
         Joint("j", "prismatic", -0.5, 0.0, 3.5, 4.5, Mimic("k", -2.0, 0.0))),
        ('<limit lower="-1" upper="2" velocity="3" effort="4"/><safety_controller soft_lower_limit="-0.75"/>', "revolute",
         Joint("j", "revolute", -1.0, 2.0, 3.0, 4.0, None, -0.75, 0.0)),
        ('<limit lower="3" upper="2" velocity="3" effort="4"/>', "revolute",
         Joint("j", "revolute", 3.0, 2.0, 3.0, 4.0, problem="lower 3 is above upper 2")),
    ],
)  # fmt: skip
def test_all_that_a_urdf_says_of_a_joint_is_read(tmp_path, text, kind, joint):
    assert one(tmp_path, text, kind) == joint


@pytest.mark.parametrize(("limit", "effort"), [('<limit lower="-1" upper="1" velocity="2"/>', math.nan),
                                               ('<limit effort="strong" lower="-1" upper="1" velocity="2"/>', math.nan),
                                               ("", math.nan)])  # fmt: skip
def test_what_is_not_said_or_cannot_be_read_of_an_effort_is_no_number(tmp_path, limit, effort):
    joint = one(tmp_path, limit)
    assert math.isnan(joint.effort) and joint.problem == ""
    assert limit or (math.isnan(joint.lower) and math.isnan(joint.upper) and math.isnan(joint.velocity))


def test_of_a_joint_that_cannot_be_read_nothing_counts(tmp_path):
    joint = one(tmp_path, '<limit lower="-1" upper="1" velocity="fast" effort="2"/>')
    assert all(math.isnan(v) for v in (joint.lower, joint.upper, joint.velocity, joint.effort))
    assert joint.problem == "velocity is 'fast', which is no number" and not (joint.bounded or joint.has_speed)


def test_the_types_of_all_joints_are_known_and_only_those_that_move_have_limits(tmp_path):
    (tmp_path / "r.urdf").write_text(
        '<robot name="r"><joint name="a" type="fixed"/><joint name="b" type="floating"/><joint name="c"/>'
        '<joint name="d" type="prismatic"/><joint name="e" type="continuous"/><joint name="f" type="revolute"/></robot>'
    )
    found = read_urdf(tmp_path / "r.urdf")
    assert found.types == {"a": "fixed", "b": "floating", "c": "", "d": "prismatic", "e": "continuous", "f": "revolute"}
    assert {name: joint.type for name, joint in found.joints.items()} == {
        "d": "prismatic",
        "e": "continuous",
        "f": "revolute",
    }


def test_a_urdf_that_is_not_there_and_a_name_with_an_expression_are_told(tmp_path):
    with pytest.raises(RobotError, match=r"gone\.urdf: there is no such URDF"):
        urdf_text(tmp_path / "gone.urdf")
    for name in ("${side}_j", "$(arg side)_j"):
        with pytest.raises(RobotError, match="has xacro in it; name it r.urdf.xacro"):
            read(tmp_path, f'<joint name="{name}" type="fixed"/>')
    assert list(read(tmp_path, JOINT.replace('"j"', '"$5 {j}"'))) == ["$5 {j}"]
