import copy

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from course_utils.hooks import SaveFeatures, cam, grad_cam, heat_map, show_cam


@pytest.fixture
def gap() -> nn.Sequential:
    """Maps, their means, and a linear layer without a bias: the network of the CAM paper, with random weights."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3, bias=False)).eval()


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(5, 3, 24, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def deep() -> nn.Sequential:
    """A network whose head is not linear: maximum and mean, a hidden layer, softmax."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 6, 3, stride=2))
    head = nn.Sequential(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 4))
    return nn.Sequential(body, head, nn.LogSoftmax(1)).eval()


@pytest.fixture
def axes():
    yield plt.figure().add_subplot()
    plt.close("all")


def registered(model: nn.Module) -> list[int]:
    return [len(m._forward_hooks) for m in model.modules() if m._forward_hooks]


# SaveFeatures


def test_features_are_the_output_of_the_layer_and_in_its_graph(gap, pictures):
    sfs = SaveFeatures(gap[0])
    out = gap(pictures)
    torch.testing.assert_close(sfs.features, gap[0](pictures))
    gap(pictures[:2])
    assert len(sfs.features) == 2  # the latest
    sfs.remove()
    gap(pictures)
    assert len(sfs.features) == 2  # removed: nothing new, nothing lost
    assert registered(gap) == []
    with SaveFeatures(gap[0]) as sfs:
        out = gap(pictures)
    (grads,) = torch.autograd.grad(out[:, 1].sum(), sfs.features)
    expected = gap[3].weight[1] / (6 * 8)  # each position counts with its share of the mean
    torch.testing.assert_close(grads, expected[None, :, None, None].expand_as(grads))


def test_a_hook_leaves_the_output_alone(gap, pictures):
    plain = gap(pictures)
    with SaveFeatures(gap[0]), SaveFeatures(gap[1]):
        assert registered(gap) == [1, 1]
        assert torch.equal(gap(pictures), plain)


def test_features_are_kept_from_an_activation_in_place(deep, pictures):
    """`deep` has its ReLU in place right after BatchNorm; a copy of it has a plain one."""
    plain = copy.deepcopy(deep)
    plain[0][2] = nn.ReLU()
    with SaveFeatures(deep[0][1]) as sfs:
        deep(pictures)
    assert sfs.features.min() < 0
    torch.testing.assert_close(sfs.features, plain[0][:2](pictures))
    torch.testing.assert_close(grad_cam(deep, deep[0][1], pictures, 0), grad_cam(plain, plain[0][1], pictures, 0))


def test_nothing_stays_registered_after_an_error(gap, pictures):
    with pytest.raises(RuntimeError, match="channels"), SaveFeatures(gap[0]):
        gap(pictures[:, :2])
    with pytest.raises(RuntimeError, match="channels"):
        grad_cam(gap, gap[0], pictures[:, :2], 0)
    assert registered(gap) == []


def test_no_features_before_the_first_pass(gap, pictures):
    with SaveFeatures(gap[0]) as sfs, pytest.raises(RuntimeError, match="run the model once after SaveFeatures"):
        _ = sfs.features
    with pytest.raises(RuntimeError, match="run the model once"):
        grad_cam(gap, nn.ReLU(), pictures, 0)  # a layer of another network
    assert registered(gap) == []


# Maps


def test_cam_by_hand():
    features = np.array([[[0, 1], [2, 3]], [[4, 0], [0, 0]]], np.float32)
    np.testing.assert_allclose(cam(features, [2, -1]), [[0, 0.6], [0.8, 1]])  # -4 2 4 6, from -4 to 6
    np.testing.assert_allclose(cam(torch.tensor(features), torch.tensor([0, 1.0])), [[1, 0], [0, 0]])


def test_cam_is_the_product_of_maps_and_weights_of_the_head(gap, pictures):
    with SaveFeatures(gap[0]) as sfs:
        scores = gap(pictures)
    for i, y in np.ndindex(5, 3):
        by_hand = sum(gap[3].weight[y, k] * sfs.features[i, k] for k in range(8))
        torch.testing.assert_close(by_hand.mean(), scores[i, y])  # the map adds up to the score
        expected = (by_hand - by_hand.min()) / (by_hand.max() - by_hand.min())
        np.testing.assert_allclose(cam(sfs.features[i], gap[3].weight[y]), expected.detach(), atol=1e-6)


def test_heat_maps_lie_between_0_and_1():
    rng = np.random.default_rng(0)
    for scale in (1e-20, 1, 1e20):
        heat = heat_map(rng.normal(size=(5, 7)) * scale)
        assert (heat.min(), heat.max(), heat.shape) == (0, 1, (5, 7))
    assert not heat_map(torch.full((3, 4), 7.5)).any()
    assert not cam(np.ones((2, 3, 4)), [0.5, 0.5]).any()


@pytest.mark.parametrize(
    ("features", "weights"), [((2, 3), (2,)), ((2, 3, 3), (3,)), ((1, 2, 3, 3), (2,)), ((2, 3, 3), (2, 1))]
)
def test_cam_refuses_shapes_that_do_not_fit(features, weights):
    with pytest.raises(ValueError, match=r"cam needs maps \(c, h, w\) and weights \(c,\), not"):
        cam(np.ones(features), np.ones(weights))


# Grad-CAM


def test_grad_cam_is_cam_under_mean_pooling_and_a_linear_layer(gap, pictures):
    with SaveFeatures(gap[0]) as sfs:
        gap(pictures)
    for y in range(3):
        class_map = torch.einsum("c,nchw->nhw", gap[3].weight[y], sfs.features)
        torch.testing.assert_close(grad_cam(gap, gap[0], pictures, y), class_map.relu() / (6 * 8))


