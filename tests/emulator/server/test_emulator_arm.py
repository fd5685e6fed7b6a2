"""The control plane: writes that take time, fail, hide or collide; quota, throttling, ends of models, and the bill."""

from collections.abc import Iterator
from decimal import Decimal

import httpx2
import openai
import pytest
from azure.core.exceptions import HttpResponseError
from azure_published import judge_answer
from emulator_process import PREVIEW, Emulator, Workshop, emulator_process

PROVIDER = "/subscriptions/sub/providers/Microsoft.CognitiveServices"
ARM = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acc"
VERSION = {"api-version": "2025-06-01"}
BASE = {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}
HELLO = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
PACE = {"provision": 100, "warm_up": 200, "update": 50, "delete": 10, "quota_release": 15}


@pytest.fixture(autouse=True)
def judged(emulator: Emulator) -> Iterator[None]:
    """Every answer in this file is judged by what Microsoft published."""
    before = emulator.http.event_hooks
    emulator.http.event_hooks = {"response": [judge_answer]}
    yield
    emulator.http.event_hooks = before


@pytest.fixture
def slow(emulator: Emulator) -> Emulator:
    """An emulator whose clock stands still."""
    emulator.clock("manual")
    emulator.lever("PUT", "pace", PACE)
    return emulator


def body(model: dict[str, str] = BASE, sku: str = "Standard", capacity: int = 10, **more: object) -> dict:
    return {"sku": {"name": sku, "capacity": capacity}, "properties": {"model": model}, **more}


def arm(emulator: Emulator, method: str, name: str, content: dict | None = None) -> httpx2.Response:
    return emulator.http.request(method, f"{ARM}/deployments/{name}", params=VERSION, json=content)


def state(emulator: Emulator, name: str = "d") -> str:
    return arm(emulator, "GET", name).json()["properties"]["provisioningState"]


def said(emulator: Emulator, name: str = "d") -> str | int:
    """How a chat with the deployment goes: 200, or the code of the refusal."""
    answer = emulator.http.post("/openai/v1/chat/completions", json={"model": name, **HELLO})
    return 200 if answer.status_code == 200 else str(answer.json()["error"]["code"])


def fate(emulator: Emulator, operation: str, **fates: object) -> None:
    emulator.faults(
        {"match": {"operation": f"deployments.{operation}"}, "when": {"first_n": 1}, "do": {"fate": fates}}
    )


def test_a_patch_takes_its_time_and_the_deployment_answers_meanwhile(slow: Emulator):
    slow.portal("create_deployment", name="d", **body())
    patched = arm(slow, "PATCH", "d", {"sku": {"name": "Standard", "capacity": 20}, "tags": {"a": "b"}})
    assert (patched.status_code, patched.content) == (202, b"")
    operation, result = patched.headers["azure-asyncoperation"], patched.headers["location"]
    assert patched.headers["retry-after"] == "1"
    shown = arm(slow, "GET", "d").json()
    assert (shown["sku"]["capacity"], shown["properties"]["provisioningState"], "tags" in shown) == (
        10,
        "Accepted",
        False,
    )
    assert slow.http.get(operation).json()["status"] == "Running"
    assert slow.http.get(result).status_code == 202
    assert said(slow) == 200
    slow.advance(50)
    shown = arm(slow, "GET", "d").json()
    assert (shown["sku"]["capacity"], shown["properties"]["provisioningState"], shown["tags"]) == (
        20,
        "Succeeded",
        {"a": "b"},
    )
    assert slow.http.get(operation).json()["status"] == "Succeeded"
    assert slow.http.get(result).json() == shown


def test_a_put_on_what_is_there_changes_it_in_time_and_keeps_it(slow: Emulator):
    slow.portal("create_deployment", name="d", **body(tags={"old": "tag"}))
    put = arm(slow, "PUT", "d", body(capacity=30))
    assert (put.status_code, put.json()["sku"]["capacity"], "tags" in put.json()) == (200, 30, False)
    assert arm(slow, "GET", "d").json()["sku"]["capacity"] == 10
    slow.advance(50)
    assert arm(slow, "GET", "d").json()["sku"]["capacity"] == 30
    assert slow.lever("GET", "state")["counts"]["deployments"] == 1


