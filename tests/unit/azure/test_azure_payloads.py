"""Real answers of Azure, read into our values."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import shared

from app.azure import payloads
from app.azure.payloads import UnreadableAnswerError

PAYLOADS = Path(__file__).resolve().parents[2] / "data" / "azure-payloads"


def body(name: str, *, response: str | None = None) -> Any:
    """The JSON of one file: as it is, inside a notebook's output, or the body of a spec example."""
    text = (PAYLOADS / name).read_text(encoding="utf-8")
    parsed = payloads.decode(text[text.index("{") : text.rindex("}") + 1].encode())
    return parsed if response is None else parsed["responses"][response]["body"]


def test_a_fresh_job_of_the_notebook_has_nulls_where_openai_has_lists():
    job = payloads.job_from(body("azure-notebook.image_breed.job_pending_nulls.txt"))
    assert (job.status, job.model, job.seed) == ("pending", "gpt-4o-2024-08-06", 42)
    assert (job.fine_tuned_model, job.error, job.result_files, job.trained_tokens) == (None, None, (), None)
    assert (dict(job.metadata), job.suffix) == ({}, None)
    assert job.hyperparameters == {"batch_size": -1, "learning_rate_multiplier": 0.5, "n_epochs": 2}
    assert job.created_at == datetime(2025, 9, 9, 14, 45, 32, tzinfo=UTC)
    assert job.estimated_finish_at == datetime(2025, 9, 10, 6, 44, 20, tzinfo=UTC)


def test_a_fresh_job_of_another_family_keeps_its_spellings():
    job = payloads.job_from(body("azure-notebook.sarcasm.ministral_job.txt"))
    assert (job.model, job.suffix, job.status) == ("Ministral-3B", "sarcasm-DeepSeek-V31-90f2f57b", "pending")
    assert job.raw["trainingType"] == "globalStandard"
    assert job.hyperparameters["n_epochs"] == 50


def test_a_reinforcement_job_comes_in_openais_own_shape():
    job = payloads.job_from(body("azure-notebook.rft_endpointgrader.job_create.txt"))
    assert (job.remote_id, job.status) == ("ftjob-QRLPhli5Hi1Yzoe1ODNRrnhH", "validating_files")
    assert job.suffix == "dv-endpoint-countdown-ft-f83f16a5"
    assert (job.error, job.result_files, job.estimated_finish_at) == (None, (), None)
    assert job.hyperparameters["reasoning_effort"] == "default"
    assert job.hyperparameters["n_epochs"] == "auto"


def test_a_job_that_succeeded_names_its_model_files_and_tokens():
    job = payloads.job_from(body("azure-notebook.job.get.gpt-4.1.succeeded.json"))
    assert job.fine_tuned_model == "gpt-4.1-2025-04-14.ft-70ee3e37776e4428b20685fcd0728abb-gpt41-chart-qa-dev-01"
    assert (job.trained_tokens, job.result_files) == (129488088, ("file-32a99fe9d7f243e4b59589a43daa2160",))
    assert job.finished_at == datetime(2025, 5, 17, 18, 53, 15, tzinfo=UTC)


def test_a_developer_tier_job_is_read():
    job = payloads.job_from(body("azure-notebook.job.create.gpt-4.1-nano.developerTier.pending.json"))
    assert (job.raw["trainingType"], job.hyperparameters["learning_rate_multiplier"]) == ("developerTier", 0.1)


@pytest.mark.parametrize(
    ("name", "response", "remote_id", "status"),
    [
        ("azspec-2024-10-21.get_finetuning_job.json", "200", "ft-72a2792ef7d24ba7b82c7fe4a37e379f", "succeeded"),
        ("azspec-2024-10-21.post_finetuning_job.json", "201", "ft-72a2792ef7d24ba7b82c7fe4a37e379f", "pending"),
        ("java.FineTuningJob.json", None, "ftjob-abc123", "succeeded"),
        ("openapi.get.fine_tuning_jobs_fine_tuning_job_id.json", None, "ftjob-abc123", "succeeded"),
        ("openapi.post.fine_tuning_jobs.1.json", None, "ftjob-abc123", "queued"),
        ("openapi.post.fine_tuning_jobs.3.json", None, "ftjob-abc123", "validating_files"),
        ("openapi.post.fine_tuning_jobs_fine_tuning_job_id_pause.json", None, "ftjob-abc123", "paused"),
        ("openapi.schema.FineTuningJob.json", None, "ftjob-abc123", "succeeded"),
    ],
)  # fmt: skip
def test_every_published_job_is_read(name: str, response: str | None, remote_id: str, status: str):
    job = payloads.job_from(body(name, response=response))
    assert (job.remote_id, job.status, job.error) == (remote_id, status, None)


