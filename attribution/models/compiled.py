"""numba's `njit`, with a cache that notices a change in any file that a compiled function may call.

numba looks at the file of the function alone (numba/numba issue 1833): callers in other files would
go on with what they took in of the former one, and after an upgrade numbers would be of the version
before.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator. What it decorates may call only compiled functions of the same folder."""

    def of(function: Callable[..., Any]) -> Any:
        former = numba.config.CACHE_DIR
        kept = _kept(Path(inspect.getfile(function)).parent, former)
        numba.config.CACHE_DIR = str(kept or former)
        try:
            return numba.njit(cache=kept is not None, **options)(function)
        finally:
            numba.config.CACHE_DIR = former

    return of


@cache
def _kept(sources: Path, chosen: str) -> Path | None:
    """Where code compiled of a folder's files is kept: another folder for each content. None where
    nothing may be written: then each process compiles anew.

    chosen : NUMBA_CACHE_DIR; else beside the sources, or where the user's caches are if these
        may not be written.
    """
    texts = b"\0".join(path.read_bytes() for path in sorted(sources.glob("*.py")))
    if chosen:
        base = Path(chosen)
    elif os.access(sources, os.W_OK):
        base = sources / "__pycache__"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attribution"
    kept = base / f"numba-{hashlib.sha256(texts).hexdigest()[:12]}"
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return kept if os.access(kept, os.W_OK) else None
