"""What can listen to `fit`."""

import math
from collections.abc import Callable

from torch import Tensor

__all__ = ["Callback", "SaveBest"]


class Callback:
    """What can listen to `fit`. A true value from an `…_end` method stops the training."""

    def on_batch_begin(self) -> None: ...
    def on_batch_end(self, loss: Tensor) -> bool | None: ...
    def on_epoch_end(self, metrics: list[float]) -> bool | None: ...


class SaveBest(Callback):
    """Calls `save` after each epoch better than all before it: by the first metric, or the loss if that is equal."""

    def __init__(self, save: Callable) -> None:
        self.save, self.best = save, [math.inf, math.inf]

    def on_epoch_end(self, metrics: list[float]) -> None:
        if metrics and (score := [-m for m in metrics[1:2]] + metrics[:1]) < self.best:
            self.save()
            self.best = score
