import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.models import EfficientNet_V2_L_Weights, ResNet34_Weights
from torchvision.transforms.v2 import functional as TF

from course_utils.core import to_device
from course_utils.transforms import (
    AddPadding,
    CropType,
    RandomDihedral,
    RandomFlip,
    RandomLighting,
    RandomRotate,
    RandomScale,
    Transforms,
    imagenet_stats,
    inception_stats,
    tfms_from_model,
    tfms_from_stats,
    transforms_basic,
    transforms_side_on,
    transforms_top_down,
)
from course_utils.vision import efficientnet_lite0, resnet34

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture(autouse=True)
def _the_same_draws_at_every_run():
    torch.manual_seed(0)


def noise(n=4, side=16):
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def augment(x, *aug):
    return Transforms(x.shape[-1], PLAIN, CropType.CENTER, aug).batch(x).cpu() * 255


# Each picture is augmented on its own, by draws that are even to both sides


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_flip_mirrors_a_share_of_the_pictures(p):
    """Each on its own: not whole batches, nor the parts that are augmented together."""
    x = RandomFlip(p).matrix(4000, 16)[:, 0, 0]
    assert set(x.tolist()) <= {-1.0, 1.0}
    assert (x == -1).float().mean() == pytest.approx(p, abs=0.03)
    parts = (x.view(-1, 8) == -1).float().mean(1)  # of 8 pictures, how many are mirrored
    assert parts.std() == pytest.approx((p * (1 - p) / 8) ** 0.5, abs=0.03)


def test_rotation_turns_to_both_sides_and_no_farther_than_asked_for():
    matrices = RandomRotate(10, p=0.75).matrix(4000, 16)
    degrees = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    turned = degrees[degrees != 0]
    assert len(turned) / 4000 == pytest.approx(0.75, abs=0.03)
    assert len(turned.unique()) > 0.99 * len(turned)  # an angle for each picture
    assert (turned.min().item(), turned.max().item()) == pytest.approx((-10, 10), abs=0.1)
    assert turned.mean() == pytest.approx(0, abs=0.5)
    assert turned.std() == pytest.approx(20 / 12**0.5, abs=0.3)  # of an even spread over 20 degrees


def test_padding_shifts_evenly_in_both_directions_on_their_own():
    pixels = (AddPadding(3).matrix(4900, 16)[:, :2, 2] * 8).round()  # 8 pixels are half the side
    places, counts = pixels.unique(dim=0, return_counts=True)
    assert places.int().tolist() == [[x, y] for x in range(-3, 4) for y in range(-3, 4)]
    assert counts.min() > 60
    assert counts.max() < 140


def test_zoom_crops_at_any_place_left_or_right_up_or_down():
    matrices = RandomScale(1.5, p=1).matrix(4000, 16)
    room = 1 - matrices[:, 0, 0]
    x, y = (matrices[:, :2, 2] / room[:, None]).T  # -1: at the left or the top; 1: right, bottom
    for place in (x, y):
        assert place.mean() == pytest.approx(0, abs=0.05)
        assert place.std() == pytest.approx(2 / 12**0.5, abs=0.03)
    assert torch.corrcoef(torch.stack([x, y]))[0, 1].abs() < 0.06
    assert torch.equal(matrices[:, 0, 0], matrices[:, 1, 1])  # as wide as high
    assert matrices[:, 0, 0].min() == pytest.approx(1 / 1.5, abs=0.005)


def test_maps_follow_one_another():
    """A pixel that the zoom looks for is looked for by the shift in turn: nothing of either is lost."""
    zoom = Fixed([[0.5, 0, 0.25], [0, 0.5, -0.5], [0, 0, 1]])
    shift = Fixed([[1, 0, 0.125], [0, 1, 0.0625], [0, 0, 1]])
    grid = Transforms(4, PLAIN, CropType.CENTER, [shift, zoom])._grid(1).cpu()
    middles = (np.arange(4) * 2 + 1) / 4 - 1
    for i, y in enumerate(middles):
        for j, x in enumerate(middles):
            expected = [0.5 * x + 0.25 + 0.125, 0.5 * y - 0.5 + 0.0625]
            np.testing.assert_allclose(grid[0, i, j], expected, atol=1e-6)


class Fixed:
    """The same map for every picture."""

    def __init__(self, rows):
        self.rows = torch.tensor(rows)

    def matrix(self, n, sz):
        return self.rows.expand(n, 3, 3)


