"""The levers: calls that go wrong as asked, things done behind one's back, and what the emulator remembers."""

import json
import socket
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
import openai
import pytest
from emulator_process import Emulator, jsonl

BODY = {"model": "gpt-4.1-mini", "hyperparameters": {"n_epochs": 1}}


def _create(emulator: Emulator, file_id: str) -> httpx2.Response:
    return emulator.http.post("/openai/v1/fine_tuning/jobs", json=BODY | {"training_file": file_id})


def _jobs(emulator: Emulator) -> int:
    return emulator.lever("GET", "state")["counts"]["jobs"]


def test_a_connection_dropped_before_acting_leaves_nothing_behind(emulator: Emulator, workshop):
    file_id = workshop.upload(emulator.v1())
    emulator.faults({"match": {"operation": "jobs.create"}, "when": {"first_n": 1}, "do": {"drop_before": True}})
    with pytest.raises(httpx2.TransportError):
        _create(emulator, file_id)
    assert _jobs(emulator) == 0
    assert _create(emulator, file_id).status_code == 200


def test_a_connection_dropped_after_acting_leaves_a_job_behind(emulator: Emulator, workshop):
    file_id = workshop.upload(emulator.v1())
    emulator.faults({"match": {"operation": "jobs.create"}, "when": {"first_n": 1}, "do": {"drop_after": True}})
    with pytest.raises(httpx2.TransportError):
        _create(emulator, file_id)
    assert _jobs(emulator) == 1


def test_an_sdk_that_retries_a_lost_create_makes_two_jobs(emulator: Emulator, workshop):
    file_id = workshop.upload(emulator.v1())
    emulator.faults({"match": {"operation": "jobs.create"}, "when": {"first_n": 1}, "do": {"drop_after": True}})
    emulator.v1(max_retries=1).fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file_id)
    assert _jobs(emulator) == 2
    assert [entry["status"] for entry in emulator.requests("jobs.create")] == [None, 200]


def test_a_refusal_comes_with_its_body_and_headers(emulator: Emulator):
    emulator.faults(
        {
            "match": {"method": "GET", "path": "/openai/v1/models$"},
            "when": {"first_n": 1},
            "do": {"status": 429, "headers": {"Retry-After": "7", "retry-after-ms": "7000"}},
        }
    )
    with pytest.raises(openai.RateLimitError) as refused:
        emulator.v1().models.list()
    assert refused.value.response.headers["retry-after"] == "7"
    assert refused.value.code == "429"
    assert emulator.v1().models.list().data


def test_a_refusal_may_carry_any_body(emulator: Emulator):
    emulator.faults(
        {
            "match": {"operation": "models.list"},
            "do": {"status": 503, "body": "<html>busy</html>", "headers": {"Content-Type": "text/html"}},
        }
    )
    answer = emulator.http.get("/openai/v1/models")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (
        503,
        "<html>busy</html>",
        "text/html",
    )


def test_garbage_and_cut_bodies_arrive_as_such(emulator: Emulator):
    emulator.faults({"match": {"operation": "models.list"}, "when": {"first_n": 1}, "do": {"garbage": True}})
    answer = emulator.http.get("/openai/v1/models")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        answer.json()
    emulator.faults({"match": {"operation": "models.list"}, "do": {"truncate_bytes": 20}})
    with pytest.raises(httpx2.RemoteProtocolError):
        emulator.http.get("/openai/v1/models")


def test_a_download_can_break_off_half_way(emulator: Emulator, workshop):
    file_id = workshop.upload(emulator.v1())
    emulator.faults(
        {"match": {"operation": "files.content"}, "when": {"first_n": 1}, "do": {"truncate_bytes": 100}}
    )
    with pytest.raises(httpx2.RemoteProtocolError):
        emulator.http.get(f"/openai/v1/files/{file_id}/content")
    assert emulator.v1().files.content(file_id).content == jsonl()


