"""The watch over many jobs: what one round asks Azure for, what it finds, and what a bad answer leaves behind."""

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from lives import Emulator, Life, quick
from servers import make_project
from watched import Fleet

from app.bootstrap import open_workbench
from app.connections.schemas import ConnectionCreate, ConnectionPatch
from app.connections.service import ConnectionService
from app.jobs.states import JobStatus
from app.settings import Settings

MANY = 250
"""Three pages."""


@pytest.fixture
def calm(settings: Settings, emulator_url: str) -> Settings:
    """The intervals of an installation: nothing is due again within a test unless the test says so."""
    return quick(
        settings,
        emulator_url,
        watch_starting_seconds=15,
        watch_running_seconds=60,
        watch_details_max=10,
        lease_seconds=60,
    )


@pytest.fixture
def life(calm: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(calm) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "watched").id, emulator_url)
        Emulator(emulator_url).reset()


@pytest.fixture
def azure(emulator_url: str) -> Emulator:
    return Emulator(emulator_url)


class Asked:
    """The requests since it was made, by operation."""

    def __init__(self, azure: Emulator) -> None:
        self._azure = azure
        self._before = len(self._log())

    def _log(self) -> list[str]:
        log = self._azure._http.get("/requests").raise_for_status().json()
        return [entry["operation"] for entry in log if entry["operation"].startswith("jobs.")]

    def counted(self) -> Counter[str]:
        return Counter(self._log()[self._before :])


# --- what a round costs ----------------------------------------------------------------------------------------


def test_a_change_among_many_jobs_is_found_with_three_pages_and_one_look(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, MANY)
    fleet.watch()
    before = {job.id: (job.fence, job.updated_at, job.remote_seen_at) for job in fleet.rows()}
    changed = fleet.remote_ids[17]
    azure.post("/portal", {"action": "cancel_job", "id": changed})
    asked = Asked(azure)

    fleet.watch()
    fleet.advance(changed)

    counted = asked.counted()
    assert counted["jobs.list"] == 3
    assert counted["jobs.get"] == 1
    assert counted["jobs.events"] == 10 + 1  # of the ten that were longest unread, and of the one that ended
    assert fleet.row(changed).status == JobStatus.CANCELLED
    for job in fleet.rows():
        if job.remote_id != changed:
            fence, updated_at, seen_at = before[job.id]
            assert (job.status, job.fence, job.updated_at) == (JobStatus.RUNNING, fence, updated_at)
            assert job.remote_seen_at is not None
            assert seen_at is not None
            assert job.remote_seen_at > seen_at


def test_a_job_that_moved_is_taken_in_from_the_page_without_a_call_of_its_own(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, 120, status="queued")
    asked = Asked(azure)

    fleet.watch()

    assert {job.status for job in fleet.rows()} == {JobStatus.RUNNING}
    assert all(job.started_at and job.remote and job.remote_mark for job in fleet.rows())
    assert asked.counted() == {"jobs.list": 2, "jobs.events": 10}


def test_a_round_ends_with_the_page_that_shows_the_last_job_that_is_due(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, MANY)
    fleet.watch()
    asked = Asked(azure)

    fleet.watch(due=fleet.remote_ids[-20:])  # the newest stand first in Azure's list

    assert asked.counted()["jobs.list"] == 1


def test_a_round_that_was_brought_forward_reads_the_first_page_though_nothing_is_due(
    life: Life, azure: Emulator
) -> None:
    fleet = Fleet.plant(life, 120)
    fleet.watch()
    newest = fleet.remote_ids[-1]
    azure.post("/portal", {"action": "cancel_job", "id": newest})
    with life.bench.begin() as work:
        ConnectionService.watch_in(work, fleet.connection_id, 0)
    asked = Asked(azure)

    fleet.go_on()
    fleet.advance(newest)

    assert asked.counted()["jobs.list"] == 1
    assert fleet.row(newest).status == JobStatus.CANCELLED


