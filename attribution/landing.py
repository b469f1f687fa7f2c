"""What lies in landing/: which files may be read, which must wait, which are refused."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from attribution.contract import Export
from attribution.errors import Unreadable

UNFINISHED = (".tmp", ".part", ".crdownload", ".filepart")
SIDECARS = (".sha256", ".rows")


@dataclass(frozen=True)
class Landed:
    """A file in its landing folder, as found."""

    export: Export
    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def file_id(self) -> int:
        """60 bits of a hash of export and content: the same file has the same id everywhere."""
        return file_id(self.export.name, self.sha256)


@dataclass
class Landing:
    """files : what may be read now. waiting, refused : what may not, each with the reason."""

    files: list[tuple[Export, Path]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def file_id(export: str, sha256: str) -> int:
    return int(hashlib.sha256(f"{export}/{sha256}".encode()).hexdigest()[:15], 16)


def look(contract: Mapping[str, Export], landing: Path) -> Landing:
    """The landing folder at this moment.

    Regular files only: a link could lead out of the folder. A file is whole when its sidecar says
    so, or when nobody wrote to it for `settle_seconds`; unfinished and hidden names are none.
    """
    found = Landing()
    for entry in sorted(landing.iterdir()):
        if entry.name.startswith("."):
            continue
        name = f"landing/{printable(entry.name)}"
        if entry.is_symlink():
            found.refused.append(f"{name} is a link: move the files themselves")
        elif entry.is_dir() and entry.name not in contract:
            found.refused.append(f"{name}: no export of that name in _exports.yml")
        elif entry.is_file():
            found.refused.append(f"{name} lies in no export's folder: move it there")
    for export in contract.values():
        folder = landing / export.name
        if folder.is_dir() and not folder.is_symlink():
            for path in sorted(folder.iterdir()):
                _sort_in(found, export, path)
    return found


def _sort_in(found: Landing, export: Export, path: Path) -> None:
    name = f"landing/{export.name}/{printable(path.name)}"
    if path.name.startswith(".") or path.name.endswith(UNFINISHED + SIDECARS):
        return
    if path.is_symlink():
        found.refused.append(f"{name} is a link: move the file itself")
    elif not path.is_file():
        found.refused.append(f"{name} is no regular file: move it away, or the files in it up")
    elif printable(path.name) != path.name:
        found.refused.append(f"{name}: its name is not UTF-8: rename it")
    elif export.sidecar == "required" and not any(_sidecar(path, e).exists() for e in SIDECARS):
        found.waiting.append(f"{name} has no sidecar yet")
    elif abs(time.time() - path.stat().st_mtime) < export.settle_seconds:
        found.waiting.append(f"{name} is younger than settle_seconds")
    else:
        found.files.append((export, path))


def printable(name: str) -> str:
    """A file's name, of which bytes that are not UTF-8 are shown as such."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def identity(path: Path) -> str:
    """The SHA-256 by which a landed file is known: of its content, or, as all empty files are
    alike, of its name where it has none.
    """
    if path.stat().st_size == 0:
        return hashlib.sha256(path.name.encode()).hexdigest()
    return sha256_of(path)


def sha256_of(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def check_sidecar(landed: Landed) -> None:
    """Raise Unreadable where the file is not the one that its .sha256 speaks of."""
    sidecar = _sidecar(landed.path, ".sha256")
    if not sidecar.is_file() or landed.path.stat().st_size == 0:  # which says enough
        return
    said = re.match(r"[0-9a-fA-F]{64}\b", sidecar.read_text(encoding="utf-8", errors="replace"))
    if said is None:
        raise Unreadable("its .sha256 holds no SHA-256")
    if said.group().lower() != landed.sha256:
        raise Unreadable("is not the file that its .sha256 speaks of")


def rows_said(path: Path) -> int | None:
    """How many rows the sidecar .rows says the file has."""
    sidecar = _sidecar(path, ".rows")
    if not sidecar.is_file():
        return None
    text = sidecar.read_text(encoding="utf-8", errors="replace").strip()
    if not re.fullmatch(r"\d{1,15}", text):
        raise Unreadable("its .rows holds no number")
    return int(text)


def _sidecar(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
