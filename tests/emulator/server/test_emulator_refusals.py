"""What Azure refuses, with its status and words; and hostile requests, which are refused as well and never break it."""

import json

import openai
import pytest
from azure.core.exceptions import HttpResponseError
from emulator_process import PREVIEW, Emulator, deployment, emulator_process, jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ARM = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acc"
GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


def _lines(*lines: object, total: int = 12) -> bytes:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return "\n".join([*texts, *[json.dumps(GOOD)] * (total - len(texts))]).encode()


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (_lines(GOOD, '{"messages": ['), "jsonlValidationFailed", "Invalid JSON in line 2"),
        (_lines(GOOD, GOOD, "[1, 2]"), "invalidPayload", "line 3: it must be a JSON object"),
        (_lines(total=9), "invalidPayload", "contains 9 examples; at least 10 are required"),
        (_lines({"messages": [{"role": "user", "content": "Hi"}]}), "invalidPayload", "role 'assistant'"),
        (
            _lines({"messages": GOOD["messages"][::-1]}),
            "invalidPayload",
            "the last message must have role 'assistant'",
        ),
        (_lines({"messages": [GOOD["messages"][1]]}), "invalidPayload", "at least one message with role 'user'"),
        (_lines({"prompt": "a", "completion": "b"}), "invalidPayload", "prompt/completion format"),
        (
            _lines({"messages": [{"role": "boss", "content": "x"}]}),
            "invalidPayload",
            'messages[0] has the role "boss"',
        ),
        (_lines({"messages": [{"role": "user"}]}), "invalidPayload", "messages[0] has no 'content'"),
        (
            _lines({"messages": [{"role": "user", "content": "x", "weight": 1}]}),
            "invalidPayload",
            "only assistant messages may have one",
        ),
        (_lines('{"messages": NaN}'), "jsonlValidationFailed", "line 1"),
    ],
)
def test_a_bad_file_fails_the_job_with_the_line(
    emulator: Emulator, workshop, content: bytes, code: str, words: str
):
    client = emulator.v1()
    job = workshop.finish(client, workshop.submit(client, content).id)
    assert job.status == "failed"
    assert job.error.code == code
    assert words in job.error.message
    assert job.error.param == "training_file"
    assert job.fine_tuned_model is None
    last = client.fine_tuning.jobs.list_events(job.id).data[0]
    assert (last.level, last.message) == ("error", job.error.message)
    assert emulator.lever("GET", "billing")["total"]["trained_tokens"] == 0


def test_a_file_without_anything_to_learn_fails_the_job(emulator: Emulator, workshop):
    client = emulator.v1()
    muted = {"messages": [GOOD["messages"][0], {**GOOD["messages"][1], "weight": 0}]}
    job = workshop.finish(client, workshop.submit(client, _lines(*[muted] * 12)).id)
    assert (job.status, job.error.code) == ("failed", "invalidPayload")
    assert "no assistant message to learn from" in job.error.message


def test_a_bad_validation_file_is_named(emulator: Emulator, workshop):
    client = emulator.v1()
    bad = workshop.upload(client, _lines("{", total=3))
    job = workshop.finish(client, workshop.submit(client, validation_file=bad).id)
    assert (job.status, job.error.param) == ("failed", "validation_file")
    assert "validation file failed. Invalid JSON in line 1" in job.error.message


