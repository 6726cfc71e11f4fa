import os
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support import picture_folder
from torch import nn

from course_utils.core import set_seed
from course_utils.transforms import tfms_from_model, transforms_side_on
from course_utils.vision import ConvLearner, ImageClassifierData, efficientnet_lite0

SZ = 32


def transforms():
    return tfms_from_model(efficientnet_lite0, SZ, aug_tfms=transforms_side_on, max_zoom=1.1)


@pytest.fixture
def data(tmp_path):
    return ImageClassifierData.from_paths(picture_folder(tmp_path), bs=8, tfms=transforms(), test_name="test")


@pytest.fixture
def learn(data):
    set_seed(0)
    return ConvLearner.pretrained(efficientnet_lite0, data, precompute=True)


def test_six_loaders(data):
    assert data.classes == ["blue", "red"]
    assert (data.c, data.sz, data.is_multi, data.is_reg) == (2, SZ, False, False)
    assert data.trn_ds.fnames[0] == data.fix_ds.fnames[0] == "train/blue/0.png"
    assert data.val_ds.fnames == data.aug_ds.fnames
    assert data.test_ds.fnames == data.test_aug_ds.fnames == [f"test/{i}.png" for i in range(4)]
    assert data.val_y.tolist() == [0] * 6 + [1] * 6
    assert [getattr(data, f"{n}_dl").shuffle for n in ("trn", "val", "fix", "aug", "test")] == [True] + [False] * 4


def test_fix_is_plain_and_aug_is_augmented(data):
    def two_passes(dl):
        return [torch.cat([x for x, _ in dl]) for _ in range(2)]

    assert torch.equal(*two_passes(data.fix_dl))
    assert torch.equal(*two_passes(data.val_dl))
    assert not torch.equal(*two_passes(data.aug_dl))


def test_from_csv_single_label(tmp_path, data):
    ids = [f"blue/{i}" for i in range(12)] + [f"red/{i}" for i in range(12)]
    table = pd.DataFrame({"id": ids, "label": ["b"] * 12 + ["r"] * 12})
    table.to_csv(tmp_path / "l.csv", index=False)
    args = {"tfms": transforms(), "suffix": ".png", "val_idxs": [1, 13]}
    d = ImageClassifierData.from_csv(tmp_path, "train", tmp_path / "l.csv", **args)
    assert (d.classes, d.val_y.tolist(), len(d.trn_ds)) == (["b", "r"], [0, 1], 22)
    assert d.val_ds.fnames == ["train/blue/1.png", "train/red/1.png"]


def test_from_csv_several_labels_and_numbers(tmp_path, data):
    table = pd.DataFrame({"id": ["0", "1", "2"], "tags": ["clear road", "haze", "clear"]})
    table.to_csv(tmp_path / "m.csv", index=False)
    args = {"tfms": transforms(), "suffix": ".png", "val_idxs": [2]}
    d = ImageClassifierData.from_csv(tmp_path, "train/red", tmp_path / "m.csv", **args)
    assert (d.is_multi, d.classes) == (True, ["clear", "haze", "road"])
    assert d.trn_y.tolist() == [[1, 0, 1], [0, 1, 0]]
    table.assign(tags=[0.5, 1, 2]).to_csv(tmp_path / "r.csv", index=False)
    d = ImageClassifierData.from_csv(tmp_path, "train/red", tmp_path / "r.csv", continuous=True, **args)
    assert (d.is_reg, d.c, d.trn_y.tolist()) == (True, 1, [0.5, 1])


def test_multi_label_learner_gives_probabilities(tmp_path, data):
    pd.DataFrame({"id": range(12), "tags": ["a b", "b", "a"] * 4}).to_csv(tmp_path / "m.csv", index=False)
    d = ImageClassifierData.from_csv(tmp_path, "train/red", tmp_path / "m.csv", tfms=transforms(), suffix=".png")
    learn = ConvLearner.pretrained(efficientnet_lite0, d, precompute=True)
    assert learn.crit is F.binary_cross_entropy
    _, share = learn.fit(1e-2, 1)
    preds = learn.predict()
    assert preds.min() >= 0
    assert preds.max() <= 1
    assert share == pytest.approx(((preds > 0.5) == d.val_y).mean())


