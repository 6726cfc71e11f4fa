import io
import os
import re
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support import picture, picture_folder, size_of
from torch import nn

from course_utils import copies
from course_utils.core import DEVICE, set_seed, to_np
from course_utils.files import work_dir
from course_utils.learner import load_model, save_model
from course_utils.training import fit
from course_utils.transforms import (
    CropType,
    RandomDihedral,
    Transforms,
    imagenet_stats,
    inception_stats,
    tfms_from_model,
    transforms_side_on,
)
from course_utils.vision import ConvLearner, ImageClassifierData, efficientnet_lite0

SZ = 32


def transforms():
    return tfms_from_model(efficientnet_lite0, SZ, aug_tfms=transforms_side_on, max_zoom=1.1)


def picture_data(folder):
    return ImageClassifierData.from_paths(folder, bs=8, tfms=transforms(), test_name="test")


@pytest.fixture
def data(tmp_path):
    return picture_data(picture_folder(tmp_path))


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


def kept_activations(folder):
    """All files in there but locks."""
    return sorted(file for file in folder.iterdir() if file.suffix != ".lock")


def test_activations_are_reused_only_for_the_same_weights_and_pictures(learn, data):
    folder = data.path / "tmp"
    learn.fit(1e-2, 1)
    first = kept_activations(folder)
    assert len(first) == 3  # training, validation, test
    ConvLearner.pretrained(efficientnet_lite0, data, precompute=True).fit(1e-2, 1)
    assert kept_activations(folder) == first
    learn.module[0][0][0].weight.data += 0.01
    learn.fit(1e-2, 1)
    assert len(kept_activations(folder)) == 6
    Image.new("RGB", (40, 40)).save(data.path / data.val_ds.fnames[0])
    ConvLearner.pretrained(efficientnet_lite0, data, precompute=True).fit(1e-2, 1)
    assert len(kept_activations(folder)) == 6  # `data` goes on with the picture that it has read
    ConvLearner.pretrained(efficientnet_lite0, picture_data(data.path), precompute=True).fit(1e-2, 1)
    assert len(kept_activations(folder)) == 7


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
    assert min(size_of(names[0])) == 16
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
    assert (work_dir(data.path) / "models/x.pt").exists()
    assert work_dir(data.path).parent == tmp_path.parent / "work"


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
    with pytest.raises(ValueError, match="the validation set is empty"):
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
    assert size_of(data.path / "tmp/16" / data.trn_ds.fnames[0]) == (16, 32)
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


# Work files: each data set has its own, and a copy of another picture is made again


def coloured(root, colour):
    """A data set whose pictures have the names of any other's, and one colour."""
    for split, n in ("train", 4), ("valid", 2), ("test", 2):
        for name in ["blue", "red"] if split != "test" else [""]:
            for i in range(n):
                file = root / split / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40, 40), colour).save(file)
                os.utime(file, (1e9, 1e9))
    return ImageClassifierData.from_paths(root, bs=4, tfms=tfms_from_model(efficientnet_lite0, 16), test_name="test")


def body_and_head(seed=0):
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(body, nn.Sequential(nn.Linear(16, 2), nn.LogSoftmax(1)))


def small_learner(data, seed=0):
    """A body and a head, precomputing."""
    learn = ConvLearner.from_model_data(body_and_head(seed), data)
    learn.precompute = True
    return learn


@pytest.fixture(params=["course_work", "read_only"])
def two_sets(request, tmp_path, monkeypatch):
    """White and black pictures of the same names, sizes and times, and the same last two folders."""
    if request.param == "course_work":
        monkeypatch.setenv("COURSE_WORK", str(tmp_path / "work"))
    else:
        monkeypatch.setattr("course_utils.files.ROOT", tmp_path / "home")
        monkeypatch.setattr("os.access", lambda *_: False)
    return coloured(tmp_path / "a/sample/pets", "white"), coloured(tmp_path / "b/sample/pets", "black")


def brightness(ds):
    return {round(float(ds.denorm(x).mean()), 2) for x, _ in (ds[i] for i in range(len(ds)))}


