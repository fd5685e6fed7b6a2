"""Reading the record of deeds, and checking that nobody has touched it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.audit import log
from app.audit.chain import Flaw, Head, check
from app.audit.schemas import AuditEventRead
from app.kit.caller import Caller, Operator
from app.kit.deeds import Deed
from app.kit.pagination import Page, Slice
from app.workbench import INSTALLATION, Workbench


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of checking one chain."""

    chain: str
    records: int
    """How many are sound, from the first one on."""
    flaw: Flaw | None


class AuditService:
    """The chains of all projects, and the installation's."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def page(
        self, holder: Caller | Operator, page: Page, *, only: Mapping[str, str | None]
    ) -> Slice[AuditEventRead]:
        """Of the caller's project; for an operator, of the installation. Raises `NotFound` for a foreign cursor."""
        chain = holder.project_id if isinstance(holder, Caller) else INSTALLATION
        with self._bench.read() as session:
            found = log.read_page(session, chain, page, only=only)
        return Slice([AuditEventRead(**row) for row in found.rows], found.has_more)

    def record_outcome(self, deed: Deed, outcome: str, detail: Mapping[str, str | int]) -> None:
        """Record a deed that changed nothing, in a transaction of its own."""
        with self._bench.begin() as work:
            log.record_outcome(work.session, deed, outcome, detail)
        deed.recorded = True

    def heads(self) -> list[Head]:
        """The end of every chain, to be kept where nobody who can write to this database can write."""
        with self._bench.read() as session:
            return log.heads(session)

    def check(self, *, chain: str | None = None, witnesses: Mapping[str, Head] | None = None) -> list[Checked]:
        """Recompute one chain, or all, as they are at this moment.

        Args:
            witnesses: chain → a head that was written down before.
        """
        known = dict(witnesses or {})
        with self._snapshot() as session:
            ends = {head.chain: head for head in log.heads(session)}
            wanted = {chain} if chain is not None else {*ends, *known, *log.chains(session)}
            return [_checked(session, name, ends.get(name), known.get(name)) for name in sorted(wanted)]

    @contextmanager
    def _snapshot(self) -> Iterator[Session]:
        """Everything read in it is from one moment, although others go on writing."""
        with self._bench.sessions() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session


def _checked(session: Session, chain: str, head: Head | None, witness: Head | None) -> Checked:
    found = check(chain, log.walk(session, chain), head, witness=witness)
    if isinstance(found, Flaw):
        return Checked(chain, found.number - 1, found)
    return Checked(chain, found, None)
