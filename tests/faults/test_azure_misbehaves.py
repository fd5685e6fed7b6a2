"""Azure that fails for long, throttles strangely, shows lists that lag and shift, and says what nobody has heard of."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from servers import make_project
from sqlalchemy import update

from app.bootstrap import open_workbench
from app.connections.repository import gate
from app.connections.tables import Connection
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.jobs.steps import JobSteps
from app.jobs.tables import Job
from app.jobs.watch import ConnectionWatch
from app.kit import care
from app.settings import Settings

pytestmark = pytest.mark.fault
ENDS = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
EXAMPLES = int(os.environ.get("KITAE_TEST_EXAMPLES", "25"))


@pytest.fixture
def azure(emulator_url: str) -> Iterator[Emulator]:
    emulator = Emulator(emulator_url)
    emulator.reset()
    yield emulator
    emulator.reset()


@pytest.fixture
def life(settings: Settings, azure: Emulator) -> Iterator[Life]:
    with open_workbench(
        quick(settings, azure.url, settle_seconds=0.6, backoff_max_seconds=0.2, park_after_failures=50)
    ) as bench:
        yield Life.begin(bench, make_project(bench, "misbehaves").id, azure.url)
        assert_invariants(bench, azure.url)


def running(life: Life, azure: Emulator) -> str:
    """A job that Azure is training and that stays so: its clock stands still."""
    azure.put("/clock", {"mode": "manual"})
    training, _ = life.example(lines=12)
    job_id = life.job(life.connect(), training)

    def look() -> bool | None:
        if life.read(job_id).status != JobStatus.RUNNING:
            azure.post("/clock/advance", {"seconds": 20})
        now(life, job_id)
        JobSteps(life.bench).advance(job_id)
        return life.read(job_id).status == JobStatus.RUNNING or None

    until(look)
    return job_id


def now(life: Life, job_id: str) -> None:
    """Every wait of the job is over."""
    with life.bench.begin() as work:
        work.session.query(Job).filter(Job.id == job_id, Job.next_check_at.is_not(None)).update(
            {"next_check_at": care.in_seconds(-1)}, synchronize_session=False
        )


def calls(azure: Emulator, *operations: str) -> int:
    return sum(len(azure.requests(operation)) for operation in operations)


@pytest.mark.row(22)
def test_a_long_burst_of_5xx_opens_the_circuit_and_a_cancel_passes_all_the_same(
    life: Life, azure: Emulator
) -> None:
    job_id = running(life, azure)
    job = life.read(job_id)
    azure.faults(
        *(
            {"match": {"operation": name}, "do": {"status": 503}}
            for name in ("jobs.get", "jobs.list", "jobs.events")
        )
    )
    before = calls(azure, "jobs.get", "jobs.list", "jobs.events")
    steps, watch = JobSteps(life.bench), ConnectionWatch(life.bench)

    def rests() -> bool | None:
        now(life, job_id)
        steps.advance(job_id)
        with life.bench.read() as session:
            return gate(session, job.connection_id, "read")[1] or None

    until(rests)
    opened = calls(azure, "jobs.get", "jobs.list", "jobs.events")
    for _ in range(20):
        now(life, job_id)
        steps.advance(job_id)
        watch.watch(job.connection_id)
    assert calls(azure, "jobs.get", "jobs.list", "jobs.events") == opened  # nobody asks while it is open
    assert opened - before <= 12
    assert life.read(job_id).parked_reason is None

    JobService(life.bench).cancel(life.caller.project_id, job_id)
    now(life, job_id)
    steps.advance(job_id)
    assert len(azure.requests("jobs.cancel")) == 1
    assert azure.state()["jobs"][0]["phase"] == "cancelled"


@pytest.mark.row(23)
@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 5, 7),
        ({"Retry-After": "{now+30}"}, 26, 31),
        ({"retry-after-ms": "6500"}, 5, 7),
        ({"Retry-After": "-5"}, 0, 15),
        ({"Retry-After": "99999"}, 99_900, 99_999),
        ({"Retry-After": "9" * 30}, 3_600, 172_800),
        ({"Retry-After": "soon"}, 1, 15),
        ({}, 1, 15),
    ],
    ids=["seconds", "date", "milliseconds", "negative", "a-day", "for-ever", "senseless", "none"],
)
def test_no_call_is_made_before_azure_allows_it_and_none_waits_for_ever(
    headers: dict[str, str], least: float, most: float, life: Life, azure: Emulator
) -> None:
    training, _ = life.example(lines=12)
    job_id = life.job(life.connect(), training)
    azure.faults({"match": {"operation": "files.upload"}, "do": {"status": 429, "headers": headers}})
    JobSteps(life.bench).advance(job_id)
    assert len(azure.requests("files.upload")) == 1
    with life.bench.read() as session:
        wait, _ = gate(session, life.read(job_id).connection_id, "write")
    assert least <= wait <= most or (least == 0 and wait == 0)
    for _ in range(5):
        if wait > 1:
            now(life, job_id)
        JobSteps(life.bench).advance(job_id)
    assert len(azure.requests("files.upload")) == 1
    row = life.read(job_id)
    assert (row.fail_count, row.parked_reason) == (0, None)


@pytest.mark.row(22)
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_file_that_azure_answers_with_500_again_and_again_is_not_sent_for_ever(
    in_parts: bool,  # noqa: FBT001  a parameter of the test
    settings: Settings,
    azure: Emulator,
) -> None:
    patience = quick(
        settings,
        azure.url,
        settle_seconds=0.1,
        backoff_max_seconds=0.1,
        park_after_failures=3,
        circuit_rest_seconds=0.1,
        azure_parts_from_bytes=1 if in_parts else 100_000_000,
    )
    with open_workbench(patience) as bench:
        life = Life.begin(bench, make_project(bench, "500").id, azure.url)
        training, _ = life.example(lines=12)
        job_id = life.job(life.connect(), training)
        azure.faults(
            {"match": {"operation": "files.upload"}, "do": {"status": 500}},
            {"match": {"operation": "uploads.start"}, "do": {"status": 500}},
        )

        def look() -> Job | None:
            now(life, job_id)
            JobSteps(bench).advance(job_id)
            job = life.read(job_id)
            return job if job.status in ENDS or job.parked_reason else None

        job = until(look)
        error = job.error or job.last_error or {}
        assert error["http_status"] == 500, error
        if job.parked_reason is None:
            assert (job.status, error["code"]) == (JobStatus.FAILED, "azure_upload_unanswered"), error
        assert calls(azure, "files.upload", "uploads.start") == 3
        assert azure.state()["jobs"] == []
        assert_invariants(bench, azure.url)
        if job.parked_reason is not None:  # its owner says retry, and Azure is well again
            azure.faults()
            JobService(bench).retry(life.caller.project_id, job_id)
            assert life.drive(job_id, until_status=ENDS).status == JobStatus.SUCCEEDED


@pytest.mark.row(23)
def test_a_file_that_azure_throttles_again_and_again_is_sent_until_it_is_taken(
    settings: Settings, azure: Emulator
) -> None:
    with open_workbench(quick(settings, azure.url, settle_seconds=0.1, park_after_failures=2)) as bench:
        life = Life.begin(bench, make_project(bench, "429").id, azure.url)
        training, _ = life.example(lines=12)
        job_id = life.job(life.connect(), training)
        azure.faults(
            {
                "match": {"operation": "files.upload"},
                "when": {"first_n": 4},
                "do": {"status": 429, "headers": {"retry-after-ms": "1"}},
            }
        )
        job = life.drive(job_id, until_status=ENDS)
        assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error, job.parked_reason)
        assert calls(azure, "files.upload") == 5


@pytest.mark.row(26)
@pytest.mark.parametrize(
    "spoiled",
    [
        {"list_lag_seconds": 600},
        {"list_order": "shuffled"},
        {"list_order": "reversed"},
        {"page_shift": 3},
        {"page_shift": -1},
    ],
    ids=["lag", "shuffled", "reversed", "twice", "missed"],
)
def test_a_list_that_lags_or_shifts_makes_nothing_that_exists_missing_or_made_again(
    spoiled: dict[str, Any], life: Life, azure: Emulator
) -> None:
    azure.post("/portal", {"action": "create_jobs", "count": 250, "status": "failed"})
    training, _ = life.example(lines=12)
    job_id = life.job(life.connect(), training)
    azure.post("/portal", {"action": "create_jobs", "count": 250, "status": "failed"})
    lists = {"match": {"operation": "jobs.list"}, "do": spoiled}
    if "list_lag_seconds" in spoiled:
        lists["when"] = {"first_n": 2}  # it shows in the end, before the settle time is over
    azure.faults({"match": {"operation": "jobs.create"}, "when": {"first_n": 1}, "do": {"drop_after": True}}, lists)

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error, job.parked_reason)
    ours = [remote for remote in azure.state()["jobs"] if (remote["metadata"] or {}).get("op_key") == job_id]
    assert len(ours) == 1
    assert len(azure.requests("jobs.create")) == 1


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.just("\x00"),
    st.just("9" * 400),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
MEMBERS = (
    "id",
    "status",
    "object",
    "created_at",
    "finished_at",
    "estimated_finish",
    "trained_tokens",
    "fine_tuned_model",
    "result_files",
    "error",
    "metadata",
    "seed",
    "method",
    "hyperparameters",
    "training_file",
    "surprise",
)
EVENT_MEMBERS = ("id", "created_at", "level", "message", "type", "data")


@st.composite
def oddities(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Answers of Azure with members changed, left out or added; of jobs, and of their events in a list."""
    changed = draw(st.dictionaries(st.sampled_from(MEMBERS), SCALARS, max_size=4))
    left_out = draw(st.lists(st.sampled_from(MEMBERS), max_size=3, unique=True))
    events = draw(st.dictionaries(st.sampled_from(EVENT_MEMBERS), SCALARS, max_size=2))
    if garbage := draw(st.sampled_from([None, None, None, "html", "half_json", "wrong_types", "empty"])):
        return [{"match": {"operation": name}, "do": {"garbage": garbage}} for name in ("jobs.get", "jobs.list")]
    rules: list[dict[str, Any]] = []
    for name, prefix in (("jobs.get", ""), ("jobs.list", "data.*.")):
        do = {
            "change": {prefix + member: value for member, value in changed.items()},
            "leave_out": [prefix + member for member in left_out if member not in changed],
        }
        rules.append({"match": {"operation": name}, "do": {key: value for key, value in do.items() if value}})
    if events:
        rules.append(
            {
                "match": {"operation": "jobs.events"},
                "do": {"change": {f"data.*.{key}": value for key, value in events.items()}},
            }
        )
    return [one for one in rules if one["do"]]


