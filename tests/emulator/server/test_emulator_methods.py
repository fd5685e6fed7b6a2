"""Preference and reinforcement jobs on the wire: what they take, how they look, what they measure, when they pause."""

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from azure_published import _published, dated_valid, v1_valid
from emulator_process import PREVIEW, Emulator, wait_until
from jsonschema import Draft202012Validator
from test_emulator_spec import Api

NATIVE_DEVIATIONS: dict[str, tuple[Any, str]] = {
    "required": (
        ["id", "created_at", "error", "model", "organization_id", "result_files", "seed", "status"],
        "hyperparameters stand in `method` only",
    ),
    "properties/error": ({"type": "object"}, "`error` is an empty object while there is none"),
    "properties/status/enum": (
        [
            "validating_files",
            "queued",
            "running",
            "pausing",
            "paused",
            "resuming",
            "succeeded",
            "failed",
            "cancelled",
        ],
        "2025-04-01-preview has the paused states",
    ),
}
"""Where jobs of the second back end leave the v1 schema, and why. Source: Microsoft's Agentic_RFT notebook, 2025-12."""


def _native() -> Draft202012Validator:
    document = copy.deepcopy(_published("v1-schemas.json"))
    schema = document["components"]["schemas"]["OpenAI.FineTuningJob"]
    for path, (value, _) in NATIVE_DEVIATIONS.items():
        *steps, last = path.split("/")
        node = schema
        for step in steps:
            node = node[step]
        assert node[last] != value
        node[last] = value
    return Draft202012Validator({**document, "$ref": "#/components/schemas/OpenAI.FineTuningJob"})


NATIVE = _native()
PAYLOADS = Path(__file__).resolve().parents[2] / "data" / "azure-payloads"
GRADER = {
    "type": "string_check",
    "name": "label",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.label }}",
    "operation": "eq",
}
GOOD, BAD = ("great", "lovely", "superb"), ("awful", "horrible", "nasty")


def _pairs(count: int = 12) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "input": {"messages": [{"role": "user", "content": f"What is {number} plus {number}?"}]},
                "preferred_output": [{"role": "assistant", "content": f"Aye, that is {2 * number}, captain."}],
                "non_preferred_output": [{"role": "assistant", "content": f"The sum is {2 * number}."}],
            }
        ).encode()
        for number in range(count)
    )


def _questions(things: tuple[str, ...] = ("film", "meal")) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "messages": [{"role": "user", "content": f"The {thing} was {word}. Good or bad?"}],
                "label": "good" if word in GOOD else "bad",
            }
        ).encode()
        for thing in things
        for word in GOOD + BAD
    )


def _dpo(**hyperparameters: Any) -> dict[str, Any]:
    return {"method": {"type": "dpo", "dpo": {"hyperparameters": hyperparameters}}}


def _rft(grader: object = None, **hyperparameters: Any) -> dict[str, Any]:
    inner = {"grader": GRADER if grader is None else grader, "hyperparameters": hyperparameters}
    return {"model": "o4-mini", "method": {"type": "reinforcement", "reinforcement": inner}}


