"""The two forms of the data plane: which routes each has, how their answers differ, which versions they take."""

from typing import Any

import pytest
from azure_published import v1_valid
from emulator_process import PREVIEW, STABLE, Emulator
from test_emulator_spec import Api

V1, DATED, OLD = None, PREVIEW, STABLE
FORMS = (V1, DATED, OLD)

ONLY_IN = {
    ("POST", "/uploads"): (DATED, OLD),
    ("POST", "/uploads/x/parts"): (DATED, OLD),
    ("POST", "/uploads/x/complete"): (DATED, OLD),
    ("POST", "/uploads/x/cancel"): (DATED, OLD),
    ("DELETE", "/fine_tuning/jobs/x"): (DATED, OLD),
    ("POST", "/fine_tuning/jobs/x/pause"): (V1, DATED),
    ("POST", "/fine_tuning/jobs/x/resume"): (V1, DATED),
    ("POST", "/chat/completions"): (V1,),
    ("POST", "/deployments/x/chat/completions"): (DATED, OLD),
}
"""Routes that are not in every form. Source: path sections of 2025-04-01-preview and of the v1 specification
(2026-02-02); that v1 answers 404 to uploads: Microsoft's fine-tuning notes, 2026-08."""

EVERYWHERE = (
    ("GET", "/files"),
    ("GET", "/models"),
    ("GET", "/fine_tuning/jobs"),
)


@pytest.mark.parametrize("version", FORMS)
@pytest.mark.parametrize(("method", "path"), [*ONLY_IN, *EVERYWHERE])
def test_a_form_has_the_routes_it_has(emulator: Emulator, method: str, path: str, version: str | None):
    """A route that is not there says `Resource not found`; one that is there says something about its content."""
    answer = Api(emulator, version).call(method, path, json={} if method == "POST" else None)
    missing = answer.status_code == 404 and answer.json()["error"]["message"] == "Resource not found"
    assert missing == (version not in ONLY_IN.get((method, path), FORMS))


@pytest.mark.parametrize("version", FORMS)
def test_a_create_answers_201_with_location_on_dated_urls_only(emulator: Emulator, version: str | None):
    api = Api(emulator, version)
    file = api.upload()
    job = api.submit(file.json()["id"])
    for answer in (file, job):
        assert answer.status_code == (201 if version else 200)
        assert ("location" in answer.headers) == bool(version)
        if version:
            followed = emulator.http.get(answer.headers["location"])
            assert followed.json()["id"] == answer.json()["id"]


@pytest.mark.parametrize(
    ("version", "inner", "place"),
    [(V1, "inner_error", "param"), (DATED, "innererror", "target"), (OLD, "innererror", "target")],
)
def test_errors_are_spelled_as_their_form_spells_them(
    emulator: Emulator, version: str | None, inner: str, place: str
):
    error = Api(emulator, version).call("POST", "/fine_tuning/jobs", json={"model": 7}).json()["error"]
    assert error[inner]["code"] == "invalidPayload"
    assert error[place] == "model"
    assert ("type" in error) == (version is None)
    other = {"inner_error", "innererror", "param", "target"} - {inner, place}
    assert not other & set(error)


def test_metadata_is_kept_by_v1_only(emulator: Emulator):
    file_id = Api(emulator, V1).upload().json()["id"]
    for version in FORMS:
        made = Api(emulator, version).submit(file_id, metadata={"who": "us"}).json()
        assert made.get("metadata") == (None if version else {"who": "us"})
        seen_by_v1 = Api(emulator, V1).call("GET", f"/fine_tuning/jobs/{made['id']}").json()
        assert seen_by_v1.get("metadata") == made.get("metadata")