def test_grad_cam_of_a_class_map_is_that_map(pictures):
    """The head of the lesson: a convolution to one map a class, then their means."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    maps = net[0](pictures)
    torch.testing.assert_close(maps.mean((2, 3)), net(pictures))
    torch.testing.assert_close(grad_cam(net, net[0], pictures, 1), maps[:, 1].relu() / (24 * 32))


@pytest.mark.parametrize("place", [0, 2, 3])
@pytest.mark.parametrize("frozen", [False, True])
def test_grad_cam_equals_captum(deep, pictures, place, frozen):
    y = [0, 3, 1, 2, 3]
    layer = deep[0][place]
    expected = LayerGradCam(deep, layer).attribute(pictures, torch.tensor(y), relu_attributions=True)
    assert (expected > 0).any()
    deep.requires_grad_(not frozen)
    maps = grad_cam(deep, layer, pictures, y)
    torch.testing.assert_close(maps, expected[:, 0].detach())
    assert not maps.requires_grad


def test_grad_cam_leaves_no_trace(deep, pictures):
    with torch.no_grad():  # as after predictions
        maps = grad_cam(deep, deep[0], pictures, 2)
    assert maps.shape == (5, 10, 14)
    assert not maps.requires_grad
    assert not pictures.requires_grad
    assert all(p.grad is None for p in deep.parameters())
    assert registered(deep) == []


def test_grad_cam_needs_maps_and_a_class_that_exists(deep, pictures):
    with pytest.raises(ValueError, match=r"needs maps \(n, c, h, w\), not \(5, 4\)"):
        grad_cam(deep, deep[2], pictures, 0)
    with pytest.raises(IndexError, match="size 4"):
        grad_cam(deep, deep[0], pictures, 4)


# Pictures


def brightness(sz: int = 4) -> nn.Sequential:
    """Hand-made: one map, the mean brightness of each of sz x sz tiles; its mean is the score of class 1, not of 0."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(sz), nn.Conv2d(3, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net[1].weight.data = torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 1, 1) / 3
    return net


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_bright_corner_lights_up_in_the_overlay(corner, axes):
    rows, columns = (slice(0, 12) if c == 0 else slice(-12, None) for c in corner)
    x = torch.zeros(1, 3, 48, 48)
    x[..., rows, columns] = 1
    net = brightness()
    with SaveFeatures(net[1]) as sfs:
        net(x)
    heats = cam(sfs.features[0], [0, 1]), heat_map(grad_cam(net, net[1], x, 1)[0])
    for heat in heats:
        show_cam(axes, x[0].permute(1, 2, 0).numpy(), heat)
        drawn = axes.images[-1].get_array()
        lit = drawn > 0.5
        assert drawn[rows, columns].min() > 0.2
        assert lit[rows, columns].sum() == lit.sum() > 0.75 * 12 * 12
    assert not grad_cam(net, net[1], x, 0).any()  # nothing speaks for class 0


def test_the_overlay_is_aligned_with_the_picture(axes):
    """The centre of gravity of an enlarged spot lies at the centre of its tile."""
    heat = np.zeros((5, 7))
    heat[1, 4] = 1
    show_cam(axes, np.zeros((50, 140, 3)), heat)
    drawn = np.asarray(axes.images[-1].get_array(), float)
    y, x = (np.average(np.indices(drawn.shape)[i], weights=drawn) for i in (0, 1))
    assert (y, x) == pytest.approx((14.5, 89.5), abs=1e-4)  # rows 10 to 19, columns 80 to 99


def test_the_overlay_is_enlarged_bilinearly(axes):
    show_cam(axes, np.zeros((2, 4, 3)), [[0.0, 1.0]])
    np.testing.assert_allclose(axes.images[-1].get_array(), [[0, 0.25, 0.75, 1]] * 2)


def test_the_overlay_keeps_the_extent_of_the_picture(axes):
    picture = np.random.default_rng(0).random((30, 40, 3))
    show_cam(axes, picture, np.eye(3) / 2, "a title")
    below, above = axes.images
    assert below.get_extent() == above.get_extent()
    assert above.get_array().shape == (30, 40)
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 39.5), (29.5, -0.5))
    assert (above.norm.vmin, above.norm.vmax) == (0, 1)  # colours mean the same in every panel
    assert axes.get_title() == "a title"
    np.testing.assert_array_equal(below.get_array(), picture)


def test_calls_of_the_video():
    """The cells of the video, with a small network for resnet34."""
    torch.manual_seed(0)
    m = nn.Sequential(*(nn.Conv2d(c, c + 1, 3, stride=2) for c in (3, 4, 5)), nn.Conv2d(6, 2, 3, padding=1))
    m += nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LogSoftmax(1))
    sfs = [SaveFeatures(o) for o in [m[-7], m[-6], m[-5], m[-4]]]
    py = m(torch.randn(1, 3, 64, 64))
    for o in sfs:
        o.remove()
    assert [list(o.features.size()) for o in sfs] == [[1, 4, 31, 31], [1, 5, 15, 15], [1, 6, 7, 7], [1, 2, 7, 7]]
    feat = np.maximum(0, sfs[3].features[0].detach().numpy())
    f2 = np.dot(np.rollaxis(feat, 0, 3), py[0].exp().detach().numpy())
    f2 -= f2.min()
    f2 /= f2.max()
    np.testing.assert_allclose(cam(feat, py[0].exp()), f2, atol=1e-6)
    assert registered(m) == []
