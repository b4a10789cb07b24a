"""Python modules that are asked for only when they are used: one sentence, with the command, if one is missing."""

from __future__ import annotations

import sys
from types import TracebackType

EXTRAS: dict[str, tuple[str, ...]] = {
    "core": ("daqp", "numpy>=1.26", "pillow", "pyyaml", "ruckig", "simplejpeg", "xacro"),
    "robot": ("mcap", "mcap-ros2-support", "msgpack", "websockets>=15"),
    "local": ("safetensors", "scipy", "sentencepiece", "tokenizers", "torch>=2.5"),
    "record": ("av", "mcap", "mcap-ros2-support", "pyarrow"),
    "sim": ("mujoco",),
    "plot": ("matplotlib",),
    "jax": ("tensorstore",),
    "onnx": ("onnx", "onnxruntime", "onnxscript", "scipy", "sentencepiece", "tokenizers"),
}
"""What pip installs for each use; `setup.py` has the same under the same names."""

PACKAGES = {
    "PIL": "pillow",
    "av": "av",
    "daqp": "daqp",
    "google_crc32c": "google-crc32c",
    "h5py": "h5py",
    "matplotlib": "matplotlib",
    "mcap": "mcap",
    "mcap_ros2": "mcap-ros2-support",
    "msgpack": "msgpack",
    "mujoco": "mujoco",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnxscript",
    "pyarrow": "pyarrow",
    "rosbags": "rosbags",
    "ruckig": "ruckig",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "sentencepiece": "sentencepiece",
    "simplejpeg": "simplejpeg",
    "tensorstore": "tensorstore",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "websockets": "websockets",
    "xacro": "xacro",
    "yaml": "pyyaml",
}
"""Module: the package that has it."""

BY_APT = {"cv2": "python3-opencv", "rclpy": "ros-jazzy-rclpy, and source ROS's setup.bash"}


def missing_module(error: BaseException) -> str:
    """What to install for a module that could not be imported; "" for anything else, modules of our own among it."""
    if not isinstance(error, ImportError) or not error.name:
        return ""
    module = error.name.partition(".")[0]
    if module in BY_APT:
        return f"the Python module {module} is missing: sudo apt install {BY_APT[module]} (docs/install.md)"
    package = PACKAGES.get(module)
    if package is None:
        return ""
    wanted = next((uses for uses in EXTRAS.values() for use in uses if use.partition(">")[0] == package), (package,))
    words = " ".join(f"'{word}'" if ">" in word else word for word in wanted)
    old = " or too old" if "." in error.name else ""
    return f"the Python module {module} is missing{old}: pip install {words} (docs/install.md)"


def explain_missing_modules() -> None:
    """From now on a program that ends because a module is missing says so in one line, and no traceback."""
    usual = sys.excepthook

    def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sentence = missing_module(error)
        if sentence:
            print(f"error: {sentence}", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = explain
