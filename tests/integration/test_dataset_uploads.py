"""The ways into a dataset: parts, forms, rows. All over HTTP, against a real database and real files."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from processes import serve
from sqlalchemy import text
from starlette.testclient import TestClient

import examples
from app.bootstrap import open_workbench
from app.datasets.service import DatasetService
from app.datasets.uploads import UploadService
from app.kit.errors import Conflict
from app.kit.failpoints import ENVIRONMENT_VARIABLE, FailpointHit
from app.main import create_app
from app.settings import Settings

CONTENT = examples.load("travel").training.read_bytes()
THIRDS = [CONTENT[:20_000], CONTENT[20_000:40_000], CONTENT[40_000:]]
WHOLE = hashlib.sha256(CONTENT).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content_digest(data: bytes) -> dict[str, str]:
    return {"Content-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"}


@pytest.fixture(autouse=True)
def _dataset(client: TestClient) -> None:
    assert client.post("/v1/datasets", json={"name": "travel"}).status_code == 201


def begin(client: TestClient, size: int = len(CONTENT), **fields: Any) -> str:
    """The path of a new upload."""
    made = client.post("/v1/datasets/travel/uploads", json={"bytes": size, **fields})
    assert made.status_code == 201, made.text
    return str(made.headers["location"])


def send(client: TestClient, path: str, parts: dict[int, bytes]) -> None:
    for number, content in parts.items():
        assert client.put(f"{path}/parts/{number}", content=content).status_code == 200


def complete(client: TestClient, path: str, **wanted: Any) -> httpx2.Response:
    return client.post(f"{path}/complete", json=wanted)


def versions(client: TestClient) -> list[dict[str, Any]]:
    return list(client.get("/v1/datasets/travel/versions").json()["data"])


@pytest.fixture
def stored(settings: Settings) -> Callable[[], list[str]]:
    """Every file in the store, half-written ones too."""

    def names() -> list[str]:
        return sorted(
            path.relative_to(settings.data_dir).as_posix()
            for room in ("uploads", "datasets")
            for path in settings.data_dir.rglob(f"{room}/**/*")
            if path.is_file()
        )

    return names


# --- parts -----------------------------------------------------------------------------------------------------


def test_parts_in_any_order_become_the_file_they_were_cut_from(client, bench, project, stored):
    path = begin(client, sha256=WHOLE.upper(), filename="train.jsonl", model="gpt-4.1")
    send(client, path, {3: THIRDS[2], 1: THIRDS[0]})
    seen = client.get(path).json()
    assert [(part["number"], part["sha256"]) for part in seen["parts"]] == [
        (1, sha256(THIRDS[0])),
        (3, sha256(THIRDS[2])),
    ]
    assert seen["received_bytes"] == len(THIRDS[0]) + len(THIRDS[2])
    assert (seen["status"], seen["part_bytes"], seen["part_bytes_max"]) == ("receiving", 8 << 20, 64 << 20)
    send(client, path, {2: THIRDS[1]})
    done = complete(client, path)
    assert done.status_code == 202
    version = done.json()
    assert (version["sha256"], version["bytes"], version["status"]) == (WHOLE, len(CONTENT), "checking")
    assert (version["original_name"], version["base_model"]) == ("train.jsonl", "gpt-4.1-2025-04-14")
    assert version["lineage"]["upload"] == path.rpartition("/")[2]
    assert client.get(done.headers["location"]).json()["id"] == version["id"]
    assert [name for name in stored() if "datasets/" not in name] == []
    DatasetService(bench).check(version["id"])
    assert client.get(done.headers["location"]).json()["status"] == "ready"
    assert client.get(done.headers["location"] + "/content").content == CONTENT
    ended = client.get(path).json()
    assert (ended["status"], ended["version"], ended["parts"]) == ("completed", version["id"], [])


def test_the_caller_may_name_the_parts_and_their_order(client):
    path = begin(client)
    send(client, path, {7: THIRDS[0], 5: THIRDS[2], 6: THIRDS[1]})
    assert complete(client, path, parts=[7, 6, 5], sha256=WHOLE).json()["sha256"] == WHOLE


def test_a_part_with_another_digest_is_refused_and_not_kept(client, stored):
    path = begin(client)
    for query, headers in (
        (f"?sha256={sha256(b'other')}", {}),
        ("", content_digest(b"other")),
        (f"?sha256={sha256(THIRDS[0])}", content_digest(b"other")),
    ):
        refused = client.put(f"{path}/parts/1{query}", content=THIRDS[0], headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "digest_mismatch")
    assert client.get(path).json()["parts"] == []
    assert stored() == []
    both = {"Content-Digest": f"sha-512=:AAAA:, {content_digest(THIRDS[0])['Content-Digest']}"}
    kept = client.put(f"{path}/parts/1?sha256={sha256(THIRDS[0]).upper()}", content=THIRDS[0], headers=both)
    assert (kept.status_code, kept.json()["sha256"]) == (200, sha256(THIRDS[0]))


@pytest.mark.parametrize("header", ["sha-512=:AAAA:", "sha-256=abc", "sha-256=:abc:", ":", "md5=:AAAA:"])
def test_a_digest_that_cannot_be_checked_is_not_passed_over(client, header):
    refused = client.put(f"{begin(client)}/parts/1", content=b"x", headers={"Content-Digest": header})
    assert (refused.status_code, refused.json()["code"]) == (422, "digest_malformed")
    assert refused.json()["errors"][0]["header"] == "Content-Digest"


def test_a_part_sent_again_takes_the_place_of_the_first(client, stored):
    path = begin(client)
    send(client, path, {1: b"garbage", 2: THIRDS[1], 3: THIRDS[2]})
    send(client, path, {1: THIRDS[0]})
    send(client, path, {1: THIRDS[0]})
    assert [part["bytes"] for part in client.get(path).json()["parts"]] == [len(third) for third in THIRDS]
    assert len(stored()) == 3
    assert complete(client, path, sha256=WHOLE).status_code == 202


def test_a_missing_part_is_named_and_the_upload_goes_on(client, stored):
    path = begin(client)
    early = complete(client, path)
    assert (early.status_code, early.json()["code"]) == (409, "upload_incomplete")
    send(client, path, {1: THIRDS[0], 3: THIRDS[2]})
    refused = complete(client, path)
    assert (refused.status_code, refused.json()["code"]) == (409, "upload_incomplete")
    assert "Missing before the last one: 2." in refused.json()["detail"]
    named = complete(client, path, parts=[1, 2, 3, 1])
    assert (named.status_code, named.json()["code"]) == (422, "part_missing")
    assert [(error["pointer"], error["code"]) for error in named.json()["errors"]] == [
        ("/parts/1", "part_missing"),
        ("/parts/3", "part_doubled"),
    ]
    send(client, path, {2: THIRDS[1]})
    assert complete(client, path).status_code == 202
    assert len([name for name in stored() if name.endswith("/raw")]) == 1


def test_a_whole_with_another_digest_is_refused_and_can_be_mended(client, stored):
    path = begin(client, sha256=WHOLE)
    send(client, path, {1: THIRDS[0], 2: THIRDS[1].swapcase(), 3: THIRDS[2]})
    for wanted in ({}, {"sha256": sha256(THIRDS[0] + THIRDS[1].swapcase() + THIRDS[2])}):
        refused = complete(client, path, **wanted)
        assert (refused.status_code, refused.json()["code"]) == (422, "digest_mismatch")
    assert versions(client) == []
    assert len(stored()) == 3, "the parts, and nothing that was put together of them"
    send(client, path, {2: THIRDS[1]})
    assert complete(client, path, sha256=WHOLE).status_code == 202


def test_what_is_too_large_is_refused_before_it_is_whole(client, settings, stored):
    size = settings.upload_max_bytes + 1
    refused = client.post("/v1/datasets/travel/uploads", json={"bytes": size})
    assert (refused.status_code, refused.json()["code"]) == (413, "content_too_large")
    path = begin(client, 10)
    for content, code in ((b"x" * 11, "part_too_large"), (b"x" * 6, None), (b"x" * 10, None), (b"", "part_empty")):
        answer = client.put(f"{path}/parts/1", content=content)
        assert answer.json().get("code") == code
    surplus = client.put(f"{path}/parts/2", content=b"y")
    assert (surplus.status_code, surplus.json()["code"]) == (413, "upload_too_large")
    assert len(stored()) == 1
    big = begin(client, 70 << 20)
    refused = client.put(f"{big}/parts/1", content=b"x" * ((64 << 20) + 1))
    assert (refused.status_code, refused.json()["code"]) == (413, "part_too_large")
    assert len(stored()) == 1


def test_a_project_sees_nothing_of_anothers_uploads(client, stranger, stored):
    path = begin(client)
    send(client, path, {1: THIRDS[0]})
    upload = path.rpartition("/")[2]
    own = "/v1/datasets/theirs"
    stranger.post("/v1/datasets", json={"name": "theirs"})
    for place in (path, f"/v1/datasets/travel/uploads/{upload}", f"{own}/uploads/{upload}"):
        asked = [
            stranger.get(place),
            stranger.put(f"{place}/parts/1", content=THIRDS[1]),
            stranger.post(f"{place}/complete"),
            stranger.delete(place),
        ]
        assert [answer.status_code for answer in asked] == [404] * 4, place
    assert stranger.post("/v1/datasets/travel/uploads", json={"bytes": 5}).status_code == 404
    assert stranger.post("/v1/datasets/travel/versions", files={"file": b"x"}).status_code == 404
    assert [part["sha256"] for part in client.get(path).json()["parts"]] == [sha256(THIRDS[0])]
    assert len(stored()) == 1


def test_a_key_needs_the_scope_of_datasets(client, service):
    path = begin(client)
    made = client.post("/v1/api-keys", json={"name": "reader", "scopes": ["datasets:read"]}).json()
    reader = TestClient(service, headers={"Authorization": f"Bearer {made['secret']}"})
    assert reader.get(path).status_code == 200
    assert reader.put(f"{path}/parts/1", content=b"x").status_code == 403
    assert reader.post(f"{path}/complete").status_code == 403
    assert reader.delete(path).status_code == 403
    assert reader.post("/v1/datasets/travel/uploads", json={"bytes": 5}).status_code == 403
    assert reader.post("/v1/datasets/travel/versions", files={"file": b"x"}).status_code == 403


# --- ends ------------------------------------------------------------------------------------------------------


def test_completing_twice_gives_the_version_once(client):
    path = begin(client)
    send(client, path, dict(enumerate(THIRDS, 1)))
    first, second = complete(client, path), complete(client, path)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    assert len(versions(client)) == 1
    late = client.put(f"{path}/parts/1", content=b"late")
    assert (late.status_code, late.json()["code"]) == (409, "upload_completed")
    assert client.delete(path).json()["code"] == "upload_completed"


def test_completing_several_times_at_once_gives_the_version_once(client, stored):
    path = begin(client)
    send(client, path, dict(enumerate(THIRDS, 1)))
    start = threading.Barrier(4)

    def press(_: int) -> httpx2.Response:
        start.wait()
        return complete(client, path)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(press, range(4)))
    # one that read a part which the winner had deleted is asked to look again
    assert {answer.status_code for answer in answers} <= {202, 200, 409}
    assert [answer.status_code for answer in answers].count(202) == 1
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"upload_changed"}
    assert len(versions(client)) == 1
    assert len(stored()) == 1
    assert complete(client, path).status_code == 200


def test_the_same_bytes_are_the_same_version_whichever_way_they_come(client, stored):
    first = client.put("/v1/datasets/travel/content", content=CONTENT)
    assert first.status_code == 202
    path = begin(client)
    send(client, path, dict(enumerate(THIRDS, 1)))
    form = client.post("/v1/datasets/travel/versions", files={"file": ("train.jsonl", CONTENT)})
    for again in (complete(client, path), form, client.put("/v1/datasets/travel/content", content=CONTENT)):
        assert again.status_code == 200
        assert again.json()["id"] == first.json()["id"]
    assert len(stored()) == 1


def test_the_same_bytes_at_the_same_time_are_one_version(client, stored):
    start = threading.Barrier(4)

    def put(_: int) -> httpx2.Response:
        start.wait()
        return client.put("/v1/datasets/travel/content", content=CONTENT)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(put, range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(stored()) == 1


@pytest.mark.parametrize("point", ["uploads.complete.assembled", "uploads.complete.recorded"])
def test_a_completion_that_broke_down_can_be_repeated(client, monkeypatch, stored, point):
    path = begin(client)
    send(client, path, dict(enumerate(THIRDS, 1)))
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, f"{point}:raise")
    with pytest.raises(FailpointHit):
        complete(client, path)
    monkeypatch.delenv(ENVIRONMENT_VARIABLE)
    again = complete(client, path)
    assert again.status_code == (202 if point.endswith("assembled") else 200)
    assert again.json()["sha256"] == WHOLE
    assert len(versions(client)) == 1
    begin(client)  # takes along what the broken one left
    assert [name for name in stored() if "uploads/" in name] == []


def test_cancelling_leaves_no_file(client, bench, stored):
    path = begin(client)
    send(client, path, {1: THIRDS[0], 2: THIRDS[1]})
    assert len(stored()) == 2
    assert client.delete(path).status_code == 204
    assert stored() == []
    assert client.delete(path).status_code == 204
    seen = client.get(path).json()
    assert (seen["status"], seen["parts"], seen["received_bytes"]) == ("cancelled", [], 0)
    for refused in (client.put(f"{path}/parts/3", content=THIRDS[2]), complete(client, path)):
        assert (refused.status_code, refused.json()["code"]) == (409, "upload_cancelled")
    assert stored() == []
    with bench.read() as session:
        assert session.scalar(text("SELECT count(*) FROM dataset_upload_parts")) == 0


def test_a_part_that_arrives_while_the_upload_is_cancelled_leaves_no_file(bench, project, client, stored):
    path = begin(client)
    uploads = UploadService(bench)
    with uploads.receive_part(project.id, "travel", path.rpartition("/")[2], 1) as part:
        part.write(b"x")
        assert client.delete(path).status_code == 204
    with pytest.raises(Conflict, match="cancelled"):
        uploads.keep_part(part)
    assert stored() == []


def test_a_part_that_breaks_off_leaves_no_file(bench, project, client, stored):
    path = begin(client)
    uploads = UploadService(bench)

    def break_off() -> None:
        with uploads.receive_part(project.id, "travel", path.rpartition("/")[2], 1) as part:
            part.write(b"x" * 100)
            assert len(stored()) == 1, "half of it, under a name that nobody reads"
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        break_off()
    assert stored() == []
    assert client.get(path).json()["parts"] == []


def test_an_upload_expires_and_the_next_one_takes_its_parts_along(client, bench, stored):
    path = begin(client)
    send(client, path, {1: THIRDS[0]})
    open_one = begin(client)
    send(client, open_one, {1: THIRDS[0]})
    with bench.begin() as work:
        work.session.execute(
            text("UPDATE dataset_uploads SET expires_at = clock_timestamp() WHERE id = :id"),
            {"id": path.rpartition("/")[2]},
        )
    assert client.get(path).json()["status"] == "expired"
    for refused in (client.put(f"{path}/parts/2", content=b"x"), complete(client, path)):
        assert (refused.status_code, refused.json()["code"]) == (409, "upload_expired")
    assert len(stored()) == 2
    begin(client)
    assert len(stored()) == 1
    assert [part["number"] for part in client.get(open_one).json()["parts"]] == [1]
    assert client.delete(path).status_code == 204


def test_an_upload_lives_for_a_day(client, bench):
    begin(client)
    with bench.read() as session:
        hours = session.scalar(
            text("SELECT extract(epoch FROM expires_at - created_at) / 3600 FROM dataset_uploads")
        )
    assert float(hours) == pytest.approx(24, abs=0.01)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/bytes"),
        ({"bytes": 0}, "/bytes"),
        ({"bytes": "12"}, "/bytes"),
        ({"bytes": 5, "sha256": "abc"}, "/sha256"),
        ({"bytes": 5, "filename": "a/b"}, "/filename"),
        ({"bytes": 5, "filename": "a\nb"}, "/filename"),
        ({"bytes": 5, "model": "no-such"}, "/model"),
        ({"bytes": 5, "more": 1}, "/more"),
    ],
)
def test_an_upload_that_makes_no_sense_is_refused_field_by_field(client, body, pointer):
    refused = client.post("/v1/datasets/travel/uploads", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("number", ["0", "1001", "-1", "x", "9" * 30])
def test_parts_are_counted_from_one_to_a_thousand(client, number):
    assert client.put(f"{begin(client)}/parts/{number}", content=b"x").status_code == 422


# --- forms -----------------------------------------------------------------------------------------------------


def test_a_form_brings_the_file_its_name_and_the_model(client):
    answer = client.post(
        "/v1/datasets/travel/versions",
        data={"model": "gpt-4.1"},
        files={"file": ("C:\\data\\日本 \x01.jsonl", CONTENT, "application/jsonl")},
    )
    assert answer.status_code == 202
    made = answer.json()
    assert (made["sha256"], made["base_model"]) == (WHOLE, "gpt-4.1-2025-04-14")
    assert "\\" not in made["original_name"]
    assert made["original_name"].startswith("日本")
    assert client.get(answer.headers["location"]).json()["id"] == made["id"]


def form(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    body = b""
    for disposition, content in parts:
        body += b"--b\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"
    return body + end


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_a_form_may_be_cut_anywhere_on_its_way(service, project, pieces):
    content = b'{"a": "--b"}\r\n--\r\n\r\n--a--\r\n' * 3
    body = form(('name="file"; filename="x"', content), ('name="model"', b"gpt-4.1"))
    with serve(service) as url, httpx2.Client(base_url=url, headers=project.headers) as live:
        sent = live.post(
            "/v1/datasets/travel/versions",
            content=(body[at : at + pieces] for at in range(0, len(body), pieces)),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
    assert sent.status_code == 202
    assert (sent.json()["sha256"], sent.json()["bytes"]) == (sha256(content), len(content))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (form(end=b""), 400, "multipart_invalid"),
        (form(('name="file"', b"x"), end=b""), 400, "multipart_invalid"),
        (form(('name="file"', b"x"), end=b"--b"), 400, "multipart_invalid"),
        (b"no form at all", 400, "multipart_invalid"),
        (form(("nameless", b"x")), 400, "multipart_invalid"),
        (form(('name="model"', b"gpt-4.1")), 422, "file_missing"),
        (form(('name="file"', b"x"), ('name="file"', b"y")), 422, "one_file_only"),
        (form(('name="file"', b"x"), ('name="else"', b"y")), 422, "extra_forbidden"),
        (form(('name="file"', b"x"), ('name="model"', b"gpt-4.1"), ('name="model"', b"y")), 422, "field_doubled"),
        (form(('name="file"', b"x"), ('name="model"', b"y" * 3000)), 422, "too_long"),
        (form(('name="file"', b"x"), ('name="model"', b"y" * 300)), 422, "invalid_request"),
        (form(('name="file"', b"x"), ('name="model"', b"no-such")), 422, "unknown_model"),
        (form(('name="file"; x="' + "y" * 9000 + '"', b"x")), 400, "multipart_invalid"),
    ],
)
def test_a_form_that_is_not_what_it_should_be_leaves_nothing(client, stored, body, status, code):
    refused = client.post(
        "/v1/datasets/travel/versions",
        content=body,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert versions(client) == []
    assert stored() == []


@pytest.mark.parametrize("kind", ["multipart/form-data", f"multipart/form-data; boundary={'b' * 300}"])
def test_a_form_without_a_usable_boundary_is_refused(client, kind, stored):
    refused = client.post("/v1/datasets/travel/versions", content=b"x", headers={"Content-Type": kind})
    assert (refused.status_code, refused.json()["code"]) == (400, "multipart_invalid")
    assert stored() == []


@pytest.mark.parametrize(
    ("content", "behind", "status"),
    [(b"x" * 5000, b"", 202), (b"x" * 5001, b"", 413), (b"x", b"\r\n" * 50_000, 413)],
)
def test_a_form_may_not_be_larger_than_a_file_may_be(settings, project, stored, content, behind, status):
    with open_workbench(settings.model_copy(update={"upload_max_bytes": 5000})) as bench:
        asked = TestClient(create_app(settings, bench), headers=project.headers)
        answer = asked.post(
            "/v1/datasets/travel/versions",
            content=form(('name="file"', content)) + behind,
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
    assert answer.status_code == status
    assert len(stored()) == (status == 202)


def test_a_form_of_64_mib_takes_no_memory(service, project, stored):
    size, block = 64 << 20, b"x" * (1 << 20)
    before, most = resident_bytes(), 0

    def body() -> Iterator[bytes]:
        nonlocal most
        yield form(('name="file"; filename="big.jsonl"', b""), end=b"")[:-2]
        for _ in range(size // len(block)):
            most = max(most, resident_bytes())
            yield block
        yield b"\r\n--b--\r\n"

    with serve(service) as url, httpx2.Client(base_url=url, headers=project.headers, timeout=60) as live:
        sent = live.post(
            "/v1/datasets/travel/versions",
            content=body(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
    most = max(most, resident_bytes())
    assert sent.status_code == 202
    assert sent.json()["bytes"] == size
    assert most - before < 32 << 20, "less than half of it was ever in memory"


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    pytest.skip("this system does not tell how much memory a process has")


# --- rows ------------------------------------------------------------------------------------------------------

ROWS = [json.loads(line) for line in CONTENT.splitlines()[:12]]


def test_rows_in_the_request_become_lines(client, bench):
    body = {"source": {"type": "inline", "rows": ROWS}, "filename": "inline.jsonl", "model": "gpt-4.1"}
    answer = client.post("/v1/datasets/travel/versions", json=body)
    assert answer.status_code == 202
    made = answer.json()
    assert (made["original_name"], made["lineage"]) == ("inline.jsonl", {"source": "inline"})
    DatasetService(bench).check(made["id"])
    path = answer.headers["location"]
    assert client.get(path).json()["examples"] == len(ROWS)
    lines = client.get(f"{path}/content").content.decode().splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    again = client.post("/v1/datasets/travel/versions", json=body)
    assert (again.status_code, again.json()["id"]) == (200, made["id"])


def test_a_source_that_cannot_be_read_says_which_can(client):
    pigeon = {"source": {"type": "carrier-pigeon", "url": "https://x"}}
    refused = client.post("/v1/datasets/travel/versions", json=pigeon)
    assert (refused.status_code, refused.json()["code"]) == (422, "source_not_supported")
    assert "inline" in refused.json()["detail"]
    assert refused.json()["errors"][0]["pointer"] == "/source/type"


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"{", 400, ""),
        (b"\xff", 400, ""),
        (b"[" * 100_000, 400, ""),
        (b"[]", 422, ""),
        (b"{}", 422, "/source"),
        (b'{"source": {"type": "inline"}}', 422, "/source/rows"),
        (b'{"source": {"type": "inline", "rows": []}}', 422, "/source/rows"),
        (b'{"source": {"type": "inline", "rows": [1]}}', 422, "/source/rows/0"),
        (b'{"source": {"type": "inline", "rows": [{}], "more": 1}}', 422, "/source/more"),
        (b'{"source": {"type": "inline", "rows": [{"a": "\\ud800"}]}}', 422, "/source/rows/0/a"),
        (b'{"source": {"type": "inline", "rows": [{"a": NaN}]}}', 400, ""),
        (b'{"source": {"type": 1, "rows": [{}]}}', 422, "/source/type"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused_where_it_is_wrong(client, stored, body, status, pointer):
    refused = client.post(
        "/v1/datasets/travel/versions", content=body, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert refused.status_code == status, refused.text
    assert refused.json()["errors"][0].get("pointer", "") == pointer
    assert versions(client) == []
    assert stored() == []


def test_rows_beyond_an_ordinary_body_belong_into_a_file(client, settings, stored):
    rows = [{"a": "x" * settings.body_max_bytes}]
    refused = client.post("/v1/datasets/travel/versions", json={"source": {"type": "inline", "rows": rows}})
    assert (refused.status_code, refused.json()["code"]) == (413, "content_too_large")
    assert stored() == []


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonl"])
def test_other_content_types_are_refused(client, kind):
    refused = client.post("/v1/datasets/travel/versions", content=b"x", headers={"Content-Type": kind})
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
