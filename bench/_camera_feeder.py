"""Publishes prerecorded pictures on the topics of a robot's cameras: `python -m bench._camera_feeder ROBOT FPS`.

As a driver of raw pictures of this size it has shared memory for them (docs/howto/new_camera.md). It says "publishing" at its
first pictures. A line on stdin ends it; then it says how many pictures each camera was given.
"""

import array
import os
import sys
import threading
import time

import rclpy
from sensor_msgs.msg import Image

from bench.record import pictures
from pi0_ros.robot import load_robot
from pi0_ros.robot.resources import share
from pi0_ros.ros.qos import SENSOR
from pi0_ros.ros.run import PROFILES

PICTURES = 60


def main() -> None:
    """Until a line comes in."""
    robot, fps = load_robot(sys.argv[1]), float(sys.argv[2])
    shown = [array.array("B", picture.tobytes()) for picture in pictures(count=PICTURES)]
    os.environ.update({name: str(share("config", "dds", "large_pictures.xml")) for name in PROFILES})
    rclpy.init()
    node = rclpy.create_node("camera_feeder")
    publishers = [node.create_publisher(Image, camera.topic, SENSOR) for camera in robot.cameras]
    message = Image(height=480, width=640, encoding="rgb8", step=3 * 640)
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ending.set()), daemon=True).start()
    print("publishing", flush=True)
    began, k = time.monotonic(), 0
    while not ending.wait(max(0.0, began + k / fps - time.monotonic())):
        for i, publisher in enumerate(publishers):
            message.data = shown[(k + 20 * i) % PICTURES]
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)
        k += 1
    try:
        print(k, flush=True)
    except BrokenPipeError:  # nobody reads any more; or Python would try to write it again at the end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    rclpy.shutdown()


if __name__ == "__main__":
    main()