def test_a_preference_job_learns_what_is_preferred_and_looks_like_any_other(emulator: Emulator, workshop):
    client, api = emulator.v1(), Api(emulator, None)
    file_id = workshop.upload(client, _pairs())
    made = api.submit(file_id, **_dpo(n_epochs=2), seed=3).json()
    v1_valid("OpenAI.FineTuningJob", made)
    assert made["method"]["dpo"]["hyperparameters"] == {
        "batch_size": -1,
        "learning_rate_multiplier": 1.0,
        "n_epochs": 2,
        "beta": -1,
    }
    job = workshop.finish(client, made["id"])
    assert job.status == "succeeded", job.error
    shown = api.call("GET", f"/fine_tuning/jobs/{job.id}").json()
    v1_valid("OpenAI.FineTuningJob", shown)
    assert shown["method"]["dpo"]["hyperparameters"]["beta"] == 0.1
    dated_valid("FineTuningJob", Api(emulator, PREVIEW).call("GET", f"/fine_tuning/jobs/{job.id}").json())
    rows = list(csv.DictReader(client.files.content(job.result_files[0]).text.splitlines()))
    assert float(rows[0]["train_loss"]) == pytest.approx(0.6931, abs=1e-3)
    assert float(rows[-1]["train_loss"]) < 0.5
    assert "Step 1: training loss=0.693" in "".join(workshop.messages(client, job.id))
    emulator.deploy("tuned", job.fine_tuned_model)
    ask = [{"role": "user", "content": "What is 5 plus 5?"}]
    answer = client.chat.completions.create(model="tuned", messages=ask, temperature=0)
    assert (answer.choices[0].message.content or "").startswith("Aye")
    assert job.trained_tokens


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"messages": []}, "an object 'input'"),
        ({"input": {"messages": [{"role": "user", "content": "x"}]}}, "non-empty list 'preferred_output'"),
        (
            {
                "input": {"messages": [{"role": "user", "content": "x"}]},
                "preferred_output": [{"role": "user", "content": "x"}],
                "non_preferred_output": [{"role": "assistant", "content": "x"}],
            },
            "'preferred_output' must have at least one message with role 'assistant'",
        ),
    ],
)
def test_a_bad_pair_fails_the_job_with_its_line(emulator: Emulator, workshop, line: dict[str, Any], words: str):
    client = emulator.v1()
    content = _pairs() + b"\n" + json.dumps(line).encode()
    job = workshop.finish(client, workshop.submit(client, content, **_dpo()).id)
    assert (job.status, job.error.code) == ("failed", "invalidPayload")
    assert "line 13" in job.error.message
    assert words in job.error.message


def test_a_reinforcement_job_speaks_as_openai_does(emulator: Emulator, workshop):
    """Compared with the job just created in Microsoft's Agentic_RFT notebook, 2025-12."""
    emulator.clock("manual")
    api = Api(emulator, None)
    file_id = workshop.upload(emulator.v1(), _questions())
    emulator.advance(5)
    made = api.submit(file_id, **_rft(), suffix="labels", metadata={"a": "b"}).json()
    NATIVE.validate(made)
    members = {
        "id", "created_at", "error", "fine_tuned_model", "finished_at", "model", "object", "organization_id",
        "result_files", "seed", "status", "trained_tokens", "training_file", "validation_file", "estimated_finish",
        "integrations", "metadata", "method", "user_provided_suffix", "usage_metrics", "shared_with_openai", "eval_id",
    }  # fmt: skip
    assert set(made) == members
    assert made["id"].startswith("ftjob-")
    assert len(made["id"]) == 30
    assert made["organization_id"].startswith("org-")
    assert (made["error"], made["result_files"], made["status"]) == ({}, [], "validating_files")
    assert made["method"]["reinforcement"] == {
        "grader": GRADER,
        "hyperparameters": {
            "n_epochs": "auto",
            "batch_size": "auto",
            "learning_rate_multiplier": "auto",
            "compute_multiplier": "auto",
            "eval_interval": "auto",
            "eval_samples": "auto",
            "reasoning_effort": "default",
        },
    }
    dated = Api(emulator, PREVIEW).call("GET", f"/fine_tuning/jobs/{made['id']}").json()
    assert (dated["status"], dated["metadata"]) == ("validating_files", None)
    assert emulator.v1().fine_tuning.jobs.cancel(made["id"]).status == "cancelled"


