"""What the nodes show on the ROS graph, declared: topics, services, values in /diagnostics.

Values only, and no import of rclpy: the reference pages and `pi0 call` read it. A test holds the nodes to it.
"""

from __future__ import annotations

from dataclasses import dataclass

SENSOR_DATA = "sensor data (best effort)"
LATCHED = "reliable, latched"
NEWEST = "reliable, depth 1"
TRIGGER = "std_srvs/srv/Trigger"


@dataclass(frozen=True)
class Topic:
    """One topic; names are relative to the namespace unless they begin with a slash."""

    name: str
    type: str
    quality: str
    publisher: str
    readers: str
    meaning: str


@dataclass(frozen=True)
class Service:
    """One service of a node."""

    node: str
    name: str
    meaning: str
    type: str = TRIGGER

    @property
    def path(self) -> str:
        """The name that a client uses, relative to the namespace."""
        return f"{self.node}/{self.name}"


@dataclass(frozen=True)
class Value:
    """One key of a node's status in /diagnostics; `<…>` stands for a name."""

    key: str
    unit: str
    meaning: str


TOPICS = (
    Topic(
        "task",
        "std_msgs/msg/String",
        LATCHED,
        "a person, task_source",
        "high_level, recorder; policy with prompt:=task",
        "What to do, in words. The newest text is kept for a node that starts later, and replaces the launch argument too. A new "
        "text ends the old subtask at once, and the robot comes to rest until the new one is decided. A task that has the "
        "form of the checkpoint's subtasks (`subtasks` of the adapter) is followed word for word; the network is not asked.",
    ),
    Topic(
        "subtask",
        "std_msgs/msg/String",
        LATCHED,
        "high_level",
        "policy, recorder",
        "The next step of the task, in the words the policy was trained on.",
    ),
    Topic(
        "subtask_override",
        "std_msgs/msg/String",
        LATCHED,
        "a person",
        "policy, high_level, recorder",
        "An operator's text. It replaces subtask and task until an empty text takes it back; meanwhile the network is not "
        "asked for subtasks. Publishers of any quality of service are read.",
    ),
    Topic(
        "high_level_state",
        "std_msgs/msg/String",
        LATCHED,
        "high_level",
        "policy",
        "Why there is no subtask, or why its choice makes no progress; empty while all is well.",
    ),
    Topic(
        "action_chunk",
        "pi0_ros/msg/ActionChunk",
        NEWEST,
        "policy",
        "executor",
        "A plan: rows of all channels with their time. Publishers of any quality of service are read.",
    ),
    Topic(
        "policy_state",
        "std_msgs/msg/String",
        LATCHED,
        "policy",
        "executor",
        "Why no plan is made; empty while plans are made. The executor passes it on in executor_state.reason.",
    ),
    Topic(
        "executor_state",
        "pi0_ros/msg/ExecutorState",
        NEWEST,
        "executor",
        "policy, recorder, people",
        "Mode, reason, epoch, plan, command and measurement; 25 Hz, and on every change.",
    ),
    Topic(
        "recorder/state",
        "std_msgs/msg/String",
        LATCHED,
        "recorder",
        "people",
        "A JSON object, on every change: recording, folder, episodes, saved, mode, and why no frame is taken now.",
    ),
    Topic(
        "recorder/note",
        "std_msgs/msg/String",
        NEWEST,
        "a person",
        "recorder",
        "An operator's remark on the running episode or, if none runs, on the newest one.",
    ),
    Topic(
        "recorder/score",
        "std_msgs/msg/Float32",
        NEWEST,
        "a person",
        "recorder",
        "An operator's score of the running episode or, if none runs, of the newest one.",
    ),
    Topic(
        "mode",
        "std_msgs/msg/String",
        LATCHED,
        "executor",
        "high_level, people",
        "hold, teleop, autonomy or stopped, on every change.",
    ),
    Topic(
        "executor/trajectory_preview",
        "trajectory_msgs/msg/JointTrajectory",
        NEWEST,
        "executor",
        "plotting tools",
        "The plan that is followed, each time it changes.",
    ),
    Topic(
        "executor/markers",
        "visualization_msgs/msg/MarkerArray",
        NEWEST,
        "executor",
        "RViz, Foxglove",
        "The path of every arm's tip and of the base along that plan, in the URDF's root frame; removed with the plan.",
    ),
    Topic(
        "estop",
        "std_msgs/msg/Bool",
        "any",
        "an emergency stop button",
        "executor",
        "Heartbeat: true is pressed. After the first message, 0.5 s of silence count as pressed (timeout); before it, nothing is stopped; with estop_required, nothing is driven.",
    ),
    Topic(
        "/diagnostics",
        "diagnostic_msgs/msg/DiagnosticArray",
        "reliable, depth 50",
        "all nodes",
        "people",
        "One status per node, once per second.",
    ),
    Topic("/clock", "rosgraph_msgs/msg/Clock", NEWEST, "sim_robot", "all nodes", "Simulated time, with use_sim_time."),
)

