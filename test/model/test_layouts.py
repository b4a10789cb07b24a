"""In which room a call runs, and which ways of running there are on a machine."""

from dataclasses import replace

import pytest
import torch
from model_cases import small_config

from pi0_ros.model.errors import InputError
from pi0_ros.model.inference import modes
from pi0_ros.model.inference.layouts import Layout, Rooms
from pi0_ros.model.inference.modes import check_mode, records, suits_kernels

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


@pytest.mark.parametrize(("text", "room"), [(0, 0), (1, 16), (15, 16), (16, 16), (17, 32)])
def test_a_text_has_room_in_whole_buckets(text, room):
    assert Rooms(16).of(Layout(2, (0, 2), text)) == Layout(2, (0, 2), room)
    assert Rooms(1).of(Layout(1, (1,), text)) == Layout(1, (1,), text)


def test_the_first_prepared_room_is_taken_that_has_the_rows_the_cameras_and_the_length():
    rooms, small, large, pair = Rooms(16), Layout(1, (0, 1), 16), Layout(1, (0, 1, 2), 48), Layout(2, (0, 1, 2), 48)
    rooms.prepared = [small, large, pair]
    assert [rooms.of(Layout(1, cameras, text)) for cameras, text in (((0,), 16), ((0,), 17), ((2,), 3), ((), 48))] == [
        small, large, large, large,
    ]  # fmt: skip
    assert rooms.of(Layout(2, (1,), 3)) == pair
    assert rooms.of(Layout(3, (1,), 3)) == Layout(3, (1,), 16) and rooms.of(Layout(1, (0,), 49)) == Layout(1, (0,), 64)
    assert rooms.of(Layout(1, (3,), 3)) == Layout(1, (3,), 16)


@pytest.mark.parametrize(
    ("mode", "device", "recorded"),
    [("eager", CUDA, False), ("compile", CUDA, False), ("graph", CUDA, True), ("compile_graph", CUDA, True), ("kernels", CUDA, True), ("kernels", CPU, False)],
)  # fmt: skip
def test_graphs_and_on_cuda_the_kernels_are_recorded(mode, device, recorded):
    assert records(mode, device) is recorded


def test_a_way_of_running_that_the_machine_has_not_is_refused_with_what_is_missing(monkeypatch):
    with pytest.raises(
        InputError, match="mode 'fast' is unknown; there are eager, compile, graph, compile_graph, kernels"
    ):
        check_mode("fast", CPU)
    for mode in ("graph", "compile_graph"):
        with pytest.raises(InputError, match=f"mode {mode} records CUDA graphs and the device is cpu"):
            check_mode(mode, CPU)
        check_mode(mode, CUDA)
    for missing in (True, False):
        monkeypatch.setattr(modes, "has_triton", lambda missing=missing: not missing)
        monkeypatch.setattr(modes, "has_compiler", lambda missing=missing: not missing)
        for mode, device, needs in (("kernels", CUDA, "the package triton"), ("compile", CPU, r"a C\+\+ compiler")):
            if missing:
                with pytest.raises(InputError, match=f"mode {mode} needs {needs}"):
                    check_mode(mode, device)
            else:
                check_mode(mode, device)
        for mode, device in (("kernels", CPU), ("compile", CUDA), ("eager", CPU), ("eager", CUDA)):
            check_mode(mode, device)


def test_kernels_suit_16_bits_heads_of_a_power_of_two_and_widths_of_whole_tiles():
    config = small_config("pi05")
    language = replace(config.language, head_dim=32)
    expert = replace(config.expert, head_dim=32, width=64, mlp=128)  # 4 heads of 32
    good = replace(config, language=language, expert=expert)
    for dtype, suits in ((torch.bfloat16, True), (torch.float16, True), (torch.float32, False)):
        assert suits_kernels(good, dtype) is suits
    for part in ({"width": 96}, {"mlp": 130}):
        assert not suits_kernels(replace(good, expert=replace(expert, **part)), torch.bfloat16)
    for dim, suits in ((16, False), (64, True), (48, False)):
        other = replace(good, language=replace(language, head_dim=dim), expert=replace(expert, head_dim=dim))
        assert suits_kernels(other, torch.bfloat16) is suits
    three = replace(good, language=replace(language, heads=3, kv_heads=1), expert=replace(expert, heads=3, kv_heads=1))
    assert not suits_kernels(three, torch.bfloat16)  # 96 rows
    assert not suits_kernels(small_config("pi0_fast"), torch.bfloat16)
