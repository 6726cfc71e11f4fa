"""Recurrent networks: steps by hand, stacks of torch's own LSTM, texts alone and in chunks."""

import math
import subprocess
import sys
import warnings
from collections import Counter
from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from text_support import OFF, OPT, classifying, cycle_data, files, learner, splits
from torch import nn

from course_utils import rnn as rn
from course_utils import text as tx
from course_utils.core import DEVICE, set_seed, to_np
from course_utils.metrics import accuracy
from course_utils.rnn import repackage_var
from course_utils.text import Field, LanguageModelData, TextData


@pytest.fixture
def md(tmp_path):
    return cycle_data(tmp_path)


def lm(n_tok=11, emb_sz=6, n_hid=8, n_layers=3, **dropouts):
    set_seed(0)
    return rn.get_language_model(n_tok, emb_sz, n_hid, n_layers, **{"dropout": 0, **OFF, **dropouts})


def classifier(bptt=4, max_seq=1000, layers=(18, 5, 2), drops=(0, 0), n_tok=11, emb_sz=6, n_hid=8, n_layers=3):
    set_seed(0)
    return rn.get_rnn_classifier(bptt, max_seq, 2, n_tok, emb_sz, n_hid, n_layers, 1, layers, drops, **OFF)


def lstm_by_hand(x, h, c, w_ih, w_hh, b_ih, b_hh):
    """(outputs, h, c) of an LSTM, a step at a time."""
    outputs = []
    for step in x:
        i, f, g, o = (step @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs), h, c