def test_the_management_client_waits_for_each_kind_of_write(emulator: Emulator):
    emulator.deploy("d", "gpt-4.1-mini")
    calls = emulator.arm().deployments
    changed = calls.begin_update("rg", "acc", "d", {"sku": {"name": "GlobalStandard", "capacity": 7}}).result()
    assert changed.sku.capacity == 7
    assert calls.begin_delete("rg", "acc", "d").result() is None
    assert list(calls.list("rg", "acc")) == []


def test_every_write_carries_an_etag_that_follows_the_content(emulator: Emulator):
    emulator.deploy("d", "gpt-4.1-mini")
    first = arm(emulator, "GET", "d")
    assert first.headers["etag"] == first.json()["etag"] == arm(emulator, "GET", "d").headers["etag"]
    emulator.portal("change_deployment", name="d", tags={"x": "y"})
    assert arm(emulator, "GET", "d").headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("operation", "fates", "seconds", "after"),
    [
        ("put", {"extra_provision_seconds": 10_000}, 10_099, "Creating"),
        ("put", {"extra_provision_seconds": 10_000}, 10_100, "Succeeded"),
        ("put", {"provision_fails": True}, 100, "Failed"),
    ],
)
def test_creating_may_take_hours_or_end_in_failed(
    slow: Emulator, operation: str, fates: dict, seconds: float, after: str
):
    fate(slow, operation, **fates)
    status = arm(slow, "PUT", "d", body()).headers["azure-asyncoperation"]
    slow.advance(seconds)
    assert state(slow) == after
    assert slow.http.get(status).json()["status"] == {"Creating": "Running"}.get(after, after)


def test_a_failed_deployment_can_be_deleted_or_put_anew(slow: Emulator):
    fate(slow, "put", provision_fails=True)
    arm(slow, "PUT", "d", body())
    slow.advance(100)
    assert said(slow) == "DeploymentNotFound"
    assert arm(slow, "PUT", "d", body()).status_code == 201
    slow.advance(300)
    assert (state(slow), said(slow)) == ("Succeeded", 200)


def test_a_deployment_may_never_warm(slow: Emulator):
    fate(slow, "put", never_warms=True)
    arm(slow, "PUT", "d", body())
    slow.advance(1_000_000)
    assert (state(slow), said(slow)) == ("Succeeded", "DeploymentNotReady")


def test_a_get_may_know_nothing_of_what_the_list_shows(slow: Emulator):
    fate(slow, "put", get_404_seconds=150)
    assert arm(slow, "PUT", "d", body()).status_code == 201
    listed = slow.http.get(f"{ARM}/deployments", params=VERSION).json()["value"]
    assert [item["name"] for item in listed] == ["d"]
    slow.advance(149)
    assert arm(slow, "GET", "d").json()["error"]["code"] == "ResourceNotFound"
    slow.advance(1)
    assert state(slow) == "Succeeded"


def test_the_status_of_a_write_may_be_gone_before_the_write_is_through(slow: Emulator):
    fate(slow, "put", operation_404_after_seconds=50)
    status = arm(slow, "PUT", "d", body()).headers["azure-asyncoperation"]
    assert slow.http.get(status).status_code == 200
    slow.advance(50)
    assert slow.http.get(status).status_code == 404
    slow.advance(50)
    assert (slow.http.get(status).status_code, state(slow)) == (404, "Succeeded")


def test_a_change_may_fail_and_leaves_what_was(slow: Emulator):
    slow.portal("create_deployment", name="d", **body())
    fate(slow, "patch", update_fails=True)
    patched = arm(slow, "PATCH", "d", {"sku": {"name": "Standard", "capacity": 99}})
    slow.advance(50)
    assert (state(slow), arm(slow, "GET", "d").json()["sku"]["capacity"]) == ("Succeeded", 10)
    assert slow.http.get(patched.headers["azure-asyncoperation"]).json()["error"]["code"] == "InternalServerError"
    assert slow.http.get(patched.headers["location"]).status_code == 400


