"""How synchronous callers wait for asynchronous code, wherever they are called from."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_blocking(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine that `start` makes to its end, in a private thread with its own loop.

    Works inside a running event loop too, which it blocks. Nothing that is bound to another
    event loop may be used by the coroutine.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="iir-blocking") as pool:
        return pool.submit(lambda: asyncio.run(start())).result()
