"""What Azure's wire promises, asked by the openai SDK and by plain HTTP: the emulator has to keep it, and Azure too.

Every plain answer is judged by the published schemas on its way in (`azure_published`). Each test stands alone but
those of one life: a model trained once, deployed once, and looked at from all sides.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import pytest
from azure_wire import Control, Site, Wire, examples

NO_FILE, NO_JOB = "file-" + "0" * 32, "ftjob-" + "0" * 32
TERMINAL = {"succeeded", "failed", "cancelled"}
QUESTION = [
    {"role": "system", "content": "You are a terse travel companion."},
    {"role": "user", "content": "Which town is number 3 on the coast road?"},
]


def error_of(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error["message"]
    return error


# Files


def test_a_file_is_pending_then_processed_listed_read_and_gone(wire: Wire, site: Site):
    content, name = examples(12), f"{site.mark}-a.jsonl"
    made = wire.upload(content, name)
    assert made.status_code == (200 if wire.is_v1 else 201)
    assert ("location" in made.headers) == (not wire.is_v1)
    fresh = made.json()
    assert (fresh["object"], fresh["filename"], fresh["purpose"]) == ("file", name, "fine-tune")
    assert fresh["status"] in {"pending", "processed"}
    assert fresh["id"].startswith("file-")
    file_id = fresh["id"]

    def processed() -> dict[str, Any] | None:
        seen: dict[str, Any] = wire.call("GET", f"/files/{file_id}").json()
        return seen if seen["status"] == "processed" else None

    assert site.until("the processing", processed)["bytes"] == len(content)
    listed = wire.call("GET", "/files", query={"purpose": "fine-tune"}).json()["data"]
    assert [item["filename"] for item in listed if item["id"] == file_id] == [name]
    assert {item["purpose"] for item in listed} == {"fine-tune"}
    assert wire.call("GET", f"/files/{file_id}/content").content == content
    gone = wire.call("DELETE", f"/files/{file_id}")
    assert (gone.status_code, gone.json()["deleted"]) == (200, True)
    assert error_of(wire.call("GET", f"/files/{file_id}"), 404)


def test_the_sdk_carries_a_file_all_the_way(wire: Wire, site: Site):
    sdk, content = wire.sdk(), examples(11)
    made = sdk.files.create(file=(f"{site.mark}-sdk.jsonl", content), purpose="fine-tune")
    done = sdk.files.wait_for_processing(made.id, poll_interval=site.every_seconds)
    assert (done.status, done.bytes) == ("processed", len(content))
    assert made.id in {file.id for file in sdk.files.list(purpose="fine-tune")}
    assert sdk.files.content(made.id).content == content
    assert sdk.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.files.retrieve(made.id)


def test_an_upload_without_a_purpose_or_a_file_is_refused(wire: Wire):
    assert error_of(wire.call("POST", "/files", files={"file": ("a.jsonl", examples(10))}), 400)
    assert error_of(wire.call("POST", "/files", data={"purpose": "none"}, files={"file": ("a.jsonl", b"{}")}), 400)


def test_a_large_file_travels_in_parts_on_dated_urls_only(wire: Wire, site: Site):
    content = examples(40)
    start = {
        "filename": f"{site.mark}-parts.jsonl",
        "purpose": "fine-tune",
        "bytes": len(content),
        "mime_type": "application/jsonl",
    }
    begun = wire.call("POST", "/uploads", json=start)
    if wire.is_v1:
        assert begun.status_code == 404
        return
    assert (begun.status_code, begun.json()["status"]) == (200, "pending")
    upload_id, middle = begun.json()["id"], len(content) // 2
    parts = []
    for piece in (content[:middle], content[middle:]):
        part = wire.call("POST", f"/uploads/{upload_id}/parts", files={"data": ("part", piece)})
        parts.append(part.json()["id"])
    done = wire.call("POST", f"/uploads/{upload_id}/complete", json={"part_ids": parts}).json()
    assert done["status"] == "completed"
    file_id = done["file"]["id"]
    assert wire.call("GET", f"/files/{file_id}/content").content == content
    wire.call("DELETE", f"/files/{file_id}")
    other = wire.call("POST", "/uploads", json=start).json()["id"]
    assert wire.call("POST", f"/uploads/{other}/cancel").json()["status"] == "cancelled"


# Models, and what is refused


def test_base_models_are_listed_and_found(wire: Wire, site: Site):
    listed = {item["id"]: item for item in wire.call("GET", "/models").json()["data"]}
    assert site.model in listed
    found = wire.call("GET", f"/models/{site.model}").json()
    assert (found["object"], found["id"]) == ("model", site.model)
    assert site.model in {model.id for model in wire.sdk().models.list()}
    assert error_of(wire.call("GET", "/models/no-such-model-at-all"), 404)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/files/{NO_FILE}", 404),
        ("GET", f"/fine_tuning/jobs/{NO_JOB}", 404),
        ("GET", f"/fine_tuning/jobs/{NO_JOB}/events", 404),
        ("GET", f"/fine_tuning/jobs/{NO_JOB}/checkpoints", 404),
        ("POST", f"/fine_tuning/jobs/{NO_JOB}/cancel", 404),
    ],
)
def test_what_is_not_there_is_a_404_in_the_form_of_the_url(wire: Wire, method: str, path: str, status: int):
    assert error_of(wire.call(method, path), status)


def test_a_wrong_key_is_a_401(wire: Wire, site: Site):
    nobody = {"api-key": "", "authorization": ""}
    assert error_of(wire.call("GET", "/models", headers=nobody), 401)


def test_a_dated_version_has_no_place_on_v1_and_dated_urls_need_one(wire: Wire):
    if wire.is_v1:
        assert wire.call("GET", "/models", query={"api-version": "2024-10-21"}).status_code == 400
    else:
        assert wire.call("GET", "/models", query={"api-version": "2020-01-01"}).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [{}, {"model": "not-a-model-at-all"}, {"training_file": NO_FILE}, {"suffix": "." * 80}],
    ids=["empty", "model", "file", "suffix"],
)
def test_a_wrong_job_is_refused_and_made_nowhere(wire: Wire, site: Site, wrong: dict[str, Any]):
    body = {"model": site.model, "training_file": NO_FILE, "trainingType": site.training_type, **wrong}
    before = _job_ids(wire)
    assert error_of(wire.call("POST", "/fine_tuning/jobs", json=body if wrong else {}), 400)
    assert _job_ids(wire) == before
    sdk_body = {"model": "not-a-model-at-all", "training_file": NO_FILE}
    with pytest.raises(openai.BadRequestError):
        wire.sdk().fine_tuning.jobs.create(**sdk_body)


def _job_ids(wire: Wire) -> list[str]:
    """The ids of all jobs, page by page."""
    found: list[str] = []
    while True:
        query = {"limit": "2", **({"after": found[-1]} if found else {})}
        page = wire.call("GET", "/fine_tuning/jobs", query=query).json()
        assert len(page["data"]) <= 2
        found += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            assert len(set(found)) == len(found)
            return found


def test_a_chat_with_no_deployment_is_a_404_with_its_code(wire: Wire):
    body = {"messages": QUESTION, "max_tokens": 1}
    if wire.is_v1:
        answer = wire.call("POST", "/chat/completions", json={**body, "model": "no-such-deployment"})
    else:
        answer = wire.call("POST", "/deployments/no-such-deployment/chat/completions", json=body)
    assert error_of(answer, 404)["code"] == "DeploymentNotFound"
    with pytest.raises(openai.NotFoundError):
        wire.sdk().chat.completions.create(model="no-such-deployment", messages=QUESTION, max_tokens=1)


# The control plane, without writing


def test_the_account_its_models_quota_and_deployments_can_be_read(control: Control, site: Site):
    account = control.call("GET", site.account_path).json()
    assert (account["name"].lower(), account["properties"]["provisioningState"]) == (
        site.account.lower(),
        "Succeeded",
    )
    models = control.call("GET", f"{site.account_path}/models").json()["value"]
    assert all({"format", "name", "version"} <= set(model) for model in models)
    for path in (site.account_path, site.region_path):
        for line in control.call("GET", f"{path}/usages").json()["value"]:
            assert {"name", "currentValue", "limit"} <= set(line)
    assert isinstance(control.call("GET", f"{site.account_path}/deployments").json()["value"], list)
    assert control.call("GET", f"{site.region_path}/models").json()["value"]


def test_what_is_left_of_a_model_is_told(control: Control, site: Site):
    name, _, version = site.model.partition("-20")
    asked = {"modelFormat": "OpenAI", "modelName": name, "modelVersion": f"20{version}"}
    subscription = site.region_path.partition("/locations/")[0]
    for item in control.call("GET", f"{subscription}/modelCapacities", **asked).json()["value"]:
        assert item["properties"]["availableFinetuneCapacity"] >= 0
        assert item["properties"]["skuName"]


def test_arm_refuses_in_its_own_form(control: Control, site: Site):
    path = f"{site.account_path}/deployments/{site.mark}-none"
    assert error_of(control.call("GET", path), 404)["code"] in {"ResourceNotFound", "DeploymentNotFound"}
    bare = control.http.get(path, params={"api-version": "2025-06-01"}, headers={"authorization": ""})
    assert error_of(bare, 401)["code"] in {"AuthenticationFailed", "InvalidAuthenticationToken"}
    assert error_of(control.http.get(path), 400)["code"] == "MissingApiVersionParameter"
    assert control.call("DELETE", path).status_code in {200, 204}


@pytest.mark.parametrize("wrong", ["model", "sku", "capacity"])
def test_a_wrong_deployment_is_refused_and_made_nowhere(control: Control, site: Site, wrong: str):
    model = {"format": "OpenAI", "name": f"{site.model}.ft-{'0' * 32}", "version": "1"}
    body: dict[str, Any] = {"sku": {"name": site.sku, "capacity": 1}, "properties": {"model": model}}
    if wrong == "sku":
        body["sku"]["name"] = "Gold"
    if wrong == "capacity":
        body["sku"]["capacity"] = -1
    assert error_of(control.deployment("PUT", f"{site.mark}-wrong", body), 400)["code"]
    assert control.deployment("GET", f"{site.mark}-wrong").status_code == 404


# One life: what follows costs money


@dataclass(frozen=True)
class Trained:
    """A job that succeeded, as v1 showed it when it was made and when it was done."""

    created: dict[str, Any]
    done: dict[str, Any]
    statuses: list[str]
    files: tuple[str, str]


@pytest.fixture(scope="module")
def trained(site: Site, spend: None) -> Iterator[Trained]:
    wire = Wire(site, is_v1=True)
    files = (
        wire.uploaded(examples(20), f"{site.mark}-train.jsonl"),
        wire.uploaded(examples(10, first=20), f"{site.mark}-valid.jsonl"),
    )
    body = {
        "model": site.model,
        "training_file": files[0],
        "validation_file": files[1],
        "suffix": site.mark,
        "seed": 4711,
        "metadata": {"op": site.mark},
        "trainingType": site.training_type,
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}},
    }
    created = wire.call("POST", "/fine_tuning/jobs", json=body)
    assert created.status_code == 200
    statuses = [created.json()["status"]]

    def over() -> dict[str, Any] | None:
        seen: dict[str, Any] = wire.call("GET", f"/fine_tuning/jobs/{created.json()['id']}").json()
        statuses.append(seen["status"])
        return seen if seen["status"] in TERMINAL else None

    done = site.until("the training", over)
    assert done["status"] == "succeeded", done
    yield Trained(created.json(), done, statuses, files)
    for file_id in files:
        wire.call("DELETE", f"/files/{file_id}")
    wire.http.close()


def test_a_job_walks_from_pending_to_succeeded_and_names_its_model(trained: Trained, site: Site):
    order = ["pending", "queued", "running", "succeeded"]
    places = [order.index(status) for status in trained.statuses]
    assert places == sorted(places)
    assert trained.statuses[0] == "pending"
    created, done = trained.created, trained.done
    assert created["id"].startswith("ftjob-")
    assert (created["seed"], created["suffix"], created["training_file"]) == (4711, site.mark, trained.files[0])
    assert created["hyperparameters"]["n_epochs"] == 2
    assert created["hyperparameters"]["batch_size"] in {-1, "auto"}
    assert done["fine_tuned_model"].startswith(f"{site.model}.ft-")
    assert done["fine_tuned_model"].endswith(site.mark)
    assert done["metadata"] == {"op": site.mark}
    assert done["created_at"] <= done["finished_at"]
    assert done["trained_tokens"] > 0
    assert isinstance(done["hyperparameters"]["batch_size"], int)
    assert len(done["result_files"]) == 1
    assert done["trainingType"].lower() == site.training_type.lower()


def test_a_job_is_found_again_in_both_forms_by_what_was_put_on_it(trained: Trained, wire: Wire, site: Site):
    assert _job_ids(wire).count(trained.done["id"]) == 1
    shown = wire.call("GET", f"/fine_tuning/jobs/{trained.done['id']}").json()
    assert (shown["seed"], shown["suffix"], shown["status"]) == (4711, site.mark, "succeeded")
    assert ("metadata" in shown and shown["metadata"] is not None) == wire.is_v1
    assert wire.sdk().fine_tuning.jobs.retrieve(shown["id"]).fine_tuned_model == trained.done["fine_tuned_model"]


def test_the_log_of_a_job_comes_newest_first_and_in_pages(trained: Trained, wire: Wire):
    path = f"/fine_tuning/jobs/{trained.done['id']}/events"
    found: list[dict[str, Any]] = []
    while True:
        query = {"limit": "7", **({"after": found[-1]["id"]} if found else {})}
        page = wire.call("GET", path, query=query).json()
        found += page["data"]
        if not page["has_more"]:
            break
    assert len({event["id"] for event in found}) == len(found) > 7
    times = [event["created_at"] for event in found]
    assert times == sorted(times, reverse=True)
    assert "Job succeeded." in {event["message"] for event in found}
    assert any(event["message"].startswith("Training tokens billed: ") for event in found)
    steps = [event for event in found if event["type"] == "metrics"]
    assert all({"step", "train_loss"} <= set(event["data"]) for event in steps)
    assert {event["level"] for event in found} <= {"info", "warn" if wire.is_v1 else "warning", "error"}
    seen = {event.id for event in wire.sdk().fine_tuning.jobs.list_events(trained.done["id"], limit=100)}
    assert {event["id"] for event in found} <= seen


def test_checkpoints_end_with_the_model_itself(trained: Trained, wire: Wire):
    path = f"/fine_tuning/jobs/{trained.done['id']}/checkpoints"
    page = wire.call("GET", path).json()["data"]
    latest = max(page, key=lambda item: item["step_number"])
    assert latest["fine_tuned_model_checkpoint"] == trained.done["fine_tuned_model"]
    for item in page:
        assert item["fine_tuning_job_id"] == trained.done["id"]
        assert item["metrics"]["train_loss"] >= 0
        if item is not latest:
            assert item["fine_tuned_model_checkpoint"].endswith(f":ckpt-step-{item['step_number']}")
    assert len(wire.sdk().fine_tuning.jobs.checkpoints.list(trained.done["id"]).data) == len(page)


def test_the_results_are_a_table_with_azures_columns(trained: Trained, wire: Wire):
    [file_id] = trained.done["result_files"]
    shown = wire.call("GET", f"/files/{file_id}").json()
    assert (shown["purpose"], shown["status"]) == ("fine-tune-results", "processed")
    header, *rows = wire.call("GET", f"/files/{file_id}/content").text.strip().splitlines()
    columns = header.split(",")
    assert columns[:2] == ["step", "train_loss"]
    assert [row.split(",")[0] for row in rows] == [str(step) for step in range(1, len(rows) + 1)]


def test_the_tuned_model_is_listed_beside_the_base_models(trained: Trained, wire: Wire):
    listed = {item["id"] for item in wire.call("GET", "/models").json()["data"]}
    assert trained.done["fine_tuned_model"] in listed


def test_what_is_over_cannot_be_cancelled(trained: Trained, wire: Wire):
    assert error_of(wire.call("POST", f"/fine_tuning/jobs/{trained.done['id']}/cancel"), 400)


def test_a_job_is_cancelled_and_stays_so(wire: Wire, site: Site, spend: None):
    file_id = wire.uploaded(examples(60), f"{site.mark}-cancel.jsonl")
    body = {
        "model": site.model,
        "training_file": file_id,
        "hyperparameters": {"n_epochs": 3},
        "trainingType": site.training_type,
    }
    created = wire.call("POST", "/fine_tuning/jobs", json=body)
    assert created.status_code == (200 if wire.is_v1 else 201)
    assert ("location" in created.headers) == (not wire.is_v1)
    job_id = created.json()["id"]
    cancelled = wire.call("POST", f"/fine_tuning/jobs/{job_id}/cancel")
    assert cancelled.status_code == 200, cancelled.text

    def over() -> str | None:
        status = str(wire.call("GET", f"/fine_tuning/jobs/{job_id}").json()["status"])
        return status if status in TERMINAL else None

    assert site.until("the cancellation", over) == "cancelled"
    if not wire.is_v1:
        assert wire.call("DELETE", f"/fine_tuning/jobs/{job_id}").status_code == 204
        assert wire.call("GET", f"/fine_tuning/jobs/{job_id}").status_code == 404
    wire.call("DELETE", f"/files/{file_id}")


@dataclass(frozen=True)
class Deployed:
    """A deployment that ARM calls Succeeded, and the answer to the write that made it."""

    name: str
    put: httpx2.Response
    end: dict[str, Any]
    second: httpx2.Response


@pytest.fixture(scope="module")
def deployed(trained: Trained, site: Site, control: Control) -> Iterator[Deployed]:
    model = {"format": "OpenAI", "name": trained.done["fine_tuned_model"], "version": "1"}
    body = {
        "sku": {"name": site.sku, "capacity": 10},
        "properties": {"model": model, "versionUpgradeOption": "NoAutoUpgrade"},
        "tags": {"op": site.mark},
    }
    put = control.deployment("PUT", site.mark, body)
    second = control.deployment("PUT", f"{site.mark}-2", body)
    try:
        assert put.status_code in {200, 201}, put.text
        yield Deployed(site.mark, put, control.follow(put), second)
    finally:
        for name in (site.mark, f"{site.mark}-2"):
            site.until(
                "room for the delete",
                lambda name=name: control.deployment("DELETE", name).status_code != 409 or None,
            )
            site.until("the delete", lambda name=name: control.deployment("GET", name).status_code == 404 or None)


def test_a_deployment_is_accepted_with_the_address_of_its_operation(deployed: Deployed, site: Site):
    assert deployed.put.status_code == 201
    assert int(deployed.put.headers["retry-after"]) >= 0
    shown = deployed.put.json()
    assert (shown["name"], shown["sku"]) == (site.mark, {"name": site.sku, "capacity": 10})
    assert shown["properties"]["provisioningState"] in {"Accepted", "Creating", "Succeeded"}
    assert deployed.end["status"] == "Succeeded"


def test_a_second_write_on_the_account_has_to_wait(deployed: Deployed):
    """It is refused while the first is under way; on a quick day the first is through already."""
    if deployed.second.status_code not in {200, 201}:
        error = error_of(deployed.second, 409)
        assert error["code"] == "RequestConflict"
        assert "Another operation is being performed on the parent resource" in error["message"]


def test_a_deployment_is_shown_as_it_was_asked_for(
    deployed: Deployed, control: Control, site: Site, trained: Trained
):
    shown = control.deployment("GET", deployed.name).json()
    assert shown["properties"]["provisioningState"] == "Succeeded"
    assert shown["properties"]["model"] == {
        "format": "OpenAI",
        "name": trained.done["fine_tuned_model"],
        "version": "1",
    }
    assert (shown["sku"]["capacity"], shown["tags"]) == (10, {"op": site.mark})
    assert shown["id"].lower() == f"{site.account_path}/deployments/{deployed.name}".lower()
    listed = control.call("GET", f"{site.account_path}/deployments").json()["value"]
    assert deployed.name in {item["name"] for item in listed}
    skus = control.call("GET", f"{site.account_path}/deployments/{deployed.name}/skus").json()["value"]
    assert all(item["sku"]["name"] for item in skus)


def test_a_warm_deployment_answers_whole_and_streamed_in_both_forms(deployed: Deployed, wire: Wire, site: Site):
    sdk = wire.sdk()

    def answer() -> Any:
        with contextlib.suppress(openai.NotFoundError):  # ARM is done, the data plane is not
            return sdk.chat.completions.create(model=deployed.name, messages=QUESTION, max_tokens=20, temperature=0)
        return None

    said = site.until("the first answer", answer)
    assert said.object == "chat.completion"
    assert said.choices[0].message.role == "assistant"
    assert said.choices[0].finish_reason in {"stop", "length"}
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens > 0
    path = "/chat/completions" if wire.is_v1 else f"/deployments/{deployed.name}/chat/completions"
    body = {"model": deployed.name, "messages": QUESTION, "max_tokens": 20, "temperature": 0}
    plain = wire.call("POST", path, json=body)
    assert plain.status_code == 200
    assert "prompt_filter_results" in plain.json()
    assert int(plain.headers["x-ratelimit-remaining-tokens"]) >= 0
    streamed = wire.call("POST", path, json={**body, "stream": True, "stream_options": {"include_usage": True}})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert chunks[-1]["usage"]["total_tokens"] > 0
    with sdk.chat.completions.create(model=deployed.name, messages=QUESTION, max_tokens=5, stream=True) as stream:
        assert any(chunk.choices for chunk in stream)


def test_a_wrong_chat_is_a_400(deployed: Deployed, wire: Wire):
    path = "/chat/completions" if wire.is_v1 else f"/deployments/{deployed.name}/chat/completions"
    assert error_of(wire.call("POST", path, json={"model": deployed.name, "messages": []}), 400)


def test_a_deployment_is_changed_in_place(deployed: Deployed, control: Control, site: Site):
    tags = {"op": site.mark, "changed": "yes"}
    change = {"sku": {"name": site.sku, "capacity": 12}, "tags": tags}

    def accepted() -> httpx2.Response | None:
        answer = control.deployment("PATCH", deployed.name, change)
        return None if answer.status_code == 409 else answer

    assert site.until("room for the change", accepted).status_code in {200, 202}

    def changed() -> dict[str, Any] | None:
        seen: dict[str, Any] = control.deployment("GET", deployed.name).json()
        return seen if seen["sku"]["capacity"] == 12 else None

    assert site.until("the change", changed)["tags"] == tags


def test_a_job_whose_model_is_deployed_is_not_deleted(deployed: Deployed, trained: Trained, site: Site):
    """Source: Microsoft Learn, fine-tuning-rest, 2026-10-05: the deployment has to go first."""
    dated = Wire(site, is_v1=False)
    refused = dated.call("DELETE", f"/fine_tuning/jobs/{trained.done['id']}")
    assert 400 <= refused.status_code < 500
    assert dated.call("GET", f"/fine_tuning/jobs/{trained.done['id']}").status_code == 200
    dated.http.close()
