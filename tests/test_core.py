import numpy as np
import pytest
import torch

from course_utils import core
from course_utils.core import VV, T, V, children, get_cv_idxs, set_seed, split_by_idx, to_np
from course_utils.files import atomic
from tools import doctor


def test_tensors_and_back():
    assert T([1, 2]).dtype == torch.int64
    assert T(np.ones(2)).dtype == torch.float32
    x, y = V([np.ones((2, 2)), np.arange(2)])
    assert (x.shape, y.dtype) == ((2, 2), torch.int64)
    assert VV([1.5, 2.5]).tolist() == [1.5, 2.5]
    a = V(np.array([2.0]), requires_grad=True)
    (a**2).backward()
    assert a.grad.tolist() == [4]
    half = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    assert to_np([half, np.ones(1)])[0].dtype == np.float32


def test_cv_idxs_are_those_of_the_videos():
    state = np.random.RandomState(42)  # the original seeds the global generator with 42
    folds = state.permutation(11)
    assert get_cv_idxs(11).tolist() == folds[:2].tolist()
    assert get_cv_idxs(11, cv_idx=2).tolist() == folds[4:6].tolist()


def test_cv_idxs_leave_the_global_generator_alone():
    np.random.seed(1)  # noqa: NPY002
    first = np.random.rand()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    get_cv_idxs(10)
    assert np.random.rand() == first  # noqa: NPY002


def test_split_by_idx():
    a, b = np.arange(5), np.arange(5) * 10
    (a_in, a_out), (b_in, _) = split_by_idx([3, 1], a, b)
    assert (a_in.tolist(), a_out.tolist(), b_in.tolist()) == ([1, 3], [0, 2, 4], [10, 30])


def test_same_seed_same_numbers():
    draws = []
    for _ in range(2):
        set_seed(5)
        draws.append((np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]


def test_children():
    net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())
    assert [type(m).__name__ for m in children(net)] == ["ReLU", "Tanh"]


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    file = tmp_path / "a" / "b.txt"
    with atomic(file) as part:
        part.write_text("old")
    with pytest.raises(OSError, match="full"), atomic(file) as part:  # noqa: PT012
        part.write_text("half")
        raise OSError("disk full")
    assert file.read_text() == "old"
    assert [p.name for p in file.parent.iterdir()] == ["b.txt"]


def test_a_tensor_does_not_change_with_its_array():
    a = np.ones(3, np.float32)
    t = T(a)
    a[0] = 5
    assert t.tolist() == [1, 1, 1]
    a.flags.writeable = False
    assert T(a[::-1]).tolist() == [1, 1, 5]


def test_split_counts_from_the_end_and_refuses_missing_rows():
    ((last, rest),) = split_by_idx([-1], np.arange(4))
    assert (last.tolist(), rest.tolist()) == ([3], [0, 1, 2])
    with pytest.raises(IndexError, match="4 is out of bounds"):
        split_by_idx([4], np.arange(4))


def test_split_by_true_and_false_but_not_by_zero_and_one():
    ((yes, no),) = split_by_idx(np.array([False, True, False, True]), np.arange(4))
    assert (yes.tolist(), no.tolist()) == ([1, 3], [0, 2])
    ((none, everything),) = split_by_idx([], np.arange(4))
    assert (len(none), len(everything)) == (0, 4)
    for rows in ([0, 1, 0, 1], [3, 3], [3, -1]):
        with pytest.raises(ValueError, match=r"^a row of val_idxs is given twice: give row numbers, or True and"):
            split_by_idx(rows, np.arange(4))


@pytest.mark.parametrize("make", [V, VV])
def test_v_leaves_its_argument_as_it_was(make):
    """Of a leaf, of a weight, and of what was computed from one."""
    a = V([1.0, 2.0], requires_grad=True)
    layer = torch.nn.Linear(2, 1).to(a.device)
    for tensor in (a, layer.weight, a * 2):
        for requires_grad in (False, True):
            history = tensor.grad_fn
            got = make(tensor, requires_grad)
            assert got is not tensor
            assert (tensor.requires_grad, tensor.grad_fn) == (True, history)
            assert (got.requires_grad, got.grad_fn) == (requires_grad, None)
            assert torch.equal(got, tensor)
    plain = torch.ones(2)
    make(plain, requires_grad=True)
    assert not plain.requires_grad


def test_a_network_called_on_v_keeps_its_gradient():
    layer = torch.nn.Linear(2, 1).to(V([1.0]).device)
    x = V(np.array([[1.0, 2.0]]), requires_grad=True)
    layer(V(x)).sum().backward()
    assert x.requires_grad
    assert layer.weight.grad is not None


def test_v_of_several_arrays_and_of_none():
    a, b = V((torch.ones(2, requires_grad=True), np.arange(2)))
    assert (a.requires_grad, b.dtype) == (False, torch.int64)
    assert V([]).shape == (0,)


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((8, 6), "bfloat16"), ((12, 0), "bfloat16"), ((7, 5), "float16"),
     ((7, 0), "float16"), ((6, 1), "float32"), ((5, 2), "float32")],
)  # fmt: skip
def test_precision_goes_by_what_the_gpu_computes_in(monkeypatch, capability, precision):
    """A T4 is 7.5: PyTorch calls bfloat16 supported there, and emulates it."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    assert core.fast_precision(torch.device("cuda")) is getattr(torch, precision)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_compute_in_float32(device):
    assert core.fast_precision(torch.device(device)) is torch.float32


@pytest.mark.parametrize(("precision", "scaled"), [("float32", False), ("bfloat16", False), ("float16", True)])
def test_a_forward_pass_runs_in_the_precision_chosen(monkeypatch, precision, scaled):
    dtype = getattr(torch, precision)
    monkeypatch.setattr(core, "PRECISION", dtype)
    x = torch.ones(2, 2, device=core.DEVICE)
    with core.autocast():
        assert (x @ x).dtype is dtype
    assert core.grad_scaler().is_enabled() == scaled


def test_doctor_tells_the_precision(monkeypatch):
    monkeypatch.setattr(core, "PRECISION", torch.float16)
    assert "forward passes in float16" in str(doctor.device())
