"""Reading ahead: an iterator that runs in a thread of its own, and memory for what it reads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from itertools import cycle
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
# Gives memory for an array of a shape and dtype, as `numpy.empty` does.
Memory = Callable[[tuple[int, ...], np.dtype], np.ndarray]
AHEAD = 2


def reused_memory(ahead: int = AHEAD) -> Memory:
    """Give memory for batches that are read `ahead`, the same again and again.

    One batch is read, some wait, one is used. Fresh memory costs more than reading into it.
    """
    arrays: dict[int, np.ndarray] = {}
    turns = cycle(range(ahead + 2))

    def memory(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        turn = next(turns)
        if turn not in arrays or (arrays[turn].shape, arrays[turn].dtype) != (shape, dtype):
            arrays[turn] = np.empty(shape, dtype)
        return arrays[turn]

    return memory


def prefetch(items: Iterator[Item], depth: int = AHEAD) -> Generator[Item, None, None]:
    """Run an iterator in a thread, at most `depth` items ahead; its exceptions are raised here."""
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(kind: str, value: Any) -> None:
        while not stopped.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                offer("item", item)
                if stopped.is_set():
                    break
        except BaseException as error:
            offer("error", error)
        finally:
            items.close()  # type: ignore[attr-defined]
        offer("end", None)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()
