"""The data plane's list of models: base models and the tuned ones of the resource."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from emulator.catalogue import BASE_MODELS, BaseModel, find
from emulator.door import DataCall
from emulator.retirement import Ends, timestamp
from emulator.state import Job
from emulator.wire import Dialect, Refusal, answer

router = APIRouter()

BASE_CREATED_AT = 1_744_588_800
"""2025-04-14: a fixed date for every base model; Azure's own dates are not published."""

_LIFECYCLES = {
    "Preview": "preview",
    "GenerallyAvailable": "generally-available",
    "Deprecating": "deprecating",
    "Deprecated": "deprecated",
}
"""ARM's words in those of the data plane. Source: LifeCycleStatus of 2025-04-01-preview."""


def _base_body(ends: Ends, base: BaseModel, dialect: Dialect) -> dict[str, Any]:
    """A base model. `fine_tune` is false for open models although they can be fine-tuned.

    Source: example get_model_base.json of 2024-10-21; Microsoft's fine-tuning notes, 2026-08.
    """
    return _with_v1(
        {
            "status": "succeeded",
            "capabilities": {
                "fine_tune": base.is_openai,
                "inference": True,
                "completion": False,
                "chat_completion": True,
                "embeddings": False,
            },
            "lifecycle_status": _lifecycle(ends, dialect),
            "deprecation": {"fine_tune": timestamp(ends.fine_tune), "inference": timestamp(ends.inference)},
            "id": base.name,
            "created_at": BASE_CREATED_AT,
            "object": "model",
        },
        dialect,
    )


def _tuned_body(ends: Ends, job: Job, dialect: Dialect) -> dict[str, Any]:
    """Source: example get_model_finetune.json of 2024-10-21."""
    capabilities = {"inference": True, "completion": False, "chat_completion": True, "embeddings": False}
    return _with_v1(
        {
            "status": "succeeded",
            "model": job.base,
            "fine_tune": job.id,
            "capabilities": {"fine_tune": True} | capabilities,
            "lifecycle_status": "generally-available",
            "deprecation": {"inference": timestamp(ends.tuned_inference)},
            "id": job.tuned_name,
            "created_at": job.finished_at or job.created_at,
            "object": "model",
        },
        dialect,
    )


def _with_v1(body: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    """v1 promises `created` and `owned_by`; the live answer carries the dated members as well."""
    if dialect.is_v1:
        body |= {"created": body["created_at"], "owned_by": "microsoft"}
    return body


def _lifecycle(ends: Ends, dialect: Dialect) -> str:
    """2024-10-21 knows `preview` and `generally-available` only."""
    word = _LIFECYCLES[ends.lifecycle]
    return "generally-available" if dialect.version == "2024-10-21" and word != "preview" else word


def _tuned(call: DataCall) -> list[tuple[Ends, Job]]:
    """The succeeded jobs of the account, with the ends of their models."""
    found = []
    for job in call.world.jobs.values():
        base = find(job.base) if job.account == call.account and job.phase == "succeeded" else None
        if base:
            found.append((call.world.retirements.of(base), job))
    return found


@router.get("/models")
def list_models(call: DataCall) -> Response:
    with call.world.moment():
        data = [_base_body(call.world.retirements.of(base), base, call.dialect) for base in BASE_MODELS]
        data += [_tuned_body(ends, job, call.dialect) for ends, job in _tuned(call)]
    return answer({"data": data, "object": "list"})


@router.get("/models/{model_id}")
def get_model(call: DataCall, model_id: str) -> Response:
    base = find(model_id)
    with call.world.moment():
        if base:
            return answer(_base_body(call.world.retirements.of(base), base, call.dialect))
        for ends, job in _tuned(call):
            if job.tuned_name == model_id:
                return answer(_tuned_body(ends, job, call.dialect))
    raise Refusal(404, "notFound", f"The model '{model_id}' does not exist.")
