"""Waiting in tests: as long as it takes, on whatever machine. pytest's own time-out ends what hangs."""

import time
from collections.abc import Callable

BROWSER = 600_000  # milliseconds that a page may take for a step, against hanging


def until(happened: Callable[[], object]) -> None:
    while not happened():
        time.sleep(0.05)