@pytest.mark.parametrize("wdrop", [0.0, 0.4])
def test_weight_dropout_against_steps_by_hand(wdrop):
    set_seed(0)
    rnn = rn.WeightDropLSTM(5, 7, wdrop).double()
    x, h, c = (torch.randn(*size, dtype=torch.double) for size in ((9, 3, 5), (1, 3, 7), (1, 3, 7)))
    set_seed(1)
    out, (h1, c1) = rnn(x, (h, c))
    out.square().sum().backward()
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    weights = [getattr(rnn, name).detach().clone().requires_grad_() for name in names]
    set_seed(1)
    dropped = F.dropout(weights[1], wdrop)
    assert (dropped == 0).float().mean().item() == pytest.approx(wdrop, abs=0.08)
    expected, h2, c2 = lstm_by_hand(x, h[0], c[0], weights[0], dropped, *weights[2:])
    expected.square().sum().backward()
    for a, b in ((out, expected), (h1[0], h2), (c1[0], c2)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    for name, weight in zip(names, weights, strict=True):
        torch.testing.assert_close(getattr(rnn, name).grad, weight.grad, rtol=1e-8, atol=1e-10)


def test_weight_dropout_draws_anew_keeps_its_weights_and_rests_in_evaluation():
    set_seed(0)
    rnn, plain = rn.WeightDropLSTM(5, 7, 0.5), nn.LSTM(5, 7)
    plain.load_state_dict(rnn.state_dict())
    x, zero = torch.randn(6, 2, 5), [torch.zeros(1, 2, 7)] * 2
    before = {k: v.clone() for k, v in rnn.state_dict().items()}
    assert not torch.equal(rnn(x, zero)[0], rnn(x, zero)[0])
    assert all(torch.equal(before[k], v) for k, v in rnn.state_dict().items())
    assert torch.equal(rnn.eval()(x, zero)[0], plain(x)[0])


def test_weights_in_one_piece_are_equal_and_one_behind_the_other():
    weights = [torch.randn(*size) for size in ((8, 3), (8, 2), (8,), (8,))]
    pieces = rn._in_one_piece(weights)
    for weight, piece in zip(weights, pieces, strict=True):
        assert torch.equal(weight, piece)
        assert piece.is_contiguous()
    assert [piece.data_ptr() - pieces[0].data_ptr() for piece in pieces] == [0, 4 * 24, 4 * 40, 4 * 48]


@pytest.mark.skipif(DEVICE.type != "cuda", reason="the kernel of a CPU says nothing")
def test_a_gpu_has_nothing_to_complain_of():
    encoder = lm(n_layers=2, wdrop=0.5)[0].to(DEVICE)
    tokens = torch.randint(0, 11, (6, 2), device=DEVICE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.train()(tokens).sum().backward()
        encoder.eval()(tokens)


def test_importing_it_hides_no_warning_of_others():
    code = "import warnings, course_utils.learner; before = list(warnings.filters); import course_utils.rnn; "
    code += "print(warnings.filters == before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_locked_dropout_has_one_mask_for_all_of_time():
    set_seed(0)
    drop = rn.LockedDropout(0.3)
    out = drop(torch.ones(6, 40, 50))
    assert torch.equal(out, out[:1].expand_as(out))
    assert not torch.equal(out[0, 0], out[0, 1])
    torch.testing.assert_close(out.unique(), torch.tensor([0, 1 / 0.7]))
    assert (out[0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.04)
    x = torch.randn(2, 3, 4)
    assert torch.equal(drop.eval()(x), x)


def test_embedding_dropout_drops_words_of_the_table():
    encoder, tokens = lm(n_tok=400, dropoute=0.25)[0], torch.randint(0, 400, (30, 20))
    set_seed(3)
    emb = encoder._embed(tokens)
    set_seed(3)
    rows = F.dropout(torch.ones(400, 1), 0.25)
    torch.testing.assert_close(emb, F.embedding(tokens, encoder.encoder.weight * rows))
    assert (rows == 0).float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert torch.equal(encoder.eval()._embed(tokens), encoder.encoder(tokens))


@pytest.mark.parametrize("name", ["dropout", "dropouti", "dropoute", "dropouth", "wdrop"])
def test_each_dropout_reaches_the_model_in_training_only(name):
    model, x = lm(**{name: 0.5}), torch.randint(0, 11, (7, 3))
    model.eval()
    plain, again = lm().eval()(x)[0], model(x)[0]
    torch.testing.assert_close(again, plain)
    model.train()
    model.reset()
    assert not torch.allclose(model(x)[0], plain)


def test_the_encoder_is_a_stack_of_plain_lstms():
    encoder, tokens = lm()[0].train(), torch.randint(0, 11, (9, 4))
    x = encoder.encoder(tokens)
    sizes = []
    for rnn in encoder.rnns:
        plain = nn.LSTM(rnn.input_size, rnn.hidden_size)
        plain.load_state_dict(rnn.state_dict())
        sizes.append((rnn.input_size, rnn.hidden_size))
        x = plain(x)[0]
    torch.testing.assert_close(encoder(tokens), x)
    assert sizes == [(6, 8), (8, 8), (8, 6)]


def test_embeddings_start_different_between_a_tenth_above_and_below_0():
    weight = lm(n_tok=300, emb_sz=40)[0].encoder.weight.detach()
    assert -0.1 <= weight.min() < -0.0995
    assert 0.0995 < weight.max() <= 0.1
    assert weight.mean().item() == pytest.approx(0, abs=0.002)
    assert weight.std().item() == pytest.approx(0.2 / math.sqrt(12), rel=0.02)  # of a uniform distribution
    assert len(weight.unique(dim=0)) == 300


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_state_goes_on_as_that_of_plain_lstms(n_layers):
    """Three batches, the state of each layer carried from one to the next by hand."""
    encoder = lm(n_layers=n_layers)[0].train()
    layers, states = [], []
    for rnn in encoder.rnns:
        layers.append(nn.LSTM(rnn.input_size, rnn.hidden_size))
        layers[-1].load_state_dict(rnn.state_dict())
        states.append(None)
    assert [layer.hidden_size for layer in layers] == [8] * (n_layers - 1) + [6]
    for t in (5, 3, 4):
        tokens = torch.randint(0, 11, (t, 2))
        x = encoder.encoder(tokens)
        for i, layer in enumerate(layers):
            x, states[i] = layer(x, states[i])
        torch.testing.assert_close(encoder(tokens), x)
        assert len(encoder.hidden) == n_layers
        for (h, c), (h1, c1) in zip(encoder.hidden, states, strict=True):
            torch.testing.assert_close(h, h1)
            torch.testing.assert_close(c, c1)
    encoder.reset()
    assert len(encoder.hidden) == 0


@pytest.mark.parametrize("cuts", [[20, 20], [1, 39], [7, 13, 20]])
def test_a_long_text_in_chunks_is_as_in_one_piece(cuts):
    model, tokens = lm().eval(), torch.randint(0, 11, (40, 3))
    with torch.no_grad():
        whole = model(tokens)[0]
        model.reset()
        pieces = torch.cat([model(piece)[0] for piece in tokens.split(cuts)])
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-6)
        assert not torch.allclose(model(tokens)[0], whole, atol=1e-4)  # the state went on
        model.reset()
        torch.testing.assert_close(model(tokens)[0], whole)


def test_another_width_starts_anew():
    model, tokens = lm().eval(), torch.randint(0, 11, (10, 3))
    alone = lm().eval()(tokens[:, :1])[0]
    model(tokens)
    model[0].bs = 1  # as typed in the video
    torch.testing.assert_close(model(tokens[:, :1])[0], alone)


def test_back_propagation_ends_at_the_batch():
    model, tokens = lm(), torch.randint(0, 11, (6, 2))
    model(tokens)
    assert not any(s.requires_grad for state in model[0].hidden for s in state)
    h = torch.ones(2, requires_grad=True) * 2
    cut = repackage_var((h, [h, h]))
    assert isinstance(cut[1], tuple)
    assert not cut[1][0].requires_grad
    assert cut[0].tolist() == [2, 2]


def test_gradients_against_finite_differences():
    model, x, y = lm(n_tok=5, emb_sz=3, n_hid=4, n_layers=2).double(), torch.randint(0, 5, (6, 2)), torch.arange(12) % 5
    names, params = zip(*model.named_parameters(), strict=True)

    def loss(*weights):
        model.reset()
        out, *extra = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (x,))
        return rn.seq2seq_reg(out, extra, F.cross_entropy(out, y))

    assert torch.autograd.gradcheck(loss, params, fast_mode=False)
    exact = torch.autograd.grad(loss(*params), params)
    model.float().reset()
    for p, g in zip(torch.autograd.grad(F.cross_entropy(model(x)[0], y), list(model.parameters())), exact, strict=True):
        torch.testing.assert_close(p, g.float(), rtol=1e-4, atol=1e-6)


def test_regularisation_by_hand():
    raw, dropped = torch.tensor([[[1.0]], [[3]], [[2]]]), torch.tensor([[[0.0]], [[6]], [[3]]])
    found = rn.seq2seq_reg(None, [raw, dropped], torch.tensor(10.0), alpha=2, beta=3)
    assert found.item() == pytest.approx(10 + 2 * (36 + 9) / 3 + 3 * (4 + 1) / 2)
    assert rn.seq2seq_reg(None, [raw[:2], dropped[:2]], torch.tensor(1.0), beta=3).item() == 1 + 3 * 4
    assert rn.seq2seq_reg(None, [raw[:1], dropped[:1]], torch.tensor(1.0), beta=3).item() == 1
    model = lm(dropout=0.5)
    _, raw, dropped = model(torch.randint(0, 11, (5, 2)))
    assert torch.equal(dropped[dropped != 0], 2 * raw[dropped != 0])
    assert 0 < (dropped == 0).float().mean() < 1


def test_the_language_model_learns_what_follows(md):
    learn = learner(md, 32, 48, dropouti=0.05, wdrop=0.1, dropoute=0.02, dropouth=0.05)
    learn.reg_fn, learn.clip = partial(rn.seq2seq_reg, alpha=2, beta=1), 0.3
    loss = learn.fit(1e-2, 3, wds=1e-6, cycle_len=1, cycle_mult=2)[0]
    p = 0.9 + 0.1 / 11
    best = -p * math.log(p) - 10 * 0.1 / 11 * math.log(0.1 / 11)  # of one who knows the rule
    assert best * 0.8 < loss < best * 1.3  # a unigram model: log(11) = 2.4
    assert len(learn.sched.val_losses) == 7


def test_tied_weights_stay_tied(md):
    learn = learner(md)
    assert len([p for p in learn.model.parameters() if p.shape == (md.nt, 12)]) == 1
    learn.fit(1e-2, 1)
    learn.save("one")
    weight = to_np(learn.model[0].encoder.weight).copy()
    set_seed(5)
    other = md.get_model(OPT, 12, 16, 2)
    other.load("one")
    for model in (learn.model, other.model):
        assert model[1].decoder.weight is model[0].encoder.weight
        np.testing.assert_array_equal(to_np(model[1].decoder.weight), weight)
    other.fit(1e-2, 1)
    assert other.model[1].decoder.weight is other.model[0].encoder.weight
    assert not np.array_equal(to_np(other.model[1].decoder.weight), weight)


def test_validation_reads_from_the_start_and_does_not_depend_on_what_came_before(md):
    learn = learner(md)
    first = learn.fit(0.0, 1)[0]
    learn.model(md.val_dl.dataset.x[:50])
    assert learn.fit(0.0, 1)[0] == first
    with torch.no_grad():
        learn.model.eval()
        learn.model.reset()
        whole = F.cross_entropy(learn.model(md.val_dl.dataset.x)[0], md.val_dl.dataset.y.flatten()).item()
    assert first == pytest.approx(whole, rel=1e-5)


def test_same_seed_same_numbers(md):
    results = []
    for _ in range(2):
        learn = learner(md, dropouti=0.1, wdrop=0.2, dropoute=0.1, dropouth=0.1)
        results.append((learn.fit(1e-2, 2), learn.sched.losses.tolist()))
    assert results[0] == results[1]


def test_lr_find_and_summary_leave_the_model_as_it_was(md):
    learn = learner(md)
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    learn.lr_find(num_it=40)
    assert len(learn.sched.lrs) > len(md.trn_dl)
    assert all(name in str(learn.summary()) for name in ("RNN_Encoder", "LinearDecoder"))
    assert all(torch.equal(before[k], v) for k, v in learn.model.state_dict().items())
    assert learn.model[1].decoder.weight is learn.model[0].encoder.weight


def test_the_head_by_hand():
    set_seed(0)
    head, raw = rn.PoolingLinearClassifier([9, 4, 2], [0, 0]).eval(), torch.randn(5, 2, 3)
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 0, 0]]).bool().T
    rows = [np.concatenate([x[-1], x.max(0), x.mean(0)]) for x in (raw[:, 0].numpy(), raw[1:3, 1].numpy())]
    expected = head.layers(torch.tensor(np.stack(rows))).log_softmax(1)
    found, *extra = head((raw, mask))
    torch.testing.assert_close(found, expected)
    assert all(e is raw for e in extra)
    blocks = [nn.BatchNorm1d, nn.Dropout, nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout, nn.Linear]
    assert [type(m) for m in head.layers] == blocks


