"""Cats and dogs before they are pictures: limbs, lights, places, and that nothing but the anatomy knows the kind."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from course_utils.data.samples import dogscats

FUR, POINT, PROP = (dogscats.PAINTS.index(name) for name in ("fur", "point", "prop"))


def seeded(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture
def same_seed(monkeypatch):
    """All drawings start from one seed, whatever they ask for."""

    def start(seed: int) -> None:
        monkeypatch.setattr(np.random, "default_rng", lambda _: seeded(seed))

    return start


@pytest.fixture
def uncooked(monkeypatch):
    """draw gives the scene, (height, width, 3) floats, not what a camera makes of it."""
    monkeypatch.setattr(dogscats, "photo", lambda rng, scene: scene)


# Anatomy


@pytest.mark.parametrize("kind", dogscats.KINDS)
def test_a_head_has_the_limbs_of_its_kind_on_both_sides(kind):
    seen = Counter()
    for seed in range(100):
        limbs = dogscats.head(seeded(seed), kind)
        one_side, other_side = limbs[::2], limbs[1::2]
        for left, right in zip(one_side, other_side, strict=True):
            assert left.paint == right.paint
            np.testing.assert_array_equal(left.balls, right.balls * (-1, 1, 1, 1))
        drawn = [(dogscats.PAINTS[paint], balls.tolist()) for paint, balls in one_side]
        parts = [(part["paint"], part["balls"]) for part in dogscats.ANATOMY["heads"][kind]]
        assert drawn[: len(parts)] == parts
        shapes = dogscats.ANATOMY["ears"].items()
        [ears] = [name for name, shape in shapes if drawn[len(parts) :] == [(p["paint"], p["balls"]) for p in shape]]
        seen[ears] += 1
    common, rare = {"cat": ("pointed", "pendant"), "dog": ("pendant", "pointed")}[kind]
    assert seen[common] > 75
    assert seen[rare] < 10
    assert seen["folded"] > 0


def test_cats_have_whiskers_and_slits_and_dogs_a_long_muzzle():
    """By the places of the balls in the tables: what a viewer knows of the two."""

    def balls(kind, paint):
        found = [part["balls"] for part in dogscats.ANATOMY["heads"][kind] if part["paint"] == paint]
        return np.concatenate(found)

    assert balls("cat", "white")[:, 0].max() > 1  # beyond the head
    assert balls("dog", "white")[:, 0].max() < 1
    assert balls("dog", "point")[:, 2].max() > balls("cat", "point")[:, 2].max() + 0.4  # nearer to the viewer
    ears = {name: np.concatenate([p["balls"] for p in shape]) for name, shape in dogscats.ANATOMY["ears"].items()}
    assert ears["pointed"][:, 1].min() < -1.4  # upwards
    assert ears["pendant"][:, 1].max() > 0.4


def test_a_body_has_a_torso_four_legs_with_paws_and_a_tail():
    torsos, tails = Counter(), []
    for seed in range(100):
        limbs = dogscats.body(seeded(seed))
        *sides, tail = limbs
        torso = sides[0].balls
        torsos[str(torso.tolist())] += 1
        legs = [one for one in sides[2:] if one.paint == FUR]
        paws = [one for one in sides if one.paint == POINT]
        assert len(legs) == len(paws) == 4
        for leg, paw in zip(legs, paws, strict=True):
            np.testing.assert_array_equal(paw.balls[0], leg.balls[-1])
            assert paw.balls[1, 2] > paw.balls[0, 2]  # forward
        np.testing.assert_allclose(tail.balls[0, :3], torso[-1, :3])
        tails.append(tail.balls[-1, :3] - tail.balls[0, :3])
    assert len(torsos) == 3  # sitting, standing, lying
    assert min(torsos.values()) > 20
    assert np.ptp(tails, axis=0).min() > 1


# Nothing else tells the kind


def test_with_one_anatomy_cats_and_dogs_are_the_same_pictures(monkeypatch, same_seed):
    """To the last bit, camera and all: no light, size, coat or place knows the kind. With their own, they differ."""
    differing = []
    for seed in range(2):
        same_seed(seed)
        cat, dog = (np.asarray(dogscats.draw("train", kind, 0)) for kind in dogscats.KINDS)
        differing.append((abs(cat.astype(int) - dog).max(2) > 20).mean())
    assert min(differing) > 0.002
    for table in (dogscats.HEADS, dogscats.EAR_ODDS, dogscats.IRISES):
        monkeypatch.setitem(table, "dog", table["cat"])
    for seed in range(2):
        same_seed(seed)
        cat, dog = (np.asarray(dogscats.draw("train", kind, 0)) for kind in dogscats.KINDS)
        assert (cat == dog).all()


@pytest.fixture(scope="module")
def shown():
    """(limbs in pixels, size of the rough skin, light) of 200 drawings, which end before anything is rendered."""

    class Stop(Exception):
        pass

    found = []

    def spy(limbs, rough, light):
        found.append((limbs, rough.shape, np.array(light)))
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dogscats, "render", spy)
        for i in range(200):
            with pytest.raises(Stop):
                dogscats.draw("train", dogscats.KINDS[i % 2], i // 2)
    return found


def test_light_comes_from_above_and_from_either_side(shown):
    x, y, z = np.array([light for _, _, light in shown]).T
    assert len(set(x)) == len(set(y)) == 200
    assert (y < 0).all()
    assert (z > 0).all()
    assert 0.4 < (x < 0).mean() < 0.6
    assert x.std() > 0.3


def test_animals_are_near_or_whole_and_some_have_something_beside_them(shown):
    """The radius of the head beside the picture, from a sixth to a third; 40 % have a thing behind them."""
    radius = [limbs[0].balls[0, 3] / min(shape) for limbs, shape, _ in shown]
    assert np.quantile(radius, 0.05) < 0.19
    assert np.quantile(radius, 0.95) > 0.27
    depths = [[one.balls[0, 2] for one in limbs if one.paint == PROP] for limbs, _, _ in shown]
    behind, before = (np.mean([any(sign * z > 1000 for z in d) for d in depths]) for sign in (-1, 1))
    assert 0.3 < behind < 0.5
    assert 0.04 < before < 0.2


def test_most_animals_look_at_the_viewer(shown):
    """The nose is nearer than the middle of the head, for all but the few that look away."""
    nose = dogscats.PAINTS.index("nose")
    ahead = [next(b for p, b in limbs if p == nose)[0, 2] - limbs[0].balls[0, 2] for limbs, _, _ in shown]
    assert 0.9 < np.mean(np.array(ahead) > 0) < 1


# The place


def test_the_place_is_seen_around_the_animal_and_darker_beside_it(monkeypatch, uncooked):
    """With a scenery of one colour: where no animal is, that colour, and its shadow."""
    colour = np.array((0.2, 0.5, 0.8))
    monkeypatch.setattr(dogscats, "scenery", lambda rng, size: np.tile(colour, (size[1], size[0], 1)))
    shares, darkest = [], []
    for i in range(6):
        scene = dogscats.draw("train", "dog", i)
        brightness = scene / colour
        is_ground = np.ptp(brightness, axis=2) < 1e-6
        shares.append((is_ground & (brightness[..., 0] > 0.99)).mean())
        darkest.append(brightness[is_ground].min())
    assert np.max(shares) > 0.3
    assert np.mean(shares) > 0.1
    assert 0.35 < np.median(darkest) < 0.8


def test_an_animal_is_lit_from_where_the_light_is(monkeypatch, uncooked, same_seed):
    """The same animal in a light from the left and from the right: one side brighter, then the other."""
    render, difference = dogscats.render, []
    for x in (-0.6, 0.6):
        same_seed(4)
        monkeypatch.setattr(dogscats, "render", lambda limbs, rough, _, x=x: render(limbs, rough, (x, -0.3, 0.7)))
        difference.append(dogscats.draw("train", "cat", 0))
    left, right = difference
    changed = abs(left - right).max(2) > 0.02
    columns = np.flatnonzero(changed.any(0))
    middle = (columns[0] + columns[-1]) // 2
    assert changed.mean() > 0.1
    assert (left - right)[:, :middle].mean() > 0 > (left - right)[:, middle:].mean()


# Files


def test_each_file_is_the_drawing_that_its_name_says(monkeypatch, tmp_path):
    """`draw` put down as a picture of one pixel: split, kind and number as its colour."""
    splits, kinds = ("train", "valid", "test1"), dogscats.KINDS

    def note(split, kind, index):
        return Image.new("RGB", (8, 8), (80 * splits.index(split), 200 * kinds.index(kind), index))

    monkeypatch.setattr(dogscats, "draw", note)
    dogscats.build(tmp_path)
    hidden = []
    for path in tmp_path.rglob("*.jpg"):
        with Image.open(path) as image:
            split, kind, index = image.getpixel((4, 4))
        parts = path.relative_to(tmp_path).parts
        assert abs(split - 80 * splits.index(parts[0])) < 10
        assert abs(index - int(path.name.split(".")[-2])) < 4
        if parts[0] == "test1":
            hidden.append((int(path.stem), kinds[kind > 100]))
        else:
            assert path.name.split(".")[0] == parts[1].removesuffix("s") == kinds[kind > 100]
    order = [kind for _, kind in sorted(hidden)]
    assert Counter(order) == {"cat": 10, "dog": 10}
    changes = sum(a != b for a, b in pairwise(order))
    assert 3 < changes < 16  # neither one after the other nor in turns
