"""Datasets from elsewhere: a URL, a blob, the Hub. Over HTTP, against a real server that breaks in real ways."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest
from invariants_hold import assert_invariants
from lives import until
from servers import Project
from source_server import SourceServer, source_server
from sqlalchemy import text
from starlette.testclient import TestClient

import examples
from app.azure.adapter import AzureClients, azure_guard
from app.bootstrap import open_workbench
from app.connections.schemas import ConnectionCreate
from app.connections.service import ConnectionService
from app.datasets.service import DatasetService
from app.datasets.sources.steps import FetchSteps
from app.main import create_app
from app.settings import Settings
from app.workbench import Workbench

CONTENT = examples.load("travel").training.read_bytes()
WHOLE = hashlib.sha256(CONTENT).hexdigest()
BIG = CONTENT * 40
"""Some megabytes, so that a cut comes in the middle of pieces."""
SAS = "sv=2024-11-04&sp=r&sig=Hk1dV0zVtWQm3sGm8uJxCw1oTq5r2bN7yPzLk4eXn0%3D"


@pytest.fixture
def source() -> Iterator[SourceServer]:
    with source_server() as made:
        yield made


@pytest.fixture
def settings(settings: Settings, source: SourceServer) -> Settings:
    return settings.model_copy(
        update={
            "source_origins": frozenset({source.url}),
            "hub_url": source.url,
            "blob_url": f"{source.url}/{{account}}",
            "blob_accounts": frozenset({"ours/training"}),
            "request_timeout_seconds": 5.0,
            "backoff_max_seconds": 0.01,
            "park_after_failures": 4,
        }
    )


@pytest.fixture(autouse=True)
def _dataset(client: TestClient) -> None:
    assert client.post("/v1/datasets", json={"name": "travel"}).status_code == 201


def begin(client: TestClient, **source: Any) -> httpx2.Response:
    return client.post("/v1/datasets/travel/versions", json={"source": source})


def brought(client: TestClient, bench: Workbench, begun: httpx2.Response) -> dict[str, Any]:
    """The fetch once it has ended, by the steps that workers take."""
    assert begun.status_code == 202, begun.text
    assert begun.json()["object"] == "dataset.fetch"
    location, fetch_id = begun.headers["location"], begun.json()["id"]

    def look() -> dict[str, Any] | None:
        FetchSteps(bench).advance(fetch_id)
        found: dict[str, Any] = client.get(location).json()
        return found if found["status"] != "fetching" or found["parked_reason"] else None

    ended = until(look)
    assert_invariants(bench)
    return ended


def failed(client: TestClient, bench: Workbench, **source: Any) -> dict[str, Any]:
    ended = brought(client, bench, begin(client, **source))
    assert (ended["status"], ended["version"]) == ("failed", None)
    assert all(ended["error"][name] for name in ("code", "message", "hint")), ended["error"]
    error: dict[str, Any] = ended["error"]
    return error


def version_of(client: TestClient, fetch: dict[str, Any]) -> dict[str, Any]:
    assert fetch["status"] == "fetched", fetch["error"]
    found: dict[str, Any] = client.get(f"/v1/datasets/travel/versions/{fetch['version_number']}").json()
    assert found["id"] == fetch["version"]
    return found


@pytest.fixture
def stored(settings: Settings) -> Callable[[], list[str]]:
    """Pieces of fetches that are left in the store."""

    def names() -> list[str]:
        return [str(path) for path in settings.data_dir.rglob("fetches/**/*") if path.is_file()]

    return names


# --- a URL -----------------------------------------------------------------------------------------------------


def test_a_file_behind_a_url_becomes_a_version_that_knows_where_it_came_from(client, bench, source, stored):
    url = source.put("/data/train.jsonl", CONTENT)
    begun = begin(client, type="url", url=f"{url}?signature=abcdefghijklmnop")
    assert begun.json()["source"] == {"type": "url", "url": f"{url}?…"}
    assert (begun.json()["status"], begun.json()["filename"]) == ("fetching", "train.jsonl")
    fetch = brought(client, bench, begun)
    version = version_of(client, fetch)
    assert (version["sha256"], version["bytes"], version["original_name"]) == (WHOLE, len(CONTENT), "train.jsonl")
    assert (fetch["received_bytes"], fetch["total_bytes"]) == (len(CONTENT), len(CONTENT))
    lineage = version["lineage"]
    assert (lineage["source"], lineage["fetch"], lineage["from"]["url"]) == ("url", fetch["id"], f"{url}?…")
    (file,) = lineage["files"]
    assert (file["sha256"], file["etag"]) == (WHOLE, source.files["/data/train.jsonl"].tag())
    assert file["answered_by"] == source.url
    DatasetService(bench).check(version["id"])
    assert client.get("/v1/datasets/travel/versions/1").json()["status"] == "ready"
    assert stored() == []
    listed = client.get("/v1/datasets/travel/fetches").json()["data"]
    assert [one["id"] for one in listed] == [fetch["id"]]


def test_the_same_bytes_again_are_the_same_version(client, bench, source, stored):
    url = source.put("/train.jsonl", CONTENT)
    first, second = (brought(client, bench, begin(client, type="url", url=url)) for _ in range(2))
    assert first["id"] != second["id"]
    assert first["version"] == second["version"]
    assert stored() == []


def test_a_line_that_is_cut_again_and_again_costs_no_byte_twice(client, bench, source):
    url = source.put("/big.jsonl", BIG, cut_after=[1_000_000, 500_000, 700_000])
    fetch = brought(client, bench, begin(client, type="url", url=url, sha256=hashlib.sha256(BIG).hexdigest()))
    assert version_of(client, fetch)["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert source.ranges_of("/big.jsonl") == [None, "bytes=1000000-", "bytes=1500000-", "bytes=2200000-"]


def test_a_file_that_changes_between_two_attempts_is_never_mixed(client, bench, source, stored):
    url = source.put("/big.jsonl", BIG, cut_after=[1_000_000])
    begun = begin(client, type="url", url=url)
    FetchSteps(bench).advance(begun.json()["id"])
    assert client.get(begun.headers["location"]).json()["received_bytes"] == 1_000_000
    source.put("/big.jsonl", CONTENT)
    fetch = brought(client, bench, begun)
    assert version_of(client, fetch)["sha256"] == WHOLE
    assert stored() == []


@pytest.mark.parametrize("how", [{"etag": False}, {"ranges": False}])
def test_a_server_that_cannot_go_on_is_asked_for_the_whole_again(how, client, bench, source):
    url = source.put("/big.jsonl", BIG, cut_after=[1_000_000], **how)
    fetch = brought(client, bench, begin(client, type="url", url=url))
    assert version_of(client, fetch)["bytes"] == len(BIG)


def test_a_file_of_unknown_length_is_brought_whole(client, bench, source):
    url = source.put("/train.jsonl", CONTENT, announced=False)
    assert version_of(client, brought(client, bench, begin(client, type="url", url=url)))["sha256"] == WHOLE


def test_put_content_takes_a_source_as_well_as_bytes(client, bench, source):
    url = source.put("/train.jsonl", CONTENT)
    body = {"source": {"type": "url", "url": url}, "filename": "other.jsonl", "model": "gpt-4.1"}
    begun = client.put("/v1/datasets/travel/content", json=body)
    version = version_of(client, brought(client, bench, begun))
    assert (version["original_name"], version["base_model"]) == ("other.jsonl", "gpt-4.1-2025-04-14")
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "source": {}}
    data = client.put("/v1/datasets/travel/content", json=row)
    assert (data.status_code, data.json()["object"]) == (202, "dataset.version")
    assert data.json()["bytes"] == int(data.request.headers["content-length"])


# --- what is refused -------------------------------------------------------------------------------------------


PRIVATE = (
    "http://169.254.169.254/metadata/instance",
    "https://127.0.0.1/x",
    "https://10.0.0.1/x",
    "http://example.com/x",
    "https://example.com:8443/x",
    "https://user:word@example.com/x",
    "ftp://example.com/x",
    "https://[::ffff:169.254.169.254]/x",
)
"""Addresses that no source may have."""


def test_an_address_that_may_not_be_called_is_refused_at_once(client):
    for url in PRIVATE:
        refused = begin(client, type="url", url=url)
        assert (refused.status_code, refused.json()["code"]) == (422, "url_not_allowed"), refused.text
        (error,) = refused.json()["errors"]
        assert (error["pointer"], error["detail"]) == ("/source/url", refused.json()["detail"]), "it is said once"
        assert "KITAE_SOURCE_ORIGINS" in refused.json()["hint"]
        anew = client.post("/v1/datasets/nowhere/versions", json={"source": {"type": "url", "url": url}})
        assert (anew.status_code, anew.json()["code"]) == (422, "url_not_allowed"), "before a dataset is missed"
    assert client.get("/v1/datasets/travel/fetches").json()["data"] == []


def test_a_redirect_into_a_private_network_is_refused(client, bench, source):
    for target in (*PRIVATE, "http://127.0.0.1:1/x", "file:///etc/passwd"):
        source.asked.clear()
        url = source.put("/moved", status=302, headers={"Location": target})
        assert failed(client, bench, type="url", url=url)["code"] == "url_not_allowed", target
        assert len(source.asked) == 1


def test_redirects_in_circles_end(client, bench, source):
    url = source.put("/round", status=307, headers={"Location": "/round"})
    assert failed(client, bench, type="url", url=url)["code"] == "url_not_allowed"
    assert len(source.asked) == 6


def test_what_is_too_large_is_refused_announced_or_not(client, bench, source, settings, stored):
    small = settings.model_copy(update={"upload_max_bytes": len(CONTENT)})
    with open_workbench(small) as strict:
        for announced in (True, False):
            url = source.put("/big.jsonl", BIG, announced=announced)
            assert failed(client, strict, type="url", url=url)["code"] == "source_too_large"
    assert stored() == []


def test_a_web_page_is_told_apart_from_data(client, bench, source):
    page = source.put("/blob/main/train.jsonl", b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    error = failed(client, bench, type="url", url=page)
    assert (error["code"], "web page" in error["message"]) == ("source_is_a_page", True)
    picture = source.put("/a.png", b"png", headers={"Content-Type": "image/png"})
    assert failed(client, bench, type="url", url=picture)["code"] == "source_wrong_type"


def test_a_source_that_says_no_is_not_asked_again(client, bench, source):
    for status, code in ((404, "source_not_found"), (403, "source_forbidden"), (400, "source_refused")):
        source.asked.clear()
        url = source.put("/x", status=status)
        assert failed(client, bench, type="url", url=url)["code"] == code
        assert len(source.asked) == 1


def test_a_source_that_stumbles_is_asked_again_and_given_up_in_the_end(client, bench, source):
    url = source.put("/x", status=503, headers={"Retry-After": "0"})
    error = failed(client, bench, type="url", url=url)
    assert (error["code"], len(source.asked)) == ("source_unreachable", 4)


def test_a_fetch_that_takes_too_long_ends(client, bench, source, settings):
    url = source.put("/x", BIG, pause_seconds=0.05)
    with open_workbench(settings.model_copy(update={"fetch_seconds": 1.0, "lease_seconds": 0.9})) as hasty:
        assert failed(client, hasty, type="url", url=url)["code"] == "source_too_slow"


def test_bytes_that_are_not_what_was_announced_become_no_version(client, bench, source, stored):
    url = source.put("/x.jsonl", CONTENT)
    assert failed(client, bench, type="url", url=url, sha256="0" * 64)["code"] == "digest_mismatch"
    torn = source.put("/y.jsonl", CONTENT, headers={"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert failed(client, bench, type="azure_blob", url=torn)["code"] == "digest_mismatch"
    assert client.get("/v1/datasets/travel/versions").json()["data"] == []
    assert stored() == []


def test_a_cancelled_fetch_leaves_nothing(client, bench, source, stored):
    url = source.put("/big.jsonl", BIG, cut_after=[1_000_000])
    begun = begin(client, type="url", url=url)
    FetchSteps(bench).advance(begun.json()["id"])
    assert len(stored()) == 1
    assert client.delete(begun.headers["location"]).status_code == 204
    assert client.delete(begun.headers["location"]).status_code == 204
    FetchSteps(bench).advance(begun.json()["id"])
    assert client.get(begun.headers["location"]).json()["status"] == "cancelled"
    assert (stored(), len(source.asked)) == ([], 1)
    assert_invariants(bench)
    done = brought(client, bench, begin(client, type="url", url=source.put("/a.jsonl", CONTENT)))
    late = client.delete(f"/v1/datasets/travel/fetches/{done['id']}")
    assert (late.status_code, late.json()["code"]) == (409, "illegal_state")


def test_a_project_has_only_so_many_fetches_under_way(client, source, settings):
    url = source.put("/x.jsonl", CONTENT)
    answers = [begin(client, type="url", url=url).status_code for _ in range(settings.fetches_per_project_max + 1)]
    assert answers == [202] * settings.fetches_per_project_max + [409]


def test_the_same_key_brings_a_source_once(client, source):
    url = source.put("/a.jsonl", CONTENT)
    asked = {"json": {"source": {"type": "url", "url": url}}, "headers": {"Idempotency-Key": "bring-it-once"}}
    first, second = (client.post("/v1/datasets/travel/versions", **asked) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/datasets/travel/fetches").json()["data"]) == 1
    other = asked | {"json": {"source": {"type": "url", "url": url + "?x=1"}}}
    assert client.post("/v1/datasets/travel/versions", **other).json()["code"] == "idempotency_key_reused"


def test_a_parked_fetch_goes_on_when_it_is_asked_to(client, stranger, bench, source):
    begun = begin(client, type="url", url=source.put("/a.jsonl", CONTENT))
    retry = begun.headers["location"] + "/retry"
    assert (client.post(retry).status_code, client.post(retry).json()["code"]) == (409, "not_parked")
    with bench.begin() as work:
        work.session.execute(
            text("UPDATE dataset_fetches SET parked_reason = 'no disk', fail_count = 4, next_check_at = NULL")
        )
    assert stranger.post(retry).status_code == 404
    again = client.post(retry)
    assert (again.status_code, again.json()["parked_reason"]) == (202, None)
    assert version_of(client, brought(client, bench, begun))["sha256"] == WHOLE


def test_somebody_elses_fetch_is_not_there(client, stranger, source):
    begun = begin(client, type="url", url=source.put("/x.jsonl", CONTENT))
    assert stranger.get(begun.headers["location"]).status_code == 404
    stranger.post("/v1/datasets", json={"name": "travel"})
    path = f"/v1/datasets/travel/fetches/{begun.json()['id']}"
    assert stranger.get(path).status_code == 404
    assert stranger.delete(path).status_code == 404
    assert stranger.get("/v1/datasets/travel/fetches").json()["data"] == []


# --- Azure Storage ---------------------------------------------------------------------------------------------


def test_a_blob_comes_by_its_sas_and_the_signature_is_nowhere(client, bench, source, settings, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    url = source.put("/ours/training/a b.jsonl", BIG, cut_after=[900_000])
    fetch = brought(client, bench, begin(client, type="azure_blob", url=f"{url}?{SAS}".replace(" ", "%20")))
    assert version_of(client, fetch)["original_name"] == "a b.jsonl"
    assert {request.query for request in source.asked} == {SAS}
    assert all(request.headers["x-ms-version"] for request in source.asked)
    signature = "Hk1dV0zVtWQm3sGm8uJxCw1oTq5r2bN7yPzLk4eXn0"
    said = caplog.text + "".join(capfd.readouterr())
    with bench.read() as session:
        tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        for table in tables:
            said += "".join(session.scalars(text(f"SELECT to_jsonb(t)::text FROM {table} t")))  # noqa: S608  our own tables' names
        sealed = session.scalars(text("SELECT source_sealed FROM dataset_fetches")).all()
    said += client.get("/v1/events").text + client.get("/v1/audit-events").text
    assert signature not in said
    assert sealed == [None], "forgotten with the end of the fetch"


def test_a_signature_that_is_no_longer_good_is_told_in_azures_words(client, bench, source):
    url = source.put("/c/x", status=403, headers={"x-ms-error-code": "AuthenticationFailed"})
    error = failed(client, bench, type="azure_blob", url=f"{url}?{SAS}")
    assert (error["code"], "AuthenticationFailed" in error["message"]) == ("source_forbidden", True)
    assert failed(client, bench, type="azure_blob", url=f"{source.url}/c/none?{SAS}")["code"] == "source_not_found"


@dataclass
class _Token:
    token: str
    expires_on: int = 4_000_000_000


class _Identity:
    """As azure-identity signs in."""

    def get_token(self, *scopes: str) -> _Token:
        return _Token(f"token-for {scopes[0]}")


@pytest.fixture
def signed_in(settings: Settings, project: Project) -> Iterator[Workbench]:
    """A service with an identity, and two connections: one uses it, one has a key."""
    azure = AzureClients(azure_guard(settings.allowed_origins), make_credential=_Identity)
    with open_workbench(settings, azure=azure) as opened:
        service = ConnectionService(opened)
        for name, auth in (
            ("with-entra", {"auth": "entra"}),
            ("with-key", {"auth": "api_key", "api_key": "k" * 20}),
        ):
            new = ConnectionCreate(name=name, endpoint="https://contoso.openai.azure.com", **auth)
            service.create(project.id, new)
        yield opened


def test_a_blob_comes_by_the_services_identity_where_an_operator_allows_it(signed_in, project, settings, source):
    bearer = {"Authorization": "Bearer token-for https://storage.azure.com/.default"}
    source.put("/ours/training/2026/train.jsonl", CONTENT, needs=bearer)
    blob = {"type": "azure_blob", "account": "ours", "container": "training", "blob": "2026/train.jsonl"}
    with TestClient(create_app(settings, signed_in), headers=project.headers) as client:
        fetch = brought(client, signed_in, begin(client, **blob, connection="with-entra"))
        assert version_of(client, fetch)["sha256"] == WHOLE
        for changed, status, code in (
            ({"connection": "with-key"}, 422, "connection_without_entra"),
            ({"connection": "with-entra", "container": "payroll"}, 422, "blob_not_allowed"),
            ({"connection": "with-entra", "account": "theirs"}, 422, "blob_not_allowed"),
            ({"connection": "with-entra", "blob": "../payroll/all.jsonl"}, 422, "blob_not_allowed"),
            ({"connection": "with-entra", "blob": "2026/./train.jsonl"}, 422, "blob_not_allowed"),
            ({"connection": "nobodys"}, 404, "connection_not_found"),
            ({}, 422, "invalid_request"),
        ):
            refused = begin(client, **(blob | changed))
            assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


# --- the Hugging Face Hub --------------------------------------------------------------------------------------


def parquet(path: Path, rows: list[dict[str, Any]]) -> bytes:
    lines = path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = path / "made.parquet"
    duckdb.sql(f"COPY (FROM read_json('{lines}')) TO '{made}' (FORMAT parquet)")
    return made.read_bytes()


def rows_of(bench: Workbench, version_id: str, path: Path) -> list[Any]:
    raw = path / "raw.parquet"
    with bench.storage.reader(f"datasets/{version_id}/raw") as file:
        raw.write_bytes(file.read())
    return duckdb.sql(f"FROM '{raw}'").fetchall()


@pytest.fixture
def shards(tmp_path: Path) -> list[bytes]:
    return [
        parquet(
            tmp_path, [{"question": f"q{number}", "answer": f"a{number}"} for number in range(start, start + 50)]
        )
        for start in (0, 50, 100)
    ]


def test_a_split_of_the_hub_is_one_table_of_all_its_files_at_one_commit(client, bench, source, shards, tmp_path):
    commit = source.hub(
        "acme/travel",
        {
            "default/train/0001.parquet": shards[1],
            "default/train/0000.parquet": shards[0],
            "default/train/0002.parquet": shards[2],
            "default/test/0000.parquet": shards[0],
        },
    )
    source.files[f"/store/{commit}/default/train/0001.parquet"].cut_after.append(500)
    fetch = brought(client, bench, begin(client, type="huggingface", dataset="acme/travel"))
    version = version_of(client, fetch)
    assert rows_of(bench, version["id"], tmp_path) == [(f"q{number}", f"a{number}") for number in range(150)]
    assert (fetch["files"], fetch["files_received"]) == (3, 3)
    assert version["original_name"] == "travel-train.parquet"
    lineage = version["lineage"]
    assert (lineage["commit"], lineage["revision"]) == (commit, "refs/convert/parquet")
    assert [file["sha256"] for file in lineage["files"]] == [hashlib.sha256(shard).hexdigest() for shard in shards]
    assert source.ranges_of(f"/store/{commit}/default/train/0001.parquet") == [None, "bytes=500-"]
    DatasetService(bench).check(version["id"])
    checked = client.get("/v1/datasets/travel/versions/1").json()
    assert (checked["status"], checked["examples"]) == ("ready", 150), "what becomes of it is what Azure takes"
    first = json.loads(client.get("/v1/datasets/travel/versions/1/content").content.split(b"\n")[0])
    assert first["messages"] == [{"role": "user", "content": "q0"}, {"role": "assistant", "content": "a0"}]


def test_what_the_caller_says_of_the_file_goes_along(client, bench, source):
    url = source.put("/faq.csv", b"frage;antwort\n" + b"".join(b"f%d;a%d\n" % (n, n) for n in range(12)))
    body = {"source": {"type": "url", "url": url}, "mapping": {"frage": "user", "antwort": "assistant"}}
    begun = client.post("/v1/datasets/travel/versions", json=body)
    version = version_of(client, brought(client, bench, begun))
    DatasetService(bench).check(version["id"])
    checked = client.get("/v1/datasets/travel/versions/1").json()
    assert (checked["status"], checked["examples"]) == ("ready", 12)


def test_a_revision_is_read_as_it_is_in_the_repository(client, bench, source, shards, tmp_path):
    source.hub("acme/qa", {"data/test-00000-of-00001.parquet": shards[2]}, revision="v1.2")
    begun = begin(client, type="huggingface", dataset="acme/qa", split="test", revision="v1.2")
    version = version_of(client, brought(client, bench, begun))
    assert rows_of(bench, version["id"], tmp_path)[0] == ("q100", "a100")
    error = failed(client, bench, type="huggingface", dataset="acme/qa", split="train", revision="v1.2")
    assert (error["code"], "default · test" in error["hint"]) == ("source_not_found", True)


def test_without_the_hubs_conversion_main_is_read(client, bench, source, shards):
    source.hub("acme/raw", {"train.parquet": shards[0]}, revision="main")
    version = version_of(client, brought(client, bench, begin(client, type="huggingface", dataset="acme/raw")))
    assert version["lineage"]["revision"] == "main"


def test_a_token_goes_to_the_hub_and_never_to_the_store_it_redirects_to(client, bench, source, shards, settings):
    with source_server() as store:
        commit = source.hub("acme/private", {"default/train/0000.parquet": shards[0]})
        resolve = f"/datasets/acme/private/resolve/{commit}/default/train/0000.parquet"
        elsewhere = store.put("/signed", shards[0])
        source.put(resolve, status=302, headers={"Location": elsewhere})
        secret = "hf_" + "abcdefghij" * 3
        for served in source.files.values():
            served.needs = {"Authorization": f"Bearer {secret}"}
        assert failed(client, bench, type="huggingface", dataset="acme/private")["code"] == "source_not_found"
        begun = begin(client, type="huggingface", dataset="acme/private", token=secret)
        assert secret not in begun.text
        refused = brought(client, bench, begun)
        assert refused["error"]["code"] == "url_not_allowed", "the store is another origin, which nobody allowed"
        assert store.asked == []
        both = settings.model_copy(update={"source_origins": frozenset({source.url, store.url})})
        with open_workbench(both) as trusting:
            begun = begin(client, type="huggingface", dataset="acme/private", token=secret)
            assert brought(client, trusting, begun)["status"] == "fetched"
        (asked,) = store.asked
        assert "authorization" not in asked.headers


def test_a_file_that_is_not_the_one_in_the_hubs_list_is_refused(client, bench, source, shards):
    commit = source.hub("acme/torn", {"default/train/0000.parquet": shards[0]})
    source.put(f"/store/{commit}/default/train/0000.parquet", shards[0][:-1] + b"?")
    assert failed(client, bench, type="huggingface", dataset="acme/torn")["code"] == "digest_mismatch"
