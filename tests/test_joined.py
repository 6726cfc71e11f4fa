"""The networks whose tables lie in one tensor, against those of the videos with a table each."""

import math

import numpy as np
import pytest
import torch
from torch import nn, optim

from course_utils.collab import EmbeddingDotBias
from course_utils.core import DEVICE, set_seed
from course_utils.joined import JoinedDotBias, JoinedEmbeddings, check_codes, get_emb, to_range
from course_utils.tabular import Embeddings

SIZES = [(5, 3), (2, 1), (7, 4)]
CPU_ONLY = pytest.mark.skipif(DEVICE.type != "cpu", reason="on a GPU codes are not checked: it would wait")


def random_sizes(seed: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(1, 30)), int(rng.integers(1, 9))) for _ in range(rng.integers(1, 12))]


def random_codes(sizes: list[tuple[int, int]], n: int = 50) -> torch.Tensor:
    return torch.stack([torch.randint(0, rows, (n,)) for rows, _ in sizes], 1)


def copied(joined: JoinedEmbeddings) -> Embeddings:
    """A table each, with the same numbers."""
    plain = Embeddings(joined.sizes)
    with torch.no_grad():
        for mine, theirs in zip(plain, joined, strict=True):
            mine.weight.copy_(theirs.weight)
    return plain


# JoinedEmbeddings


@pytest.mark.parametrize("seed", range(20))
def test_one_lookup_equals_one_for_each_table_forwards_and_backwards(seed):
    set_seed(seed)
    sizes = random_sizes(seed)
    joined = JoinedEmbeddings(sizes)
    plain, codes = copied(joined), random_codes(sizes)
    found = joined(codes)
    assert found.shape == (50, sum(width for _, width in sizes))
    assert torch.equal(found, plain(codes))
    weights = torch.randn_like(found)
    for embs in (joined, plain):
        (embs(codes) * weights).square().sum().backward()
    gradients = joined.numbers.grad.split([rows * width for rows, width in sizes])
    for table, gradient in zip(plain, gradients, strict=True):
        torch.testing.assert_close(gradient.view_as(table.weight), table.weight.grad)


def test_a_step_changes_what_a_step_on_each_table_changes():
    set_seed(0)
    joined = JoinedEmbeddings(SIZES)
    plain, codes = copied(joined), random_codes(SIZES)
    for embs in (joined, plain):
        opt = optim.Adam(embs.parameters(), 0.1)
        for _ in range(3):
            opt.zero_grad()
            embs(codes).square().sum().backward()
            opt.step()
    assert len(joined) == len(plain) == 3
    for mine, theirs in zip(plain, joined, strict=True):
        torch.testing.assert_close(mine.weight, theirs.weight)


def test_the_layout_is_the_one_drawn():
    """Read from the docstring: places of the rows, and what belongs to each output."""
    rows = [line.split() for line in JoinedEmbeddings.__doc__.splitlines()]
    drawn = {words[0]: words[1:] for words in rows if words and words[0] in ("numbers", "place", "first", "width")}
    drawn |= {"table": next(words[1:] for words in reversed(rows) if words and words[0] == "table")}
    sizes = [(2, 3), (2, 1), (3, 2)]
    embs = JoinedEmbeddings(sizes)
    for name in ("table", "first", "width"):
        assert getattr(embs, name).tolist() == [int(word) for word in drawn[name]], name
    assert len(drawn["numbers"]) == embs.numbers.numel()
    with torch.no_grad():
        embs.numbers[:] = torch.arange(14.0)
    starts = [embs[i].weight[row, 0].item() for i, (n_rows, _) in enumerate(sizes) for row in range(n_rows)]
    assert starts == [int(word) for word in drawn["place"]]
    names = "".join("abc"[i] * rows * width for i, (rows, width) in enumerate(sizes))
    assert "".join(drawn["numbers"]) == names


def test_a_table_is_the_memory_that_trains():
    embs = JoinedEmbeddings(SIZES)
    assert [tuple(table.weight.shape) for table in embs] == SIZES
    assert all(table.weight.requires_grad for table in embs)
    with torch.no_grad():
        embs[1].weight[1, 0] = 42
    codes = torch.tensor([[0, 1, 0]])
    assert embs(codes)[0, 3] == 42
    torch.testing.assert_close(embs(codes)[0, 4:], embs[2].weight[0])
    torch.testing.assert_close(embs[-1].weight, embs[2].weight)
    with pytest.raises(IndexError):
        embs[3]


def test_no_table_at_all_finds_nothing():
    embs = JoinedEmbeddings([])
    assert embs(torch.empty(4, 0, dtype=torch.long)).shape == (4, 0)


def test_weights_are_saved_and_their_places_are_not():
    """So that a file saved before loads."""
    assert list(JoinedEmbeddings(SIZES).state_dict()) == ["numbers"]
    assert list(JoinedDotBias(2, 3, 4, 1, 5).state_dict()) == ["emb.weight"]