def test_a_reinforcement_job_learns_what_its_grader_rewards(emulator: Emulator, workshop):
    client = emulator.v1()
    file_id = workshop.upload(client, _questions())
    validation = workshop.upload(client, _questions(("book",)))
    given = _rft(n_epochs=3, batch_size=2, learning_rate_multiplier=2)
    job = client.fine_tuning.jobs.create(training_file=file_id, validation_file=validation, seed=1, **given)
    job = workshop.finish(client, job.id, 120)
    assert job.status == "succeeded", job.error
    NATIVE.validate(Api(emulator, None).call("GET", f"/fine_tuning/jobs/{job.id}").json())
    rows = list(csv.DictReader(client.files.content(job.result_files[0]).text.splitlines()))
    assert "train_mean_reward" in rows[0]
    rewards = [float(row["train_mean_reward"]) for row in rows]
    assert sum(rewards[-6:]) > sum(rewards[:6]) + 1
    assert float(rows[-1]["full_valid_mean_reward"]) >= 0.5
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert len(checkpoints) == 3
    assert checkpoints[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    emulator.deploy("labels", job.fine_tuned_model)
    ask = [{"role": "user", "content": "The film was great. Good or bad?"}]
    answer = client.chat.completions.create(model="labels", messages=ask, temperature=0)
    assert answer.choices[0].message.content in {"good", "bad"}


def test_a_reinforcement_job_pauses_when_it_has_spent_its_money_and_goes_on_once_resumed(
    emulator: Emulator, workshop
):
    """Source: Microsoft Learn, fine-tuning cost management, 2026-03-19 (5,000 USD; 100 USD an hour)."""
    emulator.lever("PUT", "quota", {"rft_usd": 10})
    emulator.clock("manual")
    emulator.lever("PUT", "pace", {"step": 180})
    client = emulator.v1()
    file_id = workshop.upload(client, _questions())
    emulator.advance(5)
    given = _rft(n_epochs=1, batch_size=2)
    job_id = client.fine_tuning.jobs.create(training_file=file_id, validation_file=file_id, **given).id

    def status() -> str:
        return client.fine_tuning.jobs.retrieve(job_id).status

    emulator.advance(25 + 90 + 40 + 180 + 1)
    assert status() == "running"
    emulator.advance(180 + 180)
    assert status() == "paused"
    assert workshop.messages(client, job_id)[-1] == "Job paused."
    emulator.advance(100_000)
    assert status() == "paused"
    client.fine_tuning.jobs.resume(job_id)
    emulator.advance(180 * 6)
    assert status() == "succeeded"
    assert workshop.messages(client, job_id)[-1] == "Training hours billed: 0.300"
    line = emulator.lever("GET", "billing")["jobs"][0]
    assert (line["trained_tokens"], float(line["usd"])) == (0, pytest.approx(30))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"validation_file": None}, "'validation_file' is required"),
        (_rft(grader={}), "method.reinforcement.grader.type"),
        (_rft(grader={**GRADER, "operation": "is"}), "operation"),
        (_rft(grader={"type": "python", "name": "p", "source": "def grade(sample, item): return 1"}), "no code"),
        (_rft(reasoning_effort="utmost"), "reasoning_effort"),
        (_rft(eval_interval=0), "eval_interval"),
        ({"model": "gpt-4.1"}, "does not support the method 'reinforcement'"),
        ({"method": None}, "does not support the method 'supervised'"),
    ],
)
def test_a_wrong_reinforcement_job_is_refused(emulator: Emulator, workshop, given: dict[str, Any], words: str):
    api = Api(emulator, None)
    file_id = workshop.upload(emulator.v1(), _questions())
    answer = api.submit(file_id, **(_rft() | given))
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_questions_that_end_in_an_answer_fail_a_reinforcement_job(emulator: Emulator, workshop):
    client = emulator.v1()
    line = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
    content = json.dumps(line).encode() + b"\n" + _questions()
    file_id = workshop.upload(client, content)
    job = client.fine_tuning.jobs.create(training_file=file_id, validation_file=file_id, **_rft())
    job = workshop.finish(client, job.id)
    assert (job.status, job.error.code) == ("failed", "invalidPayload")
    assert "the last message must have role 'user'" in job.error.message


def test_a_pending_job_of_each_kind_reads_like_azures_own(emulator: Emulator, workshop):
    """The supervised one has exactly the members of the real sample; -1 stands where Azure will choose."""
    file_id = workshop.upload(emulator.v1())
    wait_until(lambda: emulator.v1().files.retrieve(file_id).status == "processed")
    sample = PAYLOADS / "azure-notebook.job.create.gpt-4.1-nano.developerTier.pending.json"
    real = {name for name in json.loads(sample.read_text()) if name != "_source"}
    given = {"model": "gpt-4.1-nano", "trainingType": "developerTier", "suffix": "x"}
    assert set(Api(emulator, None).submit(file_id, **given).json()) == real
    with_method = Api(emulator, None).submit(file_id, **given, method={"type": "supervised"}).json()
    assert set(with_method) - real == {"method"}
