"""Chat with a deployment: what may be asked, who answers, and how the answer looks, whole or streamed."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from emulator import catalogue
from emulator.deployments import check_answers, key_of, spend
from emulator.door import Body, Call, DataCall
from emulator.examples import ROLES, text_of
from emulator.generator import Generator, Shares, Written, task_of
from emulator.ledger import model_blob
from emulator.quota import admit_chat
from emulator.state import Deployment
from emulator.wire import Refusal, answer, encode, new_id

router = APIRouter()

NOT_FOUND = (
    "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes,"
    " please wait a moment and try again."
)
"""Source: body of a data-plane 404, widely quoted in public issues (2023-2026)."""

NOT_READY = "The API deployment '{name}' is not ready yet. Please wait a moment and try again."
"""Azure's own words for a deployment that ARM calls Succeeded but that does not answer yet are not published; the
code DeploymentNotReady is. Source: Microsoft's fine-tuning notes, platform gotchas, 2026-08."""

MOST_ANSWER_TOKENS = 16_384
"""Source: Microsoft Learn, models (output limit of the fine-tuned gpt-4 family), 2025-04."""

DEFAULT_ANSWER_TOKENS = 512


class Answered(Protocol):
    """What the learner's reply consists of."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str


class Voice:
    """The learner that answers: built in the background, asked by one caller at a time."""

    def __init__(self, cache: Path) -> None:
        self._cache, self._lock = cache, threading.Lock()
        self._built = threading.Event()
        self._learner: Any = None
        self._generator = Generator()

    def warm(self) -> None:
        """Begin to build the learner without making anybody wait."""
        threading.Thread(target=self._build, name="voice", daemon=True).start()

    def _build(self) -> None:
        from emulator.learning import Learner

        try:
            self._learner = Learner(self._cache)
        finally:
            self._built.set()

    def reply(
        self, model: Path | None, messages: Sequence[Mapping[str, Any]], asked: "Asked", seed: int | None
    ) -> Answered:
        """One answer of a tuned model, or of the base model when `model` is None."""
        self._built.wait()
        with self._lock:
            reply: Answered = self._learner.reply(
                read_model(model) if model else None,
                messages,
                max_tokens=asked.max_tokens,
                temperature=asked.temperature,
                top_p=asked.top_p,
                seed=seed,
            )
        return reply

    def generate(self, task: Mapping[str, Any], shares: Shares, asked: "Asked", seed: int | None) -> Answered:
        """What a base model answers to a request for training rows."""
        from emulator.learning import Reply
        from emulator.learning.conversations import prompt_tokens
        from emulator.learning.tokens import decode, encode

        written = self._generator.write(task, shares, seed=seed)
        tokens = encode(written.text)
        is_cut = written.is_cut or len(tokens) > asked.max_tokens
        if len(tokens) > asked.max_tokens:
            tokens = tokens[: asked.max_tokens]
            written = Written(decode(tokens), is_cut=True)
        reply: Any = Reply(written.text, prompt_tokens(asked.messages), len(tokens), "length" if is_cut else "stop")
        said: Answered = reply
        return said


@lru_cache(maxsize=4)
def read_model(path: Path) -> bytes:
    """The bytes of a trained model; names of blobs are never used twice."""
    return path.read_bytes()


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked chat request."""

    deployment: str
    messages: list[dict[str, Any]]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    answers: int
    stream: bool
    stream_usage: bool
    stop: tuple[str, ...]


def _invalid(message: str, param: str) -> Refusal:
    return Refusal(400, "invalid_request_error", message, param=param)


