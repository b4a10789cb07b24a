"""Run by every Python of this checkout's .venv (through pi0_ros_checkout.pth), so that nothing has to be sourced.

It puts the checkout and its built interfaces where Python, ament and the dynamic linker look for them.
`make setup` copies this file into the .venv.
"""

import os
import sys

ROOT = os.path.dirname(sys.prefix)
INSTALL = os.path.join(ROOT, ".ros", "install")
WHEELS = os.path.join(sys.prefix, "share", "ament_index")


def append(name: str, *parts: str) -> None:
    """Put directories behind an environment variable's list, each once: a workspace that is sourced goes first."""
    old = [part for part in os.environ.get(name, "").split(os.pathsep) if part]
    os.environ[name] = os.pathsep.join([*old, *(part for part in parts if part not in old)])


def find_modules() -> None:
    """The checkout's modules come first; rosidl's `pi0_ros.msg` joins them through `pi0_ros.__path__`."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    layouts = ("lib/{}/site-packages", "lib/{}/dist-packages", "local/lib/{}/dist-packages")
    built = [os.path.join(INSTALL, layout.format(version)) for layout in layouts]
    sys.path.extend([ROOT, *filter(os.path.isdir, built)])


def find_packages() -> None:
    """ament finds share/pi0_ros and, where ROS came as wheels, theirs."""
    append("AMENT_PREFIX_PATH", INSTALL, *([sys.prefix] if os.path.isdir(WHEELS) else []))


def find_libraries() -> None:
    """Start this very command once more: the linker reads LD_LIBRARY_PATH when a process starts, never later."""
    libraries = os.path.join(INSTALL, "lib")
    if libraries in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        return
    append("LD_LIBRARY_PATH", libraries)
    os.environ.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    try:
        import ros_wheels_bootstrapper  # noqa: F401  (adds the wheels' libraries and starts over by itself)
    except ModuleNotFoundError:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if os.path.isdir(INSTALL):
    find_modules()
    find_packages()
    find_libraries()
