"""Denormals are 0 while a network trains, and nowhere else."""

import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import array_data, mlp

from course_utils.denormals import denormals_are_zero, without_denormals
from course_utils.files import ROOT
from course_utils.learner import Learner
from course_utils.schedule import Callback

pytestmark = pytest.mark.skipif(
    not torch.set_flush_denormal(False), reason="this processor cannot do without denormals"
)


def numpy_flushes():
    """Whether half of the smallest usual number is 0 for NumPy."""
    return bool((np.full(4, np.finfo(np.float32).tiny) / 2 == 0).all())


@pytest.fixture(autouse=True)
def usual():
    """Every test starts with denormals, and leaves them."""
    torch.set_flush_denormal(False)
    yield
    flushed = numpy_flushes()
    torch.set_flush_denormal(False)
    assert not flushed


def test_in_the_block_and_not_after():
    assert not numpy_flushes()
    with without_denormals():
        assert numpy_flushes()
        assert denormals_are_zero()
    assert not numpy_flushes()
    assert not denormals_are_zero()


def test_an_inner_block_does_not_end_the_outer():
    with without_denormals():
        with without_denormals():
            assert numpy_flushes()
        assert numpy_flushes()
    assert not numpy_flushes()


def test_after_an_error_as_before():
    with suppress(KeyboardInterrupt), without_denormals():
        raise KeyboardInterrupt
    assert not numpy_flushes()


def test_who_has_set_it_keeps_it():
    torch.set_flush_denormal(True)
    with without_denormals():
        assert numpy_flushes()
    assert numpy_flushes()
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_fit_trains_without_denormals_and_puts_them_back(tmp_path, error):
    seen = []

    class Look(Callback):
        def on_batch_end(self, loss):
            seen.append(numpy_flushes())

        def on_epoch_end(self, metrics):
            seen.append(numpy_flushes())
            if error:
                raise error

    learn = Learner(array_data(tmp_path), mlp(), crit=F.nll_loss)
    with suppress(KeyboardInterrupt, ValueError):
        learn.fit(0.1, 1, callbacks=[Look()])
    assert seen == [True] * 4
    assert not numpy_flushes()


def test_lr_find_puts_them_back(tmp_path):
    Learner(array_data(tmp_path), mlp(), crit=F.nll_loss).lr_find(num_it=5)
    assert not numpy_flushes()


def run(code: str) -> str:
    """What a fresh process prints, in which torch has two threads."""
    env = {"OMP_NUM_THREADS": "2", "PATH": "", "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout


def test_importing_everything_leaves_numpy_alone():
    code = """
from course_utils import *
print((np.full(4, np.finfo(np.float32).tiny) / 2 == 0).any())
"""
    assert run(code) == "False\n"


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.skipif(sys.platform == "win32", reason="OpenMP's threads cannot be reached there")
def test_all_threads_of_torch_take_part(started):
    """Halves of a large tensor are computed by two threads, which may have been started before, or are by this."""
    code = f"""
import numpy as np, torch
from course_utils.denormals import without_denormals
x = torch.from_numpy(np.full(1 << 20, 1e-39, np.float32))
def shares():
    half = (x * 0.5).numpy().view(np.int32).reshape(2, -1)  # as bits: comparing may flush as well
    return (half == 0).mean(1).tolist()
if {started}:
    print(shares())
with without_denormals():
    print(shares())
print(shares())
"""
    before = "[0.0, 0.0]\n" if started else ""
    assert run(code) == before + "[1.0, 1.0]\n[0.0, 0.0]\n"