def test_the_next_round_comes_when_the_most_impatient_job_is_due(life: Life) -> None:
    running, queued = Fleet.plant(life, 3), Fleet.plant(life, 3, name="second")
    running.watch()
    assert 50 < running.seconds_to_next() <= 60
    with life.bench.begin() as work:
        work.session.connection().exec_driver_sql("UPDATE jobs SET created_at = created_at - interval '7 hours'")
    running.watch()
    assert 260 < running.seconds_to_next() <= 300
    assert queued.seconds_to_next() <= 0  # nobody looked at it yet


def test_nobody_watches_a_connection_without_jobs_in_flight(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, 1)
    azure.post("/portal", {"action": "cancel_job", "id": fleet.remote_ids[0]})
    fleet.watch()
    fleet.advance(fleet.remote_ids[0])
    asked = Asked(azure)

    fleet.go_on()

    assert not asked.counted()
    assert fleet.connection().next_check_at is None


# --- the events of running jobs --------------------------------------------------------------------------------


def test_events_are_read_of_so_many_jobs_a_round_and_of_each_job_in_turn(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, 30)
    read: list[str] = []
    for _ in range(3):
        with life.bench.begin() as work:  # due again by the list, while whose events were read stays as it is
            work.session.connection().exec_driver_sql(
                "UPDATE jobs SET remote_seen_at = now() - interval '1 hour',"
                " events_read_at = events_read_at - interval '2 minutes'"
            )
        fleet.go_on()
        entries = azure.requests("jobs.events")[len(read) :]
        assert len(entries) == 10
        read += [found[0] for entry in entries if (found := re.findall(r"ftjob-\w+", str(entry["path"])))]
    assert sorted(read) == sorted(fleet.remote_ids)


def test_of_few_jobs_the_events_of_each_are_read_in_every_round(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, 7)
    for _ in range(2):
        fleet.watch()
    assert len(azure.requests("jobs.events")) == 14
    with life.bench.read() as session:
        kept = session.connection().exec_driver_sql("SELECT count(*) FROM job_events").scalar()
    assert kept == 14  # two lines each, and none of them twice


def test_a_job_whose_events_cannot_be_read_keeps_nobody_else_waiting(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, 4)
    ill = fleet.remote_ids[0]
    azure.faults({"match": {"operation": "jobs.events", "path": ill}, "do": {"status": 500}})

    fleet.watch()

    with life.bench.read() as session:
        told = session.connection().exec_driver_sql("SELECT DISTINCT job_id FROM job_events").scalars().all()
    assert set(told) == {job.id for job in fleet.rows() if job.remote_id != ill}
    assert fleet.connection().last_error is None


# --- a list that is not as it should be ------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [30, -30])
def test_pages_that_shift_lose_no_job(life: Life, azure: Emulator, shift: int) -> None:
    """Shown twice is seen once; a job that no page showed is asked for by its id before anything is believed."""
    fleet = Fleet.plant(life, MANY)
    fleet.watch()
    azure.faults({"match": {"operation": "jobs.list"}, "do": {"page_shift": shift}})
    asked = Asked(azure)

    fleet.watch()

    rows = fleet.rows()
    assert {job.status for job in rows} == {JobStatus.RUNNING}
    assert not any(job.missing_since or job.parked_reason for job in rows)
    woken = [job for job in rows if job.next_check_at and job.remote_seen_at and not _is_fresh(fleet, job.id)]
    assert len(woken) == (0 if shift > 0 else 30 + 20)
    due = [job for job in woken if _is_due(fleet, job.id)]
    assert len(due) == (0 if shift > 0 else 10)  # no more than `watch_details_max` at a time
    for job in due:
        assert job.remote_id is not None
        fleet.advance(job.remote_id)
        assert fleet.row(job.remote_id).missing_since is None
    assert asked.counted()["jobs.get"] == len(due)


def _is_fresh(fleet: Fleet, job_id: str) -> bool:
    with fleet.life.bench.read() as session:
        found = session.connection().exec_driver_sql(
            "SELECT remote_seen_at > now() - interval '30 minutes' FROM jobs WHERE id = %s", (job_id,)
        )
        return bool(found.scalar())


def _is_due(fleet: Fleet, job_id: str) -> bool:
    with fleet.life.bench.read() as session:
        found = session.connection().exec_driver_sql(
            "SELECT next_check_at <= clock_timestamp() FROM jobs WHERE id = %s", (job_id,)
        )
        return bool(found.scalar())


