"""The chain: each record's hash covers the record and the hash before it. Pure.

h(n) = SHA-256( h(n-1) ‖ record n as canonical JSON ), h(0) = 32 zero bytes. Canonical: members sorted by name, no
spaces, UTF-8, times in UTC with microseconds. Anybody can check a chain without a secret.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

GENESIS: Final = "0" * 64
"""In hexadecimal, what stands before the first record."""

COVERED: Final = (
    "chain",
    "number",
    "id",
    "at",
    "actor_kind",
    "actor_id",
    "operation",
    "change",
    "subject_id",
    "outcome",
    "request_id",
    "address",
    "agent",
    "detail",
)
"""Members of a record that its hash covers: all but the hash."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: how many records it has, and the hash of the last."""

    chain: str
    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Flaw:
    """The first thing wrong with a chain."""

    chain: str
    number: int
    """Of the record, counted from 1."""
    record_id: str | None
    """None when the record is gone."""
    what: str
    """For people."""


def canonical(record: Mapping[str, Any]) -> bytes:
    """The covered members as bytes that are the same wherever and whenever they are written."""
    covered = {name: record[name] for name in COVERED}
    at: datetime = record["at"]
    covered["at"] = at.astimezone(UTC).isoformat(timespec="microseconds")
    return orjson.dumps(covered, option=orjson.OPT_SORT_KEYS)


def link(before: str, record: Mapping[str, Any]) -> str:
    """The record's hash, in hexadecimal, given the hash of the one before it."""
    return hashlib.sha256(bytes.fromhex(before) + canonical(record)).hexdigest()


def check(
    chain: str, records: Iterable[Mapping[str, Any]], head: Head | None, *, witness: Head | None = None
) -> Flaw | int:
    """Walk one chain from its first record; how many there are, or the first flaw.

    Args:
        records: by number; each with the covered members and `hash`.
        head: what the installation itself remembers as the end.
        witness: a head that was written down elsewhere at some time; the chain must still run through it.
    """
    number, before = 0, GENESIS
    for record in records:
        number += 1
        if record["number"] != number:
            return Flaw(chain, number, None, f"record {number} is gone; the next one there is {record['number']}")
        if link(before, record) != record["hash"]:
            return Flaw(chain, number, record["id"], f"record {number} was changed, or one before it")
        before = record["hash"]
        if witness is not None and witness.number == number and witness.hash != before:
            return Flaw(chain, number, record["id"], f"record {number} is another than the one written down")
    known = head or Head(chain, 0, GENESIS)
    if known.number > number:
        return Flaw(chain, number + 1, None, f"records {number + 1} to {known.number} are gone from the end")
    if (known.number, known.hash) != (number, before):
        return Flaw(chain, number, None, "the end is another than the one remembered")
    if witness is not None and witness.number > number:
        return Flaw(
            chain, number + 1, None, f"records {number + 1} to {witness.number} are gone; they were written down"
        )
    return number
