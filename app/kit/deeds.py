"""Who is acting now, and through which door: it travels with the work, so that the record of a change can name it.

It knows no table, no request and no verb of the domain.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

ActorKind = Literal["key", "operator", "cli", "worker"]


@dataclass(slots=True, kw_only=True)
class Deed:
    """One call that may change something.

    Attributes:
        actor_kind: a project's key, an operator's key, a command on the machine, or a worker by itself.
        actor_id: id of the key; name of the account; name of the process.
        operation: which call: the contract's operation id, or the command's words. Empty for a worker.
        chain: where it is recorded when nothing was changed: a project's id, or the installation's chain.
        subject_id: what the caller named; None when nothing or when the change itself says it.
        address: the caller's, as the server sees it.
        recorded: whether a record of it is committed.
    """

    actor_kind: ActorKind
    actor_id: str
    operation: str
    chain: str
    subject_id: str | None = None
    request_id: str | None = None
    address: str | None = None
    agent: str | None = None
    recorded: bool = False


_CURRENT: ContextVar[Deed | None] = ContextVar("kitae_deed", default=None)


def current_deed() -> Deed | None:
    """The call in whose name this code runs; None in a worker."""
    return _CURRENT.get()


def begin_deed(deed: Deed) -> None:
    """From now on, in this request's context, what is changed is this deed's."""
    _CURRENT.set(deed)


@contextmanager
def doing(deed: Deed | None) -> Iterator[None]:
    """Inside the context, what is changed is this deed's; None = nobody's, for book-keeping around a call."""
    token = _CURRENT.set(deed)
    try:
        yield
    finally:
        _CURRENT.reset(token)
