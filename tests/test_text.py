"""Data for language models and classifiers, and text out of a model: by hand, by counting, on real text."""

import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from text_support import classifying, cycle_data, files, learner, splits
from torch import nn, optim

from course_utils import text as tx
from course_utils.core import DEVICE, V, set_seed, to_np
from course_utils.learner import fit
from course_utils.rnn import repackage_var
from course_utils.streams import StreamDataset
from course_utils.text import Field, LanguageModelData, TextData, TextDataset, generate


@pytest.fixture
def md(tmp_path):
    return cycle_data(tmp_path)


def test_files_are_read_in_order_with_an_end_each(tmp_path):
    files(tmp_path / "trn", b="c d", a="a b", c="e f")
    files(tmp_path, val="a e")
    (tmp_path / "trn" / ".hidden.txt").write_text("zzz")
    field = Field(tokenize=str.split)
    md = LanguageModelData.from_text_files(tmp_path, field, train="trn", validation="val.txt", bs=1, bptt=2)
    assert " ".join(md.trn_ds[0].text) == "a b <eos> c d <eos> e f <eos>"
    assert (len(md.trn_ds), md.nt, md.test_ds, md.test_dl) == (1, len(field.vocab), None, None)
    assert md.vocab is field.vocab
    field = Field(tokenize=str.split)
    md = LanguageModelData.from_text_files(
        str(tmp_path), field, ["trn/c.txt", "trn/a.txt"], ["trn"], ["trn"], bs=1, bptt=2
    )
    assert " ".join(md.trn_ds[0].text) == "e f <eos> a b <eos>"
    assert md.val_ds is md.test_ds
    assert "c" not in field.vocab.stoi
    assert (md.path, md.bs, md.bptt) == (tmp_path, 1, 2)
    again = LanguageModelData.from_text_files(tmp_path, Field(), tmp_path / "trn" / "a.txt", "trn", [], bs=1, bptt=2)
    assert (" ".join(again.trn_ds[0].text), again.test_dl) == ("a b <eos>", None)


