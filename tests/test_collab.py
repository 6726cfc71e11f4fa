import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim

from course_utils import files
from course_utils.collab import CollabFilterDataset, EmbeddingDot, EmbeddingDotBias, EmbeddingNet, JoinedDotBias
from course_utils.core import DEVICE, get_cv_idxs, set_seed, to_np
from course_utils.data import get_data
from course_utils.learner import fit, set_lrs
from course_utils.tabular import ColumnarModelData

RATINGS = pd.DataFrame(
    {"userId": [30, 7, 7, 30, 12], "movieId": ["b", "a", "c", "a", "b"], "rating": [4.0, 0.5, 3, 5, 2], "timestamp": 0}
)


def dataset(path) -> CollabFilterDataset:
    return CollabFilterDataset(path, RATINGS, "userId", "movieId", "rating")


def set_numbers(emb: nn.Embedding, numbers: list) -> None:
    with torch.no_grad():
        emb.weight[:] = torch.tensor(numbers, dtype=torch.float32)


# The data


def test_users_and_items_are_numbered_in_the_order_of_their_names(tmp_path):
    cf = dataset(tmp_path)
    assert cf.users.tolist() == [7, 12, 30]
    assert cf.items.tolist() == ["a", "b", "c"]
    assert (cf.user2idx, cf.item2idx) == ({7: 0, 12: 1, 30: 2}, {"a": 0, "b": 1, "c": 2})
    assert (cf.n_users, cf.n_items, cf.min_score, cf.max_score) == (3, 3, 0.5, 5.0)


def test_batches_lead_back_to_the_ratings(tmp_path):
    cf = dataset(tmp_path)
    cats, conts, y = next(iter(cf.get_data([0, 1, 2, 3], 2).val_dl))
    assert (cats.dtype, y.dtype, conts.shape) == (torch.int64, torch.float32, (4, 0))
    rows = [(cf.users[u], cf.items[i], r) for (u, i), r in zip(to_np(cats), to_np(y), strict=True)]
    assert rows == list(RATINGS[["userId", "movieId", "rating"]].iloc[:4].itertuples(index=False, name=None))


def test_a_random_table_survives_the_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"u": rng.integers(0, 10**9, 500), "i": rng.integers(-50, 50, 500), "r": rng.normal(size=500)})
    cf = CollabFilterDataset(tmp_path, df, "u", "i", "r")
    data = cf.get_data(val := get_cv_idxs(500), 64)
    for split, rows in (data.val_ds, np.sort(val)), (data.trn_ds, np.setdiff1d(np.arange(500), val)):
        cats, _, y = to_np(split.arrays)
        np.testing.assert_array_equal(cf.users[cats[:, 0]], df["u"].iloc[rows])
        np.testing.assert_array_equal(cf.items[cats[:, 1]], df["i"].iloc[rows])
        np.testing.assert_allclose(y, df["r"].iloc[rows], rtol=1e-6)
    assert all(cf.users[number] == name for name, number in cf.user2idx.items())


def test_a_file_with_columns_of_no_use_is_read(tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp,,,\n3,9,2.5,1,,,\n1,9,4,2,,,\n", "utf-8")
    cf = CollabFilterDataset.from_csv(str(tmp_path), "ratings.csv", "userId", "movieId", "rating")
    assert (cf.users.tolist(), cf.items.tolist(), cf.y.tolist()) == ([1, 3], [9], [2.5, 4])


def test_a_file_without_a_column_is_named_in_one_line(tmp_path):
    RATINGS.to_csv(tmp_path / "ratings.csv")
    message = r"^unknown column of ratings.csv 'movie'; did you mean 'movieId'\? known: .*timestamp, userId$"
    with pytest.raises(ValueError, match=message) as e:
        CollabFilterDataset.from_csv(tmp_path, "ratings.csv", "userId", "movie", "rating")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["userId", "movieId", "rating"])
def test_a_column_with_gaps_is_refused(tmp_path, name):
    df = RATINGS.copy()
    df[name] = df[name].where(df.index != 2)
    with pytest.raises(ValueError, match=rf"^column '{name}' has gaps: leave those rows out$"):
        CollabFilterDataset(tmp_path, df, "userId", "movieId", "rating")


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="unknown column 'item'; known: "):
        CollabFilterDataset(tmp_path, RATINGS, "userId", "item", "rating")


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e39, -1.7e308])
@pytest.mark.filterwarnings("error")
def test_ratings_that_are_infinite_as_float32_are_refused(tmp_path, value):
    df = RATINGS.assign(rating=[1, 2, value, 3, 4])
    with pytest.raises(ValueError, match=r"^column 'rating' has numbers too large for float32, or infinite$"):
        CollabFilterDataset(tmp_path, df, "userId", "movieId", "rating")