def test_flip_mirrors_each_picture_or_leaves_it():
    x = noise(32)
    out = augment(x, RandomFlip())
    same = [torch.allclose(a, b.float(), atol=1e-2) for a, b in zip(out, x, strict=True)]
    mirrored = [torch.allclose(a, b.flip(-1).float(), atol=1e-2) for a, b in zip(out, x, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 6 < sum(mirrored) < 26


def test_dihedral_gives_the_eight_symmetries():
    x = noise(1).expand(200, -1, -1, -1)
    out = augment(x, RandomDihedral())
    symmetries = [torch.rot90(y, k, (-2, -1)).float() for y in (x[0], x[0].flip(-1)) for k in range(4)]
    found = [next(i for i, s in enumerate(symmetries) if torch.allclose(o, s, atol=1e-2)) for o in out]
    assert set(found) == set(range(8))


def test_padding_shifts_by_whole_pixels_with_reflection():
    x = noise(50)
    out = augment(x, AddPadding(3))
    padded = torch.nn.functional.pad(x.float(), (3, 3, 3, 3), mode="reflect")
    symmetric = np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="symmetric").astype(np.float32)
    assert padded.shape == symmetric.shape
    for i, o in enumerate(out):
        crops = [symmetric[i, :, a : a + 16, b : b + 16] for a in range(7) for b in range(7)]
        assert any(np.allclose(o, c, atol=1e-2) for c in crops)


def test_rotation_equals_torchvisions():
    x = noise(1, 64)
    smooth = TF.gaussian_blur(x, [9, 9])
    torch.manual_seed(3)
    matrix = RandomRotate(10, p=1).matrix(1, 64)[0]
    degrees = torch.rad2deg(torch.atan2(matrix[1, 0], matrix[0, 0])).item()
    assert abs(degrees) <= 10
    torch.manual_seed(3)
    ours = augment(smooth, RandomRotate(10, p=1))[0]
    theirs = TF.rotate(smooth.float(), degrees, interpolation=TF.InterpolationMode.BILINEAR)[0]
    inner = slice(12, -12)
    assert (ours - theirs)[:, inner, inner].abs().max() < 0.5


def test_the_sampling_grid_is_that_of_torchs_affine_grid():
    aug = [RandomScale(1.5), AddPadding(4), *transforms_top_down]
    torch.manual_seed(5)
    grid = (tfm := Transforms(48, PLAIN, CropType.CENTER, aug))._grid(6)
    torch.manual_seed(5)
    theta = torch.eye(3)
    for t in tfm.geometry:
        theta = theta @ t.matrix(6, 48)
    expected = F.affine_grid(theta[:, :2], [6, 3, 48, 48], align_corners=False)
    torch.testing.assert_close(grid.cpu(), expected, atol=1e-6, rtol=0)


def test_zoom_keeps_the_window_inside_the_picture():
    matrices = RandomScale(1.5).matrix(500, 16)
    keep, shift = matrices[:, 0, 0], matrices[:, :2, 2].abs().max(1).values
    assert keep.min() >= 1 / 1.5 - 1e-6
    assert (shift <= 1 - keep + 1e-6).all()
    assert 0.15 < (keep == 1).float().mean() < 0.35  # one in four is left alone


def test_lighting_is_contrast_about_the_mean_and_brightness():
    """From what comes out, each picture's gain and offset are solved for; they keep to their bounds."""
    x = 0.3 + 0.4 * torch.rand(200, 3, 8, 8)  # in the middle: nothing is clipped
    out = RandomLighting(0.05, 0.1)(to_device(x.clone())).cpu()
    gains, brights = [], []
    for a, b in zip(x, out, strict=True):
        gain, offset = np.polyfit(a.flatten().numpy(), b.flatten().numpy(), 1)
        np.testing.assert_allclose(b, a * gain + offset, atol=1e-5)
        gains.append(gain)
        brights.append(offset - a.mean().item() * (1 - gain))
    assert -0.05 <= min(brights) < -0.03 < 0.03 < max(brights) <= 0.05
    assert 1 / 1.1 - 1e-4 <= min(gains) < 0.95 < 1.05 < max(gains) <= 1.1 + 1e-4


def test_lighting_comes_before_the_normalisation():
    """Behind it, values run from -2 to 2.6, of which 0..1 would be left."""
    x = noise(4, 16)
    plain = Transforms(16, imagenet_stats, CropType.CENTER).batch(x)
    lit = Transforms(16, imagenet_stats, CropType.CENTER, [RandomLighting(0, 0)]).batch(x)
    torch.testing.assert_close(lit, plain, atol=1e-5, rtol=0)


def test_lighting_leaves_its_argument_as_it_is():
    x = to_device(torch.rand(5, 3, 8, 8))
    before = x.clone()
    assert not torch.equal(RandomLighting(0.5, 0.9)(x), before)
    assert torch.equal(x, before)


def test_lighting_stays_in_range():
    out = RandomLighting(0.5, 0.9)(to_device(torch.rand(20, 3, 8, 8)))
    assert (out.min(), out.max()) == (0, 1)


def test_validation_is_resize_centre_crop_normalise():
    picture = noise(1, 40)[0][:, :30]  # 30 x 40
    _, val = tfms_from_stats(imagenet_stats, 16)
    out = val.batch(val.window([val.prepare(picture)]))[0].cpu()
    resized = TF.center_crop(TF.resize(picture, [16], antialias=True), [16])
    torch.testing.assert_close(out, TF.normalize(resized.float() / 255, *imagenet_stats), atol=1e-5, rtol=0)


def test_denorm_undoes_the_normalisation():
    x = noise()
    _, val = tfms_from_stats(imagenet_stats, 16)
    np.testing.assert_allclose(val.denorm(val.batch(x)), x.permute(0, 2, 3, 1).numpy() / 255, atol=1e-5)


def test_float_pictures_are_taken_in_0_to_1_and_left_alone():
    x = noise().float() / 255
    before = x.clone()
    trn, val = tfms_from_stats(imagenet_stats, 16, aug_tfms=transforms_side_on, max_zoom=1.1)
    trn.batch(trn.prepare(x))
    torch.testing.assert_close(val.batch(x), val.batch(noise()), atol=1e-5, rtol=0)
    assert torch.equal(x, before)


def test_one_picture_as_in_the_videos():
    _, val = tfms_from_model(efficientnet_lite0, 16)
    image = noise(1, 24)[0].permute(1, 2, 0).numpy()
    a, b = val(image), val(image.astype(np.float32) / 255)
    assert a.shape == (3, 16, 16)
    np.testing.assert_allclose(a, b, atol=0.01)  # one is resized in whole steps of 1/255


def test_random_windows_move_along_the_long_side():
    trn, _ = tfms_from_stats(imagenet_stats, 16)
    picture = torch.arange(64, dtype=torch.uint8).expand(3, 16, 64)
    starts = {int(trn.window([picture])[0, 0, 0, 0]) for _ in range(60)}
    assert min(starts) < 8
    assert max(starts) > 40


def test_squash_keeps_the_whole_picture_in_validation_too():
    trn, val = tfms_from_stats(imagenet_stats, 16, crop_type=CropType.NO)
    picture = noise(1, 40)[0][:, :20]
    assert torch.equal(trn.prepare(picture), TF.resize(picture, [16, 16], antialias=True))
    assert torch.equal(val.prepare(picture), trn.prepare(picture))


@pytest.mark.parametrize(("crop", "shape"), [(CropType.RANDOM, (3, 20, 40)), (CropType.CENTER, (3, 20, 20))])
def test_what_is_zoomed_in_on_has_its_pixels(crop, shape):
    """Training pictures are max_zoom times sz before they are augmented; validation has sz."""
    trn, val = tfms_from_stats(imagenet_stats, 16, max_zoom=1.25, crop_type=crop)
    picture = noise(1, 80)[0][:, :40]
    assert trn.prepare(picture).shape == shape
    assert val.prepare(picture).shape == (3, 16, 16)
    assert trn.batch(trn.window([trn.prepare(picture)])).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("aug_tfms", [None, (), []])
def test_no_augmentation(aug_tfms):
    trn, val = tfms_from_stats(imagenet_stats, 16, aug_tfms)
    assert torch.equal(trn.batch(noise()), val.batch(noise()))


def test_imagenets_statistics_are_those_of_torchvisions_networks():
    theirs = ResNet34_Weights.IMAGENET1K_V1.transforms()
    np.testing.assert_array_equal(imagenet_stats, [theirs.mean, theirs.std])


def test_statistics_follow_the_architecture():
    np.testing.assert_allclose(tfms_from_model(efficientnet_lite0, 8)[0].stats, inception_stats)
    np.testing.assert_allclose(tfms_from_model(resnet34, 8)[0].stats, imagenet_stats)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_v2_l", "googlenet", "inception_v3"])
def test_architectures_that_take_numbers_from_minus_1_to_1(name):
    def arch():
        """What such a function is asked for is its name."""

    arch.__name__ = name
    top = np.ones((8, 8, 3), np.uint8) * 255
    for tfm in tfms_from_model(arch, 8):
        np.testing.assert_array_equal([tfm(0 * top), tfm(top)], [np.full((3, 8, 8), -1.0), np.ones((3, 8, 8))])


def test_statistics_of_an_architecture_with_numbers_from_minus_1_to_1_are_torchvisions():
    theirs = EfficientNet_V2_L_Weights.IMAGENET1K_V1.transforms()
    np.testing.assert_array_equal(inception_stats, [theirs.mean, theirs.std])


@pytest.mark.parametrize("tfms", [transforms_basic, transforms_side_on, transforms_top_down])
def test_ready_made_augmentations_turn_by_10_degrees_and_change_light_by_5_hundredths(tfms):
    """Three in four pictures, those of the videos; the others are left as they are."""
    rotate, light = tfms[:2]
    matrices = rotate.matrix(4000, 16)
    degrees = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert (degrees == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (degrees.min().item(), degrees.max().item()) == pytest.approx((-10, 10), abs=0.1)
    x = torch.linspace(0.3, 0.7, 192).view(1, 3, 8, 8).expand(2000, -1, -1, -1)  # nothing is clipped
    out = light(to_device(x)).cpu().flatten(1)
    gains = (out[:, -1] - out[:, 0]) / 0.4
    assert (gains.min().item(), gains.max().item()) == pytest.approx((1 / 1.05, 1.05), abs=1e-3)
    brightness = out.mean(1) - 0.5
    assert (brightness.min().item(), brightness.max().item()) == pytest.approx((-0.05, 0.05), abs=1e-3)


def test_a_flip_is_as_likely_as_none_unless_told_otherwise():
    assert (RandomFlip().matrix(4000, 16)[:, 0, 0] == -1).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_output_is_float32_and_lies_in_memory_as_its_axes_say():
    """So that x.view(len(x), -1), typed in lesson 7, works."""
    trn, _ = tfms_from_stats(imagenet_stats, 16, aug_tfms=transforms_side_on, max_zoom=1.2)
    out = trn.batch(noise(4, trn.side))
    assert out.dtype == torch.float32
    assert out.shape == (4, 3, 16, 16)
    assert out.is_contiguous()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sz": 0}, r"sz \(pixels\) must be a whole number of 1 or more, not 0"),
        ({"sz": 22.4}, r"sz \(pixels\) must be a whole number of 1 or more, not 22\.4"),
        ({"sz": (48, 32)}, r"sz is one number, the side of a square in pixels, not \(48, 32\)"),
        ({"sz": 8, "max_zoom": 0.5}, "max_zoom is a factor of 1 or more, not 0.5"),
        ({"sz": 8, "aug_tfms": [RandomFlip(), 10]}, "10 is no augmentation: it has no matrix, nor can be called"),
        ({"sz": 8, "crop_type": "squash"}, "'squash' is not a valid CropType"),
    ],
)
def test_bad_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tfms_from_stats(imagenet_stats, **kwargs)


