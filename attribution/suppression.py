"""Erased customers, known again by a token and by nothing else.

state/suppressed.json holds a salt and, per erased id, HMAC-SHA256(salt, the id as it was stored).
"""

from __future__ import annotations

import gzip
import json
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from attribution.errors import EraseError
from attribution.pseudonyms import People
from attribution.settings import Folders, one_line

ENCODINGS = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")


def people(folders: Folders, key: bytes | None) -> People:
    """How ids are kept, with the list of those that are kept no longer."""
    try:
        kept = json.loads(_file(folders).read_text())
        return People(key, bytes.fromhex(kept["salt"]), frozenset(kept["tokens"]))
    except FileNotFoundError:
        return People(key, secrets.token_bytes(32))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EraseError(
            f"{_file(folders)} cannot be read: {one_line(error)}; restore it: without it erased "
            "customers would come back"
        ) from None


def suppress(folders: Folders, people: People, stored: Iterable[str]) -> People:
    """Add ids, as stored, to the list; returns the people who know it."""
    tokens = people.suppressed | {people.token(one) for one in stored}
    half = _file(folders).with_suffix(".tmp")
    half.write_text(json.dumps({"salt": people.salt.hex(), "tokens": sorted(tokens)}))
    half.chmod(0o600)
    half.replace(_file(folders))
    return People(people.key, people.salt, tokens)


def may_name(path: Path, names: Callable[[str], bool]) -> bool:
    """Whether some text that `names` knows stands in a file, or might: what cannot be read as text
    may hold anyone."""
    if path.suffix == ".parquet":
        return True
    try:
        return any(names(line) for encoding in ENCODINGS for line in _lines(path, encoding))
    except (OSError, EOFError, zlib.error):
        return True


def _lines(path: Path, encoding: str) -> Iterator[str]:
    unpack = gzip.open if path.suffix == ".gz" else open
    with unpack(path, "rt", encoding=encoding, errors="replace") as text:
        yield from text


def _file(folders: Folders) -> Path:
    return folders.state / "suppressed.json"
