"""Picture data sets with their six loaders, and the Learner that re-trains a pre-trained network."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import joblib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.models import (
    resnet18,
    resnet34,
    resnet50,
    resnext50_32x4d,
    resnext101_64x4d,
    vgg16,
    vgg16_bn,
)
from torchvision.transforms.v2 import functional as TF

from .batches import ArrayDataset, BatchLoader
from .core import DEVICE, T, get_cv_idxs, split_by_idx, to_np
from .files import atomic, read_csv, work_dir
from .learner import Learner
from .metrics import accuracy, accuracy_thresh
from .models import (
    AdaptiveConcatPool2d,
    count_features,
    cut_body,
    efficientnet_lite0,
    load_pretrained,
    make_head,
)
from .pictures import POOL, FilesDataset, picture_names, read_picture
from .training import predict_with_targs
from .transforms import Transforms

__all__ = [
    "ConvLearner",
    "ImageClassifierData",
    "efficientnet_lite0",
    "resnet18",
    "resnet34",
    "resnet50",
]
__all__ += [
    "resnext50",
    "resnext50_32x4d",
    "resnext101_64",
    "resnext101_64x4d",
    "vgg16",
    "vgg16_bn",
]

resnext50, resnext101_64 = resnext50_32x4d, resnext101_64x4d  # the names in the videos
Tfms = tuple[Transforms, Transforms]
LOADERS = [
    ("trn", 0, 0),
    ("val", 1, 1),
    ("fix", 0, 1),
    ("aug", 1, 0),
    ("test", 2, 1),
    ("test_aug", 2, 0),
]


class ImageClassifierData:
    """Pictures in six loaders `trn_dl`, … of sets `trn_ds`, …; `c` outputs, `is_multi` labels or `is_reg` numbers.

    Training transforms: trn (shuffled), aug (validation set), test_aug; the others: fix (training set), val, test.
    """

    def __init__(self, path: Path, make: Callable, splits: Sequence, tfms: Tfms | None, bs: int,
                 classes: Sequence[str]) -> None:  # fmt: skip
        """`splits`: training, validation and test (or None), each the arguments of `make`."""
        if tfms is None:
            raise ValueError(
                "pass tfms=tfms_from_model(arch, sz): a batch needs pictures of one size"
            )
        self.path, self.bs, self.classes, self.tfms, self.splits = (
            path,
            bs,
            list(classes),
            tfms,
            splits,
        )
        for name, split, tfm in LOADERS:
            ds = dl = None
            if splits[split] is not None:
                ds = make(*splits[split], tfm=tfms[tfm])
                ds.classes, dl = self.classes, BatchLoader(ds, bs, shuffle=name == "trn")
            setattr(self, f"{name}_ds", ds)
            setattr(self, f"{name}_dl", dl)
        self.trn_y, self.val_y, self.sz = self.trn_ds.y, self.val_ds.y, tfms[0] and tfms[0].sz
        self.is_reg, self.is_multi = not self.classes, bool(self.classes) and self.trn_y.ndim == 2
        if len(self.classes) == 1 and not self.is_multi:
            raise ValueError(
                f"{path}: only one class, {self.classes[0]}: there is nothing to tell apart"
            )
        self.c = len(self.classes) or (1 if self.trn_y.ndim == 1 else self.trn_y.shape[1])

    @classmethod
    def from_paths(cls, path: str | Path, bs: int = 64, tfms: Tfms | None = None, trn_name: str = "train",
                   val_name: str = "valid", test_name: str | None = None, num_workers: int = 0) -> Self:  # fmt: skip
        """From path/train/CLASS/*.jpg, path/valid/CLASS/*.jpg, path/TEST_NAME/*.jpg. `num_workers` is not used."""
        path = Path(path)
        if not (classes := sorted(p.name for p in (path / trn_name).glob("[!.]*/"))):
            raise FileNotFoundError(
                f"{path / trn_name}: no such folder, or no folders in it, one a class"
            )
        splits = [_folders(path / name, classes, path) for name in (trn_name, val_name)]
        if unknown := {p.name for p in (path / val_name).glob("[!.]*/")}.difference(classes):
            raise ValueError(f"{path / val_name}: {min(unknown)} is no class of {trn_name}")
        splits.append(test_name and _folders(path, [test_name], path))
        return cls(path, partial(FilesDataset, path=path), splits, tfms, bs, classes)

    @classmethod
    def from_csv(cls, path: str | Path, folder: str, csv_fname: str | Path, bs: int = 64, tfms: Tfms | None = None,
                 val_idxs: np.ndarray | None = None, suffix: str = "", test_name: str | None = None,
                 continuous: bool = False, skip_header: bool = True, num_workers: int = 0,
                 cat_separator: str = " ") -> Self:  # fmt: skip
        """A table of (id, labels): pictures path/folder/ID+suffix, labels split at `cat_separator`.

        One label a row makes classes, several rows of 0/1, `continuous` numbers. `val_idxs`: if not given, a fifth.
        """
        path, header = Path(path), 0 if skip_header else None
        table = read_csv(
            csv_fname, header=header, dtype=str, keep_default_na=False
        )  # "007" and "NA" are names
        if table.shape[1] < 2:
            raise ValueError(
                f"{csv_fname}: needs two columns, id and labels; has only {list(table.columns)}"
            )
        names = np.array([f"{folder}/{i}{suffix}" for i in table.iloc[:, 0]])
        if missing := [n for n in names if not (path / n).exists()]:
            raise FileNotFoundError(
                f"{csv_fname}: {len(missing)} pictures not in {path}, first {missing[0]}"
            )
        if val_idxs is None and len(names) < 5:
            raise ValueError(
                f"{csv_fname}: {len(names)} rows, no fifth of which can validate: give more, or val_idxs"
            )
        y, classes = _encode(csv_fname, table.iloc[:, 1], cat_separator, continuous)
        rows = get_cv_idxs(len(names)) if val_idxs is None else val_idxs
        (val_names, trn_names), (val_y, trn_y) = split_by_idx(rows, names, y)
        splits = [
            (trn_names, trn_y),
            (val_names, val_y),
            test_name and _folders(path, [test_name], path),
        ]
        return cls(path, partial(FilesDataset, path=path), splits, tfms, bs, classes)

    @classmethod
    def from_arrays(cls, path: str | Path, trn: tuple, val: tuple, bs: int = 64, tfms: Tfms | None = None,
                    classes: Sequence[str] | None = None, test: Any = None) -> Self:  # fmt: skip
        """Arrays (x, y), x alone for the test set. Without `classes`, floats in y are numbers to predict."""
        if classes is None:
            classes = (
                []
                if (y := T(trn[1])).is_floating_point()
                else [str(c) for c in range(int(y.max()) + 1)]
            )
        test = None if test is None else (test, np.zeros(len(test), np.int64))
        return cls(Path(path), ArrayDataset, [trn, val, test], tfms or (None, None), bs, classes)

    def resize(self, targ: int, new_path: str = "tmp") -> Self:
        """The same data, read from copies of shortest side `targ`, made once in path/NEW_PATH/TARG."""
        root = work_dir(self.path) / new_path / str(targ)
        names = {str(name) for split in self.splits if split is not None for name in split[0]}
        list(POOL.map(partial(_resized_copy, self.path, root, targ), names))
        return type(self)(
            self.path,
            partial(FilesDataset, path=root),
            self.splits,
            self.tfms,
            self.bs,
            self.classes,
        )


