"""Trainings under watch: over-fitting is caught on the way, a pause is a decision, the curve is followed live."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx2
import orjson
import pytest
from lives import Emulator, Life, quick, until
from servers import Project
from sqlalchemy import text, update
from starlette.testclient import TestClient
from watched import Fleet

import examples
from app.bootstrap import open_workbench
from app.costs.repository import reserved_for
from app.costs.schemas import BudgetPut
from app.costs.service import BudgetExceeded, CostService
from app.events.log import read_page
from app.jobs import repository
from app.jobs.schemas import JobCreate, JobResume
from app.jobs.service import JobService
from app.jobs.states import JOB_LAW, JobStatus
from app.jobs.tables import Job
from app.jobs.watchdog import NotANumber, Spend, Stalled, ValidationRising, WatchPolicy
from app.kit.errors import Conflict
from app.settings import Settings
from app.workbench import Workbench

ENDS = set(JOB_LAW.terminal)
GRADER = {
    "type": "string_check",
    "name": "label",
    "input": "{{sample.output_text}}",
    "reference": "{{item.label}}",
    "operation": "eq",
}


@pytest.fixture
def settings(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, settle_seconds=0.3)


@pytest.fixture
def bench(settings: Settings) -> Iterator[Workbench]:
    with open_workbench(settings) as opened:
        yield opened


def slowly(azure: Emulator, *, step_seconds: float, speed: float = 100) -> None:
    """The emulator takes so long for each step, and no time for anything else; its own time is so much faster."""
    azure.put("/clock", {"mode": "real", "speed": speed})
    pace = dict.fromkeys(("file_processing", "validate", "queue", "start", "evaluate"), 0.0)
    azure.put("/pace", {**pace, "step": step_seconds * speed})


def happened(life: Life, job_id: str, event_type: str) -> list[dict[str, Any]]:
    with life.bench.read() as session:
        events = read_page(
            session,
            project_id=life.caller.project_id,
            subject_id=job_id,
            event_type=event_type,
            after=None,
            before=None,
            descending=False,
            limit=200,
        )
    return [event.data for event in events]


def reserved(life: Life, job_id: str) -> Decimal:
    with life.bench.read() as session:
        return reserved_for(session, job_id)


def supervised(life: Life, *, epochs: int, watch: WatchPolicy | None = None) -> str:
    training, validation = life.example(lines=20)
    wanted = JobCreate.model_validate(
        {
            "connection": "emulator",
            "model": "gpt-4.1-mini",
            "training": training,
            "validation": validation,
            "hyperparameters": {"n_epochs": epochs, "batch_size": 2},
            "watch": watch,
        }
    )
    return JobService(life.bench).create(life.caller, wanted)


def reinforcement(life: Life) -> str:
    """Twelve graded prompts, in six steps."""
    rows = [
        {
            "messages": [{"role": "user", "content": f"The {thing} was {word}. Good or bad?"}],
            "label": label,
        }
        for thing in ("film", "meal")
        for word, label in zip(
            ("great", "fine", "awful", "poor", "superb", "nasty"), ("good", "good", "bad") * 2, strict=True
        )
    ]
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    life.dataset("labels", content, method="reinforcement")
    life.dataset("labels-validation", content, method="reinforcement")
    wanted = JobCreate.model_validate(
        {
            "connection": "emulator",
            "model": "o4-mini",
            "training": "labels",
            "validation": "labels-validation",
            "method": "reinforcement",
            "grader": GRADER,
            "hyperparameters": {"n_epochs": 1, "batch_size": 2},
        }
    )
    return JobService(life.bench).create(life.caller, wanted)


# ── rules ───────────────────────────────────────────────────────────────────


def test_the_shipped_character_over_fits_in_many_epochs_and_is_cancelled_on_the_way(
    life: Life, azure: Emulator
) -> None:
    """A real training on the shipped set: every loss is measured."""
    slowly(azure, step_seconds=0.005)
    character = examples.load("character")
    life.dataset("character", character.training.read_bytes())
    life.dataset("character-validation", character.validation.read_bytes())
    wanted = JobCreate.model_validate(
        {
            "connection": "emulator",
            "model": "gpt-4.1-mini",
            "training": "character",
            "validation": "character-validation",
            "hyperparameters": {"n_epochs": 30, "batch_size": 4},
            "watch": WatchPolicy(rules=[ValidationRising(evaluations=3, action="cancel")]),
        }
    )
    job_id = JobService(life.bench).create(life.caller, wanted)

    job = life.drive(job_id, until_status=ENDS)

    at = JobService(life.bench).progress(life.caller.project_id, job_id)
    (alarm,) = happened(life, job_id, "job.watchdog")
    assert job.status == JobStatus.CANCELLED, (job.status, alarm, at)
    assert (alarm["rule"], alarm["action"]) == ("validation_rising", "cancel")
    assert alarm["numbers"]["last"] > alarm["numbers"]["best"] * 1.1
    assert at.total_steps is not None
    assert alarm["numbers"]["best_step"] < at.step < at.total_steps * 0.8


def test_a_loss_that_is_no_number_ends_the_training_and_stays_in_its_curve(life: Life, azure: Emulator) -> None:
    slowly(azure, step_seconds=0.3)
    change = {"change": {"data.*.data.train_loss": "NaN"}}
    azure.faults({"match": {"operation": "jobs.events"}, "when": {"after_n": 1}, "do": change})
    job_id = supervised(life, epochs=3, watch=WatchPolicy(rules=[NotANumber(action="cancel")]))

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.CANCELLED
    (alarm,) = happened(life, job_id, "job.watchdog")
    service = JobService(life.bench)
    (series,) = service.results(life.caller.project_id, job_id).series("train_loss")[-1:]
    assert alarm["rule"] == "not_a_number"
    assert series[1] != series[1]
    assert service.metrics(life.caller.project_id, job_id).series["train_loss"][-1] is None
    assert service.analysis(life.caller.project_id, job_id).analysis["verdict"] == "unstable"


def test_a_training_that_stands_still_is_told_of_once(life: Life, azure: Emulator) -> None:
    slowly(azure, step_seconds=0)
    azure.strike("jobs.create", fate={"stall_at_step": 3})
    job_id = supervised(life, epochs=2, watch=WatchPolicy(rules=[Stalled(minutes=1 / 600)]))

    def steps_told() -> list[int]:
        life.drive(job_id, until_status={JobStatus.RUNNING})
        return [alarm["numbers"]["step"] for alarm in happened(life, job_id, "job.watchdog")]

    until(lambda: 3 in steps_told() or None)
    for _ in range(20):
        told = steps_told()
    assert told == sorted(set(told))
    JobService(life.bench).cancel(life.caller.project_id, job_id)
    assert life.drive(job_id, until_status=ENDS).status == JobStatus.CANCELLED


def test_rules_are_changed_over_http_while_it_trains(
    life: Life, azure: Emulator, client: TestClient, stranger: TestClient
) -> None:
    slowly(azure, step_seconds=0.2)
    job_id = supervised(life, epochs=6)
    life.drive(job_id, until_status={JobStatus.RUNNING})
    policy = {"rules": [{"rule": "spend", "usd": "0.0000001", "action": "cancel"}]}

    assert stranger.put(f"/v1/jobs/{job_id}/watch", json=policy).status_code == 404
    refused = client.put(f"/v1/jobs/{job_id}/watch", json={"rules": [{"rule": "spend", "usd": "-1"}]})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/rules/0/spend/usd")
    changed = client.put(f"/v1/jobs/{job_id}/watch", json=policy)
    assert changed.status_code == 200
    assert changed.json()["watch"] == {"rules": [{"rule": "spend", "usd": "1E-7", "action": "cancel"}]}

    assert life.drive(job_id, until_status=ENDS).status == JobStatus.CANCELLED
    late = client.put(f"/v1/jobs/{job_id}/watch", json=policy)
    assert (late.status_code, late.json()["code"]) == (409, "job_finished")


# ── decisions ───────────────────────────────────────────────────────────────


def test_azures_pause_of_a_reinforcement_job_is_a_decision_that_is_reserved_before_it_goes_on(
    life: Life, azure: Emulator, client: TestClient
) -> None:
    slowly(azure, step_seconds=0.2, speed=1000)
    azure.put("/quota", {"rft_usd": 10})
    job_id = reinforcement(life)
    job = life.drive(job_id, until_status={JobStatus.PAUSED} | ENDS)
    assert job.status == JobStatus.PAUSED, (job.error, job.last_error)

    shown = client.get(f"/v1/jobs/{job_id}").json()["paused_because"]
    assert (shown["by"], shown["rule"]) == ("azure", "azure_limit")
    assert [choice["action"] for choice in shown["choices"]] == ["resume", "cancel"]
    assert len(happened(life, job_id, "job.decision_needed")) == 1
    assert "kitae_jobs_awaiting_decision 1" in client.get("/metrics").text

    refused = client.post(f"/v1/jobs/{job_id}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "cost_not_accepted")
    assert "$5,000" in refused.json()["detail"]
    before = reserved(life, job_id)
    CostService(life.bench).set_budget(life.caller.project_id, BudgetPut(month_cap_usd=before + 50))
    beyond = client.post(f"/v1/jobs/{job_id}/resume", json={"accept_further_cost_usd": "60"})
    assert (beyond.status_code, beyond.json()["code"]) == (409, "budget_exceeded")
    assert reserved(life, job_id) == before

    accepted = client.post(f"/v1/jobs/{job_id}/resume", json={"accept_further_cost_usd": "40"})
    assert accepted.status_code == 202, accepted.json()
    assert reserved(life, job_id) == before + 40
    twice = client.post(f"/v1/jobs/{job_id}/resume", json={"accept_further_cost_usd": "5"})
    assert (twice.status_code, twice.json()["code"]) == (409, "illegal_state")
    assert reserved(life, job_id) == before + 40

    job = life.drive(job_id, until_status=ENDS)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert (job.paused_because, job.pause_reason) == (None, None)
    assert len(happened(life, job_id, "job.decision_needed")) == 1


def test_azures_pause_of_a_reinforcement_job_may_be_answered_with_its_end(life: Life, azure: Emulator) -> None:
    slowly(azure, step_seconds=0.2, speed=1000)
    azure.put("/quota", {"rft_usd": 10})
    job_id = reinforcement(life)
    life.drive(job_id, until_status={JobStatus.PAUSED} | ENDS)
    JobService(life.bench).cancel(life.caller.project_id, job_id)
    job = life.drive(job_id, until_status=ENDS)
    assert job.status == JobStatus.CANCELLED
    assert job.paused_because is None


def test_the_watch_dogs_pause_is_a_decision_and_comes_again_where_the_accepted_money_ends(
    life: Life, azure: Emulator
) -> None:
    slowly(azure, step_seconds=0.03)
    plan = JobService(life.bench)
    job_id = supervised(life, epochs=8, watch=WatchPolicy(rules=[Spend(usd=Decimal("0.0001"), action="pause")]))
    job = life.drive(job_id, until_status={JobStatus.PAUSED} | ENDS)
    assert job.status == JobStatus.PAUSED
    assert job.paused_because is not None
    assert (job.paused_because["by"], job.paused_because["rule"]) == ("watchdog", "spend")
    further = Decimal(job.paused_because["choices"][0]["may_cost_further_usd"])
    assert further > 0

    with pytest.raises(Conflict, match="Say how much more"):
        plan.resume(life.caller, job_id, JobResume())
    with pytest.raises(BudgetExceeded):
        plan.resume(life.caller, job_id, JobResume(accept_further_cost_usd=budget_of(life, "0.5")))
    CostService(life.bench).set_budget(life.caller.project_id, BudgetPut())
    plan.resume(life.caller, job_id, JobResume(accept_further_cost_usd=further / 3))
    life.drive(job_id, until_status={JobStatus.RUNNING} | ENDS)
    job = life.drive(job_id, until_status={JobStatus.PAUSED} | ENDS)
    assert job.status == JobStatus.PAUSED
    plan.resume(life.caller, job_id, JobResume(accept_further_cost_usd=further * 2))
    assert life.drive(job_id, until_status=ENDS).status == JobStatus.SUCCEEDED
    alarms = [alarm["numbers"]["limit_usd"] for alarm in happened(life, job_id, "job.watchdog")]
    assert alarms == sorted(alarms)
    assert len(alarms) == 2
    assert len(happened(life, job_id, "job.decision_needed")) == 2


def budget_of(life: Life, cap: str) -> Decimal:
    """A cap for one thing, and more than it allows."""
    CostService(life.bench).set_budget(life.caller.project_id, BudgetPut(job_cap_usd=Decimal(cap)))
    return Decimal(cap)


def test_a_persons_own_pause_is_shown_and_asks_nobody(life: Life, azure: Emulator) -> None:
    slowly(azure, step_seconds=0.2)
    service = JobService(life.bench)
    job_id = supervised(life, epochs=6)
    life.drive(job_id, until_status={JobStatus.RUNNING})
    while not service.metrics(life.caller.project_id, job_id).steps:
        life.drive(job_id, until_status={JobStatus.RUNNING})
    service.pause(life.caller.project_id, job_id)
    job = life.drive(job_id, until_status={JobStatus.PAUSED} | ENDS)
    assert job.paused_because is not None
    assert job.paused_because["by"] == "user"
    assert happened(life, job_id, "job.decision_needed") == []
    at = service.progress(life.caller.project_id, job_id)
    assert (at.status, at.finish_at) == ("paused", None)
    assert at.spent_usd is not None
    assert at.spent_usd > 0
    service.resume(life.caller, job_id, JobResume())
    assert life.drive(job_id, until_status=ENDS).status == JobStatus.SUCCEEDED


# ── live ────────────────────────────────────────────────────────────────────


def write(bench: Workbench, job_id: str, points: dict[int, dict[str, float]]) -> None:
    with bench.begin() as work:
        revision = repository.next_revision(work.session, job_id)
        repository.put_points(work.session, job_id, points.items(), revision=revision)


@contextmanager
def followed(url: str, project: Project, path: str, **headers: str) -> Iterator[Iterator[dict[str, str]]]:
    """The messages of a stream, each as its fields."""
    accept = {"Accept": "text/event-stream", **project.headers, **headers}
    with httpx2.stream("GET", url + path, headers=accept, timeout=20) as response:
        assert response.status_code == 200, response.read()
        yield (
            {"event": message.event, "data": message.data, "id": message.id}
            for message in httpx2.EventSource(response)
            if message.data
        )


def points_in(
    messages: Iterator[dict[str, str]], *, until_step: int
) -> tuple[list[tuple[int, dict[str, float | None]]], str]:
    """Points up to the first message that holds this step, in their order, and the place behind it."""
    found: list[tuple[int, dict[str, float | None]]] = []
    for message in messages:
        if message["event"] == "points":
            found += [(point["step"], point["values"]) for point in orjson.loads(message["data"])["points"]]
            if any(step == until_step for step, _ in found):
                return found, message["id"]
    raise AssertionError("the stream ended before the step came")


@pytest.fixture
def planted(life: Life) -> str:
    """A running job that nobody trains."""
    return Fleet.plant(life, 1, name="planted").rows()[0].id


def test_a_curve_is_followed_and_taken_up_again_without_a_gap_or_a_repeat(
    bench: Workbench, project: Project, planted: str, live_url: str
) -> None:
    write(bench, planted, {step: {"train_loss": 1 / step} for step in range(1, 1201)})
    path = f"/v1/jobs/{planted}/metrics"
    with followed(live_url, project, path) as messages:
        first, place = points_in(messages, until_step=1200)
        progress = orjson.loads(next(messages)["data"])
    assert [step for step, _ in first] == list(range(1, 1201))
    assert (progress["object"], progress["step"]) == ("job.progress", 1200)

    write(bench, planted, {1200: {"train_loss": 1 / 1200}})  # no news
    write(bench, planted, {7: {"valid_loss": 0.5}, 1201: {"train_loss": 0.1}})  # a value that comes late
    with followed(live_url, project, path, **{"Last-Event-ID": place}) as messages:
        more, place = points_in(messages, until_step=1201)
        write(bench, planted, {1202: {"train_loss": float("nan")}})
        live, _ = points_in(messages, until_step=1202)
    assert more == [(7, {"train_loss": 1 / 7, "valid_loss": 0.5}), (1201, {"train_loss": 0.1})]
    assert live == [(1202, {"train_loss": None})]


def test_a_stream_of_a_job_that_has_ended_brings_everything_and_ends(
    life: Life, project: Project, live_url: str
) -> None:
    job_id = supervised(life, epochs=1)
    job = life.drive(job_id, until_status=ENDS)
    with followed(live_url, project, f"/v1/jobs/{job_id}/metrics") as messages:
        told = list(messages)
    assert [message["event"] for message in told] == ["points", "progress", "end"]
    assert orjson.loads(told[-1]["data"])["status"] == job.status
    assert orjson.loads(told[1]["data"])["share"] == 1
    with followed(live_url, project, f"/v1/jobs/{job_id}/remote-events") as messages:
        events = list(messages)
    with followed(
        live_url, project, f"/v1/jobs/{job_id}/remote-events", **{"Last-Event-ID": events[-3]["id"]}
    ) as messages:
        rest = list(messages)
    assert events[-1]["event"] == "end"
    assert {message["event"] for message in events} == {"message", "metrics", "end"}
    assert rest[:-1] == events[-2:-1]


def test_the_streams_of_a_job_are_its_projects_and_begin_where_they_have_been(
    client: TestClient, stranger: TestClient, planted: str
) -> None:
    accept = {"Accept": "text/event-stream"}
    for path in (f"/v1/jobs/{planted}/metrics", f"/v1/jobs/{planted}/remote-events"):
        assert stranger.get(path, headers=accept).status_code == 404
        for place in ("x", "1-", "-1-1", "9" * 30 + "-1", "1-jev_short"):
            refused = client.get(path, headers=accept | {"Last-Event-ID": place})
            assert refused.status_code == 422, place
            assert refused.json()["errors"][0]["header"] == "Last-Event-ID"
    assert stranger.get(f"/v1/jobs/{planted}/progress").status_code == 404


def test_two_writers_of_one_jobs_points_are_seen_in_the_order_of_their_revisions(
    bench: Workbench, planted: str
) -> None:
    """The second waits for the first: what is read at a revision is all there is up to it."""
    second_has_begun, second_is_done = threading.Event(), threading.Event()

    def second() -> None:
        second_has_begun.set()
        write(bench, planted, {2: {"train_loss": 2.0}})
        second_is_done.set()

    with bench.begin() as work:
        revision = repository.next_revision(work.session, planted)
        thread = threading.Thread(target=second)
        thread.start()
        assert second_has_begun.wait(10)
        assert not second_is_done.wait(0.3)
        repository.put_points(work.session, planted, [(1, {"train_loss": 1.0})], revision=revision)
    assert second_is_done.wait(10)
    thread.join()
    with bench.read() as session:
        found = repository.points_behind(session, planted, (-1, -1), limit=10)
    assert [(point.revision, point.step) for point in found] == [(1, 1), (2, 2)]


def test_a_waiting_job_tells_how_long_and_how_long_that_usually_takes(life: Life, client: TestClient) -> None:
    fleet = Fleet.plant(life, 4, name="queue")
    with life.bench.begin() as work:
        for index, row in enumerate(fleet.rows()):
            sent = text(f"clock_timestamp() - interval '{100 * (index + 1)} seconds'")
            began = {"started_at": text("clock_timestamp()")} if index < 3 else {"status": "queued"}
            work.session.execute(update(Job).where(Job.id == row.id).values(sent_at=sent, **began))
    at = client.get(f"/v1/jobs/{fleet.rows()[3].id}/progress").json()
    assert at["queued_seconds"] >= 400
    assert at["usual_queue"]["jobs"] == 3
    assert at["usual_queue"]["median_seconds"] == pytest.approx(200, abs=5)