def test_small_copies_of_two_sets_do_not_mix(two_sets):
    white, black = (data.resize(20) for data in two_sets)
    for name in ("fix_ds", "val_ds", "test_ds"):
        assert (brightness(getattr(white, name)), brightness(getattr(black, name))) == ({1}, {0})
        assert all((getattr(white, name).path / f).exists() for f in getattr(white, name).fnames)


def test_weights_of_two_sets_do_not_mix(two_sets):
    first, second = (small_learner(data, seed) for seed, data in enumerate(two_sets))
    before = to_np(list(second.module.state_dict().values()))
    first.save("x")
    first.save_cycle("x", 0)
    for load in (partial(second.load, "x"), partial(second.load_cycle, "x", 0)):
        with pytest.raises(FileNotFoundError, match="not saved yet"):
            load()
    second.save("x")
    second.save_cycle("x", 0)
    first.load("x")
    second.load("x")
    second.load_cycle("x", 0)
    for a, b in zip(before, second.module.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, to_np(b))
    assert not torch.equal(first.module[0][0].weight, second.module[0][0].weight)


def test_activations_of_two_sets_do_not_mix(two_sets):
    for data, colour in zip(two_sets, (1, 0), strict=True):
        learn = small_learner(data)
        head = learn.predict()
        learn.precompute = False
        np.testing.assert_allclose(head, learn.predict(), atol=1e-5)
        assert brightness(learn.data.val_ds) == {colour}


def test_nothing_is_written_beside_read_only_data(two_sets):
    data, _ = two_sets
    before = sorted(data.path.rglob("*"))
    learn = small_learner(data.resize(20))
    learn.fit(0.1, 1)
    learn.save("x")
    assert sorted(data.path.rglob("*")) == before


def test_weights_saved_where_course_work_was_not_set_are_found(data, monkeypatch, tmp_path):
    learn = small_learner(data)
    learn.save("x")
    monkeypatch.setenv("COURSE_WORK", str(tmp_path / "work"))
    other = small_learner(data, seed=1)
    other.load("x")
    assert torch.equal(other.module[0][0].weight, learn.module[0][0].weight)


@pytest.mark.parametrize("seconds", [-5, 0, 5])
def test_a_picture_replaced_by_one_of_any_time_is_resized_again(tmp_path, seconds):
    """Unpacked, moved or copied with its time, a new file may well be older than the copy of the old one."""
    data = coloured(tmp_path, "black")
    data.resize(20)
    picture(np.random.default_rng(0), True).save(file := tmp_path / "train/red/0.png")  # of more bytes
    os.utime(file, (1e9 + seconds,) * 2)
    again = data.resize(20).fix_ds
    shown = again.denorm(again[again.fnames.index("train/red/0.png")][0])
    assert shown.mean() > 0.2
    assert brightness(data.resize(20).val_ds) == {0}


def test_a_picture_of_the_same_size_in_bytes_is_resized_again(tmp_path):
    data = coloured(tmp_path, "black")
    file = tmp_path / "train/red/0.png"
    file = file.rename(file.with_suffix(".bmp"))
    data = ImageClassifierData.from_paths(tmp_path, bs=4, tfms=tfms_from_model(efficientnet_lite0, 16))
    Image.new("RGB", (40, 40), "black").save(file)
    size = file.stat().st_size
    data.resize(20)
    Image.new("RGB", (40, 40), "white").save(file)
    os.utime(file, (1e9, 1e9))
    again = data.resize(20).fix_ds
    assert file.stat().st_size == size
    assert again.denorm(again[again.fnames.index("train/red/0.bmp")][0]).min() > 0.99


def test_copies_that_are_made_again_are_only_those_that_have_to(tmp_path):
    data = coloured(tmp_path, "black")
    data.resize(20)
    copies = {p: p.stat().st_mtime_ns for p in (tmp_path / "tmp/20").rglob("*.png")}
    os.utime(tmp_path / "valid/red/1.png", (2e9, 2e9))
    data.resize(20)
    changed = {p.relative_to(tmp_path / "tmp/20").as_posix() for p, t in copies.items() if p.stat().st_mtime_ns != t}
    assert changed == {"valid/red/1.png"}
    (tmp_path / "tmp/20/test/0.png").unlink()
    assert (data.resize(20).test_ds.path / "test/0.png").exists()


