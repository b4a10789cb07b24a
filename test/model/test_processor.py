"""What a processor computes well is read from what Linux says of it."""

from pathlib import Path

import pytest
import torch

from pi0_ros.model import processor
from pi0_ros.model.processor import better_in_float32, bfloat16_in

ZEN_4 = "processor\t: 0\nflags\t\t: fpu fma avx2 avx512f avx512_bf16 sha_ni\nbugs\t\t: spectre_v1\n"
ZEN_3 = "processor\t: 0\nflags\t\t: fpu fma avx2 f16c sha_ni\nbugs\t\t: spectre_v1\n"


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        (ZEN_4, True),
        (ZEN_3, False),
        ("flags\t\t: avx512f avx512_vnni amx_bf16 amx_tile\n", True),  # Sapphire Rapids
        ("flags\t\t: avx512f avx512_vnni\n", False),  # Cascade Lake
        ("Features\t: fp asimd i8mm bf16 sve\nCPU implementer\t: 0x41\n", True),  # Neoverse V1, Cortex-A78AE has none
        ("Features\t: fp asimd asimddp\n", False),
        ("model name\t: bf16 avx512_bf16\nflags\t\t: fpu\n", False),
        ("", False),
    ],
)
def test_instructions_for_bfloat16_are_found_among_the_flags_of_a_processor(cpuinfo, found):
    assert bfloat16_in(cpuinfo) is found


def network(dtype):
    made = torch.nn.Linear(10, 20, bias=False, dtype=dtype)  # 200 weights: 800 bytes in float32
    made.frozen = torch.nn.Parameter(torch.ones(1000, dtype=torch.float32))
    return made


@pytest.mark.parametrize(
    ("dtype", "device", "native", "free", "wide"),
    [
        (torch.bfloat16, "cpu", False, 1600, True),
        (torch.bfloat16, "cpu", False, 1599, False),
        (torch.bfloat16, "cpu", False, None, True),
        (torch.bfloat16, "cpu", True, 1600, False),
        (torch.bfloat16, "cuda:1", False, 1600, False),
        (torch.float32, "cpu", False, 1600, False),
    ],
)
def test_weights_in_bfloat16_are_widened_on_a_processor_without_it_if_there_is_room(
    monkeypatch, dtype, device, native, free, wide
):
    monkeypatch.setattr(processor, "has_bfloat16", lambda: native)
    monkeypatch.setattr(processor, "available_memory", lambda: free)
    assert better_in_float32(network(dtype), device) is wide


@pytest.mark.parametrize(("text", "found"), [(ZEN_4, True), (ZEN_3, False), (None, False)])
def test_this_processor_is_asked_once(monkeypatch, tmp_path, text, found):
    file = tmp_path / "cpuinfo"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(processor, "Path", lambda name: file if name == "/proc/cpuinfo" else Path(name))
    processor.has_bfloat16.cache_clear()
    try:
        assert processor.has_bfloat16() is found
        file.write_text(ZEN_3 if found else ZEN_4)
        assert processor.has_bfloat16() is found
    finally:
        processor.has_bfloat16.cache_clear()
