"""Pictures in six loaders, and the Learner that trains a pre-trained network on them."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
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

from .batches import ArrayDataset, BatchLoader
from .copies import small_copies
from .core import DEVICE, T, as_tensor, get_cv_idxs, split_by_idx, to_np
from .files import locked, place_name, read_csv, sweep_parts, work_dir
from .learner import Learner, freeze_to, layer_groups
from .metrics import accuracy, accuracy_thresh
from .models import (
    AdaptiveConcatPool2d,
    count_features,
    cut_body,
    efficientnet_lite0,
    load_pretrained,
    make_head,
)
from .pictures import FilesDataset, picture_names
from .saved import read_rows, write_tensors
from .training import Loaders, predict_with_targs
from .transforms import Transforms

__all__ = [
    "ConvLearner",
    "ImageClassifierData",
    "efficientnet_lite0",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnext50",
    "resnext50_32x4d",
    "resnext101_64",
    "resnext101_64x4d",
    "vgg16",
    "vgg16_bn",
]

resnext50 = resnext50_32x4d  # the names in the videos
resnext101_64 = resnext101_64x4d
Tfms = tuple[Transforms, Transforms]
Arrays = tuple[Any, ...]  # what a data set is made of: the inputs, or their file names; y last


class ImageClassifierData:
    """Pictures in six loaders, and the sets that these walk through. Used in lessons 1, 2 and 7.

    | loader | data set | pictures | transforms |
    |---|---|---|---|
    | trn_dl | trn_ds | training, shuffled | those of training |
    | fix_dl | fix_ds | training, in order | those of validation |
    | val_dl | val_ds | validation | those of validation |
    | aug_dl | aug_ds | validation | those of training |
    | test_dl | test_ds | test, if any | those of validation |
    | test_aug_dl | test_aug_ds | test, if any | those of training |

    `c`: how many outputs a network needs; `classes`: their names; `sz`: height and width.
    `is_multi`: several labels a picture, y (n, c) of 0 and 1; `is_reg`: y (n,) or (n, c) numbers.
    """

    def __init__(
        self,
        path: Path,
        make: Callable[..., ArrayDataset],
        splits: Sequence[Arrays | None],
        tfms: tuple[Transforms | None, Transforms | None] | None,
        bs: int,
        classes: Sequence[str],
    ) -> None:
        """`splits`: training, validation and test (or None), each the arguments of `make`."""
        if tfms is None:
            raise ValueError(
                "pass tfms=tfms_from_model(arch, sz): a batch needs pictures of one size"
            )
        self.path = path
        self._make = make
        self.splits = splits
        self.tfms = tfms
        self.bs = bs
        self.classes = list(classes)

        trn, val, test = splits
        augmented, plain = tfms
        self.trn_ds, self.trn_dl = self._load("training", trn, augmented, shuffle=True)
        self.fix_ds, self.fix_dl = self._load("training", trn, plain)
        self.val_ds, self.val_dl = self._load("validation", val, plain)
        self.aug_ds, self.aug_dl = self._load("validation", val, augmented)
        self.test_ds: ArrayDataset | None = None
        self.test_dl: BatchLoader | None = None
        self.test_aug_ds: ArrayDataset | None = None
        self.test_aug_dl: BatchLoader | None = None
        if test is not None:
            self.test_ds, self.test_dl = self._load("test", test, plain)
            self.test_aug_ds, self.test_aug_dl = self._load("test", test, augmented)

        self.trn_y = self.trn_ds.y
        self.val_y = self.val_ds.y
        self.sz = None if augmented is None else augmented.sz
        self.is_reg = not self.classes
        self.is_multi = not self.is_reg and self.trn_y.ndim == 2
        self.c = self._outputs()

    def _load(
        self, name: str, arrays: Arrays | None, tfm: Transforms | None, shuffle: bool = False
    ) -> tuple[ArrayDataset, BatchLoader]:
        if arrays is None or not len(arrays[-1]):
            raise ValueError(
                f"{self.path}: the {name} set is empty: check its folder, val_idxs or arrays"
            )
        ds = self._make(*arrays, tfm=tfm)
        ds.classes = self.classes
        return ds, BatchLoader(ds, self.bs, shuffle=shuffle)

    def _outputs(self) -> int:
        if self.is_reg:
            return 1 if self.trn_y.ndim == 1 else self.trn_y.shape[1]
        if len(self.classes) == 1 and not self.is_multi:
            raise ValueError(
                f"{self.path}: only one class, {self.classes[0]}: there is nothing to tell apart"
            )
        return len(self.classes)

    @classmethod
    def from_paths(
        cls,
        path: str | Path,
        bs: int = 64,
        tfms: Tfms | None = None,
        trn_name: str = "train",
        val_name: str = "valid",
        test_name: str | None = None,
        num_workers: int = 0,
    ) -> Self:
        """From path/train/CLASS/*.jpg, path/valid/CLASS/*.jpg, path/TEST_NAME/*.jpg.

        `num_workers` is not used.
        """
        path = Path(path)
        classes = _subfolders(path / trn_name)
        if not classes:
            raise FileNotFoundError(
                f"{path / trn_name}: no such folder, or no folders in it, one a class"
            )
        trn = _pictures_by_class(path, trn_name, classes)
        val = _pictures_by_class(path, val_name, classes)
        for name in _subfolders(path / val_name):
            if name not in classes:
                raise ValueError(f"{path / val_name}: {name} is no class of {trn_name}")
        test = _test_pictures(path, test_name)
        return cls(path, partial(FilesDataset, path=path), (trn, val, test), tfms, bs, classes)

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        folder: str,
        csv_fname: str | Path,
        bs: int = 64,
        tfms: Tfms | None = None,
        val_idxs: np.ndarray | None = None,
        suffix: str = "",
        test_name: str | None = None,
        continuous: bool = False,
        skip_header: bool = True,
        num_workers: int = 0,
        cat_separator: str = " ",
    ) -> Self:
        """From a table of (id, labels), and pictures path/folder/ID+suffix.

        One label a row makes classes, several (split at `cat_separator`) make rows of 0 and 1,
        `continuous` makes numbers. `val_idxs`: the rows for validation, if not given a fifth.
        `num_workers` is not used.
        """
        path = Path(path)
        table = _read_labels(csv_fname, skip_header)
        names = _files_of_ids(path, folder, table.iloc[:, 0], suffix)
        _check_files(csv_fname, path, names)
        if skip_header:
            _check_header(csv_fname, path, folder, table.columns[0], suffix)
        y, classes = _encode(csv_fname, table.iloc[:, 1], cat_separator, continuous)
        if val_idxs is None:
            if len(names) < 5:
                raise ValueError(
                    f"{csv_fname}: {len(names)} rows, no fifth of which can validate: "
                    "give more, or val_idxs"
                )
            val_idxs = get_cv_idxs(len(names))
        (val_names, trn_names), (val_y, trn_y) = split_by_idx(val_idxs, names, y)
        splits = (trn_names, trn_y), (val_names, val_y), _test_pictures(path, test_name)
        return cls(path, partial(FilesDataset, path=path), splits, tfms, bs, classes)

    @classmethod
    def from_arrays(
        cls,
        path: str | Path,
        trn: Arrays,
        val: Arrays,
        bs: int = 64,
        tfms: Tfms | None = None,
        classes: Sequence[str] | None = None,
        test: Any = None,
    ) -> Self:
        """From arrays (x, y), of the test set x alone; work files go to `path`.

        y: class numbers (n,), or rows of 0 and 1 (n, c); without `classes`, floats are numbers to
        predict, and classes are named by their numbers. ValueError for a class that has no name.
        """
        *trn_x, trn_y = (as_tensor(array) for array in trn)  # one copy for all loaders
        *val_x, val_y = (as_tensor(array) for array in val)
        if classes is None:
            classes = _numbered_classes(trn_y, val_y)
        trn = (*trn_x, _checked_targets("training", trn_y, classes))
        val = (*val_x, _checked_targets("validation", val_y, classes))
        if test is not None:
            test = as_tensor(test), np.zeros(len(test), np.int64)
        return cls(Path(path), ArrayDataset, (trn, val, test), tfms or (None, None), bs, classes)

    def resize(self, targ: int, new_path: str = "tmp") -> Self:
        """The same data, read from small copies in work_dir(path)/NEW_PATH/TARG. Used in lesson 2.

        The shortest side of a copy has `targ` pixels; it is made again if its picture is another.
        """
        if not isinstance(self.trn_ds, FilesDataset):
            raise ValueError("resize makes copies of files, and these data are arrays in memory")
        work = work_dir(self.path)
        folder = work / new_path
        if not folder.resolve().is_relative_to(work.resolve()):
            folder = folder / place_name(self.path)  # other data sets may have copies there, too
        splits = [split for split in self.splits if split is not None]
        names = {str(name) for fnames, _ in splits for name in fnames}
        root = small_copies(self.path, sorted(names), folder, targ)
        make = partial(FilesDataset, path=root)
        return type(self)(self.path, make, self.splits, self.tfms, self.bs, self.classes)


# Which files there are, and what their labels mean


def _subfolders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("[!.]*/"))


