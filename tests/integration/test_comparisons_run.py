"""Comparisons against the emulator: every pair asked once, answers side by side, refusals kept."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from lives import Emulator, Life, quick, until
from servers import make_project

from app.bootstrap import open_workbench
from app.costs.service import CostService
from app.deployments.comparisons import ComparisonService
from app.deployments.schemas import ComparisonCreate, ComparisonDetail, DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import ComparisonSteps, DeploymentSteps
from app.kit import failpoints
from app.kit.clock import utc_now
from app.kit.errors import Conflict, NotFound
from app.kit.pagination import Page
from app.settings import Settings
from app.workbench import Workbench

PROMPTS = ["Where is Kyoto?", "What should I pack for Iceland?", "Is Lisbon hilly?"]


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, lease_seconds=0.5)) as opened:
        yield opened


def ready(life: Life, name: str) -> str:
    """A deployment that answers; its name."""
    wanted = DeploymentCreate(
        model="gpt-4.1-mini", connection="emulator", name=name, expires_at=utc_now() + timedelta(hours=1)
    )
    made = DeploymentService(life.bench).create(life.caller, wanted)
    steps = DeploymentSteps(life.bench)

    def look() -> bool | None:
        steps.advance(made.id)
        return DeploymentService(life.bench).get(life.caller.project_id, made.id).status == "ready" or None

    until(look)
    return name


@pytest.fixture
def two(life: Life, azure: Emulator) -> list[dict[str, Any]]:
    """Two candidates, one under a system message; the request log begins behind their probes."""
    ready(life, "plain")
    ready(life, "formal")
    return [{"deployment": "plain"}, {"deployment": "formal", "system": "Answer formally."}]


def compare(life: Life, candidates: list[dict[str, Any]], **fields: Any) -> ComparisonDetail:
    wanted = ComparisonCreate(candidates=candidates, prompts=PROMPTS, max_tokens=6, temperature=0, **fields)
    return ComparisonService(life.bench).create(life.caller, wanted)


def finish(life: Life, comparison_id: str) -> ComparisonDetail:
    steps = ComparisonSteps(life.bench)

    def look() -> ComparisonDetail | None:
        steps.advance(comparison_id)
        found = ComparisonService(life.bench).get(life.caller.project_id, comparison_id)
        assert found.parked_reason is None, found.last_error
        return found if found.status != "running" else None

    return until(look)


def questions(azure: Emulator) -> list[str]:
    """Bodies of the chats that were asked for comparisons."""
    return [entry["body"] for entry in azure.requests("chat") if '"ping"' not in entry["body"]]


def test_every_prompt_is_put_to_every_candidate_once_and_answers_stand_side_by_side(
    life: Life, azure: Emulator, two: list[dict[str, Any]]
) -> None:
    made = compare(life, two)
    assert (made.status, made.answers_recorded) == ("running", 0)
    assert made.rows[0].answers == [None, None]

    done = finish(life, made.id)

    assert done.status == "succeeded"
    assert done.answers_recorded == 6
    assert [row.prompt for row in done.rows] == PROMPTS
    for row in done.rows:
        for answer in row.answers:
            assert answer is not None
            assert answer.error is None
            assert answer.completion_tokens is not None
            assert 0 < answer.completion_tokens <= 6
            assert answer.latency_seconds is not None
            assert answer.cost_usd is not None
    plain, formal = done.candidates
    assert (plain.answered, formal.answered) == (3, 3)
    assert formal.prompt_tokens > plain.prompt_tokens  # the system message is paid for
    asked = questions(azure)
    assert len(asked) == 6
    assert sum("Answer formally." in body for body in asked) == 3
    price = sum(
        (answer.cost_usd or Decimal(0) for row in done.rows for answer in row.answers if answer), Decimal(0)
    )
    assert done.cost_usd == price > 0
    spent = CostService(life.bench).summary(
        life.caller.project_id, group_by="category", since=None, until=None, running_usd=Decimal(0)
    )
    assert {group.group: group.settled_usd for group in spent.data}["inference"] == price


def test_a_refusal_is_one_answer_among_others(life: Life, azure: Emulator, two: list[dict[str, Any]]) -> None:
    azure.strike("chat", times=1, status=400, code="content_filter", message="The prompt was filtered.")
    done = finish(life, compare(life, two).id)
    assert done.status == "succeeded"
    refused = [answer for row in done.rows for answer in row.answers if answer and answer.error]
    (one,) = refused
    assert one.text is None
    assert one.error is not None
    assert one.error["code"] == "azure_content_filtered"
    assert sum(candidate.refused for candidate in done.candidates) == 1
    assert len(questions(azure)) == 6


def test_a_candidate_that_is_throttled_is_asked_again_and_the_others_are_not(
    life: Life, azure: Emulator, two: list[dict[str, Any]]
) -> None:
    azure.strike("chat", times=3, status=429, headers={"Retry-After": "0"})
    done = finish(life, compare(life, two).id)
    assert done.answers_recorded == 6
    assert all(answer and answer.text for row in done.rows for answer in row.answers)
    assert len(questions(azure)) == 9


def test_a_comparison_that_is_cut_off_never_asks_what_is_recorded(
    life: Life, azure: Emulator, two: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failpoints._passes.clear()
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "comparisons.answer.recorded:raise@2")
    done = finish(life, compare(life, two).id)
    assert done.answers_recorded == 6
    assert len(questions(azure)) == 4 + 4  # two of the first four were recorded; the other four pairs were asked


def test_a_comparison_without_a_single_answer_has_failed(
    life: Life, azure: Emulator, two: list[dict[str, Any]]
) -> None:
    azure.strike("chat", times=99, status=400, code="content_filter", message="The prompt was filtered.")
    assert finish(life, compare(life, two).id).status == "failed"


def test_a_candidate_must_be_ready(life: Life, two: list[dict[str, Any]]) -> None:
    wanted = DeploymentCreate(model="gpt-4.1-mini", connection="emulator", name="cold")
    DeploymentService(life.bench).create(life.caller, wanted)
    with pytest.raises(Conflict, match="creating") as caught:
        compare(life, [*two, {"deployment": "cold"}])
    assert caught.value.code == "deployment_not_ready"
    with pytest.raises(NotFound):
        compare(life, [{"deployment": "nobody"}])


def test_a_comparison_belongs_to_its_project(life: Life, two: list[dict[str, Any]]) -> None:
    made = compare(life, two)
    stranger = Life.begin(life.bench, make_project(life.bench, "stranger").id, life.emulator_url)
    service = ComparisonService(life.bench)
    with pytest.raises(NotFound):
        service.get(stranger.caller.project_id, made.id)
    with pytest.raises(NotFound):
        service.retry(stranger.caller.project_id, made.id)
    with pytest.raises(NotFound):
        compare(stranger, two)
    assert service.page(stranger.caller.project_id, Page()).rows == []
    assert [row.id for row in service.page(life.caller.project_id, Page()).rows] == [made.id]
