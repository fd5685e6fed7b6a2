"""Preference pairs and graded prompts, trained to the end against the emulator; training types that give way."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from lives import Emulator, Life, head, quick
from servers import make_project
from shared_data import shared
from sqlalchemy import select

from app.bootstrap import open_workbench
from app.costs.tables import LedgerLine
from app.jobs.schemas import JobCreate, JobPlan, PlanCheck
from app.jobs.service import JobService, PlanRefused
from app.jobs.states import JOB_LAW, JobStatus
from app.models.service import ModelService
from app.settings import Settings

GOOD, BAD = ("great", "lovely", "superb"), ("awful", "horrible", "nasty")
GRADER = {
    "type": "string_check",
    "name": "label",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.label }}",
    "operation": "eq",
}
ENDS = set(JOB_LAW.terminal)


def questions(*things: str) -> bytes:
    """Six graded prompts for each thing."""
    rows = [
        {
            "messages": [{"role": "user", "content": f"The {thing} was {word}. Good or bad?"}],
            "label": "good" if word in GOOD else "bad",
        }
        for thing in things
        for word in GOOD + BAD
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def life(settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick(settings, emulator_url, settle_seconds=0.3)) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "methods").id, emulator_url)


def wanted(life: Life, connection: str, **fields: Any) -> JobCreate:
    return JobCreate.model_validate({"connection": connection, "hyperparameters": {"n_epochs": 1}} | fields)


def graded(life: Life, connection: str, **fields: Any) -> JobCreate:
    """A reinforcement job on twelve prompts, with six more to validate."""
    life.dataset("labels", questions("film", "meal"), method="reinforcement")
    life.dataset("labels-validation", questions("book", "play"), method="reinforcement")
    about = {
        "model": "o4-mini",
        "training": "labels@1",
        "validation": "labels-validation@1",
        "method": "reinforcement",
        "grader": GRADER,
        "hyperparameters": {"n_epochs": 1, "batch_size": 4},
    }
    return wanted(life, connection, **(about | fields))


def by_code(plan: JobPlan) -> dict[str, PlanCheck]:
    return {check.code: check for check in plan.checks}


def ledger(life: Life, subject: str) -> dict[str, Decimal]:
    with life.bench.read() as session:
        rows = session.scalars(select(LedgerLine).where(LedgerLine.subject_id == subject))
        return {line.kind: line.amount_usd for line in rows}


def test_real_preference_pairs_are_trained_to_the_end(life: Life) -> None:
    life.dataset("pairs", head(shared("1-chat/azproj.dpo_training_set.jsonl"), 12), method="dpo")
    job_id = JobService(life.bench).create(
        life.caller,
        wanted(
            life,
            life.connect(),
            model="gpt-4.1-mini",
            training="pairs@1",
            method="dpo",
            hyperparameters={"n_epochs": 1, "beta": 0.2},
        ),
    )
    job = life.drive(job_id, until_status=ENDS)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert job.remote is not None
    assert job.remote["method"]["dpo"]["hyperparameters"]["beta"] == 0.2
    assert job.trained_tokens
    assert job.cost_usd


def test_graded_prompts_are_trained_to_the_end_and_settled_by_the_hour(life: Life) -> None:
    service = JobService(life.bench)
    new = graded(life, life.connect())
    plan = service.plan(life.caller, new)
    assert plan.ok, plan.checks
    found = by_code(plan)
    assert found["grader"].detail == "Azure takes the grader"
    assert "every row of labels-validation@1" in [c.detail for c in plan.checks if c.code == "grader-fields"][1]
    job_id = service.create(life.caller, new)
    assert ledger(life, job_id) == {"reserve": Decimal(5000)}
    emulator = Emulator(life.emulator_url)
    emulator.put("/pace", {"step": 1800})
    emulator.put("/clock", {"mode": "real", "speed": 20_000})
    job = life.drive(job_id, until_status=ENDS)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert job.remote is not None
    assert job.remote["method"]["reinforcement"]["grader"] == GRADER
    billed = Decimal(emulator.bill()["jobs"][0]["usd"])
    assert billed > 100
    assert job.cost_usd is not None
    assert billed - Decimal("0.1") <= job.cost_usd <= billed + 1
    assert ledger(life, job_id) == {
        "reserve": Decimal(5000),
        "release": Decimal(5000),
        "settle": job.cost_usd,
    }


def test_a_row_without_the_graders_field_is_named_by_its_line(life: Life) -> None:
    rows = questions("film", "meal").splitlines()
    rows[6] = json.dumps({"messages": [{"role": "user", "content": "Well?"}], "other": 1}).encode()
    life.dataset("torn", b"\n".join(rows), method="reinforcement")
    new = graded(life, life.connect(), training="torn@1")
    with pytest.raises(PlanRefused) as refused:
        JobService(life.bench).create(life.caller, new)
    (error,) = refused.value.errors
    assert (error.code, error.pointer) == ("grader-field-missing", "/training")
    assert "1 of 12 rows of torn@1 lack what the grader reads: item.label (1); lines 7." in error.detail


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"grader": None}, "grader-missing", "/grader"),
        ({"grader": GRADER | {"operation": "is"}}, "grader-operation", "/grader/operation"),
        ({"validation": None}, "validation-missing", "/validation"),
        ({"response_format": {"type": "text"}}, "response-format", "/response_format/type"),
        ({"hyperparameters": {"beta": 0.1}}, "hyperparameter-refused", "/hyperparameters/beta"),
        ({"hyperparameters": {"eval_samples": 0}}, "hyperparameter-refused", "/hyperparameters/eval_samples"),
        (
            {"grader": {"type": "python", "name": "p", "source": "def grade(sample, item): return 1.0"}},
            "grader-refused",
            "/grader",
        ),
    ],
)
def test_what_reinforcement_cannot_be_is_refused_in_words(
    life: Life, fields: dict[str, Any], code: str, pointer: str
) -> None:
    plan = JobService(life.bench).plan(life.caller, graded(life, life.connect(), **fields))
    assert not plan.ok
    check = by_code(plan)[code]
    assert (check.verdict, check.pointer) == ("error", pointer)


def test_a_grader_is_only_noted_as_unasked_while_azure_does_not_answer(life: Life) -> None:
    new = graded(life, life.connect())
    Emulator(life.emulator_url).strike("graders.validate", times=9, status=503)
    plan = JobService(life.bench).plan(life.caller, new)
    assert plan.ok
    assert by_code(plan)["grader-unasked"].verdict == "note"


def test_the_dated_form_cannot_train_by_a_grader(life: Life) -> None:
    plan = JobService(life.bench).plan(life.caller, graded(life, life.connect(style="dated")))
    assert by_code(plan)["method-needs-v1"].pointer == "/connection"


def test_the_first_training_type_that_can_be_had_is_taken_and_each_is_told_why(life: Life) -> None:
    training, _ = life.example(lines=12)
    plan = JobService(life.bench).plan(
        life.caller,
        wanted(
            life,
            life.connect(),
            model="gpt-oss-20b",
            training=training,
            training_types=["Standard", "GlobalStandard", "DataZoneStandard"],
        ),
    )
    assert [choice.verdict for choice in plan.training_types] == ["impossible", "taken", "fallback"]
    assert "not trained as Standard" in plan.training_types[0].reason
    assert plan.training_type == "GlobalStandard"


def test_a_training_type_that_azure_refuses_gives_way_to_the_next_and_the_bill_is_that_ones(life: Life) -> None:
    training, _ = life.example(lines=12)
    emulator = Emulator(life.emulator_url)
    new = wanted(
        life,
        life.connect(),
        model="gpt-4.1-mini",
        training=training,
        training_types=["GlobalStandard", "developerTier"],
    )
    emulator.strike("jobs.create", status=400, code="quotaExceeded", message="No capacity for this training type.")
    job_id = JobService(life.bench).create(life.caller, new)
    job = life.drive(job_id, until_status=ENDS)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error, job.parked_reason)
    assert (job.training_type, job.training_types, job.attempt) == ("developerTier", [], 2)
    assert [refusal["training_type"] for refusal in job.refusals] == ["GlobalStandard"]
    (line,) = emulator.bill()["jobs"]
    assert line["training_type"] == "developerTier"
    assert job.cost_usd is not None
    assert abs(Decimal(line["usd"]) - job.cost_usd) < Decimal("0.001")


def test_another_no_of_azure_ends_the_job_and_tries_nothing_else(life: Life) -> None:
    training, _ = life.example(lines=12)
    new = wanted(
        life,
        life.connect(),
        model="gpt-4.1-mini",
        training=training,
        training_types=["GlobalStandard", "developerTier"],
    )
    Emulator(life.emulator_url).strike("jobs.create", status=400, code="invalidPayload", message="No.")
    job = life.drive(JobService(life.bench).create(life.caller, new), until_status=ENDS)
    assert (job.status, job.refusals, job.attempt) == (JobStatus.FAILED, [], 1)
    assert Emulator(life.emulator_url).state()["jobs"] == []


def test_a_training_goes_on_from_a_model_by_any_of_its_names(life: Life) -> None:
    connection = life.connect()
    training, _ = life.example(lines=12)
    first = life.drive(life.job(connection, training), until_status=ENDS)
    ModelService(life.bench).register(first.id)
    model = ModelService(life.bench).find_remote(life.caller.project_id, first.fine_tuned_model or "")
    assert model is not None
    service = JobService(life.bench)
    checkpoint = service.checkpoints(life.caller.project_id, first.id)[0]
    for name in (model.id, model.name, first.id, first.fine_tuned_model, checkpoint.id, checkpoint.model_name):
        plan = service.plan(life.caller, wanted(life, connection, continue_from=name, training=training))
        assert plan.ok, plan.checks
        assert (plan.base_model, plan.continues) == (first.base_model, first.id)
        assert plan.model in {first.fine_tuned_model, checkpoint.model_name}
    job_id = service.create(life.caller, wanted(life, connection, continue_from=model.id, training=training))
    job = life.drive(job_id, until_status=ENDS)
    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert (job.model, job.parent_job_id, job.base_model) == (first.fine_tuned_model, first.id, first.base_model)
    elsewhere = service.plan(
        life.caller, wanted(life, life.connect(name="other"), continue_from=model.id, training=training)
    )
    assert by_code(elsewhere)["continues-elsewhere"].verdict == "error"


def test_data_with_images_needs_a_model_that_sees(life: Life) -> None:
    def row(number: int) -> dict[str, Any]:
        picture = {"type": "image_url", "image_url": {"url": f"https://example.org/{number}.png", "detail": "low"}}
        asked = {"role": "user", "content": [{"type": "text", "text": f"What is {number}?"}, picture]}
        return {"messages": [asked, {"role": "assistant", "content": f"A {number}."}]}

    life.dataset("seen", b"\n".join(json.dumps(row(number)).encode() for number in range(12)))
    service, connection = JobService(life.bench), life.connect()
    blind = service.plan(life.caller, wanted(life, connection, model="gpt-4.1-mini", training="seen@1"))
    assert by_code(blind)["model-without-images"].verdict == "error"
    assert service.plan(life.caller, wanted(life, connection, model="gpt-4.1", training="seen@1")).ok
