"""The MLPs in 8 bits on their own: scales by the largest number seen of either sign, and products near the whole ones."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from pi0_ros.model.fused import plain
from pi0_ros.model.fused.narrow import NarrowMlp, measure, narrow


def layer(seed, width=16, hidden=32):
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2 * hidden, width, generator=generator) / width**0.5
    down = torch.randn(width, hidden, generator=generator) / hidden**0.5
    both[3, 2], down[1, 4] = -2.5, -1.5  # the largest are below 0
    return SimpleNamespace(
        mlp=SimpleNamespace(both=SimpleNamespace(weight=both)), down=SimpleNamespace(weight=down), narrow=None
    )


def inputs(sign):
    """Three rows; the largest number after the norm has this sign."""
    x = torch.linspace(-1.0, 1.5, 48).reshape(3, 16)
    x[1, 4] = sign * 9.0
    return x


def whole(own, x):
    """Into the first product, into the second, and the answer, written out."""
    y = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    gate, up = (y @ own.mlp.both.weight.T).chunk(2, dim=-1)
    between = F.gelu(gate, approximate="tanh") * up
    return y, between, between @ own.down.weight.T


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_scales_are_twice_the_largest_number_of_either_sign_over_what_fits(sign):
    layers, found = [layer(1), layer(2)], []
    sent = (inputs(0.1), inputs(sign), torch.ones(1, 16))

    def run():
        for x in sent:
            found.append([own.narrow(plain, x) for own in layers])

    scales = measure(layers, run)
    for own, mine in zip(layers, scales, strict=True):
        assert own.narrow is None
        seen = [whole(own, x) for x in sent]
        for which in (0, 1):
            largest = max(s[which].abs().max().item() for s in seen)
            assert mine[which] == pytest.approx(largest * 2.0 / 448.0, rel=1e-4)
    for answers, x in zip(found, sent, strict=True):
        for own, answer in zip(layers, answers, strict=True):
            assert torch.allclose(answer, whole(own, x)[2], atol=1e-4)


def test_layers_are_whole_again_after_a_run_that_fails():
    layers = [layer(1), layer(2)]

    def run():
        assert all(own.narrow is not None for own in layers)
        raise KeyError("no observation")

    with pytest.raises(KeyError):
        measure(layers, run)
    assert [own.narrow for own in layers] == [None, None]


def test_nothing_seen_gives_the_smallest_scale():
    assert measure([layer(1)], lambda: None) == [pytest.approx((2e-6 / 448.0,) * 2)]


def test_the_narrow_mlp_is_near_the_whole_one_by_the_layers_own_scales():
    layers, x = [layer(1), layer(2)], inputs(-1.0)
    scales = measure(layers, lambda: [own.narrow(plain, x) for own in layers])
    narrow(layers, scales)
    for own, mine in zip(layers, scales, strict=True):
        assert isinstance(own.narrow, NarrowMlp) and own.narrow.scales == mine
        right = whole(own, x)[2]
        assert (own.narrow(plain, x) - right).abs().max() < 0.1 * right.abs().max()
        assert own.narrow.both.weight.float().abs().max() == own.narrow.down.weight.float().abs().max() == 448.0
