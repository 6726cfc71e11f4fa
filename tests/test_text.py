"""Tokens, vocabularies, streams and buckets: by hand, by brute force, and on real text."""

import pickle
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from text_support import cycle_data, files, learner, splits
from torch import nn, optim

from course_utils import text as tx
from course_utils.core import DEVICE, VV, V, set_seed, to_np
from course_utils.learner import fit
from course_utils.rnn import repackage_var
from course_utils.text import Field, LanguageModelData, TextData, Vocab, char_windows, generate


@pytest.fixture
def md(tmp_path):
    return cycle_data(tmp_path)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It wasn't bad!", "It was n't bad !"),
        ("You can’t say they're John's, I'll bet", "You ca n’t say they 're John 's , I 'll bet"),
        ("10/10 for $1,000.50 in the U.S. ...", "10 / 10 for $ 1,000.50 in the U.S. ..."),
        ("good-hearted -- naïve (1950s)", "good - hearted -- naïve ( 1950 s )"),
        ("'quoted' n'test a_b", "' quoted ' n ' test a _ b"),
    ],
)
def test_tokens_by_hand(text, tokens):
    assert tx.tokenize(text) == tokens.split()


def test_tokens_keep_every_letter_and_html_breaks_become_one_line_end():
    text = "Don't   wait...<br /><br />It's 5:30, <BR/>isn't it?"
    assert "".join(tx.tokenize(text)) == "Don'twait...\nIt's5:30,\nisn'tit?"


def test_vocabulary_by_hand():
    vocab = Vocab(["d", "d", "b", "b", "b", "c", "a", "a", "<pad>"], min_freq=2)
    assert vocab.itos == ["<unk>", "<pad>", "b", "a", "d"]
    assert vocab.numericalize(["d", "c", "b", "<pad>"]).tolist() == [4, 0, 2, 1]


def test_vocabulary_round_trip_and_unknown_words_leave_it_as_it_is():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in rng.zipf(1.5, 3000)]
    vocab = Vocab(words, min_freq=3)
    counts = Counter(words)
    assert set(vocab.itos[2:]) == {w for w, n in counts.items() if n >= 3}
    numbers = [counts[w] for w in vocab.itos[2:]]
    assert numbers == sorted(numbers, reverse=True)
    assert vocab.textify(vocab.numericalize(words)) == [w if counts[w] >= 3 else "<unk>" for w in words]
    size = len(vocab)
    assert vocab.stoi["never seen"] == 0
    assert len(vocab) == len(vocab.stoi) == size


def test_a_field_lowers_splits_numbers_and_fills_up():
    field = Field(lower=True, tokenize=str.split)
    texts = [field.preprocess(t) for t in ("The cat", "the dog saw THE cat")]
    assert texts[1] == ["the", "dog", "saw", "the", "cat"]
    field.build_vocab(*texts)
    assert field.vocab.itos == ["<unk>", "<pad>", "the", "cat", "dog", "saw"]
    numbers = field.numericalize(texts)
    assert numbers.T.tolist() == [[2, 3, 1, 1, 1], [2, 4, 5, 2, 3]]
    assert numbers.device.type == DEVICE.type


def test_characters_typed_as_in_the_video_become_a_row():
    """`TEXT.numericalize('for thos')` gives (1, 8), which the lesson turns round: (8, 1)."""
    field = Field(tokenize=list)
    field.build_vocab("for those")
    row = field.numericalize("for thos")
    assert row.shape == (1, 8)
    assert VV(row.transpose(0, 1)).shape == (8, 1)
    assert "".join(field.vocab.textify(row[0])) == "for thos"


def test_a_field_survives_pickle():
    field = Field(lower=True, tokenize="spacy")
    field.build_vocab(tokens := field.preprocess("It wasn't. It was."))
    again = pickle.loads(pickle.dumps(field))
    assert again.preprocess("It wasn't. It was.") == tokens
    assert again.vocab.itos == field.vocab.itos
    assert again.vocab.stoi["nothing"] == 0


def test_equal_words_are_one_object():
    words = Field().preprocess("a longer word and another longer word")
    assert words[1] is words[5]