def test_a_delete_may_take_long_or_fail(slow: Emulator):
    slow.portal("create_deployment", name="d", **body())
    fate(slow, "delete", delete_fails=True)
    status = arm(slow, "DELETE", "d").headers["azure-asyncoperation"]
    assert (state(slow), said(slow)) == ("Deleting", "DeploymentNotFound")
    slow.advance(10)
    assert (slow.http.get(status).json()["status"], state(slow), said(slow)) == ("Failed", "Succeeded", 200)
    fate(slow, "delete", extra_delete_seconds=1000)
    result = arm(slow, "DELETE", "d").headers["location"]
    slow.advance(1009)
    assert state(slow) == "Deleting"
    slow.advance(1)
    assert (arm(slow, "GET", "d").status_code, slow.http.get(result).status_code) == (404, 204)


def test_a_write_overtaken_in_the_portal_does_not_run_for_ever(slow: Emulator):
    status = arm(slow, "PUT", "d", body()).headers["azure-asyncoperation"]
    slow.portal("delete_deployment", name="d")
    assert slow.http.get(status).json()["status"] == "Failed"
    assert arm(slow, "PUT", "e", body()).status_code == 201


def test_quota_is_refused_with_its_numbers_and_comes_back_after_the_delete(slow: Emulator):
    slow.lever("PUT", "quota", {"skus": {"OpenAI.Standard.gpt-4.1-mini": 240}})
    slow.portal("create_deployment", name="a", **body(capacity=200))

    def refused(capacity: int) -> str:
        answer = arm(slow, "PUT", "b", body(capacity=capacity))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InsufficientQuota")
        return str(answer.json()["error"]["message"])

    quota = "quota Tokens Per Minute (thousands) - gpt-4.1-mini - Standard"
    assert refused(41) == (
        f"This operation require 41 new capacity in {quota}, which is bigger than the current available capacity 40."
        f" The current quota usage is 200 and the quota limit is 240 for {quota}."
    )
    assert arm(slow, "PATCH", "a", {"sku": {"name": "Standard", "capacity": 241}}).status_code == 400
    arm(slow, "DELETE", "a")
    slow.advance(10)
    assert arm(slow, "GET", "a").status_code == 404
    assert "usage is 200" in refused(100)
    assert usage(slow) == 200
    slow.advance(15)
    assert usage(slow) == 0
    assert arm(slow, "PUT", "b", body(capacity=240)).status_code == 201


def usage(emulator: Emulator) -> float:
    lines = emulator.http.get(f"{PROVIDER}/locations/swedencentral/usages", params=VERSION).json()["value"]
    return float(
        next(line["currentValue"] for line in lines if line["name"]["value"] == "OpenAI.Standard.gpt-4.1-mini")
    )


def test_what_is_left_to_deploy_is_told_for_each_sku(emulator: Emulator):
    emulator.portal("create_deployment", name="a", **body(capacity=300))
    asked = {"modelFormat": "OpenAI", "modelName": "gpt-4.1-mini", "modelVersion": "2025-04-14", **VERSION}
    for path in (f"{PROVIDER}/modelCapacities", f"{PROVIDER}/locations/swedencentral/modelCapacities"):
        items = emulator.http.get(path, params=asked).json()["value"]
        left = {item["name"]: item["properties"]["availableFinetuneCapacity"] for item in items}
        assert left == {"Standard": 700, "GlobalStandard": 1000, "DataZoneStandard": 1000, "DeveloperTier": 1000}
    found = emulator.arm().model_capacities.list("OpenAI", "gpt-4.1-mini", "2025-04-14")
    assert {item.properties.available_capacity for item in found} == {700.0, 1000.0}
    assert (
        emulator.http.get(f"{PROVIDER}/modelCapacities", params={**asked, "modelName": "x"}).json()["value"] == []
    )
    assert emulator.http.get(f"{PROVIDER}/modelCapacities", params=VERSION).status_code == 400