def test_resizing_that_breaks_off_is_taken_up_and_nothing_stale_is_left(tmp_path):
    """The picture that was being replaced when it broke off is made again, even if the old one comes back."""
    data = coloured(tmp_path, "black")
    data.resize(20)
    first, last = tmp_path / "test/0.png", tmp_path / "valid/red/1.png"
    kept = first.read_bytes()
    Image.new("RGB", (40, 40), "white").save(first)
    last.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"valid/red/1\.png: not a readable picture"):
        data.resize(20)
    Image.new("RGB", (40, 40), "black").save(last)
    first.write_bytes(kept)
    os.utime(first, (1e9, 1e9))
    again = data.resize(20)
    assert brightness(again.test_ds) == brightness(again.val_ds) == {0}
    (tmp_path / "tmp/20/made_of.json").write_text("{")  # cut short in a crash
    assert brightness(data.resize(20).test_ds) == {0}


def test_resizing_that_is_killed_leaves_nothing_stale(tmp_path, monkeypatch):
    """Killed as soon as a copy of a new picture is written; then the old picture comes back."""
    data = coloured(tmp_path, "black")
    data.resize(20)
    file = tmp_path / "test/0.png"
    kept = file.read_bytes()
    Image.new("RGB", (40, 40), "white").save(file)
    save, write, killed = copies._save, copies._write, []
    with monkeypatch.context() as patch:
        patch.setattr(copies, "_save", lambda *args: killed.append(save(*args)))
        patch.setattr(copies, "_write", lambda *args: None if killed else write(*args))
        assert brightness(data.resize(20).test_ds) == {0, 1}
    file.write_bytes(kept)
    os.utime(file, (1e9, 1e9))
    assert brightness(data.resize(20).test_ds) == {0}


def test_resize_without_a_test_set(tmp_path):
    coloured(tmp_path, "black")
    data = ImageClassifierData.from_paths(tmp_path, bs=4, tfms=tfms_from_model(efficientnet_lite0, 16))
    small = data.resize(20)
    assert (small.test_ds, small.test_dl, small.test_aug_ds, small.test_aug_dl) == (None,) * 4
    assert (len(small.trn_ds), len(small.val_ds)) == (8, 4)
    assert not (tmp_path / "tmp/20/test").exists()


@pytest.mark.parametrize("folder", ["../pictures", "sub/../../pictures", "absolute"])
def test_pictures_beside_the_data_are_resized_to_each_size(tmp_path, folder):
    """No copy is written outside the work folder."""
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    (tmp_path / "pictures").mkdir()
    for i in range(6):
        Image.new("RGB", (60, 90)).save(tmp_path / f"pictures/{i}.jpg")
    pd.DataFrame({"id": range(6), "label": list("aabbab")}).to_csv(csv := tmp_path / "l.csv", index=False)
    before = sorted(p for p in tmp_path.rglob("*") if project not in p.parents)
    if folder == "absolute":
        folder = str(tmp_path / "pictures")
    tfms = tfms_from_model(efficientnet_lite0, 16)
    data = ImageClassifierData.from_csv(project, folder, csv, tfms=tfms, suffix=".jpg")
    small = {side: data.resize(side) for side in (20, 40, 30)}
    for side, d in small.items():
        names = [*data.trn_ds.fnames, *data.val_ds.fnames]
        assert {min(size_of(d.trn_ds.path / name)) for name in names} == {side}
        assert d.trn_ds.fnames == data.trn_ds.fnames
    assert sorted(p for p in tmp_path.rglob("*") if project not in p.parents) == before
    assert {p.name for p in project.iterdir()} == {"sub", "tmp"}


def test_two_sets_that_share_a_folder_for_copies_do_not_mix(tmp_path):
    white, black = coloured(tmp_path / "a", "white"), coloured(tmp_path / "b", "black")
    for new_path in (str(tmp_path / "shared"), "../shared"):
        small = [data.resize(20, new_path) for data in (white, black)]
        assert [brightness(data.val_ds) for data in small] == [{1}, {0}]


