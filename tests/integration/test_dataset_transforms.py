"""Changes of versions over HTTP: accepted at once, made by a worker, told row by row."""

import json
import uuid
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.datasets.service import DatasetService
from app.datasets.tables import DatasetTransform
from app.datasets.transforms import TransformService
from app.settings import Settings
from app.workbench import Workbench

Rows = list[dict[str, Any]]


def row(asked: str, said: str, **further: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}],
        **further,
    }


PLACES = ("Kyoto", "Lima", "Oslo", "Cairo", "Quito", "Hanoi", "Turin", "Porto", "Split", "Basel", "Delhi", "Perth")
CLEAN = [row(f"What should I see in {place}?", f"{place} has a fine old town.") for place in PLACES]


def upload(
    client: TestClient, bench: Workbench, name: str, content: bytes | Rows, method: str = "supervised"
) -> None:
    if isinstance(content, list):
        content = b"\n".join(json.dumps(one).encode() for one in content)
    client.post("/v1/datasets", json={"name": name, "method": method})
    version = client.put(f"/v1/datasets/{name}/content", content=content).json()
    DatasetService(bench).check(version["id"])


def change(
    client: TestClient, bench: Workbench, ref: str, *operations: dict[str, Any], **further: Any
) -> dict[str, Any]:
    """What became of a change, with its versions checked."""
    name, _, number = ref.partition("@")
    begun = client.post(
        f"/v1/datasets/{name}/versions/{number}/transform", json={"operations": operations, **further}
    )
    assert begun.status_code == 202, begun.text
    TransformService(bench).advance(begun.json()["id"])
    ended: dict[str, Any] = client.get(begun.headers["location"]).json()
    for output in ended["outputs"]:
        if output["version"]:
            DatasetService(bench).check(output["version"])
    return ended


def content(client: TestClient, ref: str) -> list[dict[str, Any]]:
    name, _, number = ref.partition("@")
    return [
        json.loads(line) for line in client.get(f"/v1/datasets/{name}/versions/{number}/content").text.splitlines()
    ]


def test_a_fixable_file_is_fixed_and_every_row_tells_where_it_came_from(
    client: TestClient, bench: Workbench
) -> None:
    lines = [json.dumps(one).encode() for one in CLEAN]
    lines[1] = json.dumps(row("And in Lima?", " The museum. ", note="mine")).encode()
    lines[2:2] = [b"", json.dumps(CLEAN[3], indent=1).encode(), lines[0]]
    upload(client, bench, "travel", b"\n".join(lines))
    before = client.get("/v1/datasets/travel/versions/1").json()
    assert (before["status"], before["verdict"]) == ("rejected", "fixable")

    ended = change(client, bench, "travel@1", {"type": "fix"})

    assert ended["status"] == "done"
    (output,) = ended["outputs"]
    assert (output["dataset_name"], output["version_number"], output["rows"]) == ("travel", 2, 12)
    fixed = client.get("/v1/datasets/travel/versions/2").json()
    assert (fixed["status"], fixed["verdict"], fixed["examples"]) == ("ready", "ready", 12)
    assert fixed["lineage"]["parent"] == before["id"]
    rows = content(client, "travel@2")
    assert rows[1] == row("And in Lima?", "The museum.")
    torn = rows.index(CLEAN[3]) + 1
    told = client.get(f"/v1/datasets/travel/versions/2/lineage?row={torn}").json()
    assert told["content"] == CLEAN[3]
    (origin,) = told["lineage"]["origins"]
    assert (origin["version_number"], origin["source"], origin["lines"][0]) == (1, "upload", 4)
    assert origin["lines"][1] > origin["lines"][0]
    assert [operation["type"] for operation in told["lineage"]["operations"]] == ["fix"]

    changes = client.get("/v1/datasets/travel/versions/2/changes?since=1").json()
    assert (changes["by"], changes["added"], changes["changed"]) == ("lineage", 0, 2)
    changed = next(one for one in changes["data"] if one["line"] == 2)
    assert {field["pointer"]: (field["before"], field["after"]) for field in changed["fields"]} == {
        "/messages/1/content": (" The museum. ", "The museum."),
        "/note": ("mine", None),
    }
    assert client.get("/v1/datasets/travel/versions/2/lineage?row=13").json()["code"] == "row_not_found"