def test_a_delay_is_real(emulator: Emulator):
    emulator.faults({"match": {"operation": "models.list"}, "do": {"delay_seconds": 0.3}})
    started = time.monotonic()
    emulator.v1().models.list()
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    ("when", "struck"),
    [
        ({"first_n": 2}, [True, True, False, False, False, False]),
        ({"every_nth": 3}, [False, False, True, False, False, True]),
        ({"after_n": 4}, [False, False, False, False, True, True]),
        ({"after_n": 1, "first_n": 1}, [False, True, False, False, False, False]),
        ({"probability": 1}, [True] * 6),
        ({"probability": 0}, [False] * 6),
    ],
)
def test_a_rule_strikes_when_it_says(emulator: Emulator, when: dict, struck: list[bool]):
    emulator.faults({"match": {"operation": "models.list"}, "when": when, "do": {"status": 500}})
    assert [emulator.http.get("/openai/v1/models").status_code == 500 for _ in range(6)] == struck
    rule = emulator.lever("GET", "faults")[0]
    assert (rule["seen"], rule["hit"]) == (6, sum(struck))


def test_chance_is_repeatable_by_its_seed(emulator: Emulator):
    runs = []
    for seed in (1, 1, 2):
        emulator.faults({"when": {"probability": 0.5, "seed": seed}, "do": {"status": 500}})
        runs.append([emulator.http.get("/openai/v1/models").status_code for _ in range(40)])
    assert runs[0] == runs[1] != runs[2]
    assert {200, 500} == set(runs[0])


def test_shares_have_one_draw_among_them_and_a_seed_repeats_a_run(emulator: Emulator):
    models = {"match": {"operation": "models.list"}}
    rules = [
        {**models, "when": {"share": 0.15}, "do": {"status": 500}},
        {**models, "when": {"share": 0.1}, "do": {"status": 502}},
        {**models, "when": {"share": 0.5}, "do": {"status": 503}},
    ]

    def run(seed: object) -> list[int]:
        emulator.lever("PUT", "faults", {"seed": seed, "rules": rules})
        codes = []
        for _ in range(200):
            codes.append(emulator.http.get("/openai/v1/models").status_code)
            emulator.http.get("/openai/v1/models/gpt-4.1")  # other operations draw for themselves
        return codes

    first = run(7)
    assert first == run(7) != run("seven")
    emulator.lever("PUT", "faults", {"seed": 7, "rules": rules})
    assert first[:20] == [emulator.http.get("/openai/v1/models").status_code for _ in range(20)]
    found = {code: first.count(code) / 200 for code in set(first)}
    for code, share in ((500, 0.15), (502, 0.1), (503, 0.5), (200, 0.25)):
        assert found[code] == pytest.approx(share, abs=0.1)


def test_a_share_of_one_strikes_always_and_none_of_the_later_ones(emulator: Emulator):
    emulator.faults(
        {"when": {"share": 0}, "do": {"status": 501}},
        {"match": {"operation": "models.list"}, "when": {"share": 1, "first_n": 2}, "do": {"status": 502}},
        {"when": {"share": 0}, "do": {"status": 503}},
    )
    assert [emulator.http.get("/openai/v1/models").status_code for _ in range(3)] == [502, 502, 200]


def _raw(
    emulator: Emulator, path: str = "/openai/v1/models", method: str = "GET", body: bytes = b""
) -> socket.socket:
    """A request on a socket of its own, and nothing between it and the answer."""
    url = httpx2.URL(emulator.url)
    connection = socket.create_connection((url.host, url.port), timeout=10)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\napi-key: k\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize(("fault", "made"), [("reset_before", 0), ("reset_after", 1)])
def test_a_reset_is_a_reset(emulator: Emulator, workshop, fault: str, made: int):
    body = json.dumps(BODY | {"training_file": workshop.upload(emulator.v1())}).encode()
    emulator.faults({"match": {"operation": "jobs.create"}, "do": {fault: True}})
    with (
        _raw(emulator, "/openai/v1/fine_tuning/jobs", "POST", body) as connection,
        pytest.raises(ConnectionResetError),
    ):
        connection.recv(100)
    assert _jobs(emulator) == made


@pytest.mark.parametrize(("fault", "made"), [("hang_before", 0), ("hang_after", 1)])
def test_a_silent_server_says_nothing_until_the_client_goes(emulator: Emulator, workshop, fault: str, made: int):
    file_id = workshop.upload(emulator.v1())
    emulator.faults({"match": {"operation": "jobs.create"}, "do": {fault: True}})
    with pytest.raises(httpx2.ReadTimeout):
        emulator.http.post("/openai/v1/fine_tuning/jobs", json=BODY | {"training_file": file_id}, timeout=0.4)
    assert _jobs(emulator) == made
    assert emulator.http.get("/openai/v1/models").status_code == 200