def test_ratings_that_are_text_and_names_of_two_kinds_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^column 'rating' is not numbers$"):
        CollabFilterDataset(tmp_path, RATINGS.assign(rating=list("abcde")), "userId", "movieId", "rating")
    df = RATINGS.assign(userId=pd.Series([1, "b", 3, 4, 5], dtype=object))
    with pytest.raises(ValueError, match=r"^column 'userId' mixes text and numbers: make it one$"):
        CollabFilterDataset(tmp_path, df, "userId", "movieId", "rating")
    with pytest.raises(ValueError, match=r"^there are no ratings: the table has no rows$"):
        CollabFilterDataset(tmp_path, RATINGS[:0], "userId", "movieId", "rating")


def test_the_table_given_stays_as_it_is(tmp_path):
    df = RATINGS.astype({"rating": "float32"})
    before = df.copy()
    cf = CollabFilterDataset(tmp_path, df, "userId", "movieId", "rating")
    data = cf.get_data([0], 2)
    data.trn_ds.arrays[2].fill_(9)
    pd.testing.assert_frame_equal(df, before)
    assert cf.y.tolist() == [4, 0.5, 3, 5, 2]


# The models, every number set


def test_dot_product_by_hand():
    model = EmbeddingDot(2, 2, 3)
    set_numbers(model.u, [[1, 2], [3, -1]])
    set_numbers(model.i, [[0, 1], [2, 2], [5, 0]])
    found = model(torch.tensor([[0, 0], [0, 1], [1, 2], [1, 1]]), torch.empty(4, 0))
    assert found.tolist() == [2, 6, 15, 4]


def test_dot_product_with_biases_by_hand():
    model = EmbeddingDotBias(2, 2, 1, 0.5, 5)
    set_numbers(model.u, [[1, 2], [3, -1]])
    set_numbers(model.i, [[0.5, 0.25]])
    set_numbers(model.ub, [[0.1], [-0.2]])
    set_numbers(model.ib, [[0.3]])
    found = model(torch.tensor([[0, 0], [1, 0]]), torch.empty(2, 0))
    expected = [0.5 + 4.5 / (1 + math.exp(-z)) for z in (0.5 + 0.5 + 0.1 + 0.3, 1.5 - 0.25 - 0.2 + 0.3)]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.skipif(DEVICE.type != "cpu", reason="on a GPU codes are not checked: it would wait for the answer")
@pytest.mark.parametrize("row", [[3, 0], [0, 5], [-1, 0]])
def test_a_number_without_a_row_is_refused_as_by_a_table_of_its_own(row):
    """All rows are in one table: number 3 of three users would be the first item."""
    for make in (lambda: EmbeddingDot(4, 3, 5), lambda: EmbeddingDotBias(4, 3, 5, 1, 5)):
        with pytest.raises(IndexError):
            make()(torch.tensor([[1, 1], row]), None)


def test_network_by_hand():
    model = EmbeddingNet(1, 2, 1, 1, 5, nh=2).eval()
    set_numbers(model.u, [[2], [-1]])
    set_numbers(model.i, [[3]])
    with torch.no_grad():
        model.lin1.weight[:], model.lin1.bias[:] = torch.tensor([[1.0, 1], [2, -1]]), torch.tensor([0.0, 0.5])
        model.lin2.weight[:], model.lin2.bias[:] = torch.tensor([[0.5, 1]]), -2
    found = model(torch.tensor([[0, 0], [1, 0]]), torch.empty(2, 0))
    hidden = [(max(0, u + 3), max(0, 2 * u - 3 + 0.5)) for u in (2, -1)]
    expected = [0.5 + 5 / (1 + math.exp(-(0.5 * a + b - 2))) for a, b in hidden]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert [model.drop1.p, model.drop2.p] == [0.05, 0.5]


@pytest.mark.parametrize(("p1", "p2"), [(0.5, 0), (0, 0.5), (0, 0)])
def test_either_dropout_of_the_network_works_in_training_only(p1, p2):
    set_seed(0)
    model = EmbeddingNet(20, 5, 5, 1, 5, p1=p1, p2=p2)
    cats = torch.randint(0, 5, (30, 2))
    assert torch.equal(model(cats, None), model(cats, None)) == (p1 == p2 == 0)
    model.eval()
    assert torch.equal(model(cats, None), model(cats, None))


def test_the_net_has_the_sizes_of_the_video_unless_told_otherwise():
    model = EmbeddingNet(50, 3, 7, 1, 5)
    assert (model.lin1.in_features, model.lin1.out_features, model.lin2.in_features) == (100, 10, 10)
    assert (model.drop1.p, model.drop2.p) == (0.05, 0.5)


@pytest.mark.parametrize("kind", [EmbeddingDot, EmbeddingDotBias, EmbeddingNet])
def test_users_and_items_have_tables_of_their_own_size(kind):
    scores = () if kind is EmbeddingDot else (1, 5)
    model = kind(4, 3, 7, *scores).eval()
    cats = torch.tensor([[u, i] for u in range(3) for i in range(7)])
    assert model(cats, None).shape == (21,)
    assert len(model(cats, None).unique()) == 21
    with pytest.raises(IndexError):
        model(torch.tensor([[3, 0]]), None)


