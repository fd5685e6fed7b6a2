"""Every invariant holds in a house with one of everything, and names what breaks it."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from furnished import House, furnished
from invariants_hold import assert_invariants
from servers import Postgres
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.upkeep.invariants import INVARIANTS, check_invariants, check_now_and_then
from app.upkeep.remote_invariants import RemoteView, SeenDeployment, SeenJob, check_against_remote


@pytest.fixture(scope="module")
def house(postgres: Postgres, emulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with furnished(postgres, emulator_url, tmp_path_factory.mktemp("house") / "data") as built:
        with built.bench.begin() as work:  # it has a stray, too; somebody has looked at it
            work.session.execute(text("UPDATE strays SET status = 'ignored'"))
        yield built


def test_a_house_with_one_of_everything_keeps_every_invariant(house: House, emulator_url: str) -> None:
    assert_invariants(house.bench, emulator_url)


A_STRAY: Final = """
    INSERT INTO strays (id, project_id, connection_id, resource, kind, remote_id, op_key, owner_id, tags, remote,
                        remote_status, status, note)
    SELECT 'str_1', project_id, connection_id, 'there', 'job', 'ftjob-other', id, id, '{}', '{}', 'running', 'open', ''
    FROM jobs
"""
"""A job at Azure with the mark of one that is known under another id."""
NEW_LINE: Final = """
    INSERT INTO ledger (id, project_id, key_id, subject_id, category, kind, amount_usd, note)
    SELECT 'led_zzz' || random(), project_id, key_id, id, 'training', '{kind}', {amount}, 'planted' FROM {table}
"""
RESERVED: Final = NEW_LINE.format(kind="reserve", amount=5, table="jobs")
CAPPED: Final = """
    INSERT INTO budgets (project_id, {cap}, updated_at) SELECT project_id, 4, now() - interval '1 hour' FROM jobs
    ON CONFLICT (project_id) DO UPDATE SET {cap} = 4, updated_at = excluded.updated_at
"""
TOLD: Final = """
    INSERT INTO events (id, project_id, type, subject_id, data, created_at)
    SELECT 'evt_1', project_id, '{type}', id, '{data}', now() - interval '{age}' FROM jobs