def test_a_wrong_format_is_an_error_without_a_word(emulator: Emulator):
    answer = arm(emulator, "PUT", "d", body({**BASE, "format": "Microsoft"}))
    assert (answer.status_code, answer.content) == (500, b"")
    assert emulator.lever("GET", "state")["counts"]["deployments"] == 0


def test_a_base_model_ends_on_its_day(slow: Emulator, workshop: Workshop):
    client = slow.v1()
    file_id = workshop.upload(client)
    slow.portal("create_deployment", name="d", **body())
    shown = slow.lever("GET", "models")["gpt-4.1-mini"]
    assert (shown["inference"], shown["kept"]) == ("2027-04-14", [])
    slow.lever("PUT", "models", {"gpt-4.1-mini": {"inference": "2027-01-01", "fine_tune": "2026-12-31"}})
    listed = slow.http.get(f"{ARM}/models", params=VERSION).json()["value"]
    mini = next(item for item in listed if item["name"] == "gpt-4.1-mini")
    assert mini["deprecation"] == {"fineTune": "2026-12-31T00:00:00Z", "inference": "2027-01-01T00:00:00Z"}
    model = client.models.retrieve("gpt-4.1-mini").to_dict()
    assert model["deprecation"] == {"fine_tune": 1798675200, "inference": 1798761600}
    slow.lever("PUT", "models", {"gpt-4.1-mini": {"inference": "2020-01-31", "fine_tune": "2020-01-31"}})
    refused = arm(slow, "PUT", "e", body()).json()["error"]
    assert refused["code"] == "ServiceModelDeprecated"
    assert refused["message"] == (
        "The model 'Format:OpenAI,Name:gpt-4.1-mini,Version:2025-04-14' has been deprecated since 01/31/2020 00:00:00."
    )
    assert said(slow) == "ModelDeprecated"
    slow.advance(10)
    with pytest.raises(openai.BadRequestError, match="does not support fine-tuning"):
        client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file_id)
    slow.lever("PUT", "models", {"gpt-4.1-mini": {}})
    assert said(slow) == 200
    assert client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file_id).status == "pending"


def test_a_day_that_is_set_comes_with_the_virtual_clock(slow: Emulator):
    slow.portal("create_deployment", name="d", **body())
    now_v = slow.lever("GET", "clock")["virtual_now"]
    slow.lever("PUT", "models", {"gpt-4.1-mini": {"inference": "2036-01-01"}})
    assert said(slow) == 200
    slow.advance(2082758400 - now_v)
    assert said(slow) == "ModelDeprecated"


def test_a_deprecating_model_is_for_those_who_have_it(emulator: Emulator):
    emulator.lever("PUT", "models", {"gpt-4.1-mini": {"lifecycle": "Deprecating"}})
    refused = arm(emulator, "PUT", "d", body()).json()["error"]
    assert refused["code"] == "DeploymentModelNotSupported"
    emulator.lever("PUT", "models", {"gpt-4.1-mini": {}})
    assert arm(emulator, "PUT", "d", body()).status_code == 201
    emulator.lever("PUT", "models", {"gpt-4.1-mini": {"lifecycle": "Deprecating"}})
    assert arm(emulator, "PUT", "e", body()).status_code == 201


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": {}},
        {"gpt-4.1": {"inference": "soon"}},
        {"gpt-4.1": {"lifecycle": "Dead"}},
        {"gpt-4.1": {"a": "b"}},
        {"gpt-4.1": 1},
    ],
)
def test_a_wrong_end_of_a_model_is_refused(emulator: Emulator, wrong: dict):
    assert emulator.http.put("/_emulator/models", json=wrong).status_code == 400


