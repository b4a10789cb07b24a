"""Examples of several sources as one batch: every row keeps what is its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from pi0_ros.model import FAST, PROMPT, TEXT, Inputs
from pi0_ros.train.batching import joined_examples, joined_inputs
from pi0_ros.train.examples import Examples

ONE = [[11, 12, 13], [14, 15, 16]]
OTHER = [[21, 22, 23, 24, 25]]


def part(ids, shades, roles, dims, there=None) -> Examples:
    """A row for each list of ids, whose numbers all differ. shades: of the first camera's and the second's pictures, None without."""
    tokens = torch.tensor(ids)
    rows = len(ids)
    images = [None if shade is None else torch.full((rows, 3, 2, 2), shade) for shade in shades]
    masks = [torch.ones(rows, dtype=torch.bool) if there is None else torch.tensor(there)] * len(shades)
    inputs = Inputs(images, masks, tokens, tokens % 2 == 0, None, None if roles is None else torch.tensor(roles))
    actions = tokens[:, :2].float()[:, None].expand(-1, 3, -1) / 100
    return Examples(inputs, tokens % 3 == 0, actions, tokens[:, 0] % 10, tuple(f"row {i[0]}" for i in ids), dims)


def both() -> tuple[Examples, Examples]:
    one = part(ONE, (0.5, None), [[PROMPT, TEXT, FAST], [PROMPT, PROMPT, TEXT]], 4, [True, False])
    return one, part(OTHER, (0.25, -0.75), [[PROMPT, FAST, TEXT, TEXT, TEXT]], 6)


def test_rows_lie_behind_one_another_with_their_texts_padded_behind():
    found = joined_examples(both())
    assert found.inputs.tokens.tolist() == [[*ONE[0], 0, 0], [*ONE[1], 0, 0], OTHER[0]]
    assert found.inputs.token_mask.tolist() == [
        [False, True, False, False, False],
        [True, False, True, False, False],
        [False, True, False, True, False],
    ]
    assert found.counts.tolist() == [
        [False, True, False, False, False],
        [False, True, False, False, False],
        [True, False, False, True, False],
    ]
    assert found.inputs.roles.tolist() == [
        [PROMPT, TEXT, FAST, PROMPT, PROMPT],
        [PROMPT, PROMPT, TEXT, PROMPT, PROMPT],
        [PROMPT, FAST, TEXT, TEXT, TEXT],
    ]
    assert found.actions[:, 0].tolist() == [pytest.approx(row) for row in ([0.11, 0.12], [0.14, 0.15], [0.21, 0.22])]
    assert found.valid.tolist() == [1, 4, 1] and found.rows == ("row 11", "row 14", "row 21")
    assert found.dims.tolist() == [4, 4, 6]
    turned = joined_examples(both()[::-1])
    assert turned.inputs.tokens.tolist() == [OTHER[0], [*ONE[0], 0, 0], [*ONE[1], 0, 0]]
    assert turned.dims.tolist() == [6, 4, 4] and turned.rows == ("row 21", "row 11", "row 14")


def test_a_camera_that_one_part_lacks_is_black_and_masked_there_alone_and_one_that_all_lack_is_none():
    found = joined_examples([replace(p, inputs=_with_third(p.inputs)) for p in both()]).inputs
    first, second, third = found.images
    assert [float(picture.unique()) for picture in first] == [0.5, 0.5, 0.25]
    assert [float(picture.unique()) for picture in second] == [-1.0, -1.0, -0.75]
    assert third is None and [mask.tolist() for mask in found.image_masks] == [
        [True, False, True],
        [False, False, True],
        [False, False, False],
    ]
    assert first.shape == second.shape == (3, 3, 2, 2)


def _with_third(inputs: Inputs) -> Inputs:
    """With a slot of which no part has a picture."""
    nothing = torch.zeros(len(inputs.tokens), dtype=torch.bool)
    return replace(inputs, images=[*inputs.images, None], image_masks=[*inputs.image_masks, nothing])


def test_a_part_stays_as_it_is_alone_and_what_one_of_two_lacks_both_lack():
    one, other = both()
    assert joined_examples([one]) is one
    talk = replace(other, actions=None, valid=None)
    for parts in ((one, talk), (talk, one)):
        found = joined_examples(parts)
        assert found.actions is None and found.valid is None


def test_texts_without_roles_are_prompts_and_states_are_there_if_all_have_one():
    one, other = (p.inputs for p in both())
    plain = replace(one, roles=None, state=torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    told = replace(other, state=torch.tensor([[0.5, 0.6]]))
    found = joined_inputs([plain, told], 6)
    assert found.roles.tolist() == [[PROMPT] * 6] * 2 + [[PROMPT, FAST, TEXT, TEXT, TEXT, PROMPT]]
    assert found.state.tolist() == [pytest.approx(row) for row in ([0.1, 0.2], [0.3, 0.4], [0.5, 0.6])]
    assert found.tokens.shape == (3, 6)
    assert joined_inputs([plain, other], 6).state is None and joined_inputs([one, told], 6).state is None