def test_precomputed_head_equals_the_full_model(learn):
    """What the head says of cached activations, and the whole network of plain pictures: the same."""
    learn.fit(1e-2, 1)
    head = learn.predict()
    learn.precompute = False
    np.testing.assert_allclose(head, learn.predict(), atol=1e-4)


def test_precompute_trains_on_plain_pictures_only(learn, monkeypatch):
    """Augmentation is never asked for while precomputing, and is as soon as it is off."""
    monkeypatch.setattr(learn.data.trn_ds, "batch", lambda idx: pytest.fail("augmented picture used"))
    learn.fit(1e-2, 1)
    learn.precompute = False
    with pytest.raises(pytest.fail.Exception):
        learn.fit(1e-2, 1)


def test_activations_are_reused_only_for_the_same_weights_and_pictures(learn, data):
    folder = data.path / "tmp"
    learn.fit(1e-2, 1)
    first = sorted(folder.iterdir())
    assert len(first) == 3  # training, validation, test
    ConvLearner.pretrained(efficientnet_lite0, data, precompute=True).fit(1e-2, 1)
    assert sorted(folder.iterdir()) == first
    learn.module[0][0][0].weight.data += 0.01
    learn.activations = None
    learn.fit(1e-2, 1)
    assert len(list(folder.iterdir())) == 6
    Image.new("RGB", (40, 40)).save(data.path / data.val_ds.fnames[0])
    ConvLearner.pretrained(efficientnet_lite0, data, precompute=True).fit(1e-2, 1)
    assert len(list(folder.iterdir())) == 7


def weights(learn):
    return [p.detach().clone() for p in learn.module.parameters()]


def changed_groups(learn, before):
    sizes = [len(list(g.parameters())) for g in learn.module]
    changed = [not torch.equal(a, b) for a, b in zip(before, weights(learn), strict=True)]
    return [any(part) for part in np.split(np.array(changed), np.cumsum(sizes)[:-1])]


def test_what_moves(learn):
    before = weights(learn)
    learn.fit(1e-2, 1)
    assert changed_groups(learn, before) == [False, False, True]
    learn.precompute, before = False, weights(learn)
    learn.fit(1e-2, 1)
    assert changed_groups(learn, before) == [False, False, True]
    learn.freeze_to(1)
    before = weights(learn)
    learn.fit([1e-3, 1e-3, 1e-2], 1)
    assert changed_groups(learn, before) == [False, True, True]
    learn.unfreeze()
    before = weights(learn)
    learn.fit(np.array([1e-4, 1e-3, 1e-2]), 1)
    assert changed_groups(learn, before) == [True, True, True]


def test_unfreeze_ends_precompute(learn):
    learn.unfreeze()
    assert not learn.precompute
    assert len(learn.get_layer_groups()) == 3


def test_one_rate_only_while_precomputing(learn):
    with pytest.raises(ValueError, match="3 rates for 1 layer groups"):
        learn.fit([1e-4, 1e-3, 1e-2], 1)


def test_tta_is_one_plain_and_four_augmented(learn):
    learn.fit(1e-2, 1)
    log_preds, y = learn.TTA()
    assert log_preds.shape == (5, 12, 2)
    assert y.tolist() == learn.data.val_y.tolist()
    np.testing.assert_allclose(log_preds[0], learn.predict(), atol=1e-4)
    np.testing.assert_allclose(np.exp(log_preds).mean(0).sum(1), 1, rtol=1e-5)
    assert not np.allclose(log_preds[1], log_preds[2])
    assert learn.TTA(n_aug=8, is_test=True)[0].shape == (10, 4, 2)


def test_save_while_precomputing_keeps_the_whole_model(learn, data):
    learn.fit(1e-2, 1)
    learn.save("s")
    other = ConvLearner.pretrained(efficientnet_lite0, data)
    other.load("s")
    np.testing.assert_allclose(other.predict(), learn.predict(), atol=1e-4)


