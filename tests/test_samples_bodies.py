"""What the drawn samples are drawn with: limbs against geometry, textures and the camera by their properties."""

import numpy as np
import pytest

from course_utils.data.samples import bodies, drawing

LIGHT = (0.3, -0.5, 0.8)


def smooth(width: int = 60, height: int = 40) -> np.ndarray:
    return np.ones((height, width), np.float32)


def test_a_ball_is_a_ball():
    """Depth and light by the equation of a sphere; nothing elsewhere."""
    x0, y0, z0, radius = 25, 18, 7, 11
    surface = bodies.render([bodies.limb(3, (x0, y0, z0, radius))], smooth(), LIGHT)
    y, x = np.mgrid[:40, :60]
    rise = np.sqrt(np.maximum(radius**2 - (x - x0) ** 2 - (y - y0) ** 2, 0))
    there = rise > 0
    normal = np.stack([x - x0, y - y0, rise], 2) / radius
    np.testing.assert_allclose(surface.depth[there], (z0 + rise)[there], rtol=1e-5)
    np.testing.assert_allclose(surface.shade[there], (normal @ LIGHT)[there], atol=1e-5)
    assert (surface.paint == 3 * there).all()
    assert (surface.depth[~there] == -np.inf).all()


def test_skin_is_stretched_from_ball_to_ball():
    """Of balls at one depth all places nearer to the way between them than the radius there."""
    ends = np.array([(12, 10, 5, 4), (45, 30, 5, 8)], float)
    surface = bodies.render([bodies.limb(1, *ends)], smooth(), LIGHT)
    way = ends[0] + np.linspace(0, 1, 2001)[:, None] * (ends[1] - ends[0])
    y, x = np.mgrid[:40, :60]
    away = np.hypot(x[..., None] - way[:, 0], y[..., None] - way[:, 1])
    # The skin is that of the ball whose centre is nearest in the picture
    nearest = away.argmin(2)
    inside = away.min(2) < way[nearest, 3]
    assert ((surface.depth > -np.inf) != inside).mean() < 0.001
    assert inside.mean() > 0.1


def test_a_limb_that_points_at_the_viewer_shows_its_nearest_ball():
    balls = [(30, 20, 0, 10), (30, 20, 25, 6)]
    for order in (balls, balls[::-1]):
        surface = bodies.render([bodies.limb(1, *order)], smooth(), LIGHT)
        assert surface.depth[20, 30] == pytest.approx(25 + 6, abs=0.01)
        assert surface.depth[20, 38] == pytest.approx(6, abs=0.01)  # of the large ball behind: the root of 100 - 64


def test_what_is_nearer_hides_the_rest_in_any_order():
    near, far = bodies.limb(1, (30, 20, 20, 6)), bodies.limb(2, (26, 20, 0, 12))
    for limbs in ([near, far], [far, near]):
        paint = bodies.render(limbs, smooth(), LIGHT).paint
        assert (paint[20, 30], paint[20, 17], paint[20, 50]) == (1, 2, 0)


def test_a_rough_skin_swells_where_it_says():
    ball = [bodies.limb(1, (30, 20, 0, 10))]
    rough = smooth()
    rough[:, 30:] = 1.15
    there = bodies.render(ball, rough, LIGHT).depth[20] > -np.inf
    assert np.flatnonzero(there).tolist() == [*range(21, 42)]  # 10 to the left, 11.5 to the right


def test_thin_hairs_stay_whole():
    hair = [bodies.limb(1, (5, 5.5, 0, 0.01), (50, 33.5, 0, 0.01))]
    there = bodies.render(hair, smooth(), LIGHT).depth > -np.inf
    assert there[:, 6:50].any(0).all()


