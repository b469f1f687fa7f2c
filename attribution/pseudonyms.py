"""Customer ids become pseudonyms at the door; no table below state/ or publish/ holds the ids."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from attribution.contract import Column
from attribution.warehouse import quote


def pseudonym(key: bytes, identifier: str) -> str:
    """HMAC-SHA256 under the key, cut to 128 bits as 32 hexadecimal digits (RFC 2104, section 5)."""
    return hmac.digest(key, identifier.encode(), "sha256").hex()[:32]


def key_id(key: bytes | None) -> str:
    """What tells keys apart without telling the key."""
    return "none" if key is None else hashlib.sha256(b"key id:" + key).hexdigest()[:12]


def register_pseudonyms(
    con: duckdb.DuckDBPyConnection,
    rows: str,
    parameters: list[object],
    columns: Sequence[Column],
    key: bytes,
) -> None:
    """A table `_pseudonyms` (id, pseudonym) in memory for the ids of some rows, each id once."""
    ids = " union all ".join(
        f"select {quote('_text_' + column.name)} as id from ({rows})" for column in columns
    )
    found = con.execute(
        f"select distinct id from ({ids}) where id is not null", parameters * len(columns)
    ).to_arrow_table()["id"]
    names = [pseudonym(key, identifier) for identifier in found.to_pylist()]
    con.register("_pseudonyms", pa.table({"id": found, "pseudonym": pa.array(names, pa.string())}))