def _folders(parent: Path, classes: Sequence[str], root: Path) -> tuple[list[str], np.ndarray]:
    """(file names relative to `root`, class numbers) of parent/CLASS; every class must be there."""
    if gone := [c for c in classes if not (parent / c).is_dir()]:
        raise FileNotFoundError(f"{parent}: no folder for class {gone[0]}")
    names = [picture_names(parent / c, root) for c in classes]
    return [name for part in names for name in part], np.repeat(
        np.arange(len(classes)), [len(n) for n in names]
    )


def _encode(
    file: str | Path, labels: pd.Series, separator: str, continuous: bool
) -> tuple[np.ndarray, list[str]]:
    """(numbers; or class numbers; or rows of 0/1 if any row has several labels), sorted class names."""
    if continuous:
        y = (
            labels.str.split(separator, expand=True)
            .apply(pd.to_numeric, errors="coerce")
            .to_numpy(np.float32)
        )
        if len(odd := np.flatnonzero(~np.isfinite(y).all(1))):
            what = "a number" if y.shape[1] == 1 else f"{y.shape[1]} numbers"
            raise ValueError(f"{file}: row {odd[0] + 1}: {labels.iloc[odd[0]]!r} is not {what}")
        return (y[:, 0] if y.shape[1] == 1 else y), []
    if not labels.str.contains(separator, regex=False).any():
        if len(odd := np.flatnonzero(labels == "")):
            raise ValueError(f"{file}: row {odd[0] + 1} has no label")
        classes, y = np.unique(labels.to_numpy(str), return_inverse=True)
        return y, classes.tolist()
    y = (many := labels.str.get_dummies(sep=separator)).to_numpy(np.float32)
    return (y.argmax(1) if (y.sum(1) == 1).all() else y), list(many.columns)