def test_a_size_may_come_out_of_a_division():
    assert type(tfms_from_stats(imagenet_stats, 64 / 2)[0].side) is int


@pytest.mark.parametrize("shape", [(20, 20), (3, 20, 20), (20, 20, 1), (20, 20, 4)])
def test_one_picture_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"a picture has shape \(h, w, 3\), not \("):
        tfms_from_stats(imagenet_stats, 16)[1](np.zeros(shape, np.uint8))


def test_one_picture_of_three_rows():
    """Its axes are (h, w, 3), whatever h is."""
    _, val = tfms_from_stats(PLAIN, 4, crop_type=CropType.NO)
    image = np.zeros((3, 8, 3), np.uint8)
    image[..., 0] = 255
    np.testing.assert_allclose(val(image).mean((1, 2)), [1, 0, 0], atol=1e-6)


def test_one_picture_of_twelve_bits():
    with pytest.raises(ValueError, match=r"whole numbers in pictures lie in 0\.\.255, these in 0\.\.4095"):
        tfms_from_stats(imagenet_stats, 16)[1](np.array([0, 4095] * 600).reshape(20, 20, 3))


def test_settings_are_all_that_is_shown_of_an_augmentation():
    """Activations are kept under what identifies the transforms: no address of a run may be in it."""
    for step in (
        RandomScale(1.1),
        AddPadding(4),
        RandomRotate(10),
        RandomFlip(),
        RandomDihedral(),
        RandomLighting(1, 2),
    ):
        assert " at 0x" not in repr(step)
