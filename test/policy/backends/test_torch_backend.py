import numpy as np
import pytest
import torch

from pi0_ros.model import fast
from pi0_ros.policy import Observation, PolicyError, load_policy
from pi0_ros.robot import load_robot


@pytest.fixture(scope="module")
def robot():
    return load_robot("mobile_bimanual")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"mode": "quick"}, "mode 'quick' is unknown; there are eager, compile"),
        ({"mode": "graph"}, "mode graph records CUDA graphs and the device is cpu; use eager or compile"),
        ({"device": "gpu"}, "device 'gpu' is unknown; use cpu or cuda"),
    ],
)
def test_a_way_to_run_that_does_not_exist_is_refused_before_anything_is_read(robot, asked, why):
    with pytest.raises(PolicyError, match=why):
        load_policy("/no/such/checkpoint", robot, **asked)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_refused(robot):
    with pytest.raises(PolicyError, match="device cuda: no CUDA device here; use cpu"):
        load_policy("/no/such/checkpoint", robot, device="cuda")


def test_without_a_compiler_the_mode_compile_is_refused(robot, monkeypatch):
    monkeypatch.setattr(fast.shutil, "which", lambda _: None)
    with pytest.raises(PolicyError, match=r"mode compile needs a C\+\+ compiler"):
        load_policy("/no/such/checkpoint", robot, mode="compile")


@pytest.mark.skipif(not fast.has_compiler(), reason="torch.compile needs a C++ compiler")
def test_a_compiled_policy_plans_what_the_eager_one_plans(checkpoint, robot):
    black = np.zeros((224, 224, 3), np.uint8)
    middle = {c.name: (c.limits.lower + c.limits.upper) / 2.0 for c in robot.channels}
    observation = Observation(0.0, {c.name: black for c in robot.cameras}, middle, "touch the red block")
    eager, compiled = (
        load_policy(checkpoint, robot, mode=mode).infer(observation, seed=1) for mode in (None, "compile")
    )
    np.testing.assert_allclose(compiled.values, eager.values, atol=1e-5)
