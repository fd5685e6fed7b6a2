"""Projects and API keys over HTTP, against a real database."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from app.access import secrets
from app.access.service import AccessService, refuse_if_paused
from app.kit.errors import Conflict
from app.main import create_app


@pytest.fixture
def operator(service: FastAPI, bench) -> TestClient:
    secret = secrets.new_secret().secret
    AccessService(bench).ensure_operator_key(secret)
    return TestClient(service, headers={"api-key": secret})


def _with(service: FastAPI, secret: str) -> TestClient:
    return TestClient(service, headers={"Authorization": f"Bearer {secret}"})


def _key(client: TestClient, *scopes: str, **more: Any) -> dict:
    response = client.post("/v1/api-keys", json={"name": "k", "scopes": list(scopes), **more})
    assert response.status_code == 201, response.text
    return response.json()


def test_an_operator_makes_a_project_and_its_first_key(operator, service):
    made = operator.post("/v1/projects", json={"name": "novel"})
    assert made.status_code == 201
    project = made.json()
    assert made.headers["location"] == f"/v1/projects/{project['id']}"
    key = _key(operator, "*", project="novel", spend_cap_usd="12.50")
    assert key["project_id"] == project["id"]
    assert key["spend_cap_usd"] == "12.5"
    seen = _with(service, key["secret"]).get("/v1/projects").json()
    assert [item["id"] for item in seen["data"]] == [project["id"]]


def test_a_project_key_can_make_no_project_and_archive_none(client, project):
    for response in (
        client.post("/v1/projects", json={"name": "more"}),
        client.delete(f"/v1/projects/{project.id}"),
    ):
        assert response.status_code == 403
        assert response.json()["code"] == "operator_key_required"


def test_an_operators_key_sees_into_no_project(operator):
    response = operator.get("/v1/events")
    assert response.status_code == 403
    assert response.json()["code"] == "project_key_required"


def test_another_project_does_not_exist(client, stranger, second_project, project):
    for reference in (second_project.id, "second"):
        assert client.get(f"/v1/projects/{reference}").status_code == 404
        assert client.patch(f"/v1/projects/{reference}", json={"paused": True}).status_code == 404
    key_id = stranger.get("/v1/api-keys").json()["data"][0]["id"]
    assert client.delete(f"/v1/api-keys/{key_id}").status_code == 404
    assert stranger.get("/v1/api-keys").json()["data"][0]["revoked_at"] is None
    assert client.post("/v1/api-keys", json={"name": "k", "scopes": ["*"], "project": "second"}).status_code == 404
    assert {item["project_id"] for item in client.get("/v1/api-keys").json()["data"]} == {project.id}


def test_a_name_can_be_used_once(operator, client, project):
    assert operator.post("/v1/projects", json={"name": "one"}).status_code == 201
    assert operator.post("/v1/projects", json={"name": "one"}).json()["code"] == "name_taken"
    assert client.patch(f"/v1/projects/{project.id}", json={"name": "one"}).json()["code"] == "name_taken"
    assert client.patch(f"/v1/projects/{project.id}", json={"name": "first"}).status_code == 200


def test_the_secret_is_shown_once_and_stored_nowhere(client, bench):
    secret = _key(client, "jobs:read")["secret"]
    assert secrets.is_well_formed(secret)
    listed = client.get("/v1/api-keys").text
    assert secret not in listed
    assert secret[9:17] in listed
    with bench.read() as session:
        rows = session.execute(text("SELECT row_to_json(k)::text FROM api_keys k")).scalars().all()
        events = session.execute(text("SELECT row_to_json(e)::text FROM events e")).scalars().all()
    assert all(secret[17:49] not in row for row in [*rows, *events])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic Zm9vOmJhcg=="},
        {"Authorization": "Bearer ftk_live_" + "0" * 46},
        {"Authorization": b"Bearer \x7f\xe9"},
        {"Authorization": "Bearer " + "a" * 5000},
        {"api-key": "nothing"},
    ],
)
def test_without_a_valid_key_nothing_opens(service, headers):
    response = TestClient(service).get("/v1/projects", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"


def test_a_key_that_is_almost_right_opens_nothing(service, project):
    secret = project.secret
    swapped = secret.swapcase().replace("FTK_LIVE", "ftk_live")
    for wrong in (
        secret[:-1],
        secret + "0",
        secret[:-7] + "0" + secret[-6:],
        swapped,
        secret.replace("live", "test"),
    ):
        assert _with(service, wrong).get("/v1/projects").status_code == 401
    assert TestClient(service).get(f"/v1/projects?api-key={secret}").status_code == 401


def test_a_revoked_key_opens_nothing(client, service):
    key = _key(client, "*")
    other = _with(service, key["secret"])
    assert other.get("/v1/events").status_code == 200
    assert client.delete(f"/v1/api-keys/{key['id']}").status_code == 204
    assert client.delete(f"/v1/api-keys/{key['id']}").status_code == 204
    assert other.get("/v1/events").status_code == 401


def test_a_revoked_key_opens_nothing_at_once_even_where_keys_are_cached(settings, bench, project):
    app = create_app(settings.model_copy(update={"key_cache_seconds": 60.0}), bench)
    client = _with(app, project.secret)
    key = _key(client, "*")
    other = _with(app, key["secret"])
    assert other.get("/v1/events").status_code == 200
    client.delete(f"/v1/api-keys/{key['id']}")
    assert other.get("/v1/events").status_code == 401


def test_a_cached_key_needs_no_query(settings, bench, project):
    checked = []
    app = create_app(settings.model_copy(update={"key_cache_seconds": 60.0}), bench)
    check = AccessService(bench).check
    app.state.key_ring._check = lambda secret: checked.append(secret) or check(secret)
    client = _with(app, project.secret)
    for _ in range(5):
        assert client.get("/v1/events").status_code == 200
    assert len(checked) == 1


def test_an_expired_key_opens_nothing(client, service, bench):
    key = _key(client, "*", expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    other = _with(service, key["secret"])
    assert other.get("/v1/events").status_code == 200
    with bench.begin() as work:
        work.session.execute(
            text("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = :id"), {"id": key["id"]}
        )
    assert other.get("/v1/events").status_code == 401


def test_a_key_cannot_be_made_expired_or_without_a_known_scope(client):
    past = client.post("/v1/api-keys", json={"name": "k", "scopes": ["*"], "expires_at": "2020-01-01T00:00:00Z"})
    assert past.json()["errors"][0]["pointer"] == "/expires_at"
    unknown = client.post("/v1/api-keys", json={"name": "k", "scopes": ["jobs:fly"]})
    assert unknown.json()["errors"][0] == {
        "pointer": "/scopes",
        "code": "scope_unknown",
        "detail": unknown.json()["errors"][0]["detail"],
    }
    assert "jobs:fly" in unknown.json()["detail"]
    assert client.post("/v1/api-keys", json={"name": "k", "scopes": []}).status_code == 422
    assert len(client.get("/v1/api-keys").json()["data"]) == 1


def test_scopes_decide_what_a_key_may_do(client, service):
    def status(*scopes: str) -> tuple[int, int]:
        other = _with(service, _key(client, *scopes)["secret"])
        return other.get("/v1/events").status_code, other.get("/v1/api-keys").status_code

    assert status("events:read") == (200, 403)
    assert status("events:*") == (200, 403)
    assert status("jobs:read") == (403, 403)
    assert status("admin") == (403, 200)
    assert status("*") == (200, 200)
    refused = _with(service, _key(client, "jobs:read")["secret"]).get("/v1/events").json()
    assert refused["code"] == "scope_missing"
    assert "jobs:read" in refused["hint"]


def test_a_key_gives_away_no_more_than_it_has(client, service):
    weak = _with(service, _key(client, "admin", "jobs:write", spend_cap_usd="10")["secret"])
    assert _key(weak, "jobs:read", "jobs:write", "admin", spend_cap_usd="10")["spend_cap_usd"] == "10"
    for scopes, cap in (
        (["*"], "1"),
        (["jobs:*"], "1"),
        (["datasets:read"], "1"),
        (["jobs:read"], None),
        (["jobs:read"], "10.01"),
    ):
        body = {"name": "k", "scopes": scopes, "spend_cap_usd": cap}
        assert weak.post("/v1/api-keys", json=body).status_code == 403, (scopes, cap)


def test_an_archived_projects_keys_open_nothing_and_its_name_stays_taken(operator, client, project):
    assert client.get("/v1/events").status_code == 200
    archived = operator.delete("/v1/projects/first")
    assert archived.json()["archived_at"] is not None
    assert operator.delete("/v1/projects/first").json()["archived_at"] == archived.json()["archived_at"]
    assert client.get("/v1/events").status_code == 401
    assert project.id not in {item["id"] for item in operator.get("/v1/projects").json()["data"]}
    assert operator.post("/v1/projects", json={"name": "first"}).status_code == 409
    late = operator.post("/v1/api-keys", json={"name": "k", "scopes": ["*"], "project": "first"})
    assert late.json()["code"] == "project_archived"


def test_the_kill_switch_is_thrown_and_lifted(client, project, bench):
    with bench.read() as session:
        refuse_if_paused(session, project.id, policy=bench.policy)
    assert client.patch(f"/v1/projects/{project.id}", json={"paused": True}).json()["paused"] is True
    with bench.read() as session, pytest.raises(Conflict) as refused:
        refuse_if_paused(session, project.id, policy=bench.policy)
    assert refused.value.code == "project_paused"
    client.patch(f"/v1/projects/{project.id}", json={"paused": False})
    with bench.read() as session:
        refuse_if_paused(session, project.id, policy=bench.policy)
    types = [event["type"] for event in client.get("/v1/events?order=asc").json()["data"]]
    assert [word for word in types if word.startswith("project.")] == [
        "project.created",
        "project.paused",
        "project.resumed",
    ]


def test_only_known_members_can_be_changed(client, project):
    for body in ({"id": "prj_x"}, {"archived_at": None}, {"created_at": "2020-01-01T00:00:00Z"}, {"paused": "yes"}):
        assert client.patch(f"/v1/projects/{project.id}", json=body).status_code == 422


def test_a_change_needs_the_state_that_was_read(client, project):
    read = client.get(f"/v1/projects/{project.id}")
    first = read.headers["etag"]
    assert client.get(f"/v1/projects/{project.id}", headers={"If-None-Match": f'"x", W/{first}'}).status_code == 304
    changed = client.patch(f"/v1/projects/{project.id}", json={"paused": True}, headers={"If-Match": first})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first
    for stale in (first, '"x"', f"W/{changed.headers['etag']}"):
        refused = client.patch(f"/v1/projects/{project.id}", json={"paused": False}, headers={"If-Match": stale})
        assert refused.status_code == 412
    assert client.get(f"/v1/projects/{project.id}").json()["paused"] is True
    for form in ("{}", '"x", {}', "*"):
        etag = client.get(f"/v1/projects/{project.id}").headers["etag"]
        condition = {"If-Match": form.format(etag)}
        assert (
            client.patch(f"/v1/projects/{project.id}", json={"paused": True}, headers=condition).status_code == 200
        )


def test_of_two_changes_of_the_same_state_one_wins(client, project):
    etag = client.get(f"/v1/projects/{project.id}").headers["etag"]
    statuses = []

    def change(name: str) -> None:
        response = client.patch(f"/v1/projects/{project.id}", json={"name": name}, headers={"If-Match": etag})
        statuses.append(response.status_code)

    threads = [threading.Thread(target=change, args=(f"name-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 7


def test_the_last_use_is_noted_at_most_once_a_minute(client, bench):
    def noted() -> datetime | None:
        with bench.read() as session:
            return session.scalar(text("SELECT max(last_used_at) FROM api_keys"))

    client.get("/v1/events")
    first = noted()
    assert first is not None
    client.get("/v1/events")
    assert noted() == first
    with bench.begin() as work:
        work.session.execute(text("UPDATE api_keys SET last_used_at = now() - interval '61 seconds'"))
    client.get("/v1/events")
    assert noted() > first - timedelta(seconds=1)


def test_the_operators_key_of_the_settings_is_stored_once_and_replaced(bench):
    access = AccessService(bench)
    old, new = secrets.new_secret().secret, secrets.new_secret().secret
    access.ensure_operator_key(old)
    access.ensure_operator_key(old)
    assert access.check(old) is not None
    access.ensure_operator_key(new)
    assert access.check(old) is None
    assert access.check(new) is not None
    with pytest.raises(ValueError, match="KITAE_ADMIN_KEY"):
        access.ensure_operator_key("hunter2")


def test_bootstrapping_the_same_project_twice_gives_two_keys_of_one_project(bench):
    access = AccessService(bench)
    one, first = access.bootstrap_project("laptop")
    same, second = access.bootstrap_project("laptop")
    assert one.id == same.id
    assert first != second
    assert access.check(first) is not None
    assert access.check(second) is not None


@pytest.fixture
def many_keys(client) -> Iterator[list[str]]:
    ids = [client.get("/v1/api-keys").json()["data"][0]["id"]]
    ids += [_key(client, "jobs:read")["id"] for _ in range(10)]
    return ids


def test_pages_show_every_item_once_forwards_and_backwards(client, many_keys):
    for order, wanted in (("asc", many_keys), ("desc", many_keys[::-1])):
        seen: list[str] = []
        url = f"/v1/api-keys?limit=4&order={order}"
        while url:
            response = client.get(url)
            page = response.json()
            assert page["object"] == "list"
            assert page["first_id"] == page["data"][0]["id"]
            assert page["last_id"] == page["data"][-1]["id"]
            assert page["has_more"] == ("next" in response.links)
            seen += [item["id"] for item in page["data"]]
            url = response.links["next"]["url"] if page["has_more"] else ""
        assert seen == wanted
        back: list[str] = []
        cursor = wanted[-1]
        while True:
            page = client.get(f"/v1/api-keys?limit=4&order={order}&before={cursor}").json()
            back = [item["id"] for item in page["data"]] + back
            if not page["has_more"]:
                break
            cursor = page["first_id"]
        assert back == wanted[:-1]


def test_a_page_behind_the_last_item_is_empty(client, many_keys):
    page = client.get(f"/v1/api-keys?order=asc&after={many_keys[-1]}").json()
    assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "after=x",
        "before=prj_01m7zckjh2efdacchjmxmqy9rx",
        "order=up",
        "after=%27",
    ],
)
def test_a_page_that_makes_no_sense_is_refused(client, query):
    response = client.get(f"/v1/api-keys?{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] in query