def test_calls_of_the_control_plane_are_counted_and_throttled_when_asked(slow: Emulator):
    calm = slow.http.get(f"{ARM}/deployments", params=VERSION)
    assert calm.headers["x-ms-ratelimit-remaining-subscription-global-reads"] == "16499"
    slow.lever("PUT", "quota", {"arm_reads": 3, "arm_writes": 1})
    left = []
    for _ in range(4):
        answer = slow.http.get(f"{ARM}/deployments", params=VERSION)
        left.append((answer.status_code, answer.headers["x-ms-ratelimit-remaining-subscription-global-reads"]))
    assert left == [(200, "2"), (200, "1"), (200, "0"), (429, "0")]
    assert answer.json()["error"]["code"] == "TooManyRequests"
    assert answer.headers["retry-after"] == "60"
    assert arm(slow, "PUT", "d", body()).headers["x-ms-ratelimit-remaining-subscription-global-writes"] == "0"
    assert arm(slow, "DELETE", "d").status_code == 429
    assert slow.http.get(f"{ARM.replace('sub/', 'other/')}/deployments", params=VERSION).status_code == 200
    slow.advance(60)
    assert slow.http.get(f"{ARM}/deployments", params=VERSION).status_code == 200


def test_rate_limits_of_a_deployment_hold_when_asked(slow: Emulator):
    slow.portal("create_deployment", name="d", **body(capacity=2))
    slow.lever("PUT", "quota", {"chat_rate_percent": 100})
    assert [said(slow) for _ in range(3)] == [200, 200, "429"]
    with pytest.raises(openai.RateLimitError, match="call rate limit of your current OpenAI S0") as refused:
        slow.v1().chat.completions.create(model="d", **HELLO)
    assert refused.value.response.headers["retry-after-ms"] == "10000"
    slow.advance(10)
    assert said(slow) == 200
    slow.advance(60)
    slow.lever("PUT", "quota", {"chat_rate_percent": 1})
    slow.portal("change_deployment", name="d", sku={"capacity": 100})
    long = "many words " * 1000
    asked = {"model": "d", "messages": [{"role": "user", "content": long}], "max_tokens": 1}
    assert slow.http.post("/openai/v1/chat/completions", json=asked).status_code == 200
    slow.advance(10)
    limited = slow.http.post("/openai/v1/chat/completions", json=asked)
    assert "token rate limit" in limited.json()["error"]["message"]
    assert limited.headers["retry-after"] == "50"


def test_a_paused_deployment_answers_423_until_it_is_resumed(emulator: Emulator):
    emulator.deploy("d", "gpt-4.1-mini")
    for verb, shown, answer in (("pause", "Paused", "DeploymentPaused"), ("resume", "Running", 200)):
        done = arm(emulator, "POST", f"d/{verb}")
        assert (done.status_code, done.json()["properties"]["deploymentState"], said(emulator)) == (
            200,
            shown,
            answer,
        )
    emulator.portal("change_deployment", name="d", paused=True)
    assert emulator.http.post("/openai/v1/chat/completions", json={"model": "d", **HELLO}).status_code == 423


def test_a_stranger_changes_a_deployment_at_once_and_a_job_too(slow: Emulator, workshop: Workshop):
    slow.portal("create_deployment", name="d", **body(tags={"ours": "1"}))
    slow.portal("change_deployment", name="d", sku={"name": "GlobalStandard", "capacity": 5}, tags={})
    shown = arm(slow, "GET", "d").json()
    assert (shown["sku"], shown["tags"]) == ({"name": "GlobalStandard", "capacity": 5}, {})
    slow.portal("create_deployment", name="d", **body({**BASE, "name": "gpt-4.1"}))
    assert arm(slow, "GET", "d").json()["properties"]["model"]["name"] == "gpt-4.1"
    refused = slow.http.post("/_emulator/portal", json={"action": "change_deployment", "name": "none"})
    assert refused.status_code == 404
    client = slow.v1()
    file_id = workshop.upload(client)
    slow.advance(10)
    job = client.fine_tuning.jobs.create(model="gpt-4.1", training_file=file_id, hyperparameters={"n_epochs": 1})
    slow.lever("PUT", "pace", {"step": 100})
    slow.advance(25 + 90 + 40 + 250)
    assert slow.portal("pause_job", id=job.id)["status"] == "pausing"
    slow.advance(100)
    assert slow.portal("resume_job", id=job.id)["status"] == "resuming"


