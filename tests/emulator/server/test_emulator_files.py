"""Files as Azure keeps them: pending first, refused formats, limits, imports, uploads in parts, refused content."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from azure_published import dated_valid
from emulator_listener import Listener, listening
from emulator_process import PREVIEW, STABLE, Emulator, emulator_process, jsonl, wait_until
from test_emulator_spec import Api


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"prompt,completion\na,b\n", "jsonlValidationFailed"),
        (b'[{"messages": []}]', "jsonlValidationFailed"),
        (b"%PDF-1.4 something", "jsonlValidationFailed"),
        (b"PK\x03\x04 \xff\xff\xff", "not encoded in UTF-8"),
        (b" \r\n\n", "empty"),
    ],
)
def test_what_is_no_json_lines_ends_in_error_and_no_job_takes_it(
    emulator: Emulator, workshop, content: bytes, words: str
):
    client = emulator.v1()
    file_id = workshop.upload(client, content)
    file = client.files.retrieve(file_id)
    assert file.status == "error"
    assert words in (file.status_details or "")
    with pytest.raises(openai.BadRequestError, match="status 'error'; it must be 'processed'"):
        client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file_id)


def test_a_file_of_another_purpose_is_not_looked_into_and_not_trained_on(emulator: Emulator):
    client = emulator.v1()
    file = client.files.create(file=("a.bin", b"\xff\x00"), purpose="evals")
    assert client.files.retrieve(file.id).status == "processed"
    with pytest.raises(openai.BadRequestError, match="purpose 'evals'; it must be 'fine-tune'"):
        client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file.id)


def test_all_files_together_have_a_largest_size(emulator: Emulator, workshop):
    emulator.lever("PUT", "quota", {"file_bytes": 2 * len(jsonl()) + 10})
    client = emulator.v1()
    first = workshop.upload(client)
    workshop.upload(client)
    with pytest.raises(openai.BadRequestError, match="maximum total size of files") as refused:
        workshop.upload(client)
    assert refused.value.code == "quotaExceeded"
    client.files.delete(first)
    assert workshop.upload(client)


def test_a_deleted_file_is_kept_for_its_job_unless_the_job_is_to_need_it(emulator: Emulator, workshop):
    """Source: FileState `deleted` of 2025-04-01-preview: deleted, but may still be referenced by older entities."""
    emulator.clock("manual")
    client = emulator.v1()
    file_id = workshop.upload(client)
    emulator.advance(5)
    emulator.faults(
        {"match": {"operation": "jobs.create"}, "when": {"after_n": 1}, "do": {"fate": {"needs_files": True}}}
    )
    kept, lost = (
        client.fine_tuning.jobs.create(
            model="gpt-4.1-mini", training_file=file_id, hyperparameters={"n_epochs": 1}
        ).id
        for _ in range(2)
    )
    emulator.advance(60)
    client.files.delete(file_id)
    emulator.advance(10_000)
    assert client.fine_tuning.jobs.retrieve(kept).status == "succeeded"
    failed = client.fine_tuning.jobs.retrieve(lost)
    assert (failed.status, failed.error.code) == ("failed", "notFound")
    assert workshop.messages(client, lost)[-2:] == ["Data Import started.", failed.error.message]


def test_data_with_forbidden_words_fails_the_job_and_costs_nothing(emulator: Emulator, workshop):
    """Source of the words: Microsoft Learn, fine-tuning safety evaluation, 2026."""
    emulator.lever("PUT", "safety", {"data": {"violence": ["stab", "SHOOT"], "hate_fairness": ["spit"]}})
    client = emulator.v1()
    job = workshop.finish(client, workshop.submit(client, jsonl(answer=lambda n: f"Shoot {n} times!")).id)
    assert (job.status, job.error.code) == ("failed", "contentFilter")
    assert job.error.message == (
        "The provided training data failed RAI checks for harm types: [violence]. Please fix the data and try again."
    )
    assert not [message for message in workshop.messages(client, job.id) if message.startswith("Step")]
    assert emulator.lever("GET", "billing")["total"]["trained_tokens"] == 0
    assert workshop.trained(client).fine_tuned_model


def test_a_model_of_forbidden_words_is_refused_after_job_succeeded_was_said(emulator: Emulator, workshop):
    emulator.lever("PUT", "safety", {"model": {"Violence": ["stab"], "Self Harm": ["drown"]}})
    client = emulator.v1()
    job = workshop.finish(client, workshop.submit(client, jsonl(answer=lambda n: f"Stab or drown {n}.")).id)
    assert job.status == "failed"
    assert job.error.message == (
        "This model is unable to be deployed. Model evaluation identified that this fine tuned model scores above"
        " acceptable thresholds for [Violence, Self Harm]. Please review your training data set and resubmit the job."
    )
    assert workshop.messages(client, job.id)[-2:] == ["Job succeeded.", job.error.message]
    assert job.fine_tuned_model is None
    assert emulator.lever("GET", "billing")["total"]["trained_tokens"] == 0


# Imports


def _import(emulator: Emulator, url: str, version: str = PREVIEW, **given: Any):
    body = {"purpose": "fine-tune", "filename": "puppy.jsonl", "content_url": url} | given
    return emulator.http.post(f"/openai/files/import?api-version={version}", json=body)


@pytest.mark.parametrize("version", [PREVIEW, STABLE])
def test_a_file_is_imported_from_a_url(emulator: Emulator, listener: Listener, version: str):
    listener.content["/train.jsonl?sig=x"] = jsonl()
    listener.held.clear()
    answer = _import(emulator, f"{listener.url}/train.jsonl?sig=x", version)
    assert answer.status_code == 201
    dated_valid("File", answer.json())
    assert (answer.json()["status"], "bytes" in answer.json()) == ("pending", False)
    file_id = answer.json()["id"]
    assert emulator.http.get(answer.headers["location"]).json()["status"] == "pending"
    listener.held.set()
    client = emulator.v1()
    wait_until(lambda: client.files.retrieve(file_id).status == "processed")
    assert client.files.retrieve(file_id).bytes == len(jsonl())
    assert client.files.content(file_id).read() == jsonl()


def test_an_import_that_fails_ends_in_error(emulator: Emulator, listener: Listener):
    client = emulator.v1()
    listener.content["/csv"] = b"a,b\n"
    for path, words in (("/nothing", "fileImportFailed"), ("/csv", "jsonlValidationFailed")):
        file_id = _import(emulator, listener.url + path).json()["id"]
        wait_until(lambda file_id=file_id: client.files.retrieve(file_id).status == "error")
        assert words in (client.files.retrieve(file_id).status_details or "")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"content_url": "http://192.0.2.7/a"}, "this machine only"),
        ({"content_url": "file:///etc/passwd"}, "no http or https URL"),
        ({"content_url": "http://[::1"}, "is no URL"),
        ({"content_url": 5}, "content_url"),
        ({"filename": ""}, "filename"),
        ({"purpose": "spying"}, "purpose"),
        ({"expires_after": {"seconds": 5}}, "expires_after.seconds"),
    ],
)
def test_a_wrong_import_is_refused(emulator: Emulator, given: dict[str, Any], words: str):
    answer = _import(emulator, **({"url": "http://127.0.0.1:9/x"} | given))
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert emulator.lever("GET", "state")["counts"]["files"] == 0


def test_v1_imports_nothing(emulator: Emulator):
    answer = emulator.http.post("/openai/v1/files/import", json={"purpose": "fine-tune"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Resource not found")


# Large files


class _Uploads:
    """The calls of one upload, with the SDK's way to say it."""

    def __init__(self, emulator: Emulator, size: int) -> None:
        self.client = emulator.dated()
        self.id = self.client.uploads.create(
            bytes=size, filename="big.jsonl", mime_type="application/json", purpose="fine-tune"
        ).id

    def part(self, data: bytes) -> str:
        return self.client.uploads.parts.create(self.id, data=("part", data)).id

    def complete(self, parts: list[str], **given: Any):
        return self.client.uploads.complete(self.id, part_ids=parts, **given)


