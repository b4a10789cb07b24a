"""The files that info.json's templates name."""

import pytest

from pi0_ros.data.errors import DataError
from pi0_ros.data.paths import filled, is_inside, refuse_outside

VALUES = {"chunk_index": 2, "file_index": 13, "video_key": "observation.images.front"}


def of(tmp_path, template, values=VALUES):
    return filled(tmp_path / "meta" / "info.json", "data_path", template, values)


def test_numbers_and_names_stand_where_the_template_says(tmp_path):
    text = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    assert of(tmp_path, text) == tmp_path / "videos/observation.images.front/chunk-002/file-013.mp4"
    assert of(tmp_path, "data/{chunk_index}-{file_index:06d}.parquet") == tmp_path / "data/2-000013.parquet"


@pytest.mark.parametrize(
    "template",
    [
        "{file_index.__class__}",
        "{episode_index:06d}",  # a field of LeRobot's, but not known here
        "{nothing}",
        "{file_index:>999999999}",
        "{file_index",
        "/etc/{file_index}",
        "../{file_index}.mp4",
        "data/../../{file_index}",
        "a\0b",
        "x" * 1001,
    ],
)
def test_what_is_no_template_or_leaves_the_folder_is_refused_with_file_and_key(tmp_path, template):
    with pytest.raises(DataError, match="info.json: data_path: "):
        of(tmp_path, template)


def test_a_thousand_characters_are_a_path(tmp_path):
    assert of(tmp_path, "/".join(["x" * 99] * 10)).parent.parent.is_relative_to(tmp_path)


def test_a_link_out_of_the_folder_is_outside_and_one_within_it_is_not(tmp_path):
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (folder / "data" / "real").write_text("x")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "in").symlink_to(folder / "data" / "real")
    assert [is_inside(folder, folder / name) for name in ("out", "in", "data/real")] == [False, True, True]
    assert refuse_outside(folder, folder / "in") == folder / "in"
    with pytest.raises(DataError, match="leaves the dataset's folder"):
        refuse_outside(folder, folder / "out")
    (folder / "ring").symlink_to(folder / "ring")
    with pytest.raises(DataError, match="leaves the dataset's folder"):
        refuse_outside(folder, folder / "ring")


def test_the_hubs_cache_is_inside_its_blobs_and_no_other_folder_beside_it_is(tmp_path):
    repo = tmp_path / "datasets--a--b"
    snapshot = repo / "snapshots" / "abc"
    for folder in (snapshot, repo / "blobs", repo / "refs", tmp_path / "plain" / "abc", tmp_path / "blobs"):
        folder.mkdir(parents=True)
    for name, target in (("ok", repo / "blobs" / "1"), ("refs", repo / "refs" / "1")):
        target.write_text("x")
        (snapshot / name).symlink_to(target)
    assert is_inside(snapshot, snapshot / "ok") and not is_inside(snapshot, snapshot / "refs")
    # A folder that is no snapshot has no blobs.
    (tmp_path / "blobs" / "1").write_text("x")
    (tmp_path / "plain" / "abc" / "link").symlink_to(tmp_path / "blobs" / "1")
    assert not is_inside(tmp_path / "plain" / "abc", tmp_path / "plain" / "abc" / "link")


def test_a_template_whose_folder_is_a_link_elsewhere_leaves_the_folder_too(tmp_path):
    folder = tmp_path / "set"
    (folder / "meta").mkdir(parents=True)
    (folder / "own").mkdir()
    (tmp_path / "other").mkdir()
    (folder / "videos").symlink_to(tmp_path / "other")
    (folder / "linked").symlink_to(folder / "own")
    assert of(folder, "linked/{file_index}.mp4") == folder / "linked/13.mp4"
    with pytest.raises(DataError, match="data_path: 'videos/13.mp4' leaves the dataset's folder"):
        of(folder, "videos/{file_index}.mp4")
