"""Answers hold against Microsoft's published schemas; where the real service leaves them, the deviation is listed."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from azure_published import dated_valid, v1_valid
from emulator_process import PREVIEW, STABLE, Emulator, jsonl

DATA = Path(__file__).resolve().parents[2] / "data"
ARM = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acc"
CHAT = {"messages": [{"role": "user", "content": "What is 1 plus 1?"}], "max_tokens": 20}


class Api:
    """Raw calls to one form of the data plane."""

    def __init__(self, emulator: Emulator, version: str | None) -> None:
        self.http = emulator.http
        self.prefix = "/openai" if version else "/openai/v1"
        self.query = {"api-version": version} if version else {}

    def call(self, method: str, path: str, **given: Any):
        return self.http.request(method, self.prefix + path, params=self.query, **given)

    def upload(self, content: bytes | None = None):
        return self.call(
            "POST", "/files", data={"purpose": "fine-tune"}, files={"file": ("t.jsonl", content or jsonl())}
        )

    def submit(self, file_id: str, **given: Any):
        body = {"model": "gpt-4.1-mini", "training_file": file_id, "validation_file": file_id} | given
        return self.call("POST", "/fine_tuning/jobs", json=body)


FORMS = [
    pytest.param(None, id="v1"),
    pytest.param(PREVIEW, id="preview"),
    pytest.param(STABLE, id="stable"),
]


def _valid(version: str | None, v1_name: str, dated_name: str, body: object) -> None:
    if version is None:
        v1_valid(v1_name, body)
    else:
        dated_valid(dated_name, body)


@pytest.mark.parametrize("version", FORMS)
def test_every_answer_about_files_is_valid(emulator: Emulator, version: str | None):
    api = Api(emulator, version)
    fresh = api.upload()
    assert fresh.status_code == (201 if version else 200)
    assert ("location" in fresh.headers) == bool(version)
    _valid(version, "AzureOpenAIFile", "File", fresh.json())
    assert fresh.json()["status"] == "pending"
    assert fresh.json().get("bytes") is None
    file_id = fresh.json()["id"]
    if version:
        assert emulator.http.get(fresh.headers["location"]).json()["id"] == file_id
    _valid(version, "AzureOpenAIFile", "File", api.call("GET", f"/files/{file_id}").json())
    _valid(version, "AzureListFilesResponse", "FileList", api.call("GET", "/files").json())
    assert api.call("GET", f"/files/{file_id}/content").content == jsonl()
    _valid(version, "OpenAI.DeleteFileResponse", "FileDelete", api.call("DELETE", f"/files/{file_id}").json())


@pytest.mark.parametrize("version", FORMS)
def test_every_answer_about_jobs_is_valid_in_every_state(emulator: Emulator, version: str | None):
    emulator.clock("manual")
    emulator.lever("PUT", "pace", {"step": 10})
    api = Api(emulator, version)
    file_id = api.upload().json()["id"]
    emulator.advance(10)
    created = api.submit(file_id, seed=1, suffix="abc", hyperparameters={"n_epochs": 2})
    assert created.status_code == (201 if version else 200)
    job_id = created.json()["id"]
    statuses = []
    for body in (created.json(), *_bodies_over_time(emulator, api, job_id)):
        _valid(version, "OpenAI.FineTuningJob", "FineTuningJob", body)
        statuses.append(body["status"])
        assert None not in body.values()
    seen = list(dict.fromkeys(statuses))
    assert seen == ["pending", *(["queued"] if version is None else []), "running", "succeeded"]
    jobs = api.call("GET", "/fine_tuning/jobs").json()
    _valid(version, "OpenAI.ListPaginatedFineTuningJobsResponse", "FineTuningJobList", jobs)
    events = api.call("GET", f"/fine_tuning/jobs/{job_id}/events").json()
    _valid(version, "OpenAI.ListFineTuningJobEventsResponse", "FineTuningJobEventList", events)
    checkpoints = api.call("GET", f"/fine_tuning/jobs/{job_id}/checkpoints").json()
    _valid(version, "OpenAI.ListFineTuningJobCheckpointsResponse", "FineTuningJobCheckpointList", checkpoints)
    assert len(checkpoints["data"]) == 2


def _bodies_over_time(emulator: Emulator, api: Api, job_id: str):
    for _ in range(60):
        emulator.advance(10)
        yield api.call("GET", f"/fine_tuning/jobs/{job_id}").json()


@pytest.mark.parametrize("version", FORMS)
def test_every_answer_about_models_is_valid(emulator: Emulator, version: str | None):
    api = Api(emulator, version)
    _valid(version, "OpenAI.ListModelsResponse", "ModelList", api.call("GET", "/models").json())
    _valid(version, "OpenAI.Model", "Model", api.call("GET", "/models/gpt-4.1-mini-2025-04-14").json())


@pytest.mark.parametrize("version", FORMS)
def test_every_refusal_is_valid(emulator: Emulator, version: str | None):
    api = Api(emulator, version)
    for answer, status in (
        (api.call("GET", "/files/file-none"), 404),
        (api.call("GET", "/fine_tuning/jobs/ftjob-none/events"), 404),
        (api.call("GET", "/nothing"), 404),
        (api.call("POST", "/fine_tuning/jobs", json={}), 400),
        (api.call("POST", "/fine_tuning/jobs", content=b"{"), 400),
        (api.call("GET", "/fine_tuning/jobs", headers={"api-key": "", "authorization": ""}), 401),
    ):
        assert answer.status_code == status, answer.text
        body = answer.json()
        _valid(
            version, "AzureErrorResponse", "ErrorResponse", body | {"error": body["error"] | _open_code(version)}
        )
        assert ("inner_error" in body["error"]) == (version is None and body["error"]["code"] == "invalidPayload")
        assert ("innererror" in body["error"]) == (
            version is not None and body["error"]["code"] == "invalidPayload"
        )


def _open_code(version: str | None) -> dict[str, str]:
    """The dated ErrorCode is an open enumeration (`modelAsString`); the gateway's numbers are not listed in it."""
    return {} if version is None else {"code": "notFound"}