def test_set_data_goes_on_with_other_pictures(learn, data):
    learn.fit(1e-2, 1)
    learn.unfreeze()
    tfms = tfms_from_model(efficientnet_lite0, 48)
    learn.set_data(ImageClassifierData.from_paths(data.path, bs=8, tfms=tfms))
    before = weights(learn)
    learn.fit(1e-2, 1)
    assert changed_groups(learn, before) == [False, False, True]
    assert next(iter(learn.data.val_dl))[0].shape[-1] == 48


def test_learns_red_from_blue(learn):
    assert learn.fit(1e-2, 8)[1] > 0.9


def test_custom_head_and_own_layers(data):
    head = nn.Sequential(nn.Conv2d(1280, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LogSoftmax(1))
    learn = ConvLearner.pretrained(efficientnet_lite0, data, custom_head=head)
    assert learn.predict().shape == (12, 2)
    deep = ConvLearner.pretrained(efficientnet_lite0, data, ps=0.1, xtra_fc=[64, 32])
    assert [m.out_features for m in deep.module[-1] if isinstance(m, nn.Linear)] == [64, 32, 2]


def test_from_model_data_trains_everything(data):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SZ * SZ, 8), nn.ReLU(), nn.Linear(8, 2), nn.LogSoftmax(1))
    learn = ConvLearner.from_model_data(net, data)
    assert len(learn.get_layer_groups()) == 5
    before = [p.detach().clone() for p in net.parameters()]
    learn.fit(1e-2, 1)
    assert not any(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_resize_writes_small_copies_once(data):
    small = data.resize(16, "small")
    names = sorted(p for p in (data.path / "small" / "16").rglob("*.png"))
    assert len(names) == 24 + 12 + 4
    assert min(Image.open(names[0]).size) == 16
    assert small.val_y.tolist() == data.val_y.tolist()
    stamp = names[0].stat().st_mtime_ns
    data.resize(16, "small")
    assert names[0].stat().st_mtime_ns == stamp
    assert small.path == data.path
    small.resize(16, "small")


def test_read_only_data(data, monkeypatch, tmp_path):
    """With a work directory elsewhere nothing is written beside the pictures."""
    monkeypatch.setenv("COURSE_WORK", str(tmp_path.parent / "work"))
    before = sorted(p.name for p in data.path.iterdir())
    learn = ConvLearner.pretrained(efficientnet_lite0, data, precompute=True)
    learn.fit(1e-2, 1)
    learn.save("x")
    assert sorted(p.name for p in data.path.iterdir()) == before
    assert (tmp_path.parent / "work/models/x.pt").exists()


def test_missing_class_folder(tmp_path):
    picture_folder(tmp_path)
    (tmp_path / "valid/red").rename(tmp_path / "valid/pink")
    with pytest.raises(FileNotFoundError, match="valid: no folder for class red"):
        ImageClassifierData.from_paths(tmp_path, tfms=transforms())


def test_classes_that_are_in_one_folder_only(tmp_path):
    picture_folder(tmp_path)
    (tmp_path / "valid/zebra").mkdir()
    with pytest.raises(ValueError, match=r"valid: zebra is no class of train$"):
        ImageClassifierData.from_paths(tmp_path, tfms=transforms())
    for folder in ("train/red", "valid/red", "valid/zebra"):
        shutil.rmtree(tmp_path / folder)
    with pytest.raises(ValueError, match="only one class, blue: there is nothing to tell apart"):
        ImageClassifierData.from_paths(tmp_path, tfms=transforms())


@pytest.mark.parametrize(
    ("labels", "continuous", "message"),
    [
        (["a", "b", "", "a", "b"], False, r"labels\.csv: row 3 has no label$"),
        (["1 2", "3 4", "5", "6 7", "8 9"], True, r"labels\.csv: row 3: '5' is not 2 numbers$"),
        (["1", "2", "3", "x", "5"], True, r"labels\.csv: row 4: 'x' is not a number$"),
    ],
)
def test_a_row_of_labels_that_cannot_be_read_is_named(tmp_path, labels, continuous, message):
    picture_folder(tmp_path)
    pd.DataFrame({"id": range(5), "labels": labels}).to_csv(file := tmp_path / "labels.csv", index=False)
    read = partial(ImageClassifierData.from_csv, tmp_path, "train/red", file, tfms=transforms(), suffix=".png")
    with pytest.raises(ValueError, match=message):
        read(continuous=continuous)


def test_single_labels_are_numbered_in_sorted_order(tmp_path):
    picture_folder(tmp_path)
    table = pd.DataFrame({"id": range(6), "labels": ["pug", "cat", "pug", "ape", "cat", "ape"]})
    table.to_csv(file := tmp_path / "labels.csv", index=False)
    read = partial(ImageClassifierData.from_csv, tmp_path, "train/red", file, tfms=transforms(), suffix=".png")
    data = read(val_idxs=[0, 3])
    assert (data.classes, data.is_multi) == (["ape", "cat", "pug"], False)
    assert (data.trn_y.tolist(), data.val_y.tolist()) == ([1, 2, 1, 0], [2, 0])


def test_a_picture_replaced_is_resized_again(tmp_path, data):
    data.resize(20)
    Image.new("RGB", (40, 40), "white").save(file := tmp_path / "train/red/0.png")
    os.utime(file, (file.stat().st_mtime + 5,) * 2)
    again = data.resize(20).fix_ds
    white, _ = again[again.fnames.index("train/red/0.png")]
    assert again.denorm(white).min() > 0.99


def test_activations_come_as_often_as_the_pictures_would(learn):
    learn.data.trn_dl.passes = 2.5
    assert len(learn.batches.trn_dl) == len(learn.data.trn_dl) == 8


def test_data_of_other_classes_are_refused(tmp_path, learn):
    other = picture_folder(tmp_path / "other")
    for split in ("train", "valid"):
        shutil.copytree(other / split / "red", other / split / "green")
    with pytest.raises(ValueError, match="the network has 2 outputs, the data need 3"):
        learn.set_data(ImageClassifierData.from_paths(other, bs=8, tfms=transforms()))


def test_other_bad_input(tmp_path, data):
    with pytest.raises(FileNotFoundError, match="training: no such folder"):
        ImageClassifierData.from_paths(tmp_path, tfms=transforms(), trn_name="training")
    with pytest.raises(ValueError, match="pass tfms=tfms_from_model"):
        ImageClassifierData.from_paths(tmp_path)
    (tmp_path / "bad.csv").write_text("id\n1\n")
    with pytest.raises(ValueError, match=r"bad\.csv: needs two columns, id and labels"):
        ImageClassifierData.from_csv(tmp_path, "train", tmp_path / "bad.csv", tfms=transforms())
    (tmp_path / "gone.csv").write_text("id,label\nnone,a\n")
    with pytest.raises(FileNotFoundError, match=r"gone\.csv: 1 pictures not in .*, first train/none"):
        ImageClassifierData.from_csv(tmp_path, "train", tmp_path / "gone.csv", tfms=transforms())
    d = ImageClassifierData.from_paths(tmp_path, tfms=transforms())
    with pytest.raises(ValueError, match="the data has no test_dl: name the test set"):
        ConvLearner.pretrained(efficientnet_lite0, d).predict(is_test=True)


def test_empty_class_folder(tmp_path):
    picture_folder(tmp_path)
    for file in (tmp_path / "train/red").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="train/red: no pictures"):
        ImageClassifierData.from_paths(tmp_path, tfms=transforms())