SERVICES = (
    Service("executor", "stop", "Decelerate and hold, latched: reset leads back to HOLD. Read first."),
    Service("executor", "hold", "Decelerate and hold."),
    Service("executor", "teleop", "A person drives; granted within one control period, except while STOPPED."),
    Service("executor", "autonomy", "The policy drives, once a fresh chunk starts near the robot."),
    Service("executor", "reset", "From STOPPED to HOLD, once the cause is gone."),
    Service("recorder", "start", "Begin an episode."),
    Service("recorder", "stop", "End the episode; it is saved at once, in a process of its own."),
    Service("recorder", "success", "End the episode as a success; if none runs, label the newest one so."),
    Service("recorder", "failure", "End the episode as a failure; if none runs, label the newest one so."),
    Service("recorder", "discard", "End the episode without saving it."),
    Service("sim_robot", "reset", "A new scene, of the next seed."),
)

SOURCES = (
    Value("camera <name> hz", "Hz", "pictures that arrived"),
    Value("<topic> offset_ms", "ms", "least age of its stamps on this computer's clock; negative: stamped ahead"),
    Value("camera_skew_ms", "ms", "how far apart the pictures of the newest observation were"),
    Value("messages_refused", "", "messages that were damaged or of the wrong content"),
    Value("last_refusal", "", "why the newest one was refused"),
)
"""Values of every node that reads cameras: policy, recorder."""