@pytest.mark.parametrize(("after", "made"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("status", [500, 502, 503, 408, 409])
def test_an_error_comes_before_or_after_acting(
    emulator: Emulator, workshop, status: int, *, after: bool, made: int
):
    file_id = workshop.upload(emulator.v1())
    emulator.faults({"match": {"operation": "jobs.create"}, "do": {"status": status, "after_acting": after}})
    refused = _create(emulator, file_id)
    assert (refused.status_code, refused.json()["error"]["message"] != "") == (status, True)
    assert _jobs(emulator) == made


def test_an_answer_arrives_at_the_speed_asked_for_from_its_first_byte(emulator: Emulator):
    emulator.faults({"match": {"operation": "models.get"}, "do": {"bytes_per_second": 2000}})
    whole = emulator.v1().models.retrieve("gpt-4.1").id
    started = time.monotonic()
    with _raw(emulator, "/openai/v1/models/gpt-4.1") as connection:
        first = connection.recv(65536)
        pieces = [first]
        while piece := connection.recv(65536):
            pieces.append(piece)
    took, size = time.monotonic() - started, sum(map(len, pieces))
    assert whole == "gpt-4.1-2025-04-14"
    assert len(first) < 300
    assert took >= size / 2000 * 0.8


@pytest.mark.parametrize(
    ("kind", "readable"), [("html", False), ("half_json", False), ("empty", False), ("wrong_types", True)]
)
def test_garbage_comes_in_kinds_after_acting(emulator: Emulator, workshop, kind: str, *, readable: bool):
    file_id = workshop.upload(emulator.v1())
    emulator.faults({"match": {"operation": "jobs.create"}, "do": {"garbage": kind, "status": 201}})
    answer = _create(emulator, file_id)
    assert answer.status_code == 201
    assert _jobs(emulator) == 1
    if readable:
        body = answer.json()
        assert {type(body[name]) for name in ("id", "status", "model")} == {int}
        assert isinstance(body["created_at"], str)
    else:
        with pytest.raises(ValueError, match=r"."):
            answer.json()


def test_members_of_an_answer_change_and_disappear_as_asked(emulator: Emulator, workshop):
    job = workshop.submit(emulator.v1())
    spoil = {"change": {"status": "levitating", "error.code": "x", "id": None}, "leave_out": ["seed", "none.such"]}
    emulator.faults({"match": {"operation": "jobs.get"}, "do": spoil})
    body = emulator.http.get(f"/openai/v1/fine_tuning/jobs/{job.id}").json()
    assert (body["status"], body["id"], "seed" in body, "error" in body) == ("levitating", None, False, False)
    emulator.faults(
        {
            "match": {"operation": "jobs.list"},
            "do": {"change": {"data.*.status": "floating"}, "leave_out": ["has_more"]},
        }
    )
    body = emulator.http.get("/openai/v1/fine_tuning/jobs").json()
    assert ([item["status"] for item in body["data"]], "has_more" in body) == (["floating"], False)


@pytest.mark.parametrize("off_by", [10, -10])
def test_a_content_length_may_lie(emulator: Emulator, off_by: int):
    emulator.faults({"match": {"operation": "models.get"}, "do": {"length_off_by": off_by}})
    with _raw(emulator, "/openai/v1/models/gpt-4.1") as connection:
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    promised = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    assert promised == len(body) + off_by
    assert json.loads(body)["object"] == "model"
    try:
        assert emulator.http.get("/openai/v1/models/gpt-4.1").content == body[:promised]
    except httpx2.RemoteProtocolError:
        assert off_by > 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Retry-After": "7"},
        {"Retry-After": "-5"},
        {"Retry-After": "99999"},
        {"Retry-After": "soon, my friend"},
        {"retry-after-ms": "1500"},
    ],
)
def test_a_429_carries_every_kind_of_retry_after(emulator: Emulator, headers: dict[str, str]):
    emulator.faults({"match": {"operation": "models.list"}, "do": {"status": 429, "headers": headers}})
    answer = emulator.http.get("/openai/v1/models")
    assert answer.status_code == 429
    assert {name: value for name, value in answer.headers.items() if "retry" in name} == {
        name.lower(): value for name, value in headers.items()
    }


