"""What training on a version may cost: over HTTP, and held against the bill of the emulated Azure."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from lives import Emulator, Life, quick
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService
from app.jobs.states import JOB_LAW
from app.settings import Settings
from app.workbench import Workbench

INSTRUCTION = "You sort complaints of a bank's customers. Answer with one word: card, loan, fee, fraud or transfer."
URL = "/v1/datasets/complaints/versions/1/estimate"


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


def complaints(count: int) -> bytes:
    rows = [
        {
            "messages": [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": f"On day {number} somebody took {number * 7} euros from my account."},
                {"role": "assistant", "content": "fraud"},
            ]
        }
        for number in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def estimated(client: TestClient, **wanted: Any) -> dict[str, Any]:
    answer = client.post(URL, json=wanted)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_an_estimate_offers_every_model_with_prices_and_counts_what_the_rows_repeat(
    life: Life, client: TestClient
) -> None:
    version = life.dataset("complaints", complaints(40))
    life.dataset("held-out", complaints(12))
    found = estimated(client, validation="held-out", calls_per_month=1_000_000, instead_of="gpt-4.1")
    assert (found["subject"], found["method"], found["examples"]) == ("complaints@1", "supervised", 40)
    assert found["tokens"] == version.tokens
    assert found["epochs"]["expected"] == 3
    assert found["billed_tokens"]["expected"] == 3 * found["tokens"]
    amounts = [Decimal(item["cost"]["expected_usd"]) for item in found["offers"] if item["cost"]]
    assert len(amounts) >= 12
    assert amounts == sorted(amounts)
    assert all(item["price"]["source"] for item in found["offers"] if item["price"])
    assert found["repeated_prompt"]["rows"] == found["repeated_prompt"]["rows_measured"] == 40
    assert found["repeated_prompt"]["tokens"] > 20
    assert found["repeated_prompt"]["beginning"] == INSTRUCTION[:200]
    assert "12 examples" in found["validation"]
    mini = next(item for item in found["worth"] if item["model"].startswith("gpt-4.1-mini"))
    assert mini["instead_of"] == "gpt-4.1-2025-04-14"
    assert Decimal(mini["tuned_month_usd"]) > Decimal(mini["hosting_month_usd"]) == 1224


@pytest.mark.parametrize(
    ("wanted", "pointer", "code"),
    [
        ({"model": "gpt-99"}, "/model", "unknown_model"),
        ({"model": "o4-mini"}, "/model", "method_not_supported"),
        ({"instead_of": "gpt-99"}, "/instead_of", "unknown_model"),
        ({"training_hours": "NaN"}, "/training_hours", None),
        ({"training_type": "Spot"}, "/training_type", None),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_at_its_member(
    wanted: dict[str, Any], pointer: str, code: str | None, life: Life, client: TestClient
) -> None:
    life.dataset("complaints", complaints(12))
    refused = client.post(URL, json=wanted)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer
    assert code is None or refused.json()["code"] == code


def test_reinforcement_is_estimated_by_the_hour_with_its_grader(life: Life, client: TestClient) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{n} + {n}?"}], "answer": n + n} for n in range(12)]
    life.dataset("complaints", "\n".join(map(json.dumps, rows)).encode(), method="reinforcement")
    grader = {"model": "o3-mini", "input_tokens_per_call": 5000, "output_tokens_per_call": 4900, "calls": 1000}
    found = estimated(client, training_hours="4", grader=grader, training_type="Standard", model="o4-mini")
    assert found["offers"][0]["cost"]["expected_usd"] == "400.0000"
    assert found["grader"]["cost"]["expected_usd"] == "27.0600"


def test_a_version_that_is_still_being_checked_has_no_estimate_yet(life: Life, client: TestClient) -> None:
    life.dataset_unchecked("complaints", lines=12)
    refused = client.post(URL, json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "still_checking")


def test_what_the_emulated_azure_bills_lies_within_the_estimate_and_is_it_where_epochs_are_chosen(
    life: Life, client: TestClient, azure: Emulator
) -> None:
    """Three sizes, three ways of training, epochs chosen and left to Azure, all priced as Azure's bill prices them."""
    jobs = JobService(life.bench)
    trained: dict[str, dict[str, Any]] = {}
    for size, training_type, epochs in (
        (12, "GlobalStandard", 2),
        (40, "Standard", 1),
        (25, "developerTier", None),
    ):
        name = f"complaints-{size}"
        life.dataset(name, complaints(size))
        wanted = {"model": "gpt-4.1-mini", "training_type": training_type}
        chosen = {} if epochs is None else {"n_epochs": epochs}
        answer = client.post(f"/v1/datasets/{name}/versions/1/estimate", json=wanted | chosen).json()
        new = JobCreate(connection="emulator", training=f"{name}@1", hyperparameters=chosen, **wanted)
        planned = jobs.plan(life.caller, new).estimate
        assert planned is not None
        assert f"{planned.high_usd:.4f}" == answer["offers"][0]["cost"]["high_usd"], "plan and estimate are one"
        trained[jobs.create(life.caller, new)] = answer

    for job_id, answer in trained.items():
        job = life.drive(job_id, until_status=set(JOB_LAW.terminal))
        assert job.status == "succeeded", job.error
        line = next(line for line in azure.bill()["jobs"] if line["id"] == job.remote_id)
        cost, tokens = answer["offers"][0]["cost"], answer["billed_tokens"]
        billed = Decimal(line["usd"])
        assert Decimal(cost["low_usd"]) - Decimal("0.0001") < billed <= Decimal(cost["high_usd"])
        assert tokens["low"] <= line["trained_tokens"] <= tokens["high"]
        assert line["trained_tokens"] == tokens["expected"]
        assert Decimal(cost["expected_usd"]) - billed < Decimal("0.0001"), "rounded up to a hundredth of a cent"