def _pictures_by_class(
    path: Path, folder: str, classes: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """(file names relative to `path`, class numbers) of path/folder/CLASS; all must be there."""
    names: list[str] = []
    numbers: list[int] = []
    for number, name in enumerate(classes):
        if not (path / folder / name).is_dir():
            raise FileNotFoundError(f"{path / folder}: no folder for class {name}")
        found = picture_names(path / folder / name, path)
        names += found
        numbers += [number] * len(found)
    return names, np.array(numbers)


def _test_pictures(path: Path, folder: str | None) -> tuple[list[str], np.ndarray] | None:
    """(file names relative to `path`, a zero each) of path/folder; None if there is no test set."""
    if not folder:
        return None
    if not (path / folder).is_dir():
        raise FileNotFoundError(f"{path}: no folder {folder} for the test set")
    names = picture_names(path / folder, path)
    return names, np.zeros(len(names), np.int64)


def _read_labels(file: str | Path, skip_header: bool) -> pd.DataFrame:
    header = 0 if skip_header else None
    table = read_csv(file, header=header, dtype=str, keep_default_na=False)  # "007", "NA": names
    if table.shape[1] < 2:
        raise ValueError(
            f"{file}: needs two columns, id and labels; has only {list(table.columns)}"
        )
    return table


def _files_of_ids(path: Path, folder: str, ids: pd.Series, suffix: str) -> np.ndarray:
    """File names of the pictures, relative to `path` also where `folder` is not in it."""
    if Path(folder).is_absolute():
        folder = os.path.relpath(folder, path.resolve())
    start = f"{folder}/" if folder else ""
    return np.array([f"{start}{i}{suffix}" for i in ids])


def _check_files(file: str | Path, path: Path, names: np.ndarray) -> None:
    missing = [name for name in names if not (path / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{file}: {len(missing)} pictures not in {path}, first {missing[0]}"
        )


def _check_header(file: str | Path, path: Path, folder: str, first: str, suffix: str) -> None:
    """Refuse a table whose first line is taken for a header, but names a picture."""
    if (path / folder / f"{first}{suffix}").is_file():
        raise ValueError(
            f"{file}: the first line names a picture, {first}{suffix}: "
            "if it is no header, pass skip_header=False"
        )


def _encode(
    file: str | Path, labels: pd.Series, separator: str, continuous: bool
) -> tuple[np.ndarray, list[str]]:
    """(y, class names sorted): numbers without names, class numbers, or rows of 0 and 1."""
    if continuous:
        return _numbers(file, labels, separator), []
    rows = [_parts(text, separator) for text in labels]
    classes = sorted(set().union(*rows))
    number = {name: i for i, name in enumerate(classes)}
    counts = [len(row) for row in rows]
    if max(counts) > 1:  # several labels in some rows, perhaps none in others
        y = np.zeros((len(rows), len(classes)), np.float32)
        for i, row in enumerate(rows):
            y[i, [number[name] for name in row]] = 1
        return y, classes
    if min(counts) == 0:  # one label in each row but this
        raise ValueError(f"{file}: row {counts.index(0) + 1} has no label")
    return np.array([number[name] for (name,) in rows]), classes


def _parts(text: str, separator: str) -> set[str]:
    """The labels in a text, without the spaces around them."""
    return {part.strip() for part in text.split(separator)} - {""}


def _numbers(file: str | Path, texts: pd.Series, separator: str) -> np.ndarray:
    """(n,) or, of several numbers a row, (n, c) float32."""
    columns = texts.str.split(separator, expand=True)
    y = columns.apply(pd.to_numeric, errors="coerce").to_numpy(np.float32)
    odd = np.flatnonzero(~np.isfinite(y).all(1))
    if len(odd):
        what = "a number" if y.shape[1] == 1 else f"{y.shape[1]} numbers"
        raise ValueError(f"{file}: row {odd[0] + 1}: {texts.iloc[odd[0]]!r} is not {what}")
    if y.shape[1] == 1:
        return y[:, 0]
    return y


def _numbered_classes(trn_y: Tensor, val_y: Tensor) -> list[str]:
    """ "0", "1", … up to the highest class number, or for each column; none for floats."""
    if trn_y.is_floating_point() or not len(trn_y):
        return []
    if trn_y.ndim == 2:
        return [str(column) for column in range(trn_y.shape[1])]
    highest = int(torch.cat([trn_y, val_y]).max())
    return [str(number) for number in range(highest + 1)]


def _checked_targets(name: str, y: Tensor, classes: Sequence[str]) -> Tensor:
    """Class numbers as int64, rows of 0 and 1 and numbers to predict as float32."""
    if not classes:
        return y.float()
    if y.ndim == 2:
        if y.shape[1] != len(classes):
            raise ValueError(
                f"the {name} set has {y.shape[1]} columns of labels for {len(classes)} classes"
            )
        if len(y) and not (y.min() >= 0 and y.max() <= 1):
            raise ValueError(f"the {name} set: rows of labels hold 0 and 1; class numbers are (n,)")
        return y.float()
    numbers = y.long()
    if not torch.equal(numbers.double(), y.double()):
        raise ValueError(f"the {name} set: class numbers are whole")
    odd = numbers[(numbers < 0) | (numbers >= len(classes))].tolist()
    if odd:
        raise ValueError(
            f"the {name} set has class {odd[0]}, but classes count from 0 to {len(classes) - 1}"
        )
    return numbers


class Origin:
    """What activations were made of: pictures, and a body's layers and weights at that time."""

    def __init__(self, data: ImageClassifierData, body: nn.Module) -> None:
        self.data = data
        self.layers = repr(body)
        self.weights = {name: tensor.clone() for name, tensor in body.state_dict().items()}
        self.key = joblib.hash([self.layers, to_np(list(self.weights.values()))])

    def is_still(self, data: ImageClassifierData, body: nn.Module) -> bool:
        """Whether these would give the same activations, to the bit."""
        now = body.state_dict()
        if data is not self.data or repr(body) != self.layers or now.keys() != self.weights.keys():
            return False
        return all(torch.equal(now[name], then) for name, then in self.weights.items())


@dataclass
class Activations(Loaders):
    """Loaders of what a body gives for pictures."""

    origin: Origin = field(kw_only=True)


class ConvLearner(Learner):
    """A pre-trained body with a new head. Used in lessons 1, 2 and 7.

    While `precompute` is on, the head alone trains, on kept activations: what the body gives for
    each picture is computed once.
    """

    module: nn.Sequential

    def __init__(self, data: ImageClassifierData, model: nn.Module, **kwargs: Any) -> None:
        """`kwargs` are those of `Learner`; without them, loss and metrics go with the data."""
        self._precompute = False
        self.activations: Activations | None = None
        crit, metrics = _loss_and_metrics(data)
        super().__init__(data, model, **{"crit": crit, "metrics": metrics, **kwargs})

    @classmethod
    def pretrained(
        cls,
        arch: Callable[..., nn.Module],
        data: ImageClassifierData,
        ps: float | Sequence[float] | None = None,
        xtra_fc: Sequence[int] = (512,),
        precompute: bool = False,
        custom_head: nn.Module | None = None,
        **kwargs: Any,
    ) -> Self:
        """The body of `arch`, with ImageNet weights, frozen, and a new head.

        `arch`: a function of torchvision, or efficientnet_lite0. The head: max and mean pooling,
        layers of `xtra_fc` and data.c units behind dropout `ps` (see `make_head`); or
        `custom_head`, which takes the body's feature maps (n, channels, h, w).
        """
        body, second_group = cut_body(load_pretrained(arch))
        if custom_head is None:
            sizes = [2 * count_features(body), *xtra_fc, data.c]
            custom_head = make_head(sizes, ps, _last_layer(data))
            body.append(AdaptiveConcatPool2d())  # (n, channels, h, w) to (n, 2 channels, 1, 1)
            body.append(nn.Flatten())  # (n, 2 channels)
        groups = body[:second_group], body[second_group:], custom_head
        learn = cls(data, nn.Sequential(*groups), **kwargs)
        learn.precompute = precompute
        learn.freeze()
        return learn

    @classmethod
    def from_model_data(cls, model: nn.Module, data: ImageClassifierData, **kwargs: Any) -> Self:
        """Any model that gives log-probabilities; its layer groups are its children."""
        return cls(data, model, **kwargs)

    @property
    def precompute(self) -> bool:
        """Whether the head alone trains, on kept activations."""
        return self._precompute

    @precompute.setter
    def precompute(self, on: bool) -> None:
        if on and not isinstance(self.module, nn.Sequential):
            raise ValueError("precompute needs a body and a head: nn.Sequential(..., head)")
        if not on:
            self.activations = None  # from here on the body may change
        self._precompute = on

    @property
    def model(self) -> nn.Module:
        """The head while precomputing, else the whole network."""
        if self.precompute:
            return self.module[-1]
        return self.module

    @property
    def batches(self) -> Any:
        """Loaders of activations while precomputing, else `data`."""
        if not self.precompute:
            return self.data
        kept = self.activations
        if kept is None or not kept.origin.is_still(self.data, self.module[:-1]):
            self.activations = self._precomputed()
        return self.activations

    def get_layer_groups(self) -> list[nn.Module]:
        """[early body, late body, head] of a pre-trained network; [head] while precomputing."""
        if self.precompute:
            return [self.model]
        return super().get_layer_groups()

    def freeze_to(self, n: int) -> None:
        """Train the layer groups from the n-th on; any but the last alone ends `precompute`."""
        groups = layer_groups(self.module) if self.precompute else self.get_layer_groups()
        freeze_to(groups, n)
        if n != -1:
            self.precompute = False

    def set_data(self, data: ImageClassifierData) -> None:
        """Go on with other data (larger pictures, say); freezes all but the last group."""
        if data.c != self.data.c:
            raise ValueError(f"the network has {self.data.c} outputs, the data need {data.c}")
        self.data = data
        self.precompute = False
        self.freeze()

    def _precomputed(self) -> Activations:
        data = self.data
        origin = Origin(data, self.module[:-1])
        trn = self._body_output(data.fix_dl, origin)  # without augmentation
        trn_dl = BatchLoader(trn, data.bs, shuffle=True, passes=data.trn_dl.passes)
        val = self._body_output(data.val_dl, origin)
        val_dl = BatchLoader(val, data.bs, passes=data.val_dl.passes)
        test_dl = None
        if data.test_dl is not None:
            test = self._body_output(data.test_dl, origin)
            test_dl = BatchLoader(test, data.bs, passes=data.test_dl.passes)
        return Activations(trn_dl, val_dl, test_dl, origin=origin)

    def _body_output(self, dl: BatchLoader, origin: Origin) -> ArrayDataset:
        """The body's output over a loader, and y; the output is kept in tmp/act_KEY.pt."""
        key = _activations_key(dl.dataset, origin)
        file = work_dir(self.data.path) / "tmp" / f"act_{key}.pt"
        n = len(dl.dataset)
        output = read_rows(file, n, "activations")
        if output is None:
            with locked(file):
                output = read_rows(file, n, "activations")  # another process may have made them
                if output is None:
                    output = self._made_activations(dl, file)
        return ArrayDataset(output, dl.dataset.y)

    def _made_activations(self, dl: BatchLoader, file: Path) -> Tensor:
        if file.exists():
            logging.getLogger(__name__).warning(f"{file}: damaged; it is made anew")
        sweep_parts(file, older_than=0)  # the lock is ours: nobody writes them
        output = T(predict_with_targs(self.module[:-1], dl)[0])
        write_tensors(output, file)
        return output


def _activations_key(ds: ArrayDataset, origin: Origin) -> str:
    """A key of all that activations depend on: body, pictures, transforms, and kind of device."""
    settings = None if ds.tfm is None else vars(ds.tfm)
    place = str(ds.path.resolve()) if isinstance(ds, FilesDataset) else None
    return joblib.hash([origin.key, settings, place, ds.contents(), DEVICE.type])


def _loss_and_metrics(data: ImageClassifierData) -> tuple[Callable, list[Callable]]:
    if data.is_reg:
        return F.l1_loss, []
    if data.is_multi:
        return F.binary_cross_entropy, [accuracy_thresh(0.5)]
    return F.nll_loss, [accuracy]


def _last_layer(data: ImageClassifierData) -> nn.Module:
    """From the scores (n, c) of the head to what the loss compares with y."""
    if data.is_reg and data.trn_y.ndim == 1:
        return nn.Flatten(0)  # (n, 1) to (n,)
    if data.is_reg:
        return nn.Identity()
    if data.is_multi:
        return nn.Sigmoid()  # each label by itself
    return nn.LogSoftmax(1)
