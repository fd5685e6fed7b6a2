"""Caps under a rush: whatever many do at the same moment, no cap is passed."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest
from invariants_hold import assert_invariants
from lives import Life, quick
from servers import make_project
from sqlalchemy import text
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.costs.schemas import BudgetPut
from app.costs.service import BudgetExceeded, CostService
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService
from app.kit.errors import Conflict
from app.kit.ids import new_id
from app.settings import Settings

AT_ONCE: Final = 100
ONE: Final = Decimal("1.00")


@pytest.fixture
def life(settings: Settings) -> Iterator[Life]:
    nowhere = "http://127.0.0.1:9"
    with open_workbench(quick(settings, nowhere), pool_size=50) as bench:
        yield Life.begin(bench, make_project(bench, "caps").id, nowhere)


def rush(one: Callable[[int], Any], *, times: int = AT_ONCE, threads: int = AT_ONCE) -> list[str]:
    """Do it many times at once; `done`, or the code of the refusal, of each."""
    start = threading.Barrier(threads)

    def attempt(number: int) -> str:
        if number < threads:
            start.wait(60)
        try:
            one(number)
        except Conflict as refused:
            return refused.code
        return "done"

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(attempt, range(times)))


def a_job(life: Life) -> JobCreate:
    connection = life.connect()
    training, _ = life.example(lines=12)
    return JobCreate(
        connection=connection, model="gpt-4.1-mini", training=training, hyperparameters={"n_epochs": 2}
    )


def cap(life: Life, **caps: Any) -> None:
    CostService(life.bench).set_budget(life.caller.project_id, BudgetPut(**caps))


@pytest.mark.row(47)
@pytest.mark.parametrize("kind", ["month_cap_usd", "day_cap_usd", "spend_cap_usd", "unfinished_jobs_max"])
def test_of_a_hundred_jobs_at_once_exactly_three_are_accepted(kind: str, life: Life) -> None:
    wanted, jobs, caller = a_job(life), JobService(life.bench), life.caller
    price = jobs.plan(caller, wanted).estimate
    assert price is not None
    assert price.high_usd
    bears_three = price.high_usd * Decimal("3.5")
    if kind == "spend_cap_usd":
        caller = replace(caller, spend_cap_usd=bears_three)
    else:
        cap(life, **{kind: 3 if kind == "unfinished_jobs_max" else bears_three})

    answers = rush(lambda _: jobs.create(caller, wanted))

    refusal = {
        "month_cap_usd": "budget_exceeded",
        "day_cap_usd": "day_cap_exceeded",
        "spend_cap_usd": "key_spend_cap_exceeded",
        "unfinished_jobs_max": "too_many_jobs",
    }[kind]
    assert answers.count("done") == 3
    assert answers.count(refusal) == AT_ONCE - 3
    with life.bench.read() as session:
        assert session.scalar(text("SELECT count(*) FROM jobs")) == 3
        assert session.scalar(text("SELECT count(*) FROM ledger")) == 3
    assert_invariants(life.bench)


@pytest.mark.row(47)
def test_of_a_hundred_deployments_at_once_exactly_three_are_accepted(life: Life) -> None:
    connection, deployments = life.connect(), DeploymentService(life.bench)
    cap(life, deployments_max=3)
    answers = rush(
        lambda number: deployments.create(
            life.caller, DeploymentCreate(connection=connection, model="gpt-4.1-mini", name=f"d{number}")
        )
    )
    assert answers.count("done") == 3
    assert answers.count("too_many_deployments") == AT_ONCE - 3
    assert_invariants(life.bench)


@pytest.mark.row(47)
def test_a_stolen_key_spends_at_most_its_cap_in_a_thousand_attempts(life: Life) -> None:
    """Some of what it began ends meanwhile, cheaper or dearer than was reserved for it, or is refused by Azure."""
    thief, costs = replace(life.caller, key_id="key_stolen", spend_cap_usd=Decimal(20)), CostService(life.bench)
    chance = random.Random(20)

    def spend(number: int) -> None:
        subject = new_id("job")
        with life.bench.begin() as work:
            costs.reserve(
                work, thief, subject_id=subject, category="training", amount_usd=ONE, note=f"attempt {number}"
            )
        if chance.random() < 0.5:
            paid = Decimal(chance.choice(["0", "0.4", "0.7", "1"]))
            with life.bench.begin() as work:
                costs.settle(
                    work,
                    project_id=thief.project_id,
                    key_id=thief.key_id,
                    subject_id=subject,
                    category="training",
                    amount_usd=paid,
                    note="ended",
                )

    answers = rush(spend, times=1000, threads=16)

    with life.bench.read() as session:
        spent = session.scalar(
            text(
                "SELECT sum(CASE WHEN kind = 'release' THEN -amount_usd ELSE amount_usd END) "
                "FROM ledger WHERE key_id = 'key_stolen'"
            )
        )
    assert 19 < spent <= 20
    assert answers.count("done") >= 20
    assert answers.count("key_spend_cap_exceeded") == 1000 - answers.count("done")


# ── the day ─────────────────────────────────────────────────────────────────


def reserve(life: Life, subject: str, amount: str) -> None:
    with life.bench.begin() as work:
        CostService(life.bench).reserve(
            work, life.caller, subject_id=subject, category="training", amount_usd=Decimal(amount), note="n"
        )


def settle(life: Life, subject: str, amount: str) -> None:
    with life.bench.begin() as work:
        CostService(life.bench).settle(
            work,
            project_id=life.caller.project_id,
            key_id=life.caller.key_id,
            subject_id=subject,
            category="training",
            amount_usd=Decimal(amount),
            note="n",
        )


def yesterday(life: Life) -> None:
    """As if everything in the book had been written a day ago."""
    with life.bench.begin() as work:
        work.session.execute(text("UPDATE ledger SET created_at = created_at - interval '1 day'"))


def begun(life: Life) -> Decimal:
    return CostService(life.bench).budget(life.caller.project_id).day_used_usd


def test_a_day_counts_what_is_begun_on_it_as_reserved_and_then_as_it_cost(life: Life) -> None:
    reserve(life, "job_1", "4")
    assert begun(life) == 4
    settle(life, "job_1", "1.5")
    assert begun(life) == Decimal("1.5")
    reserve(life, "job_2", "3")
    yesterday(life)
    assert begun(life) == 0
    settle(life, "job_2", "2.5")  # was begun yesterday
    assert begun(life) == 0
    reserve(life, "dep_1", "5")
    yesterday(life)
    reserve(life, "dep_1", "2")  # a longer life for something older
    assert begun(life) == 2
    settle(life, "dep_1", "6")
    assert begun(life) == 2


def test_a_day_that_is_used_up_refuses_and_the_next_one_does_not(life: Life) -> None:
    cap(life, day_cap_usd="5")
    reserve(life, "job_1", "4")
    with pytest.raises(BudgetExceeded) as refused:
        reserve(life, "job_2", "1.01")
    assert refused.value.code == "day_cap_exceeded"
    yesterday(life)
    reserve(life, "job_2", "5")


def test_all_caps_go_in_and_out_over_http(client: TestClient) -> None:
    caps = {
        "month_cap_usd": "500.0000",
        "day_cap_usd": "100.0000",
        "job_cap_usd": "50.0000",
        "deployments_max": 5,
        "unfinished_jobs_max": 10,
    }
    put = client.put("/v1/budgets", json=caps)
    assert put.status_code == 200, put.text
    read = client.get("/v1/budgets").json()
    assert {name: read[name] for name in caps} == caps
    assert (read["month_used_usd"], read["day_used_usd"]) == ("0.0000", "0.0000")
    assert client.put("/v1/budgets", json={}).json()["day_cap_usd"] is None
    assert client.put("/v1/budgets", json={"deployments_max": -1}).status_code == 422