@pytest.mark.parametrize("kind", [Embeddings, JoinedEmbeddings])
def test_first_numbers_are_uniform_within_two_over_width_plus_one(kind):
    set_seed(0)
    for table, width in zip(kind([(1000, 9), (500, 1)]), (9, 1), strict=True):
        bound = 2 / (width + 1)
        assert 0.95 * bound < table.weight.abs().max() <= bound
        assert table.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert abs(table.weight.mean().item()) < 0.1 * bound


@CPU_ONLY
@pytest.mark.parametrize("codes", [[5, 0, 0], [0, 2, 0], [0, 0, 7], [0, -1, 0], [2**40, 0, 0]])
def test_a_code_without_a_row_is_refused_and_no_neighbour_read(codes):
    with pytest.raises(IndexError, match=r"^codes from \[.*\] to \[.*\] for tables of \[5, 2, 7\] rows$"):
        JoinedEmbeddings(SIZES)(torch.tensor([[4, 1, 6], codes]))


@CPU_ONLY
def test_the_message_has_the_range_of_the_codes_of_each_table():
    with pytest.raises(IndexError) as e:
        check_codes(torch.tensor([[0, -1], [9, 3]]), torch.tensor([9, 4]))
    assert str(e.value) == "codes from [0, -1] to [9, 3] for tables of [9, 4] rows"
    check_codes(torch.tensor([[0, 0], [8, 3]]), torch.tensor([9, 4]))


# JoinedDotBias


def tables(model: nn.Module) -> list[nn.Embedding]:
    return [model.u, model.i, model.ub, model.ib]


@pytest.mark.parametrize("seed", range(10))
def test_one_table_equals_the_four_of_the_video_forwards_and_backwards(seed):
    rng = np.random.default_rng(seed)
    n_factors, n_users, n_items = (int(n) for n in rng.integers(1, 20, 3))
    set_seed(seed)
    joined = JoinedDotBias(n_factors, n_users, n_items, 0.5, 5)
    plain = EmbeddingDotBias(n_factors, n_users, n_items, 0.5, 5)
    with torch.no_grad():
        joined.emb.weight.mul_(40)  # so that the factors count
        for mine, theirs in zip(tables(plain), tables(joined), strict=True):
            mine.weight.copy_(theirs.weight)
    cats = torch.tensor(np.stack([rng.integers(0, n_users, 60), rng.integers(0, n_items, 60)], 1))
    torch.testing.assert_close(joined(cats, None), plain(cats, None))
    weights = torch.randn(60)
    for model in (joined, plain):
        (model(cats, None) * weights).sum().backward()
    users, items = joined.emb.weight.grad.split([n_users, n_items])
    parts = [users[:, :-1], items[:, :-1], users[:, -1:], items[:, -1:]]
    for table, part in zip(tables(plain), parts, strict=True):
        torch.testing.assert_close(part, table.weight.grad)


def test_parts_are_the_memory_that_trains():
    """What a lesson reads from `m.ib` after training is what training changed; and it can be written."""
    model = JoinedDotBias(3, 4, 5, 1, 5)
    assert [tuple(t.weight.shape) for t in tables(model)] == [(4, 3), (5, 3), (4, 1), (5, 1)]
    with torch.no_grad():
        for k, table in enumerate(tables(model)):
            table.weight.fill_(k)
    assert model.emb.weight.tolist() == [[0, 0, 0, 2]] * 4 + [[1, 1, 1, 3]] * 5
    assert model.ib(torch.tensor([4, 0])).tolist() == [[3], [3]]
    assert not any(table.weight.requires_grad for table in tables(model))


def test_the_first_numbers_of_the_one_table_are_those_of_get_emb():
    set_seed(3)
    expected = get_emb(9, 4).weight
    set_seed(3)
    assert torch.equal(JoinedDotBias(3, 4, 5, 1, 5).emb.weight, expected)


@CPU_ONLY
@pytest.mark.parametrize("row", [[3, 0], [0, 5], [-1, 0], [0, -1]])
def test_a_number_without_a_row_is_refused(row):
    """All rows are in one table: number 3 of three users would be the first item."""
    with pytest.raises(IndexError, match=r"for tables of \[3, 5\] rows"):
        JoinedDotBias(4, 3, 5, 1, 5)(torch.tensor([[1, 1], row]), None)


# get_emb, to_range


def test_a_table_is_uniform_within_its_bound():
    set_seed(0)
    for kwargs, bound in (({}, 0.05), ({"bound": 0.5}, 0.5)):
        weight = get_emb(300, 20, **kwargs).weight
        assert weight.shape == (300, 20)
        assert 0.98 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_a_sigmoid_squeezes_into_the_range():
    found = to_range(torch.tensor([-100.0, 0.0, math.log(3), 100.0]), 1, 5)
    torch.testing.assert_close(found, torch.tensor([1.0, 3.0, 4.0, 5.0]))