def test_a_split_carries_on_the_name_and_names_the_other_parts_after_it(
    client: TestClient, bench: Workbench
) -> None:
    upload(client, bench, "travel", CLEAN)
    parts = [{"name": "train", "share": 0.75}, {"name": "validation"}]

    ended = change(client, bench, "travel@1", {"type": "split", "parts": parts, "seed": 4})

    named = [(output["part"], output["dataset_name"], output["version_number"]) for output in ended["outputs"]]
    assert named == [("train", "travel", 2), ("validation", "travel-validation", 1)]
    train, validation = content(client, "travel@2"), content(client, "travel-validation@1")
    assert (len(train), len(validation)) == (9, 3)
    assert sorted(map(str, train + validation)) == sorted(map(str, CLEAN))
    found = client.post("/v1/datasets/compare", json={"training": "travel@2", "validation": "travel-validation"})
    assert found.json()["finding"] is None

    again = change(client, bench, "travel@1", {"type": "split", "parts": parts, "seed": 4})
    assert [output["is_new"] for output in again["outputs"]] == [False, False]
    assert [output["version"] for output in again["outputs"]] == [one["version"] for one in ended["outputs"]]


def test_lineage_goes_back_over_versions_and_names_all_sources(client: TestClient, bench: Workbench) -> None:
    upload(client, bench, "travel", CLEAN)
    upload(client, bench, "more", [row("Where is the bank?", "Behind the church.")] * 2)
    change(client, bench, "travel@1", {"type": "drop", "lines": [[1, 2]]})
    change(
        client, bench, "travel@2", {"type": "merge", "versions": ["more@1"]}, {"type": "dedupe"}, into="everything"
    )

    assert len(content(client, "everything@1")) == 11
    old = client.get("/v1/datasets/everything/versions/1/lineage?row=1").json()["lineage"]
    assert [(one["dataset_name"], one["lines"]) for one in old["origins"]] == [("travel", [1, 1])]
    assert [(one["dataset_name"], one["lines"]) for one in old["origins"][0]["origins"]] == [("travel", [3, 3])]
    new = client.get("/v1/datasets/everything/versions/1/lineage?row=11").json()["lineage"]
    assert [(one["dataset_name"], one["lines"]) for one in new["origins"]] == [("more", [1, 1])]
    assert [operation["type"] for operation in new["operations"]] == ["merge"]


def test_answers_and_worse_answers_become_pairs_in_a_dataset_of_their_own(
    client: TestClient, bench: Workbench
) -> None:
    upload(client, bench, "travel", CLEAN)
    upload(client, bench, "worse", [row(f"What should I see in {place}?", "Dunno.") for place in reversed(PLACES)])

    ended = change(client, bench, "travel@1", {"type": "convert", "to": "dpo", "worse": "worse@1"})

    (output,) = ended["outputs"]
    assert output["dataset_name"] == "travel-dpo"
    pairs = client.get("/v1/datasets/travel-dpo/versions/1").json()
    assert (pairs["method"], pairs["status"], pairs["examples"]) == ("dpo", "ready", 12)
    told = client.get("/v1/datasets/travel-dpo/versions/1/lineage?row=1").json()["lineage"]
    assert [(one["dataset_name"], one["lines"][0]) for one in told["origins"]] == [("travel", 1), ("worse", 12)]

    change(client, bench, "travel-dpo@1", {"type": "convert", "to": "supervised"}, into="back")
    assert content(client, "back@1") == CLEAN


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([], None),
        ([{"type": "burn"}], None),
        ([{"type": "fix", "colour": "red"}], None),
        ([{"type": "drop"}], None),
        ([{"type": "drop", "lines": [[3, 2]]}], None),
        ([{"type": "drop", "code": "over-long-example"}], "no_such_finding"),
        ([{"type": "split", "parts": [{"name": "a", "share": 0.9}, {"name": "b", "share": 0.9}]}], None),
        (
            [{"type": "split", "parts": [{"name": "a"}, {"name": "b", "rows": 2}]}, {"type": "fix"}],
            "split_not_last",
        ),
        ([{"type": "convert", "to": "supervised"}], "nothing_to_convert"),
        ([{"type": "convert", "to": "dpo"}], None),
        ([{"type": "redact", "codes": ["weather"]}], None),
        ([{"type": "keep", "where": [{"field": "no pointer", "test": "present"}]}], None),
        ([{"type": "sample", "rows": 3, "share": 0.5}], None),
    ],
)
def test_operations_that_cannot_be_meant_are_refused_at_once(
    client: TestClient, bench: Workbench, operations: Rows, code: str | None
) -> None:
    upload(client, bench, "travel", CLEAN)
    answer = client.post("/v1/datasets/travel/versions/1/transform", json={"operations": operations})
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    pointer = problem["errors"][0]["pointer"]
    assert pointer.startswith("/operations")
    assert not any(f"/{operation['type']}" in pointer for operation in operations)
    assert "Value error" not in answer.text
    assert code is None or problem["code"] == code
    assert client.get("/v1/datasets/travel/transforms").json()["data"] == []