def test_pictures_without_a_suffix_are_resized(tmp_path):
    for i in range(5):
        Image.new("RGB", (40, 40), "white").save(tmp_path / f"{i}", "JPEG")
    pd.DataFrame({"id": range(5), "label": list("aabba")}).to_csv(csv := tmp_path / "l.csv", index=False)
    data = ImageClassifierData.from_csv(tmp_path, "", csv, tfms=tfms_from_model(efficientnet_lite0, 16))
    assert brightness(data.resize(20).trn_ds) == {1}


# Activations: of this body, these pictures, these transforms


@pytest.fixture
def small(data):
    return small_learner(data)


def the_head_answers_as_the_whole(learn):
    """Without noise from the pictures: those are prepared as for validation."""
    learn.precompute = True
    head = learn.predict()
    learn.precompute = False
    return np.abs(head - learn.predict()).max() < 1e-5


def test_a_body_trained_by_the_plain_loop_has_new_activations(small):
    small.fit(0.1, 1)
    small.precompute = False
    assert small.activations is None  # no memory is kept for them
    opt = torch.optim.SGD(small.model.parameters(), lr=0.5)
    fit(small.model, small.data, 1, opt, F.nll_loss)
    assert the_head_answers_as_the_whole(small)


def change_a_weight(learn):
    learn.module[0][0].weight.data += 1


def change_a_statistic(learn):
    learn.module[0][1].running_mean += 1


def change_a_layer(learn):
    learn.module[0][2] = nn.Tanh()


def read_weights(learn):
    save_model(body_and_head(seed=5), file := learn.data.path / "w.pt")
    load_model(learn.module, file)


def read_saved(learn):
    small_learner(learn.data, seed=5).save("five")
    learn.load("five")


def train_the_whole(learn):
    opt = torch.optim.SGD(learn.module.parameters(), lr=0.5)
    fit(learn.module, learn.data, 1, opt, F.nll_loss)


CHANGES = [change_a_weight, change_a_statistic, change_a_layer, read_weights, read_saved, train_the_whole]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_body_ends_its_activations(small, change):
    """While `precompute` is on, and nobody says so."""
    before = small.predict()
    change(small)
    head = small.predict()
    assert np.abs(head - before).max() > 1e-3
    assert the_head_answers_as_the_whole(small)
    np.testing.assert_allclose(small.predict(), head, atol=1e-5)


def test_other_data_end_the_activations(small, tmp_path):
    small.predict()
    small.data = coloured(tmp_path / "other", "white")
    assert small.predict().shape == (4, 2)
    assert the_head_answers_as_the_whole(small)


def test_a_head_that_trains_keeps_its_activations(small):
    before = small.batches
    small.fit(0.1, 2)
    small.lr_find(num_it=10)
    small.freeze()
    assert small.batches is before
    assert len(list((small.data.path / "tmp").glob("act_*.pt"))) == 3


def test_a_refused_call_changes_nothing(small):
    before = small.batches
    trained = [p.requires_grad for p in small.module.parameters()]
    for n in (7, -3):
        with pytest.raises(ValueError, match=rf"freeze_to\({n}\): there are 2 layer groups"):
            small.freeze_to(n)
    assert small.precompute
    assert small.batches is before
    assert [p.requires_grad for p in small.module.parameters()] == trained
    small.freeze_to(0)
    assert not small.precompute
    small.precompute = True
    small.freeze_to(-2)
    assert not small.precompute


def test_only_a_network_of_body_and_head_precomputes(data):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = body_and_head()

        def forward(self, x):
            return self.layers(x)

    learn = ConvLearner.from_model_data(Net(), data)
    with pytest.raises(ValueError, match=r"precompute needs a body and a head: nn\.Sequential"):
        learn.precompute = True
    assert learn.predict().shape == (12, 2)


OTHER_TRANSFORMS = {
    "size": Transforms(24, imagenet_stats, CropType.CENTER),
    "crop": Transforms(16, imagenet_stats, CropType.NO),
    "statistics": Transforms(16, inception_stats, CropType.CENTER),
}