def test_method_and_integrations_are_unknown_to_the_stable_version(emulator: Emulator):
    """Source: FineTuningJob of 2024-10-21, which has neither."""
    file_id = Api(emulator, V1).upload().json()["id"]
    given: dict[str, Any] = {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}}
    job_id = Api(emulator, V1).submit(file_id, **given).json()["id"]
    seen = {version: Api(emulator, version).call("GET", f"/fine_tuning/jobs/{job_id}").json() for version in FORMS}
    assert "method" not in seen[OLD]
    assert seen[V1]["method"] == seen[DATED]["method"]
    assert seen[V1]["method"]["supervised"]["hyperparameters"]["n_epochs"] == 2
    assert seen[OLD]["hyperparameters"]["n_epochs"] == 2


def test_only_the_preview_version_lists_files_in_pages(emulator: Emulator):
    """Source: Files_List of 2025-04-01-preview has limit, after and order; v1 has `purpose`, and page members."""
    ids = [Api(emulator, V1).upload().json()["id"] for _ in range(3)]
    query = f"limit=2&after={ids[0]}&order=desc"
    v1 = emulator.http.get(f"/openai/v1/files?{query}").json()
    assert [file["id"] for file in v1["data"]] == ids
    assert (v1["first_id"], v1["last_id"], v1["has_more"]) == (ids[0], ids[2], False)
    v1_valid("AzureListFilesResponse", v1)
    old = emulator.http.get(f"/openai/files?api-version={STABLE}&{query}").json()
    assert [file["id"] for file in old["data"]] == ids
    assert set(old) == {"data", "object"}
    dated = emulator.http.get(f"/openai/files?api-version={PREVIEW}&limit=2&after={ids[2]}&order=desc").json()
    assert [file["id"] for file in dated["data"]] == [ids[1], ids[0]]
    assert dated["has_more"] is False
    assert emulator.http.get(f"/openai/files?api-version={PREVIEW}&limit=2").json()["has_more"] is True


@pytest.mark.parametrize("prefix", ["/openai/v1", "/api/projects/demo/openai/v1"])
@pytest.mark.parametrize("version", [PREVIEW, STABLE, "2025-09-01", "v2"])
def test_v1_takes_no_dated_version(emulator: Emulator, prefix: str, version: str):
    """Source: Microsoft's fine-tuning notes, 2026-08: `AzureOpenAI` pointed at a /v1 URL gets this 400."""
    answer = emulator.http.get(f"{prefix}/files?api-version={version}")
    assert answer.status_code == 400
    assert "api-version query parameter is not allowed" in answer.json()["error"]["message"]


@pytest.mark.parametrize("version", ["2025-09-01", "v1", "preview", "", "2024-10-21 "])
def test_a_version_nobody_knows_is_a_resource_nobody_finds(emulator: Emulator, version: str):
    """Source: public report of 2025-09 (`api-version=2025-09-01` answers "Resource not found")."""
    answer = emulator.http.get("/openai/fine_tuning/jobs", params={"api-version": version})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Resource not found")


@pytest.mark.parametrize("given", ["GlobalStandard", "globalstandard", "globalStandard", "GLOBALSTANDARD"])
def test_a_training_type_is_echoed_in_its_own_spelling(emulator: Emulator, given: str):
    """Source: Microsoft's notebooks, 2025-12: whatever case was sent, the answer says `globalStandard`."""
    api = Api(emulator, V1)
    file_id = api.upload().json()["id"]
    assert api.submit(file_id, trainingType=given).json()["trainingType"] == "globalStandard"
    assert api.submit(file_id, trainingType=given.lower().replace("globalstandard", "DEVELOPERtier")).json()[
        "trainingType"
    ] == ("developerTier")


def test_members_that_come_as_null_are_a_fault_away(emulator: Emulator):
    """On some days `organization_id` and `result_files` come as null instead of not at all.

    Source: public issue of litellm, 2026-03 (typed clients break on it).
    """
    api = Api(emulator, V1)
    file_id = api.upload().json()["id"]
    emulator.faults(
        {"match": {"operation": "jobs.create"}, "do": {"change": {"organization_id": None, "result_files": None}}}
    )
    made = api.submit(file_id).json()
    assert made["organization_id"] is None
    assert made["result_files"] is None
    job = emulator.v1().fine_tuning.jobs.retrieve(made["id"])
    assert job.organization_id is None
