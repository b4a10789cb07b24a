"""The MuJoCo world: the robot of a URDF before a table, and what a task puts on it; without one, four blocks, each on
a plate that is a touch lamp.

World frame: origin on the floor under the nominal base, x forward, y left, z up. Metres, radians.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

import mujoco
import numpy as np

from pi0_ros.robot import Robot
from pi0_ros.robot.urdf import urdf_text
from pi0_ros.sim.errors import SimError

COLOURS = ("red", "green", "blue", "yellow")
SIDES = ("left", "right")
TIMESTEP = 0.0025

TABLE_TOP = 0.72
TABLE_X = (0.36, 1.00)
TABLE_Y = (-0.62, 0.62)
BLOCK_HALF = 0.0325
PLATE_HEIGHT = 0.006
PLATE_RADIUS = 0.055
BLOCK_TOP = TABLE_TOP + PLATE_HEIGHT + 2 * BLOCK_HALF

TABLE_RGBA = (0.48, 0.38, 0.29, 1.0)
UNLIT_RGBA = (0.36, 0.28, 0.21, 1.0)
LIT_RGBA = (1.0, 1.0, 1.0, 1.0)
BLOCK_RGBA = {
    "red": (0.85, 0.06, 0.06, 1.0),
    "green": (0.05, 0.60, 0.12, 1.0),
    "blue": (0.08, 0.18, 0.90, 1.0),
    "yellow": (0.98, 0.82, 0.05, 1.0),
}

BASE_JOINTS = ("base_x", "base_y", "base_yaw")
_SERVO_TRAVEL = {mujoco.mjtJoint.mjJNT_HINGE: 0.06, mujoco.mjtJoint.mjJNT_SLIDE: 0.02}  # error at full effort, rad or m
SERVO_DELAY = 0.06  # kv / kp: the time by which a servo follows, s
_BASE_GAIN = {"base_x": (5000.0, 600.0), "base_y": (5000.0, 600.0), "base_yaw": (400.0, 250.0)}  # kv, greatest force

Furnish = Callable[[mujoco.MjSpec], None]
"""Puts the things of a task on the table of a world that is being built. What can be moved has a free joint `NAME_free`."""

# Collision classes. Arms meet each other, the body and the world; an arm does not meet itself.
_LEFT, _RIGHT, _BODY, THINGS = 1, 2, 4, 8
_MEETS = {_LEFT: _RIGHT | _BODY | THINGS, _RIGHT: _BODY | THINGS, _BODY: THINGS, THINGS: THINGS}


@dataclass(frozen=True)
class World:
    """A compiled model and where things are in it.

    `actuator`, `qpos`, `dof`: joint name to index, for every actuated joint and every measured joint.
    `object_qpos`: name of a thing that can be moved to the start of its free joint (7 numbers). `block`, `plate`: colour
    to the geom of its cube and of its lamp, where the world has blocks with lamps.
    `touch_side`, `touch_colour`: [ngeom] indices into SIDES and COLOURS, -1 for other geoms.
    """

    model: mujoco.MjModel
    actuator: dict[str, int]
    qpos: dict[str, int]
    dof: dict[str, int]
    measured: tuple[str, ...]
    object_qpos: dict[str, int]
    block: dict[str, int]
    plate: dict[str, int]
    touch_side: np.ndarray
    touch_colour: np.ndarray


def build_world(robot: Robot, furnish: Furnish | None = None) -> World:
    """The world around a robot, with the things of `furnish` on the table or, without it, blocks with lamps.

    Raises SimError naming a joint, link or camera that the URDF lacks.
    """
    spec = _robot_spec(robot)
    _settings(spec)
    _free_the_base(spec)
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0
        _collision_class(body)
    measured = tuple(j.name for j in spec.joints if j.name not in BASE_JOINTS)
    _servos(spec, robot)
    _furniture(spec)
    (furnish or _blocks_with_lamps)(spec)
    _check(spec, robot)
    return _indexed(_compiled(spec, robot), measured)


def _robot_spec(robot: Robot) -> mujoco.MjSpec:
    """The URDF as a MuJoCo spec whose root is a fixed `odom` link, so that the base can be given joints."""
    try:
        root = ElementTree.fromstring(urdf_text(robot.urdf, robot.urdf_args))
    except ElementTree.ParseError as problem:
        raise SimError(f"{robot.urdf}: is not XML: {problem}") from problem
    if root.find("link[@name='base_link']") is None:
        raise SimError(f"{robot.urdf}: there is no link base_link; name the base so")
    fovs = _fields_of_view(root)
    extension = ElementTree.SubElement(root, "mujoco")
    ElementTree.SubElement(extension, "compiler", {"fusestatic": "false", "discardvisual": "false"})
    ElementTree.SubElement(root, "link", {"name": "odom"})
    mount = ElementTree.SubElement(root, "joint", {"name": "odom_to_base", "type": "fixed"})
    ElementTree.SubElement(mount, "parent", {"link": "odom"})
    ElementTree.SubElement(mount, "child", {"link": "base_link"})
    try:
        spec = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    except ValueError as problem:
        raise SimError(f"{robot.urdf}: MuJoCo cannot load it: {' '.join(str(problem).split())}") from problem
    for frame, fov in fovs.items():
        name = frame.removesuffix("_camera_optical_frame")
        # An optical frame looks along z with y down; a MuJoCo camera looks along -z with y up.
        spec.body(frame).add_camera(name=name, quat=[0, 1, 0, 0], fovy=math.degrees(fov))
    return spec


def _fields_of_view(root: ElementTree.Element) -> dict[str, float]:
    """Optical frame to horizontal field of view [rad], from the URDF's <gazebo reference><sensor><camera> blocks."""
    found: dict[str, float] = {}
    for block in root.findall("gazebo"):
        fov = block.findtext("sensor/camera/horizontal_fov")
        if fov is not None:
            found[block.get("reference", "")] = float(fov)
        root.remove(block)
    return found


