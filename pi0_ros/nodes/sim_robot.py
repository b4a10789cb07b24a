"""sim_robot: the MuJoCo robot behind the topics of a driver. Same topics, same rates, nothing more.

Physics and joint states run in one thread at 100 Hz; pictures are rendered in another from a copy of the state, so
that rendering never delays the joint states.
"""

from __future__ import annotations

import threading

import mujoco
from rclpy.node import Node
from std_srvs.srv import Trigger

from pi0_ros.robot import RobotError, load_robot
from pi0_ros.ros.clock import Clocks, time_message
from pi0_ros.ros.diagnostics import OK, WARN, Diagnostics, Health, Rate
from pi0_ros.ros.driver_topics import DriverInputs, DriverOutputs
from pi0_ros.ros.loop import Loop
from pi0_ros.ros.parameters import Overrides, Parameter, ParameterError, Parameters
from pi0_ros.ros.run import never_wait_for_readers, run
from pi0_ros.sim.changes import load_world
from pi0_ros.sim.errors import SimError
from pi0_ros.sim.render import Renderer
from pi0_ros.sim.tasks import make_task, robot_before

STATE_PERIOD = 0.01
ODOMETRY_EVERY = 2
PICTURE_SIZE = 224
MOST_CATCH_UP = 5
SLOW = 0.97
"""Below this share of its rate something counts as too slow."""


