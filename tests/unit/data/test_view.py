from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.data.view import (
    View,
    centre_view,
    covering_size,
    geometry,
    kept_views,
    needs_enlarging,
    random_view,
    slack,
)

sides = st.integers(1, 3000)
sizes = st.tuples(sides, sides)


@given(original=sizes, size=sizes)
def test_covering_size_covers_touches_one_side_and_keeps_the_shape(original, size):
    height, width = covering_size(original, size)
    assert height >= size[0]
    assert width >= size[1]
    assert height == size[0] or width == size[1]
    # The longer side is rounded to a pixel, or raised to what must be covered.
    scale = max(size[0] / original[0], size[1] / original[1])
    assert abs(height - original[0] * scale) <= 1
    assert abs(width - original[1] * scale) <= 1


@given(original=sizes, size=sizes, seed=st.integers(0, 1000), crop=st.booleans(), flip=st.booleans())
def test_every_view_lies_inside_the_picture(original, size, seed, crop, flip):
    height, width = covering_size(original, size)
    view = random_view(original, size, Random(seed), crop=crop, flip=flip)
    assert 0 <= view.crop[0] <= height - size[0]
    assert 0 <= view.crop[1] <= width - size[1]
    assert flip or not view.flip
    assert crop or view.crop == ((height - size[0]) // 2, (width - size[1]) // 2)


def test_a_landscape_photograph_by_hand():
    # 1000 x 1500 to 512 x 512: shrunk to 512 x 768, 256 columns too many, half of them on each side.
    assert covering_size((1000, 1500), (512, 512)) == (512, 768)
    assert slack((1000, 1500), (512, 512)) == (0, 256)
    view = centre_view((1000, 1500), (512, 512))
    assert view == View((512, 512), (0, 128), flip=False)
    assert geometry((1000, 1500), view) == (1000, 1500, 0, 128, 512, 512)


def test_random_views_reach_both_ends_and_flip_half_the_time():
    views = [random_view((64, 68), (64, 64), Random(i), crop=True, flip=True) for i in range(400)]
    assert {view.crop for view in views} == {(0, left) for left in range(5)}
    # 400 fair coins: 5 standard deviations are 50.
    assert 150 < sum(view.flip for view in views) < 250


@pytest.mark.parametrize(
    ("crop", "flip", "num", "expected"),
    [
        (False, False, 1, [View((64, 64), (0, 32), False)]),
        (False, True, 2, [View((64, 64), (0, 32), False), View((64, 64), (0, 32), True)]),
        (False, False, 8, [View((64, 64), (0, 32), False)]),
    ],
)
def test_kept_views_without_random_cuts(crop, flip, num, expected):
    assert kept_views((64, 128), (64, 64), num=num, crop=crop, flip=flip, key="k") == expected


def test_kept_views_differ_and_are_the_same_every_time():
    views = kept_views((64, 640), (64, 64), num=8, crop=True, flip=True, key="k")
    assert len({view.crop for view in views}) >= 6
    assert sum(view.flip for view in views) == 4
    assert views == kept_views((64, 640), (64, 64), num=8, crop=True, flip=True, key="k")
    assert views != kept_views((64, 640), (64, 64), num=8, crop=True, flip=True, key="another picture")


def test_a_picture_that_fits_exactly_is_kept_once():
    assert len(kept_views((64, 64), (64, 64), num=8, crop=True, flip=False, key="k")) == 1


@pytest.mark.parametrize(
    ("original", "expected"), [((64, 64), False), ((63, 100), True), ((100, 63), True), ((65, 65), False)]
)
def test_needs_enlarging(original, expected):
    assert needs_enlarging(original, (64, 64)) is expected
