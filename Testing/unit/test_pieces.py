"""What hangs together, and how large it must be."""

from __future__ import annotations

import numpy as np

from lungperfusion.morphology import pieces
from lungperfusion.volume import Geometry


def grid(*shape: int) -> Geometry:
    """Voxels of 0.3 mL."""
    return Geometry(shape, np.diag([5.0, 6.0, 10.0, 1.0]))


def test_largest_comes_first_and_the_smallest_volume_counts():
    mask = np.zeros((1, 5, 9), np.bool_)
    mask[0, 0, :2] = mask[0, 2, :4] = mask[0, 4, :3] = True
    found = pieces(mask, grid(*mask.shape), at_least_ml=0.9)
    assert [int((found == n).sum()) for n in (1, 2, 3)] == [4, 3, 0]
    assert found[0, 2, 0] == 1


def test_volume_on_the_limit_is_kept():
    mask = np.zeros((1, 1, 5), np.bool_)
    mask[0, 0, :3] = True
    assert pieces(mask, grid(1, 1, 5), at_least_ml=0.9).max() == 1  # 3 x 0.3 mL, in floating point
    assert pieces(mask, grid(1, 1, 5), at_least_ml=0.91).max() == 0


def test_corners_hold_together_only_if_asked():
    mask = np.zeros((1, 2, 2), np.bool_)
    mask[0, 0, 0] = mask[0, 1, 1] = True
    assert pieces(mask, grid(1, 2, 2)).max() == 2
    assert pieces(mask, grid(1, 2, 2), corners=True).max() == 1


def test_equal_pieces_come_in_array_order_wherever_they_lie():
    mask = np.zeros((4, 6, 7), np.bool_)
    mask[1, 4, 2:4] = mask[2, 1, 5:7] = mask[3, 3, 1] = True
    found = pieces(mask, grid(*mask.shape))
    assert (found[1, 4, 2], found[2, 1, 5], found[3, 3, 1]) == (1, 2, 3)
    assert np.count_nonzero(found) == 5


def test_nothing_has_no_piece():
    assert pieces(np.zeros((2, 3, 4), np.bool_), grid(2, 3, 4)).max() == 0