def test_the_bill_names_every_line_by_its_id_and_tags_even_after_a_delete(slow: Emulator, workshop: Workshop):
    client = slow.v1()
    job_id = _trained(slow, workshop, {"op": "7"}, "developerTier")
    name = client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model
    model = {"format": "OpenAI", "name": name, "version": "1"}
    slow.portal("create_deployment", name="d", **body(model, tags={"op": "8"}))
    slow.advance(3 * 3600)
    assert said(slow) == 200
    slow.portal("change_deployment", name="d", sku={"name": "DeveloperTier", "capacity": 10})
    slow.advance(3600)
    slow.portal("delete_deployment", name="d")
    dated = {"api-version": PREVIEW}
    assert slow.http.delete(f"/openai/fine_tuning/jobs/{job_id}", params=dated).status_code == 204
    slow.advance(3600)
    bill = slow.lever("GET", "billing")
    (job,), (hosted,) = bill["jobs"], bill["deployments"]
    assert (job["id"], job["metadata"], job["deleted"]) == (job_id, {"op": "7"}, True)
    assert Decimal(job["usd"]) == Decimal(job["trained_tokens"]) * Decimal("2.5") / 1_000_000 > 0
    assert hosted["id"].endswith("/accounts/portal/deployments/d")
    assert hosted["tags"] == {"op": "8"}
    assert (hosted["hosting_hours"], Decimal(hosted["hosting_usd"])) == (3.0, Decimal("5.1"))
    assert hosted["prompt_tokens"] > 0 < hosted["completion_tokens"]
    assert Decimal(bill["total"]["usd"]) == Decimal(job["usd"]) + Decimal(hosted["usd"])


def _trained(slow: Emulator, workshop: Workshop, metadata: dict[str, str], training_type: str) -> str:
    client = slow.v1()
    file_id = workshop.upload(client)
    slow.advance(10)
    job = client.fine_tuning.jobs.create(
        model="gpt-4.1-mini",
        training_file=file_id,
        hyperparameters={"n_epochs": 1},
        metadata=metadata,
        extra_body={"trainingType": training_type},
    )
    slow.advance(5000)
    return job.id


def test_prices_are_a_lever(emulator: Emulator, workshop: Workshop):
    job = workshop.trained(emulator.v1(), model="gpt-4.1-mini", extra_body={"trainingType": "globalStandard"})
    emulator.lever("PUT", "prices", {"training": {"gpt-4.1-mini-2025-04-14": "1000000"}})
    (line,) = emulator.lever("GET", "billing")["jobs"]
    assert Decimal(line["usd"]) == job.trained_tokens
    for wrong in ({"cars": {}}, {"hosting": {"Standard": "much"}}, {"hosting": {"Standard": -1}}, {"hosting": 2}):
        assert emulator.http.put("/_emulator/prices", json=wrong).status_code == 400


def test_a_failed_job_is_on_the_bill_for_nothing(emulator: Emulator, workshop: Workshop):
    emulator.faults({"match": {"operation": "jobs.create"}, "do": {"fate": {"fail_at_step": 5}}})
    client = emulator.v1()
    workshop.finish(client, workshop.submit(client).id)
    (line,) = emulator.lever("GET", "billing")["jobs"]
    assert (line["phase"], line["trained_tokens"], Decimal(line["usd"])) == ("failed", 0, 0)