def activations_under(data, tfm):
    plain = ImageClassifierData.from_paths(data.path, bs=8, tfms=(tfm, tfm))
    return to_np(small_learner(plain).batches.val_dl.dataset.arrays[0])


DAMAGES = {
    "cut": lambda whole: whole[:700],
    "empty": lambda whole: b"",
    "flipped": lambda whole: whole.replace(b"FloatStorage", b"FloatStoragf", 1),
    "of other pictures": lambda whole: other_tensor(torch.zeros(5, 16)),
    "no tensor": lambda whole: other_tensor([1, 2]),
}


def other_tensor(what):
    torch.save(what, out := io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_activations_are_made_anew_once(data, caplog, damage):
    tfm = Transforms(16, imagenet_stats, CropType.CENTER)
    first = activations_under(data, tfm)
    files = [file for file in kept_activations(data.path / "tmp") if len(torch.load(file)) == len(first)]
    whole = files[0].read_bytes()
    assert b"FloatStorage" in whole
    files[0].write_bytes(DAMAGES[damage](whole))
    np.testing.assert_array_equal(activations_under(data, tfm), first)
    assert [record.message for record in caplog.records] == [f"{files[0]}: damaged; it is made anew"]
    assert files[0].read_bytes() == whole
    caplog.clear()
    activations_under(data, tfm)
    assert caplog.records == []


@pytest.mark.parametrize("what", OTHER_TRANSFORMS)
def test_activations_under_other_transforms_are_others(data, what):
    first = activations_under(data, Transforms(16, imagenet_stats, CropType.CENTER))
    files = set(kept_activations(data.path / "tmp"))
    assert np.abs(first - activations_under(data, OTHER_TRANSFORMS[what])).max() > 1e-3
    assert len(set(kept_activations(data.path / "tmp")) - files) == 2


def test_activations_are_kept_under_the_settings_of_transforms(data):
    """Other objects of the same settings find them, wherever in memory these lie."""
    files = []
    for _ in range(2):
        activations_under(data, Transforms(16, imagenet_stats, CropType.CENTER, [RandomDihedral()]))
        files.append(kept_activations(data.path / "tmp"))
    assert files[0] == files[1]


def test_activations_come_in_a_new_order_at_each_pass_with_their_targets(small):
    dl = small.batches.trn_dl
    x, y = (to_np(a) for a in dl.dataset.arrays)
    place = {row.tobytes(): i for i, row in enumerate(x)}
    assert len(place) == len(x) == 24
    orders = []
    for _ in range(2):
        rows = [(place[to_np(a).tobytes()], int(b)) for batch in dl for a, b in zip(*batch, strict=True)]
        assert all(target == y[i] for i, target in rows)
        orders.append([i for i, _ in rows])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(24))
    again = [[batch[1] for batch in small.batches.val_dl] for _ in range(2)]
    assert [t.tolist() for t in again[0]] == [t.tolist() for t in again[1]]


# What the six loaders hold


def test_the_test_set_is_plain_and_its_other_loader_augments(data):
    plain = [torch.cat([x for x, _ in data.test_dl]) for _ in range(2)]
    augmented = [torch.cat([x for x, _ in data.test_aug_dl]) for _ in range(2)]
    assert torch.equal(*plain)
    assert not torch.equal(*augmented)
    assert not any(torch.equal(a, plain[0]) for a in augmented)
    oracle = FilesOf(data).plain(data.test_ds.fnames)
    torch.testing.assert_close(plain[0], oracle)


class FilesOf:
    """Pictures of a data set through transforms for validation of its own."""

    def __init__(self, data):
        self.path, self.tfm = data.path, tfms_from_model(efficientnet_lite0, SZ)[1]

    def plain(self, names):
        pictures = [np.asarray(Image.open(self.path / name)) for name in names]
        return torch.tensor(np.stack([self.tfm(p) for p in pictures]), device=DEVICE)


