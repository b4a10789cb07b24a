"""A filmed robot keeps what its cameras saw since it was last put somewhere."""

from __future__ import annotations

import av
import pytest

pytest.importorskip("mujoco")

from pi0_ros.sim.film import FPS, SIZE, FilmedRobot


def test_a_film_has_ten_pictures_a_second_of_all_cameras_and_begins_anew_with_every_scene(bimanual, tmp_path):
    robot = FilmedRobot(bimanual, seed=3, cameras=("base", "left_wrist"))
    robot.advance(0.4)
    robot.reset(4)
    for _ in range(35):
        robot.advance(0.02)
    robot.write(tmp_path / "films" / "one.mp4")
    robot.close()
    with av.open(str(tmp_path / "films" / "one.mp4")) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == FPS
    assert len(pictures) == 7 and pictures[0].shape == (SIZE, 2 * SIZE, 3)
    assert abs(pictures[0][:, :SIZE].mean() - robot.render("base", SIZE).mean()) < 5
    assert FilmedRobot(bimanual).cameras == tuple(camera.name for camera in bimanual.cameras)