def _number(body: dict[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _invalid(f"'{name}' must be a number between {least:g} and {most:g}.", name)
    return float(value)


def _integer(body: dict[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _invalid(f"'{name}' must be an integer between {least} and {most}.", name)
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise _invalid(f"'{name}' must be true or false.", name)
    return bool(value)


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _invalid("'messages' must be a list with at least one message.", "messages")
    checked = []
    for position, message in enumerate(messages):
        param = f"messages[{position}]"
        if not isinstance(message, dict):
            raise _invalid(f"'{param}' must be an object.", param)
        role = message.get("role")
        if role not in ROLES:
            raise _invalid(f"'{param}.role' must be one of {', '.join(ROLES)}.", f"{param}.role")
        content = message.get("content")
        if not isinstance(content, str | list) and not (content is None and role == "assistant"):
            raise _invalid(f"'{param}.content' must be text or a list of parts.", f"{param}.content")
        checked.append({"role": role, "content": text_of(content)})
    return checked


def _stop(body: dict[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    found = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(found, list) or len(found) > 4 or not all(isinstance(part, str) and part for part in found):
        raise _invalid("'stop' must be up to 4 non-empty strings.", "stop")
    return tuple(found)


def _asked(body: dict[str, Any], deployment: str) -> Asked:
    seed = body.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not -(2**63) <= seed < 2**63):
        raise _invalid("'seed' must be an integer.", "seed")
    limit = _integer(body, "max_tokens", DEFAULT_ANSWER_TOKENS, 1, MOST_ANSWER_TOKENS)
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise _invalid("'stream_options' must be an object.", "stream_options")
    return Asked(
        deployment=deployment,
        messages=_messages(body),
        max_tokens=_integer(body, "max_completion_tokens", limit, 1, MOST_ANSWER_TOKENS),
        temperature=_number(body, "temperature", 1.0, 0, 2),
        top_p=_number(body, "top_p", 1.0, 0, 1),
        seed=seed,
        answers=_integer(body, "n", 1, 1, 16),
        stream=_flag(body, "stream"),
        stream_usage=_flag(options, "include_usage"),
        stop=_stop(body),
    )


@dataclass(frozen=True, slots=True)
class Speaker:
    """What answers for a deployment: the name answers carry, and the tuned model's blob (None: the base model)."""

    name: str
    model: Path | None
    headers: dict[str, str]
    deployment: Deployment


def speaker(call: Call, name: str) -> Speaker:
    """Who answers for a deployment; the call counts as use of it.

    Raises:
        Refusal: 404 while it is absent, being created or not warm yet; 423 while it is paused; 410 when its model
            ended; 429 when its rate limits are enforced and reached.
    """
    world = call.world
    with world.moment() as now_v:
        deployment = world.deployments.get(key_of(call.account, name))
        if deployment is None or deployment.phase in {"creating", "failed", "deleting"}:
            raise Refusal(404, "DeploymentNotFound", NOT_FOUND)
        if deployment.phase == "warming":
            raise Refusal(404, "DeploymentNotReady", NOT_READY.format(name=deployment.name))
        if deployment.paused:
            raise Refusal(423, "DeploymentPaused", f"The deployment '{deployment.name}' is paused.")
        model_name = deployment.model["name"]
        base = catalogue.find(model_name)
        found = world.find_model(call.account, model_name)
        if base is None and found is None:
            raise Refusal(404, "DeploymentNotFound", NOT_FOUND)
        check_answers(world, deployment, now_v)
        admit_chat(world, deployment, now_v, call.dialect.version)
        deployment.last_used_v = now_v
        world.touch("deployment", deployment)
        path = world.store.blob(model_blob(found[0].id, found[1].step)) if found else None
        per_minute = deployment.capacity * 1000
    headers = {
        "x-ratelimit-limit-requests": str(deployment.capacity),
        "x-ratelimit-remaining-requests": str(max(0, deployment.capacity - 1)),
        "x-ratelimit-limit-tokens": str(per_minute),
        "x-ratelimit-remaining-tokens": str(max(0, per_minute - 100)),
    }
    return Speaker(base.name if base else model_name, path, headers, deployment)


_SAFE = {"filtered": False, "severity": "safe"}
_CATEGORIES = {"hate": _SAFE, "self_harm": _SAFE, "sexual": _SAFE, "violence": _SAFE}
_PROMPT_FILTER = [
    {
        "prompt_index": 0,
        "content_filter_results": {**_CATEGORIES, "jailbreak": {"filtered": False, "detected": False}},
    }
]


def _speak(voice: Voice, who: Speaker, asked: Asked, index: int, shares: Shares) -> Answered:
    seed = None if asked.seed is None else asked.seed + index
    task = task_of(asked.messages) if who.model is None else None
    if task is not None:
        return voice.generate(task, shares, asked, seed)
    return voice.reply(who.model, asked.messages, asked, seed)


def _cut(reply: Answered, stop: tuple[str, ...]) -> tuple[str, str]:
    """The text up to the first stop sequence, and why it ends."""
    places = [place for place in (reply.text.find(part) for part in stop) if place >= 0]
    return (reply.text[: min(places)], "stop") if places else (reply.text, reply.finish_reason)


def _usage(replies: list[Answered]) -> dict[str, Any]:
    prompt = replies[0].prompt_tokens
    completion = sum(reply.completion_tokens for reply in replies)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
        "completion_tokens_details": {
            "accepted_prediction_tokens": 0,
            "audio_tokens": 0,
            "reasoning_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _whole(call: Call, who: Speaker, asked: Asked, replies: list[Answered]) -> dict[str, Any]:
    choices = []
    for index, reply in enumerate(replies):
        text, reason = _cut(reply, asked.stop)
        choices.append(
            {
                "index": index,
                "finish_reason": reason,
                "logprobs": None,
                "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
                "content_filter_results": _CATEGORIES,
            }
        )
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": call.world.stamp(call.world.clock.now()),
        "model": who.name,
        "system_fingerprint": "fp_emulator",
        "choices": choices,
        "usage": _usage(replies),
        "prompt_filter_results": _PROMPT_FILTER,
    }


def _stream(call: Call, who: Speaker, asked: Asked, replies: list[Answered]) -> Iterator[bytes]:
    """Server-sent events as Azure sends them: first the verdict on the prompt in a chunk with empty members."""
    head = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": call.world.stamp(call.world.clock.now()),
        "model": who.name,
        "system_fingerprint": "fp_emulator",
    }
    usage = {"usage": None} if asked.stream_usage else {}

    def event(body: dict[str, Any]) -> bytes:
        return b"data: " + encode(body) + b"\n\n"

    def chunk(index: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
        safety = {} if reason or "role" in delta else _CATEGORIES
        choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
        return event({**head, "choices": [{**choice, "content_filter_results": safety}], **usage})

    empty = {"id": "", "object": "", "created": 0, "model": ""}
    yield event({**empty, "choices": [], "prompt_filter_results": _PROMPT_FILTER})
    for index, reply in enumerate(replies):
        text, reason = _cut(reply, asked.stop)
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
        for start in range(0, len(text), 8):
            yield chunk(index, {"content": text[start : start + 8]})
        yield chunk(index, {}, reason)
    if asked.stream_usage:
        yield event({**head, "choices": [], "usage": _usage(replies)})
    yield b"data: [DONE]\n\n"


def _complete(request: Request, call: Call, body: dict[str, Any], deployment: str) -> Response:
    asked = _asked(body, deployment)
    who = speaker(call, deployment)
    voice: Voice = request.app.state.voice
    replies = [_speak(voice, who, asked, index, call.world.generator) for index in range(asked.answers)]
    spend(call, who.deployment, replies[0].prompt_tokens, sum(reply.completion_tokens for reply in replies))
    if asked.stream:
        return StreamingResponse(
            _stream(call, who, asked, replies), media_type="text/event-stream", headers=who.headers
        )
    return answer(_whole(call, who, asked, replies), headers=who.headers)


@router.post("/chat/completions")
def chat_by_model(request: Request, call: DataCall, body: Body) -> Response:
    """The v1 form: `model` is the name of the deployment. Dated URLs name it in the path."""
    if not call.dialect.is_v1:
        raise Refusal(404, "404", "Resource not found")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise _invalid("'model' must be the name of a deployment.", "model")
    return _complete(request, call, body, model)


@router.post("/deployments/{deployment}/chat/completions")
def chat_by_path(request: Request, call: DataCall, deployment: str, body: Body) -> Response:
    if call.dialect.is_v1:
        raise Refusal(404, "404", "Resource not found")
    return _complete(request, call, body, deployment)
