"""How much one caller may ask: requests a second, wrong keys a minute, streams and costly requests at once.

Counted in this process's memory and nowhere else, so it holds when Redis or the database is away; two API processes
allow twice as much. It knows no route.

Source of the header fields: draft-ietf-httpapi-ratelimit-headers-10 (2025-09).
"""

import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import TooMany
from app.kit.caller import Caller, Operator

MOST_BUCKETS: Final = 20_000
"""Callers remembered at once, about 4 MB; who was silent longest is forgotten, and would be full again anyway."""
BURST_SECONDS: Final = 2.0
"""A caller that was silent may catch up so much at once."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of asking a bucket.

    Attributes:
        left: whole tokens that remain.
        full_in_seconds: when the bucket is full again if nobody asks.
        wait_seconds: 0 = granted; else when to come back.
    """

    left: int
    full_in_seconds: float
    wait_seconds: float


class Buckets:
    """Token buckets by name, in bounded memory.

    Args:
        per_second: tokens that flow in.
        burst: tokens a full bucket holds, at least 1.
        now: a clock that never steps back, in seconds.
    """

    def __init__(
        self,
        *,
        per_second: float,
        burst: float,
        most: int = MOST_BUCKETS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_second = per_second
        self.burst = max(1.0, burst)
        self._most = most
        self._now = now
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Name → (tokens, when they were counted), longest silent first."""

    def take(self, name: str) -> Taken:
        """Take a token, if there is one."""
        level = self._level(name)
        granted = level >= 1.0
        if granted:
            level -= 1.0
        self._levels[name] = (level, self._now())
        self._levels.move_to_end(name)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return self._taken(level, granted=granted)

    def look(self, name: str) -> Taken:
        """What taking would answer, without taking."""
        level = self._level(name)
        return self._taken(level, granted=level >= 1.0)

    def __len__(self) -> int:
        return len(self._levels)

    def _level(self, name: str) -> float:
        level, counted_at = self._levels.get(name, (self.burst, 0.0))
        return min(self.burst, level + (self._now() - counted_at) * self.per_second)

    def _taken(self, level: float, *, granted: bool) -> Taken:
        return Taken(
            left=int(level),
            full_in_seconds=(self.burst - level) / self.per_second,
            wait_seconds=0.0 if granted else (1.0 - level) / self.per_second,
        )


class Slots:
    """How many things one name may have open at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, name: str, what: str, code: str) -> Iterator[None]:
        """Raises `TooMany` when all are taken."""
        if self._open[name] >= self.most:
            raise TooMany(
                f"There are {self.most} {what} already, as many as there may be at once.",
                code=code,
                hint="Wait until one of them has ended.",
                retry_after_seconds=1,
            )
        self._open[name] += 1
        try:
            yield
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    def __len__(self) -> int:
        """Names that have something open."""
        return len(self._open)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The limits of one API process.

    Attributes:
        requests: by key.
        failures: wrong keys, by address.
        streams: open Server-Sent Events, by key.
        costly: requests that take long or much memory, by project.
        costly_operations: which those are.
        proxy_hops: proxies in front that can be believed; how many addresses, from the right, they added.
    """

    requests: Buckets
    failures: Buckets
    streams: Slots
    costly: Slots
    costly_operations: frozenset[str]
    proxy_hops: int = 0


def rates_of(request: Request) -> Rates:
    found: Rates = request.app.state.rates
    return found


def caller_address(request: Request) -> str:
    """Where the request came from: the connection's other end, or what the believed proxies say it was.

    Each proxy appends the address it saw to X-Forwarded-For, so only the last ones are not the caller's own words.
    """
    direct = request.client.host if request.client is not None else "unknown"
    hops = rates_of(request).proxy_hops
    if hops == 0:
        return direct
    named = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    candidate = named[-hops].strip() if len(named) >= hops else ""
    try:
        return str(ipaddress.ip_address(candidate))
    except ValueError:
        return direct


def neighbourhood(address: str) -> str:
    """The address, or of IPv6 the /64 that one customer is usually given."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))


def refuse_guessing(request: Request) -> None:
    """Raises `TooMany` when too many wrong keys came from there lately."""
    wait = rates_of(request).failures.look(neighbourhood(caller_address(request))).wait_seconds
    if wait > 0:
        raise TooMany(
            "Too many requests with wrong keys came from this address.",
            code="too_many_wrong_keys",
            hint="Check the key, then wait; every wrong one counts.",
            retry_after_seconds=math.ceil(wait),
        )


def count_wrong_key(request: Request) -> None:
    rates_of(request).failures.take(neighbourhood(caller_address(request)))


def admit(request: Request, holder: Caller | Operator, operation: str) -> None:
    """Count the request, once, against its key, and against its project while it is under way if it is costly.

    Raises:
        TooMany: `rate_limited` or `too_many_at_once`.
    """
    if getattr(request.state, "admitted", False):
        return
    request.state.admitted = True
    rates = rates_of(request)
    taken = rates.requests.take(holder.key_id)
    request.state.rate = taken
    if taken.wait_seconds > 0:
        raise TooMany(
            f"This key may ask {rates.requests.per_second:g} times a second.",
            code="rate_limited",
            hint="Wait as long as Retry-After says. To follow something, ask for its events as a stream.",
            retry_after_seconds=math.ceil(taken.wait_seconds),
        )
    if operation in rates.costly_operations and isinstance(holder, Caller):
        held_by(request).enter_context(
            rates.costly.one(holder.project_id, "costly requests of this project under way", "too_many_at_once")
        )


def hold_stream(request: Request) -> None:
    """Count an open stream against its key until the answer has ended. Raises `TooMany` (`too_many_streams`)."""
    slots = rates_of(request).streams
    holder: Caller | Operator = request.state.holder
    held_by(request).enter_context(slots.one(holder.key_id, "streams open with this key", "too_many_streams"))


def held_by(request: Request) -> ExitStack:
    """What is given back when the answer has ended, however it ended."""
    stack: ExitStack = request.state.held
    return stack


class RateFields:
    """ASGI layer: writes the RateLimit fields, and gives back at the end what the request held."""

    def __init__(self, app: ASGIApp, *, requests: Buckets) -> None:
        self.app = app
        self._policy = f'"key";q={int(requests.burst)};w={math.ceil(requests.burst / requests.per_second)}'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def told(message: Message) -> None:
            taken: Taken | None = state.get("rate")
            if message["type"] == "http.response.start" and taken is not None:
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = self._policy
                headers["RateLimit"] = f'"key";r={taken.left};t={math.ceil(taken.full_in_seconds)}'
            await send(message)

        with ExitStack() as held:
            state["held"] = held
            await self.app(scope, receive, told)
