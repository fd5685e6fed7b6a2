"""Deployments, chat, comparisons, costs and budgets as a caller meets them over HTTP."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from lives import Life, quick, until
from servers import Project
from starlette.testclient import TestClient

from app.access.schemas import ApiKeyCreate
from app.access.service import AccessService
from app.bootstrap import open_workbench
from app.deployments.steps import ComparisonSteps, DeploymentSteps
from app.kit.caller import Caller
from app.settings import Settings
from app.workbench import Workbench

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "temperature": 0}


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


def create(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/deployments", json={"model": "gpt-4.1-mini", "connection": "emulator"} | fields)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/deployments/{answer.json()['id']}"
    return dict(answer.json())


def drive(client: TestClient, bench: Workbench, deployment_id: str, status: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        DeploymentSteps(bench).advance(deployment_id)
        shown = client.get(f"/v1/deployments/{deployment_id}").json()
        return shown if shown["status"] == status else None

    return until(look, seconds=30)


def test_the_same_idempotency_key_makes_one_deployment(client: TestClient, life: Life) -> None:
    body = {"model": "gpt-4.1-mini", "connection": "emulator"}
    first = client.post("/v1/deployments", json=body, headers={"Idempotency-Key": "once"})
    second = client.post("/v1/deployments", json=body, headers={"Idempotency-Key": "once"})
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert first.json()["id"] == second.json()["id"]
    other = client.post("/v1/deployments", json=body | {"capacity": 5}, headers={"Idempotency-Key": "once"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(client.get("/v1/deployments").json()["data"]) == 1


def test_a_deployment_is_made_used_and_deleted_over_http(client: TestClient, life: Life) -> None:
    made = create(client, name="helper", ttl_seconds=3600)
    assert made["status"] == "creating"
    assert made["hourly_usd"] == "0.0000"

    early = client.post("/v1/deployments/helper/chat", json=HELLO)
    assert (early.status_code, early.json()["code"]) == (409, "deployment_not_ready")
    assert int(early.headers["Retry-After"]) > 0

    drive(client, life.bench, made["id"], "ready")
    answer = client.post("/v1/deployments/helper/chat", json=HELLO)
    assert answer.status_code == 200
    assert answer.json()["text"]
    assert answer.json()["remote"]["object"] == "chat.completion"

    with client.stream("POST", "/v1/deployments/helper/chat", json=HELLO | {"stream": True}) as streamed:
        assert streamed.headers["Content-Type"].startswith("text/event-stream")
        lines = [line for line in streamed.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"] if "delta" in choice
    )
    assert text == answer.json()["text"]

    gone = client.delete("/v1/deployments/helper")
    assert gone.status_code == 202
    assert gone.json()["delete_requested_at"]
    drive(client, life.bench, made["id"], "deleted")
    late = client.post("/v1/deployments/helper/chat", json=HELLO)
    assert late.status_code == 409
    assert "Retry-After" not in late.headers


def test_an_etag_guards_what_was_read(client: TestClient, life: Life) -> None:
    made = create(client)
    path = f"/v1/deployments/{made['id']}"
    first = client.get(path)
    assert client.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    changed = client.patch(path, json={"ttl_seconds": 600}, headers={"If-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.json()["expires_at"] < made["expires_at"]
    stale = client.delete(path, headers={"If-Match": first.headers["ETag"]})
    assert stale.status_code == 412
    assert client.get(path).json()["delete_requested_at"] is None
    assert client.delete(path, headers={"If-Match": changed.headers["ETag"]}).status_code == 202
    assert client.patch(path, json={"ttl_seconds": 600}).json()["code"] == "deployment_ended"


def test_a_list_is_filtered_by_status_and_paged(client: TestClient, life: Life) -> None:
    made = [create(client)["id"] for _ in range(3)]
    first = client.get("/v1/deployments", params={"limit": 2, "status": "creating"}).json()
    assert [row["id"] for row in first["data"]] == [made[2], made[1]]
    rest = client.get("/v1/deployments", params={"limit": 2, "after": first["last_id"]}).json()
    assert [row["id"] for row in rest["data"]] == [made[0]]
    assert client.get("/v1/deployments", params={"status": "ready"}).json()["data"] == []
    assert client.get("/v1/deployments", params={"status": "odd"}).status_code == 422
    assert client.get("/v1/deployments", params={"model": "nobody"}).status_code == 404


def test_a_comparison_is_asked_for_and_read_over_http(client: TestClient, stranger: TestClient, life: Life) -> None:
    made = create(client, name="helper")
    drive(client, life.bench, made["id"], "ready")
    body = {"candidates": [{"deployment": "helper"}], "prompts": ["hello", "who are you?"], "max_tokens": 4}
    asked = client.post("/v1/comparisons", json=body, headers={"Idempotency-Key": "c1"})
    assert asked.status_code == 202
    path = asked.headers["Location"]

    def look() -> dict[str, Any] | None:
        ComparisonSteps(life.bench).advance(asked.json()["id"])
        shown = client.get(path).json()
        return shown if shown["status"] == "succeeded" else None

    done = until(look)
    assert [row["prompt"] for row in done["rows"]] == body["prompts"]
    assert all(row["answers"][0]["text"] for row in done["rows"])
    assert Decimal(done["cost_usd"]) >= 0
    listed = client.get("/v1/comparisons").json()["data"]
    assert [row["id"] for row in listed] == [done["id"]]
    assert "rows" not in listed[0]
    assert stranger.get(path).status_code == 404
    assert stranger.post(f"{path}/retry").status_code == 404


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"ttl_seconds": 600}),
        ("DELETE", "", None),
        ("POST", "/retry", None),
        ("POST", "/chat", HELLO),
        ("POST", "/chat", HELLO | {"stream": True}),
    ],
)
def test_a_stranger_is_told_that_there_is_no_such_deployment(
    client: TestClient, stranger: TestClient, life: Life, method: str, suffix: str, body: dict[str, Any] | None
) -> None:
    made = create(client, name="mine")
    for ref in (made["id"], "mine"):
        answer = stranger.request(method, f"/v1/deployments/{ref}{suffix}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "deployment_not_found")
    assert stranger.get("/v1/deployments").json()["data"] == []


def test_a_key_that_may_only_read_can_neither_make_nor_chat(
    client: TestClient, life: Life, project: Project
) -> None:
    made = create(client)
    admin = Caller(project_id=project.id, key_id="key_test", scopes=frozenset({"*"}))
    reader = AccessService(life.bench).create_key(admin, ApiKeyCreate(name="reader", scopes=["deployments:read"]))
    headers = {"Authorization": f"Bearer {reader.secret}"}
    assert client.get(f"/v1/deployments/{made['id']}", headers=headers).status_code == 200
    for method, path, body in (
        ("POST", "/v1/deployments", {"model": "gpt-4.1-mini", "connection": "emulator"}),
        ("DELETE", f"/v1/deployments/{made['id']}", None),
        ("POST", f"/v1/deployments/{made['id']}/chat", HELLO),
        ("POST", "/v1/comparisons", {"candidates": [{"deployment": "x"}], "prompts": ["y"]}),
        ("GET", "/v1/costs", None),
        ("PUT", "/v1/budgets", {}),
    ):
        answer = client.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), path


# ── costs ───────────────────────────────────────────────────────────────────


def test_caps_are_set_read_and_kept_apart_between_projects(client: TestClient, stranger: TestClient) -> None:
    assert client.get("/v1/budgets").json()["month_cap_usd"] is None
    put = client.put("/v1/budgets", json={"month_cap_usd": "500", "job_cap_usd": "12.5"})
    assert put.status_code == 200
    assert client.get("/v1/budgets").json()["month_cap_usd"] == "500.0000"
    assert stranger.get("/v1/budgets").json()["month_cap_usd"] is None
    assert client.put("/v1/budgets", json={"month_cap_usd": "-1"}).status_code == 422
    cleared = client.put("/v1/budgets", json={"job_cap_usd": "1"}).json()
    assert (cleared["month_cap_usd"], cleared["job_cap_usd"]) == (None, "1.0000")


def test_costs_are_grouped_and_bounded(client: TestClient, life: Life) -> None:
    made = create(client)
    for group_by in ("category", "subject", "key", "day"):
        summary = client.get("/v1/costs", params={"group_by": group_by}).json()
        assert summary["group_by"] == group_by
        assert len(summary["data"]) == 1
    by_subject = client.get("/v1/costs", params={"group_by": "subject"}).json()
    assert by_subject["data"][0]["group"] == made["id"]
    assert by_subject["running_usd"] == "0.0000"
    assert client.get("/v1/costs", params={"group_by": "colour"}).status_code == 422
    assert client.get("/v1/costs", params={"since": "2026-01-01T00:00:00"}).status_code == 422  # without a zone
    span = {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
    assert client.get("/v1/costs", params=span).json()["code"] == "span_empty"
    past = {"since": "2025-01-01T00:00:00Z", "until": "2025-02-01T00:00:00Z"}
    assert client.get("/v1/costs", params=past).json()["data"] == []


def test_prometheus_sees_living_deployments_by_status(client: TestClient, life: Life) -> None:
    create(client)
    text = client.get("/metrics").text
    assert 'kitae_deployments{status="creating"} 1.0' in text
    assert "kitae_deployments_parked 0.0" in text
    assert "kitae_deployments_past_expiry 0.0" in text
