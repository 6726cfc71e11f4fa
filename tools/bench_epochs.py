"""One epoch of training, with validation, of five lessons' models: by `Learner.fit` and by fastai 2.8.

`python -m tools.bench_epochs` measures all of them, --only some; --size full takes the full data.

- cifar10: lesson 7's Resnet2 on the same files, batches of 256, pictures padded by 4, cropped and mirrored at random,
  SGD with momentum; on a GPU both in bfloat16. The first epoch also decodes.
- rossmann: lesson 3's network, batches of 128, on a table of random numbers of the shape of the real one (22 categories
  with its cardinalities, 18 numbers): the values do not change the speed.
- movielens: lesson 5's dot product with biases, 50 factors, batches of 64.
- awd-lstm: lesson 4's language model, with its dropouts, on random words; on a CPU in the sizes of the sample, on a GPU
  in those of the full data, there both with bfloat16.
- stateful-lstm: lesson 6's two-layer LSTM on 64 streams of random characters, 8 at a time; sizes likewise.

Each contender runs in a fresh process; rounds are interleaved. `plain` is the bare loop over the same batches, what
PyTorch itself takes.
"""

import argparse
import json
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn, optim

from course_utils.collab import CollabFilterDataset
from course_utils.core import DEVICE, get_cv_idxs, set_seed
from course_utils.data import fingerprint, get_data
from course_utils.files import atomic
from course_utils.learner import Learner, SGD_Momentum
from course_utils.metrics import accuracy
from course_utils.rnn import seq2seq_reg
from course_utils.tabular import ColumnarModelData
from course_utils.text import Field, LanguageModelData
from course_utils.tokens import Example, TextDataset
from course_utils.transforms import RandomFlip, tfms_from_stats
from course_utils.vision import ConvLearner, ImageClassifierData
from tools.bench_images import BENCH, INSTALL, ROOT, apart, provenance, timed
from tools.cells import definitions, execute

__all__ = ["TASKS", "Task", "compare", "main"]