def test_misused_fields_say_so():
    with pytest.raises(ValueError, match=r"^unknown tokenizer 'spacey'; did you mean 'spacy'\? known: spacy$"):
        Field(tokenize="spacey")
    with pytest.raises(ValueError, match=r"^the field has no vocabulary yet: LanguageModelData\.from_text_files"):
        Field().numericalize([["a"]])


def test_files_are_read_in_order_with_an_end_each(tmp_path):
    files(tmp_path / "trn", b="c d", a="a b", c="e f")
    files(tmp_path, val="a e")
    (tmp_path / "trn" / ".hidden.txt").write_text("zzz")
    field = Field(tokenize=str.split)
    md = LanguageModelData.from_text_files(tmp_path, field, train="trn", validation="val.txt", bs=1, bptt=2)
    assert " ".join(md.trn_ds[0].text) == "a b <eos> c d <eos> e f <eos>"
    assert (len(md.trn_ds), md.nt, md.test_dl) == (1, len(field.vocab), None)
    md = LanguageModelData.from_text_files(
        str(tmp_path), field, ["trn/c.txt", "trn/a.txt"], ["trn"], ["trn"], bs=1, bptt=2
    )
    assert " ".join(md.trn_ds[0].text) == "e f <eos> a b <eos>"
    assert md.val_ds is md.test_ds
    assert "c" not in field.vocab.stoi


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"trn.bad\.txt: an empty file: delete it, or give it its text$"),
        (b" \n", r"trn.bad\.txt: an empty file: "),
        (b"caf\xe9 au lait", r"trn.bad\.txt: not UTF-8 \(byte 0xe9 at 3\): save it as UTF-8$"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, content, message):
    files(tmp_path / "trn", a="a b c " * 10)
    (tmp_path / "trn" / "bad.txt").write_bytes(content)
    field = Field()
    with pytest.raises(ValueError, match=message) as e:
        LanguageModelData.from_text_files(tmp_path, field, "trn", "trn", bs=1, bptt=2)
    assert "\n" not in str(e.value)
    assert field.vocab is None


def test_a_byte_order_mark_is_no_character(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfab")
    assert tx.read_text(tmp_path / "a.txt") == "ab"


def test_texts_that_are_missing_or_too_short_are_named(tmp_path):
    files(tmp_path, long="a " * 500, short="a " * 99)
    (tmp_path / "empty").mkdir()
    make = partial(LanguageModelData.from_text_files, tmp_path, Field(), bs=10, bptt=10)
    with pytest.raises(ValueError, match=r"^short\.txt: 100 tokens, fewer than bs x bptt = 10 x 11: take more text"):
        make("long.txt", "short.txt", bptt=11)
    make("long.txt", "short.txt")
    with pytest.raises(FileNotFoundError, match=r"nothing: no such file, and no folder with texts \(\.txt\)$"):
        make("nothing", "short.txt")
    with pytest.raises(FileNotFoundError, match=r"empty: no such file, and no folder"):
        make("long.txt", "empty")
    with pytest.raises(ValueError, match="bs and bptt must be 1 or more, not 0 and 10"):
        make("long.txt", "short.txt", bs=0)
    with pytest.raises(ValueError, match="bs and bptt must be 1 or more, not 10 and 0"):
        make("long.txt", "short.txt", bptt=0)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("n", "bs", "bptt"), [(1000, 4, 10), (1003, 7, 8), (5000, 3, 70), (40, 4, 10), (200, 2, 1)])
