"""Where the package's own files are, and whose the files behind an address are."""

import sys
from pathlib import Path

import pytest

from pi0_ros.robot import RobotError
from pi0_ros.robot import resources as module
from pi0_ros.robot.resources import checkpoint_folder, config_file, config_names, resolve, share


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A checkout, two workspaces (the first one without the package `arm`) and a prefix of Python; none has any files."""
    for name in ("checkout", "one/share/pi0_ros", "two/share/pi0_ros", "two/share/arm", "prefix/share/pi0_ros"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(module, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'one'}:{tmp_path / 'two'}:")
    return tmp_path


def test_a_file_is_taken_from_the_checkout_then_from_the_workspaces_in_their_order_then_from_the_prefix(places):
    wanted = ("config", "robots")
    assert share(*wanted) == places / "checkout/config/robots"  # where it should have been
    for place in ("prefix/share/pi0_ros", "two/share/pi0_ros", "one/share/pi0_ros", "checkout"):
        (places / place / "config/robots").mkdir(parents=True)
        assert share(*wanted) == places / place / "config/robots"


def test_the_names_that_come_with_the_package_are_those_of_its_yaml_files_in_order(places):
    folder = places / "checkout/config/robots"
    folder.mkdir(parents=True)
    for name in ("b.yaml", "a.yaml", "c.txt"):
        (folder / name).touch()
    assert config_names("robots") == ("a", "b")


def test_a_configuration_is_a_file_here_of_that_path_or_else_a_name_that_comes_with_the_package(places, monkeypatch):
    monkeypatch.chdir(places)
    shipped = places / "checkout/config/worlds/dark.yaml"
    assert config_file("worlds", "dark") == shipped  # where it should have been
    (places / "dark").mkdir()
    shipped.parent.mkdir(parents=True)
    shipped.touch()
    assert config_file("worlds", "dark") == shipped
    (places / "mine.yaml").touch()
    assert config_file("worlds", "mine.yaml") == Path("mine.yaml")


def test_a_checkpoints_name_is_its_folder_unless_there_is_such_a_folder_here(places, monkeypatch):
    monkeypatch.chdir(places)
    named = places / "checkout/checkpoints/touch"
    assert checkpoint_folder("touch") == "touch"  # an address, as far as anybody knows
    named.mkdir(parents=True)
    assert checkpoint_folder("touch") == str(named) and checkpoint_folder(Path("touch")) == str(named)
    (places / "touch").mkdir()
    assert checkpoint_folder("touch") == "touch"
    named.with_name("file").touch()
    assert checkpoint_folder("file") == "file"


def test_an_address_is_a_path_or_a_file_of_a_package(places):
    (places / "checkout/urdf").mkdir()
    assert resolve("arm.urdf", places / "one") == places / "one/arm.urdf"
    assert resolve("../two/arm.urdf", places / "one") == places / "two/arm.urdf"
    assert resolve(f"{places}/two/arm.urdf", places / "one") == places / "two/arm.urdf"
    assert resolve("package://pi0_ros/urdf", places) == places / "checkout/urdf"
    assert resolve("package://arm/urdf/a.xacro", places) == places / "two/share/arm/urdf/a.xacro"
    with pytest.raises(RobotError, match="package://leg/a.urdf: package leg is not in AMENT_PREFIX_PATH"):
        resolve("package://leg/a.urdf", places)


def test_without_a_workspace_there_are_the_packages_own_files_alone(places, monkeypatch):
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    monkeypatch.chdir(places)
    (places / "share/arm").mkdir(parents=True)  # an empty entry is not the folder that one is in
    with pytest.raises(RobotError, match="package arm is not in AMENT_PREFIX_PATH"):
        resolve("package://arm/a.urdf", places)