def test_arrays_of_pictures(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 4
    d = ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y), bs=8, tfms=transforms(), test=x[:3])
    assert (d.c, d.sz, len(d.test_ds)) == (4, SZ, 3)
    np.testing.assert_allclose(d.val_ds.denorm(d.val_ds[7][0]), x[7] / 255, atol=1e-5)
    learn = ConvLearner.pretrained(efficientnet_lite0, d, precompute=True)
    assert len(learn.fit(1e-2, 1)) == 2


def test_numbers_to_predict(tmp_path, data):
    """One number a picture: predictions have the shape of the targets; several: one column each."""
    for text, shape in (("0.5", (2,)), ("1 2 3", (2, 3))):
        pd.DataFrame({"id": range(12), "at": [text] * 12}).to_csv(tmp_path / "r.csv", index=False)
        args = {"tfms": transforms(), "suffix": ".png", "continuous": True}
        d = ImageClassifierData.from_csv(tmp_path, "train/red", tmp_path / "r.csv", **args)
        learn = ConvLearner.pretrained(efficientnet_lite0, d, precompute=True)
        (loss,) = learn.fit(1e-2, 1)
        preds, targs = learn.predict_with_targs()
        assert preds.shape == targs.shape == shape
        assert loss == pytest.approx(np.abs(preds - targs).mean(), rel=1e-5)


