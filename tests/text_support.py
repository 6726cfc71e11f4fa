"""Small texts, and learners for them, for the tests of the text modules."""

from functools import partial

import numpy as np
from torch import optim

from course_utils.core import set_seed
from course_utils.text import Example, Field, LanguageModelData, TextDataset

OFF = {"dropouti": 0, "dropoute": 0, "dropouth": 0, "wdrop": 0}
OPT = partial(optim.Adam, betas=(0.7, 0.99))


def files(folder, **texts):
    for name, text in texts.items():
        file = folder / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return folder


def cycle_files(path, n=3000):
    """A text in which each word follows from the one before, but for one word in ten."""
    rng = np.random.default_rng(0)
    words, w = [], 0
    for _ in range(n):
        w = (w + 4) % 11 if rng.random() < 0.9 else int(rng.integers(11))
        words.append(f"w{w}")
    return files(path, trn=" ".join(words[: n * 4 // 5]), val=" ".join(words[n * 4 // 5 :]))


def learner(md, emb_sz=12, n_hid=16, **dropouts):
    set_seed(0)
    return md.get_model(OPT, emb_sz, n_hid, 2, **{"dropout": 0.05, **OFF, **dropouts})


def reviews(n=300, seed=0):
    """Words at random, and one that tells the class; lengths from 3 to 60."""
    rng = np.random.default_rng(seed)
    examples = []
    for i in range(n):
        text = [f"w{k}" for k in rng.integers(0, 8, rng.integers(3, 60))]
        text[rng.integers(len(text))] = ["awful", "great"][i % 2]
        examples.append(Example(text, ["neg", "pos"][i % 2]))
    return examples


def splits(n=300):
    field = Field(tokenize=str.split)
    sets = [TextDataset(reviews(n, seed), text=field) for seed in range(2)]
    field.build_vocab(*[e.text for e in sets[0]])
    return sets


def classifying(data, **more):
    set_seed(0)
    args = {"emb_sz": 12, "n_hid": 16, "n_layers": 2, "dropout": 0.1, **OFF, **more}
    return data.get_model(OPT, 1500, 20, **args)


def cycle_data(path):
    return LanguageModelData.from_text_files(cycle_files(path), Field(), "trn.txt", "val.txt", bs=8, bptt=10)