@pytest.mark.parametrize(
    ("angles", "place", "expected"),
    [
        ((90, 0, 0), (0, 0, 1), (1, 0, 0)),  # what looked at the viewer looks to the right
        ((0, 90, 0), (0, 0, 1), (0, 1, 0)),  # nods: it looks down
        ((0, 0, 90), (1, 0, 0), (0, 1, 0)),  # tilts: the right ear is below
        ((90, 90, 0), (1, 0, 0), (0, -1, 0)),  # the turn comes first, then the nod
    ],
)
def test_a_turn_a_nod_a_tilt(angles, place, expected):
    turn = bodies.rotation(*angles)
    np.testing.assert_allclose(turn @ place, expected, atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_moved_turns_places_and_scales_radii():
    limbs = [bodies.limb(2, (1, 2, 3, 4), (0, 0, 1, 0.5))]
    moved = bodies.moved(limbs, bodies.rotation(90, 0, 0), scale=2, shift=(10, 20, 30))
    assert moved[0].paint == 2
    np.testing.assert_allclose(moved[0].balls, [(16, 24, 28, 8), (12, 20, 30, 1)], atol=1e-12)
    np.testing.assert_array_equal(limbs[0].balls, [(1, 2, 3, 4), (0, 0, 1, 0.5)])  # as it was


# Textures


def test_halve_is_the_mean_of_four_pixels():
    field = np.random.default_rng(0).random((6, 10, 3))
    np.testing.assert_allclose(drawing.halve(field), field.reshape(3, 2, 5, 2, 3).mean((1, 3)))


def test_noise_has_structures_of_the_size_of_a_cell():
    """Neighbours at half a cell are alike, those at two cells are not: in either direction, wide cells or high ones."""
    rng = np.random.default_rng(0)

    def likeness(field, distance, axis):
        field = np.swapaxes(field, 0, axis)
        return np.corrcoef(field[distance:].ravel(), field[:-distance].ravel())[0, 1]

    for wide, high in ((40, 10), (10, 40)):
        field = drawing.noise(rng, (800, 600), wide, high)
        assert field.shape == (600, 800)
        assert field.dtype == np.float32
        assert abs(field.mean()) < 0.1
        assert min(likeness(field, wide // 4, 1), likeness(field, high // 4, 0)) > 0.7
        assert max(abs(likeness(field, 2 * wide, 1)), abs(likeness(field, 2 * high, 0))) < 0.3


def test_soft_blurs_and_keeps_what_is_plain():
    plain = np.full((40, 60), 0.3, np.float32)
    np.testing.assert_allclose(drawing.soft(plain, 5), plain, rtol=1e-5)
    spot = np.zeros((40, 60), np.float32)
    spot[20, 30] = 1
    blurred = drawing.soft(spot, 6)
    assert 0 < blurred.max() < 0.1
    assert (blurred > 0.001).sum() > 36


def test_palette_reads_hexadecimal_colours():
    np.testing.assert_allclose(drawing.palette("ff0000 336699"), [(1, 0, 0), (0.2, 0.4, 0.6)], rtol=1e-6)


def test_painted_covers_what_is_inside_and_half_of_the_edge():
    scene = np.zeros((10, 20, 3), np.float32)
    depth = np.tile((np.arange(20) - 8) / 10, (10, 1))  # in heights: 0 at column 8
    made = drawing.painted(scene, depth, np.array((1, 0.5, 0)))
    assert made[:, :8].max() == 0
    np.testing.assert_allclose(made[:, 8], np.tile((0.5, 0.25, 0), (10, 1)))
    np.testing.assert_allclose(made[:, 9:], np.broadcast_to((1, 0.5, 0), (10, 11, 3)))
    assert scene.max() == 0  # as it was


def test_places_differ_in_colour_and_most_have_a_structure():
    scenes = [drawing.scenery(np.random.default_rng(seed), (60, 48)) for seed in range(40)]
    assert {scene.shape for scene in scenes} == {(48, 60, 3)}
    means = np.array([scene.mean((0, 1)) for scene in scenes])
    assert means.std(0).min() > 0.08
    above_below = np.array([abs(scene[:8].mean((0, 1)) - scene[-8:].mean((0, 1))).max() for scene in scenes])
    assert (above_below > 0.1).mean() > 0.4  # a floor
    assert means.min() > 0
    assert means.max() < 1.2


def test_a_camera_adds_grain_and_light_of_its_own():
    scene = np.full((60, 80, 3), 0.5)
    shots = [np.asarray(drawing.photo(np.random.default_rng(seed), scene), float) / 255 for seed in range(40)]
    fine = np.array([np.diff(shot, axis=1).std() for shot in shots]) / np.sqrt(2)  # one pixel against the next
    assert 0.003 < np.median(fine) < 0.035
    assert fine.min() > 0.0005
    means = np.array([shot.mean((0, 1)) for shot in shots])
    assert 0.03 < means.mean(1).std() < 0.2  # exposure
    assert 0.005 < np.median(means.std(1)) < 0.1  # colour cast
    coarse = np.array([shot[:20].mean() - shot[-20:].mean() for shot in shots])
    assert coarse.std() > 0.02  # light from one side
