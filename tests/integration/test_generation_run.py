"""Generations against the emulator: checked, counted, paid from a reservation, resumable, and trained on in the end."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from sqlalchemy import update

from app.access.schemas import ProjectPatch
from app.access.service import AccessService
from app.bootstrap import open_workbench
from app.costs.schemas import BudgetPut
from app.costs.service import BudgetExceeded, CostService
from app.datasets.schemas import DatasetCreate
from app.datasets.service import DatasetService
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.generation.schemas import GenerationCreate, GenerationRead
from app.generation.service import ROUNDS_MAX, GenerationService
from app.generation.steps import GenerationSteps
from app.generation.tables import Generation
from app.kit.clock import utc_now
from app.kit.errors import Conflict, Invalid
from app.kit.pagination import Page
from app.settings import Settings
from app.workbench import Workbench

CALM = {"duplicates": 0, "drifted": 0, "answers": 0, "malformed": 0, "refusals": 0, "cut_off": 0}
KOSAKA = {
    "question": "香坂 義孝の性格について説明してください。",
    "answer": "香坂 義孝は正義感が強く、人の気持ちに寄り添える性格です。素直で明るいが、思い詰めやすい一面もあります。",
}
NAMES = [{"name": "香坂 義孝", "also": ["こうさか よしたか"]}]
WEATHER = {
    "openapi": "3.1.0",
    "info": {"title": "Weather", "version": "1"},
    "paths": {
        "/weather/{city}": {
            "parameters": [{"$ref": "#/components/parameters/City"}],
            "get": {
                "operationId": "getWeather",
                "summary": "Weather of a city",
                "parameters": [
                    {"name": "days", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 7}}
                ],
            },
        }
    },
    "components": {
        "parameters": {"City": {"name": "city", "in": "path", "required": True, "schema": {"type": "string"}}}
    },
}
RETURNS = """# Returns
Goods are taken back for 30 days. Customers pay for the return parcel themselves.

