"""The one POST that costs money, with every answer Azure may give or lose: at most one job, none forgotten."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from servers import make_project
from sqlalchemy import select

from app.bootstrap import open_workbench
from app.connections.repository import gate
from app.costs.service import CostService
from app.events.tables import EventRow
from app.jobs.service import JobService
from app.jobs.states import JobStatus, SendState
from app.jobs.steps import JobSteps
from app.settings import Settings

ENDS = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}


@pytest.fixture
def life(settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick(settings, emulator_url, settle_seconds=0.6)) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "faults").id, emulator_url)
        Emulator(emulator_url).faults()
        assert_invariants(bench)


@pytest.fixture
def azure(emulator_url: str) -> Emulator:
    return Emulator(emulator_url)


def a_job(life: Life, *, style: str = "v1") -> str:
    connection = life.connect(style=style)
    training, _ = life.example(lines=12)
    return life.job(connection, training)


@pytest.mark.row(3, 20)
@pytest.mark.fault
@pytest.mark.parametrize("style", ["v1", "dated"])
@pytest.mark.parametrize(
    "fault",
    [
        {"drop_after": True},
        {"drop_before": True},
        {"status": 500},
        {"status": 503},
        {"status": 408},
        {"status": 409},
        {"garbage": True},
    ],
    ids=lambda fault: "-".join(f"{key}={value}" for key, value in fault.items()),
)
def test_a_lost_or_unclear_answer_to_the_create_ends_in_exactly_one_job(
    fault: dict[str, Any], style: str, life: Life, azure: Emulator
) -> None:
    job_id = a_job(life, style=style)
    azure.strike("jobs.create", **fault)

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error, job.parked_reason)
    assert len(azure.state()["jobs"]) == 1


@pytest.mark.row(3)
@pytest.mark.fault
def test_three_lost_answers_in_a_row_still_end_in_one_job(life: Life, azure: Emulator) -> None:
    job_id = a_job(life)
    azure.strike("jobs.create", times=3, drop_before=True)

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error, job.parked_reason)
    assert job.attempt == 4
    assert len(azure.state()["jobs"]) == 1


@pytest.mark.row(23)
@pytest.mark.fault
def test_a_429_waits_as_long_as_azure_asked_and_then_goes_on_without_a_fence(life: Life, azure: Emulator) -> None:
    job_id = a_job(life)
    azure.strike("jobs.create", status=429, headers={"Retry-After": "1"})

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error, job.parked_reason)
    assert job.attempt == 1
    assert len(azure.state()["jobs"]) == 1
    first, second = (entry["at"] for entry in azure.requests("jobs.create"))
    assert second - first >= 1.0


@pytest.mark.row(23)
@pytest.mark.fault
def test_a_429_on_the_look_up_after_a_lost_answer_says_nothing_of_the_create(life: Life, azure: Emulator) -> None:
    job_id = a_job(life)
    nothing_yet = {"object": "list", "data": [], "has_more": False}
    azure.faults(
        {"match": {"operation": "jobs.create"}, "when": {"first_n": 1}, "do": {"drop_after": True}},
        {
            "match": {"operation": "jobs.list"},
            "when": {"first_n": 1},
            "do": {"status": 429, "headers": {"Retry-After": "0.1"}},
        },
        {
            "match": {"operation": "jobs.list"},
            "when": {"first_n": 1},
            "do": {"status": 200, "body": nothing_yet},
        },
    )

    steps = JobSteps(life.bench)

    def looked_up() -> bool | None:
        steps.advance(job_id)
        return True if (life.read(job_id).last_error or {}).get("http_status") == 429 else None

    def gate_open() -> bool | None:
        with life.bench.read() as session:
            return True if gate(session, life.read(job_id).connection_id, "read")[0] == 0 else None

    until(looked_up)
    until(gate_open)
    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error, job.parked_reason)
    assert len(azure.state()["jobs"]) == 1
    assert len(azure.requests("jobs.create")) == 1


@pytest.mark.fault
@pytest.mark.parametrize(("status", "code"), [(400, "azure_"), (403, "azure_")])
def test_a_definite_refusal_fails_the_job_keeps_azures_words_and_gives_the_money_back(
    status: int, code: str, life: Life, azure: Emulator
) -> None:
    job_id = a_job(life)
    azure.strike("jobs.create", status=status, code="invalidPayload", message="These words are Azure's.")

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error["code"].startswith(code)
    assert "These words are Azure's." in str(job.error["remote"])
    assert azure.state()["jobs"] == []
    summary = CostService(life.bench).summary(
        life.caller.project_id, group_by="category", since=None, until=None, running_usd=0
    )
    assert summary.reserved_usd == 0
    assert summary.settled_usd == 0


@pytest.mark.row(37)
@pytest.mark.fault
def test_a_cancel_while_nobody_knows_whether_the_job_exists_ends_it_wherever_it_is(
    life: Life, azure: Emulator
) -> None:
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = a_job(life)
        azure.strike("jobs.create", drop_after=True)
        steps, jobs = JobSteps(life.bench), JobService(life.bench)

        def sent() -> bool | None:
            azure.post("/clock/advance", {"seconds": 5})
            steps.advance(job_id)
            return True if life.read(job_id).send_state == SendState.SENT else None

        until(sent)
        jobs.cancel(life.caller.project_id, job_id)
        job = life.drive(job_id, until_status=ENDS)
    finally:
        azure.put("/clock", {"mode": "instant"})

    assert job.status == JobStatus.CANCELLED, (job.error, job.last_error)
    remote = azure.state()["jobs"]
    assert len(remote) == 1
    assert remote[0]["phase"] == "cancelled" or remote[0].get("status") == "cancelled"


@pytest.mark.row(41)
@pytest.mark.fault
def test_a_second_job_that_carries_our_key_is_told_and_only_one_is_kept(life: Life, azure: Emulator) -> None:
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = a_job(life)
        azure.strike("jobs.create", drop_after=True)
        steps = JobSteps(life.bench)

        def sent() -> bool | None:
            azure.post("/clock/advance", {"seconds": 5})
            steps.advance(job_id)
            return True if life.read(job_id).send_state == SendState.SENT else None

        until(sent)
        (remote,) = azure.state()["jobs"]
        ours = httpx2.get(f"{azure.url}/openai/v1/fine_tuning/jobs/{remote['id']}", headers={"api-key": "k"}).json()
        twin = httpx2.post(
            f"{azure.url}/openai/v1/fine_tuning/jobs",
            headers={"api-key": "k"},
            json={
                "model": ours["model"],
                "training_file": ours["training_file"],
                "metadata": ours["metadata"],
                "trainingType": "GlobalStandard",
            },
        )
        assert twin.status_code == 200, twin.text
    finally:
        azure.put("/clock", {"mode": "instant"})

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert job.remote_id in {remote["id"], twin.json()["id"]}  # both were made within Azure's one second
    with life.bench.read() as session:
        told = session.scalars(
            select(EventRow.data).where(EventRow.type.in_(("job.duplicate_cancelled", "job.duplicate_trained")))
        ).all()
    assert told[-1]["kept"] == job.remote_id
    assert len(azure.state()["jobs"]) == 2


@pytest.mark.row(20)
@pytest.mark.fault
def test_a_lost_upload_is_found_by_its_name_and_no_copy_stays(life: Life, azure: Emulator) -> None:
    job_id = a_job(life)
    azure.strike("files.upload", drop_after=True)

    job = life.drive(job_id, until_status=ENDS)
    life.tidy(job_id)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert len(azure.requests("files.upload")) == 1
    assert [file for file in azure.state()["files"] if file["purpose"] == "fine-tune"] == []


@pytest.mark.row(45)
@pytest.mark.fault
def test_a_job_that_fails_again_and_again_is_parked_with_its_reason_and_goes_on_after_retry(
    settings: Settings, emulator_url: str, azure: Emulator
) -> None:
    with open_workbench(quick(settings, emulator_url, park_after_failures=2)) as bench:
        azure.reset()
        life = Life.begin(bench, make_project(bench, "parks").id, emulator_url)
        job_id = a_job(life)
        azure.strike("files.get", times=50, status=500)

        parked = life.drive(job_id, until_status=ENDS)
        assert parked.parked_reason is not None
        assert parked.last_error is not None
        assert parked.last_error["http_status"] == 500

        azure.faults()
        JobService(bench).retry(life.caller.project_id, job_id)
        job = life.drive(job_id, until_status=ENDS)
    assert job.status == JobStatus.SUCCEEDED


@pytest.mark.fault
def test_a_job_deleted_in_the_portal_fails_and_is_not_made_again(
    life: Life, azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.steps.MISSING_SECONDS", 0.2)
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = a_job(life)
        steps = JobSteps(life.bench)

        def queued() -> bool | None:
            azure.post("/clock/advance", {"seconds": 5})
            steps.advance(job_id)
            return True if life.read(job_id).remote_id else None

        until(queued)
    finally:
        azure.put("/clock", {"mode": "instant"})
    remote_id = life.read(job_id).remote_id
    until(lambda: True if azure.state()["jobs"][0]["phase"] == "succeeded" else None)
    azure.post("/portal", {"action": "delete_job", "id": remote_id})

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error["code"] == "removed_at_azure"
    assert len(azure.requests("jobs.create")) == 1


@pytest.mark.row(27)
@pytest.mark.fault
def test_an_unknown_word_of_azure_is_kept_verbatim_and_changes_nothing(life: Life, azure: Emulator) -> None:
    job_id = a_job(life)
    azure.strike("jobs.list", times=1000, garbage=True)
    azure.strike(
        "jobs.get", times=2, status=200, body={"id": "x", "object": "fine_tuning.job", "status": "meditating"}
    )

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)


@pytest.mark.row(22, 45)
@pytest.mark.fault
def test_creates_that_are_never_answered_end_with_a_person_not_with_uploads_for_ever(
    settings: Settings, emulator_url: str, azure: Emulator
) -> None:
    short = quick(settings, emulator_url, settle_seconds=0.1, park_after_failures=3, circuit_rest_seconds=0.1)
    with open_workbench(short) as bench:
        azure.reset()
        life = Life.begin(bench, make_project(bench, "unanswered").id, emulator_url)
        job_id = a_job(life)
        azure.strike("jobs.create", times=3, status=500)

        parked = life.drive(job_id, until_status=ENDS)
        assert parked.parked_reason is not None
        assert parked.attempt == 4
        assert len(azure.requests("jobs.create")) == 3

        JobService(bench).retry(life.caller.project_id, job_id)
        job = life.drive(job_id, until_status=ENDS)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert len(azure.state()["jobs"]) == 1
