"""`make setup`: a .venv with the locked packages, and pi0_ros's messages built where that .venv finds them.

Where a ROS is sourced it is used, and none is installed; elsewhere ROS 2 Jazzy comes as wheels. What is up to date
is left alone. Standard library only: it runs before anything is installed.
"""

import argparse
import ctypes
import hashlib
import importlib.util
import os
import re
import selectors
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BUILD = ROOT / ".ros"
LOCKS = {part: ROOT / "requirements" / f"{part}.lock" for part in ("base", "ros", "test", "docs")}
# What the package is made of, as colcon sees it.
PACKAGE = ("package.xml", "CMakeLists.txt", "msg", "pi0_ros", "config", "launch", "urdf", "checkpoints")
# These come from a sourced ROS, whose compiled modules were built against them.
FROM_ROS = ("numpy", "opencv-python-headless", "setuptools")
HEARTBEAT = 5.0


class SetupError(Exception):
    """Something is missing or failed; the message says what to do."""


def ros_distro() -> str:
    """The ROS that is sourced, or an empty string."""
    return os.environ.get("ROS_DISTRO", "")


# What the machine must have


def loads(library: str) -> bool:
    """Whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_here() -> Iterator[str]:
    """What set-up cannot do without, one sentence each."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not (shutil.which("g++") or shutil.which("c++")):
        yield "No C++ compiler was found: sudo apt install g++."
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        yield f"The headers of {version} are missing: sudo apt install {version}-dev."
    if not module_exists("ensurepip"):
        yield f"The venv module of {version} is incomplete: sudo apt install {version}-venv."
    if ros_distro():
        yield from missing_in_ros()


def missing_in_ros() -> Iterator[str]:
    if not module_exists("rclpy"):
        yield (
            f"ROS_DISTRO is {ros_distro()}, but {sys.executable} cannot import rclpy: source that ROS's setup.bash in a "
            "shell whose python3 is the system's own, or unset ROS_DISTRO to get ROS 2 Jazzy as wheels."
        )
    if not shutil.which("colcon"):
        yield "ROS is sourced but colcon is missing: sudo apt install python3-colcon-common-extensions."
    if not module_exists("cv2"):
        yield "ROS is sourced but OpenCV is missing: sudo apt install python3-opencv."


def module_exists(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def warn_about_rendering() -> None:
    """The simulated cameras need EGL; a robot with real ones does not, so this is no error."""
    if not loads("libEGL.so.1"):
        say(
            "note: libEGL is missing, so the simulated cameras cannot render: sudo apt install libegl1 libgl1-mesa-dri."
        )


# Running things so that a person sees them run


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def follow(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
    """Run a command and show how far it is; raise SetupError with the end of its output where it fails."""
    process = subprocess.Popen(
        [str(word) for word in command], env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines = show_progress(process)
    if process.wait() != 0:
        tail = "\n".join(lines[-25:])
        raise SetupError(f"{tail}\n`{' '.join(map(str, command))}` failed with exit code {process.returncode}.")


def show_progress(process: subprocess.Popen) -> list[str]:
    """Read a process to its end, saying every few seconds which line it has come to. Returns all lines."""
    started = shown = time.monotonic()
    waiting, output = selectors.DefaultSelector(), b""
    waiting.register(process.stdout, selectors.EVENT_READ)
    while True:
        if waiting.select(timeout=HEARTBEAT):
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return output.decode(errors="replace").splitlines()
            output += data
        if time.monotonic() - shown >= HEARTBEAT:
            shown = time.monotonic()
            print(f"  {shown - started:4.0f} s  {latest(output)}", flush=True)


def latest(output: bytes) -> str:
    """The last line worth showing; while pip unpacks it says nothing for a minute, so what is there is counted."""
    text = re.split(rb"[\r\n]+", output.rstrip())[-1].decode(errors="replace").strip()
    if text.startswith(("Installing collected packages", "Successfully uninstalled")):
        return f"unpacking: {len(list(site_packages().glob('*.dist-info')))} packages are in place"
    return text[:100]


# The environment


def key(*parts: str | Path) -> str:
    """A digest of texts and files; a folder counts with all its files."""
    digest = hashlib.sha256()
    for part in parts:
        files = sorted(part.rglob("*")) if isinstance(part, Path) and part.is_dir() else [part]
        for file in files:
            data = file.read_bytes() if isinstance(file, Path) and file.is_file() else str(file).encode()
            digest.update(data + b"\0")
    return digest.hexdigest()


def environment_key(*locks: Path) -> str:
    return key(str(ROOT), sys.version, ros_distro() and f"{ros_distro()} {sys.prefix}", *locks)


def is_stamped(stamp: Path, value: str) -> bool:
    return stamp.is_file() and stamp.read_text() == value


def site_packages() -> Path:
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(VENV)}))