def test_models_start_from_small_uniform_numbers():
    set_seed(0)
    model = EmbeddingDotBias(50, 100, 200, 1, 5)
    tables = [table.weight for table in (model.u, model.i, model.ub, model.ib)]
    assert [tuple(p.shape) for p in tables] == [(100, 50), (200, 50), (100, 1), (200, 1)]
    assert sum(p.numel() for p in tables) == sum(p.numel() for p in model.parameters())
    for p in tables:
        assert p.abs().max() <= 0.05
        assert p.std().item() == pytest.approx(0.1 / math.sqrt(12), rel=0.15)


# Learning


def planted(n: int = 4000) -> tuple[pd.DataFrame, np.ndarray]:
    """Ratings 1 to 5 out of two secret factors and a bias for each of 40 users and 30 items, and a little noise."""
    rng = np.random.default_rng(0)
    u, i = rng.integers(0, 40, n), rng.integers(0, 30, n)
    taste, kind = rng.normal(size=(40, 2)), rng.normal(size=(30, 2))
    exact = (taste[u] * kind[i]).sum(1) + rng.normal(size=40)[u] + rng.normal(size=30)[i]
    rating = 1 + 4 / (1 + np.exp(-exact)) + 0.1 * rng.normal(size=n)
    return pd.DataFrame({"user": u * 3, "item": i + 7, "stars": rating}), rating


def test_the_learner_finds_planted_factors_and_the_means_do_not(tmp_path):
    df, rating = planted()
    val = get_cv_idxs(len(df))
    cf = CollabFilterDataset(tmp_path, df, "user", "item", "stars")
    set_seed(0)
    learn = cf.get_learner(5, val, 64, opt_fn=optim.Adam)
    loss = learn.fit(2e-2, 8, wds=1e-5)[-1]
    trn = df.drop(index=val)
    user, item = (trn.groupby(c)["stars"].mean() for c in ("user", "item"))
    means = df["user"].map(user) + df["item"].map(item) - trn["stars"].mean()
    assert loss < 0.25 * np.mean((means - rating).iloc[val] ** 2)
    assert loss < 0.1  # of noise alone: 0.01
    preds = learn.predict()
    assert preds.shape == learn.data.val_y.shape == (800,)
    assert np.corrcoef(preds, learn.data.val_y)[0, 1] > 0.95


def test_squared_error_and_one_layer_group(tmp_path):
    learn = dataset(tmp_path).get_learner(4, [0], 2, metrics=[F.l1_loss])
    assert learn.get_layer_groups() == list(learn.model.children())
    assert learn.crit is F.mse_loss
    assert isinstance(learn.model, JoinedDotBias)
    assert (learn.model.min_score, learn.model.max_score) == (0.5, 5)
    assert len(learn.fit(1e-2, 1, wds=2e-4)) == 2
    with pytest.raises(ValueError, match="2 rates for 1 layer groups"):
        learn.fit([1e-2, 1e-3], 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda cf: EmbeddingDot(10, cf.n_users, cf.n_items),
        lambda cf: EmbeddingDotBias(10, cf.n_users, cf.n_items, cf.min_score, cf.max_score),
        lambda cf: JoinedDotBias(10, cf.n_users, cf.n_items, cf.min_score, cf.max_score),
        lambda cf: EmbeddingNet(10, cf.n_users, cf.n_items, cf.min_score, cf.max_score),
    ],
)
def test_the_plain_loop_of_the_lesson_trains_each_model(tmp_path, make):
    """`fit(model, data, n_epochs, opt, F.mse_loss)` with data from `ColumnarModelData`, as in the video."""
    df, _ = planted()
    cf = CollabFilterDataset(tmp_path, df, "user", "item", "stars")
    x = pd.DataFrame({"user": df["user"].map(cf.user2idx), "item": df["item"].map(cf.item2idx)})
    data = ColumnarModelData.from_data_frame(tmp_path, get_cv_idxs(len(x)), x, df["stars"], ["user", "item"], 64)
    set_seed(0)
    model = make(cf).to(DEVICE)
    opt = optim.Adam(model.parameters(), 1e-2, weight_decay=1e-5)
    fit(model, data, 4, opt, F.mse_loss)
    set_lrs(opt, 1e-3)
    loss = fit(model, data, 1, opt, F.mse_loss)[0]
    assert loss < 0.8 * data.val_y.var()


# Real data


@pytest.mark.real
def test_real_ratings(real_data, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setenv("COURSE_MIRROR", str(real_data))
    path = get_data("ml-latest-small", "full")
    cf = CollabFilterDataset.from_csv(path, "ratings.csv", "userId", "movieId", "rating")
    assert (len(cf.y), cf.n_users, cf.n_items, cf.min_score, cf.max_score) == (100_004, 671, 9_066, 0.5, 5.0)
    read = pd.read_csv(path / "ratings.csv")
    np.testing.assert_array_equal(cf.items[cf.x["movieId"]], read["movieId"])