def test_64_streams_of_70_tokens_unless_told_otherwise(tmp_path):
    files(tmp_path, trn="a b c " * 2000)
    md = LanguageModelData.from_text_files(tmp_path, Field(), "trn.txt", "trn.txt")
    assert (md.bs, md.bptt, md.nt) == (64, 70, 6)  # a token that is there once is enough
    assert md.val_dl.dataset.x.shape == (6000 // 64, 64)


def test_batches_are_of_the_sets_they_are_named_after(tmp_path):
    files(tmp_path, trn="a b c " * 300, val="b a " * 300, test="c a " * 300)
    md = LanguageModelData.from_text_files(tmp_path, Field(), "trn.txt", "val.txt", "test.txt", bs=3, bptt=20)
    for dl, ds in ((md.trn_dl, md.trn_ds), (md.val_dl, md.val_ds), (md.test_dl, md.test_ds)):
        expected = StreamDataset(md.vocab.numericalize(ds[0].text), 3, 20)
        assert torch.equal(dl.dataset.x, expected.x)
        assert torch.equal(dl.dataset.y, expected.y)
        assert (dl.bs, dl.dataset.bptt) == (3, 20)


def test_training_batches_alone_differ_in_length(tmp_path):
    files(tmp_path, trn="a b c " * 1000)
    md = LanguageModelData.from_text_files(tmp_path, Field(), *["trn.txt"] * 3, bs=2, bptt=20)
    assert len({len(x) for x, _ in md.trn_dl}) > 5
    assert max(len({len(x) for x, _ in dl}) for dl in (md.val_dl, md.test_dl)) <= 2


def test_an_empty_set_is_none(tmp_path):
    field = Field(tokenize=list)
    field.build_vocab("abc")
    text = TextDataset([tx.Example([*"abcabc"]), tx.Example([*"cb"])], text=field)
    md = LanguageModelData(tmp_path, field, [text, TextDataset([]), None], 1, 2)
    assert (md.val_dl, md.test_dl) == (None, None)
    assert field.vocab.textify(md.trn_dl.dataset.x[:, 0]) == [*"abcabcc"]  # of all examples
    for nothing in (None, TextDataset([])):
        with pytest.raises(ValueError, match=r"^the training set is empty: a language model needs a text$"):
            LanguageModelData(tmp_path, field, [nothing, text, text], 1, 2)


def test_a_vocabulary_that_a_field_has_is_kept(tmp_path):
    """A model trained on the first data would take the other words for its own."""
    files(tmp_path, one="a b c d " * 20, two="d e f g " * 20)
    field = Field(tokenize=str.split)
    make = partial(LanguageModelData.from_text_files, tmp_path, field, bs=2, bptt=4)
    make("one.txt", "one.txt", min_freq=2)
    vocab, words = field.vocab, [*field.vocab.itos]
    for min_freq in (1, 2):
        second = make("two.txt", "one.txt", min_freq=min_freq)
        assert second.vocab is field.vocab is vocab
    assert vocab.itos == words
    assert vocab.textify(second.trn_dl.dataset.x[:4, 0]) == ["d", "<unk>", "<unk>", "<unk>"]
    message = r"^min_freq=3 is not used: the field keeps its vocabulary of 6 tokens; a new Field makes a new one$"
    with pytest.warns(UserWarning, match=message) as warned:
        make("one.txt", "one.txt", min_freq=3)
    assert warned[0].filename == __file__  # it points to the line that asks for it
    field.build_vocab(["x"])  # by its own name it makes a new one
    assert field.vocab.itos == ["<unk>", "<pad>", "x"]


def test_a_text_of_unknown_words_alone_is_refused(tmp_path):
    files(tmp_path, one="a b " * 20, two="c d " * 20)
    field = Field(tokenize=str.split)
    make = partial(LanguageModelData.from_text_files, tmp_path, field, bs=2, bptt=4)
    message = r"^the vocabulary has none of the training tokens: take a new Field for other texts, or a lower min_freq$"
    with pytest.raises(ValueError, match=message):
        make("one.txt", "one.txt", min_freq=99)
    assert field.vocab is None
    make("one.txt", "two.txt")
    with pytest.raises(ValueError, match=message):
        make("two.txt", "one.txt")
    assert field.vocab.itos == ["<unk>", "<pad>", "a", "b", "<eos>"]


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


def test_texts_that_are_missing_or_too_short_are_named(tmp_path):
    files(tmp_path, long="a " * 500, short="a " * 99)
    (tmp_path / "empty").mkdir()
    make = partial(LanguageModelData.from_text_files, tmp_path, Field(), bs=10, bptt=10)
    with pytest.raises(ValueError, match=r"^short\.txt: 100 tokens, fewer than bs x bptt = 10 x 11: take more text"):
        make("long.txt", "short.txt", bptt=11)
    with pytest.raises(ValueError, match=r"^short\.txt, short\.txt: 200 tokens, fewer than bs x bptt = 10 x 21: "):
        make("long.txt", ["short.txt"] * 2, bptt=21)
    make("long.txt", "short.txt")
    with pytest.raises(FileNotFoundError, match=r"nothing: no such file, and no folder with texts \(\.txt\)$"):
        make("nothing", "short.txt")
    with pytest.raises(FileNotFoundError, match=r"empty: no such file, and no folder"):
        make("long.txt", "empty")
    with pytest.raises(ValueError, match="bs and bptt must be 1 or more, not 0 and 10"):
        make("long.txt", "short.txt", bs=0)
    with pytest.raises(ValueError, match="bs and bptt must be 1 or more, not 10 and 0"):
        make("long.txt", "short.txt", bptt=0)
    with pytest.raises(ValueError, match=r"^100 tokens are too few for 100 streams: a smaller bs\?$"):
        make("short.txt", "short.txt", bs=100, bptt=1)
    with pytest.raises(ValueError, match=r"^the training set is empty"):
        make([], "short.txt")
    with pytest.raises(ValueError, match=r"^Field\(sequential=False\) keeps a label whole: give texts a Field\(\)$"):
        LanguageModelData.from_text_files(tmp_path, Field(sequential=False), "long.txt", "long.txt")


def test_validation_goes_from_the_longest_to_the_shortest(tmp_path):
    sets = splits(40)
    data = TextData.from_splits(tmp_path, [*sets, sets[0]], 16)
    given = [[*examples] for examples in sets]
    for dl, ds, examples in ((data.val_dl, data.val_ds, sets[1]), (data.test_dl, data.test_ds, sets[0])):
        assert ds.lengths.tolist() == sorted((len(e.text) for e in examples), reverse=True)
        assert [e.label for e in ds.examples] == [data.classes[y] for y in ds.y]
        assert to_np(torch.cat([y for _, y in dl])).tolist() == ds.y.tolist()
    assert data.val_y is data.val_ds.y
    assert [[*examples] for examples in sets] == given
    assert [e.text for e in data.trn_ds.examples] == [e.text for e in sets[0]]
    assert (data.path, data.bs, data.c, data.classes, data.pad_idx) == (tmp_path, 16, 2, ["neg", "pos"], 1)
    assert (data.vocab, data.nt) == (sets[0].fields["text"].vocab, len(sets[0].fields["text"].vocab))
    for no_test in (sets, [*sets, None], [*sets, TextDataset([])]):
        without = TextData.from_splits(tmp_path, no_test, 16)
        assert (without.test_dl, without.test_ds) == (None, None)


def test_training_batches_are_made_anew_at_each_pass(tmp_path):
    """Of every text once."""
    data = TextData.from_splits(tmp_path, splits(200), 2)

    def words(row):
        return tuple(n for n in row if n != data.pad_idx)

    passes = [[sorted(map(words, x.T.tolist())) for x, _ in data.trn_dl] for _ in range(2)]
    assert sorted(passes[0]) != sorted(passes[1])
    texts = sorted(tuple(data.vocab.numericalize(example.text).tolist()) for example in data.trn_ds.examples)
    for batches in passes:
        assert sorted(text for batch in batches for text in batch) == texts


def test_settings_of_a_classifier_reach_it(tmp_path):
    data = TextData.from_splits(tmp_path, splits(20), 4)
    encoder, head = data.get_model(
        None, 70, 30, 12, 16, 2, 0.15, dropouti=0.25, dropoute=0.35, wdrop=0.45, dropouth=0.55
    ).model
    assert (encoder.max_seq, encoder.bptt, encoder.pad_token) == (70, 30, data.pad_idx)
    assert (encoder.encoder.num_embeddings, encoder.encoder.embedding_dim) == (data.nt, 12)
    assert [(rnn.input_size, rnn.hidden_size, rnn.wdrop) for rnn in encoder.rnns] == [(12, 16, 0.45), (16, 12, 0.45)]
    assert (encoder.dropouti.p, encoder.dropoute, [drop.p for drop in encoder.dropouths]) == (0.25, 0.35, [0.55])
    assert [drop.p for drop in head.layers if isinstance(drop, nn.Dropout)] == [0.15]
    assert [(lin.in_features, lin.out_features) for lin in head.layers if isinstance(lin, nn.Linear)] == [(36, 2)]


def test_texts_of_a_test_set_are_predicted_in_its_order(tmp_path):
    sets = splits(24)
    learn = classifying(TextData.from_splits(tmp_path, [*sets, sets[1]], 5))
    np.testing.assert_array_equal(learn.predict(is_test=True), learn.predict())
    assert learn.predict_with_targs(is_test=True)[1].tolist() == learn.data.val_y.tolist()


def test_labels_and_texts_that_do_not_fit_are_named(tmp_path):
    trn, val = splits(20)
    make = partial(TextData.from_splits, tmp_path, bs=4)
    with pytest.raises(ValueError, match=r"^unknown label 'good'; known: neg, pos$"):
        make([trn, TextDataset([tx.Example(["w1"], "good")], text=trn.fields["text"])])
    with pytest.raises(ValueError, match=r"^text 0 has no tokens: leave it out$"):
        make([trn, TextDataset([tx.Example([], "pos")], text=trn.fields["text"])])
    with pytest.raises(ValueError, match=r"^text 1 has <pad> among its tokens: leave them out"):
        make([trn, TextDataset([val[0], tx.Example(["<pad>", "w1"], "pos")], text=trn.fields["text"])])
    for n, sets in ((1, [trn]), (4, [trn, val, val, val])):
        with pytest.raises(ValueError, match=rf"^a training, a validation and perhaps a test set, not {n} sets$"):
            make(sets)
    for sets in ([TextDataset([]), val], [trn, TextDataset([])], [trn, None, val]):
        with pytest.raises(ValueError, match=r"^the training or the validation set is empty: give it some texts$"):
            make(sets)
    with pytest.raises(ValueError, match=r"^the training set has no field: TextDataset\(examples, text=field\)$"):
        make([TextDataset(trn), val])
    trn.fields["text"].vocab = None
    with pytest.raises(ValueError, match=r"^the field has no vocabulary yet: LanguageModelData"):
        make([trn, val])


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

    def __init__(self, scores=(9.0, 9, 0, 1, 2)):
        super().__init__()
        self.scores = torch.tensor(scores, device=DEVICE)

    def forward(self, x):
        return self.scores.expand(x.numel(), -1)


def letters():
    field = Field(tokenize=list)
    field.build_vocab("aaabbc")
    return field


def test_temperature_against_the_softmax():
    set_seed(0)
    for temperature in (0.5, 2.0):
        found = Counter(generate(Fixed(), letters(), "ab", 3000, temperature))
        expected = F.softmax(torch.tensor([0.0, 1, 2]) / temperature, 0)
        np.testing.assert_allclose([found[c] / 3000 for c in "abc"], expected, atol=0.03)
    found = Counter(generate(Fixed(), letters(), "ab", 3000))  # 1 unless told otherwise
    np.testing.assert_allclose([found[c] / 3000 for c in "abc"], F.softmax(torch.tensor([0.0, 1, 2]), 0), atol=0.03)
    assert generate(Fixed(), letters(), "ab", 3, temperature=0) == ["c"] * 3
    assert generate(Fixed(), letters(), "ab", 0) == []


@pytest.mark.parametrize("temperature", [0, 5e-324, 1e-45, 1e-30, 1e-9])
def test_a_temperature_of_all_but_nothing_gives_the_likeliest(temperature):
    for scores in ((9.0, 9, -50, 80, 79.9), (9.0, 9, -3, -1, -2), (9.0, 9, 0, 0.5, 0)):
        assert generate(Fixed(scores), letters(), "ab", 4, temperature) == ["b"] * 4


@pytest.mark.parametrize("temperature", [-1, -1e-45, math.nan, math.inf])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match=rf"^temperature must be a number from 0 on, not {temperature}$"):
        generate(Fixed(), letters(), "ab", 1, temperature)


