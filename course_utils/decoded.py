"""Many tiny pictures as one array: decoded at once, by all cores, and kept beside the data.

Of a file of 2 kB, most time goes into Python, whose lock threads would wait for: processes read
them. A second data set of the same files, or a second run, reads one file instead of all.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from hashlib import sha256
from multiprocessing import current_process
from pathlib import Path

import joblib
import numpy as np
import PIL
import torch
from joblib.externals.loky import ProcessPoolExecutor
from torch import Tensor

from .files import locked, sweep_parts, work_dir
from .memory import memory_is_free
from .reading import read_array, read_picture
from .saved import read_rows, write_tensors

__all__ = ["decoded_array"]

CHUNK = 500  # pictures that a process reads at a time
WORTH = 4  # chunks that take as long as starting a process
MOST_PROCESSES = 16  # more take longer to start than they save
MOST = 2**29  # bytes of an array


def decoded_array(
    path: Path, fnames: Sequence[str], stamps: Sequence[tuple[int, int]], side: int
) -> Tensor | None:
    """Pictures path/FNAME, all of one size, as uint8 (n, 3, h, w); None if that cannot be.

    They are decoded for a shortest side of `side`, and kept in tmp/pictures_KEY.pt of the work
    folder. KEY stands for these names and their `stamps`, size and time of change, which a caller
    has taken before. None for pictures of different sizes, and for too many for memory. Where
    nothing can be written they are decoded each time, after a warning.
    """
    file = _kept_file(path, fnames, stamps, side)
    pictures = _kept(file, len(fnames))
    if pictures is None:
        with _our_turn(file) as writable:
            pictures = _kept(file, len(fnames))  # another process may have made it
            if pictures is None:
                pictures = _decoded([os.path.join(path, name) for name in fnames], side)
                if pictures is not None and writable:
                    _keep(pictures, file)
    if pictures is None:
        return None
    return pictures.permute(0, 3, 1, 2)


# Decoded


def _decoded(files: list[str], side: int) -> Tensor | None:
    """Pictures of one size, uint8 (n, h, w, 3); None if they are not, or there is no room."""
    size = read_picture(Path(files[0]), side).size
    needed = len(files) * 3 * math.prod(size)
    if needed > MOST or not memory_is_free(after=2 * needed):  # once more, while they are written
        return None
    chunks = [files[i : i + CHUNK] for i in range(0, len(files), CHUNK)]
    read = partial(read_array, side=side, size=size)
    try:
        parts = _by_processes(read, chunks)
    except BrokenExecutor:  # one was ended, for want of memory say
        parts = list(map(read, chunks))
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts):
        return None
    return torch.from_numpy(np.concatenate(whole))


def _by_processes(
    read: Callable[[list[str]], np.ndarray | None], chunks: list[list[str]]
) -> list[np.ndarray | None]:
    """What `read` gives for each chunk; what it raises comes out as if it had run here.

    loky's processes do not run the user's script again, as those of multiprocessing would. They end
    here: a process that was started by multiprocessing waits for its own before it ends.
    """
    processes = min(joblib.cpu_count(), len(chunks) // WORTH, MOST_PROCESSES)
    if processes < 2 or current_process().daemon:  # a daemon may have no processes of its own
        return list(map(read, chunks))
    with ProcessPoolExecutor(processes) as pool:
        try:
            return list(pool.map(read, chunks))
        except (FileNotFoundError, ValueError) as error:
            raise error from None  # without what the process has printed


# Kept


def _kept_file(
    path: Path, fnames: Sequence[str], stamps: Sequence[tuple[int, int]], side: int
) -> Path:
    """Named by all that decoded pictures depend on: which files, how large, and by which Pillow."""
    files = [(str(name), *stamp) for name, stamp in zip(fnames, stamps, strict=True)]
    parts = [str(path.resolve()), files, side, PIL.__version__]
    key = sha256(repr(parts).encode()).hexdigest()[:32]
    return work_dir(path) / "tmp" / f"pictures_{key}.pt"


def _kept(file: Path, n: int) -> Tensor | None:
    """The n pictures of a file, (n, h, w, 3); None if there is no such file, or it is damaged."""
    try:
        pictures = read_rows(file, n, "decoded pictures")
    except OSError:  # no leave to read it
        return None
    return pictures if pictures is not None and pictures.ndim == 4 else None


def _keep(pictures: Tensor, file: Path) -> None:
    """Write them; of a damaged file, and where this cannot be, a warning says so."""
    if file.exists():
        logging.getLogger(__name__).warning(f"{file}: damaged; it is made anew")
    try:
        sweep_parts(file, older_than=0)  # the lock is ours: nobody writes them
        write_tensors(pictures, file)
    except OSError as error:
        _warn_once(file.parent, error.strerror)


@contextmanager
def _our_turn(file: Path) -> Iterator[bool]:
    """`locked`, and whether there can be a lock: in a folder that is only read there is none."""
    with ExitStack() as turn:
        try:
            turn.enter_context(locked(file))
        except OSError as error:
            _warn_once(file.parent, error.strerror)
            yield False
        else:
            yield True


@cache  # one line for all data sets
def _warn_once(folder: Path, why: str | None) -> None:
    logging.getLogger(__name__).warning(
        f"{folder}: cannot be written to ({why}): pictures are decoded again each time"
    )
