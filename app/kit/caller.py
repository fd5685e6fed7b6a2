"""Who is asking and what the key may do. Pure; doors find it out, services only read it."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

NOUNS: Final = ("datasets", "jobs", "deployments", "connections", "costs", "events", "audit")
SCOPES: Final = frozenset(
    {f"{noun}:{right}" for noun in NOUNS for right in ("read", "write")} - {"events:write", "audit:write"}
) | {"admin"}
"""Every right there is. `admin` is the right to manage keys and the project itself."""
GRANTABLE: Final = SCOPES | {"*"} | {f"{noun}:*" for noun in NOUNS}
"""What may stand in a key: a right, all rights of a noun, or everything."""


def covers(granted: Iterable[str], wanted: str) -> bool:
    """Whether one of the granted scopes includes `wanted`; `*` and `jobs:*` are wildcards, write includes read."""
    noun, _, right = wanted.partition(":")
    accepted = {"*", wanted, f"{noun}:*"}
    if right == "read":
        accepted.add(f"{noun}:write")
    return not accepted.isdisjoint(granted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A key of a project. Everything it asks for is looked for in this project only.

    Attributes:
        spend_cap_usd: most that this key may spend in all, None = only the project's budgets bind it.
    """

    project_id: str
    key_id: str
    scopes: frozenset[str]
    spend_cap_usd: Decimal | None = None

    def may(self, scope: str) -> bool:
        return covers(self.scopes, scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A key of whoever runs the installation: it makes projects and their keys, and sees into none of them."""

    key_id: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        return covers(self.scopes, scope)
