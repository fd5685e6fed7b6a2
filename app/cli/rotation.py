"""Seals every stored secret with the newest key, a few rows at a time, while the service goes on."""

from dataclasses import dataclass

from app.kit.sealed import keys_in_use, reseal_some, sealed_tables
from app.workbench import INSTALLATION, Workbench


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did.

    Attributes:
        resealed: secrets that are sealed with the newest key now and were not before.
        total: stored secrets at the end.
        unreadable: `table.column id` of those that no key opens.
    """

    resealed: int
    total: int
    unreadable: tuple[str, ...]


def rotate(bench: Workbench, *, batch: int) -> Rotated:
    """Go over every table with sealed columns. Each batch is committed, so that a second run goes on from there."""
    resealed = 0
    unreadable: list[str] = []
    with bench.read() as session:
        tables = sealed_tables(session)
    for table, columns in tables:
        after = ""
        while True:
            with bench.begin() as work:
                done = reseal_some(work.session, bench.vault, table, columns, after=after, limit=batch)
                if done.changed:
                    work.note(
                        "secrets.resealed",
                        project_id=INSTALLATION,
                        subject_id=table.name,
                        secrets=done.changed,
                        key=bench.vault.newest.hex(),
                    )
            resealed += done.changed
            unreadable += done.unreadable
            if done.last_id is None:
                break
            after = done.last_id
    with bench.read() as session:
        total = sum(keys_in_use(session).values())
    return Rotated(resealed, total, tuple(unreadable))