def test_several_labels_are_answered_one_by_one(tmp_path, data):
    """The answers for a picture need not add up to 1, and one half decides."""
    pd.DataFrame({"id": range(12), "tags": ["a b", "b", "a"] * 4}).to_csv(csv := tmp_path / "m.csv", index=False)
    d = ImageClassifierData.from_csv(tmp_path, "train/red", csv, tfms=transforms(), suffix=".png")
    learn = ConvLearner.pretrained(efficientnet_lite0, d)
    assert np.abs(learn.predict().sum(1) - 1).max() > 1e-3
    scores = learn.module[-1][:-1]
    x = torch.randn(5, scores[0].num_features, device=DEVICE)
    learn.module.eval()
    torch.testing.assert_close(learn.module[-1](x), torch.sigmoid(scores(x)))
    preds = torch.tensor([[0.3, 0.4], [0.6, 0.7]])
    (metric,) = learn.metrics
    assert float(metric(preds, torch.tensor([[0, 0], [1, 1]]))) == 1
    assert float(metric(preds, torch.ones(2, 2))) == 0.5


@pytest.mark.parametrize(
    ("labels", "separator", "classes", "y"),
    [
        (
            ["cat, dog", "dog,cat", "dog", "cat", " dog ,"],
            ",",
            ["cat", "dog"],
            [[1, 1], [1, 1], [0, 1], [1, 0], [0, 1]],
        ),
        (["b ", " a", "b", "a", "c "], " ", ["a", "b", "c"], [1, 0, 1, 0, 2]),
        (["b;", "a", "b;b", "a", ";c"], ";", ["a", "b", "c"], [1, 0, 1, 0, 2]),
        (["a  b", "", "b", "a", "b"], " ", ["a", "b"], [[1, 1], [0, 0], [0, 1], [1, 0], [0, 1]]),
        (["a b", "c", "a b", "c", "c"], "|", ["a b", "c"], [0, 1, 0, 1, 1]),
    ],
)
def test_labels_are_read_by_hand(tmp_path, labels, separator, classes, y):
    """Spaces around a label are no part of it; one label a row makes classes, whatever separators stand by."""
    picture_folder(tmp_path)
    pd.DataFrame({"id": range(5), "labels": labels}).to_csv(file := tmp_path / "l.csv", index=False)
    args = {"tfms": transforms(), "suffix": ".png", "cat_separator": separator, "val_idxs": [4]}
    data = ImageClassifierData.from_csv(tmp_path, "train/red", file, **args)
    assert data.classes == classes
    assert [*data.trn_y.tolist(), *data.val_y.tolist()] == y
    assert data.is_multi == (np.ndim(y) == 2)
    assert data.trn_y.dtype == (np.float32 if data.is_multi else np.int64)


def test_a_table_without_a_header_loses_no_picture(tmp_path):
    picture_folder(tmp_path)
    (file := tmp_path / "l.csv").write_text("".join(f"{i},{'ab'[i % 2]}\n" for i in range(10)))
    read = partial(ImageClassifierData.from_csv, tmp_path, "train/red", file, tfms=transforms(), suffix=".png")
    with pytest.raises(ValueError, match=r"l\.csv: the first line names a picture, 0\.png: .*skip_header=False"):
        read()
    data = read(skip_header=False)
    assert len(data.trn_ds) + len(data.val_ds) == 10


def test_a_test_set_that_is_empty_or_not_there_is_named(tmp_path, data):
    x, y = np.zeros((4, 10), np.float32), np.array([0, 1, 0, 1])
    from_arrays = partial(ImageClassifierData.from_arrays, tmp_path)
    for empty in (x[:0], []):
        with pytest.raises(ValueError, match=r"the test set is empty: check its folder, val_idxs or arrays$"):
            from_arrays((x, y), (x, y), test=empty)
    with pytest.raises(ValueError, match="the training set is empty"):
        from_arrays((x[:0], y[:0]), (x, y))
    (tmp_path / "none").mkdir()
    read = partial(ImageClassifierData.from_paths, tmp_path, tfms=transforms())
    with pytest.raises(FileNotFoundError, match="none: no pictures"):
        read(test_name="none")
    with pytest.raises(FileNotFoundError, match=r"no folder gone for the test set$"):
        read(test_name="gone")
    assert read(test_name="").test_dl is None