def test_what_generate_cannot_go_on_from_is_named():
    for field, start in ((letters(), ""), (Field(), ""), (Field(), " \t ")):
        field.build_vocab("a")
        with pytest.raises(ValueError, match=r"^'.*' has no tokens: give generate a text to go on with$"):
            generate(Fixed(), field, start, 3)
    with pytest.raises(ValueError, match=r"^the field has no vocabulary yet"):
        generate(Fixed(), Field(), "ab", 3)
    with pytest.raises(ValueError, match=r"^n, the number of tokens, must be 0 or more, not -1$"):
        generate(Fixed(), letters(), "ab", -1)
    astray = r"^the model's scores are nan, its training has gone astray: a lower rate\?$"
    for temperature in (0, 1):
        with pytest.raises(ValueError, match=astray):
            generate(Fixed((9.0, 9, 1, math.nan, 1)), letters(), "ab", 1, temperature)


def test_scores_of_a_model_are_not_altered():
    """A view of them would be: `<unk>` and `<pad>` are ruled out by setting their scores."""
    model = Fixed()
    generate(model, letters(), "ab", 3)
    assert model.scores.tolist() == [9, 9, 0, 1, 2]


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


def test_generating_does_without_dropout(md):
    learn, field = learner(md, dropout=0.5, wdrop=0.5), md.trn_ds.fields["text"]
    learn.model.eval()
    expected = generate(learn.model, field, "w1 w4", 8, temperature=0)
    learn.model.train()
    assert generate(learn.model, field, "w1 w4", 8, temperature=0) == expected


