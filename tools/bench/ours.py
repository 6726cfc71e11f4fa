"""Our contenders, and beside them the bare loops of PyTorch, on the same work."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from course_utils.collab import CollabFilterDataset
from course_utils.core import get_cv_idxs
from course_utils.learner import Learner, SGD_Momentum
from course_utils.loaders import BatchLoader, FilesDataset
from course_utils.rnn import seq2seq_reg
from course_utils.tabular import ColumnarModelData
from course_utils.text import Field, LanguageModelData
from course_utils.tokens import Example, TextDataset
from course_utils.transforms import (
    RandomFlip,
    imagenet_stats,
    tfms_from_stats,
    transforms_side_on,
)
from course_utils.vision import ConvLearner, ImageClassifierData
from PIL import Image
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from tools.bench import work
from tools.bench.work import Epoch, Pictures, Streams

__all__ = [
    "awd_lstm",
    "bare_loop",
    "bare_movielens",
    "bare_pictures",
    "bare_rossmann",
    "cifar10",
    "movielens",
    "picture_loader",
    "pictures",
    "rossmann",
    "stateful_lstm",
    "torchvision_loader",
]

# Loading pictures


def pictures(source: Pictures) -> Epoch:
    """All batches of `picture_loader`."""
    return work.walk(picture_loader, source)


def picture_loader(source: Pictures) -> Iterable:
    """Ours: decoded pictures are kept, batches are augmented whole."""
    tfms = tfms_from_stats(imagenet_stats, work.SZ, transforms_side_on, max_zoom=work.MAX_ZOOM)
    augmented, _ = tfms
    names = [str(file.resolve()) for file in source.files]
    return BatchLoader(FilesDataset(names, source.labels, Path(), augmented), source.bs, True)


def bare_pictures(source: Pictures) -> Epoch:
    """All batches of `torchvision_loader`."""
    return work.walk(torchvision_loader, source)


def torchvision_loader(source: Pictures) -> Iterable:
    """Plain torchvision: two worker processes, transforms of one picture at a time."""
    return DataLoader(PictureFiles(source), source.bs, shuffle=True, num_workers=2)


class PictureFiles(Dataset):
    """The data set of the usual tutorial: decode and augment one picture at a time."""

    def __init__(self, source: Pictures) -> None:
        self.files = source.files
        self.labels = source.labels
        self.augment = v2.Compose(
            [
                v2.ToImage(),
                v2.Resize(work.SIDE),
                v2.RandomRotation(10, v2.InterpolationMode.BILINEAR),
                v2.RandomCrop(work.SZ),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.05, 0.05),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(*imagenet_stats),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        with Image.open(self.files[i]) as im:
            return self.augment(im.convert("RGB")), int(self.labels[i])


# The lessons' models


def cifar10(path: Path) -> Epoch:
    """Lesson 7's Resnet2: after the first epoch one tensor on the device, augmented there."""
    tfms = tfms_from_stats(work.STATS, 32, [RandomFlip()], pad=4)
    data = ImageClassifierData.from_paths(path, bs=256, tfms=tfms, val_name="test")
    learn = ConvLearner.from_model_data(work.resnet2(), data, opt_fn=SGD_Momentum(0.9))
    return _epoch(learn, 0.01)


def rossmann(_: None) -> Epoch:
    """Lesson 3's network on the random table, of which the first rows validate."""
    return _epoch(_rossmann_learner(), 1e-3)


def bare_rossmann(_: None) -> Epoch:
    """The bare loop over the same batches."""
    return bare_loop(_rossmann_learner())


def _rossmann_learner() -> Learner:
    rows = work.random_table()
    sales = rows.pop("y")
    data = ColumnarModelData.from_data_frame(
        ".", range(work.VALID), rows, sales, work.CATEGORIES, bs=128
    )
    n_cont = len(work.NUMBERS)
    return data.get_learner(
        work.EMB_SZS, n_cont, 0.04, 1, [1000, 500], [0.001, 0.01], y_range=(0, 12)
    )


def movielens(path: Path) -> Epoch:
    """Lesson 5's model by the library."""
    return _epoch(_movielens_learner(path), 1e-2, wds=2e-4)


def bare_movielens(path: Path) -> Epoch:
    """The bare loop over the same batches."""
    return bare_loop(_movielens_learner(path))


def _movielens_learner(path: Path) -> Learner:
    ratings = CollabFilterDataset.from_csv(path, "ratings.csv", "userId", "movieId", "rating")
    val_idxs = get_cv_idxs(len(ratings.y)).tolist()
    return ratings.get_learner(50, val_idxs, 64)


def awd_lstm(_: None) -> Epoch:
    """Lesson 4's language model."""
    data = _language_data(work.WORDS)
    learn = data.get_model(
        partial(optim.Adam, betas=(0.7, 0.99)),
        emb_sz=work.AWD.emb_sz,
        n_hid=work.AWD.n_hid,
        n_layers=work.AWD.n_layers,
        dropouti=0.05,
        dropout=0.05,
        wdrop=0.1,
        dropoute=0.02,
        dropouth=0.05,
    )
    learn.reg_fn = partial(seq2seq_reg, alpha=2, beta=1)
    learn.clip = 0.3
    return _epoch(learn, 3e-3)


def stateful_lstm(_: None) -> Epoch:
    """The LSTM of lesson 6, from its notebook."""
    return _epoch(_stateful_learner(), 1e-2, wds=1e-5)


def _stateful_learner() -> Learner:
    lesson = work.lesson("lesson6-rnn")
    lesson.n_hidden = work.N_HIDDEN
    data = _language_data(work.CHARS)
    network = lesson.CharSeqStatefulLSTM(data.nt, work.N_FAC, data.bs, 2)
    return Learner(data, lesson.on_device(network), optim.Adam, F.nll_loss)


def _language_data(streams: Streams) -> LanguageModelData:
    """Random tokens as our streams."""
    field = Field()
    texts = [[str(token) for token in part.tolist()] for part in work.random_tokens(streams)]
    field.build_vocab(texts[0])
    trn, val = (TextDataset([Example(text)], text=field) for text in texts)
    return LanguageModelData(".", field, [trn, val, None], streams.bs, streams.bptt)


def _epoch(learn: Learner, lr: float, wds: float | None = None) -> Epoch:
    return lambda: learn.fit(lr, 1, wds=wds)


def bare_loop(learn: Learner) -> Epoch:
    """The bare loop over a learner's batches, with its model: what PyTorch itself takes."""
    model: nn.Module = learn.model
    data: Any = learn.data
    crit: Any = learn.crit
    opt = optim.Adam(model.parameters(), 1e-3, fused=True)

    def loss(xs: list[Tensor], y: Tensor) -> Tensor:
        return crit(model(*xs).view_as(y), y)

    def epoch() -> None:
        model.train()
        for *xs, y in data.trn_dl:
            opt.zero_grad()
            loss(xs, y).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            for *xs, y in data.val_dl:
                loss(xs, y)

    return epoch
