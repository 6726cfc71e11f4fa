"""Picture data sets with their six loaders, and the Learner that re-trains a pre-trained network."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50, resnext50_32x4d, resnext101_64x4d, vgg16, vgg16_bn

from .core import atomic, get_cv_idxs, split_by_idx, work_dir
from .learner import Learner, predict_with_targs
from .loaders import ArrayDataset, BatchLoader, FilesDataset, picture_names, pool
from .metrics import accuracy, accuracy_thresh
from .models import AdaptiveConcatPool2d, count_features, cut_body, efficientnet_lite0, load_pretrained, make_head
from .transforms import Transforms

__all__ = ["ConvLearner", "ImageClassifierData", "efficientnet_lite0", "resnet18", "resnet34", "resnet50"]
__all__ += ["resnext50", "resnext50_32x4d", "resnext101_64", "resnext101_64x4d", "vgg16", "vgg16_bn"]

resnext50, resnext101_64 = resnext50_32x4d, resnext101_64x4d  # the names in the videos
Tfms = tuple[Transforms, Transforms]
Split = tuple[Sequence[str], np.ndarray]
LOADERS = [("trn", 0, 0), ("val", 1, 1), ("fix", 0, 1), ("aug", 1, 0), ("test", 2, 1), ("test_aug", 2, 0)]


class ImageClassifierData:
    """Pictures with labels, in six loaders: `trn_dl`, …; their data sets are `trn_ds`, ….

    | loader | pictures   | transforms           | loader   | pictures   | transforms |
    |--------|------------|----------------------|----------|------------|------------|
    | trn    | training   | training (shuffled)  | aug      | validation | training   |
    | val    | validation | validation           | test     | test       | validation |
    | fix    | training   | validation           | test_aug | test       | training   |

    `c` is the number of outputs; `is_multi`: several labels a picture; `is_reg`: numbers to predict.
    """

    def __init__(
        self, path: Path, make: Callable, splits: Sequence, tfms: Tfms, bs: int, classes: Sequence[str]
    ) -> None:
        """`splits`: training, validation and test (or None), each the arguments of `make`."""
        self.path, self.bs, self.classes, self.tfms, self.splits = Path(path), bs, list(classes), tfms, splits
        for name, split, tfm in LOADERS:
            ds = None if splits[split] is None else make(*splits[split], tfm=tfms[tfm])
            setattr(self, f"{name}_ds", ds)
            setattr(self, f"{name}_dl", ds and BatchLoader(ds, bs, shuffle=name == "trn"))
        self.trn_y, self.val_y, self.sz = self.trn_ds.y, self.val_ds.y, tfms[0] and tfms[0].sz
        self.is_reg, self.is_multi = not self.classes, bool(self.classes) and self.trn_y.ndim == 2
        self.c = len(self.classes) or (1 if self.trn_y.ndim == 1 else self.trn_y.shape[1])

    @classmethod
    def from_paths(
        cls, path: str | Path, bs: int = 64, tfms: Tfms | None = None, trn_name: str = "train",
        val_name: str = "valid", test_name: str | None = None, num_workers: int = 0
    ) -> "ImageClassifierData":  # fmt: skip
        """One folder a class: path/train/CLASS/*.jpg, path/valid/CLASS/*.jpg, path/TEST_NAME/*.jpg.

        Classes are the sorted folder names. `num_workers` is there for the videos' sake, unused.
        """
        path = Path(path)
        if not (path / trn_name).is_dir():
            raise FileNotFoundError(f"{path / trn_name}: no such folder; it should hold one folder a class")
        classes = sorted(p.name for p in (path / trn_name).iterdir() if p.is_dir())
        splits = [_labelled(path, folder, classes) for folder in (trn_name, val_name)]
        return cls._of_files(path, path, [*splits, _unlabelled(path, test_name)], tfms, bs, classes)

    @classmethod
    def from_csv(
        cls, path: str | Path, folder: str, csv_fname: str | Path, bs: int = 64, tfms: Tfms | None = None,
        val_idxs: np.ndarray | None = None, suffix: str = "", test_name: str | None = None,
        continuous: bool = False, skip_header: bool = True, num_workers: int = 0, cat_separator: str = " "
    ) -> "ImageClassifierData":  # fmt: skip
        """A table of (id, labels): pictures path/folder/ID+suffix, labels split at `cat_separator`.

        One label in every row makes classes, several make rows of 0/1, `continuous` makes numbers. `val_idxs`: rows of
        the validation set; a random fifth if not given.
        """
        path, table = Path(path), pd.read_csv(csv_fname, header=0 if skip_header else None, dtype={0: str})
        if table.shape[1] < 2:
            raise ValueError(f"{csv_fname}: needs two columns, id and labels; has only {list(table.columns)}")
        names = np.array([f"{folder}/{i}{suffix}" for i in table.iloc[:, 0]])
        if missing := [n for n in names if not (path / n).exists()]:
            raise FileNotFoundError(f"{csv_fname}: {len(missing)} pictures not in {path}, first {missing[0]}")
        if continuous:
            y, classes = table.iloc[:, 1:].to_numpy(np.float32).squeeze(1), []
        else:
            y, classes = _encode(table.iloc[:, 1], cat_separator)
        rows = get_cv_idxs(len(names)) if val_idxs is None else val_idxs
        (val_names, trn_names), (val_y, trn_y) = split_by_idx(rows, names, y)
        splits = [(trn_names, trn_y), (val_names, val_y), _unlabelled(path, test_name)]
        return cls._of_files(path, path, splits, tfms, bs, classes)

    @classmethod
    def from_arrays(
        cls, path: str | Path, trn: tuple, val: tuple, bs: int = 64, tfms: Tfms | None = None,
        classes: Sequence[str] | None = None, test: Any = None
    ) -> "ImageClassifierData":  # fmt: skip
        """Arrays in memory: (x, y) for training and validation, x alone for the test set."""
        classes = [str(c) for c in np.unique(trn[1])] if classes is None else classes
        test = None if test is None else (test, np.zeros(len(test), np.int64))
        return cls(Path(path), ArrayDataset, [trn, val, test], tfms or (None, None), bs, classes)

    @classmethod
    def _of_files(
        cls, path: Path, root: Path, splits: Sequence, tfms: Tfms | None, bs: int, classes: Sequence[str]
    ) -> "ImageClassifierData":
        if tfms is None:
            raise ValueError("pass tfms=tfms_from_model(arch, sz): a batch needs pictures of one size")
        return cls(path, partial(FilesDataset, path=root), splits, tfms, bs, classes)

    def resize(self, targ: int, new_path: str = "tmp") -> "ImageClassifierData":
        """The same data, read from copies of shortest side `targ`, made once in path/NEW_PATH/TARG."""
        root = work_dir(self.path) / new_path / str(targ)
        names = [str(n) for s in self.splits if s is not None for n in s[0]]
        list(pool().map(partial(_resized_copy, self.path, root, targ), names))
        return self._of_files(self.path, root, self.splits, self.tfms, self.bs, self.classes)


def _labelled(path: Path, folder: str, classes: Sequence[str]) -> Split:
    """(file names, class numbers) of path/folder/CLASS; every class must be there."""
    for c in classes:
        if not (path / folder / c).is_dir():
            raise FileNotFoundError(f"{path / folder}: no folder for class {c}")
    names = [picture_names(path, f"{folder}/{c}") for c in classes]
    return [*chain(*names)], np.repeat(np.arange(len(classes)), [len(n) for n in names])


def _unlabelled(path: Path, folder: str | None) -> Split | None:
    names = picture_names(path, folder) if folder else []
    return (names, np.zeros(len(names), np.int64)) if folder else None


def _encode(labels: pd.Series, separator: str) -> tuple[np.ndarray, list[str]]:
    """(class numbers, or rows of 0/1 if any row has several labels; sorted class names)."""
    many = labels.astype(str).str.get_dummies(sep=separator)
    y = many.to_numpy(np.float32)
    return (y.argmax(1) if (y.sum(1) == 1).all() else y), list(many.columns)


def _resized_copy(path: Path, root: Path, targ: int, name: str) -> None:
    if not (root / name).exists():
        with Image.open(path / name) as im, atomic(root / name) as part:
            size = [round(n * targ / min(im.size)) for n in im.size]
            im.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(part, im.format, quality=95)


class ConvLearner(Learner):
    """A pre-trained convolutional body with a new head, or any model of pictures.

    While `precompute` is on, the body runs once over the pictures, un-augmented; its activations are kept (on disk,
    too) and `fit` trains the head alone on them, in seconds.
    """

    precompute = False

    @classmethod
    def pretrained(
        cls, arch: Callable, data: ImageClassifierData, ps: float | Sequence[float] | None = None,
        xtra_fc: Sequence[int] = (512,), precompute: bool = False, custom_head: nn.Module | None = None,
        **kwargs: Any
    ) -> "ConvLearner":  # fmt: skip
        """`arch`, a function of torchvision or efficientnet_lite0, with ImageNet weights and a new head.

        The head: max and mean pooling, fully connected layers of `xtra_fc` and data.c units behind dropout `ps`; or
        `custom_head`, given the feature map. At first only the head is trained.
        """
        body, split = cut_body(load_pretrained(arch))
        if custom_head is None:
            last = None if data.is_reg else nn.Sigmoid() if data.is_multi else nn.LogSoftmax(1)
            custom_head = make_head([2 * count_features(body), *xtra_fc, data.c], ps, last)
            body.append(AdaptiveConcatPool2d()).append(nn.Flatten())
        learn = cls(data, nn.Sequential(body[:split], body[split:], custom_head), **kwargs)
        learn.precompute = precompute
        learn.freeze()
        return learn

    @classmethod
    def from_model_data(cls, model: nn.Module, data: ImageClassifierData, **kwargs: Any) -> "ConvLearner":
        """Any model that gives log-probabilities; its layer groups are its children."""
        return cls(data, model, **kwargs)

    def __init__(self, data: ImageClassifierData, model: nn.Module, **kwargs: Any) -> None:
        crit = F.l1_loss if data.is_reg else F.binary_cross_entropy if data.is_multi else F.nll_loss
        metrics = [] if data.is_reg else [accuracy_thresh(0.5) if data.is_multi else accuracy]
        super().__init__(data, model, **{"crit": crit, "metrics": metrics, **kwargs})
        self.activations: SimpleNamespace | None = None

    @property
    def model(self) -> nn.Module:
        """The head while precomputing, else the whole network."""
        return self.module[-1] if self.precompute else self.module

    @property
    def batches(self) -> Any:
        """Loaders of activations while precomputing, else `data`."""
        if self.precompute and self.activations is None:
            self.activations = self._precomputed()
        return self.activations if self.precompute else self.data

    def get_layer_groups(self) -> list[nn.Module]:
        """[early body, late body, head] of a pre-trained network; [head] while precomputing."""
        return [self.model] if self.precompute else super().get_layer_groups()

    def freeze_to(self, n: int) -> None:
        """Train the layer groups from the n-th on; freezing the head only leaves `precompute` on."""
        precompute, self.precompute = self.precompute and n == -1, False
        super().freeze_to(n)
        self.precompute = precompute

    def set_data(self, data: ImageClassifierData) -> None:
        """Go on with other data (larger pictures, say); freezes all but the last group."""
        self.data, self.precompute, self.activations = data, False, None
        self.freeze()

    def _precomputed(self) -> SimpleNamespace:
        """Loaders over the body's activations for the training, validation and test pictures."""
        loaders = {}
        for name, dl in (("trn_dl", self.data.fix_dl), ("val_dl", self.data.val_dl), ("test_dl", self.data.test_dl)):
            ds = dl and ArrayDataset(self._body_output(dl), dl.dataset.y)
            loaders[name] = ds and BatchLoader(ds, self.data.bs, shuffle=name == "trn_dl")
        return SimpleNamespace(**loaders)

    def _body_output(self, dl: BatchLoader) -> Tensor:
        """The body's output over a loader, kept in tmp/act_KEY.pt for these weights and pictures."""
        body, ds = self.module[:-1], dl.dataset
        weights = [t.cpu().numpy() for t in body.state_dict().values()]
        key = joblib.hash([repr(body), weights, repr(ds.tfm and vars(ds.tfm)), ds.contents()])
        file = work_dir(self.data.path) / "tmp" / f"act_{key}.pt"
        if not file.exists():
            with atomic(file) as part:
                torch.save(torch.from_numpy(predict_with_targs(body, dl)[0]), part)
        return torch.load(file, weights_only=True)
