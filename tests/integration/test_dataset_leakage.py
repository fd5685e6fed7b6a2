"""Versions held against each other over HTTP: word for word, and in almost the same words."""

import json
import random
from typing import Any

from fastapi.testclient import TestClient

from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.datasets.transforms import TransformService
from app.workbench import Workbench

NAMES = "Kyoto Lima Oslo Cairo Quito Hanoi Turin Porto Basel Delhi Perth Sofia Osaka Leeds Ghent Malmo"


def row(seed: int, *, more: str = "", prompt: str = "Be kind.") -> dict[str, Any]:
    said = random.Random(seed)
    asked, answer = (" ".join(said.choices(NAMES.split(), k=30)) for _ in range(2))
    return {
        "messages": [
            {"role": "system", "content": prompt},
            {"role": "user", "content": asked + more},
            {"role": "assistant", "content": answer},
        ]
    }


def upload(client: TestClient, bench: Workbench, name: str, rows: list[dict[str, Any]]) -> str:
    client.post("/v1/datasets", json={"name": name, "method": "supervised"})
    content = b"\n".join(json.dumps(one).encode() for one in rows)
    version = client.put(f"/v1/datasets/{name}/content", content=content).json()
    DatasetService(bench).check(version["id"])
    return str(version["id"])


def test_two_versions_tell_what_they_share_in_the_same_and_in_almost_the_same_words(
    client: TestClient, bench: Workbench
) -> None:
    upload(client, bench, "training", [row(seed) for seed in range(20)])
    held_back = [row(seed) for seed in range(100, 112)]
    held_back[3] = row(7)
    held_back[5] = row(9, more=" please", prompt="Be brief.")
    upload(client, bench, "held-back", held_back)
    found = client.post("/v1/datasets/compare", json={"training": "training", "validation": "held-back"}).json()
    assert (found["finding"]["code"], found["finding"]["lines"]) == ("leakage", [[4, 4]])
    assert (found["near"]["code"], found["near"]["lines"]) == ("near-leakage", [[6, 6]])
    assert "as line 10 of the training file" in found["near"]["examples"][0]


def findings(client: TestClient, ref: str) -> dict[str, dict[str, Any]]:
    name, _, number = ref.partition("@")
    found = client.get(f"/v1/datasets/{name}/versions/{number}/findings").json()["data"]
    return {one["code"]: one for one in found}


def test_a_versions_own_report_tells_what_stands_in_other_datasets_of_the_project_and_of_no_other(
    client: TestClient, stranger: TestClient, bench: Workbench
) -> None:
    upload(stranger, bench, "theirs", [row(seed) for seed in range(100, 120)])
    upload(client, bench, "training", [row(seed) for seed in range(20)])
    assert not {code for code in findings(client, "training@1") if "another-dataset" in code}
    held_back = [row(seed) for seed in range(100, 112)]
    held_back[3] = row(7)
    held_back[5] = row(9, more=" please", prompt="Be brief.")
    upload(client, bench, "held-back", held_back)
    found = findings(client, "held-back@1")
    assert (found["in-another-dataset"]["lines"], found["in-another-dataset"]["severity"]) == ([[4, 4]], "warning")
    assert "1 in training@1" in found["in-another-dataset"]["message"]
    assert found["near-in-another-dataset"]["lines"] == [[6, 6]]
    assert "training@1 as line 10" in found["near-in-another-dataset"]["examples"][0]
    shown = client.get("/v1/datasets/held-back/versions/1").json()
    assert (shown["status"], shown["findings"]["warning"]) == ("ready", 1)


def test_what_a_version_was_made_from_is_no_other_dataset_to_it(client: TestClient, bench: Workbench) -> None:
    upload(client, bench, "training", [row(seed) for seed in range(20)])
    asked = {"operations": [{"type": "shuffle", "seed": 1}], "into": "shuffled"}
    begun = client.post("/v1/datasets/training/versions/1/transform", json=asked).json()
    TransformService(bench).advance(begun["id"])
    version = client.get("/v1/datasets/shuffled/versions/1").json()
    DatasetService(bench).check(version["id"])
    assert not {code for code in findings(client, "shuffled@1") if "another-dataset" in code}


def test_versions_checked_before_sketches_were_kept_are_compared_word_for_word(
    client: TestClient, bench: Workbench
) -> None:
    version = upload(client, bench, "training", [row(seed) for seed in range(12)])
    upload(client, bench, "held-back", [row(3, more=" please"), *(row(seed) for seed in range(50, 60))])
    bench.storage.delete(DatasetVersion(id=version).sketches_key)
    found = client.post("/v1/datasets/compare", json={"training": "training", "validation": "held-back"}).json()
    assert (found["finding"], found["near"]) == (None, None)


def test_a_version_tells_its_own_near_duplicates(client: TestClient, bench: Workbench) -> None:
    upload(client, bench, "training", [*(row(seed) for seed in range(12)), row(4, more=" please")])
    told = client.get("/v1/datasets/training/versions/1/findings", params={"code": "near-duplicate"}).json()["data"]
    assert [finding["lines"] for finding in told] == [[[13, 13]]]
