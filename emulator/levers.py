"""The levers under `/_emulator`: everything Azure has no button for; they serve tests and people, not Azure."""

import re
from dataclasses import asdict, fields, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from emulator import billing, catalogue
from emulator.catalogue import BASE_MODELS
from emulator.door import AnyWorld, Body
from emulator.faults import BadRule, Faults
from emulator.generator import BadShare
from emulator.ledger import Limits
from emulator.prices import BadPrice, changed
from emulator.retirement import BadEnding, Retirements
from emulator.state import Job
from emulator.wire import Refusal, answer, read_json
from emulator.world import World

router = APIRouter(prefix="/_emulator")


def bad(message: str) -> Refusal:
    return Refusal(400, "invalidPayload", message)


def _seconds(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise bad(f"'{name}' must be a number between 0 and 1,000,000,000.")
    return float(value)


def _only(body: dict[str, Any], *known: str) -> None:
    for name in body:
        if name not in known:
            raise bad(f"unknown member '{name[:80]}'; known are {', '.join(known)}.")


def _clock_body(world: World) -> dict[str, Any]:
    clock = world.clock
    return {
        "mode": clock.mode,
        "speed": clock.speed,
        "virtual_now": clock.now(),
        "timestamps": world.settings.timestamps,
    }


@router.get("/clock")
def get_clock(world: AnyWorld) -> Response:
    with world.moment():
        return answer(_clock_body(world))


@router.put("/clock")
def put_clock(world: AnyWorld, body: Body) -> Response:
    _only(body, "mode", "speed")
    mode, speed = body.get("mode", world.clock.mode), body.get("speed", world.clock.speed)
    if mode not in {"instant", "real", "manual"}:
        raise bad("'mode' must be instant, real or manual.")
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= 1e6:
        raise bad("'speed' must be a number above 0, up to 1,000,000.")
    world.set_clock(mode, float(speed))
    return get_clock(world)


@router.post("/clock/advance")
def advance_clock(world: AnyWorld, body: Body) -> Response:
    _only(body, "seconds")
    learned = world.advance(_seconds(body.get("seconds"), "seconds"))
    return answer({**_clock_body(world), "learned": learned})


@router.get("/pace")
def get_pace(world: AnyWorld) -> Response:
    return answer(world.pace.document())


@router.put("/pace")
def put_pace(world: AnyWorld, body: Body) -> Response:
    with world.moment():
        try:
            world.pace = world.pace.changed(body)
        except ValueError as error:
            raise bad(str(error)) from error
        world.save_levers()
    return answer(world.pace.document())


@router.get("/faults")
def get_faults(request: Request) -> Response:
    faults: Faults = request.app.state.faults
    return answer(faults.shown())


@router.put("/faults")
def put_faults(request: Request, rules: Annotated[Any, Depends(read_json)]) -> Response:
    faults: Faults = request.app.state.faults
    try:
        faults.set(rules)
    except BadRule as error:
        raise bad(str(error)) from error
    return answer(faults.shown())


@router.delete("/faults")
def delete_faults(request: Request) -> Response:
    request.app.state.faults.set([])
    return answer([])


def _quota_body(world: World) -> dict[str, Any]:
    return {**asdict(world.limits), "skus": world.quota}


@router.get("/quota")
def get_quota(world: AnyWorld) -> Response:
    return answer(_quota_body(world))


@router.put("/quota")
def put_quota(world: AnyWorld, body: Body) -> Response:
    """Change limits by name, and capacities of single SKUs under `skus` (`{"OpenAI.Standard.gpt-4.1": 240}`)."""
    known = {field.name for field in fields(Limits)}
    skus = body.pop("skus", {})
    if not isinstance(skus, dict):
        raise bad("'skus' must be an object.")
    for name, value in [*body.items(), *skus.items()]:
        if name not in known and name not in skus:
            raise bad(f"unknown limit '{name}'; the limits are {', '.join(sorted(known))} and skus.")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
            raise bad(f"'{name}' must be an integer between 0 and 1,000,000,000.")
    with world.moment():
        world.limits = replace(world.limits, **body)
        world.quota = {**world.quota, **skus}
        world.save_levers()
    return answer(_quota_body(world))


@router.get("/safety")
def get_safety(world: AnyWorld) -> Response:
    return answer(world.safety)


@router.put("/safety")
def put_safety(world: AnyWorld, body: Body) -> Response:
    """Words for which training data, or a model, is refused: `{"data": {"violence": ["stab"]}, "model": {…}}`."""
    _only(body, "data", "model")
    for harms in body.values():
        listed = harms.values() if isinstance(harms, dict) else [None]
        if not all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in listed):
            raise bad("'data' and 'model' must map harm types to lists of words.")
    with world.moment():
        world.safety = {**world.safety, **body}
        world.save_levers()
    return answer(world.safety)


@router.get("/generator")
def get_generator(world: AnyWorld) -> Response:
    with world.moment():
        return answer(asdict(world.generator))