def _settings(spec: mujoco.MjSpec) -> None:
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    spec.visual.quality.numslices = 10
    spec.visual.map.znear = 0.01
    spec.visual.headlight.ambient = [0.42, 0.42, 0.42]
    spec.visual.headlight.diffuse = [0.25, 0.25, 0.25]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.stat.extent = 1.0


def _free_the_base(spec: mujoco.MjSpec) -> None:
    base = spec.body("base_link")
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    base.add_joint(name="base_x", type=slide, axis=[1, 0, 0])
    base.add_joint(name="base_y", type=slide, axis=[0, 1, 0])
    base.add_joint(name="base_yaw", type=hinge, axis=[0, 0, 1])


def _collision_class(body: mujoco.MjsBody) -> None:
    name = body.name
    own = _LEFT if name.startswith("left_") else _RIGHT if name.startswith("right_") else _BODY
    for geom in body.geoms:
        if geom.contype:
            geom.contype, geom.conaffinity, geom.group = own, _MEETS[own], 3


def _servos(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Position servos whose full effort is reached at a small error; velocity servos for the base.

    A joint that mimics another is moved by MuJoCo's equality constraint and gets none.
    """
    mimics = {e.name1 for e in spec.equalities}
    for joint in spec.joints:
        if joint.name in _BASE_GAIN:
            gain, force = _BASE_GAIN[joint.name]
            servo = _actuator(spec, joint.name, force)
            servo.set_to_velocity(kv=gain)
        elif joint.name not in mimics:
            effort = float(joint.actfrcrange[1])
            stiffness = effort / _SERVO_TRAVEL[joint.type]
            joint.armature = 0.05 if joint.type == mujoco.mjtJoint.mjJNT_HINGE else 0.5
            servo = _actuator(spec, joint.name, effort)
            servo.set_to_position(kp=stiffness, kv=stiffness * SERVO_DELAY)


def _actuator(spec: mujoco.MjSpec, joint: str, force: float) -> mujoco.MjsActuator:
    actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.forcerange = [-force, force]
    actuator.forcelimited = 1
    return actuator


def _furniture(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    box, plane = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    world.add_light(
        pos=[0, 0, 3], dir=[0.3, 0.2, -1], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=False,
        diffuse=[0.45, 0.45, 0.45], specular=[0, 0, 0], ambient=[0, 0, 0],
    )  # fmt: skip
    world.add_geom(name="floor", type=plane, size=[6, 6, 1], rgba=[0.62, 0.64, 0.66, 1], contype=0, conaffinity=0)
    # Behind the robot, so that the back camera sees a room.
    world.add_geom(name="wall", type=box, pos=[-3, 0, 1.5], size=[0.05, 4, 1.5], rgba=[0.55, 0.60, 0.68, 1],
                   contype=0, conaffinity=0)  # fmt: skip
    world.add_geom(name="door", type=box, pos=[-2.94, 0.9, 1.0], size=[0.03, 0.45, 1.0], rgba=[0.42, 0.36, 0.33, 1],
                   contype=0, conaffinity=0)  # fmt: skip
    middle = [sum(TABLE_X) / 2, sum(TABLE_Y) / 2, TABLE_TOP - 0.02]
    half = [(TABLE_X[1] - TABLE_X[0]) / 2, (TABLE_Y[1] - TABLE_Y[0]) / 2, 0.02]
    world.add_geom(name="table", type=box, pos=middle, size=half, rgba=TABLE_RGBA, contype=THINGS, conaffinity=THINGS)
    world.add_geom(
        name="table_foot", type=box, pos=[middle[0] + 0.1, middle[1], TABLE_TOP / 2 - 0.02],
        size=[0.06, 0.3, TABLE_TOP / 2 - 0.02], rgba=UNLIT_RGBA, contype=0, conaffinity=0,
    )  # fmt: skip


def _blocks_with_lamps(spec: mujoco.MjSpec) -> None:
    for colour in COLOURS:
        _block(spec, colour)


def _block(spec: mujoco.MjSpec, colour: str) -> None:
    """A coloured cube fixed on a round plate, free to be pushed. The body's origin is the plate's underside."""
    box, cylinder = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
    body = spec.worldbody.add_body(name=f"{colour}_body", pos=[0.6, 0, TABLE_TOP])
    body.add_freejoint(name=f"{colour}_free")
    body.add_geom(
        name=f"{colour}_block", type=box, pos=[0, 0, PLATE_HEIGHT + BLOCK_HALF], size=[BLOCK_HALF] * 3, mass=0.30,
        rgba=BLOCK_RGBA[colour], contype=THINGS, conaffinity=THINGS, friction=[0.9, 0.01, 0.001],
    )  # fmt: skip
    # The plate is drawn round and collides as a square inside the circle, which is far cheaper.
    square = PLATE_RADIUS / math.sqrt(2)
    body.add_geom(
        name=f"{colour}_foot", type=box, pos=[0, 0, PLATE_HEIGHT / 2], size=[square, square, PLATE_HEIGHT / 2],
        mass=0.20, group=3, contype=THINGS, conaffinity=THINGS, friction=[0.9, 0.01, 0.001],
    )  # fmt: skip
    body.add_geom(
        name=f"{colour}_plate", type=cylinder, pos=[0, 0, PLATE_HEIGHT / 2], size=[PLATE_RADIUS, PLATE_HEIGHT / 2, 0],
        mass=0, rgba=UNLIT_RGBA, contype=0, conaffinity=0,
    )  # fmt: skip


def _check(spec: mujoco.MjSpec, robot: Robot) -> None:
    for channel, joint in robot.joint_of_channel.items():
        if spec.actuator(joint) is None:
            raise SimError(f"{robot.urdf}: there is no joint {joint}, which channel {channel} moves")
    for camera in robot.cameras:
        if spec.camera(camera.name) is None:
            frame = f"{camera.name}_camera_optical_frame"
            raise SimError(f"{robot.urdf}: camera {camera.name} needs link {frame} with a <gazebo> camera sensor")
    for side in SIDES:
        if spec.body(f"{side}_tip") is None:
            raise SimError(f"{robot.urdf}: there is no link {side}_tip; add one between the {side} fingertips")


def _compiled(spec: mujoco.MjSpec, robot: Robot) -> mujoco.MjModel:
    try:
        return spec.compile()
    except ValueError as problem:
        raise SimError(f"{robot.urdf}: MuJoCo cannot simulate it: {' '.join(str(problem).split())}") from problem


def _indexed(model: mujoco.MjModel, measured: tuple[str, ...]) -> World:
    joints = (*measured, *BASE_JOINTS)
    side = np.full(model.ngeom, -1)
    colour = np.full(model.ngeom, -1)
    for geom in range(model.ngeom):
        body = model.body(model.geom_bodyid[geom]).name
        for index, name in enumerate(SIDES):
            if model.geom_contype[geom] and body.startswith((f"{name}_hand", f"{name}_finger")):
                side[geom] = index
    block, plate = _geoms(model, "block"), _geoms(model, "plate")
    for name, geom in block.items():
        colour[geom] = COLOURS.index(name)
    free = [model.joint(i) for i in range(model.njnt) if model.jnt_type[i] == mujoco.mjtJoint.mjJNT_FREE]
    return World(
        model=model,
        actuator={model.actuator(i).name: i for i in range(model.nu)},
        qpos={j: int(model.joint(j).qposadr[0]) for j in joints},
        dof={j: int(model.joint(j).dofadr[0]) for j in joints},
        measured=measured,
        object_qpos={j.name.removesuffix("_free"): int(j.qposadr[0]) for j in free},
        block=block,
        plate=plate,
        touch_side=side,
        touch_colour=colour,
    )


def _geoms(model: mujoco.MjModel, kind: str) -> dict[str, int]:
    """Colour to the geom of that kind, of the colours that have one."""
    found = {c: mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, f"{c}_{kind}") for c in COLOURS}
    return {colour: geom for colour, geom in found.items() if geom >= 0}