def test_ids_and_labels_are_taken_as_they_are_written(tmp_path, data):
    for name in ("007", "NA"):
        (tmp_path / "train/red/0.png").rename(tmp_path / f"train/red/{name}.png")
        Image.new("RGB", (40, 40)).save(tmp_path / "train/red/0.png")
    (tmp_path / "n.csv").write_text("id,label\n007,None\nNA,dog\n1,dog\n")
    args = {"tfms": transforms(), "suffix": ".png", "val_idxs": [-1]}
    d = ImageClassifierData.from_csv(tmp_path, "train/red", tmp_path / "n.csv", **args)
    assert (d.classes, d.trn_y.tolist(), d.val_y.tolist()) == (["None", "dog"], [0, 1], [1])
    with pytest.raises(ValueError, match="a data set is empty"):
        ImageClassifierData.from_csv(tmp_path, "train/red", tmp_path / "n.csv", **args | {"val_idxs": []})


def test_hidden_folders_and_files_are_left_out(tmp_path):
    picture_folder(tmp_path)
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    (tmp_path / "train/red/._0.png").write_bytes(b"finder")
    d = ImageClassifierData.from_paths(tmp_path, tfms=transforms())
    assert (d.classes, len(d.trn_ds)) == (["blue", "red"], 24)


def test_classes_of_arrays_count_to_the_largest_label(tmp_path):
    x, y = np.zeros((4, 10), np.float32), np.array([0, 2, 2, 0])
    assert ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y)).c == 3
    assert ImageClassifierData.from_arrays(tmp_path, (x, y / 2), (x, y / 2)).is_reg


def test_activations_go_with_the_body_that_made_them(learn):
    learn.fit(1e-2, 1)
    learn.save("before")
    learn.unfreeze()
    learn.fit(1e-2, 1)
    learn.precompute = True
    head = learn.predict()
    learn.precompute = False
    np.testing.assert_allclose(head, learn.predict(), atol=1e-3)
    learn.precompute = True
    learn.predict()
    learn.load("before")
    head, learn.precompute = learn.predict(), False
    np.testing.assert_allclose(head, learn.predict(), atol=1e-3)


def test_resized_copies_stand_upright_and_broken_pictures_are_named(data):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    file = data.path / data.trn_ds.fnames[0]
    Image.new("RGB", (60, 30)).save(file, exif=exif)
    data.resize(16)
    assert Image.open(data.path / "tmp/16" / data.trn_ds.fnames[0]).size == (16, 32)
    file.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"blue/0\.png: not a readable picture"):
        data.resize(8)


def test_the_same_numbers_with_and_without_kept_activations(data):
    losses = []
    for _ in range(2):  # the first pass makes the activations, the second finds them
        set_seed(0)
        losses.append(ConvLearner.pretrained(efficientnet_lite0, data, precompute=True).fit(1e-2, 1)[0])
    assert len(sorted((data.path / "tmp").glob("act_*.pt"))) == 3
    assert losses[0] == losses[1]