def test_an_estimate_of_zero_and_an_error_of_nulls_mean_that_there_is_none():
    assert body("openapi.get.fine_tuning_jobs_fine_tuning_job_id.json")["estimated_finish"] == 0
    assert (
        payloads.job_from(body("openapi.get.fine_tuning_jobs_fine_tuning_job_id.json")).estimated_finish_at is None
    )
    assert body("openapi.post.fine_tuning_jobs.1.json")["error"] == {"code": None, "message": None, "param": None}
    assert payloads.job_from({"id": "j", "error": {"code": "x", "message": None}}).error == {
        "code": "x",
        "message": None,
    }


def test_metadata_is_read():
    assert payloads.job_from(body("openapi.schema.FineTuningJob.json")).metadata == {"key": "value"}


@pytest.mark.parametrize(
    ("name", "response", "status", "size"),
    [
        ("azspec-2024-10-21.upload_file.json", "201", "pending", None),
        ("azure-notebook.sarcasm.eval_file.txt", None, "processed", 2510),
        ("java.File.json", None, "error", 175),
    ],
)
def test_every_published_file_is_read(name: str, response: str | None, status: str, size: int | None):
    found = payloads.file_from(body(name, response=response))
    assert (found.status, found.bytes) == (status, size)


def test_a_page_of_files_is_read():
    files = [
        payloads.file_from(raw)
        for raw in payloads.items_of(body("azspec-2024-10-21.get_files.json", response="200"))
    ]
    assert files
    assert all(found.remote_id.startswith("file-") and found.created_at for found in files)


def test_events_that_run_forward_are_put_in_order_too():
    events = [
        payloads.event_from(raw)
        for raw in payloads.items_of(body("azspec-2024-10-21.get_finetuning_job_events.json", response="200"))
    ]
    assert [event.message for event in payloads.oldest_first(events)][-1] == "Job succeeded."
    assert payloads.oldest_first(events) == payloads.oldest_first(list(reversed(events)))


def test_an_old_event_without_an_id_gets_one_that_stays_the_same():
    first = payloads.event_from(body("java.FineTuneEvent.json"))
    assert first.remote_id.startswith("ftevent-derived-")
    assert first == payloads.event_from(body("java.FineTuneEvent.json"))


def test_metrics_events_keep_their_numbers():
    event = payloads.event_from(
        {"id": "e", "created_at": 1715825614, "level": "info", "type": "metrics", "data": {"step": 100, "train_loss": 3.814697265625e-06}}
    )  # fmt: skip
    assert (event.type, event.data["train_loss"]) == ("metrics", 3.814697265625e-06)


def test_checkpoints_name_a_model_each_and_the_last_one_the_final_model():
    page = body("azspec-2024-10-21.get_finetuning_job_checkpoints.json", response="200")
    found = [payloads.checkpoint_from(raw) for raw in payloads.items_of(page)]
    assert all(checkpoint.model_name and checkpoint.step for checkpoint in found)
    assert {type(value) for checkpoint in found for value in checkpoint.metrics.values()} == {float}
    other = body("openapi.get.fine_tuning_jobs_fine_tuning_job_id_checkpoints.json")
    assert [payloads.checkpoint_from(raw).step for raw in payloads.items_of(other)] == [2000, 1000]


def test_a_recorded_deployment_is_read_as_arm_wrote_it():
    recording = body("azure-cli.recording.deployment_put_get_list_delete.json")
    answers = [
        payloads.decode(entry["response"]["body"].encode())
        for entry in recording["interactions"]
        if entry["response"]["body"]
    ]
    made = payloads.deployment_from(answers[1])
    assert (made.name, made.provisioning_state, made.model_name, made.sku_name, made.capacity, dict(made.tags)) == (
        "dpy", "Succeeded", "gpt-35-turbo", "Standard", 1, {},
    )  # fmt: skip
    assert payloads.items_of(answers[0], "value") == []
    assert payloads.deployment_from(payloads.items_of(answers[2], "value")[0]) == made


