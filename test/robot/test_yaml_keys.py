"""The keys of a robot YAML as they are declared."""

from pi0_ros.robot.yaml_keys import CAMERA, PICTURE, SECTIONS, key_names


def test_every_section_declares_each_of_its_keys_once_with_a_value_and_a_meaning():
    for title, _, keys in SECTIONS:
        names = key_names(keys)
        assert len(set(names)) == len(names) > 0, title
        assert all(key.value and key.meaning and key.default for key in keys), title
    assert len({place for _, place, _ in SECTIONS}) == len(SECTIONS)


def test_a_camera_takes_the_keys_of_its_topic_and_those_of_its_pictures():
    (camera,) = (keys for _, place, keys in SECTIONS if place == "cameras.NAME")
    assert key_names(camera) == (*key_names(CAMERA), *key_names(PICTURE))
    assert {"topic", "type", "encoding"} <= set(key_names(camera))
