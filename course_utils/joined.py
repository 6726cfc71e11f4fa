"""Many tables of embeddings in one tensor: one lookup serves all."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Embeddings", "check_codes", "get_emb"]

Sizes = Sequence[tuple[int, int]]


def check_codes(codes: Tensor, rows: Sequence[int]) -> None:
    """IndexError if a code, of (n, tables), has no row in its table. Not on a GPU, which would wait for the answer."""
    if (
        codes.device.type == "cpu" and (codes.numpy().astype(np.uint64) >= rows).any()
    ):  # without a sign -1 is huge
        low, high = codes.amin(0).tolist(), codes.amax(0).tolist()
        raise IndexError(f"codes from {low} to {high} for tables of {list(rows)} rows")


class Embeddings(nn.Module):
    """Tables of (rows, width) numbers in one vector, so that one lookup serves all: 22 would keep a GPU waiting."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        tables = [
            torch.empty(size).uniform_(-2 / (size[1] + 1), 2 / (size[1] + 1)) for size in sizes
        ]
        self.numbers, self.sizes = (
            nn.Parameter(torch.cat([torch.empty(0), *[t.flatten() for t in tables]])),
            sizes,
        )
        starts = np.cumsum([0, *[table.numel() for table in tables]]).tolist()
        outputs = [
            (i, starts[i] + k, width) for i, (_, width) in enumerate(sizes) for k in range(width)
        ]
        for name, value in zip(
            ("table", "start", "width"), torch.tensor(outputs).long().view(-1, 3).T, strict=True
        ):
            self.register_buffer(name, value.contiguous(), persistent=False)

    def __getitem__(self, i: int) -> nn.Embedding:
        """Table i, on the same memory."""
        parts = self.numbers.detach().split([rows * width for rows, width in self.sizes])
        return nn.Embedding.from_pretrained(parts[i].view(self.sizes[i]), freeze=False)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (n, tables), each below the rows of its table, to numbers (n, sum of the widths)."""
        check_codes(codes, [rows for rows, _ in self.sizes])
        places = codes.index_select(1, self.table) * self.width + self.start
        return self.numbers.index_select(0, places.flatten()).view_as(places)


def get_emb(rows: int, width: int, bound: float = 0.05) -> nn.Embedding:
    """A table of rows x width numbers, uniform from -bound to bound."""
    emb = nn.Embedding(rows, width)
    nn.init.uniform_(emb.weight, -bound, bound)
    return emb