def _resized_copy(path: Path, root: Path, targ: int, name: str) -> None:
    if not (root / name).exists() or (root / name).stat().st_mtime < (path / name).stat().st_mtime:
        picture = TF.resize(read_picture(path / name, targ), [targ], TF.InterpolationMode.BICUBIC)
        with atomic(root / name) as part:
            picture.save(part, Image.registered_extensions()[Path(name).suffix.lower()], quality=95)


class ConvLearner(Learner):
    """A pre-trained body with a new head; with `precompute` only the head trains, on the activations of the body."""

    precompute, activations = False, None

    @classmethod
    def pretrained(cls, arch: Callable, data: ImageClassifierData, ps: float | Sequence[float] | None = None,
                   xtra_fc: Sequence[int] = (512,), precompute: bool = False, custom_head: nn.Module | None = None,
                   **kwargs: Any) -> Self:  # fmt: skip
        """`arch` (a function of torchvision, or efficientnet_lite0) with ImageNet weights, frozen, and a new head.

        The head: max and mean pooling, layers of `xtra_fc` and data.c units behind dropout `ps`; or `custom_head`.
        """
        body, split = cut_body(load_pretrained(arch))
        if custom_head is None:
            numbers = nn.Flatten(data.trn_y.ndim - 1)  # as y: (n,) or (n, c)
            last = numbers if data.is_reg else nn.Sigmoid() if data.is_multi else nn.LogSoftmax(1)
            custom_head = make_head([2 * count_features(body), *xtra_fc, data.c], ps, last)
            body.append(AdaptiveConcatPool2d()).append(nn.Flatten())
        learn = cls(data, nn.Sequential(body[:split], body[split:], custom_head), **kwargs)
        learn.precompute = precompute
        learn.freeze()
        return learn

    @classmethod
    def from_model_data(cls, model: nn.Module, data: ImageClassifierData, **kwargs: Any) -> Self:
        """Any model that gives log-probabilities; its layer groups are its children."""
        return cls(data, model, **kwargs)

    def __init__(self, data: ImageClassifierData, model: nn.Module, **kwargs: Any) -> None:
        crit = F.l1_loss if data.is_reg else F.binary_cross_entropy if data.is_multi else F.nll_loss
        metrics = [] if data.is_reg else [accuracy_thresh(0.5) if data.is_multi else accuracy]
        super().__init__(data, model, **{"crit": crit, "metrics": metrics, **kwargs})

    @property
    def model(self) -> nn.Module:
        """The head while precomputing, else the whole network."""
        return self.module[-1] if self.precompute else self.module

    @property
    def batches(self) -> Any:
        """Loaders of activations while precomputing, kept for as long as the body cannot change; else `data`."""
        self.activations = (self.activations or self._precomputed()) if self.precompute else None
        return self.activations or self.data

    def get_layer_groups(self) -> list[nn.Module]:
        """[early body, late body, head] of a pre-trained network; [head] while precomputing."""
        return [self.model] if self.precompute else super().get_layer_groups()

    def freeze_to(self, n: int) -> None:
        """Train the layer groups from the n-th on; freezing the head only leaves `precompute` on."""
        precompute, self.precompute = self.precompute and n == -1, False
        super().freeze_to(n)
        self.precompute = precompute

    def load(self, name: str) -> None:
        """Read weights that `save` wrote; activations of other weights are dropped."""
        super().load(name)
        self.activations = None

    def set_data(self, data: ImageClassifierData) -> None:
        """Go on with other data (larger pictures, say); freezes all but the last group."""
        if data.c != self.data.c:
            raise ValueError(f"the network has {self.data.c} outputs, the data need {data.c}")
        self.data, self.precompute, self.activations = data, False, None
        self.freeze()

    def _precomputed(self) -> SimpleNamespace:
        plain = {
            "trn_dl": self.data.fix_dl,
            "val_dl": self.data.val_dl,
            "test_dl": self.data.test_dl,
        }
        sets = {
            name: ArrayDataset(self._body_output(dl), dl.dataset.y)
            for name, dl in plain.items()
            if dl
        }
        made = {
            n: BatchLoader(ds, self.data.bs, n == "trn_dl", getattr(self.data, n).passes)
            for n, ds in sets.items()
        }
        return SimpleNamespace(**made)

    def _body_output(self, dl: BatchLoader) -> Tensor:
        """The body's output over a loader, kept in tmp/act_KEY.pt for these weights and pictures."""
        body, ds = self.module[:-1], dl.dataset
        weights = to_np(list(body.state_dict().values()))
        key = joblib.hash(
            [repr(body), weights, repr(ds.tfm and vars(ds.tfm)), ds.contents(), DEVICE.type]
        )
        file = work_dir(self.data.path) / "tmp" / f"act_{key}.pt"
        if not file.exists():
            with atomic(file) as part:
                torch.save(T(predict_with_targs(body, dl)[0]), part)
        return torch.load(file, weights_only=True)
