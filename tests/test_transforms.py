import numpy as np
import pytest
import torch
import torch.nn.functional as F
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
    transforms_side_on,
    transforms_top_down,
)
from course_utils.vision import efficientnet_lite0, resnet34

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def noise(n=4, side=16):
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def augment(x, *aug):
    return Transforms(x.shape[-1], PLAIN, CropType.CENTER, aug).batch(x).cpu() * 255


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


def test_squash_keeps_the_whole_picture():
    trn, val = tfms_from_stats(imagenet_stats, 16, crop_type=CropType.NO)
    picture = noise(1, 40)[0][:, :20]
    assert torch.equal(trn.prepare(picture), TF.resize(picture, [16, 16], antialias=True))
    assert val.prepare(picture).shape == (3, 16, 16)


def test_statistics_follow_the_architecture():
    np.testing.assert_allclose(tfms_from_model(efficientnet_lite0, 8)[0].stats, inception_stats)
    np.testing.assert_allclose(tfms_from_model(resnet34, 8)[0].stats, imagenet_stats)


def test_output_is_float32_and_lies_in_memory_as_its_axes_say():
    """So that x.view(len(x), -1), typed in lesson 7, works."""
    trn, _ = tfms_from_stats(imagenet_stats, 16, aug_tfms=transforms_side_on, max_zoom=1.2)
    out = trn.batch(noise(4, trn.side))
    assert out.dtype == torch.float32
    assert out.shape == (4, 3, 16, 16)
    assert out.is_contiguous()


@pytest.mark.parametrize(
    ("kwargs", "message"), [({"sz": 0}, "sz .pixels. and"), ({"sz": 8, "max_zoom": 0.5}, "max_zoom")]
)
def test_bad_settings(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tfms_from_stats(imagenet_stats, **kwargs)