def make_venv() -> None:
    """A .venv of this Python at this place. One that set-up made otherwise is replaced, one of a person is used."""
    identity, stamp = environment_key(), VENV / "pi0_ros_venv"
    if is_stamped(stamp, identity):
        return
    if PYTHON.exists() and not stamp.exists():
        adopt_venv()
    else:
        say(f"creating .venv with Python {sys.version.split()[0]}")
        system = ["--system-site-packages"] if ros_distro() else []
        follow([sys.executable, "-m", "venv", "--clear", *system, VENV])
    stamp.write_text(identity)


def adopt_venv() -> None:
    if not site_packages().is_dir():
        wanted = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        raise SetupError(f"{VENV} was made by hand and is not of {wanted}: remove it, or name its Python with PYTHON=.")


def without(lines: str, names: Sequence[str]) -> str:
    """Requirement lines less those of the given packages."""
    return "\n".join(line for line in lines.splitlines() if re.split(r"[=<>]", line)[0] not in names)


def requirement_words(part: str) -> list[str | Path]:
    """What to tell pip: the lock as it stands, or, beside a sourced ROS, what we ask for at the locked versions."""
    if not ros_distro():
        return ["-r", LOCKS[part]]
    pins, wanted = VENV / "pi0_ros_pins.txt", VENV / f"pi0_ros_{part}.txt"
    pins.write_text(without("\n".join(lock.read_text() for lock in LOCKS.values()), FROM_ROS))
    wanted.write_text(without(LOCKS[part].with_suffix(".in").read_text(), FROM_ROS))
    return ["-r", wanted, "-c", pins]


def install(*parts: str) -> None:
    """Install the locked packages of these parts into .venv, unless that was done before."""
    stamp, value = VENV / f"pi0_ros_{'_'.join(parts)}", environment_key(*(LOCKS[part] for part in parts))
    if is_stamped(stamp, value):
        return
    say(f"installing the packages of requirements/{{{','.join(parts)}}}.lock")
    words = [word for part in parts for word in requirement_words(part)]
    follow([PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *words])
    if "ros" in parts:
        mend_wheels()
    stamp.write_text(value)


def mend_wheels() -> None:
    """The wheels' CMake files name the Python they were built with; name this one."""
    python_include = sysconfig.get_paths()["include"]
    numpy_include = str(site_packages() / "numpy" / "_core" / "include")
    for file in (VENV / "share").rglob("*.cmake"):
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
        mended = re.sub(r"/opt/python/[^;\"')\s]*/include/python3\.\d+", python_include, text)
        mended = re.sub(r"/opt/python/[^;\"')\s]*/numpy/_core/include", numpy_include, mended)
        if mended != text:
            file.write_text(mended, encoding="utf-8", errors="surrogateescape")