DIAGNOSTICS: dict[str, tuple[Value, ...]] = {
    "executor": (
        Value("mode", "", "hold, teleop, autonomy or stopped"),
        Value("owner", "", "who drives: none, hold, teleop or policy"),
        Value("strategy", "", "how the newest plan was joined"),
        Value("rate_hz", "Hz", "control rate"),
        Value("period_late_ms_p50", "ms", "how late the control loop woke, median of the last minute"),
        Value("period_late_ms_p99", "ms", "the same, 99th percentile"),
        Value("period_late_ms_max", "ms", "the same, largest"),
        Value("work_ms_p50", "ms", "core and sending, median of the last minute"),
        Value("work_ms_p99", "ms", "the same, 99th percentile"),
        Value("work_ms_max", "ms", "the same, largest"),
        Value("work_ms_p99_run", "ms", "the same, 99th percentile since activation"),
        Value("prepare_ms_p99", "ms", "reading before the deadline, 99th percentile of the last minute"),
        Value("prepare_ms_max", "ms", "the same, largest"),
        Value("ticks", "", "control periods since activation"),
        Value("overruns", "", "control periods missed since activation"),
        Value("chunks_accepted", "", "chunks followed since activation"),
        Value("chunks_rejected", "", "chunks refused since activation"),
        Value("underruns", "", "plans that ran out before the next chunk came"),
        Value("limited", "", "commands that a limit changed"),
        Value("ignored", "", "messages of a source that does not drive"),
        Value("refused", "", "teleop inputs that were refused"),
        Value("messages_refused", "", "messages that were damaged or too large"),
        Value("last_rejection", "", "why the newest chunk or message was refused"),
        Value("splice_delay_ms", "ms", "newest chunk: observation to first command from it"),
        Value("delay_p95_ms", "ms", "observation to receipt, 95th percentile of the last 20 s of autonomy"),
        Value("seam_position_max", "rad or m", "largest jump at a splice since activation"),
        Value("seam_velocity_max", "rad/s or m/s", "the same of the velocity"),
        Value("seam_velocity_share_max", "", "the same as a share of the velocity limit"),
        Value("jerk_rms", "rad/s³ or m/s³", "of the position channels, since the last status"),
        Value("jerk_max", "rad/s³ or m/s³", "the same, largest"),
        Value("tracking_error", "rad or m", "largest distance of a position channel from its command, minus the lag"),
        Value("<group> lag_ms", "ms", "how much later than commanded the group moves, estimated while it moves"),
        Value("<topic> hz", "Hz", "measurements that arrived"),
        Value("<topic> offset_ms", "ms", "least age of its stamps on this computer's clock; negative: stamped ahead"),
        Value("camera <name> refused", "", "why pictures of this camera are not in the black box"),
        Value("black_box_mb", "MB", "size of what is kept in memory"),
        Value("black_box_pictures", "", "pictures taken for it"),
        Value("black_box_files", "", "black boxes written since activation"),
        Value("black_box_failures", "", "black boxes that could not be written"),
    ),
    "policy": (
        Value("prompt", "", "text that plans are made for"),
        Value("prompt_source", "", "topic that it came from"),
        Value("chunks", "", "chunks published since activation"),
        Value("chunks_hz", "Hz", "chunks per second, over the last 10 s"),
        Value("inference_ms_p50", "ms", "time in the network, median"),
        Value("inference_ms_p99", "ms", "the same, 99th percentile"),
        Value("observation_to_chunk_ms_p50", "ms", "observation to publishing, median"),
        Value("observation_to_chunk_ms_p95", "ms", "the same, 95th percentile"),
        Value("requests_at_once", "", "requests to a policy server that may be without an answer at the same time"),
        Value("failures", "", "inferences that failed"),
        Value("withheld", "", "how often planning paused for a new reason"),
        *SOURCES,
    ),
    "high_level": (
        Value("task", "", "the task"),
        Value("subtask", "", "the current subtask"),
        Value("answers", "", "answers of the network"),
        Value("refused", "", "answers that were no subtask"),
        Value("log_probability", "", "mean log-probability of the newest answer's tokens"),
        Value("last_refused", "", "the newest of these, and why"),
        Value("failures", "", "decodings that failed"),
        Value("seconds", "s", "time of the newest answer"),
        Value("retries", "", "how often subtasks without progress were tried again since a subtask that was new"),
    ),
    "recorder": (
        Value("recording", "", "whether an episode is being recorded"),
        Value("folder", "", "folder of the dataset"),
        Value("episodes", "", "number of the running or the next episode"),
        Value("frames", "", "frames of the running episode"),
        Value("saved", "", "episodes that were put into the dataset since the recorder was configured"),
        Value("frames that could not be taken", "", "moments without a frame since the last start"),
        Value("dropped: <cause>", "", "those of them for one reason"),
        Value("backlog", "", "frames on their way to the encoder"),
        Value("disk_free_mb", "MB", "room on the disk of the dataset"),
        Value("writer_cpu_s", "s", "processor time of the process that encodes and writes"),
        Value("writer_memory_mb", "MB", "resident memory of that process"),
        Value("bag", "", "folder of the MCAP files, with mcap:=true"),
        Value("bag_mb", "MB", "what they take"),
        Value("bag dropped: <topic>", "", "messages that the disk was too slow for"),
        *SOURCES,
    ),
    "sim_robot": (
        Value("scene", "", "name of the task whose scene is simulated"),
        Value("seed", "", "seed of the scene"),
        Value("instruction", "", "what is to be done, in words"),
        Value("done", "", "steps done"),
        Value("total", "", "steps in all"),
        Value("success", "", "whether all is done"),
        Value("joint_states_hz", "Hz", "rate of the joint states"),
        Value("pictures_hz", "Hz", "rate of the pictures"),
        Value("physics_late_ms_p99", "ms", "how late the physics ran, 99th percentile of the last minute"),
        Value("skipped_steps", "", "physics steps left out because the machine was too slow"),
        Value("groups without commands", "", "groups that stopped because no command came"),
    ),
}
"""Values of each node in /diagnostics, by the node's name."""
