"""Many requests to one resource: so many under way at a time, each recorded as it comes, within what was set aside.

It must not know what is asked, or what becomes of the answers: whoever asks prepares, calls and takes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Generic, TypeVar

from app.azure.catalogue.catalogue import BaseModel
from app.azure.port import AzureError

UNITS_A_STEP: Final = 4
"""Times the concurrency: so many requests a step takes, before it counts anew what is left."""

U = TypeVar("U")
R = TypeVar("R")


def tokenizer_of(base: BaseModel) -> str:
    """Of a base model; models whose tokenizer is not known are counted with the newest one."""
    return base.tokenizer if base.tokenizer in {"o200k_base", "cl100k_base"} else "o200k_base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """A deployment that is asked, one of ours or not."""

    connection_id: str
    deployment_id: str | None
    """None when it is not one of ours."""
    name: str
    """At Azure."""
    base: BaseModel
    """Whose prices and tokenizer count for it."""
    remote_model: str
    sku: str
    is_tuned: bool = False
    """Whether it is known to run a fine-tuned model."""


@dataclass(frozen=True, slots=True)
class Request(Generic[U, R]):
    """One request on its way."""

    unit: U
    most_usd: Decimal
    call: Callable[[], R]
    """Made in a thread of its own; it notes the attempt before it sends."""


def ask_all(
    units: Sequence[U],
    *,
    concurrency: int,
    left_usd: Decimal | None,
    prepare: Callable[[U], Request[U, R]],
    may_go_on: Callable[[], bool],
    take: Callable[[Request[U, R], Future[R]], AzureError | None],
) -> bool:
    """Ask, and record what comes; afterwards raise the first thing that should be tried again.

    Args:
        left_usd: what may be spent; None where no price is known.
        may_go_on: asked before every request: whether nobody has cancelled it, nor thrown a kill switch.
        take: records what came of one request; answers the error when it should be made again.

    Returns:
        False when the money does not bear another request.
    """
    waiting, under_way = deque(units), dict[Future[R], Request[U, R]]()
    left = left_usd
    again: AzureError | None = None
    with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="asking") as pool:
        while under_way or waiting:
            if waiting and not may_go_on():
                waiting.clear()
            while waiting and len(under_way) < concurrency:
                request = prepare(waiting[0])
                if left is not None and request.most_usd > left:
                    break
                waiting.popleft()
                left = None if left is None else left - request.most_usd
                under_way[pool.submit(request.call)] = request
            if not under_way:  # the next step counts anew what is left, unless this one could ask nothing
                return len(waiting) < len(units)
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                error = take(under_way.pop(future), future)
                if error is not None:
                    again = again or error
                    waiting.clear()
    if again is not None:
        raise again
    return True
