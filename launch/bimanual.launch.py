"""ros2 launch pi0_ros bimanual.launch.py: cameras in, a policy, 50 Hz commands out, for any robot. `--show-args` lists the arguments.

What runs is said in pi0_ros/bringup.py; this file renders it.
"""

import sys
from pathlib import Path

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from pi0_ros import bringup

# Names that launch and launch_ros keep among the arguments.
LAUNCH_OWN = ("ros_namespace", "ros_remaps", "global_params")


def declare(argument):
    """One argument of the list as a launch argument."""
    choices = {"choices": list(argument.spellings)} if argument.choices else {}
    return DeclareLaunchArgument(
        argument.name, default_value=argument.default, description=argument.description, **choices
    )


def render(node):
    """One process of the list as a launch_ros node."""
    own = {name: ParameterValue(value, value_type=type(value)) for name, value in node.parameters.items()}
    return Node(
        package=bringup.PACKAGE,
        executable=node.executable,
        namespace=node.namespace,
        parameters=[node.params_file, own] if node.params_file else [own],
        remappings=list(node.remappings),
        ros_arguments=["--log-level", node.log_level],
        output="screen",
        respawn=node.respawn,
        respawn_delay=bringup.RESPAWN_DELAY,
        on_exit=end_all(node.executable) if node.required else None,
    )


def end_all(executable):
    """What ends the launch when this process has ended: with exit code 1, unless it ended well."""

    def react(event, context):
        if context.is_shutdown:
            return None
        if event.returncode != 0:  # launch's own exit code is 0 after a Shutdown, and 1 after an exception
            raise RuntimeError(f"{executable} ended with exit code {event.returncode}")
        return [Shutdown(reason=f"{executable} ended")]

    return react


def refuse_unknown(context):
    """Refuse mistyped arguments, which launch would pass over."""
    own, others = Path(__file__).name, (".py", ".xml", ".yaml", ".yml")
    files = [Path(word).name for word in sys.argv[1:] if word.endswith(others) and ":=" not in word]
    words = [word.partition(":=")[0] for word in context.argv or () if ":=" in word]
    names = [name for name in context.launch_configurations if name not in LAUNCH_OWN]
    given = [name for name in names if context.launch_configurations[name]]
    included = own not in files and any(name.endswith(".launch" + end) for name in files for end in others)
    bringup.refuse_unknown([*names, *(() if included else words)], given, included)


def render_all(context):
    """All processes that the arguments of this launch ask for, and one line that says whose they are."""
    refuse_unknown(context)
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in bringup.ARGUMENTS}
    bringup.check_robot(given)
    return [LogInfo(msg=bringup.summary(given)), *(render(node) for node in bringup.nodes(given))]


def generate_launch_description():
    """What `ros2 launch` asks for."""
    return LaunchDescription([*map(declare, bringup.ARGUMENTS), OpaqueFunction(function=render_all)])
