"""Data sets and their loader under one name, as the lessons import them: see `batches` and `pictures`."""

from .batches import ArrayDataset, BatchLoader
from .pictures import FilesDataset, open_image

__all__ = ["ArrayDataset", "BatchLoader", "FilesDataset", "open_image"]
