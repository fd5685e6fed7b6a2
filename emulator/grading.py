"""Graders over HTTP: check one, run one on a sample; v1 only. It knows no job."""

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from emulator import graders
from emulator.chat import Asked, Voice
from emulator.door import Body, DataCall
from emulator.wire import Refusal, answer

router = APIRouter(prefix="/fine_tuning/alpha/graders")

JUDGE_TOKENS = 64
"""A judge is asked for a number; it gets no room for more."""


def _checked(call: DataCall, body: dict[str, Any]) -> dict[str, Any]:
    if not call.dialect.is_v1:
        raise Refusal(404, "404", "Resource not found")
    try:
        return graders.check(body.get("grader"))
    except graders.BadGrader as bad:
        raise Refusal(400, "invalidPayload", str(bad), param="grader") from bad


def asker(voice: Voice) -> graders.Asker:
    """Asks the emulator's base model, whatever the name of the judge."""

    def ask(model: str, messages: list[dict[str, Any]]) -> tuple[str, int]:
        asked = Asked(model, messages, JUDGE_TOKENS, 0.0, 1.0, 0, 1, stream=False, stream_usage=False, stop=())
        reply = voice.reply(None, messages, asked, 0)
        return reply.text, reply.prompt_tokens + reply.completion_tokens

    return ask


@router.post("/validate")
def validate_grader(call: DataCall, body: Body) -> Response:
    """Source: ValidateGraderResponse of the v1 specification, 2026-02-02: the grader again."""
    return answer({"grader": _checked(call, body)})


@router.post("/run")
def run_grader(request: Request, call: DataCall, body: Body) -> Response:
    """Source: RunGraderRequest and RunGraderResponse of the v1 specification, 2026-02-02."""
    grader = _checked(call, body)
    sample = body.get("model_sample")
    if not isinstance(sample, str):
        raise Refusal(400, "invalidPayload", "The field 'model_sample' must be a string.", param="model_sample")
    started = time.perf_counter()
    graded = graders.grade(grader, sample, body.get("item"), asker(request.app.state.voice))
    return answer(graded_body(grader, graded, time.perf_counter() - started))


def graded_body(grader: dict[str, Any], graded: graders.Graded, seconds: float) -> dict[str, Any]:
    errors: dict[str, Any] = {name: name in graded.errors for name in graders.ERRORS}
    errors |= {
        "python_grader_server_error_type": None,
        "python_grader_runtime_error_details": None,
        "model_grader_server_error_details": None,
    }
    judges = list(graded.tokens)
    return {
        "reward": graded.reward,
        "metadata": {
            "name": grader["name"],
            "type": grader["type"],
            "errors": errors,
            "execution_time": round(seconds, 6),
            "scores": graded.scores,
            "token_usage": sum(graded.tokens.values()) or None,
            "sampled_model_name": judges[0] if judges else None,
        },
        "sub_rewards": graded.scores,
        "model_grader_token_usage_per_model": graded.tokens,
    }