def test_chat_answers_are_valid_whole_and_streamed(emulator: Emulator):
    emulator.deploy("base", "gpt-4.1-mini")
    body = {"model": "base", **CHAT, "n": 2}
    v1_valid(
        "AzureCreateChatCompletionResponse", emulator.http.post("/openai/v1/chat/completions", json=body).json()
    )
    streamed = emulator.http.post(
        "/openai/v1/chat/completions", json={**body, "stream": True, "stream_options": {"include_usage": True}}
    )
    lines = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    for line in lines[:-1]:
        v1_valid("AzureCreateChatCompletionStreamResponse", json.loads(line))


def test_a_job_has_the_members_of_a_real_one(emulator: Emulator):
    """Compared with the succeeded gpt-4.1 job and the pending gpt-4.1-nano job of Microsoft's notebooks."""
    api = Api(emulator, None)
    file_id = api.upload().json()["id"]
    pending = api.submit(file_id, suffix="abc", trainingType="developerTier", model="gpt-4.1-nano").json()
    real = _payload("azure-notebook.job.create.gpt-4.1-nano.developerTier.pending.json")
    assert set(pending) == set(real)
    assert pending["hyperparameters"] == real["hyperparameters"]
    assert {type(pending[name]) for name in real} == {type(value) for value in real.values()}
    done = pending
    while done["status"] != "succeeded":
        done = api.call("GET", f"/fine_tuning/jobs/{pending['id']}").json()
    real = _payload("azure-notebook.job.get.gpt-4.1.succeeded.json")
    assert set(done) == set(real) | {"trainingType"}


def test_a_deployment_has_the_members_of_a_real_one(emulator: Emulator):
    """Compared with what azure-cli recorded against ARM."""
    body = {"sku": {"name": "Standard", "capacity": 1}, "properties": {"model": _BASE_MODEL}}
    put = emulator.http.put(f"{ARM}/deployments/dpy", params={"api-version": "2025-06-01"}, json=body)
    assert put.status_code == 201
    assert put.headers["retry-after"] == "1"
    shown = emulator.http.get(f"{ARM}/deployments/dpy", params={"api-version": "2025-06-01"}).json()
    recording = _payload("azure-cli.recording.deployment_put_get_list_delete.json")
    real = json.loads(recording["interactions"][3]["response"]["body"])
    assert set(real) == set(shown)
    assert put.headers["etag"] == put.json()["etag"]
    assert set(real["properties"]) <= set(shown["properties"])
    assert set(shown["properties"]) - set(real["properties"]) == {"deploymentState"}
    assert set(shown["systemData"]) == set(real["systemData"])
    assert shown["properties"]["versionUpgradeOption"] == real["properties"]["versionUpgradeOption"]


_BASE_MODEL = {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}


def _payload(name: str) -> Any:
    body = json.loads((DATA / "azure-payloads" / name).read_text())
    return {key: value for key, value in copy.deepcopy(body).items() if key != "_source"}


