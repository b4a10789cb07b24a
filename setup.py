"""The ROS-free core, for a training machine: `pip install pi0_ros[train]`. colcon goes by package.xml, not by this."""

import os
import xml.etree.ElementTree as xml

from setuptools import find_packages, setup

HERE = os.path.dirname(os.path.abspath(__file__))
SHARED = ("config", "urdf", "checkpoints")

# pi0_ros/ros/missing.py tells the same packages where one of their modules is missing.
CORE = ["daqp", "numpy>=1.26", "pillow", "pyyaml", "ruckig", "simplejpeg", "xacro"]
ROBOT = ["mcap", "mcap-ros2-support", "msgpack", "websockets>=15"]
LOCAL = ["safetensors", "scipy", "sentencepiece", "tokenizers", "torch>=2.5"]
RECORD = ["av", "mcap", "mcap-ros2-support", "pyarrow"]
IMPORT = ["google-crc32c", "h5py", "rosbags"]
# 170 MB: neither part of what runs nor of what tests install.
RERUN = RECORD + ["rerun-sdk>=0.41,<0.42"]
SIM = ["mujoco"]
PLOT = ["matplotlib"]
JAX = ["tensorstore"]
ONNX = ["onnx", "onnxruntime", "onnxscript", "scipy", "sentencepiece", "tokenizers"]
# Where a ROS is sourced, its own OpenCV goes with its own NumPy; elsewhere the simulation's pictures need one.
PICTURES = ["opencv-python-headless", "transforms3d"]
TRAIN = LOCAL + RECORD + SIM + PLOT + PICTURES
DOCS = ["furo", "myst-parser", "sphinx"]
TEST = ["hypothesis", "import-linter", "mypy", "pytest", "pytest-timeout", "ruff", "tensorboardX", "types-PyYAML"]


def described(tag):
    """A text from package.xml: the one place where it is said."""
    return xml.parse(os.path.join(HERE, "package.xml")).findtext(tag)


def shared_files():
    """The robots, robot models and checkpoints, where an installed ROS package has them too: share/pi0_ros."""
    for folder in SHARED:
        for path, _, names in os.walk(os.path.join(HERE, folder)):
            inside = os.path.relpath(path, HERE)
            yield os.path.join("share", "pi0_ros", inside), [os.path.join(inside, name) for name in sorted(names)]


setup(
    name="pi0_ros",
    version=described("version"),
    description=described("description"),
    license="Apache-2.0",
    packages=find_packages(include=["pi0_ros", "pi0_ros.*"]),
    data_files=list(shared_files()),
    python_requires=">=3.11",
    install_requires=CORE,
    extras_require={
        "robot": ROBOT,
        "local": LOCAL,
        "record": RECORD,
        "import": RECORD + IMPORT,
        "rerun": RERUN,
        "train": TRAIN,
        "sim": SIM,
        "plot": PLOT,
        "jax": JAX,
        "onnx": ONNX,
        "gpu": ["onnxruntime-gpu"],
        "moments": ["bitsandbytes"],
        "tensorboard": ["tensorboardX"],
        "wandb": ["wandb"],
        "docs": DOCS,
        "test": TEST + IMPORT + ROBOT + TRAIN + JAX + ONNX,
    },
    entry_points={"console_scripts": ["pi0 = pi0_ros.__main__:main"]},
)