"""
RUNNING: Final = "UPDATE jobs SET status = 'running'"
PRICED: Final = """UPDATE jobs SET plan = jsonb_set(plan, '{estimate}', '{"high_usd": "3"}')"""
KEYED: Final = "UPDATE jobs SET key_id = (SELECT id FROM api_keys WHERE project_id IS NOT NULL ORDER BY id LIMIT 1)"
CLEANED: Final = "INSERT INTO janitors (id, cleaned_at) VALUES ('janitor', now() - interval '2 days')"
OVER: Final = "UPDATE deployments SET expires_at = now() - interval '16 minutes'"
LEASED: Final = "UPDATE deployments SET lease_owner = 'w', lease_until = now() + interval '1 day'"
LASTING: Final = "UPDATE deployments SET status = 'warming', status_changed_at = now() - interval '25 hours'"

BREAKS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("care_goes_on", "nobody will look at it again", ("UPDATE deployments SET next_check_at = NULL",)),
    ("care_goes_on", "nobody will look at it again", (RUNNING,)),
    ("care_goes_on", "nobody watches", (RUNNING, "UPDATE jobs SET next_check_at = now()")),
    ("care_goes_on", "nobody will look at it again", ("UPDATE comparisons SET status = 'running'",)),
    ("care_goes_on", "nobody will look at it again", ("UPDATE dataset_versions SET status = 'checking'",)),
    ("care_goes_on", "not before", ("UPDATE deployments SET next_check_at = now() + interval '9 days'",)),
    ("leases_end", "lease of w", (LEASED,)),
    ("states_end", "warming since", (LASTING,)),
    ("sends_are_whole", "remote_id none", ("UPDATE jobs SET remote_id = NULL",)),
    (
        "sends_are_whole",
        "sent_at none",
        ("UPDATE jobs SET status = 'submitting', send_state = 'sent', sent_at = NULL",),
    ),
    ("sends_are_whole", "send_state idle", ("UPDATE jobs SET send_state = 'idle'",)),
    ("one_job_at_azure", "a second job ftjob-other", (A_STRAY,)),
    ("strays_are_decided", "ftjob-other (running)", (A_STRAY,)),
    ("ledger_fits", "settled, and a reservation is still open", (RESERVED,)),
    (
        "ledger_fits",
        "finished, and a reservation is still open",
        ("DELETE FROM ledger", RESERVED),
    ),
    ("ledger_fits", "more was released", (NEW_LINE.format(kind="release", amount=5, table="jobs"),)),
    ("ledger_fits", "settled more than once", (NEW_LINE.format(kind="settle", amount=5, table="jobs"),)),
    ("ledger_fits", "settled, and not finished", (RUNNING,)),
    (
        "ledger_fits",
        "its reservation was given back",
        (
            RUNNING,
            "DELETE FROM ledger",
            RESERVED,
            NEW_LINE.format(kind="release", amount=5, table="jobs"),
        ),
    ),
    ("ledger_fits", "has a price and no reservation", (RUNNING, "DELETE FROM ledger", PRICED)),
    ("caps_hold", "of the month's", (CAPPED.format(cap="month_cap_usd"), RUNNING, RESERVED)),
    ("caps_hold", "of the day's", (CAPPED.format(cap="day_cap_usd"), RUNNING, RESERVED)),
    ("caps_hold", "one thing may cost", (CAPPED.format(cap="job_cap_usd"), RESERVED)),
    ("caps_hold", "the key may spend", (KEYED, RUNNING, "UPDATE api_keys SET spend_cap_usd = 4", RESERVED)),
    ("deployments_end", "its end was", (OVER,)),
    ("histories_are_lawful", "the row is failed", ("UPDATE jobs SET status = 'failed'",)),
    (
        "histories_are_lawful",
        "succeeded -> queued",
        (TOLD.format(type="job.queued", data="{}", age="1 second"),),
    ),
    ("histories_are_lawful", "creating -> ready", ("DELETE FROM events WHERE type = 'deployment.warming'",)),
    ("histories_are_lawful", "the row is gone", ("DELETE FROM deployments",)),
    ("events_are_read", "behind a transaction", (TOLD.format(type="job.progress", data="{}", age="6 minutes"),)),
    (
        "events_are_read",
        "stands before evt_",
        (
            "UPDATE event_cursors SET transaction = 0, seq = 0",
            "UPDATE events SET created_at = now() - interval '6 minutes'",
        ),
    ),
    ("leftovers_go", "last cleaned", (CLEANED,)),
)
FIND: Final = {invariant.name: invariant.find for invariant in INVARIANTS}


def _broken(session: Session, house: House, name: str) -> list[str]:
    return [f"{violation.subject_id}: {violation.detail}" for violation in FIND[name](session, house.bench.policy)]


@pytest.mark.parametrize(("name", "said", "plant"), BREAKS, ids=[f"{row[0]}-{n}" for n, row in enumerate(BREAKS)])
def test_what_breaks_an_invariant_is_named(house: House, name: str, said: str, plant: tuple[str, ...]) -> None:
    with house.bench.sessions() as session:
        assert _broken(session, house, name) == []
        for statement in plant:
            session.execute(text(statement))
        assert any(said in line for line in _broken(session, house, name)), _broken(session, house, name)
        session.rollback()


def test_a_transaction_that_waits_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.upkeep.invariant_queries.IDLE_SECONDS", 0.0)
    with house.bench.sessions() as idle, house.bench.read() as session:
        idle.execute(text("SELECT 'I wait'"))
        assert any("I wait" in line for line in _broken(session, house, "transactions_end"))
        idle.rollback()


def test_every_invariant_has_something_that_breaks_it() -> None:
    assert {row[0] for row in BREAKS} | {"transactions_end"} == set(FIND)


# ── against Azure's own view ────────────────────────────────────────────────


def _against(house: House, view: RemoteView) -> set[str]:
    return {
        f"{finding.invariant.name}: {violation.detail}"
        for finding in check_against_remote(house.bench, view)
        for violation in finding.violations
    }


def _seen(house: House) -> tuple[SeenJob, SeenDeployment]:
    with house.bench.read() as session:
        job = session.execute(text("SELECT remote_id, id FROM jobs")).one()
        made = session.execute(text("SELECT name, id FROM deployments")).one()
    return (
        SeenJob(remote_id=job[0], op_key=job[1], is_live=True),
        SeenDeployment(name=made[0], op_key=made[1], is_there=True),
    )


def test_a_second_live_job_for_one_op_key_is_named(house: House) -> None:
    job, made = _seen(house)
    twin = SeenJob(remote_id="ftjob-twin", op_key=job.op_key, is_live=True)
    assert _against(house, RemoteView(jobs=[job], deployments=[made])) == set()
    assert _against(house, RemoteView(jobs=[job, twin], deployments=[made])) == {
        "one_job_at_azure: 2 live jobs at Azure"
    }


def test_what_azure_has_without_a_row_and_a_row_without_its_thing_are_named(house: House) -> None:
    job, _ = _seen(house)
    unknown = SeenJob(remote_id="ftjob-x", op_key="job_nobody", is_live=True)
    other = SeenDeployment(name="other", op_key="dep_nobody", is_there=True)
    said = "\n".join(sorted(_against(house, RemoteView(jobs=[job, unknown], deployments=[other]))))
    assert "at Azure for job_nobody, which has no row and is no stray" in said
    assert "at Azure for dep_nobody, which has no row and is no stray" in said
    assert "which Azure does not have" in said


def test_a_bill_above_what_the_book_has_is_named(house: House) -> None:
    job, made = _seen(house)
    dear = SeenJob(remote_id=job.remote_id, op_key=job.op_key, is_live=True, trained_tokens=10**12)
    found = _against(house, RemoteView(jobs=[dear], deployments=[made]))
    assert len(found) == 1
    assert "nothing_unpaid: succeeded: Azure charged" in found.pop()


# ── now and then ────────────────────────────────────────────────────────────


def test_two_who_look_at_once_look_once_and_every_process_shows_it(house: House) -> None:
    looked: list[bool] = []
    threads = [
        threading.Thread(target=lambda: looked.append(check_now_and_then(house.bench, every_seconds=60)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(looked) == [False, False, False, True]
    with house.ask(None) as asked:
        shown = asked.get("/metrics").text
    for invariant in INVARIANTS:
        assert f'kitae_invariant_violations{{invariant="{invariant.name}"}} 0.0' in shown
    age = next(
        line for line in shown.splitlines() if line.startswith("kitae_invariants_checked_timestamp_seconds ")
    )
    assert float(age.split()[1]) > 1.7e9


@pytest.mark.usefixtures("house")
def test_each_look_is_a_fraction_of_a_second(house: House) -> None:
    assert all(finding.seconds < 2.0 for finding in check_invariants(house.bench))


def test_a_million_rows_are_not_read(house: House, tmp_path: Path) -> None:
    """No plan of any invariant reads a growing table from end to end."""
    growing = {"jobs", "ledger", "events", "deployments", "dataset_versions", "comparisons"}
    with house.bench.sessions() as session:
        for statement in (
            "CREATE TEMP TABLE plans (line text)",
            "SET LOCAL enable_seqscan = off",
        ):
            session.execute(text(statement))
        spy = _Spy(session)
        for invariant in INVARIANTS:
            invariant.find(spy, house.bench.policy)  # type: ignore[arg-type]  # only `execute` is used
        session.rollback()
    read = [line for line in spy.plans if "Seq Scan" in line]
    assert [line for line in read if any(f" on {table}" in line for table in growing)] == []


class _Spy:
    """A session that explains every statement before it runs it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.plans: list[str] = []

    def execute(self, statement: object, values: dict[str, object]) -> object:
        explained = self._session.execute(text(f"EXPLAIN {statement}"), values)
        self.plans += [f"{str(statement)[:80]}: {row[0]}" for row in explained]
        return self._session.execute(statement, values)  # type: ignore[call-overload]
