"""One deployment's life against the emulator, step by step as workers take them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from lives import Emulator, Life, quick, until
from servers import make_project
from sqlalchemy import text

from app.azure.port import Throttled
from app.bootstrap import open_workbench
from app.connections.service import ConnectionService
from app.costs.schemas import BudgetPut
from app.costs.service import BudgetExceeded, CostService
from app.deployments.schemas import ChatRequest, DeploymentCreate, DeploymentPatch, DeploymentRead
from app.deployments.service import DeploymentService, hosting_usd
from app.deployments.states import DEPLOYMENT_LAW, DeploymentStatus
from app.deployments.steps import DeploymentSteps
from app.deployments.tables import Deployment
from app.events.log import Event, read_page
from app.jobs.states import JOB_LAW
from app.kit import failpoints
from app.kit.care import PARKED_PAUSE_SECONDS
from app.kit.clock import utc_now
from app.kit.errors import Conflict, Invalid, NotFound
from app.models.service import ModelService
from app.settings import Settings
from app.workbench import Workbench

BASE = "gpt-4.1-mini"


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, quota_release_seconds=0.05)) as opened:
        yield opened


def impatient(bench: Workbench, **changes: Any) -> Workbench:
    """The same workbench with another policy."""
    return replace(bench, policy=replace(bench.policy, **changes))


def deploy(life: Life, bench: Workbench | None = None, **fields: Any) -> DeploymentRead:
    wanted = DeploymentCreate(**({"model": BASE, "connection": "emulator"} | fields))
    return DeploymentService(bench or life.bench).create(life.caller, wanted)


def shown(life: Life, ref: str) -> DeploymentRead:
    return DeploymentService(life.bench).get(life.caller.project_id, ref)


def drive(
    life: Life, deployment_id: str, *statuses: str, bench: Workbench | None = None, parked: bool = False
) -> DeploymentRead:
    """Take the steps that workers would, until it is in one of these statuses (or, if wanted, parked)."""
    steps = DeploymentSteps(bench or life.bench)

    def look() -> DeploymentRead | None:
        steps.advance(deployment_id)
        found = shown(life, deployment_id)
        if parked:
            return found if found.parked_reason else None
        assert found.parked_reason is None, (found.parked_reason, found.last_error)
        return found if found.status in statuses else None

    return until(look, seconds=30)


def events(life: Life, subject_id: str) -> list[Event]:
    with life.bench.read() as session:
        return read_page(
            session,
            project_id=life.caller.project_id,
            subject_id=subject_id,
            event_type=None,
            after=None,
            before=None,
            descending=False,
            limit=200,
        )


def money(life: Life) -> tuple[Decimal, Decimal]:
    """Settled and reserved of the project."""
    summary = CostService(life.bench).summary(
        life.caller.project_id, group_by="category", since=None, until=None, running_usd=Decimal(0)
    )
    return summary.settled_usd, summary.reserved_usd


def remote(azure: Emulator) -> list[dict[str, Any]]:
    return list(azure.state()["deployments"])


@pytest.fixture
def tuned(life: Life) -> str:
    """Name of a model that the emulator has really trained."""
    training, _ = life.example(lines=12)
    job = life.drive(life.job("emulator", training, suffix="tuned"), until_status=set(JOB_LAW.terminal))
    assert job.status == "succeeded", job.error
    ModelService(life.bench).register(job.id)
    return "tuned"


# ── the whole life ──────────────────────────────────────────────────────────


def test_a_deployment_becomes_ready_only_after_it_answered_and_deleted_only_when_azure_shows_it_no_more(
    life: Life, azure: Emulator
) -> None:
    made = deploy(life)
    assert made.status == DeploymentStatus.CREATING
    assert made.name.startswith("base-gpt-4-1-mini-")
    assert made.capacity == 100
    assert timedelta(hours=23) < made.expires_at - utc_now() <= timedelta(hours=24)

    ready = drive(life, made.id, "ready")
    (there,) = remote(azure)
    assert there["name"] == made.name
    assert there["capacity"] == 100
    assert there["tags"]["op_key"] == made.id
    assert there["tags"]["svc"] == "kitae"
    assert len(azure.requests("chat")) >= 1
    assert ready.provisioning_state == "Succeeded"
    warmed = next(event for event in events(life, made.id) if event.type == "deployment.ready")
    assert warmed.data["warm_up_seconds"] >= 0

    DeploymentService(life.bench).delete(life.caller.project_id, made.name)
    gone = drive(life, made.id, "deleted")
    assert remote(azure) == []
    assert gone.delete_reason == "asked"
    assert gone.hosting_ended_at is not None

    moves = [(event.data["from"], event.data["to"]) for event in events(life, made.id) if "from" in event.data]
    assert moves[0][0] == "creating"
    assert [wanted for _, wanted in moves] == ["warming", "ready", "deleting", "deleted"]
    for (_, reached), (left, _) in pairwise(moves):
        assert reached == left
    for current, wanted in moves:
        DEPLOYMENT_LAW.check(DeploymentStatus(current), DeploymentStatus(wanted))
    assert len(azure.requests("deployments.put")) == 1
    assert len(azure.requests("deployments.delete")) == 1


def test_a_tuned_model_is_hosted_with_its_money_reserved_and_settled_by_started_minutes(
    life: Life, azure: Emulator, tuned: str
) -> None:
    trained, _ = money(life)
    made = deploy(life, model=tuned, connection=None, sku="Standard", ttl_seconds=7200)
    assert made.hourly_usd == Decimal("1.70")
    assert money(life)[1] == Decimal("3.40")
    assert made.model is not None

    drive(life, made.id, "ready")
    (there,) = remote(azure)
    assert ".ft-" in there["model"]
    assert DeploymentService(life.bench).running_hosting_usd(life.caller.project_id) == Decimal("0.0284")
    answer = DeploymentService(life.bench).chat(
        life.caller.project_id,
        made.name,
        ChatRequest(messages=[{"role": "user", "content": "Where is Kyoto?"}], max_tokens=8, temperature=0),
    )
    assert answer.completion_tokens > 0
    assert answer.cost_usd is not None
    assert shown(life, made.id).last_used_at is not None

    DeploymentService(life.bench).delete(life.caller.project_id, made.id)
    gone = drive(life, made.id, "deleted")
    assert gone.cost_usd == Decimal("0.0284")  # one started minute of 1.70 an hour, rounded up
    settled, reserved = money(life)
    assert settled - trained == Decimal("0.0284")
    assert reserved == 0
    assert DeploymentService(life.bench).running_hosting_usd(life.caller.project_id) == 0


def test_a_tuned_model_goes_to_the_developer_tier_unless_asked_otherwise_and_costs_nothing_there(
    life: Life, tuned: str
) -> None:
    made = deploy(life, model=tuned, connection=None)
    assert (made.sku, made.hourly_usd) == ("DeveloperTier", 0)
    assert money(life)[1] == 0
    with pytest.raises(Invalid, match=r"24\.0 hours"):
        deploy(life, model=tuned, connection=None, ttl_seconds=90_000)


def test_hosting_that_no_budget_bears_is_not_begun(life: Life, azure: Emulator, tuned: str) -> None:
    CostService(life.bench).set_budget(life.caller.project_id, BudgetPut(job_cap_usd=Decimal(2)))
    with pytest.raises(BudgetExceeded):
        deploy(life, model=tuned, connection=None, sku="Standard", ttl_seconds=7200)
    made = deploy(life, model=tuned, connection=None, sku="Standard", ttl_seconds=3600)
    with pytest.raises(BudgetExceeded):
        DeploymentService(life.bench).change(life.caller, made.id, DeploymentPatch(ttl_seconds=86_400))
    assert money(life)[1] == Decimal("1.70")
    assert remote(azure) == []


# ── the end ─────────────────────────────────────────────────────────────────


def test_a_deployment_is_reaped_at_its_end_without_anybody_asking(life: Life, azure: Emulator) -> None:
    made = deploy(life, expires_at=utc_now() + timedelta(seconds=2.5))
    drive(life, made.id, "ready")
    gone = drive(life, made.id, "expired")
    assert gone.delete_reason == "expired"
    assert remote(azure) == []
    assert utc_now() >= made.expires_at


def test_a_ready_deployment_is_due_no_later_than_its_end(life: Life) -> None:
    patient = impatient(life.bench, deployment_poll_seconds=0.05)
    made = deploy(life)
    drive(life, made.id, "ready", bench=patient)
    slow = impatient(life.bench, deployment_poll_seconds=3600.0)
    ended = DeploymentService(life.bench).change(life.caller, made.id, DeploymentPatch(ttl_seconds=600))
    until(lambda: DeploymentSteps(slow).advance(made.id) or _next_look(life, made.id, before=ended.expires_at))


def _next_look(life: Life, deployment_id: str, *, before: Any) -> bool | None:
    with life.bench.read() as session:
        row = session.get_one(Deployment, deployment_id)
    assert row.next_check_at is not None
    if row.capacity_wanted is not None:
        return None
    return True if row.next_check_at == before else None


def test_a_longer_life_is_reserved_and_the_new_end_is_shown_at_azure(
    life: Life, azure: Emulator, tuned: str
) -> None:
    made = deploy(life, model=tuned, connection=None, sku="Standard", ttl_seconds=3600)
    drive(life, made.id, "ready")
    changed = DeploymentService(life.bench).change(
        life.caller, made.id, DeploymentPatch(ttl_seconds=7200, capacity=50)
    )
    assert changed.capacity_wanted == 50
    assert Decimal("3.39") < money(life)[1] < Decimal("3.46")

    def taken() -> DeploymentRead | None:
        DeploymentSteps(life.bench).advance(made.id)
        found = shown(life, made.id)
        return found if found.capacity_wanted is None else None

    found = until(taken)
    (there,) = remote(azure)
    assert (found.capacity, there["capacity"]) == (50, 50)
    assert there["tags"]["expires_at"] == changed.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_delete_wish_before_anything_was_sent_needs_no_call(life: Life, azure: Emulator) -> None:
    made = deploy(life)
    DeploymentService(life.bench).delete(life.caller.project_id, made.id)
    gone = drive(life, made.id, "deleted")
    assert azure.requests("deployments.put") == []
    assert gone.cost_usd == 0
    DeploymentService(life.bench).delete(life.caller.project_id, made.id)  # twice is as good as once
    assert shown(life, made.id).status == DeploymentStatus.DELETED


def test_a_deployment_can_be_deleted_while_azure_still_makes_it(life: Life, azure: Emulator) -> None:
    made = deploy(life)
    azure.put("/clock", {"mode": "manual"})
    try:
        steps = DeploymentSteps(life.bench)
        until(lambda: steps.advance(made.id) or (True if remote(azure) else None))
        DeploymentService(life.bench).delete(life.caller.project_id, made.id)
        drive(life, made.id, "deleting")
        steps.advance(made.id)
        assert remote(azure)[0]["phase"] == "creating"
    finally:
        azure.put("/clock", {"mode": "instant"})
    drive(life, made.id, "deleted")
    assert remote(azure) == []


# ── what goes wrong at Azure ────────────────────────────────────────────────


@pytest.mark.row(24)
def test_another_write_on_the_account_is_waited_for_without_counting_as_a_failure(
    life: Life, azure: Emulator
) -> None:
    message = "Another operation is being performed on the parent resource. Please try again later."
    azure.strike(
        "deployments.put",
        times=12,
        status=409,
        code="RequestConflict",
        message=message,
        headers={"Retry-After": "0"},
    )
    made = deploy(life, impatient(life.bench, park_after_failures=2))
    drive(life, made.id, "ready", bench=impatient(life.bench, park_after_failures=2))
    assert len(azure.requests("deployments.put")) == 13
    assert len(remote(azure)) == 1


@pytest.mark.row(24)
def test_two_deployments_of_one_account_are_made_one_after_the_other(life: Life, azure: Emulator) -> None:
    first, second = deploy(life), deploy(life)
    azure.put("/clock", {"mode": "manual"})
    try:
        steps = DeploymentSteps(life.bench)
        until(lambda: steps.advance(first.id) or (True if remote(azure) else None))
        for _ in range(3):
            steps.advance(second.id)
        assert [item["name"] for item in remote(azure)] == [first.name]
        assert len(azure.requests("deployments.put")) == 1
    finally:
        azure.put("/clock", {"mode": "instant"})
    drive(life, first.id, "ready")
    drive(life, second.id, "ready")
    assert len(remote(azure)) == 2


def test_a_quota_refusal_fails_with_azures_figures_and_gives_the_money_back(
    life: Life, azure: Emulator, tuned: str
) -> None:
    azure.put("/quota", {"skus": {"OpenAI.Standard.gpt-4.1-mini": 40}})
    try:
        made = deploy(life, model=tuned, connection=None, sku="Standard", ttl_seconds=3600)
        failed = drive(life, made.id, "failed")
    finally:
        azure.put("/quota", {"skus": {"OpenAI.Standard.gpt-4.1-mini": 10_000}})
    assert failed.error is not None
    assert failed.error["code"] == "azure_insufficient_quota"
    assert "100 thousand tokens per minute were asked for" in failed.error["hint"]
    assert failed.error["remote"]["error"]["code"] == "InsufficientQuota"
    assert failed.cost_usd == 0
    assert money(life)[1] == 0
    assert remote(azure) == []


def test_an_account_that_may_not_be_read_fails_at_once_with_what_to_do(life: Life, azure: Emulator) -> None:
    azure.strike("deployments.get", times=9, status=403)
    made = deploy(life)
    DeploymentSteps(life.bench).advance(made.id)
    failed = shown(life, made.id)
    assert failed.status == DeploymentStatus.FAILED
    assert failed.error is not None
    assert "deployments/write" in failed.error["hint"]
    assert azure.requests("deployments.put") == []


@pytest.mark.row(25)
def test_a_creation_that_azure_fails_is_cleared_away_and_told_in_azures_words(life: Life, azure: Emulator) -> None:
    azure.strike("deployments.put", fate={"provision_fails": True})
    made = deploy(life)
    failed = drive(life, made.id, "failed")
    assert failed.error is not None
    assert "internal error" in failed.error["message"]
    assert remote(azure) == []
    assert len(azure.requests("deployments.delete")) == 1


@pytest.mark.row(25)
def test_one_that_never_warms_is_made_anew_once_and_then_parked_deleted(life: Life, azure: Emulator) -> None:
    azure.strike("deployments.put", times=9, fate={"extra_warm_up_seconds": 1e6})
    hasty = impatient(life.bench, warm_up_limit_seconds=0.4)
    made = deploy(life, hasty)
    parked = drive(life, made.id, bench=hasty, parked=True)
    assert parked.recreated
    assert parked.status == DeploymentStatus.CREATING
    assert "never answered" in (parked.parked_reason or "")
    assert remote(azure) == []
    assert len(azure.requests("deployments.put")) == 2
    assert len(azure.requests("deployments.delete")) == 2

    azure.faults()
    DeploymentService(life.bench).retry(life.caller.project_id, made.id)
    drive(life, made.id, "ready")
    assert len(azure.requests("deployments.put")) == 3


@pytest.mark.row(38)
def test_what_somebody_deletes_in_the_portal_becomes_removed_by_azure_and_its_hosting_ends(
    life: Life, azure: Emulator, tuned: str
) -> None:
    made = deploy(life, model=tuned, connection=None, sku="Standard", ttl_seconds=7200)
    drive(life, made.id, "ready")
    azure.post("/portal", {"action": "delete_deployment", "name": made.name})
    gone = drive(life, made.id, "removed_by_azure")
    assert gone.hosting_ended_at is not None
    assert gone.cost_usd == Decimal("0.0284")
    assert money(life)[1] == 0
    assert gone.error is not None
    assert "deploy it again" in gone.error["hint"]
    again = deploy(life, model=tuned, connection=None, sku="Standard", ttl_seconds=7200, name=made.name)
    drive(life, again.id, "ready")


@pytest.mark.row(39)
def test_a_deployment_of_somebody_else_is_neither_taken_nor_deleted(life: Life, azure: Emulator) -> None:
    model = {"format": "OpenAI", "name": "gpt-4.1", "version": "2025-04-14"}
    body = {"sku": {"name": "GlobalStandard", "capacity": 1}, "properties": {"model": model}}
    azure.post("/portal", {"action": "create_deployment", "name": "precious", **body})
    made = deploy(life, model="gpt-4.1", name="precious")
    failed = drive(life, made.id, "failed")
    assert failed.error is not None
    assert failed.error["code"] == "name_taken_at_azure"
    assert [item["name"] for item in remote(azure)] == ["precious"]
    assert azure.requests("deployments.put") == []


@pytest.mark.row(26)
def test_one_glance_that_misses_a_deployment_does_not_bury_it(life: Life, azure: Emulator) -> None:
    made = deploy(life)
    drive(life, made.id, "ready")
    before = len(azure.requests("deployments.get"))
    azure.strike("deployments.get", status=404, code="ResourceNotFound", message="The Resource was not found.")
    steps = DeploymentSteps(life.bench)
    until(
        lambda: steps.advance(made.id) or (True if len(azure.requests("deployments.get")) >= before + 3 else None)
    )
    assert shown(life, made.id).status == DeploymentStatus.READY
    assert len(remote(azure)) == 1


@pytest.mark.row(27)
def test_a_gateways_page_instead_of_azures_404_fails_no_deployment(life: Life, azure: Emulator) -> None:
    azure.strike("deployments.get", times=2, status=404, garbage=True)
    made = deploy(life)
    drive(life, made.id, "ready")
    assert len(remote(azure)) == 1


@pytest.mark.row(20)
@pytest.mark.parametrize("fault", [{"drop_after": True}, {"garbage": True}, {"status": 500}])
def test_a_lost_answer_to_the_put_makes_no_second_deployment(
    life: Life, azure: Emulator, fault: dict[str, Any]
) -> None:
    azure.strike("deployments.put", **fault)
    made = deploy(life)
    drive(life, made.id, "ready")
    assert len(remote(azure)) == 1


@pytest.mark.parametrize("fault", [{"drop_after": True}, {"status": 503}])
def test_a_lost_answer_to_the_delete_still_ends_in_deleted(
    life: Life, azure: Emulator, fault: dict[str, Any]
) -> None:
    made = deploy(life)
    drive(life, made.id, "ready")
    azure.strike("deployments.delete", **fault)
    DeploymentService(life.bench).delete(life.caller.project_id, made.id)
    drive(life, made.id, "deleted")
    assert remote(azure) == []


@pytest.mark.row(26)
def test_an_early_404_after_the_put_only_means_not_yet(life: Life, azure: Emulator) -> None:
    message = "The Resource 'Microsoft.CognitiveServices/accounts/acct/deployments/x' was not found."
    azure.faults(
        {
            "match": {"operation": "deployments.get"},
            "when": {"first_n": 4},
            "do": {"status": 404, "code": "ResourceNotFound", "message": message},
        }
    )
    made = deploy(life)
    drive(life, made.id, "ready")
    assert len(azure.requests("deployments.put")) == 1


@pytest.mark.row(26)
def test_one_that_neither_a_get_nor_the_list_shows_at_first_is_waited_for(life: Life, azure: Emulator) -> None:
    gone = {"status": 404, "code": "ResourceNotFound", "message": "The Resource was not found."}
    azure.faults(
        {"match": {"operation": "deployments.get"}, "when": {"first_n": 5}, "do": gone},
        {"match": {"operation": "deployments.list"}, "when": {"first_n": 4}, "do": {"list_lag_seconds": 1e6}},
    )
    made = deploy(life)
    drive(life, made.id, "ready")
    assert len(azure.requests("deployments.list")) >= 4
    assert len(azure.requests("deployments.put")) == 1


def test_a_deployment_that_is_throttled_never_shuts_the_gate_before_its_resource(
    life: Life, azure: Emulator
) -> None:
    made = deploy(life)
    drive(life, made.id, "ready")
    question = ChatRequest(messages=[{"role": "user", "content": "hello"}], max_tokens=2)
    azure.strike("chat", status=429, headers={"Retry-After": "600"})
    service = DeploymentService(life.bench)
    with pytest.raises(Throttled) as caught:
        service.chat(life.caller.project_id, made.id, question)
    assert caught.value.retry_after_seconds == 600
    assert ConnectionService(life.bench).check(life.caller.project_id, "emulator").ok
    assert service.chat(life.caller.project_id, made.id, question).text


def test_a_parked_deployment_past_its_end_is_taken_up_and_reaped(life: Life, azure: Emulator) -> None:
    made = deploy(life, expires_at=utc_now() + timedelta(seconds=3))
    drive(life, made.id, "ready")
    strict = impatient(life.bench, park_after_failures=0)
    azure.strike("deployments.get", times=99, status=403)
    drive(life, made.id, bench=strict, parked=True)
    azure.faults()
    service = DeploymentService(life.bench)
    assert service.wake_costly() == 0  # it rests first
    with life.bench.begin() as work:
        work.session.execute(
            text(
                "UPDATE deployments SET next_check_at = next_check_at - make_interval(secs => :rest),"
                " expires_at = expires_at - make_interval(secs => :rest)"
            ),
            {"rest": PARKED_PAUSE_SECONDS},
        )
    assert service.wake_costly() == 1
    drive(life, made.id, "expired")
    assert remote(azure) == []


BOUNDARIES = [name for name in failpoints.NAMES if name.startswith("deployments.")]


@pytest.mark.parametrize("boundary", sorted(BOUNDARIES))
def test_a_step_that_ends_at_any_boundary_is_taken_up_without_a_second_deployment(
    life: Life, azure: Emulator, boundary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failpoints._passes.clear()
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, f"{boundary}:raise")
    quick_again = impatient(life.bench, lease_seconds=0.3)
    made = deploy(life)
    drive(life, made.id, "ready", bench=quick_again)
    assert len(remote(azure)) == 1
    DeploymentService(life.bench).delete(life.caller.project_id, made.id)
    drive(life, made.id, "deleted", bench=quick_again)
    assert remote(azure) == []
    assert failpoints._passes[boundary] >= 1
    moves = [event.data["to"] for event in events(life, made.id) if "from" in event.data]
    assert moves == ["warming", "ready", "deleting", "deleted"]


# ── what a caller hears ─────────────────────────────────────────────────────


def test_a_chat_with_a_deployment_that_is_not_ready_says_in_which_state_it_is_and_when_to_ask_again(
    life: Life,
) -> None:
    made = deploy(life)
    question = ChatRequest(messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(Conflict, match="creating") as caught:
        DeploymentService(life.bench).chat(life.caller.project_id, made.id, question)
    assert caught.value.code == "deployment_not_ready"
    assert caught.value.retry_after_seconds


def test_the_chunks_of_a_streamed_chat_are_azures(life: Life) -> None:
    made = deploy(life)
    drive(life, made.id, "ready")
    question = ChatRequest(messages=[{"role": "user", "content": "hello"}], max_tokens=12, temperature=0, seed=1)
    with DeploymentService(life.bench).chat_stream(life.caller.project_id, made.id, question) as chunks:
        heard = list(chunks)
    text = "".join(
        choice["delta"].get("content") or "" for chunk in heard for choice in chunk["choices"] if "delta" in choice
    )
    assert text
    assert text == DeploymentService(life.bench).chat(life.caller.project_id, made.id, question).text
    assert heard[-1]["usage"]["completion_tokens"] > 0


def test_a_prompt_that_the_content_filter_refuses_is_the_askers_mistake(life: Life, azure: Emulator) -> None:
    made = deploy(life)
    drive(life, made.id, "ready")
    azure.strike("chat", status=400, code="content_filter", message="The prompt was filtered.")
    with pytest.raises(Invalid) as caught:
        DeploymentService(life.bench).chat(
            life.caller.project_id, made.id, ChatRequest(messages=[{"role": "user", "content": "hello"}])
        )
    assert caught.value.code == "content_filtered"


def test_a_name_can_be_taken_only_once_while_it_lives(life: Life) -> None:
    deploy(life, name="twin")
    with pytest.raises(Conflict) as caught:
        deploy(life, name="Twin")
    assert caught.value.code == "name_taken"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "gpt-99"}, "unknown_model"),
        ({"connection": None}, "missing"),
        ({"sku": "DeveloperTier"}, "sku_not_offered"),
        ({"model": "gpt-5", "sku": "GlobalStandard"}, "sku_not_offered"),
        ({"model": "Qwen3.8-27B"}, "model_not_deployable"),
        ({"ttl_seconds": 60, "expires_at": utc_now() + timedelta(hours=1)}, "two_ends"),
        ({"expires_at": utc_now() - timedelta(seconds=1)}, "end_in_the_past"),
        ({"expires_at": utc_now() + timedelta(days=31)}, "life_too_long"),
    ],
)
def test_what_cannot_be_deployed_is_refused_before_anything_is_made(
    life: Life, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(Invalid) as caught:
        deploy(life, **fields)
    assert caught.value.code == code
    assert caught.value.errors[0].pointer


def test_the_same_reservation_makes_one_deployment(life: Life) -> None:
    service = DeploymentService(life.bench)
    wanted = DeploymentCreate(model=BASE, connection="emulator")
    first = service.create(life.caller, wanted, reservation_id="idk_one")
    assert service.create(life.caller, wanted, reservation_id="idk_one").id == first.id


def test_no_verb_shows_a_stranger_that_a_deployment_exists(life: Life) -> None:
    made = deploy(life)
    stranger = Life.begin(life.bench, make_project(life.bench, "stranger").id, life.emulator_url)
    service, project = DeploymentService(life.bench), stranger.caller.project_id
    question = ChatRequest(messages=[{"role": "user", "content": "hello"}])
    verbs: list[Callable[[str], object]] = [
        lambda ref: service.get(project, ref),
        lambda ref: service.delete(project, ref),
        lambda ref: service.retry(project, ref),
        lambda ref: service.chat(project, ref, question),
        lambda ref: service.chat_stream(project, ref, question).__enter__(),
        lambda ref: service.change(stranger.caller, ref, DeploymentPatch(ttl_seconds=600)),
    ]
    for verb in verbs:
        for ref in (made.id, made.name):
            with pytest.raises(NotFound):
                verb(ref)
    assert shown(life, made.id).delete_requested_at is None


def test_hosting_is_counted_by_started_minutes() -> None:
    assert hosting_usd(Decimal("1.70"), 0) == 0
    assert hosting_usd(Decimal("1.70"), 1) == Decimal("0.0284")
    assert hosting_usd(Decimal("1.70"), 60) == Decimal("0.0284")
    assert hosting_usd(Decimal("1.70"), 61) == Decimal("0.0567")
    assert hosting_usd(Decimal("1.70"), 3600) == Decimal("1.7000")
    assert hosting_usd(None, 3600) is None
