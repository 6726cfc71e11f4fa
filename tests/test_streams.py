"""Streams and buckets: by hand, by brute force, by counting."""

import re
from collections import Counter

import numpy as np
import pytest
import torch
from text_support import splits

from course_utils import streams as st
from course_utils.core import DEVICE, set_seed, to_np
from course_utils.text import Field, TextData
from course_utils.tokens import Example


def loader(n, bs, bptt, shuffle=False):
    return st.LanguageModelLoader(st.StreamDataset(torch.arange(n), bs, bptt), bs, shuffle)


def test_the_layout_that_the_docstring_draws():
    letters = "abcdefghijk"
    ds = st.StreamDataset(torch.arange(len(letters)), 2, 2)
    lines = [line for line in st.StreamDataset.__doc__.splitlines() if re.fullmatch(r"[ xya-k]+", line)]
    rows = [re.findall("[a-k]", line) for line in lines if line.strip()]
    assert [[letters[i] for i in row] for row in torch.cat([ds.x, ds.y], 1).tolist()] == rows
    assert len(rows) == 5


@pytest.mark.parametrize(("n", "bs"), [(11, 2), (12, 2), (13, 2), (100, 7), (9, 8), (2, 1)])
def test_streams_by_brute_force(n, bs):
    tokens = torch.arange(n) + 5
    ds = st.StreamDataset(tokens, bs, 3)
    rows = (n - 1) // bs
    assert ds.x.tolist() == [[5 + i * rows + t for i in range(bs)] for t in range(rows)]
    assert torch.equal(ds.y, ds.x + 1)
    assert ds.x.is_contiguous()
    assert ds.x.device.type == ds.y.device.type == DEVICE.type
    assert ds.x.dtype == torch.int64


def test_inputs_and_targets_share_their_memory():
    """A set of 20 million tokens lies in memory once."""
    ds = st.StreamDataset(torch.arange(1001), 4, 10)
    assert ds.x.untyped_storage().data_ptr() == ds.y.untyped_storage().data_ptr()
    assert ds.x.untyped_storage().nbytes() == 8 * 4 * 251


@pytest.mark.parametrize(("n", "bs"), [(0, 1), (1, 1), (8, 8), (5, 64)])
def test_too_few_tokens_for_the_streams_are_named(n, bs):
    with pytest.raises(ValueError, match=rf"^{n} tokens are too few for {bs} streams: a smaller bs\?$"):
        st.StreamDataset(torch.arange(n), bs, 2)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("n", "bs", "bptt"), [(1000, 4, 10), (1003, 7, 8), (5000, 3, 70), (40, 4, 10), (200, 2, 1)])