def test_a_change_that_leaves_nothing_fails_in_words_and_makes_no_version(
    client: TestClient, bench: Workbench
) -> None:
    upload(client, bench, "travel", CLEAN)
    where = [{"field": "answer", "test": "contains", "value": "fine"}]
    ended = change(client, bench, "travel@1", {"type": "drop", "where": where})
    assert (ended["status"], ended["error"]["code"]) == ("failed", "nothing_left")
    assert "Operation 1 (drop) let none of" in ended["error"]["message"]
    assert client.get("/v1/datasets/travel").json()["version_count"] == 1


def test_the_same_key_begins_one_change_and_a_given_up_one_makes_no_version(
    client: TestClient, bench: Workbench
) -> None:
    upload(client, bench, "travel", CLEAN)
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"operations": [{"type": "shuffle", "seed": 1}]}
    first, second = (
        client.post("/v1/datasets/travel/versions/1/transform", json=body, headers=headers) for _ in range(2)
    )
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert client.delete(first.headers["location"]).status_code == 204
    assert client.delete(first.headers["location"]).status_code == 204
    TransformService(bench).advance(first.json()["id"])
    assert client.get(first.headers["location"]).json()["status"] == "cancelled"
    assert client.get("/v1/datasets/travel").json()["version_count"] == 1


def test_a_change_does_not_name_a_dataset_anew_that_was_archived_meanwhile(
    client: TestClient, bench: Workbench
) -> None:
    upload(client, bench, "travel", CLEAN)
    asked = {"operations": [{"type": "shuffle", "seed": 1}]}
    begun = client.post("/v1/datasets/travel/versions/1/transform", json=asked).json()
    assert client.delete("/v1/datasets/travel").status_code == 204
    TransformService(bench).advance(begun["id"])
    with bench.read() as session:
        row = session.get_one(DatasetTransform, begun["id"])
    assert (row.status, (row.error or {})["code"]) == ("failed", "dataset_archived")
    assert client.get("/v1/datasets").json()["data"] == []


def test_a_project_has_only_so_many_changes_under_way(
    client: TestClient, bench: Workbench, settings: Settings
) -> None:
    upload(client, bench, "travel", CLEAN)
    most = settings.transforms_per_project_max
    path, asked = "/v1/datasets/travel/versions/1/transform", {"operations": [{"type": "shuffle", "seed": 1}]}
    answers = [client.post(path, json=asked) for _ in range(most + 1)]
    assert [answer.status_code for answer in answers] == [202] * most + [409]
    assert answers[-1].json()["code"] == "too_many_transforms"
    assert client.delete(answers[0].headers["location"]).status_code == 204
    assert client.post(path, json=asked).status_code == 202


def test_a_code_that_no_fix_knows_is_refused_with_those_that_are_known(
    client: TestClient, bench: Workbench
) -> None:
    upload(client, bench, "travel", CLEAN)
    asked = {"operations": [{"type": "fix", "codes": ["typo"]}]}
    refused = client.post("/v1/datasets/travel/versions/1/transform", json=asked)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["pointer"].startswith("/operations/0")
    assert "blank-line" in error["detail"]
    assert "'typo'" in error["detail"]


def test_a_change_reads_and_tells_nothing_of_another_projects_versions(
    client: TestClient, stranger: TestClient, bench: Workbench
) -> None:
    upload(client, bench, "travel", CLEAN)
    theirs = client.get("/v1/datasets/travel/versions/1").json()["id"]
    upload(stranger, bench, "mine", CLEAN)
    for operation in ({"type": "merge", "versions": [theirs]}, {"type": "convert", "to": "dpo", "worse": theirs}):
        asked = stranger.post("/v1/datasets/mine/versions/1/transform", json={"operations": [operation]})
        assert (asked.status_code, asked.json()["code"]) == (404, "version_not_found")
    since = stranger.get("/v1/datasets/mine/versions/1/changes", params={"since": theirs})
    assert (since.status_code, since.json()["code"]) == (404, "version_not_found")
