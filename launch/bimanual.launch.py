"""ros2 launch pi0_ros bimanual.launch.py: cameras in, a policy, 50 Hz commands out. `--show-args` lists the arguments.

What runs is said in pi0_ros/bringup.py; this file renders it.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from pi0_ros import bringup


def declare(argument):
    """One argument of the list as a launch argument."""
    choices = {"choices": list(argument.choices)} if argument.choices else {}
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
        on_exit=[Shutdown(reason=f"{node.executable} ended")] if node.required else None,
    )


def render_all(context):
    """All processes that the arguments of this launch ask for."""
    given = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in bringup.ARGUMENTS}
    return [render(node) for node in bringup.nodes(given)]


def generate_launch_description():
    """What `ros2 launch` asks for."""
    return LaunchDescription([*map(declare, bringup.ARGUMENTS), OpaqueFunction(function=render_all)])