def test_the_deployment_of_the_arm_example_is_read():
    made = payloads.deployment_from(body("armspec-2023-05-01.PutDeployment.json", response="201"))
    assert (made.name, made.provisioning_state) == ("deploymentName", "Accepted")


def test_an_upload_without_a_file_in_it_cannot_be_read():
    with pytest.raises(UnreadableAnswerError):
        payloads.uploaded_file_from(body("openapi.post.uploads.json"))


@pytest.mark.parametrize("name", sorted(path.name for path in PAYLOADS.iterdir()))
def test_each_of_these_files_is_read_by_some_test(name: str):
    own_words = Path(__file__).read_text(encoding="utf-8").replace("test_each_of_these", "")
    special = {"azure-notebook.sarcasm.train_valid_files.txt"}  # two objects in one file, read below
    assert name in own_words or name in special


def test_two_objects_in_one_notebook_output_are_both_files():
    text = (PAYLOADS / "azure-notebook.sarcasm.train_valid_files.txt").read_text(encoding="utf-8")
    decoder, at, found = json.JSONDecoder(), text.index("{"), []
    while at >= 0:
        raw, end = decoder.raw_decode(text, at)
        found.append(payloads.file_from(raw))
        at = text.find("{", end)
    assert [(f.bytes, f.status) for f in found] == [(120909, "processed"), (30810, "processed")]


REAL_PAGES = ("3-api/azspec-2024-10-21.get_files.json", "3-api/azure-notebook.chart.job_succeeded_python_repr.txt")


@pytest.mark.parametrize("name", REAL_PAGES)
def test_a_real_file_beside_the_checkout_never_breaks_the_decoder(name: str):
    content = shared(name).read_bytes()
    try:
        payloads.decode(content)
    except UnreadableAnswerError:
        assert name.endswith(".txt")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "status", "model", "created_at", "finished_at", "estimated_finish", "error", "result_files", "metadata", "hyperparameters",
    "method", "seed", "suffix", "user_provided_suffix", "trained_tokens", "level", "message", "data", "type", "metrics", "bytes",
    "step_number", "properties", "sku", "tags", "currentValue", "limit", "unit", "filename", "fine_tuned_model",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), anything))
def test_no_odd_field_ever_breaks_an_object_that_has_its_id(odd: dict[str, Any]):
    raw = odd | {"id": "x", "name": "n", "fine_tuned_model_checkpoint": "m"}
    assert payloads.job_from(raw).remote_id == "x"
    assert payloads.file_from(raw).remote_id == "x"
    assert payloads.event_from(raw).remote_id == "x"
    assert payloads.checkpoint_from(raw).model_name == "m"
    assert payloads.deployment_from(raw).name == "n"
    payloads.operation_from(raw, retry_after_seconds=None)
    payloads.usage_from(raw)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"x"', b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_not_an_object_is_named_unreadable(content: bytes):
    with pytest.raises(UnreadableAnswerError):
        payloads.decode_object(content)


def test_a_byte_that_is_not_utf8_does_not_hide_the_rest():
    assert payloads.decode_object(b'\xef\xbb\xbf{"id": "a\xff"}') == {"id": "a\ufffd"}


def test_what_a_database_refuses_is_replaced():
    assert payloads.decode(b'{"a\\u0000":["\\ud800","\\ud83d\\ude00",NaN,1e999]}') == {
        "a\ufffd": ["\ufffd", "\U0001f600", None, None]
    }


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1757429132, 1757429132), ("1757429132", 1757429132), (1757429132.5, 1757429132.5), ("2025-09-09T14:45:32Z", 1757429132),
     ("2025-09-09T14:45:32", 1757429132), (0, None), (-5, None), (None, None), (True, None), ("soon", None), (10**30, None), ([], None)],
)  # fmt: skip
def test_a_moment_is_read_in_any_of_its_spellings(value: object, seconds: float | None):
    found = payloads.moment(value)
    assert (None if found is None else found.timestamp()) == seconds
