"""Pictures are deterministic, and what a scene says can be seen in them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from maquette.embedded.canvas import mixed
from maquette.embedded.render import render
from maquette.embedded.scene import Scene, face_at, held_out_face, held_out_subject, scene_at, subject_at, with_scene
from maquette.embedded.vocabulary import COLOURS, HELD_OUT_KINDS, HELD_OUT_STYLES, KINDS, PLACES, STYLES
from maquette.errors import ConfigError


def pixels(scene: Scene, size: int = 64) -> np.ndarray:
    return np.asarray(render(scene, size), dtype=np.float32)


def plain_object(kind: str, colour: str) -> Scene:
    subject = replace(
        held_out_subject(0), kind=kind, colour=colour, rgb=COLOURS[colour], second_rgb=(128, 128, 128), pattern="plain"
    )
    return with_scene(subject, 3, place="plain", style="photo")


def repainted(scene: Scene, rgb: tuple[int, int, int]) -> Scene:
    return replace(scene, subject=replace(scene.subject, rgb=rgb))


def painted_area(kind: str) -> np.ndarray:
    """Where the picture changes with the object's main colour."""
    scene = plain_object(kind, "red")
    difference = pixels(repainted(scene, (255, 255, 255))) - pixels(repainted(scene, (0, 0, 0)))
    return np.abs(difference).max(axis=2) > 60


@pytest.mark.parametrize("style", [*STYLES, *HELD_OUT_STYLES])
def test_the_same_scene_gives_the_same_bytes_in_every_style(style):
    for subject in (held_out_subject(4), held_out_face(4)):
        scene = with_scene(subject, 9, style=style)
        first, second = render(scene), render(scene)
        assert (first.mode, first.size) == ("RGB", (64, 64))
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("size", [32, 128])
def test_other_sizes_show_the_same_picture(size):
    scene = with_scene(held_out_subject(1), 5, place="grass", style="line art")
    assert render(scene, size).size == (size, size)
    small = np.asarray(render(scene, size).resize((16, 16)), dtype=np.float32)
    usual = np.asarray(render(scene).resize((16, 16)), dtype=np.float32)
    # Lines are a pixel wide at every size, so brightness differs a little; another scene differs by 40 and more.
    assert np.abs(small - usual).mean() < 25


def test_what_the_world_does_not_know_is_refused_with_what_it_does():
    scene = scene_at(0, "train")
    with pytest.raises(ConfigError, match=r"size = 65.*32, 64, 128"):
        render(scene, 65)
    with pytest.raises(ConfigError, match=r"place = 'moon'.*beach.*plain"):
        render(replace(scene, place="moon"))
    with pytest.raises(ConfigError, match=r"style = 'cubism'.*photo.*low poly"):
        render(replace(scene, style="cubism"))


def test_the_main_colour_is_what_most_of_the_object_shows():
    names, table = list(COLOURS), np.array(list(COLOURS.values()))
    for kind in (*KINDS, *HELD_OUT_KINDS):
        area = painted_area(kind)
        for colour in COLOURS:
            seen = np.median(pixels(plain_object(kind, colour))[area], axis=0)
            nearest = names[int(np.linalg.norm(table - seen, axis=1).argmin())]
            assert nearest == colour, (kind, colour, seen)


def test_patterns_show_the_second_colour_and_leave_the_first_dominant():
    for kind, pattern in itertools.product(KINDS, ("striped", "dotted", "checkered")):
        plain = plain_object(kind, "yellow")
        patterned = replace(plain, subject=replace(plain.subject, pattern=pattern, second_rgb=COLOURS["blue"]))
        seen = pixels(patterned)[painted_area(kind)]
        blue = (seen[:, 2] > seen[:, 0] + 20).mean()
        assert 0.04 < blue < 0.5, (kind, pattern, blue)


def silhouette(scene: Scene) -> np.ndarray:
    """Where three quite different backdrops leave the picture as it is."""
    looks = np.stack([pixels(replace(scene, place=place)) for place in ("plain", "night", "forest")])
    return np.ptp(looks, axis=0).max(axis=2) < 8


def test_silhouettes_of_kinds_differ():
    areas = {kind: silhouette(plain_object(kind, "red")) for kind in (*KINDS, *HELD_OUT_KINDS)}
    for first, second in itertools.combinations(areas, 2):
        shared = (areas[first] & areas[second]).sum() / (areas[first] | areas[second]).sum()
        assert shared < 0.85, (first, second, shared)


def test_objects_fill_a_third_to_three_quarters_of_the_side():
    sides = []
    for key in range(150):
        rows, columns = np.nonzero(silhouette(with_scene(subject_at(key, "test"), key, style="photo")))
        sides.append((max(np.ptp(rows), np.ptp(columns)) + 1) / 64)
    assert min(sides) > 0.33
    assert max(sides) < 0.8
    assert 0.45 < np.median(sides) < 0.65


def thumbnail(scene: Scene) -> np.ndarray:
    return np.asarray(render(scene).resize((8, 8)), dtype=np.float32).ravel()


def test_places_can_be_told_from_layout_and_colour_alone():
    def scenes(place: str, keys: range) -> list[np.ndarray]:
        return [thumbnail(with_scene(subject_at(key, "test"), key, place=place, style="photo")) for key in keys]

    centres = np.stack([np.mean(scenes(place, range(25)), axis=0) for place in PLACES])
    unseen = [(number, seen) for number, place in enumerate(PLACES) for seen in scenes(place, range(100, 115))]
    right = [np.linalg.norm(centres - seen, axis=1).argmin() == number for number, seen in unseen]
    # Objects cover up to half of the picture; a nearest mean is the weakest of classifiers.
    assert np.mean(right) > 0.9


def test_no_two_styles_look_alike():
    scenes = [with_scene(subject_at(key, "test"), key) for key in range(6)]
    looks = {
        style: np.stack([pixels(replace(scene, style=style)) for scene in scenes])
        for style in (*STYLES, *HELD_OUT_STYLES)
    }
    for first, second in itertools.combinations(looks, 2):
        assert np.abs(looks[first] - looks[second]).mean() > 12, (first, second)


def test_incidental_detail_varies_with_the_seed_alone():
    scene = with_scene(held_out_subject(2), 1, place="city", style="photo")
    assert np.abs(pixels(scene) - pixels(replace(scene, seed=scene.seed + 1))).mean() > 5


def test_expression_and_shirt_change_a_face_and_glasses_are_seen():
    scene = with_scene(replace(face_at(1, "test"), glasses="none"), 1, place="plain", style="photo")
    for other in (
        replace(scene, expression="surprised" if scene.expression != "surprised" else "sad"),
        replace(scene, shirt="red" if scene.shirt != "red" else "blue"),
        replace(scene, subject=replace(scene.subject, glasses="round")),
        replace(scene, subject=replace(scene.subject, glasses="square")),
    ):
        assert (np.abs(pixels(scene) - pixels(other)).max(axis=2) > 40).sum() > 20


def test_mixed_moves_from_one_colour_to_the_other():
    assert mixed((0, 100, 200), (100, 0, 200), 0.25) == (25, 75, 200)
