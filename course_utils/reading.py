"""One way to read a picture, whatever its kind; and many of one size at once.

It needs Pillow and NumPy alone: a process that only reads pictures has started in no time.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

__all__ = ["read_array", "read_picture"]

MOST_BYTES = 2**29  # that decoding one picture may take, as 134 million pixels in RGB do


def read_picture(file: Path, side: int = 0) -> Image.Image:
    """A file as RGB, turned upright as its EXIF data says; every picture is read here.

    Given `side`, a large JPEG is decoded at a half, a quarter or an eighth, but its sides are
    2 * `side` or more: enough to resize from, at a fraction of time and memory. FileNotFoundError
    or ValueError, in one line that names the file; also before a picture is decoded that claims to
    be so large that it would take more than half a gigabyte.
    """
    try:
        with Image.open(file) as im:
            claimed = im.size
            if side:
                im.draft("RGB", (2 * side, 2 * side))
            _check_size(im, claimed, file.stat().st_size)
            ImageOps.exif_transpose(im, in_place=True)
            im.load()
            return _rgb(im)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such picture") from None
    except Image.DecompressionBombError as e:  # it claims to be huge
        raise _unreadable(file, e) from None
    except (OSError, SyntaxError, ValueError) as e:
        raise _unreadable(file, e) from None


def _check_size(im: Image.Image, claimed: tuple[int, int], file_size: int) -> None:
    """ValueError, before anything is decoded, for what takes too much memory.

    `im` has the size that it is decoded at; `claimed` is the whole picture's.
    """
    pixels = math.prod(claimed)
    needed = _bytes_a_pixel(im) * math.prod(im.size)
    if im.format in ("JPEG", "MPO"):
        if pixels > 64 * 8 * file_size:  # a block of 8 x 8 takes a bit or more
            raise ValueError(f"{_times(claimed)} pixels cannot be in {file_size:,} bytes")
        if "progressive" in im.info:  # all coefficients are held at full size, 2 bytes each
            needed += 2 * 3 * pixels
    if needed > MOST_BYTES:
        raise ValueError(
            f"{_times(claimed)} pixels would take {needed / 2**20:,.0f} MB, "
            f"more than {MOST_BYTES / 2**20:,.0f} MB"
        )


def _bytes_a_pixel(im: Image.Image) -> int:
    """What Pillow needs to decode it, and to make RGB of it."""
    if im.format == "WEBP":
        return 12  # the decoder has two pictures of its own
    return 4 if im.mode == "RGB" else 8


def _times(size: tuple[int, int]) -> str:
    width, height = size
    return f"{width:,} x {height:,}"


def _unreadable(file: Path, e: Exception) -> ValueError:
    return ValueError(f"{file}: not a readable picture ({e}); replace or delete it")


def _rgb(im: Image.Image) -> Image.Image:
    if im.mode.startswith("I;16"):  # grey of 16 bits: Pillow would make white of nearly all
        im = Image.fromarray((np.asarray(im) >> 8).astype(np.uint8))
    return im if im.mode == "RGB" else im.convert("RGB")


def read_array(files: Sequence[str], side: int, size: tuple[int, int]) -> np.ndarray | None:
    """Pictures of one size, (width, height), as uint8 (n, height, width, 3); `side` as above.

    None if one is of another size.
    """
    width, height = size
    pictures = np.empty((len(files), height, width, 3), np.uint8)
    for place, file in zip(pictures, files, strict=True):
        picture = read_picture(Path(file), side)
        if picture.size != size:
            return None
        place[:] = np.asarray(picture)
    return pictures