def padded(lengths):
    g = torch.Generator().manual_seed(0)
    texts = [torch.randint(2, 11, (n,), generator=g) for n in lengths]
    return texts, nn.utils.rnn.pad_sequence(texts, padding_value=1)


@pytest.mark.parametrize("max_seq", [1000, 4])
@pytest.mark.parametrize("bptt", [3, 100])
def test_outputs_are_those_of_packed_sequences(bptt, max_seq):
    """torch's own way with texts of unequal length, layer upon layer."""
    encoder, (texts, x) = classifier(bptt, max_seq)[0].eval(), padded([9, 4, 11, 1])
    lengths = torch.tensor([9, 4, 11, 1])
    with torch.no_grad():
        packed = encoder.encoder(x)
        for rnn in encoder.rnns:
            plain = nn.LSTM(rnn.input_size, rnn.hidden_size)
            plain.load_state_dict(rnn.state_dict())
            whole = nn.utils.rnn.pack_padded_sequence(packed, lengths, enforce_sorted=False)
            packed = nn.utils.rnn.pad_packed_sequence(plain(whole)[0])[0]
        raw, mask = encoder(x)
    assert mask.shape == raw.shape[:2] == x.shape
    assert mask.sum(0).tolist() == [min(len(text), max_seq) for text in texts]
    for i, n in enumerate(lengths):
        last = slice(max(n - max_seq, 0), n)
        assert mask[last, i].all()
        torch.testing.assert_close(raw[last, i], packed[last, i])


