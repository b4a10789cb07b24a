import json

import numpy as np
import pytest
import torch

from pi0_ros.cli import main
from pi0_ros.model import GemmaConfig, Pi0, VisionConfig, initialise, preset, save
from pi0_ros.policy import load_adapter, tiny_tokenizer
from pi0_ros.policy.adapter_writing import adapter_to_dict
from pi0_ros.policy.normalize import Statistics, write_norm_stats

TOWER = GemmaConfig(width=32, depth=1, heads=4, kv_heads=1, head_dim=8, mlp=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place, adapter = tmp_path_factory.mktemp("checkpoint"), load_adapter("mobile_bimanual")
    sizes = {
        "vision": VisionConfig(width=32, depth=1, heads=2, mlp=64, image_size=32, patch=16),
        "language": TOWER,
        "expert": TOWER,
        "vocab": tiny_tokenizer.build().vocab_size,
    }
    save(initialise(Pi0(preset("tiny", **sizes)), torch.Generator()), place, policy=adapter_to_dict(adapter))
    tiny_tokenizer.save(place / "tokenizer.json")
    unit = Statistics({"mean": np.zeros(18), "std": np.ones(18), "q01": -np.ones(18), "q99": np.ones(18)})
    write_norm_stats(place, {"state": unit, "actions": unit})
    return place


def check(*arguments):
    return main(["check", *map(str, arguments)])


def test_a_pair_that_fits_says_what_was_compared(folder, capsys):
    assert check("--robot", "mobile_bimanual", "--checkpoint", folder) == 0
    printed = capsys.readouterr().out
    for word in ("left_joint1", "right_wrist", "tokenizer", "statistics: state 18, actions 18", "they fit"):
        assert word in printed


def test_a_checkpoint_that_came_with_the_package_goes_by_its_name(capsys):
    assert check("--robot", "mobile_bimanual", "--checkpoint", "pi05_reach_tiny") == 0
    assert "checkpoints/pi05_reach_tiny/tokenizer.json" in capsys.readouterr().out


def test_a_pair_that_does_not_fit_prints_both_lists_and_fails(folder, capsys):
    assert check("--robot", "aloha", "--checkpoint", folder) == 1
    printed, complaint = capsys.readouterr()
    assert "policy wants: " in printed and "robot has: left_waist" in printed
    assert "does not fit robot aloha" in complaint


def test_what_a_backend_needs_on_this_computer_is_said_before_anything_runs(folder, capsys):
    pair = ("--robot", "mobile_bimanual", "--checkpoint", str(folder))
    assert check(*pair, "--backend", "torch") == 0
    assert "ok  PyTorch on cpu" in capsys.readouterr().out
    assert check(*pair, "--backend", "onnx", "--device", "cuda:7") == 1
    out, error = capsys.readouterr()
    assert f"no  ONNX graphs in {folder / 'onnx'}" in out and "write the graphs with `pi0 export" in out
    assert "no  onnxruntime on cuda:7" in out
    assert "the network cannot run so here: ONNX graphs" in error and error.count("\n") == 1
    assert check(*pair, "--device", "tpu") == 1
    assert "device 'tpu' is unknown; use cpu or cuda" in capsys.readouterr().out


def test_a_checkpoint_without_statistics_is_one_line_with_the_way_out(folder, tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text())))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert check("--robot", "mobile_bimanual", "--checkpoint", tmp_path) == 1
    complaint = capsys.readouterr().err
    assert "no normalisation statistics" in complaint and complaint.count("\n") == 1


def test_a_wrong_path_is_one_line(capsys):
    assert check("--robot", "mobile_bimanual", "--checkpoint", "/no/such/place") == 1
    assert capsys.readouterr().err.count("\n") == 1


# A policy server.


@pytest.fixture
def server():
    """A server for aloha_plain whose every plan has 25 rows; its address, and what it says of itself."""
    import threading

    from websockets.sync.server import serve

    from pi0_ros.policy.backends.wire import pack, unpack

    said = {}

    def talk(connection):
        connection.send(pack(said))
        for message in connection:
            connection.send(pack({"actions": np.tile(unpack(message)["state"], (25, 1))}))

    running = serve(talk, "127.0.0.1", 0, compression=None)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"ws://127.0.0.1:{running.socket.getsockname()[1]}", said
    running.shutdown()
    thread.join(10)


def test_a_server_is_asked_and_what_it_answers_is_compared(server, capsys):
    address, said = server
    said.update(control_hz=50, model="pi0")
    assert check("--robot", "aloha", "--checkpoint", address, "--adapter", "aloha_plain") == 0
    printed = capsys.readouterr().out
    for part in ("control_hz: 50", "model: pi0", "25 rows of 14 numbers", "an answer takes", "they fit"):
        assert part in printed
    assert "aloha_plain.yaml says horizon 50 and the server answers 25 rows" in printed


def test_a_server_of_another_robot_fails_in_one_line(server, capsys):
    address, said = server
    said.update(control_hz=15)
    assert check("--robot", "aloha", "--checkpoint", address, "--adapter", "aloha_plain") == 1
    complaint = capsys.readouterr().err
    assert "control_hz 15, the adapter has a period of 0.02 s" in complaint and complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ws://127.0.0.1:1", "no openpi server answers"),
        ("http://127.0.0.1:1", "begins with ws:// or wss://"),
        ("127.0.0.1:8000", "begins with ws:// or wss://"),
        ("ws://127.0.0.1:99999", "begins with ws:// or wss://"),
    ],
)
def test_a_server_that_is_not_there_and_an_address_that_is_none_are_one_line(address, told, capsys):
    assert check("--robot", "aloha", "--checkpoint", address, "--adapter", "aloha_plain") == 1
    complaint = capsys.readouterr().err
    assert told in complaint and complaint.count("\n") == 1
