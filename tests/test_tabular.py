"""Tables as training data, and the network of embeddings and numbers: against scikit-learn, torch, values by hand."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LinearRegression
from torch import nn

from course_utils.columns import ColumnarDataset
from course_utils.core import DEVICE, get_cv_idxs, set_seed, to_np
from course_utils.learner import fit
from course_utils.tabular import ColumnarModelData, Embeddings, MixedInputModel
from tests.tables_support import one_line

# ColumnarModelData


def small_data(path, n: int = 50, **kwargs) -> ColumnarModelData:
    """Three columns, the middle one a category; row i has x = i and code i % 4."""
    df = pd.DataFrame({"x": np.arange(n, dtype=float), "c": np.arange(n) % 4, "flag": np.arange(n) % 2 == 0})
    return ColumnarModelData.from_data_frame(path, range(10), df, np.arange(n) * 10.0, ["c"], **{"bs": 8, **kwargs})


def test_batches_of_a_table(tmp_path):
    data = small_data(tmp_path)
    cats, conts, y = next(iter(data.val_dl))
    assert (cats.dtype, conts.dtype, y.dtype) == (torch.int64, torch.float32, torch.float32)
    assert (cats.shape, conts.shape, y.shape) == ((10, 1), (10, 2), (10,))  # all ten in one batch of 16
    assert conts.tolist() == [[float(i), float(i % 2 == 0)] for i in range(10)]
    assert cats[:, 0].tolist() == [i % 4 for i in range(10)]
    assert (data.bs, data.val_dl.bs, data.test_dl) == (8, 16, None)
    np.testing.assert_array_equal(data.val_y, np.arange(10) * 10)
    np.testing.assert_array_equal(data.trn_y, np.arange(10, 50) * 10)


def test_training_rows_come_once_an_epoch_and_together_with_their_targets(tmp_path):
    data = small_data(tmp_path)
    set_seed(0)
    orders = []
    for _ in range(2):
        cats, conts, y = (torch.cat(part) for part in zip(*data.trn_dl, strict=True))
        torch.testing.assert_close(y, conts[:, 0] * 10)
        assert (cats[:, 0] == conts[:, 0] % 4).all()
        orders.append(conts[:, 0].tolist())
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10, 50))
    assert orders[0] != orders[1]


def test_test_rows_take_the_columns_in_the_order_of_training(tmp_path):
    test = pd.DataFrame({"flag": [True], "c": [3], "x": [7.0], "more": [1]})
    cats, conts, _ = next(iter(small_data(tmp_path, test_df=test).test_dl))
    assert (cats.tolist(), conts.tolist()) == ([[3]], [[7.0, 1.0]])


@pytest.mark.parametrize(
    ("y", "is_reg", "message"),
    [
        ([1, np.nan, 2], True, "y has gaps: leave those rows out"),
        ([1, None, 2], False, "y has gaps: leave those rows out"),
        ([1, np.inf, 2], True, "y has numbers too large for float32, or infinite"),
        ([1, -1e39, 2], True, "y has numbers too large for float32, or infinite"),
        ([1, np.inf, 2], False, "y has numbers too large for float32, or infinite"),
        ([0, 1, 1.5], False, "y has fractions: with is_reg=False it holds the numbers of classes"),
        (["no", "yes", "no"], True, "y is not numbers yet: see proc_df"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_targets_that_are_no_targets_are_refused(tmp_path, y, is_reg, message):
    with pytest.raises(ValueError) as e:  # noqa: PT011  the whole line is compared
        ColumnarModelData.from_data_frame(tmp_path, [0], pd.DataFrame({"x": [1.0, 2, 3]}), y, [], is_reg=is_reg)
    assert one_line(e) == message


def test_a_column_of_targets_is_one_target(tmp_path):
    df = pd.DataFrame({"x": [1.0, 2, 3], "y": [4.0, 5, 6]})
    data = ColumnarModelData.from_data_frame(tmp_path, [0], df[["x"]], df[["y"]], [])
    assert data.trn_y.tolist() == [5, 6]


def test_class_numbers_stay_whole(tmp_path):
    data = ColumnarModelData.from_data_frame(tmp_path, [0], pd.DataFrame({"x": [1.0, 2, 3]}), [1, 0, 2], [], 2, False)
    cats, conts, y = next(iter(data.val_dl))
    assert (cats.shape, conts.shape, y.tolist(), y.dtype) == ((1, 0), (1, 1), [1], torch.int64)


@pytest.mark.parametrize("as_list", [True, False])
def test_batches_of_arrays_have_a_tensor_for_each_column(tmp_path, as_list):
    columns = [np.arange(9) + 100 * k for k in range(3)]
    xs = columns if as_list else np.stack(columns, 1)
    test = [c[:2] for c in columns] if as_list else np.stack(columns, 1)[:2]
    data = ColumnarModelData.from_arrays(tmp_path, [-1], xs, np.arange(9) * 2, bs=4, test_xs=test)
    *xs, y = next(iter(data.val_dl))
    assert [x.tolist() for x in xs] == [[8], [108], [208]]
    assert (y.tolist(), y.dtype, xs[0].dtype) == ([16], torch.int64, torch.int64)
    assert [len(batch) for batch in data.trn_dl] == [4, 4]
    *xs, _ = next(iter(data.test_dl))
    assert [x.tolist() for x in xs] == [[0, 1], [100, 101], [200, 201]]


def test_a_target_may_have_several_columns(tmp_path):
    data = ColumnarModelData.from_arrays(tmp_path, [0], np.ones((5, 2)), np.arange(15).reshape(5, 3))
    assert next(iter(data.val_dl))[-1].tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("df", "y", "cats", "message"),
    [
        ({"x": [1.0, 2]}, [1, 2], ["Store"], "unknown column 'Store'; known: x"),
        ({"c": ["a", "b"]}, [1, 2], ["c"], "column 'c' is not codes yet: see proc_df"),
        ({"c": [1.0, 2]}, [1, 2], ["c"], "column 'c' is not codes yet: see proc_df"),
        ({"c": [1, -1]}, [1, 2], ["c"], "column 'c' has codes below 0, for which there is no row"),
        ({"c": pd.array([1, None])}, [1, 2], ["c"], "column 'c' of codes has gaps: see proc_df"),
        ({"c": ["a", "b"]}, [1, 2], [], "column 'c' is not numbers yet: see proc_df"),
        ({"x": [1.0, math.nan]}, [1, 2], [], "column 'x' has gaps: see proc_df"),
        ({"x": pd.array([1, None])}, [1, 2], [], "column 'x' has gaps: see proc_df"),
        ({"x": [1.0, -math.inf]}, [1, 2], [], "column 'x' has numbers too large for float32, or infinite"),
        ({"z": [1, 2], "x": [1.0, 1e39]}, [1, 2], [], "column 'x' has numbers too large for float32, or infinite"),
        ({"x": [1.0, 2]}, [1], [], "inputs and targets differ in length: [2, 2, 1]"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_tables_that_are_not_ready_are_refused(tmp_path, df, y, cats, message):
    with pytest.raises(ValueError) as e:  # noqa: PT011  the whole line is compared
        ColumnarModelData.from_data_frame(tmp_path, [0], pd.DataFrame(df), y, cats)
    assert one_line(e) == message


def test_a_column_that_is_there_twice_is_named(tmp_path):
    df = pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"])
    with pytest.raises(ValueError, match=r"^column 'x' is there twice: rename one$"):
        ColumnarModelData.from_data_frame(tmp_path, [0], df, [1, 2], [])


def test_columns_of_pandas_own_types_are_read(tmp_path):
    df = pd.DataFrame({"c": pd.array([1, 2, 3]), "x": pd.array([1.5, 2.5, 3.5]), "f": [True, False, True]})
    data = ColumnarModelData.from_data_frame(tmp_path, [2], df, pd.array([4, 5, 6]), ["c"])
    assert [a.tolist() for a in data.trn_ds.arrays] == [[[1], [2]], [[1.5, 1.0], [2.5, 0.0]], [4.0, 5.0]]


def test_a_table_of_the_user_stays_as_it_is(tmp_path):
    """Whatever is written into the data set."""
    df, y = pd.DataFrame({"c": [1, 2, 3], "x": [1.0, 2, 3]}), np.array([4.0, 5, 6], np.float32)
    before = df.copy()
    data = ColumnarModelData.from_data_frame(tmp_path, [0], df, y, ["c"], test_df=df)
    for ds in (data.trn_ds, data.val_ds, data.test_ds):
        for a in ds.arrays:
            a.fill_(9)
    pd.testing.assert_frame_equal(df, before)
    assert y.tolist() == [4, 5, 6]
    xs = [np.arange(3.0, dtype=np.float32)]
    data = ColumnarModelData.from_arrays(tmp_path, [0], xs, y, test_xs=xs)
    for ds in (data.trn_ds, data.val_ds, data.test_ds):
        ds.arrays[0].fill_(9)
    assert xs[0].tolist() == [0, 1, 2]


def test_training_rows_are_copied_once(tmp_path, monkeypatch):
    """A data set takes what the split has copied as it is: a large table would lie in memory twice."""
    given = []
    kept = ColumnarDataset.__init__
    monkeypatch.setattr(ColumnarDataset, "__init__", lambda self, *a: given.append((self, a)) or kept(self, *a))
    small_data(tmp_path)
    for ds, arrays in given:
        for mine, theirs in zip(ds.arrays, arrays, strict=True):
            assert DEVICE.type != "cpu" or mine.data_ptr() == theirs.data_ptr()
    assert len(given) == 2


def test_rows_that_validate_may_be_true_and_false_but_not_zero_and_one(tmp_path):
    """Read as row numbers, a column of 0 and 1 would make a set of rows 0 and 1."""
    df = pd.DataFrame({"x": np.arange(6.0), "is_valid": [0, 0, 0, 1, 0, 1]})
    with pytest.raises(ValueError, match=r"^a row of val_idxs is given twice: give row numbers, or True and False$"):
        ColumnarModelData.from_data_frame(tmp_path, df["is_valid"], df[["x"]], df["x"], [])
    data = ColumnarModelData.from_data_frame(tmp_path, df["is_valid"] == 1, df[["x"]], df["x"], [])
    assert (data.val_y.tolist(), data.trn_y.tolist()) == ([3, 5], [0, 1, 2, 4])


def test_no_test_rows_are_refused(tmp_path):
    df = pd.DataFrame({"x": [1.0, 2]})
    with pytest.raises(ValueError, match=r"^there are no test rows: leave them out, or give some$"):
        ColumnarModelData.from_data_frame(tmp_path, [0], df, [1, 2], [], test_df=df[:0])
    with pytest.raises(ValueError, match=r"^there are no test rows"):
        ColumnarModelData.from_arrays(tmp_path, [0], [np.arange(2)], [1, 2], test_xs=[])


def test_arrays_may_be_a_data_frame_or_a_tuple_of_columns(tmp_path):
    for xs in (pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]}), ([1, 2, 3], [4, 5, 6])):
        data = ColumnarModelData.from_arrays(tmp_path, [0], xs, [7, 8, 9], bs=2)
        assert [x.tolist() for x in next(iter(data.val_dl))] == [[1], [4], [7]]
    with pytest.raises(ValueError, match=r"^xs must be \(n, columns\), not \(3,\); or a list of columns$"):
        ColumnarModelData.from_arrays(tmp_path, [0], np.arange(3), [7, 8, 9])


# The model


class Reference(nn.Module):
    """The model as in the video: a table for each category, looked up one by one."""

    def __init__(self, model: MixedInputModel, sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.embs = Embeddings(sizes)
        for mine, theirs in zip(self.embs, model.embs, strict=True):
            mine.weight.data = theirs.weight.data.clone()
        self.hidden, self.outp, self.y_range = copy.deepcopy(model.hidden), copy.deepcopy(model.outp), model.y_range

    def forward(self, x_cat, x_cont):
        x = self.outp(self.hidden(torch.cat([self.embs(x_cat), x_cont], 1)))[:, 0]
        return self.y_range[0] + (self.y_range[1] - self.y_range[0]) * torch.sigmoid(x)


SIZES = [(5, 3), (2, 1), (7, 4)]


def random_batch(n: int = 64, n_cont: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    codes = [torch.randint(0, rows, (n,), generator=g) for rows, _ in SIZES]
    return torch.stack(codes, 1), torch.randn(n, n_cont, generator=g)


def test_the_model_equals_that_of_the_video_forwards_and_backwards():
    set_seed(0)
    model = MixedInputModel(SIZES, 2, 0, 1, [6, 4], [0, 0], (-1, 3))
    reference, (codes, numbers) = Reference(model, SIZES), random_batch()
    for m in (model, reference):
        (m(codes, numbers) ** 2).sum().backward()
    torch.testing.assert_close(model(codes, numbers), reference(codes, numbers))
    gradients = model.embs.numbers.grad.split([rows * width for rows, width in SIZES])
    for table, gradient in zip(reference.embs, gradients, strict=True):
        torch.testing.assert_close(gradient.view_as(table.weight), table.weight.grad)
    torch.testing.assert_close(model.outp.weight.grad, reference.outp.weight.grad)


def test_prediction_by_hand():
    """1 + (5 - 1) * sigmoid(relu([emb, x] @ w + b) @ v), every number set."""
    model = MixedInputModel([(2, 1)], 1, 0, 1, [1], [0], (1, 5)).eval()
    with torch.no_grad():
        model.embs[0].weight[:] = torch.tensor([[0.5], [2.0]])
        model.hidden[0].weight[:], model.hidden[0].bias[:] = torch.tensor([[3.0, 1.0]]), -1
        model.outp.weight[:], model.outp.bias[:] = 0.5, 0.25
    found = model(torch.tensor([[0], [1], [0]]), torch.tensor([[1.0], [-2.0], [-5.0]]))
    hidden = [max(0, 3 * e + x - 1) for e, x in [(0.5, 1), (2, -2), (0.5, -5)]]
    expected = [1 + 4 / (1 + math.exp(-(0.5 * h + 0.25))) for h in hidden]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-5)
    assert hidden[2] == 0


def test_first_numbers_of_the_model():
    set_seed(0)
    model = MixedInputModel([(1000, 9), (50, 1)], 1, 0.1, 1, [400], [0.2])
    for (_, width), table in zip([(1000, 9), (50, 1)], model.embs, strict=True):
        bound = 2 / (width + 1)
        assert table.weight.abs().max() <= bound
        assert table.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.2)
    assert model.hidden[0].weight.std().item() == pytest.approx(math.sqrt(2 / 11), rel=0.1)
    assert model.outp.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.1)


def test_layers_in_the_order_of_the_video():
    layers = MixedInputModel(SIZES, 2, 0, 1, [6, 4], [0.1, 0.2], use_bn=True).hidden
    assert [type(m).__name__ for m in layers] == ["Linear", "ReLU", "BatchNorm1d", "Dropout"] * 2
    assert [layers[3].p, layers[7].p] == [0.1, 0.2]
    assert not any(isinstance(m, nn.BatchNorm1d) for m in MixedInputModel(SIZES, 2, 0, 1, [6], [0]).hidden)


@pytest.mark.parametrize(("sizes", "n_cont"), [([], 2), (SIZES, 0)])
def test_either_kind_of_column_may_be_absent(sizes, n_cont):
    model = MixedInputModel(sizes, n_cont, 0.1, 3, [6], [0.1])
    codes, numbers = random_batch(n_cont=n_cont)
    out = model(codes[:, : len(sizes)], numbers)
    assert out.shape == (64, 3)
    out.sum().backward()


def test_embeddings_begin_as_fastai_has_them():
    """Uniform within 2 / (width + 1): of 1,000 numbers, the largest comes within a hundredth of that."""
    set_seed(0)
    for table in Embeddings([(500, 2), (50, 20)]):
        bound = 2 / (table.embedding_dim + 1)
        assert 0.99 * bound < table.weight.max() < bound
        assert -bound < table.weight.min() < -0.99 * bound
        assert table.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_dropout_of_embeddings_leaves_the_numbers_alone():
    codes, numbers = random_batch()
    model = MixedInputModel(SIZES, 2, 0.999, 1, [], []).train()
    with torch.no_grad():
        model.outp.weight[:, :-2] = 0  # the numbers stand behind the embeddings
    expected = numbers @ model.outp.weight[0, -2:] + model.outp.bias
    torch.testing.assert_close(model(codes, numbers), expected)


def test_a_single_row_keeps_its_axis():
    codes, numbers = random_batch()
    one = MixedInputModel(SIZES, 2, 0, 1, [6], [0]).eval()
    assert one(codes[:1], numbers[:1]).shape == (1,)
    assert one(codes[:0], numbers[:0]).shape == (0,)


def test_the_range_may_be_an_array_or_absent():
    codes, numbers = random_batch()
    set_seed(0)
    free = MixedInputModel(SIZES, 2, 0, 1, [6], [0]).eval()
    set_seed(0)
    squeezed = MixedInputModel(SIZES, 2, 0, 1, [6], [0], np.array([0, 9.6])).eval()
    torch.testing.assert_close(squeezed(codes, numbers), 9.6 * free(codes, numbers).sigmoid())
    assert free.y_range is None


def test_dropout_of_embeddings_and_layers_works_in_training_only():
    set_seed(0)
    codes, numbers = random_batch()
    for drops in ((0.5, 0), (0, 0.5)):
        model = MixedInputModel(SIZES, 2, drops[0], 1, [20], [drops[1]])
        assert not torch.equal(model(codes, numbers), model(codes, numbers))
        model.eval()
        torch.testing.assert_close(model(codes, numbers), model(codes, numbers), rtol=0, atol=0)


def test_a_dropout_for_each_layer_is_asked_for():
    with pytest.raises(ValueError, match="1 drops for 2 hidden layers: give one for each"):
        MixedInputModel(SIZES, 2, 0, 1, [6, 4], [0.1])


# The learner


def planted(path, n: int = 1200, is_reg: bool = True, **kwargs) -> ColumnarModelData:
    """y is a secret number of each of six categories, plus x: or, without is_reg, whether that is above 0."""
    rng = np.random.default_rng(0)
    code, x = rng.integers(1, 7, n), rng.normal(size=n)
    y = np.array([0, -2, 1.5, 0.5, -1, 2, -0.5])[code] + x
    df = pd.DataFrame({"code": code, "x": x, "noise": rng.normal(size=n)})
    target = y if is_reg else y > 0
    return ColumnarModelData.from_data_frame(path, get_cv_idxs(n), df, target, ["code"], 32, is_reg, **kwargs)


def test_the_learner_finds_what_is_planted_and_a_straight_line_does_not(tmp_path):
    data = planted(tmp_path)
    set_seed(0)
    learn = data.get_learner([(7, 4)], 2, 0, 1, [32], [0], y_range=(-6, 6))
    loss = learn.fit(1e-2, 6)[-1]
    xs = [to_np(torch.cat(ds.arrays[:2], 1)) for ds in (data.trn_ds, data.val_ds)]
    line = LinearRegression().fit(xs[0], data.trn_y)
    assert loss < 0.1 * np.mean((line.predict(xs[1]) - data.val_y) ** 2)
    assert loss < 0.02 * data.val_y.var()
    preds, targs = learn.predict_with_targs()
    assert preds.shape == targs.shape == (240,)
    assert np.mean((preds - targs) ** 2) == pytest.approx(loss, rel=1e-4)


def test_batch_normalisation_trains(tmp_path):
    """T3: the running mean follows the data, without any call of unfreeze."""
    learn = planted(tmp_path).get_learner([(7, 4)], 2, 0, 1, [8], [0], use_bn=True)
    before = learn.model.hidden[2].running_mean.clone()
    learn.fit(1e-3, 1)
    assert not torch.equal(before, learn.model.hidden[2].running_mean)


def test_the_groups_are_embeddings_hidden_layers_and_output(tmp_path):
    data = planted(tmp_path)
    learn = data.get_learner([(7, 4)], 2, 0, 1, [8], [0], opt_fn=torch.optim.SGD)
    m = learn.model
    assert learn.get_layer_groups() == [m.embs, m.hidden, m.outp]
    assert sum(p.numel() for g in learn.get_layer_groups() for p in g.parameters()) == 28 + 6 * 8 + 8 + 8 + 1
    data.trn_dl.bs, data.trn_dl.shuffle = len(data.trn_ds), False
    before, plain_model = copy.deepcopy(m.state_dict()), copy.deepcopy(m).train()
    *xs, y = data.trn_ds.arrays
    F.mse_loss(plain_model(*xs), y).backward()
    learn.fit([0, 0.01, 0.1], 1)
    for name, p in plain_model.named_parameters():
        rate = {"embs": 0, "hidden": 0.01, "outp": 0.1}[name.split(".")[0]]
        torch.testing.assert_close(m.state_dict()[name], before[name] - rate * p.grad, msg=name)


def test_class_numbers_are_learnt_by_cross_entropy(tmp_path):
    set_seed(0)
    data = planted(tmp_path, is_reg=False)
    learn = data.get_learner([(7, 4)], 2, 0, 2, [32], [0])
    learn.fit(1e-2, 6)
    preds, targs = learn.predict_with_targs()
    assert preds.shape == (240, 2)
    assert (preds.argmax(1) == targs).mean() > 0.93


def test_the_plain_loop_trains_it_too(tmp_path):
    set_seed(0)
    data = planted(tmp_path)
    model = MixedInputModel([(7, 4)], 2, 0, 1, [32], [0]).to(DEVICE)
    opt = torch.optim.Adam(model.parameters(), 1e-2)
    first = fit(model, data, 1, opt, F.mse_loss)[0]
    assert fit(model, data, 4, opt, F.mse_loss)[0] < 0.5 * first


def test_test_rows_are_predicted_and_weights_saved(tmp_path):
    test = pd.DataFrame({"code": [0, 6], "x": [0.0, 1.0], "noise": [0.0, 0.0]})  # 0: unknown
    data = planted(tmp_path, test_df=test)
    learn = data.get_learner([(7, 4)], 2, 0, 1, [8], [0])
    learn.save("first")
    before = learn.predict(is_test=True)
    assert before.shape == (2,)
    learn.fit(1e-2, 1)
    assert not np.array_equal(learn.predict(True), before)
    learn.load("first")
    np.testing.assert_array_equal(learn.predict(True), before)
    assert "JoinedEmbeddings" in str(learn.summary())


@pytest.mark.parametrize(
    ("emb_szs", "n_cont", "message"),
    [
        ([(6, 4)], 2, "emb_szs[0] has 6 rows for codes from 1 to 6"),
        ([(7, 4)], 3, "n_cont is 3, but the table has 2 columns of numbers"),
        ([(7, 4), (2, 1)], 2, "2 emb_szs, but the table has 1 columns of codes"),
        ([], 2, "0 emb_szs, but the table has 1 columns of codes"),
    ],
)
def test_sizes_that_do_not_fit_the_data_are_refused(tmp_path, emb_szs, n_cont, message):
    with pytest.raises(ValueError) as e:  # noqa: PT011  the whole line is compared
        planted(tmp_path).get_learner(emb_szs, n_cont, 0, 1, [8], [0])
    assert one_line(e) == message


@pytest.mark.parametrize("part", ["trn_ds", "val_ds", "test_ds"])
@pytest.mark.parametrize("code", [-1, 7])
def test_codes_without_a_row_are_refused_in_each_set(tmp_path, part, code):
    """They would be read from the table beside."""
    test = pd.DataFrame({"code": [0, 6], "x": [0.0, 1.0], "noise": [0.0, 0.0]})
    data = planted(tmp_path, test_df=test)
    getattr(data, part).arrays[0][0, 0] = code
    with pytest.raises(ValueError, match=r"^emb_szs\[0\] has 7 rows for codes from -?\d to \d$"):
        data.get_learner([(7, 4)], 2, 0, 1, [8], [0])


def of_targets(path, y, is_reg=True) -> ColumnarModelData:
    x = pd.DataFrame({"x": np.arange(float(len(y)))})
    return ColumnarModelData.from_data_frame(path, [0, 1], x, y, [], bs=2, is_reg=is_reg)


@pytest.mark.parametrize(
    ("shape", "out_sz", "message"),
    [
        ((6, 2), 1, "y is (4, 2), but with out_sz=1 it must be (4,)"),
        ((6,), 2, "y is (4,), but with out_sz=2 it must be (4, 2)"),
        ((6, 3), 2, "y is (4, 3), but with out_sz=2 it must be (4, 2)"),
    ],
)
def test_targets_that_the_outputs_do_not_fit_are_refused(tmp_path, shape, out_sz, message):
    """torch would spread one over the other, and train on another loss."""
    with pytest.raises(ValueError) as e:  # noqa: PT011  the whole line is compared
        of_targets(tmp_path, np.zeros(shape)).get_learner([], 1, 0, out_sz, [4], [0])
    assert one_line(e) == message


@pytest.mark.parametrize("y", [[0, 1, 1, 2, 3, 1], [1, 3, 1, 2, 1, 2], [0, 1, 1, -1, 0, 1]])
def test_classes_that_have_no_output_are_refused(tmp_path, y):
    message = r"^y has classes -?\d to \d, but with out_sz=3 they are 0 to 2$"
    with pytest.raises(ValueError, match=message) as e:
        of_targets(tmp_path, y, is_reg=False).get_learner([], 1, 0, 3, [4], [0])
    one_line(e)


def test_classes_are_one_number_a_row(tmp_path):
    with pytest.raises(ValueError, match=r"^y is \(4, 2\), but with out_sz=2 it must be \(4,\)$"):
        of_targets(tmp_path, np.ones((6, 2)), is_reg=False).get_learner([], 1, 0, 2, [4], [0])


def test_several_targets_and_a_loss_of_ones_own_train(tmp_path):
    learn = of_targets(tmp_path, np.arange(12.0).reshape(6, 2)).get_learner([], 1, 0, 2, [4], [0])
    assert learn.fit(1e-3, 1)
    assert learn.predict().shape == (2, 2)

    def quantiles(preds, y):
        wrong = y[:, None] - preds  # (n, 3)
        at = torch.tensor([0.1, 0.5, 0.9], device=preds.device)
        return torch.maximum(at * wrong, (at - 1) * wrong).mean()

    learn = of_targets(tmp_path, np.arange(6.0)).get_learner([], 1, 0, 3, [4], [0], crit=quantiles)
    assert learn.fit(1e-3, 1)
    assert learn.crit is quantiles


def test_data_from_arrays_have_no_codes_and_numbers(tmp_path):
    data = ColumnarModelData.from_arrays(tmp_path, [0], np.ones((5, 2)), np.zeros(5))
    with pytest.raises(ValueError, match=r"^get_learner needs codes and numbers: make the data by from_data_frame$"):
        data.get_learner([], 2, 0, 1, [4], [0])