def test_arrays_have_no_files_to_resize(tmp_path):
    x, y = np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 1, 0, 1])
    data = ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y), tfms=transforms())
    with pytest.raises(ValueError, match=r"^resize makes copies of files, and these data are arrays in memory$"):
        data.resize(16)


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([0, 1, 2, 0], ["a", "b"], "the training set has class 2, but classes count from 0 to 1"),
        ([0, -1, 1, 0], None, "the training set has class -1, but classes count from 0 to 1"),
        ([0, 0.5, 1, 0], ["a", "b"], "the training set: class numbers are whole"),
        (np.eye(4, dtype=int), ["a", "b"], "the training set has 4 columns of labels for 2 classes"),
        ([[2], [1], [0], [0]], None, "rows of labels hold 0 and 1; class numbers are (n,)"),
    ],
)
def test_classes_that_arrays_cannot_have_are_refused(tmp_path, y, classes, message):
    x = np.zeros((4, 10), np.float32)
    with pytest.raises(ValueError, match=re.escape(message)):
        ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y), classes=classes)


def test_classes_of_arrays_count_over_training_and_validation(tmp_path):
    x = np.zeros((4, 10), np.float32)
    data = ImageClassifierData.from_arrays(tmp_path, (x, [0, 1, 0, 1]), (x, [0, 1, 2, 0]))
    assert data.classes == ["0", "1", "2"]
    whole = ImageClassifierData.from_arrays(tmp_path, (x, [0.0, 1, 0, 1]), (x, [1.0, 0, 1, 0]), classes=["a", "b"])
    assert (whole.trn_y.dtype, whole.trn_y.tolist()) == (np.int64, [0, 1, 0, 1])


@pytest.mark.parametrize("kind", [int, bool, np.float32])
def test_rows_of_0_and_1_are_several_labels(tmp_path, kind):
    """As to_categorical makes them; a loss for each column, and the network learns."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4)).astype(np.float32)
    y = (x[:, :3] > 0).astype(kind)
    classes = ["a", "b", "c"] if kind is np.float32 else None
    data = ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y), bs=8, classes=classes)
    assert (data.c, data.is_multi, data.is_reg) == (3, True, False)
    learn = ConvLearner.from_model_data(nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()), data)
    loss, share = learn.fit(0.5, 10)
    preds = learn.predict()
    assert loss == pytest.approx(F.binary_cross_entropy(torch.tensor(preds), torch.tensor(y).float()).item(), rel=1e-4)
    assert share == pytest.approx(((preds > 0.5) == y).mean(), rel=1e-5)
    assert share > 0.8


def test_both_loaders_of_a_set_share_its_arrays(tmp_path):
    x, y = np.random.default_rng(0).integers(0, 256, (6, SZ, SZ, 3), dtype=np.uint8), np.array([0, 1] * 3)
    for tfms in (None, (Transforms(SZ, imagenet_stats, CropType.CENTER),) * 2):
        data = ImageClassifierData.from_arrays(tmp_path, (x, y), (x, y), tfms=tfms, test=x)
        pairs = (data.trn_ds, data.fix_ds), (data.val_ds, data.aug_ds), (data.test_ds, data.test_aug_ds)
        for a, b in pairs:
            assert tfms is None or a.arrays[0].data_ptr() == b.arrays[0].data_ptr()
    before = data.trn_ds[0][0].copy()
    x[:] = 0  # the caller's array is the caller's
    np.testing.assert_array_equal(data.trn_ds[0][0], before)


def test_from_csv_leaves_its_table_and_rows_as_they_were(tmp_path, data):
    pd.DataFrame({"id": range(12), "tags": ["a b", "b", "a"] * 4}).to_csv(csv := tmp_path / "m.csv", index=False)
    text, rows = csv.read_bytes(), np.array([2, 5])
    ImageClassifierData.from_csv(tmp_path, "train/red", csv, tfms=transforms(), suffix=".png", val_idxs=rows)
    assert (csv.read_bytes(), rows.tolist()) == (text, [2, 5])
