"""Data sets and their loader as the lessons import them; they are in `batches` and `pictures`."""

from .batches import ArrayDataset, BatchLoader
from .pictures import FilesDataset, open_image

__all__ = ["ArrayDataset", "BatchLoader", "FilesDataset", "open_image"]