def test_a_checkpoint_an_event_and_a_file_have_the_members_of_real_ones(emulator: Emulator, workshop):
    """Compared with the examples of 2024-10-21 and a file of Microsoft's notebooks."""
    api = Api(emulator, PREVIEW)
    file_id = api.upload().json()["id"]
    job_id = api.submit(file_id, hyperparameters={"n_epochs": 2}).json()["id"]
    workshop.finish(emulator.v1(), job_id)

    def page(what: str) -> Any:
        return api.call("GET", f"/fine_tuning/jobs/{job_id}/{what}", headers={"accept": "application/json"}).json()

    real = _example("azspec-2024-10-21.get_finetuning_job_checkpoints.json")
    ours = page("checkpoints")
    assert set(ours) == set(real)
    assert [set(item) for item in ours["data"]] == [set(real["data"][0])] * 2
    assert set(ours["data"][0]["metrics"]) == set(real["data"][0]["metrics"])
    assert ":ckpt-step-" not in ours["data"][0]["fine_tuned_model_checkpoint"]
    assert ":ckpt-step-" in ours["data"][1]["fine_tuned_model_checkpoint"]

    events = _example("azspec-2024-10-21.get_finetuning_job_events.json")
    ours = page("events")
    assert set(ours) == set(events)
    for kind, more in (("message", set()), ("metrics", {"data"})):
        mine = {frozenset(item) for item in ours["data"] if item["type"] == kind}
        assert mine == {frozenset(set(events["data"][0]) | more)}
    step = next(item for item in ours["data"] if item["type"] == "metrics")
    assert set(step["data"]) <= set(real["data"][0]["metrics"])

    shown = _printed("azure-notebook.sarcasm.eval_file.txt")
    assert set(api.call("GET", f"/files/{file_id}").json()) == set(shown)


def test_a_job_with_a_method_has_the_members_of_a_real_one(emulator: Emulator):
    """Compared with the pending Ministral job of Microsoft's notebooks."""
    api = Api(emulator, PREVIEW)
    file_id = api.upload().json()["id"]
    real = _printed("azure-notebook.sarcasm.ministral_job.txt")
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 50}}}
    ours = api.submit(
        file_id, model="ministral-3b", trainingType="GlobalStandard", method=method, suffix="s"
    ).json()
    assert set(ours) == set(real)
    for name in ("hyperparameters", "method", "model", "trainingType", "object", "status"):
        assert ours[name] == real[name]


def test_a_model_of_the_account_has_the_members_of_a_real_one(emulator: Emulator):
    """Compared with an item of ARM's list quoted in a public issue, 2023-08, which knew no `lifecycleStatus`."""
    items = emulator.http.get(f"{ARM}/models", params={"api-version": "2025-06-01"}).json()["value"]
    members = "format name version isDefaultVersion skus maxCapacity capabilities deprecation"
    assert set(items[0]) == {*members.split(), "lifecycleStatus"}
    assert set(items[0]["skus"][0]) == {"name", "usageName", "capacity", "deprecationDate", "rateLimits"}
    assert set(items[0]["skus"][0]["capacity"]) == {"maximum", "default"}
    assert {"FineTuneTokensMaxValue", "chatCompletion"} <= set(items[0]["capabilities"])
    assert {"fineTune"} <= set(items[0]["deprecation"])


def _example(name: str) -> Any:
    """The body of an official example."""
    return json.loads((DATA / "azure-payloads" / name).read_text())["responses"]["200"]["body"]


def _printed(name: str) -> Any:
    """The JSON a notebook printed, without the words around it."""
    text = (DATA / "azure-payloads" / name).read_text()
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def test_level_warn_is_warning_on_dated_urls(emulator: Emulator, workshop):
    job = workshop.trained(emulator.v1())
    path = f"/fine_tuning/jobs/{job.id}/events"
    for version, level in ((None, "warn"), (PREVIEW, "warning")):
        events = Api(emulator, version).call("GET", path).json()["data"]
        assert level in {event["level"] for event in events}


def test_every_answer_carries_the_emulators_mark_and_a_request_id(emulator: Emulator):
    for path in (
        "/openai/v1/models",
        "/openai/models?api-version=1",
        "/nowhere",
        "/_emulator/state",
        "/subscriptions/x",
    ):
        headers = emulator.http.get(path).headers
        assert headers["x-emulator"] == "1"
        assert headers["apim-request-id"]
