"""Asking a deployment. What it answers, be it a refusal, is its own; only silence says something of the resource.

So a deployment that is not ready, or has used up its own tokens per minute, never shuts the gate before the
jobs and files of the same resource.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from app.azure.port import AzureError, AzureTarget, ChatAnswer, DataPlane
from app.connections.service import ConnectionService, Traffic

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One conversation to be continued."""

    messages: Sequence[Mapping[str, Any]]
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None


def ask(connections: ConnectionService, target: AzureTarget, deployment: str, question: Question) -> ChatAnswer:
    """One whole answer. Raises `AzureError`."""
    return _through_gate(
        connections,
        target,
        lambda azure: azure.chat(
            deployment=deployment,
            messages=question.messages,
            max_tokens=question.max_tokens,
            temperature=question.temperature,
            seed=question.seed,
        ),
    )


@contextmanager
def ask_stream(
    connections: ConnectionService, target: AzureTarget, deployment: str, question: Question
) -> Iterator[Iterator[Mapping[str, Any]]]:
    """Azure's chunks verbatim. Entering sends the question; leaving ends the answer."""
    with ExitStack() as stack:
        yield _through_gate(
            connections,
            target,
            lambda azure: stack.enter_context(
                azure.chat_stream(
                    deployment=deployment,
                    messages=question.messages,
                    max_tokens=question.max_tokens,
                    temperature=question.temperature,
                    seed=question.seed,
                )
            ),
        )


def _through_gate(connections: ConnectionService, target: AzureTarget, call: Callable[[DataPlane], T]) -> T:
    with connections.data(target, Traffic.READ) as azure:
        try:
            return call(azure)
        except AzureError as error:
            if error.http_status is None:
                raise
            answered = error
    raise answered