def test_blank_lines_a_mark_at_the_start_and_tool_calls_are_no_fault(emulator: Emulator, workshop):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"},
            {"role": "assistant", "content": "Done", "weight": 1},
        ]
    }
    content = b"\xef\xbb\xbf" + _lines(tools, "", GOOD, "   ").replace(b"\n", b"\r\n") + b"\n\n"
    assert workshop.trained(emulator.v1(), content).trained_tokens > 0


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"model": "gpt-3.5-turbo"}, "The specified base model does not support fine-tuning."),
        ({"model": "gpt-4.1-mini-2025-04-14.ft-00000000000000000000000000000000"}, "does not support fine-tuning"),
        ({"model": "gpt-oss-20b"}, "The specified base model does not support fine-tuning."),
        ({"model": "gpt-oss-20b", "trainingType": "Standard"}, "does not support the training type 'standard'"),
        ({"model": "o4-mini"}, "does not support the method 'supervised'"),
        ({"model": ""}, "'model' must be a non-empty string"),
        ({"model": 7}, "'model' must be a non-empty string"),
        ({"training_file": "file-none"}, "The file 'file-none' in 'training_file' does not exist."),
        ({"validation_file": "file-none"}, "in 'validation_file' does not exist"),
        ({"suffix": "a.b"}, "up to 40 characters"),
        ({"suffix": "x" * 41}, "up to 40 characters"),
        ({"seed": -1}, "between 0 and 2147483647"),
        ({"seed": "1"}, "between 0 and 2147483647"),
        ({"hyperparameters": {"n_epochs": 0}}, "n_epochs"),
        ({"hyperparameters": {"n_epochs": 2.5}}, "n_epochs"),
        ({"hyperparameters": {"learning_rate_multiplier": "fast"}}, "learning_rate_multiplier"),
        ({"hyperparameters": 3}, "must be an object"),
        ({"method": {"type": "magic"}}, "method.type"),
        ({"method": {"type": "dpo"}, "model": "gpt-4o-mini"}, "does not support the method 'dpo'"),
        ({"method": {"type": "reinforcement"}}, "method.reinforcement.grader"),
        ({"metadata": {"a": 1}}, "at most 16 strings"),
        ({"metadata": {str(n): "" for n in range(17)}}, "at most 16 strings"),
        ({"trainingType": "fast"}, "trainingType"),
        ({"integrations": "wandb"}, "must be a list"),
    ],
)
def test_a_wrong_job_is_refused_with_what_is_wrong(emulator: Emulator, workshop, given_: dict, words: str):
    file_id = workshop.upload(emulator.v1())
    body = {"model": "gpt-4.1-mini", "training_file": file_id} | given_
    answer = emulator.http.post("/openai/v1/fine_tuning/jobs", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert emulator.lever("GET", "state")["counts"]["jobs"] == 0


@pytest.mark.parametrize(
    "given_", [{"model": "gpt-oss-20b", "trainingType": "GlobalStandard"}, {"trainingType": 1}]
)
def test_open_models_and_the_number_one_are_training_types_that_work(emulator: Emulator, workshop, given_: dict):
    file_id = workshop.upload(emulator.v1())
    body = {"model": "gpt-4.1-mini", "training_file": file_id} | given_
    assert emulator.http.post("/openai/v1/fine_tuning/jobs", json=body).status_code == 200


def test_auto_and_minus_one_mean_the_same(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.submit(client, hyperparameters={"n_epochs": "auto", "batch_size": -1})
    assert job.hyperparameters.to_dict() == {"batch_size": -1, "learning_rate_multiplier": 1.0, "n_epochs": -1}
    job = workshop.finish(client, job.id)
    assert job.hyperparameters.n_epochs > 0


def test_a_file_in_use_may_be_deleted_and_cannot_be_used_again(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.submit(client)
    client.files.delete(job.training_file)
    assert workshop.finish(client, job.id).status == "succeeded"
    with pytest.raises(openai.BadRequestError, match="does not exist"):
        client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=job.training_file)
    with pytest.raises(openai.NotFoundError):
        client.files.content(job.training_file)


def test_limits_of_files_queue_and_jobs_hold(emulator: Emulator, workshop):
    emulator.lever("PUT", "quota", {"files": 2, "queued_jobs": 1})
    client = emulator.v1()
    file_id = workshop.upload(client)
    workshop.upload(client)
    with pytest.raises(openai.BadRequestError, match="maximum number of files"):
        workshop.upload(client)
    emulator.clock("manual")
    client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file_id)
    with pytest.raises(openai.BadRequestError, match="queued") as refused:
        client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file_id)
    assert refused.value.code == "quotaExceeded"


