"""How a picture is brought to a size: what is cut and mirrored, and how a model is told of it. Pure arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from maquette.data.sample import Size

Geometry = tuple[int, int, int, int, int, int]
"""Original height and width, rows cut above and columns cut left, height and width of what is left: SDXL's time ids."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to show a picture: shrink it until it just covers ``size``, mirror it if ``flip``, cut at ``crop``.

    crop: (rows above, columns left) cut off the shrunk and, if so, mirrored picture; always what the model sees.
    """

    size: Size
    crop: tuple[int, int] = (0, 0)
    flip: bool = False


def covering_size(original: Size, size: Size) -> Size:
    """The smallest size of the original's shape that covers ``size``; one of its sides is met exactly."""
    (height, width), (h, w) = original, size
    # Integer comparison of h / height with w / width: floats could miss the exact side by one pixel.
    if h * width >= w * height:
        return h, max(w, round(width * h / height))
    return max(h, round(height * w / width)), w


def needs_enlarging(original: Size, size: Size) -> bool:
    """Whether a picture is too small to fill ``size`` without inventing pixels."""
    return original[0] < size[0] or original[1] < size[1]


def slack(original: Size, size: Size) -> tuple[int, int]:
    """Rows and columns that do not fit and must be cut."""
    height, width = covering_size(original, size)
    return height - size[0], width - size[1]


def centre_view(original: Size, size: Size, *, flip: bool = False) -> View:
    """The middle of the picture."""
    rows, columns = slack(original, size)
    return View(size, (rows // 2, columns // 2), flip)


def random_view(original: Size, size: Size, rng: Random, *, crop: bool, flip: bool) -> View:
    """A view drawn afresh: a uniformly placed cut if ``crop``, else the middle; mirrored half the time if ``flip``."""
    mirrored = flip and rng.random() < 0.5
    if not crop:
        return centre_view(original, size, flip=mirrored)
    rows, columns = slack(original, size)
    return View(size, (rng.randint(0, rows), rng.randint(0, columns)), mirrored)


def kept_views(original: Size, size: Size, *, num: int, crop: bool, flip: bool, key: str) -> Sequence[View]:
    """The ``num`` views of a picture that are encoded once and drawn from; the first is its middle, as it is.

    key: what makes the picture's cuts its own and the same in every run, so that a cache serves all runs. With ``flip``
    every second one is mirrored. Equal ones are kept once: a picture that fits exactly has nothing to cut.
    """
    views = []
    for k in range(num):
        mirrored = flip and k % 2 == 1
        view = centre_view(original, size, flip=mirrored)
        if crop and k > int(flip):
            drawn = random_view(original, size, Random(f"view/{key}/{k}"), crop=True, flip=False)
            view = View(size, drawn.crop, mirrored)
        views.append(view)
    return list(dict.fromkeys(views))


def num_views(*, crop: bool, flip: bool) -> int:
    """How many views are worth keeping: one if nothing is random, two for a flip, eight for random cuts."""
    return 8 if crop else 2 if flip else 1


def geometry(original: Size, view: View) -> Geometry:
    """What SDXL is told of a view. Source: Podell et al. 2023 (arXiv 2307.01952) section 2.2."""
    return (*original, *view.crop, *view.size)
