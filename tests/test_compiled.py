"""The cache of compiled code notices what a function calls, not its own file alone."""

import os
import subprocess
import sys
from pathlib import Path

CALLER = """
from attribution.models.compiled import compiled
from leaf import leaf

@compiled()
def caller(x):
    return leaf(x) + 1

print(caller(20))
"""
LEAF = """
from attribution.models.compiled import compiled

@compiled()
def leaf(x):
    return {factor} * x
"""


def said(folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "caller.py"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_caller_is_compiled_anew_where_what_it_calls_has_changed(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(CALLER)
    for factor, expected in ((2, "41"), (3, "61"), (2, "41")):
        (tmp_path / "leaf.py").write_text(LEAF.format(factor=factor))
        assert said(tmp_path) == expected
    kept = list((tmp_path / "__pycache__").glob("numba-*"))
    assert len(kept) == 2  # the first came back as it was


def test_where_nothing_may_be_written_each_process_compiles_anew(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "leaf.py").write_text(LEAF.format(factor=2))
    assert said(tmp_path, NUMBA_CACHE_DIR="/dev/null/nowhere") == "41"
    assert not list(tmp_path.rglob("*.nbi"))