def test_a_job_is_deleted_on_dated_urls_only_and_not_while_its_model_is_deployed(emulator: Emulator, workshop):
    job = workshop.trained(emulator.v1())
    emulator.deploy("used", job.fine_tuned_model)
    path = f"/openai/fine_tuning/jobs/{job.id}"
    dated = {"api-version": PREVIEW}
    assert emulator.http.delete(f"/openai/v1/fine_tuning/jobs/{job.id}").status_code == 404
    assert emulator.http.delete(path, params=dated).status_code == 409
    emulator.arm().deployments.begin_delete("rg", "acc", "used").result()
    assert emulator.http.delete(path, params=dated).status_code == 204
    assert emulator.http.get(path, params=dated).status_code == 404
    with pytest.raises(HttpResponseError, match="DeploymentModelNotSupported"):
        emulator.deploy("again", job.fine_tuned_model)


def test_versions_are_taken_at_their_word(emulator: Emulator):
    for path, status in (
        ("/openai/models", 404),
        ("/openai/models?api-version=2025-09-01", 404),
        ("/openai/models?api-version=2024-10-21", 200),
        ("/openai/v1/models?api-version=preview", 200),
        (f"/openai/v1/models?api-version={PREVIEW}", 400),
        ("/api/projects/demo/openai/v1/models", 200),
        (f"{ARM}/deployments", 400),
    ):
        assert emulator.http.get(path).status_code == status, path


def test_without_a_key_nothing_is_told(emulator: Emulator):
    nobody = {"api-key": "", "authorization": ""}
    for path in ("/openai/v1/models", f"/openai/files?api-version={PREVIEW}"):
        answer = emulator.http.get(path, headers=nobody)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "401")
    arm = emulator.http.get(f"{ARM}/deployments?api-version=2025-06-01", headers=nobody)
    assert (arm.status_code, arm.json()["error"]["code"]) == (401, "AuthenticationFailed")


def test_a_fixed_key_is_the_only_one_and_counts_in_both_headers():
    with emulator_process(key="right", bearer="entra") as emulator:
        path = "/openai/v1/models"
        for headers, status in (
            ({"api-key": "wrong", "authorization": ""}, 401),
            ({"api-key": "right", "authorization": ""}, 200),
            ({"api-key": "", "authorization": "Bearer right"}, 200),
            ({"api-key": "", "authorization": "Bearer entra"}, 200),
            ({"api-key": "entra", "authorization": ""}, 401),
        ):
            assert emulator.http.get(path, headers=headers).status_code == status, headers
        keys = emulator.http.post(
            f"{ARM}/listKeys?api-version=2025-06-01", headers={"authorization": "Bearer entra"}
        )
        assert keys.json() == {"key1": "right", "key2": "right"}
        assert (
            emulator.http.get(f"{ARM}/deployments?api-version=1", headers={"authorization": "Bearer x"}).status_code
            == 401
        )


def test_too_much_capacity_is_refused_in_arms_words(emulator: Emulator):
    emulator.lever("PUT", "quota", {"skus": {"OpenAI.Standard.gpt-4.1-mini": 240}})
    emulator.deploy("first", "gpt-4.1-mini", "Standard", 240)
    with pytest.raises(HttpResponseError) as refused:
        emulator.deploy("second", "gpt-4.1-mini", "Standard", 5)
    assert refused.value.status_code == 400
    assert refused.value.error.code == "InsufficientQuota"
    assert refused.value.error.message == (
        "This operation require 5 new capacity in quota Tokens Per Minute (thousands) - gpt-4.1-mini - Standard, which"
        " is bigger than the current available capacity 0. The current quota usage is 240 and the quota limit is 240"
        " for quota Tokens Per Minute (thousands) - gpt-4.1-mini - Standard."
    )
    assert emulator.deploy("second", "gpt-4.1-mini", "GlobalStandard", 5).sku.capacity == 5
    usages = {
        item.name.value: (item.current_value, item.limit) for item in emulator.arm().usages.list("swedencentral")
    }
    assert usages["OpenAI.Standard.gpt-4.1-mini"] == (240, 240)
    assert usages["OpenAI.GlobalStandard.gpt-4.1-mini"] == (5, 1000)
    account = emulator.arm().accounts.list_usages("rg", "acc").value
    assert {item.name.value for item in account} == set(usages)
    models = {item.name: item for item in emulator.arm().accounts.list_models("rg", "acc")}
    assert models["gpt-4.1-mini"].version == "2025-04-14"