@router.put("/generator")
def put_generator(world: AnyWorld, body: Body) -> Response:
    """Shares of what base models generate badly when they are asked for training rows: `{"drifted": 0.5}`."""
    with world.moment():
        try:
            world.generator = world.generator.changed(body)
        except BadShare as error:
            raise bad(str(error)) from error
        world.save_levers()
    return get_generator(world)


@router.post("/reset")
def reset(request: Request, world: AnyWorld) -> Response:
    world.reset()
    request.app.state.faults.set([])
    request.app.state.log.clear()
    return answer({"reset": True})


_SNAPSHOT = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _snapshot_name(body: dict[str, Any]) -> str:
    _only(body, "name")
    name = body.get("name")
    if not isinstance(name, str) or not _SNAPSHOT.fullmatch(name):
        raise bad("'name' must be up to 64 letters, digits, '-' and '_'.")
    return name


@router.post("/snapshot")
def keep_snapshot(world: AnyWorld, body: Body) -> Response:
    """Keep everything but rules and log under a name; `reset` leaves it, and so does a restart with a state."""
    world.keep_as(_snapshot_name(body))
    return answer({"snapshots": world.store.snapshots()})


@router.post("/restore")
def restore_snapshot(world: AnyWorld, body: Body) -> Response:
    name = _snapshot_name(body)
    try:
        world.bring_back(name)
    except KeyError as error:
        raise bad(f"there is no snapshot '{name}'; there are: {', '.join(world.store.snapshots())}.") from error
    return get_state(world)


@router.get("/requests")
def get_requests(request: Request, operation: str | None = None, after: int = 0) -> Response:
    """The log, oldest first; only one operation, or only what came after a number, when asked for."""
    shown = request.app.state.log.shown()
    return answer([entry for entry in shown if entry["number"] > after and operation in {None, entry["operation"]}])


def _job_line(world: World, job: Job) -> dict[str, Any]:
    recording = world.recordings[job.id]
    return {
        "id": job.id,
        "phase": job.phase,
        "hold": job.hold,
        "model": job.model,
        "fine_tuned_model": job.fine_tuned_model,
        "metadata": job.metadata,
        "suffix": job.suffix,
        "training_file": job.training_file,
        "published_steps": job.published,
        "learned_steps": len(recording.rows),
        "total_steps": recording.total_steps,
        "learned": recording.finished_v is not None,
        "account": job.account,
    }


@router.get("/state")
def get_state(world: AnyWorld) -> Response:
    """How much there is of everything, and what it is called."""
    with world.moment():
        shown_jobs = [_job_line(world, job) for job in world.jobs.values()]
        shown_files = [
            {
                "id": file.id,
                "filename": file.filename,
                "purpose": file.purpose,
                "phase": file.phase,
                "bytes": file.size_bytes,
                "account": file.account,
            }
            for file in world.files.values()
        ]
        shown_deployments = [
            {
                "name": deployment.name,
                "phase": deployment.phase,
                "model": deployment.model["name"],
                "sku": deployment.sku_name,
                "capacity": deployment.capacity,
                "tags": deployment.tags,
                "account": deployment.account,
            }
            for deployment in world.deployments.values()
        ]
        removed = [
            {"name": deployment.name, "model": deployment.model["name"], "because": deployment.removed_because}
            for deployment in world.removed.values()
        ]
    body = {
        "counts": {"jobs": len(shown_jobs), "files": len(shown_files), "deployments": len(shown_deployments)},
        "jobs": shown_jobs,
        "files": shown_files,
        "deployments": shown_deployments,
        "removed_deployments": removed,
        "clock": _clock_body(world),
    }
    return answer(body)


@router.get("/billing")
def get_billing(world: AnyWorld) -> Response:
    """What has been charged, line by line: trained tokens, hosting hours (virtual time), tokens of answers."""
    with world.moment() as now_v:
        return answer(billing.bill(world, now_v))


@router.get("/prices")
def get_prices(world: AnyWorld) -> Response:
    return answer(world.prices)


@router.put("/prices")
def put_prices(world: AnyWorld, body: Body) -> Response:
    """Change prices by kind and name: `{"training": {"gpt-4.1-2025-04-14": "5"}, "hosting": {"Standard": 2}}`."""
    with world.moment():
        try:
            world.prices = changed(world.prices, body)
        except BadPrice as error:
            raise bad(str(error)) from error
        world.save_levers()
    return answer(world.prices)


@router.get("/models")
def get_models(world: AnyWorld) -> Response:
    with world.moment():
        return answer(world.retirements.document(BASE_MODELS))


@router.put("/models")
def put_models(world: AnyWorld, body: Body) -> Response:
    """Let base models end: `{"gpt-4o": {"inference": "2026-12-01"}}`; an empty object takes that back."""
    with world.moment():
        found = Retirements(world.retirements.set_by_lever)
        for name, given in body.items():
            base = catalogue.find(name)
            if base is None:
                raise bad(f"there is no base model '{name[:80]}'.")
            try:
                found.change(base, given)
            except BadEnding as error:
                raise bad(str(error)) from error
        world.retirements = found
        world.save_levers()
    return get_models(world)


@router.get("/health")
def get_health() -> Response:
    return answer({"status": "ok"})
