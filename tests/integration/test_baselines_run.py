"""Baselines against the emulator: asked in every way, graded by Azure, paid from a reservation, judged in words."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from search_server import SearchServer, search_server
from servers import make_project

from app.baselines.schemas import BaselineCreate, BaselineRead
from app.baselines.service import BaselineService
from app.baselines.steps import BaselineSteps
from app.bootstrap import open_workbench
from app.costs.schemas import BudgetPut
from app.costs.service import BudgetExceeded, CostService
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.jobs.schemas import JobCreate, JobPlan
from app.jobs.service import JobService
from app.kit.errors import Conflict, Invalid, NotFound
from app.kit.pagination import Page
from app.retrieval.schemas import SearchIndexCreate, SearchRequest
from app.retrieval.service import SearchIndexService
from app.settings import Settings

SAYS_ANYTHING = {
    "type": "string_check",
    "name": "says something",
    "operation": "ne",
    "input": "{{sample.output_text}}",
    "reference": "nothing at all",
}
HANDBOOK = [
    {"id": "1", "title": "Warranty", "content": "The Contoso X200 has a warranty of 24 months.", "secret": "no"},
    {"id": "2", "title": "Returns", "content": "Goods are taken back for 30 days.", "secret": "no"},
]


@pytest.fixture
def handbook() -> Iterator[SearchServer]:
    with search_server(HANDBOOK) as server:
        yield server


@pytest.fixture
def life(settings: Settings, emulator_url: str, handbook: SearchServer) -> Iterator[Life]:
    brief = quick(settings, emulator_url, allowed_origins=frozenset({emulator_url, handbook.url}))
    with open_workbench(brief) as bench:
        Emulator(emulator_url).reset()
        begun = Life.begin(bench, make_project(bench, "baselines").id, emulator_url)
        begun.connect()
        deployments, steps = DeploymentService(bench), DeploymentSteps(bench)
        new = DeploymentCreate(connection="emulator", model="gpt-4.1-mini", name="plain", ttl_seconds=3600)
        made = deployments.create(begun.caller, new)

        def ready() -> bool | None:
            steps.advance(made.id)
            return deployments.get(begun.caller.project_id, made.id).status == "ready" or None

        until(ready)
        yield begun
        assert_invariants(bench)


def begin(life: Life, **wanted: Any) -> BaselineRead:
    return BaselineService(life.bench).create(
        life.caller, BaselineCreate.model_validate({"deployment": "plain", **wanted})
    )


def ended(life: Life, baseline: BaselineRead) -> BaselineRead:
    service, steps = BaselineService(life.bench), BaselineSteps(life.bench)

    def look() -> BaselineRead | None:
        steps.advance(baseline.id)
        found = service.get(life.caller.project_id, baseline.id)
        return found if found.status != "running" or found.parked_reason else None

    return until(look)


def answers(life: Life, baseline: BaselineRead, way: str | None = None) -> list[Any]:
    page = Page(limit=200)
    return list(BaselineService(life.bench).answers(life.caller.project_id, baseline.id, page, way=way).rows)


def plan(life: Life, training: str, validation: str) -> JobPlan:
    new = JobCreate(connection="emulator", model="gpt-4.1-mini", training=training, validation=validation)
    return JobService(life.bench).plan(life.caller, new)


def check(of: JobPlan, *codes: str) -> tuple[str, str]:
    found = next(item for item in of.checks if item.code in codes)
    return found.verdict, found.detail


def test_every_case_is_asked_in_every_way_graded_and_told_to_the_plan_of_a_job(
    life: Life, handbook: SearchServer
) -> None:
    training, validation = life.example(lines=30)
    indexes = SearchIndexService(life.bench)
    key = {"auth": "api_key", "api_key": handbook.key, "title_field": "title"}
    index = indexes.create(
        life.caller.project_id,
        SearchIndexCreate.model_validate(
            {"name": "handbook", "endpoint": handbook.url, "index": "handbook", **key}
        ),
    )
    assert check(plan(life, training, validation), "no-baseline")[0] == "note"

    ways = [
        {"type": "zero_shot"},
        {"type": "prompt", "system": "Answer like a poet.", "name": "poet"},
        {"type": "few_shot", "examples": 2},
        {"type": "retrieval", "search_index": "handbook", "passages": 2},
    ]
    made = begin(life, validation=validation, training=training, ways=ways, max_tokens=60, good_enough=0.99)
    done = ended(life, made)

    assert done.status == "succeeded", (done.error, done.last_error)
    assert (done.cases, done.requests, done.requests_answered, done.graded) == (10, 40, 40, 40)
    assert done.report is not None
    assert [way.name for way in done.report.ways] == ["zero-shot", "poet", "few-shot 2", "retrieval handbook 2"]
    assert all(way.score and way.score.low <= way.score.mean <= way.score.high for way in done.report.ways)
    best = next(way for way in done.report.ways if way.name == done.report.best)
    assert best.behind_best is None
    assert all(way.behind_best and way.behind_best.mean >= 0 for way in done.report.ways if way is not best)
    few = next(way for way in done.report.ways if way.type == "few_shot")
    assert few.extra_prompt_tokens
    assert few.extra_prompt_tokens > 20
    assert few.break_even_calls_per_month
    assert few.break_even_calls_per_month > 1000
    assert done.report.verdict == "tuning_worth_trying"
    assert "Tuning is worth trying" in done.report.headline

    shown = answers(life, done, way="few-shot 2")
    assert len(shown) == 10
    for one in shown:
        questions = [message["content"] for message in one.messages if message["role"] == "user"]
        assert len(questions) == 3
        assert questions[-1] not in questions[:-1]
        assert one.score is not None
        assert one.text
    assert {answers(life, done, way="poet")[0].messages[0]["content"]} == {"Answer like a poet."}
    assert len(handbook.asked) == 10
    assert all(set(body["select"].split(",")) == {"content", "title"} for body in handbook.asked)

    verdict, detail = check(plan(life, training, validation), "baseline")
    assert verdict == "ok"
    assert done.id in detail
    assert done.cost_usd == done.spent_usd <= done.reserved_usd
    assert CostService(life.bench).budget(life.caller.project_id).month_used_usd >= done.cost_usd > 0
    indexes.archive(life.caller.project_id, index.name)


def test_a_prompt_that_reaches_enough_ends_the_matter_and_a_plan_warns(life: Life) -> None:
    training, validation = life.example(lines=12)
    done = ended(life, begin(life, validation=validation, training=training, grader=SAYS_ANYTHING, max_tokens=8))
    assert done.report is not None
    assert done.report.verdict == "tuning_not_offered"
    assert done.report.headline == "zero-shot reaches 1.00 (1.00 to 1.00) by wording alone: tuning is not offered."
    verdict, detail = check(plan(life, training, validation), "good-without-training")
    assert verdict == "warning"
    assert "tuning is not offered" in detail


def test_retrieval_shows_the_model_the_passages_and_an_answer_tells_which(
    life: Life, handbook: SearchServer
) -> None:
    indexes, project = SearchIndexService(life.bench), life.caller.project_id
    wanted = {"name": "handbook", "endpoint": handbook.url, "index": "handbook", "auth": "api_key"}
    with pytest.raises(Invalid) as blocked:
        indexes.create(
            project, SearchIndexCreate.model_validate({**wanted, "endpoint": "http://127.0.0.1:1", "api_key": "x"})
        )
    assert blocked.value.code == "url_not_allowed"
    indexes.create(project, SearchIndexCreate.model_validate({**wanted, "name": "wrong", "api_key": "wrong-key"}))
    refused = indexes.check(project, "wrong", SearchRequest(text="warranty"))
    assert not refused.ok
    assert "wrong-key" not in refused.model_dump_json()
    indexes.create(project, SearchIndexCreate.model_validate({**wanted, "api_key": handbook.key}))
    found = indexes.check(project, "handbook", SearchRequest(text='warranty of the "X200"?', passages=1))
    assert found.ok
    assert [one.text for one in found.passages] == [HANDBOOK[0]["content"]]

    handbook.troubles.append(503)  # one search is lost, and made again
    cases = [{"question": "How long is the warranty of the Contoso X200?", "reference": "24 months."}]
    way = {"type": "retrieval", "search_index": "handbook", "passages": 1}
    done = ended(life, begin(life, cases=cases, ways=[way], max_tokens=30))
    (one,) = answers(life, done)
    assert done.status == "succeeded", (done.error, done.last_error)
    assert one.passages == [{"title": "", "text": HANDBOOK[0]["content"], "score": one.passages[0]["score"]}]
    assert HANDBOOK[0]["content"] in one.messages[0]["content"]
    assert done.report is not None
    assert done.report.verdict == "too_few_cases"


def test_an_estimate_makes_nothing_and_what_cannot_be_asked_is_refused_in_words(life: Life) -> None:
    training, validation = life.example(lines=12)
    service, caller = BaselineService(life.bench), life.caller

    def wanted(**changes: Any) -> BaselineCreate:
        return BaselineCreate.model_validate({"deployment": "plain", "validation": validation, **changes})

    estimate = service.estimate(caller, wanted(training=training))
    assert (estimate.cases, estimate.requests, estimate.ways) == (10, 20, ["zero-shot", "few-shot 3"])
    assert estimate.expected_usd
    assert estimate.high_usd
    assert estimate.expected_usd < estimate.high_usd
    assert not service.page(caller.project_id, Page(), status=None).rows

    for code, changes in {
        "too_expensive": {"max_cost_usd": Decimal("0.0001")},
        "grader_unusable": {"grader": {"type": "string_check", "name": "x"}},
        "grader_field_missing": {"grader": {**SAYS_ANYTHING, "reference": "{{item.colour}}"}},
        "ways_alike": {"ways": [{"type": "zero_shot"}, {"type": "zero_shot"}]},
    }.items():
        with pytest.raises(Invalid) as refused:
            service.create(caller, wanted(**changes))
        assert refused.value.code == code
    with pytest.raises(NotFound):
        service.create(caller, wanted(ways=[{"type": "retrieval", "search_index": "none"}]))
    CostService(life.bench).set_budget(caller.project_id, BudgetPut(month_cap_usd=Decimal("0.0001")))
    with pytest.raises(BudgetExceeded):
        service.create(caller, wanted())


def test_the_same_reservation_makes_one_baseline_and_a_cancel_ends_it_with_what_was_spent(life: Life) -> None:
    _, validation = life.example(lines=12)
    service = BaselineService(life.bench)
    new = BaselineCreate.model_validate({"deployment": "plain", "validation": validation, "max_tokens": 8})
    with ThreadPoolExecutor(max_workers=1) as pool:
        first = pool.submit(service.create, life.caller, new, reservation_id="res_1").result()
    assert service.create(life.caller, new, reservation_id="res_1").id == first.id
    service.cancel(life.caller.project_id, first.id)
    service.cancel(life.caller.project_id, first.id)
    done = ended(life, first)
    assert (done.status, done.cost_usd, done.report) == ("cancelled", Decimal(0), None)
    with pytest.raises(Conflict):
        service.retry(life.caller.project_id, first.id)