class SimRobotNode(Node):
    """A driver for a robot that is not there.

    Larger than a class should be because it wires physics, pictures, a viewer and a clock, each with its rate.
    """

    table = (
        Parameter("robot", "mobile_bimanual", "robot YAML: a file, or a name under config/robots", required=True),
        Parameter(
            "scene",
            "touch_all",
            "what stands before the robot: reach, touch_all, pick_place, drive_to, tidy, a task of an installed package, or module:Class",
        ),
        Parameter("world", "", "how it differs from the usual one: a YAML file, or a name under config/worlds"),
        Parameter("seed", 0, "seed of the first scene; every reset takes the next", low=0, high=2**31 - 1),
        Parameter("viewer", False, "open a window that shows the simulation; needs a display"),
        Parameter("camera_rate", 30.0, "pictures a second of every camera [Hz]", low=0.1, high=100.0),
        Parameter(
            "watchdog", 0.25, "seconds without a command after which a group stops by itself", low=0.02, high=10.0
        ),
    )

    def __init__(self, parameter_overrides: Overrides = None) -> None:
        super().__init__("sim_robot", parameter_overrides=parameter_overrides)
        self.clocks = Clocks(self)
        values = Parameters(self, self.table).values()
        self._values = values
        try:
            self.robot = load_robot(values.robot)
        except RobotError as error:
            raise ParameterError(f"parameter robot: {error}") from None
        self._lock = threading.Lock()
        try:
            self._task = make_task(values.scene)
            self._sim = robot_before(self._task, self.robot, values.seed, load_world(values.world))
        except SimError as error:
            raise ParameterError(f"sim_robot: {error}") from None
        self._seed = values.seed
        self._instruction = self._task.reset(self._sim, self._seed)
        self._seen = mujoco.MjData(self._sim.model)
        self._renderer: Renderer | None = None
        self._viewer = None
        # Of /clock: a little ahead of zero, because a zero stamp means "not set", and it goes on over a reset.
        self._before = 1.0
        self._own_clock = bool(self.get_parameter("use_sim_time").value)
        self._outputs = DriverOutputs(self, self.robot, self._own_clock)
        self._inputs = DriverInputs(self, self.robot, self.clocks, values.watchdog)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self._loop = Loop(STATE_PERIOD, self._advance, self._failed, name="physics")
        self._render_loop = Loop(1.0 / values.camera_rate, self._show, self._failed, name="pictures")
        self._steps, self._skipped, self._error = 0, 0, ""
        self._render_rate, self._state_rate = Rate(), Rate()
        self._diagnostics = Diagnostics(self, self._health, self.clocks)

    def bring_up(self) -> bool:
        """Start physics and pictures."""
        if self._values.viewer:
            from mujoco.viewer import launch_passive

            self._viewer = launch_passive(self._sim.model, self._seen, show_left_ui=False, show_right_ui=False)
        self._loop.start()
        self._render_loop.start()
        self.get_logger().info(f"simulating {self.robot.name}, scene {self._values.scene}, seed {self._seed}")
        return True

    def shut_down(self, reason: str) -> None:
        """Stop physics and pictures."""
        self._render_loop.stop()
        self._loop.stop()
        if self._viewer is not None:
            self._viewer.close()

    # --- the ROS thread ---

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            self._seed += 1
            self._before += self._sim.time
            self._instruction = self._task.reset(self._sim, self._seed)
            self._inputs.forget()
        response.success, response.message = True, self._instruction
        return response

    # --- the physics thread ---

    def _now(self) -> float:
        return self._before + self._sim.time if self._own_clock else self.clocks.ros()

    def _advance(self, deadline: float, late: float) -> None:
        lost = min(self._loop.times.overruns - self._skipped, MOST_CATCH_UP)
        self._skipped = self._loop.times.overruns
        with self._lock:
            self._inputs.read()
            for group, target in self._inputs.targets():
                self._sim.set_command(tuple(c.name for c in group.channels), target)
            self._sim.advance(STATE_PERIOD * (1 + lost))
            stamp = time_message(self._now())
            joints = self._sim.joint_state()
            odometry = self._sim.odometry() if self._steps % ODOMETRY_EVERY == 0 else None
        self._steps += 1
        self._state_rate.tick(self.clocks.steady())
        self._outputs.clock(stamp)
        self._outputs.joints(stamp, *joints)
        if odometry is not None:
            self._outputs.odometry(stamp, *odometry)

    def _failed(self, trace: str) -> None:
        if not self._error:
            self.get_logger().error(f"the simulation failed:\n{trace}")
        self._error = trace.strip().splitlines()[-1]

    # --- the picture thread ---

    def _show(self, deadline: float, late: float) -> None:
        # A drawing context belongs to the thread that made it.
        renderer = self._renderer = self._renderer or Renderer(self._sim.model, PICTURE_SIZE)
        with self._lock:
            mujoco.mj_copyData(self._seen, self._sim.model, self._sim.data)
            stamp = time_message(self._now())
        self._outputs.pictures(stamp, lambda camera: renderer.draw(self._seen, camera, PICTURE_SIZE))
        if self._viewer is not None and self._viewer.is_running():
            self._viewer.sync()
        self._render_rate.tick(self.clocks.steady())

    # --- diagnostics ---

    def _health(self) -> Health:
        steady = self.clocks.steady()
        with self._lock:
            done, total = self._task.progress(self._sim)
            success = bool(self._task.success(self._sim))
        state, pictures = self._state_rate.hz(steady), self._render_rate.hz(steady)
        values = {
            "scene": self._values.scene,
            "seed": self._seed,
            "instruction": self._instruction,
            "done": done,
            "total": total,
            "success": success,
            "joint_states_hz": state,
            "pictures_hz": pictures,
            "physics_late_ms_p99": self._loop.times.timing().late_p99 * 1e3,
            "skipped_steps": self._skipped,
            "groups without commands": ", ".join(sorted(self._inputs.silent)),
        }
        if self._error:
            return Health(WARN, f"the simulation failed: {self._error}", values)
        slow = []
        if state < SLOW / STATE_PERIOD:
            slow.append(f"joint states at {state:.0f} of {1 / STATE_PERIOD:.0f} Hz")
        if pictures < SLOW * self._values.camera_rate:
            slow.append(f"pictures at {pictures:.0f} of {self._values.camera_rate:.0f} Hz")
        if slow:
            return Health(WARN, "cannot keep real time: " + ", ".join(slow), values)
        return Health(OK, "keeps real time", values)


def main() -> int:
    """Run the node."""
    never_wait_for_readers()
    return run(lambda _: [SimRobotNode()])


if __name__ == "__main__":
    raise SystemExit(main())
