"""The keys of an adapter (policy YAML), declared; see `pi0_ros.robot.yaml_keys`."""

from __future__ import annotations

from pi0_ros.robot.yaml_keys import Key, Keys

ADAPTER: Keys = (
    Key("policy", "text", "name of the adapter"),
    Key("cameras", "mapping of picture slot to camera or null", "the model's slots, in their order; null: never there"),
    Key(
        "high_level_cameras",
        "mapping of picture slot to camera or null",
        "slots of the questions for a subtask",
        "those of cameras",
    ),
    Key(
        "missing_cameras",
        "`masked` or `black`",
        "an absent picture is left out, or is black and the network sees it (openpi's π0-FAST)",
        "masked",
    ),
    Key("state", "list of state blocks", "the model's state vector, in its order"),
    Key("actions", "list of action blocks", "the model's action vector, in its order"),
    Key("hold", "list of channels", "channels the model does not know: positions stay, velocities are 0", "none"),
    Key("period", "number [s], above 0", "time between two rows of a chunk"),
    Key(
        "horizon",
        "whole number of rows, or a mapping by kind of network",
        "rows of a chunk; has to agree with the checkpoint's, if its files have it",
        "the checkpoint's",
    ),
    Key("asset", "text", "which of several statistics under the checkpoint's assets/", "the only one"),
    Key(
        "normalisation",
        "`zscore` or `quantile`",
        "how vectors are normalised: by mean and deviation, or by the quantiles q01 and q99",
        "π0: `zscore`; π0.5 and π0-FAST: `quantile`; LeRobot's: as the checkpoint's files say",
    ),
    Key("resampler", "`pil`, `torch` or `jax`", "how pictures are resized", "the checkpoint's project's"),
    Key("prompt", "prompt section", "how the text is made", "by the kind of network"),
    Key("remote", "remote section", "a policy server's keys for the robot's cameras and state", "only for servers"),
    Key(
        "noise",
        "number, 0 .. 1",
        "size of the noise that plans start from: 1 as trained; with less, successive plans agree better",
        "1",
    ),
    Key(
        "finished",
        "list of subtasks",
        "subtasks by which the network says that nothing is left to do; the robot stays at the end of its last plan",
        "none",
    ),
    Key(
        "subtasks",
        "regular expression",
        "form of a subtask, matched as a whole; without it the network is never asked",
        "none",
    ),
    Key(
        "subtask_log_probability",
        "number, at most 0",
        "mean log-probability of its tokens below which an answer is refused",
        "-1.0",
    ),
    Key("dataset", "dataset section", "names of these vectors and cameras in recorded data, for training", "LeRobot's"),
)

BLOCK: Keys = (
    Key("channels", "list of channels", "channels of the robot, in the model's order"),
    Key("signs", "1 or -1 for each channel", "the model's value has the other sign", "1"),
    Key("range", "[at 0, at 1]", "the model's value when the channel is 0 and when it is 1 (grippers)", "none"),
    Key("convert", "`aloha_gripper`", "a gripper's conversion, instead of range", "none"),
)

STATE: Keys = (
    *BLOCK,
    Key(
        "wrap",
        "true, or [low, high] of one turn",
        "the model saw the angles of these joints within one turn; true: -pi .. pi",
        "angles count on",
    ),
)

ACTIONS: Keys = (
    *BLOCK,
    Key(
        "delta",
        "true, false, `absolute`, `start`, `relative`, `step`, `previous`, `cumulative` or `current`",
        "what the model's values are counted from: nothing (false, absolute), the state at chunk start (true, start, relative), the "
        "row before (step, previous, cumulative), or the state at the row's own time (current)",
        "absolute",
    ),
    Key(
        "follows",
        "number, above 0, at most 2",
        "with delta: current: the share of the distance to a row by which the robot has moved when the next row begins",
        "1",
    ),
    Key("scale", "number", "the channel is this many times the model's value; not with delta", "1"),
    Key("clip", "[low, high]", "the model's value is clipped to this first", "none"),
    Key("threshold", "number", "of a gripper: fully open or fully closed; changes at this value of the model", "none"),
    Key("hysteresis", "number", "of a gripper with threshold: it changes only half of this beyond the threshold", "0"),
)

PROMPT: Keys = (
    Key("kind", "`pi0`, `pi05` or `pi0_fast`", "kind of network whose prompt is made", "the checkpoint's"),
    Key("dialect", "`openpi` or `lerobot`", "project whose cleaning and padding of text is used", "the checkpoint's"),
    Key("length", "whole number of tokens", "longest prompt", "the checkpoint's"),
    Key("state", "true or false", "whether the prompt has the state as numbers", "by the kind of network"),
    Key("pad_state_to", "whole number", "LeRobot 0.4 padded the state in prompts to this size (32)", "0"),
    Key("control_mode", "text", "words about the control mode that the prompt begins with", "none"),
    Key("lowercase", "true or false", "whether the text is put in lower case", "the checkpoint's"),
)

DATASET: Keys = (
    Key("state", "list of features", "joined in this order; openpi's converters: [state]", "[observation.state]"),
    Key("action", "list of features", "joined in this order; openpi's converters: [actions]", "[action]"),
    Key(
        "state_names",
        "list of channels",
        "channels of the joined state, if info.json has other names",
        "info.json's",
    ),
    Key("action_names", "list of channels", "channels of the joined action, likewise", "info.json's"),
    Key("cameras", "mapping of camera to feature", "picture feature of each camera", "observation.images.CAMERA"),
)

REMOTE: Keys = (
    Key("images", "mapping of key to camera", "keys of the pictures in the request"),
    Key("state", "mapping of key to a number", "how many of the state's numbers each key takes, in order"),
    Key("nested", "true or false", "true: a/b is a map in a map (ALOHA)", "false"),
    Key("layout", "`hwc` or `chw`", "order of the pictures' axes", "hwc"),
    Key("size", "[height, width]", "size of the pictures", "[224, 224]"),
    Key(
        "missing_cameras", "`masked` or `black`", "an absent picture is left out, or is black", "black; nested: masked"
    ),
    Key(
        "width",
        "whole number",
        "numbers per row of an answer, if the server pads them",
        "as many as the adapter has",
    ),
    Key("actions", "list of keys", "keys of the answer that hold the rows, joined in this order", "[actions]"),
    Key("prompt", "text", "key of the text", "prompt"),
    Key("constants", "mapping of values", "entries that are sent with every observation", "none"),
    Key("session", "text", "key of an id that changes with every episode", "none"),
    Key(
        "reset", "mapping of values", "entries of a message that is sent before an episode's first observation", "none"
    ),
)

SECTIONS: tuple[tuple[str, str, Keys], ...] = (
    ("Top level", "", ADAPTER),
    ("State block", "state[]", STATE),
    ("Action block", "actions[]", ACTIONS),
    ("Prompt", "prompt", PROMPT),
    ("Recorded data", "dataset", DATASET),
    ("Policy server", "remote", REMOTE),
)
"""Every section of an adapter: title, where it stands, its keys."""