def test_a_retry_after_may_be_a_date(emulator: Emulator):
    emulator.faults(
        {"match": {"operation": "models.list"}, "do": {"status": 429, "headers": {"Retry-After": "{now+90}"}}}
    )
    shown = parsedate_to_datetime(emulator.http.get("/openai/v1/models").headers["retry-after"])
    assert 80 < (shown - datetime.now(UTC)).total_seconds() <= 90


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/openai/v1/models", "401"),
        (
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a",
            "ExpiredAuthenticationToken",
        ),
    ],
)
def test_a_refused_credential_speaks_the_words_of_its_plane(emulator: Emulator, path: str, code: str):
    emulator.faults({"when": {"first_n": 1}, "do": {"status": 401}})
    answers = [emulator.http.get(path, params={"api-version": "v1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 200]
    assert answers[0].json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "list"),
        ([{"do": {}}], "rule 0"),
        ([{"do": {"status": 99}}], "'status' must be a number between 200 and 599"),
        ([{"do": {"explode": True}}], "'do.explode' is unknown"),
        ([{"match": {"operation": "cars.list"}, "do": {"status": 500}}], "no operation 'cars.list'"),
        ([{"match": {"path": "("}, "do": {"status": 500}}], "no regular expression"),
        ([{"do": {"status": 500, "headers": {"a": "b\r\nc"}}}], "printable"),
        ({"rules": [], "sead": 1}, "'seed'"),
        ({"rules": [], "seed": 0.5}, "'seed' must be"),
        ([{"when": {"share": 2}, "do": {"status": 500}}], "'share' must be a number between 0 and 1"),
        ([{"when": {"share": 0.6}, "do": {"status": 500}}] * 2, "sum up to more than 1"),
        ([{"do": {"garbage": "poem"}}], "'garbage' must be"),
        ([{"do": {"drop_after": "yes"}}], "'drop_after' must be true or false"),
        ([{"do": {"after_acting": True}}], "goes with a 'status'"),
        ([{"do": {"leave_out": "id"}}], "'leave_out' must be a list"),
        ([{"do": {"change": ["id"]}}], "'change' must map"),
        ([{"do": {"bytes_per_second": 0}}], "'bytes_per_second' must be"),
        ([{"do": {"fate": {"explode": 1}}}], "'fate.explode' is unknown"),
        ([{"do": {"fate": {"extra_queue_seconds": "long"}}}], "'extra_queue_seconds' must be a number"),
        ([{"do": {"fate": {"fail_at_step": 1.5}}}], "'fate.fail_at_step' must be a whole number"),
        ([{"do": {"fate": {"data_refused": "violence"}}}], "'fate.data_refused' must be a list"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(emulator: Emulator, rules: object, words: str):
    answer = emulator.http.put("/_emulator/faults", json=rules)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_lists_lag_while_single_reads_do_not(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.submit(client)
    emulator.faults(
        {"match": {"path": "(jobs|files|deployments)$", "method": "GET"}, "do": {"list_lag_seconds": 3600}}
    )
    assert client.fine_tuning.jobs.list().data == []
    assert client.files.list().data == []
    assert client.fine_tuning.jobs.retrieve(job.id).id == job.id
    emulator.advance(3601)
    assert [found.id for found in client.fine_tuning.jobs.list()] == [job.id]


@pytest.mark.parametrize(
    ("fate", "status", "words"),
    [
        (
            {"data_refused": ["violence", "self_harm"]},
            "failed",
            "failed RAI checks for harm types: [violence, self_harm]",
        ),
        ({"model_refused": ["Violence"]}, "failed", "above acceptable thresholds for [Violence]"),
        ({"fail_at_step": 5}, "failed", "internal error"),
    ],
)
def test_a_job_may_be_fated_to_fail(emulator: Emulator, workshop, fate: dict, status: str, words: str):
    emulator.faults({"match": {"operation": "jobs.create"}, "when": {"first_n": 1}, "do": {"fate": fate}})
    client = emulator.v1()
    job = workshop.finish(client, workshop.submit(client).id)
    assert job.status == status
    assert words in job.error.message
    assert workshop.trained(client).fine_tuned_model
    said_succeeded = "Job succeeded." in workshop.messages(client, job.id)
    assert said_succeeded == ("model_refused" in fate)


def test_a_stalled_job_stays_at_its_step(emulator: Emulator, workshop):
    emulator.faults({"match": {"operation": "jobs.create"}, "do": {"fate": {"stall_at_step": 4}}})
    emulator.clock("manual")
    client = emulator.v1()
    file_id = workshop.upload(client)
    emulator.advance(100)
    client.fine_tuning.jobs.create(training_file=file_id, **BODY)
    for _ in range(3):
        emulator.advance(10_000)
    line = emulator.lever("GET", "state")["jobs"][0]
    assert (line["phase"], line["published_steps"]) == ("training", 4)


def test_a_file_and_a_deployment_may_be_fated_as_well(emulator: Emulator, workshop):
    emulator.faults(
        {"match": {"operation": "files.upload"}, "when": {"first_n": 1}, "do": {"fate": {"file_error": "Sorry."}}},
        {
            "match": {"operation": "deployments.put"},
            "when": {"first_n": 1},
            "do": {"fate": {"provision_fails": True}},
        },
    )
    client = emulator.v1()
    file = client.files.retrieve(workshop.upload(client))
    assert (file.status, file.status_details) == ("error", "Sorry.")
    with pytest.raises(Exception, match="internal error"):
        emulator.deploy("broken", "gpt-4.1-mini")
    assert emulator.arm().deployments.get("rg", "acc", "broken").properties.provisioning_state == "Failed"
    assert emulator.deploy("broken", "gpt-4.1-mini").properties.provisioning_state == "Succeeded"


def test_somebody_else_acts_in_the_portal(emulator: Emulator, workshop):
    client = emulator.v1()
    file = emulator.portal("create_file", content=jsonl().decode(), filename="theirs.jsonl")
    job = emulator.portal("create_job", model="gpt-4.1-mini", training_file=file["id"], metadata={"by": "them"})
    assert client.fine_tuning.jobs.retrieve(job["id"]).metadata == {"by": "them"}
    done = workshop.finish(client, job["id"])
    model = {"format": "OpenAI", "name": done.fine_tuned_model, "version": "1"}
    emulator.portal(
        "create_deployment", name="theirs", sku={"name": "Standard", "capacity": 1}, properties={"model": model}
    )
    assert emulator.arm().deployments.get("rg", "acc", "theirs").sku.name == "Standard"
    emulator.portal("delete_deployment", name="theirs")
    emulator.portal("delete_job", id=job["id"])
    emulator.portal("delete_file", id=file["id"])
    state = emulator.lever("GET", "state")
    assert state["counts"] == {"jobs": 0, "files": 1, "deployments": 0}
    assert state["removed_deployments"][0]["because"] == "deleted in the portal"
    running = workshop.submit(client, hyperparameters={"n_epochs": 50})
    assert emulator.portal("cancel_job", id=running.id)["status"] == "cancelled"
    assert client.fine_tuning.jobs.retrieve(running.id).status == "cancelled"


def test_the_log_tells_who_asked_what_and_hides_keys(emulator: Emulator, workshop):
    job = workshop.submit(emulator.v1(), metadata={"attempt": "x-1"})
    entry = emulator.requests("jobs.create")[0]
    assert (entry["method"], entry["status"], entry["path"]) == ("POST", 200, "/openai/v1/fine_tuning/jobs")
    assert '"attempt":"x-1"' in entry["body"].replace(" ", "")
    assert job.training_file in entry["body"]
    whole = str(emulator.lever("GET", "requests"))
    assert "Bearer" not in whole


def test_reset_empties_everything(emulator: Emulator, workshop):
    workshop.submit(emulator.v1())
    emulator.deploy("base", "gpt-4.1-mini")
    emulator.faults({"do": {"status": 500}, "match": {"operation": "models.get"}})
    emulator.lever("PUT", "pace", {"queue": 1})
    emulator.clock("manual")
    emulator.lever("POST", "reset")
    state = emulator.lever("GET", "state")
    assert state["counts"] == {"jobs": 0, "files": 0, "deployments": 0}
    assert (state["clock"]["mode"], emulator.lever("GET", "faults"), emulator.lever("GET", "requests")) == (
        "instant",
        [],
        [],
    )
    assert emulator.lever("GET", "pace")["queue"] == 90
    total = emulator.lever("GET", "billing")["total"]
    assert {float(amount) for amount in total.values()} == {0.0}
