import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.data.buckets import bucket_sizes, fitted, fixed_size, nearest_size, share_lost, size_findings
from maquette.data.sample import Sample, Scan
from maquette.errors import ConfigError, DataError

multiples = st.sampled_from([4, 8, 16, 32, 64])


def sample(name: str, size: tuple[int, int]) -> Sample:
    return Sample(name, "a caption", size, digest=name)


@given(multiple=multiples, times=st.integers(4, 32))
def test_sizes_are_multiples_of_equal_area_and_symmetric(multiple, times):
    resolution = multiple * times
    sizes = bucket_sizes(resolution, multiple)
    assert (resolution, resolution) in sizes
    for height, width in sizes:
        assert height % multiple == width % multiple == 0
        assert (width, height) in sizes
        assert height * width <= resolution**2
        # One step of the longer side is all that rounding down may lose.
        assert height * width > resolution**2 - multiple * min(height, width)
        assert 1 / 4 <= height / width <= 4


def test_sdxl_sizes_are_the_published_ones():
    # Podell et al. 2023 (arXiv 2307.01952), appendix I, the rows between 1:2 and 2:1 (height, width).
    published = {(704, 1408), (704, 1344), (768, 1344), (768, 1280), (832, 1216), (832, 1152), (896, 1152), (896, 1088)}
    published |= {(960, 1088), (960, 1024), (1024, 1024)}
    ours = {size for size in bucket_sizes(1024, 64) if size[0] <= size[1] <= 2 * size[0]}
    assert ours <= published
    assert {(768, 1344), (832, 1216), (896, 1152), (960, 1088), (1024, 1024)} <= ours


@given(original=st.tuples(st.integers(16, 4000), st.integers(16, 4000)))
def test_nearest_size_has_the_nearest_aspect(original):
    sizes = bucket_sizes(512, 8)
    chosen = nearest_size(original, sizes)
    aspect = math.log(original[0] / original[1])
    best = min(abs(math.log(h / w) - aspect) for h, w in sizes)
    assert math.isclose(abs(math.log(chosen[0] / chosen[1]) - aspect), best, abs_tol=1e-9)


def test_of_equally_near_sizes_the_choice_does_not_depend_on_their_order():
    sizes = [(64, 128), (128, 64), (32, 64)]
    assert nearest_size((10, 10), sizes) == nearest_size((10, 10), sizes[::-1]) == (128, 64)


def test_resolution_and_size_that_do_not_fit_the_base():
    with pytest.raises(ConfigError, match="500 is not a multiple of 8; use 496 or 504"):
        bucket_sizes(500, 8)
    with pytest.raises(ConfigError, match="multiples of 16"):
        fixed_size((64, 72), 16)
    assert fixed_size((64, 72), 8) == ((64, 72),)


def test_small_pictures_are_all_named_and_refused_unless_enlarging_is_allowed():
    scan = Scan((sample("a", (300, 300)), sample("b", (600, 600)), sample("c", (511, 513))))
    with pytest.raises(DataError, match=r"2: a \(300x300 for 512x512\), c \(511x513 for 512x512\)"):
        fitted(scan, [(512, 512)], upscale=False).usable()
    allowed = fitted(scan, [(512, 512)], upscale=True)
    assert len(allowed.usable()) == 3
    assert len(allowed.warnings()) == 1


def test_pictures_that_lose_much_are_named():
    assert share_lost((100, 300), (64, 64)) == pytest.approx(2 / 3)
    (finding,) = size_findings([sample("wide", (100, 300))], [(64, 64)], upscale=False)
    assert (finding.kind, finding.level) == ("cropped", "warning")
    assert finding.names == ("wide (67% of 100x300)",)
