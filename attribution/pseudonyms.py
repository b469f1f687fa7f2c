"""Customer ids become pseudonyms at the door; no table below state/ or publish/ holds the ids."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from attribution.contract import Column
from attribution.warehouse import quote

# An id may hold blanks, and one that holds none may stand in a sentence.
WORDS = re.compile(r"[\s,;|:=\"'(){}\[\]<>]+")
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def pseudonym(key: bytes, identifier: str) -> str:
    """HMAC-SHA256 under the key, cut to 128 bits as 32 hexadecimal digits (RFC 2104, section 5)."""
    return hmac.digest(key, identifier.encode(), "sha256").hex()[:32]


def bare(identifier: str) -> str:
    """An id without the blanks around it that the load strips (`conform.BLANKS`), seen or not."""
    start, end = 0, len(identifier)
    while start < end and _is_blank(identifier[start]):
        start += 1
    while start < end and _is_blank(identifier[end - 1]):
        end -= 1
    return identifier[start:end]


def _is_blank(character: str) -> bool:
    kind = unicodedata.category(character)
    return character in "\t\n\f\r" or kind[0] == "Z" or kind == "Cf"


def readings(text: str) -> set[str]:
    """A text as it stands, and as JSON would read it where letters are escaped in it."""
    if "\\u" not in text:
        return {text}
    read = ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return {text, read.encode("utf-16", "surrogatepass").decode("utf-16", "replace")}


def key_id(key: bytes | None) -> str:
    """What tells keys apart without telling the key."""
    return "none" if key is None else hashlib.sha256(b"key id:" + key).hexdigest()[:12]


@dataclass(frozen=True)
class People:
    """How customer ids are kept, and whose are kept no longer.

    key : of the pseudonyms; None keeps the ids as they are.
    salt, suppressed : tokens of erased customers, see `token`.
    """

    key: bytes | None = None
    salt: bytes = b""
    suppressed: frozenset[str] = frozenset()

    def stored(self, identifier: str) -> str:
        """An id as the warehouse keeps it."""
        return identifier if self.key is None else pseudonym(self.key, identifier)

    def token(self, stored: str) -> str:
        """What the suppression list knows of an erased customer: enough to know them again."""
        return hmac.digest(self.salt, stored.encode(), "sha256").hex()

    def knows_erased(self, text: str, delimiter: str = ",") -> bool:
        """Whether one of the words or fields of a text is the id of someone erased.

        delimiter : of its fields, by the contract, beside the usual ones.
        """
        if not self.suppressed:
            return False
        between = re.compile(rf'[,;|\t\r\n"{re.escape(delimiter)}]')
        fields = {
            bare(field)
            for read in readings(text)
            for field in (*between.split(read), *WORDS.split(read))
        }
        return any(
            self.token(stored) in self.suppressed
            for field in fields - {""}
            for stored in (field, self.stored(field))
        )

    def register(
        self,
        con: duckdb.DuckDBPyConnection,
        rows: str,
        parameters: list[object],
        columns: Sequence[Column],
    ) -> Sequence[Column]:
        """A table `_people` (id, stored, is_suppressed) in memory for some rows, each id once.

        Returns the columns that must be looked up in it: none where ids stay as they are and
        nobody was erased.
        """
        if not columns or (self.key is None and not self.suppressed):
            return []
        ids = " union all ".join(
            f"select {quote('_text_' + column.name)} as id from ({rows})" for column in columns
        )
        found = con.execute(
            f"select distinct id from ({ids}) where id is not null", parameters * len(columns)
        ).to_arrow_table()["id"]
        stored = [self.stored(identifier) for identifier in found.to_pylist()]
        erased = [bool(self.suppressed) and self.token(id) in self.suppressed for id in stored]
        con.register(
            "_people",
            pa.table(
                {
                    "id": found,
                    "stored": pa.array(stored, pa.string()),
                    "is_suppressed": pa.array(erased, pa.bool_()),
                }
            ),
        )
        return columns
