"""Threads for compiled code, which lets go of the interpreter while it runs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache


@cache
def threads() -> ThreadPoolExecutor:
    """One pool for all: a climb of the ladder would else begin hundreds."""
    return ThreadPoolExecutor(os.cpu_count())


os.register_at_fork(after_in_child=threads.cache_clear)  # a child has none of its parent's threads