def test_pooling_by_brute_force():
    g = torch.Generator().manual_seed(0)
    for _ in range(50):
        t, n, c = torch.randint(1, 7, (3,), generator=g).tolist()
        raw, mask = torch.randn(t, n, c, generator=g) - 3, torch.rand(t, n, generator=g) < 0.5
        mask[torch.randint(t, (1,), generator=g), :] = True
        expected = []
        for i in range(n):
            rows = raw[mask[:, i], i].numpy()
            expected.append(np.concatenate([rows[-1], rows.max(0), rows.mean(0)]))
        np.testing.assert_allclose(rn._pool(raw, mask), np.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("column", [[1, 1, 5, 6], [5, 1, 6, 7], [5, 6, 1, 7]])
def test_padding_before_words_is_refused(column):
    """The state would have read it, and the wrong steps would be pooled."""
    model = classifier().eval()
    x = torch.tensor([[2, 3, 4, 5], column]).T
    with pytest.raises(ValueError, match=r"^a text has padding before or between its words: fill it up behind$"):
        model(x)
    model(torch.tensor([[2, 3, 4, 1], [2, 1, 1, 1], [1, 1, 1, 1]]).T)  # nothing but padding is one step of it


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"^n_layers must be 1 or more, not 0$"):
        lm(n_layers=0)
    with pytest.raises(ValueError, match=r"^2 linear layers, but 1 drops$"):
        classifier(drops=[0])
    message = r"^layers must go from 3 \* emb_sz = 18 to n_class = 2, not \(%s\)$"
    for layers in ((17, 5, 2), (18, 5, 3)):
        with pytest.raises(ValueError, match=message % ", ".join(map(str, layers))):
            classifier(layers=layers)