## Exceptions
Opened software is never taken back. Contoso refunds broken goods within 5 days.
"""


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, lease_seconds=5)) as opened:
        yield opened
        assert_invariants(opened)


@pytest.fixture
def writer(life: Life, azure: Emulator) -> str:
    """The name of a deployed base model that generates well."""
    azure.put("/generator", CALM)
    wanted = DeploymentCreate(
        model="gpt-4.1-mini", connection="emulator", name="writer", expires_at=utc_now() + timedelta(hours=1)
    )
    made = DeploymentService(life.bench).create(life.caller, wanted)
    steps = DeploymentSteps(life.bench)

    def look() -> bool | None:
        steps.advance(made.id)
        return DeploymentService(life.bench).get(life.caller.project_id, made.id).status == "ready" or None

    until(look)
    return "writer"


def asked(source: dict[str, Any] | None = None, **fields: Any) -> GenerationCreate:
    paraphrases = {"type": "paraphrases", "pairs": [KOSAKA], "names": NAMES, "phrasings": 12}
    return GenerationCreate.model_validate({"deployment": "writer", "source": source or paraphrases, **fields})


def begin(life: Life, wanted: GenerationCreate, *, name: str = "novel") -> GenerationRead:
    DatasetService(life.bench).create(life.caller.project_id, DatasetCreate(name=name))
    return GenerationService(life.bench).create(life.caller, name, wanted)


def finish(life: Life, generation_id: str) -> GenerationRead:
    steps = GenerationSteps(life.bench)

    def look() -> GenerationRead | None:
        steps.advance(generation_id)
        found = GenerationService(life.bench).get(life.caller.project_id, generation_id)
        return found if found.status != "running" or found.parked_reason else None

    return until(look)


def rows_of(life: Life, made: GenerationRead, **filters: Any) -> list[Any]:
    given: dict[str, Any] = {"kept": None, "reason": None, **filters}
    page = Page(limit=200, descending=False)
    return list(GenerationService(life.bench).rows(life.caller.project_id, made.id, page, **given).rows)


def questions(azure: Emulator) -> int:
    return sum('"ping"' not in entry["body"] for entry in azure.requests("chat"))


def lines_of(life: Life, made: GenerationRead) -> list[dict[str, Any]]:
    """The rows of the version that was made, once it is checked."""
    service = DatasetService(life.bench)
    service.check(made.version or "")
    with service.content(life.caller.project_id, made.version or "") as (_, file):
        return [json.loads(line) for line in file]


def test_a_pair_becomes_ten_phrasings_with_its_answer_and_each_line_knows_its_origin(
    life: Life, azure: Emulator, writer: str
) -> None:
    made = begin(life, asked())
    assert made.status == "running"
    done = finish(life, made.id)
    assert done.status == "succeeded", (done.error, done.last_error)
    assert done.short_of == []
    assert done.rows_kept >= 12
    lines = lines_of(life, done)
    assert len(lines) == done.rows_kept + 1  # and the pair itself
    assert {line["messages"][-1]["content"] for line in lines} == {KOSAKA["answer"]}
    texts = [line["messages"][0]["content"] for line in lines]
    assert len(set(texts)) == len(texts)
    assert all(set(line) == {"messages"} for line in lines)
    version = DatasetService(life.bench).version(life.caller.project_id, done.version or "")
    assert version.status == "ready"
    assert version.lineage["generation"] == done.id
    origins = {row.line: row for row in rows_of(life, done, kept=True)}
    assert sorted(origins) == list(range(1, len(lines) + 1))
    assert [origins[number].text for number in sorted(origins)] == texts
    assert {row.style for row in origins.values()} >= {"formal", "casual", "short-name", "typos", None}
    assert {row.generator for row in origins.values() if row.style} == {"writer"}
    assert {row.prompt_version for row in origins.values() if row.style} == {"paraphrases-1"}


def test_what_is_bad_is_left_out_counted_with_its_reason_and_asked_for_again(
    life: Life, azure: Emulator, writer: str
) -> None:
    azure.put("/generator", {**CALM, "duplicates": 0.3, "drifted": 0.3, "answers": 0.2})
    done = finish(life, begin(life, asked(concurrency=1)).id)
    assert done.status == "succeeded"
    assert {"duplicate", "is-answer"} <= set(done.rows_filtered)
    assert {"name-changed", "name-missing", "number-changed"} & set(done.rows_filtered)
    out = rows_of(life, done, kept=False)
    assert len(out) == sum(done.rows_filtered.values())
    assert all(row.reason and row.meaning and row.line is None for row in out)
    assert rows_of(life, done, reason="duplicate") == [row for row in out if row.reason == "duplicate"]
    for line in lines_of(life, done):
        asked_for = line["messages"][0]["content"]
        assert "香坂" in asked_for or "義孝" in asked_for or "こうさか" in asked_for or "よしたか" in asked_for
        assert "明" not in asked_for.replace("説明", "")


def test_broken_refused_and_cut_off_answers_cost_what_they_cost_and_spoil_nothing(
    life: Life, azure: Emulator, writer: str
) -> None:
    azure.put("/generator", {**CALM, "malformed": 0.3, "refusals": 0.2, "cut_off": 0.3})
    done = finish(life, begin(life, asked(concurrency=1)).id)
    assert done.status == "succeeded"
    assert {"malformed", "refusal", "cut-off"} & set(done.rows_filtered)
    assert done.requests > 8  # what was lost was asked for again
    assert len(lines_of(life, done)) == done.rows_kept + 1


def test_the_highest_cost_is_reserved_and_what_azure_charged_is_settled(
    life: Life, azure: Emulator, writer: str
) -> None:
    wanted = asked(max_cost_usd="0.5")
    made = begin(life, wanted)
    estimate = GenerationService(life.bench).estimate(life.caller, "novel", wanted)
    assert made.reserved_usd == estimate.high_usd
    costs = CostService(life.bench)
    assert costs.budget(life.caller.project_id).month_used_usd == made.reserved_usd
    done = finish(life, made.id)
    assert done.cost_usd is not None
    assert 0 < done.cost_usd < made.reserved_usd
    assert costs.budget(life.caller.project_id).month_used_usd == done.cost_usd
    (billed,) = httpx2.get(f"{azure.url}/_emulator/billing").json()["deployments"]
    assert done.prompt_tokens + 10 >= billed["prompt_tokens"] >= done.prompt_tokens  # and the probe
    spent = costs.summary(
        life.caller.project_id, group_by="category", since=None, until=None, running_usd=Decimal(0)
    )
    assert {group.group: group.settled_usd for group in spent.data}["generation"] == done.cost_usd


def test_a_generation_that_may_cost_more_than_was_allowed_is_refused(life: Life, writer: str) -> None:
    with pytest.raises(Invalid, match="may cost"):
        begin(life, asked(max_cost_usd="0.0001"))
    CostService(life.bench).set_budget(life.caller.project_id, BudgetPut(job_cap_usd=Decimal("0.001")))
    with pytest.raises(BudgetExceeded):
        begin(life, asked(), name="second")
    assert GenerationService(life.bench).page(life.caller.project_id, Page(), dataset=None, status=None).rows == []


def test_a_generator_that_is_throttled_is_waited_for_and_asked_nothing_twice(
    life: Life, azure: Emulator, writer: str
) -> None:
    before = questions(azure)
    azure.strike("chat", times=3, status=429, headers={"Retry-After": "0"})
    done = finish(life, begin(life, asked(concurrency=2)).id)
    assert done.status == "succeeded"
    assert questions(azure) - before == done.requests + 3
    assert done.lost_usd == 0


def test_an_answer_that_is_lost_is_asked_for_again_and_counted_at_its_highest_cost(
    life: Life, azure: Emulator, writer: str
) -> None:
    azure.strike("chat", times=1, drop_after=True)
    done = finish(life, begin(life, asked(concurrency=1)).id)
    assert done.status == "succeeded"
    assert done.lost_usd > 0
    assert done.cost_usd == done.spent_usd + done.lost_usd
    assert (done.cost_usd or 0) < done.reserved_usd


def test_a_credential_that_is_refused_parks_it_and_retry_goes_on(life: Life, azure: Emulator, writer: str) -> None:
    made = begin(life, asked(concurrency=1))
    azure.strike("chat", times=1, status=401, code="401", message="Access denied due to invalid subscription key.")
    parked = finish(life, made.id)
    assert parked.parked_reason == "auth"
    service = GenerationService(life.bench)
    service.retry(life.caller.project_id, made.id)
    with pytest.raises(Conflict):
        service.retry(life.caller.project_id, made.id)
    assert finish(life, made.id).status == "succeeded"


def test_a_cancelled_generation_asks_nothing_more_and_gives_its_money_back(
    life: Life, azure: Emulator, writer: str
) -> None:
    made = begin(life, asked())
    service = GenerationService(life.bench)
    service.cancel(life.caller.project_id, made.id)
    service.cancel(life.caller.project_id, made.id)
    before = questions(azure)
    done = finish(life, made.id)
    assert (done.status, done.version, done.cost_usd) == ("cancelled", None, Decimal(0))
    assert questions(azure) == before
    assert CostService(life.bench).budget(life.caller.project_id).month_used_usd == 0


@pytest.mark.parametrize("stop", ["cancel", "pause"])
def test_in_the_middle_of_a_step_nothing_more_is_asked_once_somebody_says_stop(
    life: Life, azure: Emulator, writer: str, stop: str
) -> None:
    made = begin(life, asked(concurrency=1))
    before = questions(azure)
    azure.strike("chat", times=20, delay_seconds=1)
    with ThreadPoolExecutor(1) as pool:
        step = pool.submit(GenerationSteps(life.bench).advance, made.id)
        until(lambda: questions(azure) > before or None)
        if stop == "cancel":
            GenerationService(life.bench).cancel(life.caller.project_id, made.id)
        else:
            AccessService(life.bench).patch_project(life.caller, life.caller.project_id, ProjectPatch(paused=True))
        step.result()
    assert questions(azure) - before <= 2
    seen = GenerationService(life.bench).get(life.caller.project_id, made.id)
    assert (seen.status, seen.error) == ("cancelled" if stop == "cancel" else "running", None)


def test_money_that_bears_no_whole_step_at_its_highest_cost_bears_one_request_after_the_other(
    life: Life, azure: Emulator, writer: str
) -> None:
    made = begin(life, asked(concurrency=2))
    most = made.reserved_usd / (ROUNDS_MAX * made.requests)
    with life.bench.begin() as work:
        work.session.execute(update(Generation).where(Generation.id == made.id).values(reserved_usd=most * 2))
    done = finish(life, made.id)
    assert (done.status, done.error) == ("succeeded", None)
    assert (done.cost_usd or 0) <= done.reserved_usd


def test_conversations_call_operations_with_arguments_that_fit_their_schema(
    life: Life, azure: Emulator, writer: str
) -> None:
    azure.put("/generator", {**CALM, "drifted": 0.3})
    source = {"type": "tool_use", "openapi": WEATHER, "conversations": 10, "system": "You know the weather."}
    done = finish(life, begin(life, asked(source)).id)
    assert done.status == "succeeded"
    assert done.rows_filtered.get("arguments-invalid", 0) > 0
    lines = lines_of(life, done)
    assert len(lines) >= 10
    for line in lines:
        assert [message["role"] for message in line["messages"]] == [
            "system",
            "user",
            "assistant",
            "tool",
            "assistant",
        ]
        call = line["messages"][2]["tool_calls"][0]
        assert call["function"]["name"] == line["tools"][0]["function"]["name"] == "getWeather"
        arguments = json.loads(call["function"]["arguments"])
        assert set(arguments) <= {"city", "days"}
        assert arguments["city"] in line["messages"][1]["content"]
        assert line["messages"][3]["tool_call_id"] == call["id"]
    version = DatasetService(life.bench).version(life.caller.project_id, done.version or "")
    assert version.status == "ready", version.report


def test_questions_about_documents_name_their_chunk_and_say_nothing_else(
    life: Life, azure: Emulator, writer: str
) -> None:
    azure.put("/generator", {**CALM, "drifted": 0.3, "answers": 0.2})
    source = {
        "type": "documents",
        "documents": [{"name": "returns.md", "text": RETURNS}],
        "questions": 4,
        "chunk_tokens": 60,
        "overlap_tokens": 0,
    }
    done = finish(life, begin(life, asked(source)).id)
    assert done.status == "succeeded"
    assert "not-in-document" in done.rows_filtered
    kept = rows_of(life, done, kept=True)
    assert {row.subject_label for row in kept} == {
        "returns.md #1 › Returns",
        "returns.md #2 › Returns › Exceptions",
    }
    for line in lines_of(life, done):
        assert line["messages"][-1]["content"] in RETURNS