def test_batches_cover_every_token_once_in_order(n, bs, bptt, shuffle):
    tokens, per = torch.arange(n) + 5, (n - 1) // bs
    dl = st.LanguageModelLoader(st.StreamDataset(tokens, bs, bptt), bs, shuffle)
    for _ in range(3):
        batches = list(dl)
        assert len(batches) == len(dl) == max(per // bptt - 1, 1)
        xs, ys = zip(*[(x, y.view(x.shape)) for x, y in batches], strict=True)
        assert min(map(len, xs)) >= 1
        np.testing.assert_array_equal(to_np(torch.cat(xs).T.flatten()), tokens[: per * bs])
        np.testing.assert_array_equal(to_np(torch.cat(ys).T.flatten()), tokens[1 : per * bs + 1])


def test_the_number_of_batches_is_that_of_the_video():
    assert len(loader(493_747, 64, 8)) == 963


def test_lengths_vary_around_bptt_in_training_only():
    ds = st.StreamDataset(torch.zeros(200_000).long(), 2, 70)
    dl = st.LanguageModelLoader(ds, 2, shuffle=True)
    set_seed(1)
    first, second = ([len(x) for x, _ in dl] for _ in range(2))
    assert first != second
    full = [n for n in first if n > 52]
    assert np.mean(full) == pytest.approx(70 / (0.95 + 0.05 / 2), rel=0.03)  # scaled to fill
    assert np.std(full) == pytest.approx(5, rel=0.15)
    halves = [n for n in first if n <= 52]
    assert 0.02 < len(halves) / len(first) < 0.09
    assert np.mean(halves) == pytest.approx(35 / (0.95 + 0.05 / 2), rel=0.05)
    set_seed(1)
    assert [len(x) for x, _ in dl] == first
    assert {len(x) for x, _ in st.LanguageModelLoader(ds, 2)} == {70, 71}


def test_the_lengths_wished_for_are_five_at_least():
    """Each batch has a token anyway, so it is one less that is shared out."""
    set_seed(0)
    dl = loader(40_000, 2, 6, shuffle=True)
    wished = torch.cat([dl._lengths() for _ in range(3)])
    assert wished.min() == 4
    assert (wished == 4).float().mean().item() == pytest.approx(0.5, abs=0.06)  # N(6, 5) is below 6 in half
    assert wished.max() > 15


def test_an_epoch_may_be_several_passes():
    dl = loader(1001, 2, 20, shuffle=True)
    one = len(dl)
    dl.passes = 2.5
    xs = [x[:, 0] for x, _ in dl]
    assert len(xs) == len(dl) == one * 2.5
    assert torch.cat(xs[: 2 * one]).tolist() == [*range(500)] * 2
    assert torch.cat(xs[2 * one :]).tolist() == [*range(sum(map(len, xs[2 * one :])))]
    assert [len(x) for x in xs[:one]] != [len(x) for x in xs[one : 2 * one]]
    dl.passes = 0.5
    xs = [x[:, 0] for x, _ in dl]
    assert len(xs) == len(dl) == one / 2
    assert torch.cat(xs).tolist() == [*range(sum(map(len, xs)))]


def test_an_epoch_has_every_text_once_in_batches_of_like_length(tmp_path):
    sets = splits()
    data = TextData.from_splits(tmp_path, sets, 16)
    vocab = sets[0].fields["text"].vocab
    epochs = [list(data.trn_dl) for _ in range(2)]
    for batches in epochs:
        assert len(batches) == len(data.trn_dl) == 19
        rows = [(to_np(x)[:, i], int(y[i])) for x, y in batches for i in range(len(y))]
        found = Counter((tuple(vocab.textify(x[x != 1])), data.classes[y]) for x, y in rows)
        assert found == Counter((tuple(e.text), e.label) for e in sets[0])
        assert np.mean([(x == 1).float().mean().item() for x, _ in batches]) < 0.1  # 0.45 at random
    assert not torch.equal(epochs[0][0][0], epochs[1][0][0])
    lengths = [len(x) for x, _ in epochs[0]]
    assert lengths != sorted(lengths, reverse=True)


def of_lengths(lengths):
    """A data set of texts of these lengths, each of one token, its own."""
    field = Field(tokenize=str.split)
    examples = [Example([f"w{i}"] * n, "same") for i, n in enumerate(lengths)]
    field.build_vocab(*[e.text for e in examples])
    return st.ReviewDataset(examples, field, ["same"])


def groups(dl):
    """Which texts stand together in a batch, in the order of the batches."""
    return [frozenset(x[0].tolist()) for x, _ in dl]


def test_texts_are_sorted_within_pools_of_a_hundred_batches():
    """All lengths differ: sorted as a whole, the batches of each epoch would be the same."""
    set_seed(0)
    small = st.BucketLoader(of_lengths(range(1, 201)), 2, shuffle=True)
    first, second = groups(small), groups(small)
    assert set(first) == set(second)  # one pool
    assert first != second
    large = st.BucketLoader(of_lengths(range(1, 203)), 2, shuffle=True)
    assert len(set(groups(large)) & set(groups(large))) < 90  # two pools: one of 200 texts, one of 2


def test_a_batch_has_neighbours_of_its_pool():
    ds = of_lengths(range(1, 501))
    set_seed(0)
    rows = torch.randperm(500)
    pools = [sorted(pool.tolist(), reverse=True) for pool in rows.split(200)]
    expected = {frozenset(pair) for pool in pools for pair in zip(pool[::2], pool[1::2], strict=True)}
    set_seed(0)
    found = [x.amax(0) for x, _ in st.BucketLoader(ds, 2, shuffle=True)]  # beside it only padding, 1
    row_of = {int(ds.rows[i][0]): i for i in range(500)}
    assert {frozenset(row_of[k] for k in pair.tolist()) for pair in found} == expected


def test_a_single_text_is_no_training_batch_and_an_epoch_may_be_longer(tmp_path):
    data = TextData.from_splits(tmp_path, splits(33), 16)
    assert [len(y) for _, y in data.trn_dl] == [16, 16]
    data.trn_dl.passes = 2.5
    assert sorted(len(y) for _, y in data.trn_dl) == [2, 16, 16, 16, 16, 16]


def test_reviews_by_hand():
    field = Field(tokenize=str.split)
    examples = [Example(["b", "c", "new"], "pos"), Example(["c"], "neg")]
    field.build_vocab(["b", "c", "c"])
    ds = st.ReviewDataset(examples, field, ["neg", "pos"])
    assert [row.tolist() for row in ds.rows] == [[3, 2, 0], [2]]
    assert (len(ds), ds.lengths.tolist(), ds.y.tolist()) == (2, [3, 1], [1, 0])
    x, y = ds.batch(torch.tensor([1, 0]))
    assert x.T.tolist() == [[2, 1, 1], [3, 2, 0]]
    assert y.tolist() == [0, 1]
    assert (x.dtype, y.dtype, x.device.type) == (torch.int64, torch.int64, DEVICE.type)


def test_reviews_that_do_not_fit_are_named():
    field = Field(tokenize=str.split)
    fine, classes = Example(["a"], "neg"), ["neg", "pos"]
    with pytest.raises(ValueError, match=r"^the field has no vocabulary yet"):
        st.ReviewDataset([fine], field, classes)
    field.build_vocab("a")
    with pytest.raises(ValueError, match=r"^unknown label 'good'; known: neg, pos$"):
        st.ReviewDataset([fine, Example(["a"], "good")], field, classes)
    with pytest.raises(ValueError, match=r"^text 1 has no tokens: leave it out$"):
        st.ReviewDataset([fine, Example([], "pos")], field, classes)
    for text in (["<pad>", "a"], ["a", "<pad>"]):
        message = r"^text 1 has <pad> among its tokens: leave them out, batches are filled up$"
        with pytest.raises(ValueError, match=message):
            st.ReviewDataset([fine, Example(text, "pos")], field, classes)
