"""Whoever asked for it is told when jobs end, signed, again and again until it is heard; and the v1-only extras."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from azure_published import v1_valid
from emulator_listener import Heard, Listener, listening
from emulator_process import PREVIEW, Emulator, emulator_process, wait_until
from openai import OpenAI

ENDS = ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"]
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU2"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


def _dashboard(emulator: Emulator) -> OpenAI:
    return OpenAI(base_url=f"{emulator.url}/openai/v1/dashboard/", api_key="local", max_retries=0)


def _subscribe(emulator: Emulator, listener: Listener, *kinds: str) -> Any:
    return _dashboard(emulator).webhooks.create(
        name="ours", url=f"{listener.url}/hook", event_types=list(kinds or ENDS)
    )


def _unwrap(heard: Heard, secret: str) -> Any:
    """What the SDK makes of it; it refuses what is not signed with the secret, or is from another time."""
    return OpenAI(api_key="x").webhooks.unwrap(heard.body, heard.headers, secret=secret)


def test_the_end_of_a_job_is_told_signed_and_once(emulator: Emulator, workshop, listener: Listener):
    endpoint = _subscribe(emulator, listener)
    client = emulator.v1()
    job = workshop.trained(client)
    wait_until(lambda: len(listener.heard) == 1)
    event = _unwrap(listener.heard[0], endpoint.signing_secret)
    assert (event.type, event.data.id, event.object) == ("fine_tuning.job.succeeded", job.id, "event")
    assert event.created_at == job.finished_at
    assert listener.heard[0].headers["webhook-id"] == event.id
    with pytest.raises(openai.InvalidWebhookSignatureError):
        _unwrap(listener.heard[0], SECRET)
    cancelled = workshop.submit(client)
    client.fine_tuning.jobs.cancel(cancelled.id)
    failed = workshop.finish(client, workshop.submit(client, b'{"messages": 1}\n' * 12).id)
    wait_until(lambda: len(listener.heard) == 3)
    told = {json.loads(heard.body)["type"]: json.loads(heard.body)["data"]["id"] for heard in listener.heard}
    assert told["fine_tuning.job.cancelled"] == cancelled.id
    assert told["fine_tuning.job.failed"] == failed.id


def test_a_job_ends_and_is_told_of_without_anybody_looking(emulator: Emulator, workshop, listener: Listener):
    endpoint = _subscribe(emulator, listener, "fine_tuning.job.succeeded")
    job = workshop.submit(emulator.v1())
    wait_until(lambda: len(listener.heard) == 1)
    assert _unwrap(listener.heard[0], endpoint.signing_secret).data.id == job.id


def test_what_is_not_heard_is_told_again_later_under_the_same_id(emulator: Emulator, workshop, listener: Listener):
    emulator.clock("manual")
    listener.statuses[:] = [500, 302, 200]
    _subscribe(emulator, listener)
    emulator.portal("create_jobs", count=1)
    job_id = emulator.v1().fine_tuning.jobs.list().data[0].id
    emulator.v1().fine_tuning.jobs.cancel(job_id)

    def attempts() -> list[str]:
        found: list[str] = emulator.lever("GET", "webhooks")[0]["attempts"]
        return found

    wait_until(lambda: attempts() == ["500"])
    emulator.advance(5)
    wait_until(lambda: attempts() == ["500", "302"])
    assert len(listener.heard) == 2
    emulator.advance(299)
    assert len(attempts()) == 2
    emulator.advance(1)
    wait_until(lambda: attempts() == ["500", "302", "200"])
    assert emulator.lever("GET", "webhooks")[0]["due_v"] is None
    assert len({heard.headers["webhook-id"] for heard in listener.heard}) == 1
    assert len({heard.body for heard in listener.heard}) == 1


def test_nobody_is_told_of_what_they_did_not_ask_for(emulator: Emulator, listener: Listener):
    _subscribe(emulator, listener, "fine_tuning.job.succeeded")
    emulator.portal("create_jobs", count=1)
    client = emulator.v1()
    client.fine_tuning.jobs.cancel(client.fine_tuning.jobs.list().data[0].id)
    assert emulator.lever("GET", "webhooks") == []
    assert listener.heard == []


def test_the_secret_is_shown_once_and_an_endpoint_can_be_removed(emulator: Emulator, listener: Listener):
    made = _subscribe(emulator, listener)
    dashboard = _dashboard(emulator).webhooks
    assert made.signing_secret.startswith("whsec_")
    shown = dashboard.retrieve(made.id)
    assert made.signing_secret not in shown.to_json()
    assert shown.signing_secret_hint == f"whsec_...{made.signing_secret[-4:]}"
    assert [endpoint.id for endpoint in dashboard.list()] == [made.id]
    assert dashboard.delete(made.id).deleted
    assert list(dashboard.list()) == []
    with pytest.raises(openai.NotFoundError):
        dashboard.retrieve(made.id)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "http://192.0.2.7/x"}, "this machine only"),
        ({"url": "ftp://127.0.0.1/x"}, "no http or https URL"),
        ({"url": 5}, "'url'"),
        ({"name": ""}, "'name'"),
        ({"event_types": []}, "'event_types'"),
        ({"event_types": ["batch.completed"]}, "'event_types'"),
        ({"event_types": [["x"]]}, "'event_types'"),
    ],
)
def test_a_wrong_endpoint_is_refused(emulator: Emulator, given: dict[str, Any], words: str):
    body = {"name": "n", "url": "http://127.0.0.1:9/", "event_types": ENDS} | given
    answer = emulator.http.post("/openai/v1/dashboard/webhook_endpoints", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_a_setting_names_an_endpoint_from_the_start(workshop, listener: Listener):
    with emulator_process(webhooks=f"{listener.url}/early#{SECRET}") as emulator:
        client = emulator.v1()
        emulator.portal("create_jobs", count=1)
        job_id = client.fine_tuning.jobs.list().data[0].id
        client.fine_tuning.jobs.cancel(job_id)
        wait_until(lambda: len(listener.heard) == 1)
        assert listener.heard[0].path == "/early"
        assert _unwrap(listener.heard[0], SECRET).data.id == job_id
        emulator.lever("POST", "reset")
        emulator.portal("create_jobs", count=1)
        client.fine_tuning.jobs.cancel(client.fine_tuning.jobs.list().data[0].id)
        wait_until(lambda: len(listener.heard) == 2)


# Graders over HTTP, and copies of checkpoints


def test_a_grader_is_checked_and_run(emulator: Emulator):
    grader = {
        "type": "multi",
        "name": "both",
        "graders": {
            "exact": {
                "type": "string_check",
                "name": "exact",
                "input": "{{sample.output_text}}",
                "reference": "{{item.answer}}",
                "operation": "eq",
            },
            "judge": {
                "type": "score_model",
                "name": "judge",
                "model": "gpt-4o-2024-08-06",
                "input": [{"role": "user", "content": "Rate {{sample.output_text}}"}],
            },
        },
        "calculate_output": "exact",
    }
    run = "/openai/v1/fine_tuning/alpha/graders/run"
    body = {"grader": grader, "item": {"answer": "42"}, "model_sample": "42"}
    answer = emulator.http.post(run, json=body).json()
    v1_valid("OpenAI.RunGraderResponse", answer)
    assert answer["reward"] == 1
    assert answer["sub_rewards"]["exact"] == 1
    assert answer["model_grader_token_usage_per_model"]["gpt-4o-2024-08-06"] > 0
    assert answer["metadata"]["errors"]["model_grader_parse_error"] in (True, False)
    validate = emulator.http.post("/openai/v1/fine_tuning/alpha/graders/validate", json={"grader": grader})
    v1_valid("OpenAI.ValidateGraderResponse", validate.json())
    assert validate.json() == {"grader": grader}
    for wrong in ({"grader": {"type": "python", "name": "p", "source": "1"}}, body | {"model_sample": 4}, {}):
        assert emulator.http.post(run, json=wrong).status_code == 400
    dated = emulator.http.post(f"/openai/fine_tuning/alpha/graders/run?api-version={PREVIEW}", json=body)
    assert dated.status_code == 404


ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/{}"
COPY = {"aoai-copy-ft-checkpoints": "preview", "accept": "application/json"}


def test_a_copied_checkpoint_can_be_deployed_on_the_other_resource(workshop):
    with emulator_process(accounts="east,west") as emulator:
        east, west = (
            OpenAI(base_url=f"{emulator.url}/{name}/openai/v1/", api_key="local", max_retries=0)
            for name in ("east", "west")
        )
        job = workshop.trained(east, hyperparameters={"n_epochs": 2})
        last, first = east.fine_tuning.jobs.checkpoints.list(job.id).data
        path = f"/east/openai/v1/fine_tuning/jobs/{job.id}/checkpoints/{{}}/copy"
        body = {"destinationResourceId": ARM.format("west"), "region": "westus3"}
        emulator.clock("manual")

        def copy(checkpoint: str) -> None:
            answer = emulator.http.post(path.format(checkpoint), json=body, headers=COPY)
            assert answer.status_code == 200
            v1_valid("CopyModelResponse", answer.json())
            assert answer.json()["copiedAccountDetails"][-1]["status"] == "InProgress"

        def statuses(checkpoint: str) -> list[str]:
            answer = emulator.http.get(path.format(checkpoint), headers=COPY).json()
            v1_valid("CopyModelResponse", answer)
            return [one["status"] for one in answer["copiedAccountDetails"]]

        copy(last.id)
        emulator.advance(120)
        assert statuses(last.id) == ["Failed"]  # the other resource has never trained anything
        emulator.portal("create_jobs", account="west")
        copy(first.id)
        emulator.advance(119)
        assert statuses(first.id) == ["InProgress"]
        emulator.advance(1)
        assert statuses(first.id) == ["Completed"]
        assert [model.id for model in west.models.list() if ".ft-" in model.id] == []
        deploy = {
            "account": "west",
            "name": "copied",
            "sku": {"name": "GlobalStandard", "capacity": 10},
            "properties": {
                "model": {"format": "OpenAI", "name": first.fine_tuned_model_checkpoint, "version": "1"}
            },
        }
        emulator.portal("create_deployment", **deploy)
        ask = [{"role": "user", "content": "What is 5 plus 5?"}]
        assert west.chat.completions.create(model="copied", messages=ask).choices[0].message.content


def test_a_copy_needs_its_header_its_checkpoint_and_a_destination(emulator: Emulator, workshop):
    job = workshop.trained(emulator.v1())
    checkpoint = emulator.v1().fine_tuning.jobs.checkpoints.list(job.id).data[0]
    path = f"/openai/v1/fine_tuning/jobs/{job.id}/checkpoints/{checkpoint.id}/copy"
    body = {"destinationResourceId": ARM.format("x"), "region": "westus3"}
    assert emulator.http.post(path, json=body).status_code == 404
    assert emulator.http.post(path.replace(checkpoint.id, "ftchkpt-0"), json=body, headers=COPY).status_code == 404
    for wrong in ({}, body | {"region": ""}, body | {"destinationResourceId": "west"}):
        assert emulator.http.post(path, json=wrong, headers=COPY).status_code == 400