def test_a_job_that_is_gone_is_believed_gone_only_after_a_second_look(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, 3)
    fleet.watch()
    gone = fleet.remote_ids[1]
    azure.post("/portal", {"action": "cancel_job", "id": gone})
    azure.post("/portal", {"action": "delete_job", "id": gone})

    fleet.watch()
    fleet.advance(gone)
    fleet.watch()
    fleet.advance(gone)

    job = fleet.row(gone)
    assert job.status == JobStatus.RUNNING
    assert job.missing_since is not None
    with life.bench.begin() as work:
        work.session.connection().exec_driver_sql("UPDATE jobs SET missing_since = missing_since - interval '61 s'")
    fleet.advance(gone)
    assert fleet.row(gone).status == JobStatus.FAILED
    assert (fleet.row(gone).error or {})["code"] == "removed_at_azure"


def test_a_word_never_seen_before_is_kept_and_told_once(
    life: Life, azure: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet.plant(life, 2)
    fleet.watch()
    azure.faults({"match": {"operation": "jobs.list"}, "do": {"change": {"data.*.status": "levitating"}}})

    for _ in range(3):
        fleet.watch()

    assert {job.status for job in fleet.rows()} == {JobStatus.RUNNING}
    assert {job.remote_status for job in fleet.rows()} == {"levitating"}
    told = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    warned = [entry["id"] for entry in told if entry["event"] == "job.unknown_remote_status"]
    assert sorted(warned) == sorted(job.id for job in fleet.rows())


# --- an Azure that does not answer -----------------------------------------------------------------------------


def test_a_page_that_fails_on_the_way_keeps_what_was_seen_and_the_next_round_goes_on_there(
    life: Life, azure: Emulator
) -> None:
    fleet = Fleet.plant(life, MANY)
    fleet.watch()
    azure.faults({"match": {"operation": "jobs.list"}, "when": {"after_n": 1}, "do": {"status": 500}})
    fleet.watch()
    broken = fleet.connection()
    seen = sum(_is_fresh(fleet, job.id) for job in fleet.rows())
    assert seen == 100
    assert broken.watch_after == fleet.remote_ids[-100]
    assert (broken.parked_reason, broken.fail_count) == (None, 0)
    assert fleet.seconds_to_next() < 5
    azure.faults()
    asked = Asked(azure)

    fleet.go_on()

    assert asked.counted()["jobs.list"] == 2
    assert all(_is_fresh(fleet, job.id) for job in fleet.rows())
    assert fleet.connection().watch_after is None


def test_a_place_that_azure_does_not_know_any_more_is_forgotten(life: Life) -> None:
    fleet = Fleet.plant(life, 120)
    fleet.watch()
    with life.bench.begin() as work:
        work.session.connection().exec_driver_sql("UPDATE connections SET watch_after = 'ftjob-deleted'")

    fleet.watch()
    assert fleet.connection().watch_after is None
    fleet.watch()

    assert all(_is_fresh(fleet, job.id) for job in fleet.rows())


def test_retry_after_is_kept_to_and_the_gate_spares_azure_the_next_round(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, 3)
    azure.strike("jobs.list", status=429, headers={"Retry-After": "40"})

    fleet.watch()
    assert fleet.seconds_to_next() >= 39
    asked = Asked(azure)
    fleet.watch()

    assert not asked.counted()
    assert fleet.connection().parked_reason is None


def test_a_watch_is_never_parked_because_azure_is_away(life: Life, azure: Emulator) -> None:
    fleet = Fleet.plant(life, 3)
    azure.faults({"match": {"operation": "jobs.list"}, "do": {"status": 500}})
    for _ in range(12):
        with life.bench.begin() as work:
            work.session.connection().exec_driver_sql("UPDATE connections SET reads_closed_until = NULL")
        fleet.watch()
    assert fleet.connection().parked_reason is None
    assert fleet.connection().last_error is not None
    assert {job.parked_reason for job in fleet.rows()} == {None}


def test_a_refused_credential_parks_no_watch_and_a_new_one_brings_the_look_forward(
    life: Life, azure: Emulator
) -> None:
    fleet = Fleet.plant(life, 3)
    azure.faults({"match": {"operation": "jobs.list"}, "do": {"status": 401}})
    fleet.watch()
    assert fleet.connection().parked_reason is None
    assert fleet.seconds_to_next() > 100

    azure.faults()
    new = ConnectionPatch(api_key="a-new-key")
    ConnectionService(life.bench).change(life.caller.project_id, fleet.connection_id, new)
    assert fleet.seconds_to_next() <= 0
    fleet.go_on()

    assert all(_is_fresh(fleet, job.id) for job in fleet.rows())
    assert fleet.connection().last_error is None


def test_news_takes_up_a_watch_that_was_parked(life: Life) -> None:
    fleet = Fleet.plant(life, 3)
    with life.bench.begin() as work:
        work.session.connection().exec_driver_sql(
            "UPDATE connections SET parked_reason = 'crashed', fail_count = 9, failing_since = now()"
        )
    fleet.watch()
    assert not any(job.remote_mark for job in fleet.rows())

    with life.bench.begin() as work:
        ConnectionService.watch_in(work, fleet.connection_id, 0)
    fleet.go_on()

    assert all(job.remote_mark for job in fleet.rows())


def test_a_job_that_cannot_ask_for_itself_leaves_it_to_the_watch(life: Life, azure: Emulator) -> None:
    """After an outage a thousand jobs would else ask again and again, and wait for a person each."""
    fleet = Fleet.plant(life, 1)
    azure.faults({"match": {"operation": "jobs.get"}, "do": {"status": 500}})
    for _ in range(12):
        with life.bench.begin() as work:
            work.session.connection().exec_driver_sql("UPDATE jobs SET next_check_at = now()")
        fleet.advance(fleet.remote_ids[0])

    job = fleet.row(fleet.remote_ids[0])
    assert (job.parked_reason, job.fail_count, job.status) == (None, 0, JobStatus.RUNNING)
    assert len(azure.requests("jobs.get")) < 12  # the circuit spares Azure the rest
    with life.bench.read() as session:
        left = session.connection().exec_driver_sql("SELECT extract(epoch FROM next_check_at - now()) FROM jobs")
        assert 6 * 60 * 0.85 < float(left.scalar() or 0) < 6 * 60 * 1.15


def test_a_dead_azure_delays_no_other_connection(calm: Settings, emulator_url: str, azure: Emulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = calm.model_copy(
            update={
                "allowed_origins": frozenset({emulator_url, silent_url}),
                "request_timeout_seconds": 20.0,
            }
        )
        azure.reset()
        with open_workbench(settings) as bench:
            life = Life.begin(bench, make_project(bench, "three").id, emulator_url)
            fleets = [Fleet.plant(life, 20, name=name) for name in ("first", "second", "third")]
            dead = ConnectionService(bench).create(
                life.caller.project_id,
                ConnectionCreate(name="dead", endpoint=silent_url, auth="api_key", api_key="k"),
            )
            with bench.begin() as work:
                work.session.connection().exec_driver_sql(
                    "UPDATE jobs SET connection_id = %s WHERE connection_id = %s",
                    (dead.id, fleets[2].connection_id),
                )
                ConnectionService.watch_in(work, dead.id, 0)
                work.session.connection().exec_driver_sql(
                    "UPDATE connections SET next_check_at = now() WHERE id = %s", (dead.id,)
                )
            fleets[2].connection_id = dead.id
            hanging = threading.Thread(target=fleets[2].watch)
            hanging.start()
            accepted, _ = silent.accept()  # it asks, and nobody will answer
            for fleet in fleets[:2]:
                fleet.watch()
                assert all(_is_fresh(fleet, job.id) for job in fleet.rows())
            assert hanging.is_alive()
            accepted.close()
            hanging.join(30)
            assert not hanging.is_alive()
            assert fleets[2].connection().last_error is not None
            assert fleets[2].connection().parked_reason is None
            assert {job.status for job in fleets[2].rows()} == {JobStatus.RUNNING}