@pytest.mark.parametrize(
    ("model", "sku", "code"),
    [
        ("gpt-9", "Standard", "DeploymentModelNotSupported"),
        ("gpt-4.1.ft-00000000000000000000000000000000", "Standard", "DeploymentModelNotSupported"),
        ("gpt-4o-mini", "DeveloperTier", "InvalidResourceProperties"),
        ("gpt-4o-mini", "Gold", "InvalidResourceProperties"),
    ],
)
def test_what_cannot_be_deployed_is_refused(emulator: Emulator, model: str, sku: str, code: str):
    with pytest.raises(HttpResponseError) as refused:
        emulator.arm().deployments.begin_create_or_update("rg", "acc", "d", deployment(model, sku))
    assert (refused.value.status_code, refused.value.error.code) == (400, code)


def test_the_eleventh_deployment_is_one_too_many(emulator: Emulator):
    emulator.lever("PUT", "quota", {"deployments": 2})
    emulator.deploy("one", "gpt-4.1-mini")
    emulator.deploy("two", "gpt-4.1-mini")
    with pytest.raises(HttpResponseError, match="maximum number of deployments"):
        emulator.deploy("three", "gpt-4.1-mini")
    assert emulator.deploy("two", "gpt-4.1-mini", capacity=20).sku.capacity == 20


def test_names_of_deployments_do_not_tell_cases_apart(emulator: Emulator):
    emulator.deploy("Mixed", "gpt-4.1-mini")
    arm = emulator.arm()
    assert arm.deployments.get("rg", "acc", "mixed").name == "Mixed"
    with pytest.raises(HttpResponseError) as missing:
        arm.deployments.get("rg", "acc", "other")
    assert missing.value.error.code == "ResourceNotFound"
    upper = "/subscriptions/sub/resourcegroups/rg/providers/microsoft.cognitiveservices/accounts/acc/deployments"
    assert len(emulator.http.get(upper, params={"api-version": "1"}).json()["value"]) == 1