EPOCHS = 3
STATS = ([0.4914, 0.48216, 0.44653], [0.24703, 0.24349, 0.26159])
ROWS, VALID = 60_000, 2_000  # of the random table
CARDINALITIES = [1116, 8, 4, 13, 32, 3, 26, 27, 5, 4, 4, 24, 9, 13, 53, 22, 7, 7, 4, 4, 9, 9]
EMB_SZS = [(c, min(50, (c + 1) // 2)) for c in CARDINALITIES]
COLUMNS = [f"c{i}" for i in range(22)], [f"x{i}" for i in range(18)]
GPU = DEVICE.type == "cuda"
AWD = (
    {"emb_sz": 200, "n_hid": 500, "n_layers": 3}
    if GPU
    else {"emb_sz": 50, "n_hid": 100, "n_layers": 3}
)
WORDS, CHARS = (
    (1_000_000, 500_000) if GPU else (60_000, 60_000)
)  # random tokens to train on; a tenth validates
WORD_DATA = (
    {"n_words": 30_000, "bs": 64, "bptt": 70} if GPU else {"n_words": 5_000, "bs": 32, "bptt": 20}
)
CHAR_DATA = {"n_words": 84, "bs": 64, "bptt": 8}
N_HIDDEN = 512 if GPU else 128

Epoch = Callable[[], Any]


def resnet2() -> nn.Module:
    """The last network of lesson 7, from its notebook."""
    lesson = execute(definitions(ROOT / "nbs" / "lesson7-cifar10.ipynb"))
    return lesson.Resnet2([16, 32, 64, 128, 256], 10, 0.2)


def course_cifar10(path: Path) -> Epoch:
    """Ours: pictures in one tensor on the device after the first epoch, batches augmented there."""
    tfms = tfms_from_stats(STATS, 32, [RandomFlip()], pad=4)
    data = ImageClassifierData.from_paths(path, bs=256, tfms=tfms, val_name="test")
    learn = ConvLearner.from_model_data(resnet2(), data, opt_fn=SGD_Momentum(0.9))
    return lambda: learn.fit(0.01, 1)


def fastai_cifar10(path: Path) -> Epoch:
    """fastai 2.8: worker processes decode, pad, crop and mirror each picture."""
    _find_fastai()
    from fastai.vision import all as fv

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
        batch_tfms=fv.Normalize.from_stats(*STATS),
    )
    dls = block.dataloaders(path, bs=256, device=DEVICE)
    model = resnet2().to(memory_format=torch.channels_last)
    learn = fv.Learner(
        dls, model, F.nll_loss, opt_func=fv.partial(fv.SGD, mom=0.9), metrics=accuracy
    )
    if DEVICE.type == "cuda":
        learn.to_bf16()
    return _quiet(learn, 0.01)


def random_table() -> pd.DataFrame:
    """ROWS rows with the columns of lesson 3, and a target `y`, logarithms of sales."""
    rng = np.random.default_rng(0)
    codes = {
        name: rng.integers(0, c, ROWS) for name, c in zip(COLUMNS[0], CARDINALITIES, strict=True)
    }
    numbers = {name: rng.normal(size=ROWS).astype(np.float32) for name in COLUMNS[1]}
    return pd.DataFrame(codes | numbers | {"y": (8 + rng.random(ROWS)).astype(np.float32)})


def rossmann_learner() -> Learner:
    """Lesson 3's network on the random table, of which the first rows validate."""
    df = random_table()
    data = ColumnarModelData.from_data_frame(".", range(VALID), df, df.pop("y"), COLUMNS[0], bs=128)
    return data.get_learner(EMB_SZS, 18, 0.04, 1, [1000, 500], [0.001, 0.01], y_range=(0, 12))


def fastai_rossmann(_: None) -> Epoch:
    """fastai 2.8: TabularModel on the same table."""
    _find_fastai()
    from fastai.tabular import all as ft

    splits = list(range(VALID, ROWS)), list(range(VALID))
    table = ft.TabularPandas(random_table(), [], *COLUMNS, "y", splits=splits)
    size = {"emb_szs": EMB_SZS, "n_cont": 18, "out_sz": 1, "layers": [1000, 500]}
    model = ft.TabularModel(**size, ps=[0.001, 0.01], embed_p=0.04, y_range=(0, 12), use_bn=False)
    return _quiet(
        ft.Learner(table.dataloaders(bs=128, device=DEVICE), model, ft.MSELossFlat()), 1e-3
    )


def movielens_learner(path: Path) -> Learner:
    """Lesson 5's model by the library."""
    ratings = CollabFilterDataset.from_csv(path, "ratings.csv", "userId", "movieId", "rating")
    return ratings.get_learner(50, get_cv_idxs(len(ratings.y)), 64)


def fastai_movielens(path: Path) -> Epoch:
    """fastai 2.8: its EmbeddingDotBias on the same ratings, a fifth of them for validation."""
    _find_fastai()
    from fastai.collab import CollabDataLoaders, collab_learner

    dls = CollabDataLoaders.from_df(pd.read_csv(path / "ratings.csv"), bs=64, device=DEVICE)
    return _quiet(collab_learner(dls, n_factors=50, y_range=(0.5, 5)), 1e-2, wd=2e-4)


def random_tokens(n: int, n_words: int) -> list[torch.Tensor]:
    """Streams of tokens to train and to validate on; the first n_words of the former are all there are."""
    rng = np.random.default_rng(0)
    return [torch.from_numpy(np.r_[:n_words, rng.integers(0, n_words, m)]) for m in (n, n // 10)]


def language_data(n: int, n_words: int, bs: int, bptt: int) -> LanguageModelData:
    """Random tokens as our streams."""
    field = Field()
    texts = [[str(token) for token in tokens.tolist()] for tokens in random_tokens(n, n_words)]
    field.build_vocab(texts[0])
    sets = [TextDataset([Example(text)], text=field) for text in texts]
    return LanguageModelData(".", field, [*sets, None], bs, bptt)


def course_awd_lstm(_: None) -> Epoch:
    """Ours: lesson 4's language model."""
    data, drops = (
        language_data(WORDS, **WORD_DATA),
        dict.fromkeys(("dropouti", "dropout", "dropouth"), 0.05),
    )
    learn = data.get_model(
        partial(optim.Adam, betas=(0.7, 0.99)), **AWD, **drops, wdrop=0.1, dropoute=0.02
    )
    learn.reg_fn, learn.clip = partial(seq2seq_reg, alpha=2, beta=1), 0.3
    return _course(learn, 3e-3)


def fastai_loaders(n: int, n_words: int, bs: int, bptt: int) -> Any:
    """The same random tokens as fastai's streams."""
    _find_fastai()
    from fastai.text import all as ft

    streams = [
        ft.LMDataLoader([tokens], lens=[len(tokens)], bs=bs, seq_len=bptt)
        for tokens in random_tokens(n, n_words)
    ]
    return ft.DataLoaders(*streams, device=DEVICE)


def fastai_awd_lstm(_: None) -> Epoch:
    """fastai 2.8: its AWD_LSTM with the same sizes, dropouts, regularisation and clipping."""
    loaders = fastai_loaders(WORDS, **WORD_DATA)
    from fastai.text import all as ft

    drops = {"input_p": 0.05, "output_p": 0.05, "hidden_p": 0.05, "weight_p": 0.1, "embed_p": 0.02}
    model = ft.get_language_model(
        ft.AWD_LSTM, WORD_DATA["n_words"], ft.awd_lstm_lm_config | AWD | drops
    )
    learn = ft.LMLearner(
        loaders, model, loss_func=ft.CrossEntropyLossFlat(), cbs=ft.GradientClip(0.3)
    )
    return _quiet(learn.to_bf16() if GPU else learn, 3e-3)


def course_stateful_lstm(_: None) -> Epoch:
    """Ours: the LSTM of lesson 6, from its notebook."""
    lesson, data = (
        execute(definitions(ROOT / "nbs" / "lesson6-rnn.ipynb")),
        language_data(CHARS, **CHAR_DATA),
    )
    lesson.n_hidden = N_HIDDEN
    model = lesson.on_device(lesson.CharSeqStatefulLSTM(data.nt, 42, data.bs, 2))
    return _course(Learner(data, model, optim.Adam, F.nll_loss), 1e-2, 1e-5)


class BatchFirstLSTM(nn.Module):
    """The same network on tokens (bs, t), as fastai's loaders give them."""

    def __init__(self, n_words: int, n_fac: int, n_hidden: int, n_layers: int) -> None:
        super().__init__()
        self.e, self.l_out = nn.Embedding(n_words, n_fac), nn.Linear(n_hidden, n_words)
        self.rnn, self.h = nn.LSTM(n_fac, n_hidden, n_layers, dropout=0.5, batch_first=True), None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.h is not None and self.h[0].shape[1] != len(tokens):
            self.h = None
        out, state = self.rnn(self.e(tokens), self.h)
        self.h = tuple(h.detach() for h in state)
        return self.l_out(out)

    def reset(self) -> None:
        self.h = None


def fastai_stateful_lstm(_: None) -> Epoch:
    """fastai 2.8: the same network, its state reset at the beginning of an epoch."""
    loaders = fastai_loaders(CHARS, **CHAR_DATA)
    from fastai.text import all as ft

    model = BatchFirstLSTM(CHAR_DATA["n_words"], 42, N_HIDDEN, 2)
    return _quiet(
        ft.Learner(loaders, model, ft.CrossEntropyLossFlat(), cbs=ft.ModelResetter()), 1e-2, wd=1e-5
    )


def _find_fastai() -> None:
    sys.path.append(str(BENCH))
    warnings.simplefilter("ignore")


def _quiet(learn: Any, lr: float, **kwargs: Any) -> Epoch:
    """An epoch of a fastai learner, without its progress bar."""
    from fastai.callback.progress import ProgressCallback

    learn.remove_cb(ProgressCallback)
    return lambda: learn.fit(1, lr, **kwargs)


def plain(learn: Learner) -> Epoch:
    """The bare loop over a learner's batches, with its model, loss and optimizer."""
    model, opt = learn.model, optim.Adam(learn.model.parameters(), 1e-3, fused=True)

    def epoch() -> None:
        model.train()
        for *xs, y in learn.data.trn_dl:
            opt.zero_grad()
            learn.crit(model(*xs).view_as(y), y).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            for *xs, y in learn.data.val_dl:
                learn.crit(model(*xs).view_as(y), y)

    return epoch


class Task(NamedTuple):
    """What to train: the name of its data (None: a random table), its contenders, and the least ratio to fastai."""

    data: str | None
    contenders: dict[str, Callable[[Any], Epoch]]
    target: dict[str, float]  # in a later epoch, by kind of device


def _course(learn: Learner, lr: float, wds: float | None = None) -> Epoch:
    return lambda: learn.fit(lr, 1, wds=wds)


TASKS: dict[str, Task] = {
    "cifar10": Task(
        "cifar10",
        {"course_utils": course_cifar10, "fastai": fastai_cifar10},
        {"cpu": 1.3, "cuda": 3.0},
    ),
    "rossmann": Task(
        None,
        {
            "course_utils": lambda _: _course(rossmann_learner(), 1e-3),
            "plain": lambda _: plain(rossmann_learner()),
            "fastai": fastai_rossmann,
        },
        {"cpu": 1.4, "cuda": 5.0},
    ),
    "movielens": Task(
        "ml-latest-small",
        {
            "course_utils": lambda path: _course(movielens_learner(path), 1e-2, 2e-4),
            "plain": lambda path: plain(movielens_learner(path)),
            "fastai": fastai_movielens,
        },
        {"cpu": 7.0, "cuda": 5.0},
    ),
    "awd-lstm": Task(
        None,
        {"course_utils": course_awd_lstm, "fastai": fastai_awd_lstm},
        {"cpu": 1.0, "cuda": 1.2},
    ),
    "stateful-lstm": Task(
        None,
        {"course_utils": course_stateful_lstm, "fastai": fastai_stateful_lstm},
        {"cpu": 1.3, "cuda": 1.2},
    ),
}


def seconds(task: str, name: str, path: Path | None) -> list[float]:
    """Seconds of each of EPOCHS epochs of a contender."""
    set_seed(0)
    epoch = TASKS[task].contenders[name](path)
    return [round(timed(epoch), 3) for _ in range(EPOCHS)]


def compare(task: str, path: Path | None, n_rounds: int) -> dict[str, Any]:
    """For each contender {"first", "later", "rounds"}: median seconds of a first and of a later epoch."""
    rounds: dict[str, list[list[float]]] = {name: [] for name in TASKS[task].contenders}
    for _ in range(n_rounds):
        for name in rounds:
            rounds[name].append(apart(seconds, task, name, path))
    return {name: _medians(rows) | {"rounds": rows} for name, rows in rounds.items()}


def _medians(rounds: Sequence[Sequence[float]]) -> dict[str, float]:
    later = statistics.median(s for epochs in rounds for s in epochs[1:])
    return {"first": statistics.median(epochs[0] for epochs in rounds), "later": later}


def report(task: str, rows: dict[str, Any]) -> str:
    """A line for each contender, the ratios, the target."""
    lines = [
        f"{name}: first epoch {row['first']:.2f} s, later {row['later']:.2f} s"
        for name, row in rows.items()
    ]
    ratios = [f"{e} {rows['fastai'][e] / rows['course_utils'][e]:.2f}x" for e in ("first", "later")]
    target = f"{' '.join(ratios)} as fast as fastai; target {TASKS[task].target[DEVICE.type]}x"
    return "\n".join([f"{task}, {DEVICE.type}", *lines, target])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write results/bench-TASK.DEVICE.json, print; the exit code."""
    p = argparse.ArgumentParser(
        "python -m tools.bench_epochs", description="Compare the speed of an epoch."
    )
    p.add_argument("--size", choices=["sample", "full"], default="sample")
    p.add_argument("--rounds", type=int, default=3, help="rounds, the contenders in turn (3)")
    p.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    p.add_argument("--out", type=Path, default=ROOT / "results", metavar="DIR")
    args = p.parse_args(argv)
    if not (BENCH / "fastai").is_dir():
        print(f"bench_epochs: fastai is not in {BENCH.name}: {INSTALL}", file=sys.stderr)
        return 2
    for name in args.only:
        task, found = TASKS[name], provenance()
        path = task.data and get_data(task.data, args.size)
        rows = compare(name, path, args.rounds)
        record = {"size": args.size, "data": path and fingerprint(path), "epoch": rows}
        with atomic(args.out / f"bench-{name}.{DEVICE.type}.json") as part:
            part.write_text(
                json.dumps(found | record | {"target": task.target[DEVICE.type]}, indent=1) + "\n",
                "utf-8",
            )
        print(report(name, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