def test_a_snapshot_brings_everything_back_as_it_was(slow: Emulator, workshop: Workshop):
    job_id = _trained(slow, workshop, {"op": "1"}, "standard")
    client = slow.v1()
    name = client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model
    slow.portal("create_deployment", name="d", **body({"format": "OpenAI", "name": name, "version": "1"}))
    answer = client.chat.completions.create(model="d", temperature=0, **HELLO).choices[0].message.content
    slow.lever("POST", "snapshot", {"name": "trained"})
    kept = (slow.lever("GET", "state"), slow.lever("GET", "billing"), slow.lever("GET", "pace"))
    slow.lever("POST", "reset")
    assert slow.lever("GET", "state")["counts"]["jobs"] == 0
    slow.lever("POST", "restore", {"name": "trained"})
    assert (slow.lever("GET", "state"), slow.lever("GET", "billing"), slow.lever("GET", "pace")) == kept
    again = client.chat.completions.create(model="d", temperature=0, **HELLO).choices[0].message.content
    assert again == answer
    assert len(workshop.messages(client, job_id)) > 10
    missing = slow.http.post("/_emulator/restore", json={"name": "nothing"})
    assert (missing.status_code, "trained" in missing.json()["error"]["message"]) == (400, True)
    assert slow.http.post("/_emulator/snapshot", json={"name": "../x"}).status_code == 400


def test_a_snapshot_in_the_middle_of_a_training_begins_it_again(slow: Emulator, workshop: Workshop):
    client = slow.v1()
    file_id = workshop.upload(client)
    slow.advance(10)
    job = client.fine_tuning.jobs.create(
        model="gpt-4.1", training_file=file_id, seed=3, hyperparameters={"n_epochs": 2}
    )
    slow.lever("POST", "snapshot", {"name": "early"})
    results = []
    for _ in range(2):
        slow.advance(5000)
        done = client.fine_tuning.jobs.retrieve(job.id)
        assert done.status == "succeeded"
        results.append(client.files.content(done.result_files[0]).text)
        slow.lever("POST", "restore", {"name": "early"})
        assert client.fine_tuning.jobs.retrieve(job.id).status == "pending"
    assert results[0] == results[1]


def test_the_log_can_be_asked_for_one_operation_and_for_what_is_new(emulator: Emulator):
    emulator.v1().models.list()
    first = emulator.lever("GET", "requests?operation=models.list")
    assert [entry["operation"] for entry in first] == ["models.list"]
    emulator.http.get(f"{ARM}/deployments", params=VERSION)
    later = emulator.lever("GET", f"requests?after={first[-1]['number']}")
    assert [entry["operation"] for entry in later] == ["deployments.list"]


def test_writes_under_way_ends_prices_and_bills_outlive_a_kill(tmp_path, workshop: Workshop):
    with emulator_process(tmp_path, clock="manual") as first:
        first.lever("PUT", "pace", PACE)
        job_id = _trained(first, workshop, {"op": "1"}, "standard")
        first.http.delete(f"/openai/fine_tuning/jobs/{job_id}", params={"api-version": PREVIEW})
        first.portal("create_deployment", name="d", **body(capacity=10))
        arm(first, "PATCH", "d", {"sku": {"name": "Standard", "capacity": 25}})
        first.lever("PUT", "models", {"gpt-4.1": {"inference": "2020-01-01"}})
        first.lever("PUT", "prices", {"hosting": {"Standard": "3"}})
        bill = first.lever("GET", "billing")
        assert len(bill["jobs"]) == 1
        first.kill()
    with emulator_process(tmp_path, clock="manual") as second:
        assert second.lever("GET", "billing") == bill
        assert second.lever("GET", "models")["gpt-4.1"]["kept"] == ["inference"]
        assert second.lever("GET", "prices")["hosting"]["Standard"] == "3"
        assert state(second) == "Accepted"
        second.advance(50)
        assert arm(second, "GET", "d").json()["sku"]["capacity"] == 25


def test_arm_refuses_calls_without_a_token_or_a_version(emulator: Emulator):
    bare = emulator.http.get(f"{ARM}/deployments", params=VERSION, headers={"authorization": ""})
    assert (bare.status_code, bare.json()["error"]["code"]) == (401, "AuthenticationFailed")
    assert emulator.http.get(f"{ARM}/deployments").json()["error"]["code"] == "MissingApiVersionParameter"
    with pytest.raises(HttpResponseError):
        emulator.arm().deployments.get("rg", "acc", "none")
