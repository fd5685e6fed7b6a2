"""Files of other kinds on their way to a version: over HTTP, with a real worker's step behind it."""

import gzip
import json
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.datasets.service import DatasetService
from app.workbench import Workbench

ROWS = [(f"{n} と {n} の和は?", f"{2 * n}") for n in range(12)]
CSV = "質問,回答,話題\n" + "".join(f"{asked},{answer},算数\n" for asked, answer in ROWS)
CP932 = CSV.encode("cp932")
CHAT = b"".join(
    json.dumps(
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]},
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
    + b"\n"
    for asked, answer in ROWS
)
CONTENT = "/v1/datasets/sums/content"


@pytest.fixture(autouse=True)
def _dataset(client: TestClient) -> None:
    assert client.post("/v1/datasets", json={"name": "sums"}).status_code == 201


def checked(client: TestClient, bench: Workbench, answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    DatasetService(bench).check(answer.json()["id"])
    shown: dict[str, Any] = client.get(answer.headers["location"]).json()
    return shown


def test_a_table_becomes_a_version_of_chat_and_stays_as_it_was_sent(client: TestClient, bench: Workbench) -> None:
    how = {"encoding": "cp932", "mapping": "質問=user,回答=assistant,話題=ignored", "filename": "sums.csv"}
    version = checked(client, bench, client.put(CONTENT, params=how, content=CP932))
    assert (version["status"], version["verdict"], version["format"]) == ("ready", "ready", "chat")
    assert (version["bytes"], version["content_bytes"], version["examples"]) == (len(CP932), len(CHAT), 12)
    reading = version["reading"]
    assert (reading["detected"], reading["encoding"], reading["unit"]) == ("csv", "cp932", "row")
    assert reading["left_out"] == ["話題"]
    assert version["lineage"]["how"]["mapping"]["columns"]["質問"] == "user"
    where = f"/v1/datasets/sums/versions/{version['number']}"
    assert client.get(f"{where}/content").content == CHAT
    original = client.get(f"{where}/content", params={"original": True})
    assert original.content == CP932
    assert "sums.csv" in original.headers["content-disposition"]
    found = client.get(f"{where}/findings").json()["data"]
    assert "converted" in {finding["code"] for finding in found}
    origin = client.get(f"{where}/lineage", params={"row": 12}).json()["lineage"]
    assert (origin["lines"], origin["records"], origin["unit"]) == ([12, 12], [13, 13], "row")


def test_the_same_bytes_read_in_another_way_are_another_version(client: TestClient, bench: Workbench) -> None:
    first = checked(client, bench, client.put(CONTENT, content=CP932))
    assert (first["status"], first["verdict"]) == ("rejected", "rejected")
    second = checked(client, bench, client.put(CONTENT, params={"encoding": "cp932"}, content=CP932))
    assert (second["number"], second["verdict"]) == (first["number"] + 1, "ready")
    again = client.put(CONTENT, params={"encoding": "Shift_JIS"}, content=CP932)
    assert again.status_code == 202
    same = client.put(CONTENT, params={"encoding": "cp932"}, content=CP932)
    assert (same.status_code, same.json()["number"]) == (200, second["number"])


def test_json_lines_have_no_original_beside_their_content(client: TestClient, bench: Workbench) -> None:
    version = checked(client, bench, client.put(CONTENT, content=CHAT))
    assert version["reading"] is None
    where = f"/v1/datasets/sums/versions/{version['number']}/content"
    refused = client.get(where, params={"original": True})
    assert (refused.status_code, refused.json()["code"]) == (404, "no_original")


def test_a_form_and_an_upload_in_parts_say_how_they_are_read_too(client: TestClient, bench: Workbench) -> None:
    form = client.post(
        "/v1/datasets/sums/versions", files={"file": ("sums.csv", CP932)}, data={"encoding": "cp932"}
    )
    assert checked(client, bench, form)["verdict"] == "ready"
    packed = gzip.compress(CP932)
    begun = client.post("/v1/datasets/sums/uploads", json={"bytes": len(packed)}).headers["location"]
    assert client.put(f"{begun}/parts/1", content=packed).status_code == 200
    version = checked(client, bench, client.post(f"{begun}/complete", json={"encoding": "cp932"}))
    assert (version["verdict"], version["reading"]["packing"]) == ("ready", "gzip")


@pytest.mark.parametrize(
    "how", [{"format": "docx"}, {"mapping": "a=b"}, {"encoding": "rot13"}, {"mapping": '{"columns": 1}'}]
)
def test_what_cannot_be_meant_is_refused_before_a_byte_is_taken(client: TestClient, how: dict[str, str]) -> None:
    refused = client.put(CONTENT, params=how, content=CP932)
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_how")
    assert client.get("/v1/datasets/sums/versions").json()["data"] == []


def test_a_packed_file_of_more_than_its_bounds_is_a_rejected_version(client: TestClient, bench: Workbench) -> None:
    archive = gzip.compress(gzip.compress(CHAT))
    version = checked(client, bench, client.put(CONTENT, content=archive))
    assert (version["status"], version["examples"]) == ("rejected", 0)
    (finding,) = client.get(f"/v1/datasets/sums/versions/{version['number']}/findings").json()["data"]
    assert finding["code"] == "archive-refused"
    where = f"/v1/datasets/sums/versions/{version['number']}/content"
    assert client.get(where, params={"original": True}).content == archive