@pytest.mark.parametrize("fails", [False, True])
def test_generating_leaves_the_model_as_it_was(md, fails):
    """Its mode, part by part, and the text that it had read."""
    learn, field = learner(md), md.trn_ds.fields["text"]
    model, x = learn.model, md.val_dl.dataset.x
    model.train()
    model[1].eval()
    modes = [m.training for m in model.modules()]
    with torch.no_grad():
        model(x[:10])
        expected = model(x[10:20])[0]
        model.reset()
        model(x[:10])
    hidden = model[0].hidden
    weights = model[1].decoder.weight.detach()
    kept = weights.clone()
    if fails:
        weights[5] = math.nan
        with pytest.raises(ValueError, match="scores are nan"):
            generate(model, field, "w1 w4", 5)
        weights.copy_(kept)
    else:
        generate(model, field, "w1 w4", 5)
    assert model[0].hidden is hidden
    assert [m.training for m in model.modules()] == modes
    with torch.no_grad():
        torch.testing.assert_close(model(x[10:20])[0], expected, rtol=0, atol=0)


def test_generating_begins_with_a_reset():
    """The model says "a" after one token, "b" after two, "c" after three, and so on from the start."""

    class Counting(nn.Module):
        read = 2

        def reset(self):
            self.read = 0

        def forward(self, x):
            self.read += x.numel()
            return F.one_hot(torch.tensor([2 + (self.read - 1) % 3]), 5).float()

    model = Counting()
    assert generate(model, letters(), "a", 4, temperature=0) == ["a", "b", "c", "a"]
    assert model.read == 2


def test_a_state_in_a_buffer_is_put_back_too():
    class Counting(Fixed):
        def __init__(self):
            super().__init__()
            self.register_buffer("read", torch.zeros(1))

        def forward(self, x):
            self.read = self.read + x.numel()
            return super().forward(x)

    model = Counting()
    model(torch.zeros(3, 1))
    generate(model, letters(), "ab", 4)
    assert model.read.item() == 3
    assert model.state_dict()["read"].item() == 3
    around = nn.Sequential(model)
    generate(around, letters(), "ab", 4)
    assert {k: v.tolist() for k, v in around.state_dict().items()} == {"0.read": [3]}
    assert not dict(around.named_buffers(recurse=False))


@pytest.mark.real
def test_real_text_has_the_numbers_of_the_video(real_data, tmp_path):
    text = (real_data / "nietzsche.txt").read_text("utf-8")
    cut = int(0.8 * len(text))
    files(tmp_path, trn=text[:cut], val=text[cut:])
    field = Field(lower=True, tokenize=list)
    md = LanguageModelData.from_text_files(tmp_path, field, "trn.txt", "val.txt", bs=64, bptt=8, min_freq=3)
    assert md.nt == 56
    assert len(md.trn_ds[0].text) == cut + 1