@pytest.mark.parametrize("max_seq", [1000, 30, 10, 3])
@pytest.mark.parametrize("bptt", [1, 4, 30, 100])
@pytest.mark.parametrize("lengths", [[30, 7, 19, 1, 30], [30, 24, 27]])
def test_a_text_is_classified_alike_alone_in_chunks_and_among_others(lengths, bptt, max_seq):
    """The oracle reads each text alone, in one piece, and pools its last tokens with NumPy."""
    model, (texts, x) = classifier(bptt, max_seq).eval(), padded(lengths)
    encoder, head = model
    with torch.no_grad():
        found = model(x)[0]
        torch.testing.assert_close(model(x)[0], found)  # from the beginning again
        for i, text in enumerate(texts):
            encoder.reset()
            raw = rn.RNN_Encoder.forward(encoder, text.unsqueeze(1))[-max_seq:, 0].numpy()
            pooled = np.concatenate([raw[-1], raw.max(0), raw.mean(0)])
            expected = head.layers(torch.tensor(pooled).unsqueeze(0)).log_softmax(1)[0]
            torch.testing.assert_close(found[i], expected, rtol=1e-5, atol=1e-5)


def test_only_what_is_pooled_is_kept():
    model = classifier(bptt=5, max_seq=8)
    _, raw, _ = model(torch.randint(2, 11, (30, 4)))
    assert len(raw) == 10  # steps 20 to 29: the pieces that have some of the last 8
    model(padded([30, 7, 1])[1])[0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_classifier_finds_the_word_that_tells(tmp_path):
    learn = classifying(TextData.from_splits(tmp_path, splits(), 16), dropouti=0.1, wdrop=0.1)
    learn.reg_fn, learn.clip = partial(rn.seq2seq_reg, alpha=2, beta=1), 25.0
    assert learn.fit(1e-2, 6, metrics=[accuracy])[1] > 0.95
    log_preds, y = learn.predict_with_targs()
    np.testing.assert_allclose(np.exp(log_preds).sum(1), 1, rtol=1e-5)
    assert (log_preds.argmax(1) == y).mean() > 0.95


def test_layer_groups_hold_every_weight_once(md, tmp_path):
    for learn, n in ((learner(md), 3), (classifying(TextData.from_splits(tmp_path, splits(20), 4)), 4)):
        groups = learn.get_layer_groups()
        ids = list(chain.from_iterable(map(id, g.parameters()) for g in groups))
        assert len(groups) == n
        assert Counter(ids) == Counter(map(id, learn.model.parameters()))
    learn.freeze_to(-1)
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    learn.fit(np.array([1e-4, 1e-4, 1e-3, 1e-2]) / 2, 1)
    moved = {k.split(".")[0] for k, v in learn.model.state_dict().items() if not torch.equal(before[k], v)}
    assert moved == {"1"}
    with pytest.raises(ValueError, match="2 rates for 4 layer groups"):
        learn.fit([1e-3, 1e-2], 1)


def test_an_encoder_goes_from_the_language_model_into_the_classifier(tmp_path):
    sets = splits(60)
    field, tokens = sets[0].fields["text"], [t for e in sets[0] for t in e.text]
    stream = tx.TextDataset([tx.Example(tokens)])
    md = LanguageModelData(tmp_path, field, [stream, stream, None], 4, 10)
    source = learner(md)
    source.fit(1e-2, 1)
    source.save_encoder("enc")
    learn = classifying(TextData.from_splits(tmp_path, sets, 8))
    learn.load_encoder("enc")
    x = torch.randint(2, md.nt, (15, 2), device=DEVICE)
    source.model.eval().reset()
    learn.model.eval()
    torch.testing.assert_close(learn.model[0](x)[0], source.model[0](x))
    message = r"^encoder 'enc' is of another vocabulary or other sizes: .*: weights of another network: "
    with pytest.raises(ValueError, match=message) as e:
        classifying(learn.data, emb_sz=10).load_encoder("enc")
    assert "\n" not in str(e.value)
    with pytest.raises(FileNotFoundError, match=r"adam1\.pt: not saved yet \(saved here: enc\)"):
        learn.load_encoder("adam1")


def language_learner(tmp_path, words, n_hid=8):
    files(tmp_path, trn=f"{words} " * 30)
    md = LanguageModelData.from_text_files(tmp_path, Field(tokenize=str.split), "trn.txt", "trn.txt", bs=2, bptt=5)
    return md.get_model(OPT, 6, n_hid, 2)


def judging(tmp_path, words):
    """A classifier with this vocabulary."""
    field = Field(tokenize=str.split)
    texts = [tx.Example(words.split(), label) for label in ("neg", "pos")]
    field.build_vocab(*[e.text for e in texts], ["<eos>"])
    reviews = tx.TextDataset(texts, text=field)
    return TextData.from_splits(tmp_path, [reviews, reviews], 2).get_model(OPT, 100, 5, 6, 8, 2, 0.1)


@pytest.mark.parametrize("make", [language_learner, judging])
def test_an_encoder_of_other_words_is_refused(tmp_path, make):
    """As many words, and weights of the same sizes."""
    language_learner(tmp_path, "a b c d").save_encoder("enc")
    make(tmp_path, "a b c d").load_encoder("enc")
    learn = make(tmp_path, "a b x d")
    before = {k: v.clone() for k, v in learn.model.state_dict().items()}
    message = r"^encoder 'enc' is of another vocabulary or other sizes: "
    message += r"weights for another vocabulary: token \d is '.*', not '.*'$"
    with pytest.raises(ValueError, match=message):
        learn.load_encoder("enc")
    assert all(torch.equal(before[k], v) for k, v in learn.model.state_dict().items())


def test_a_whole_model_of_other_words_is_refused(tmp_path):
    learn = language_learner(tmp_path, "a b c d")
    learn.save("lm")
    learn.load("lm")
    other = language_learner(tmp_path, "a b x d")
    with pytest.raises(ValueError, match=r"^weights for another vocabulary: token 4 is 'c', not 'd'$"):
        other.load("lm")
    with pytest.raises(ValueError, match=r"^weights for another vocabulary: token 4 is 'c', not 'd'$"):
        other.model.load_state_dict(learn.model.state_dict())
    with pytest.raises(ValueError, match=r"lm\.pt: weights of another network: "):
        language_learner(tmp_path, "a b c").load("lm")


def test_weights_without_words_are_taken(tmp_path):
    """A file of before they were kept, and a network without a vocabulary."""
    learn = language_learner(tmp_path, "a b c d")
    learn.model[0].words = None
    learn.save("old")
    other = language_learner(tmp_path, "a b x d")
    other.load("old")
    assert torch.equal(other.model[0].encoder.weight, learn.model[0].encoder.weight)
    other.save("new")
    learn.load("new")
    plain = {k: v.clone() for k, v in language_learner(tmp_path, "e f g h").model.state_dict().items()}
    bare = rn.get_language_model(other.data.nt, 6, 8, 2)  # made without a vocabulary
    bare.load_state_dict(language_learner(tmp_path, "e f g h").model.to("cpu").state_dict())
    other.model.load_state_dict(plain)  # tensors alone, such as `lr_find` keeps
    assert torch.equal(other.model[0].encoder.weight, plain["0.encoder.weight"])