@pytest.mark.parametrize(
    "given_",
    [
        {"messages": []},
        {"messages": "Hi"},
        {"messages": [1]},
        {"messages": [{"role": "king", "content": "x"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"temperature": 3},
        {"temperature": "hot"},
        {"max_tokens": 0},
        {"max_tokens": 10**9},
        {"n": 17},
        {"seed": "x"},
        {"stop": [1]},
        {"stream": "yes"},
        {"stream_options": 4},
        {"model": None},
    ],
)
def test_a_wrong_chat_request_is_refused(emulator: Emulator, given_: dict):
    emulator.deploy("base", "gpt-4.1-mini")
    body = {"model": "base", "messages": [{"role": "user", "content": "Hi"}]} | given_
    answer = emulator.http.post("/openai/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_stop_word_ends_the_answer(emulator: Emulator):
    emulator.deploy("base", "gpt-4.1-mini")
    ask = {"model": "base", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "max_tokens": 30}
    whole = emulator.http.post("/openai/v1/chat/completions", json=ask).json()["choices"][0]["message"]["content"]
    word = whole.split()[1]
    cut = emulator.http.post("/openai/v1/chat/completions", json={**ask, "stop": word}).json()["choices"][0]
    assert cut["message"]["content"] == whole.split(word)[0]
    assert cut["finish_reason"] == "stop"


HOSTILE_BODIES = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b'"text"',
    b"NaN",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    json.dumps({"model": "\ud800", "training_file": "\ud800", "suffix": "\x00"}).encode(),
    json.dumps({"seconds": 1e308, "speed": -1, "mode": [], "skus": {"a": []}, "action": "x"}).encode(),
    b'{"model": 1e999, "messages": {}, "sku": 5, "properties": [], "bytes": 1e400}',
    b'{"sku": {"name": "Standard", "capacity": 99999999999999999999}, "properties": {"model": {"name": "\\ud800"}}}',
    b'{"bytes": 123456789012345678901234567890, "filename": "x", "mime_type": "y", "purpose": []}',
]
ENDPOINTS = [
    ("POST", "/openai/v1/files"),
    ("POST", "/openai/v1/fine_tuning/jobs"),
    ("POST", "/openai/v1/fine_tuning/jobs/x/cancel"),
    ("POST", "/openai/v1/fine_tuning/alpha/graders/run"),
    ("POST", "/openai/v1/fine_tuning/alpha/graders/validate"),
    ("POST", f"/openai/files/import?api-version={PREVIEW}"),
    ("PUT", "/_emulator/safety"),
    ("POST", "/openai/v1/dashboard/webhook_endpoints"),
    ("POST", "/openai/v1/fine_tuning/jobs/x/checkpoints/y/copy"),
    ("POST", "/openai/v1/chat/completions"),
    ("POST", f"/openai/deployments/x/chat/completions?api-version={PREVIEW}"),
    ("POST", f"/openai/uploads?api-version={PREVIEW}"),
    ("POST", f"/openai/uploads/x/parts?api-version={PREVIEW}"),
    ("POST", f"/openai/uploads/x/complete?api-version={PREVIEW}"),
    ("PUT", f"{ARM}/deployments/x?api-version=1"),
    ("PATCH", f"{ARM}/deployments/x?api-version=1"),
    ("PUT", f"{ARM}/deployments/%00%ff?api-version=1"),
    ("PUT", "/_emulator/clock"),
    ("POST", "/_emulator/clock/advance"),
    ("PUT", "/_emulator/pace"),
    ("PUT", "/_emulator/faults"),
    ("PUT", "/_emulator/quota"),
    ("POST", "/_emulator/portal"),
    ("DELETE", "/openai/v1/files/%2e%2e%2f"),
    ("TRACE", "/openai/v1/files"),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_no_body_makes_the_server_fail(emulator: Emulator, method: str, path: str):
    for body in HOSTILE_BODIES:
        for kind in ("application/json", "multipart/form-data; boundary=x", "multipart/form-data", "text/plain"):
            answer = emulator.http.request(method, path, content=body, headers={"content-type": kind})
            if answer.status_code == 200:
                assert (method, path, body) == ("PUT", "/_emulator/faults", b"[]")
                continue
            assert 400 <= answer.status_code < 500, (answer.status_code, body[:60], kind, answer.text[:200])
            assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=0", "limit=-1", f"limit={'9' * 400}", "after=nothing", "limit=1.5"]
)
def test_wrong_pages_are_refused(emulator: Emulator, workshop, query: str):
    job_id = workshop.submit(emulator.v1()).id
    assert emulator.http.get(f"/openai/files?api-version={PREVIEW}&{query}").status_code == 400
    for path in (
        "fine_tuning/jobs",
        f"fine_tuning/jobs/{job_id}/events",
        f"fine_tuning/jobs/{job_id}/checkpoints",
    ):
        assert emulator.http.get(f"/openai/v1/{path}?{query}").status_code == 400


_names = st.sampled_from(
    [
        "model",
        "training_file",
        "messages",
        "role",
        "content",
        "hyperparameters",
        "method",
        "type",
        "n_epochs",
        "sku",
    ]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(_names, _json, max_size=6), place=st.integers(0, len(ENDPOINTS) - 1))
def test_no_json_object_makes_the_server_fail(emulator: Emulator, body: dict, place: int):
    method, path = ENDPOINTS[place]
    content = json.dumps(body)
    answer = emulator.http.request(method, path, content=content, headers={"content-type": "application/json"})
    assert 200 <= answer.status_code < 500, (path, body, answer.text)


def test_odd_names_in_a_form_are_kept_harmless(emulator: Emulator):
    files = {
        "file": ("..\\../a\x00b\n\ud83d\ude00.jsonl".encode("utf-16", "surrogatepass").decode("utf-16"), jsonl())
    }
    answer = emulator.http.post("/openai/v1/files", data={"purpose": "fine-tune"}, files=files)
    assert answer.status_code == 200
    assert "\x00" not in answer.json()["filename"]
    wrong = emulator.http.post("/openai/v1/files", data={"purpose": "spying"}, files={"file": ("a", b"x")})
    assert wrong.status_code == 400
    missing = emulator.http.post("/openai/v1/files", data={"purpose": "fine-tune", "file": "text"})
    assert missing.status_code == 400
