"""The contenders of fastai 2.8, on the same files, rows and tokens.

fastai goes into a folder of its own, .bench, never into .venv: INSTALL is the command. It is
imported where it is used, so that all else works without it.
"""

import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from course_utils.core import DEVICE
from course_utils.metrics import accuracy
from course_utils.transforms import imagenet_stats
from torch import Tensor, nn

from tools import ROOT
from tools.bench import work
from tools.bench.work import Epoch, Pictures, Streams

__all__ = [
    "FOLDER",
    "INSTALL",
    "BatchFirstLSTM",
    "awd_lstm",
    "cifar10",
    "movielens",
    "need",
    "picture_loader",
    "pictures",
    "rossmann",
    "stateful_lstm",
]

FOLDER = ROOT / ".bench"
INSTALL = (
    '.venv/bin/python -m pip install --target .bench --no-deps "fastai==2.8.*" "fastcore>=2.2.22" '
    'fasttransform "fastprogress==1.0.*" "fastdownload<2" "plum-dispatch<2.10" beartype rich '
    "markdown-it-py mdurl"
)


def need() -> None:
    """ValueError with the command that installs fastai, if it is not there."""
    if not (FOLDER / "fastai").is_dir():
        raise ValueError(f"fastai is not in {FOLDER.name}: {INSTALL}")


def _library(part: str) -> ModuleType:
    """A module of fastai, such as vision.all."""
    sys.path.append(str(FOLDER))
    warnings.simplefilter("ignore")
    return import_module(f"fastai.{part}")


def pictures(source: Pictures) -> Epoch:
    """All batches of `picture_loader`."""
    return work.walk(picture_loader, source)


def picture_loader(source: Pictures) -> Any:
    """Worker processes decode and resize, the main process augments batches."""
    fv = _library("vision.all")
    augment = fv.aug_transforms(
        size=work.SZ, max_rotate=10, max_zoom=work.MAX_ZOOM, max_lighting=0.1, max_warp=0
    )
    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock),
        get_y=fv.parent_label,
        splitter=lambda items: (range(len(items)), [0]),
        item_tfms=fv.Resize(work.SIDE),
        batch_tfms=[*augment, fv.Normalize.from_stats(*imagenet_stats)],
    )
    return block.dataloaders(source.files, bs=source.bs, device=DEVICE).train


def cifar10(path: Path) -> Epoch:
    """Worker processes decode, pad, crop and mirror each picture."""
    fv = _library("vision.all")
    block = fv.DataBlock(
        (fv.ImageBlock, fv.CategoryBlock),
        get_items=fv.get_image_files,
        get_y=fv.parent_label,
        splitter=fv.GrandparentSplitter("train", "test"),
        item_tfms=[
            fv.CropPad(40, pad_mode=fv.PadMode.Reflection),
            fv.RandomCrop(32),
            fv.FlipItem(),
        ],
        batch_tfms=fv.Normalize.from_stats(*work.STATS),
    )
    dls = block.dataloaders(path, bs=256, device=DEVICE)
    model = work.resnet2().to(memory_format=torch.channels_last)
    sgd = fv.partial(fv.SGD, mom=0.9)
    learn = fv.Learner(dls, model, F.nll_loss, opt_func=sgd, metrics=accuracy)
    return _epoch(_in_half(learn), 0.01)


def rossmann(_: None) -> Epoch:
    """Its TabularModel on the same table."""
    ft = _library("tabular.all")
    splits = (list(range(work.VALID, work.ROWS)), list(range(work.VALID)))
    columns = (work.CATEGORIES, work.NUMBERS, "y")
    table = ft.TabularPandas(work.random_table(), [], *columns, splits=splits)
    model = ft.TabularModel(
        emb_szs=work.EMB_SZS,
        n_cont=len(work.NUMBERS),
        out_sz=1,
        layers=[1000, 500],
        ps=[0.001, 0.01],
        embed_p=0.04,
        y_range=(0, 12),
        use_bn=False,
    )
    dls = table.dataloaders(bs=128, device=DEVICE)
    return _epoch(ft.Learner(dls, model, ft.MSELossFlat()), 1e-3)


def movielens(path: Path) -> Epoch:
    """Its EmbeddingDotBias on the same ratings, a fifth of them for validation."""
    fc = _library("collab")
    ratings = pd.read_csv(path / "ratings.csv")
    dls = fc.CollabDataLoaders.from_df(ratings, bs=64, device=DEVICE)
    return _epoch(fc.collab_learner(dls, n_factors=50, y_range=(0.5, 5)), 1e-2, wd=2e-4)


def _streams(ft: ModuleType, streams: Streams) -> Any:
    """The same random tokens as fastai's streams."""
    sets = [
        ft.LMDataLoader([tokens], lens=[len(tokens)], bs=streams.bs, seq_len=streams.bptt)
        for tokens in work.random_tokens(streams)
    ]
    return ft.DataLoaders(*sets, device=DEVICE)


def awd_lstm(_: None) -> Epoch:
    """Its AWD_LSTM with the same sizes, dropouts, regularisation and clipping."""
    ft = _library("text.all")
    config = ft.awd_lstm_lm_config | vars(work.AWD)
    config |= {"input_p": 0.05, "output_p": 0.05, "hidden_p": 0.05}
    config |= {"weight_p": 0.1, "embed_p": 0.02}
    model = ft.get_language_model(ft.AWD_LSTM, work.WORDS.n_words, config)
    loss = ft.CrossEntropyLossFlat()
    dls = _streams(ft, work.WORDS)
    learn = ft.LMLearner(dls, model, loss_func=loss, cbs=ft.GradientClip(0.3))
    return _epoch(_in_half(learn), 3e-3)


class BatchFirstLSTM(nn.Module):
    """Lesson 6's network on tokens (bs, t), as fastai's loaders give them."""

    def __init__(self, n_words: int, n_fac: int, n_hidden: int, n_layers: int) -> None:
        super().__init__()
        self.e = nn.Embedding(n_words, n_fac)
        self.rnn = nn.LSTM(n_fac, n_hidden, n_layers, dropout=0.5, batch_first=True)
        self.l_out = nn.Linear(n_hidden, n_words)
        self.h: tuple[Tensor, Tensor] | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        if self.h is not None and self.h[0].shape[1] != len(tokens):
            self.h = None
        out, (h, c) = self.rnn(self.e(tokens), self.h)  # (bs, t, n_hidden)
        self.h = (h.detach(), c.detach())
        return self.l_out(out)  # (bs, t, n_words)

    def reset(self) -> None:
        self.h = None


def stateful_lstm(_: None) -> Epoch:
    """The same network, its state reset at the beginning of an epoch."""
    ft = _library("text.all")
    model = BatchFirstLSTM(work.CHARS.n_words, work.N_FAC, work.N_HIDDEN, 2)
    loss = ft.CrossEntropyLossFlat()
    learn = ft.Learner(_streams(ft, work.CHARS), model, loss, cbs=ft.ModelResetter())
    return _epoch(learn, 1e-2, wd=1e-5)


def _in_half(learn: Any) -> Any:
    """On a GPU in bfloat16, as ours."""
    return learn.to_bf16() if work.GPU else learn


def _epoch(learn: Any, lr: float, **kwargs: Any) -> Epoch:
    """An epoch of a fastai learner, without its progress bar."""
    learn.remove_cb(_library("callback.progress").ProgressCallback)
    return lambda: learn.fit(1, lr, **kwargs)