def test_batches_cover_every_token_once_in_order(n, bs, bptt, shuffle):
    tokens, per = torch.arange(n) + 5, (n - 1) // bs
    loader = tx.LanguageModelLoader(tx.StreamDataset(tokens, bs, bptt), bs, shuffle)
    for _ in range(3):
        batches = list(loader)
        assert len(batches) == len(loader) == max(per // bptt - 1, 1)
        xs, ys = zip(*[(x, y.view(x.shape)) for x, y in batches], strict=True)
        assert min(map(len, xs)) >= 1
        np.testing.assert_array_equal(to_np(torch.cat(xs).T.flatten()), tokens[: per * bs])
        np.testing.assert_array_equal(to_np(torch.cat(ys).T.flatten()), tokens[1 : per * bs + 1])


def test_the_number_of_batches_is_that_of_the_video():
    assert len(tx.LanguageModelLoader(tx.StreamDataset(torch.zeros(493_747).long(), 64, 8), 64)) == 963


def test_lengths_vary_around_bptt_in_training_only():
    ds = tx.StreamDataset(torch.zeros(200_000).long(), 2, 70)
    loader = tx.LanguageModelLoader(ds, 2, shuffle=True)
    set_seed(1)
    first, second = ([len(x) for x, _ in loader] for _ in range(2))
    assert first != second
    full = [n for n in first if n > 52]
    assert np.mean(full) == pytest.approx(70 / (0.95 + 0.05 / 2), rel=0.03)  # scaled to fill
    assert np.std(full) == pytest.approx(5, rel=0.15)
    assert 0.02 < 1 - len(full) / len(first) < 0.09
    set_seed(1)
    assert [len(x) for x, _ in loader] == first
    assert {len(x) for x, _ in tx.LanguageModelLoader(ds, 2)} == {70, 71}


def test_an_epoch_may_be_several_passes():
    loader = tx.LanguageModelLoader(tx.StreamDataset(torch.arange(1001), 2, 20), 2, shuffle=True)
    one = len(loader)
    loader.passes = 2.5
    xs = [x[:, 0] for x, _ in loader]
    assert len(xs) == len(loader) == one * 2.5
    assert torch.cat(xs[: 2 * one]).tolist() == [*range(500)] * 2


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


def test_a_single_text_is_no_training_batch_and_an_epoch_may_be_longer(tmp_path):
    data = TextData.from_splits(tmp_path, splits(33), 16)
    assert [len(y) for _, y in data.trn_dl] == [16, 16]
    data.trn_dl.passes = 2.5
    assert sorted(len(y) for _, y in data.trn_dl) == [2, 16, 16, 16, 16, 16]


def test_validation_goes_from_the_longest_to_the_shortest(tmp_path):
    sets = splits(40)
    data = TextData.from_splits(tmp_path, [*sets, sets[0]], 16)
    assert data.val_ds.lengths.tolist() == sorted((len(e.text) for e in sets[1]), reverse=True)
    assert [e.label for e in data.val_ds.examples] == [data.classes[y] for y in data.val_y]
    assert to_np(torch.cat([y for _, y in data.val_dl])).tolist() == data.val_y.tolist()
    assert len(data.test_ds) == 40
    assert (data.c, data.classes, data.pad_idx, TextData.from_splits(tmp_path, sets, 16).test_dl) == (
        2,
        ["neg", "pos"],
        1,
        None,
    )


def test_labels_and_texts_that_do_not_fit_are_named(tmp_path):
    trn, val = splits(20)
    with pytest.raises(ValueError, match=r"^unknown label 'good'; known: neg, pos$"):
        TextData.from_splits(tmp_path, [trn, tx.TextDataset([tx.Example(["w1"], "good")], text=trn.fields["text"])], 4)
    with pytest.raises(ValueError, match=r"^a text has no tokens: leave it out$"):
        TextData.from_splits(tmp_path, [trn, tx.TextDataset([tx.Example([], "pos")], text=trn.fields["text"])], 4)
    trn.fields["text"].vocab = None
    with pytest.raises(ValueError, match=r"^the text field has no vocabulary yet: LanguageModelData"):
        TextData.from_splits(tmp_path, [trn, val], 4)


class CharSeqStatefulRnn(nn.Module):
    """The stateful model of lesson 6, as typed in the video."""

    def __init__(self, vocab_size, n_fac, n_hidden, bs):
        super().__init__()
        self.vocab_size, self.n_hidden = vocab_size, n_hidden
        self.e = nn.Embedding(vocab_size, n_fac)
        self.rnn = nn.RNN(n_fac, n_hidden)
        self.l_out = nn.Linear(n_hidden, vocab_size)
        self.init_hidden(bs)

    def forward(self, cs):
        bs = cs[0].size(0)
        if self.h.size(1) != bs:
            self.init_hidden(bs)
        outp, h = self.rnn(self.e(cs), self.h)
        self.h = repackage_var(h)
        return F.log_softmax(self.l_out(outp), dim=-1).view(-1, self.vocab_size)

    def init_hidden(self, bs):
        self.h = V(torch.zeros(1, bs, self.n_hidden))


def test_the_stateful_model_of_lesson_6_learns_and_goes_on_with_a_text(tmp_path):
    files(tmp_path, trn="abcd " * 300, val="abcd " * 100)
    TEXT = Field(lower=True, tokenize=list)
    md = LanguageModelData.from_text_files(
        tmp_path, TEXT, train="trn.txt", validation="val.txt", bs=4, bptt=8, min_freq=3
    )
    assert md.nt == 7  # <eos> is too rare
    set_seed(0)
    m = CharSeqStatefulRnn(md.nt, 5, 16, 512).to(DEVICE)
    loss = fit(m, md, 3, optim.Adam(m.parameters(), 1e-2), F.nll_loss)[0]
    assert loss < 0.3
    assert "".join(generate(m, TEXT, "abcd ab", 6, temperature=0)) == "cd abc"


class Fixed(nn.Module):
    """The same scores after every token."""

    def forward(self, x):
        return torch.tensor([9.0, 9, 0, 1, 2]).repeat(x.numel(), 1)


def test_temperature_against_the_softmax():
    field = Field(tokenize=list)
    field.build_vocab("aaabbc")
    set_seed(0)
    for temperature in (0.5, 2.0):
        found = Counter(generate(Fixed(), field, "ab", 3000, temperature))
        expected = F.softmax(torch.tensor([0.0, 1, 2]) / temperature, 0)
        np.testing.assert_allclose([found[c] / 3000 for c in "abc"], expected, atol=0.03)
    assert generate(Fixed(), field, "ab", 3, temperature=0) == ["c"] * 3
    assert generate(Fixed(), field, "ab", 0) == []


def test_generating_reads_the_start_once_and_from_the_beginning(md):
    learn, field = learner(md), md.trn_ds.fields["text"]
    learn.fit(1e-2, 1)
    start = ["w1", "w4", "w2"]
    first = generate(learn.model, field, " ".join(start), 5, temperature=0)
    assert generate(learn.model, field, " ".join(start), 5, temperature=0) == first
    for word in first:  # the whole text anew for each word
        learn.model.eval().reset()
        scores = learn.model(field.numericalize([start]))[0][-1]
        assert field.vocab.itos[2 + scores[2:].argmax()] == word
        start.append(word)


@pytest.mark.parametrize(("n", "cs", "step"), [(30, 3, 3), (31, 8, 1), (40, 8, 8), (4, 3, 1)])
def test_windows_by_brute_force(n, cs, step):
    idx = np.random.default_rng(0).integers(0, 99, n).tolist()
    x, y = char_windows(idx, cs, step)
    starts = range(0, n - cs, step)
    assert x.tolist() == [idx[i : i + cs] for i in starts]
    assert y.tolist() == [idx[i + 1 : i + cs + 1] for i in starts]
    x[0] = -1
    assert idx[0] != -1
    with pytest.raises(ValueError, match=r"^3 characters make no window of 3 and what follows: take more text$"):
        char_windows([1, 2, 3], 3)


@pytest.mark.real
def test_real_text_has_the_numbers_of_the_video(real_data, tmp_path):
    text = (real_data / "nietzsche.txt").read_text("utf-8")
    assert len(char_windows(list(map(ord, text)), 8, 8)[0]) == 75_111
    cut = int(0.8 * len(text))
    files(tmp_path, trn=text[:cut], val=text[cut:])
    field = Field(lower=True, tokenize=list)
    md = LanguageModelData.from_text_files(tmp_path, field, "trn.txt", "val.txt", bs=64, bptt=8, min_freq=3)
    assert md.nt == 56
    assert len(md.trn_ds[0].text) == cut + 1