@pytest.mark.row(27)
def test_whatever_azure_says_of_a_job_is_understood_tried_again_or_kept_and_never_a_crash(
    life: Life, azure: Emulator
) -> None:
    job_id = running(life, azure)
    remote_id = life.read(job_id).remote_id
    connection_id = life.read(job_id).connection_id
    steps, watch = JobSteps(life.bench), ConnectionWatch(life.bench)

    @effort(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize="KITAE_TEST_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(oddities())
    def odd(rules: list[dict[str, Any]]) -> None:
        azure.faults(*rules)
        now(life, job_id)
        steps.advance(job_id)
        watch.watch(connection_id)
        row = life.read(job_id)
        assert (row.last_error or {}).get("code") != "internal_error", row.last_error
        assert row.lease_owner is None
        assert row.remote_id == remote_id
        calm(life, azure, job_id)

    odd()


def calm(life: Life, azure: Emulator, job_id: str) -> None:
    """What was odd has passed: the job is where Azure has it, unless an end was told, which nobody takes back."""
    azure.faults()
    with life.bench.begin() as work:
        work.session.query(Job).filter(Job.id == job_id).update(
            {
                "status": JobStatus.RUNNING,
                "parked_reason": None,
                "fail_count": 0,
                "failing_since": None,
                "last_error": None,
                "missing_since": None,
                "next_check_at": care.in_seconds(-1),
            },
            synchronize_session=False,
        )
        work.session.execute(
            update(Connection).values(
                reads_closed_until=None,
                read_failures=0,
                read_history=0,
                reads_open_since=None,
                reads_probe_until=None,
            )
        )


@pytest.mark.row(27)
def test_a_word_that_nobody_has_heard_of_is_kept_as_it_came(life: Life, azure: Emulator) -> None:
    job_id = running(life, azure)
    azure.faults({"match": {"operation": "jobs.get"}, "do": {"change": {"status": "levitating ✨"}}})
    now(life, job_id)
    JobSteps(life.bench).advance(job_id)
    row = life.read(job_id)
    assert (row.status, row.remote_status) == (JobStatus.RUNNING, "levitating ✨")
    azure.faults()
    azure.put("/clock", {"mode": "instant"})
    assert life.drive(job_id, until_status=ENDS).status == JobStatus.SUCCEEDED