def install_command() -> None:
    """Let .venv's Python find the checkout without sourcing anything, and put `pi0` beside it."""
    shutil.copyfile(ROOT / "scripts" / "checkout_hook.py", site_packages() / "pi0_ros_checkout.py")
    # `.pth` files are read in alphabetical order: before the wheels' own, which may start the interpreter over.
    (site_packages() / "pi0_ros_checkout.pth").write_text("import pi0_ros_checkout\n")
    command = VENV / "bin" / "pi0"
    # The guard is for `pi0 train --workers`: its processes import the file that was started.
    guarded = 'if __name__ == "__main__":\n    sys.exit(main())\n'
    command.write_text(f"#!{PYTHON}\nimport sys\n\nfrom pi0_ros.__main__ import main\n\n{guarded}")
    command.chmod(0o755)


# The messages


def build_environment() -> dict[str, str]:
    """The process environment in which colcon finds ROS: the sourced one, or the wheels in .venv."""
    env = {**os.environ, "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    if not ros_distro():
        env |= {"AMENT_PREFIX_PATH": str(VENV), "CMAKE_PREFIX_PATH": str(VENV)}
        env.pop("PYTHONPATH", None)
    return env


def lay_out_sources() -> Path:
    """A view of the package without .venv in it: CMake refuses to export include paths inside its source folder."""
    view = BUILD / "src" / "pi0_ros"
    view.mkdir(parents=True, exist_ok=True)
    for name in PACKAGE:
        link = view / name
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(ROOT / name, view))
    return view.parent


def installed_names() -> list[str]:
    """What colcon installs by name: nodes become programs, and the files of share/ are links one by one."""
    shared = (file for folder in ("config", "launch", "urdf", "checkpoints") for file in (ROOT / folder).rglob("*"))
    nodes = (ROOT / "pi0_ros" / "nodes").glob("*.py")
    return sorted(str(file.relative_to(ROOT)) for file in (*shared, *nodes) if "__pycache__" not in file.parts)


def build_interfaces() -> None:
    """Build and install the ROS package into .ros/install, unless what it was built from is the same."""
    sources = [ROOT / name for name in ("package.xml", "CMakeLists.txt", "msg")]
    environment, made_for = environment_key(LOCKS["ros"]), BUILD / "environment"
    stamp, value = BUILD / "built", key(environment, *installed_names(), *sources)
    if is_stamped(stamp, value):
        return
    say("building the messages with colcon (half a minute)")
    if not is_stamped(made_for, environment):
        shutil.rmtree(BUILD, ignore_errors=True)
    places = ["--base-paths", lay_out_sources(), "--build-base", BUILD / "build", "--install-base", BUILD / "install"]
    follow(
        [shutil.which("colcon", path=build_environment()["PATH"]) or "colcon", "--log-base", BUILD / "log", "build"]
        + places
        + ["--merge-install", "--symlink-install", "--event-handlers", "console_direct+"]
        + ["--cmake-args", "-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={PYTHON}"],
        env=build_environment(),
    )
    made_for.write_text(environment)
    stamp.write_text(value)


def prepare(test: bool) -> None:
    """Bring .venv and .ros up to date."""
    make_venv()
    install(*(["base"] if ros_distro() else ["base", "ros"]))
    if test:
        install("test", "docs")
    install_command()
    build_interfaces()


def megabytes(folder: Path) -> int:
    files = (Path(path, name) for path, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files) // 2**20


def report(seconds: float) -> None:
    if seconds > HEARTBEAT:
        say(f"ready after {seconds:.0f} s, {megabytes(VENV) + megabytes(BUILD)} MB in .venv and .ros")
    warn_about_rendering()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make setup", description=__doc__)
    parser.add_argument("--test", action="store_true", help="also what `make test` and `make docs` need")
    test, started = parser.parse_args().test, time.monotonic()
    try:
        missing = list(missing_here())
        if missing:
            raise SetupError("\n".join(missing))
        prepare(test)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    report(time.monotonic() - started)
    return 0


if __name__ == "__main__":
    sys.exit(main())