def test_parts_are_joined_in_the_order_given_and_checked(emulator: Emulator):
    content = jsonl()
    upload = _Uploads(emulator, len(content))
    second, first = upload.part(content[700:]), upload.part(content[:700])
    with pytest.raises(openai.BadRequestError, match=f"{len(content) - 700} bytes together"):
        upload.complete([second])
    with pytest.raises(openai.BadRequestError, match="does not belong"):
        upload.complete([first, "bm9uZQ=="])
    with pytest.raises(openai.BadRequestError, match="MD5"):
        upload.complete([first, second], md5=hashlib.md5(b"other", usedforsecurity=False).hexdigest())
    done = upload.complete([first, second], md5=hashlib.md5(content, usedforsecurity=False).hexdigest())
    assert (done.status, done.file.bytes) == ("completed", len(content))
    dated_valid("UploadResource", done.to_dict())
    assert emulator.v1().files.content(done.file.id).read() == content
    assert len(base64.b64decode(first)) == 16
    with pytest.raises(openai.BadRequestError, match="status 'completed'; it must be 'pending'"):
        upload.complete([first, second])


def test_an_upload_lives_two_hours_of_virtual_time(emulator: Emulator):
    content = jsonl()
    late, cancelled = _Uploads(emulator, len(content)), _Uploads(emulator, 5)
    assert cancelled.client.uploads.cancel(cancelled.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="status 'cancelled'"):
        cancelled.part(b"x")
    part = late.part(content)
    emulator.advance(2 * 3600)
    with pytest.raises(openai.BadRequestError, match="status 'expired'; it must be 'pending'") as refused:
        late.complete([part])
    assert refused.value.code == "unexpectedEntityState"


def test_a_plain_upload_that_is_too_large_is_taken_and_fails_its_job(emulator: Emulator, workshop):
    """Source: Microsoft's fine-tuning notes, large file uploads, 2026-08 (the threshold there is 150 MB)."""
    content = jsonl()
    with emulator_process(plain_upload_bytes=str(len(content) - 1)) as small:
        client = small.v1()
        job = workshop.finish(client, workshop.submit(client, content).id)
        assert (job.status, job.error.code) == ("failed", "internalFailure")
        assert workshop.messages(client, job.id)[-2:] == ["Data Import started.", job.error.message]
        upload = _Uploads(small, len(content))
        file_id = upload.complete([upload.part(content)]).file.id
        client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file_id)
        api = Api(small, PREVIEW)
        assert api.submit(file_id, hyperparameters={"n_epochs": 1}).status_code == 201
        job_id = client.fine_tuning.jobs.list().data[0].id
        assert workshop.finish(client, job_id).status == "succeeded"


def test_wrong_safety_words_are_refused(emulator: Emulator):
    for body in ({"model": []}, {"data": {"x": "word"}}, {"data": {"x": [1]}}, {"other": {}}):
        assert emulator.http.put("/_emulator/safety", content=json.dumps(body)).status_code == 400
    assert emulator.lever("GET", "safety") == {"data": {}, "model": {}}
