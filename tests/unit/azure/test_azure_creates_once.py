"""What is paid for is sent once, and every way to lose the answer is told as such."""

import io
import socket
import traceback
from collections.abc import Iterator

import httpx2
import pytest
from scripted_wire import Says, Wire, scripted_wire

from app.azure.adapter import azure_guard
from app.azure.control_plane import ArmControlPlane
from app.azure.credentials import FixedToken
from app.azure.data_plane import OpenAIDataPlane
from app.azure.port import (
    ApiStyle,
    AuthKind,
    AzureError,
    AzureTarget,
    Busy,
    NewRemoteDeployment,
    NewRemoteJob,
    NotThere,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unauthorised,
    Unavailable,
)
from app.kit.safe_http import guarded_client

KEY = "canary-key-8f1b2c3d4e5f"
JOB = {"id": "ftjob-1", "object": "fine_tuning.job", "status": "pending", "model": "gpt-4.1-2025-04-14"}
NEW_JOB = NewRemoteJob(
    model="gpt-4.1-2025-04-14",
    training_file="file-1",
    validation_file=None,
    method="supervised",
    hyperparameters={"n_epochs": 2, "batch_size": "auto"},
    training_type="developerTier",
    suffix="travel",
    seed=7,
    metadata={"op_key": "abc"},
)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with scripted_wire() as found:
        yield found


def target(wire: Wire, style: ApiStyle = ApiStyle.V1, **changes: object) -> AzureTarget:
    fields: dict[str, object] = {
        "connection_id": "con_1",
        "endpoint": wire.origin,
        "api_style": style,
        "api_version": "2025-04-01-preview" if style is ApiStyle.DATED else None,
        "auth": AuthKind.API_KEY,
        "api_key": KEY,
        "arm_endpoint": wire.origin,
        "subscription_id": "sub",
        "resource_group": "rg",
        "account": "acct",
    }
    return AzureTarget(**(fields | changes))  # type: ignore[arg-type]


def plane(wire: Wire, style: ApiStyle = ApiStyle.V1, timeout_seconds: float = 0.4) -> OpenAIDataPlane:
    return OpenAIDataPlane(
        target(wire, style),
        guard=azure_guard([wire.origin]),
        tokens=None,
        timeout_seconds=timeout_seconds,
        chat_timeout_seconds=timeout_seconds,
    )


def control(wire: Wire) -> ArmControlPlane:
    return ArmControlPlane(
        target(wire), guard=azure_guard([wire.origin]), tokens=FixedToken("canary-token-77"), timeout_seconds=0.4
    )


LOST = {
    "500": Says(500, {"error": {"code": "InternalServerError", "message": "oops"}}),
    "502 as HTML": Says(502, b"<html><script>x</script><h1>Bad Gateway</h1></html>"),
    "503": Says(503, b""),
    "408": Says(408, b""),
    "409": Says(409, {"error": {"code": "conflict", "message": "again"}}),
    "reset": Says(reset_before_answer=True),
    "no answer in time": Says(hang=True),
    "2xx that is not JSON": Says(200, b"<html>login</html>"),
    "2xx without an id": Says(201, {"object": "fine_tuning.job"}),
    "2xx that is a list": Says(200, b"[]"),
    "2xx cut short": Says(200, b'{"id": "ftjob-1", "sta', declared_length=400),
    "2xx compressed against our wish": Says(200, b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
    "2xx too slow as a whole": Says(200, JSON_PADDED := b'{"id": "ftjob-1"' + b" " * 200 + b"}", drip=True),
    "303": Says(303, b"", headers={"Location": "/elsewhere"}),
    "499": Says(499, b""),
}


@pytest.mark.parametrize("style", list(ApiStyle))
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST.keys())
def test_a_job_whose_answer_is_lost_was_posted_once_and_its_outcome_is_unknown(
    wire: Wire, style: ApiStyle, lost: Says
):
    wire.will(lost)
    with pytest.raises(OutcomeUnknown) as caught:
        plane(wire, style).create_job(NEW_JOB)
    assert wire.methods == ["POST"]
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST.keys())
def test_a_file_whose_answer_is_lost_was_sent_once_and_its_outcome_is_unknown(wire: Wire, lost: Says):
    wire.will(lost)
    with pytest.raises(OutcomeUnknown):
        plane(wire).upload_file(filename="a.jsonl", content=io.BytesIO(b"{}\n"), purpose="fine-tune")
    assert wire.methods == ["POST"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 423, 431, 451])
def test_a_definite_no_to_a_create_is_refused_after_one_post(wire: Wire, status: int):
    wire.will(Says(status, {"error": {"code": "nope", "message": "no"}}))
    with pytest.raises(Refused) as caught:
        plane(wire).create_job(NEW_JOB)
    assert wire.methods == ["POST"]
    assert caught.value.http_status == status
    assert caught.value.remote == {"error": {"code": "nope", "message": "no"}}


def test_a_wait_of_a_day_is_kept_and_the_create_is_not_repeated(wire: Wire):
    wire.will(Says(429, {"error": {"code": "429", "message": "slow"}}, headers={"Retry-After": "86400"}))
    with pytest.raises(Throttled) as caught:
        plane(wire).create_job(NEW_JOB)
    assert caught.value.retry_after_seconds == 86400
    assert wire.methods == ["POST"]


def test_a_create_that_never_left_is_unavailable_and_not_in_doubt():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{taken.getsockname()[1]}"  # bound, but nobody listens
        with pytest.raises(Unavailable) as caught:
            plane(Wire(origin)).create_job(NEW_JOB)
    assert caught.value.code == "azure_unreachable"


def test_a_create_towards_a_private_address_is_refused_before_anything_is_sent(wire: Wire):
    guarded = OpenAIDataPlane(target(wire), guard=azure_guard(), tokens=None, timeout_seconds=1)
    with pytest.raises(Refused) as caught:
        guarded.create_job(NEW_JOB)
    assert caught.value.code == "azure_address_blocked"
    assert wire.asked == []


@pytest.mark.parametrize("location", ["http://169.254.169.254/metadata", "/openai/v1/elsewhere"])
def test_a_redirect_is_refused_and_never_followed(wire: Wire, location: str):
    wire.will(Says(307, b"", headers={"Location": location}))
    with pytest.raises(Refused) as caught:
        plane(wire).create_job(NEW_JOB)
    assert caught.value.code == "azure_unexpected_redirect"
    assert wire.methods == ["POST"]


@pytest.mark.parametrize(
    "lost", [Says(500), Says(reset_before_answer=True), Says(hang=True), Says(200, b"garbage")]
)
def test_a_lost_read_is_unavailable_and_was_asked_once(wire: Wire, lost: Says):
    wire.will(lost)
    with pytest.raises(Unavailable):
        plane(wire).get_job("ftjob-1")
    assert wire.methods == ["GET"]


def test_a_huge_answer_is_not_held(wire: Wire):
    wire.will(Says(200, b" " * 5_000_000))
    client = guarded_client(azure_guard([wire.origin]), timeout_seconds=5, max_response_bytes=1_000_000)
    with client, pytest.raises(httpx2.ReadError, match="longer than 1,000,000 bytes"):
        client.get(wire.origin + "/x")


def test_a_file_longer_than_the_caller_wants_is_not_held(wire: Wire):
    wire.will(Says(200, b"x" * 100_000))
    with pytest.raises(Refused) as caught:
        plane(wire).file_content("file-1", max_bytes=50_000)
    assert caught.value.code == "azure_file_too_large"
    assert plane(wire).file_content("file-1", max_bytes=100_000) == b"x" * 100_000


def test_a_file_cut_short_is_unavailable(wire: Wire):
    wire.will(Says(200, b"x" * 100, declared_length=1000))
    with pytest.raises(Unavailable):
        plane(wire).file_content("file-1", max_bytes=10_000)


@pytest.mark.parametrize("style", list(ApiStyle))
def test_the_key_travels_as_api_key_only_and_appears_in_no_error(
    wire: Wire, style: ApiStyle, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-someone")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-of-someone")
    wire.will(Says(401, echo_request=True))
    data_plane = plane(wire, style)
    with pytest.raises(Unauthorised) as caught:
        data_plane.get_job("ftjob-1")
    headers = wire.asked[0].headers
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    assert "openai-organization" not in headers
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__
    assert "credential removed" in str(caught.value.remote)
    assert KEY not in repr(data_plane) + repr(target(wire))


def test_the_arm_token_appears_in_no_error(wire: Wire):
    wire.will(Says(403, echo_request=True))
    with pytest.raises(Unauthorised) as caught:
        control(wire).list_deployments()
    assert "canary-token-77" not in f"{caught.value!r} {vars(caught.value)}"
    assert wire.asked[0].headers["authorization"] == "Bearer canary-token-77"


def test_a_v1_job_carries_the_training_type_and_only_what_was_chosen(wire: Wire):
    wire.will(Says(200, JOB))
    assert plane(wire).create_job(NEW_JOB).remote_id == "ftjob-1"
    assert wire.asked[0].path == "/openai/v1/fine_tuning/jobs"
    assert wire.asked[0].json() == {
        "model": "gpt-4.1-2025-04-14",
        "training_file": "file-1",
        "suffix": "travel",
        "seed": 7,
        "trainingType": "developerTier",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        "metadata": {"op_key": "abc"},
    }


def test_a_dated_job_has_numbers_beside_the_method_and_no_metadata(wire: Wire):
    wire.will(Says(201, JOB))
    plane(wire, ApiStyle.DATED).create_job(NEW_JOB)
    assert wire.asked[0].path == "/openai/fine_tuning/jobs?api-version=2025-04-01-preview"
    assert wire.asked[0].json() == {
        "model": "gpt-4.1-2025-04-14",
        "training_file": "file-1",
        "suffix": "travel",
        "seed": 7,
        "trainingType": "developerTier",
        "method": {"type": "supervised"},
        "hyperparameters": {"n_epochs": 2},
    }


def test_a_dated_version_without_methods_trains_nothing_but_supervised(wire: Wire):
    wire.will(Says(201, JOB))
    old = OpenAIDataPlane(
        target(wire, ApiStyle.DATED, api_version="2024-10-21"), guard=azure_guard([wire.origin]), tokens=None
    )
    old.create_job(NEW_JOB)
    assert "method" not in wire.asked[0].json()
    with pytest.raises(Refused) as caught:
        old.create_job(
            NewRemoteJob(
                model="gpt-4.1-2025-04-14",
                training_file="file-1",
                validation_file=None,
                method="dpo",
                hyperparameters={},
                training_type="Standard",
                suffix=None,
                seed=None,
                metadata={},
            )
        )
    assert caught.value.code == "azure_method_unsupported"
    assert len(wire.asked) == 1


def test_a_large_file_goes_up_in_parts_on_the_dated_form_and_is_put_together_once(wire: Wire):
    content = bytes(range(256)) * 10
    wire.will(
        Says(200, {"id": "upload-1", "status": "pending"}),
        Says(200, {"id": "part/1=="}),
        Says(200, {"id": "part/2=="}),
        Says(200, {"id": "part/3=="}),
        Says(200, {"id": "upload-1", "status": "completed", "file": {"id": "file-9", "status": "pending"}}),
    )
    large = OpenAIDataPlane(
        target(wire), guard=azure_guard([wire.origin]), tokens=None, part_bytes=1000, parts_from_bytes=2000
    )
    made = large.upload_file(filename="big.jsonl", content=io.BytesIO(content), purpose="fine-tune")
    assert (made.remote_id, made.status) == ("file-9", "pending")
    assert [asked.path.split("?")[0] for asked in wire.asked] == [
        "/openai/uploads",
        *["/openai/uploads/upload-1/parts"] * 3,
        "/openai/uploads/upload-1/complete",
    ]
    assert all("api-version=2024-10-21" in asked.path for asked in wire.asked)
    assert wire.asked[0].json()["bytes"] == len(content)
    assert [content[n : n + 1000] in wire.asked[1 + n // 1000].body for n in (0, 1000, 2000)] == [True] * 3
    assert wire.asked[4].json() == {"part_ids": ["part/1==", "part/2==", "part/3=="]}


def test_a_part_that_is_lost_leaves_no_doubt_but_a_lost_completion_does(wire: Wire):
    def upload() -> None:
        OpenAIDataPlane(
            target(wire), guard=azure_guard([wire.origin]), tokens=None, part_bytes=1000, parts_from_bytes=500
        ).upload_file(filename="big.jsonl", content=io.BytesIO(b"x" * 600), purpose="fine-tune")

    started = Says(200, {"id": "upload-1"})
    wire.will(started, Says(500))
    with pytest.raises(Unavailable):
        upload()
    wire.will(started, Says(200, {"id": "part-1"}), Says(500))
    with pytest.raises(OutcomeUnknown):
        upload()


def test_a_file_travels_whole_with_its_name_and_purpose(wire: Wire):
    wire.will(Says(201, {"id": "file-1", "status": "pending", "filename": "ü.jsonl", "bytes": None}))
    content = io.BytesIO(b'{"a":1}\n' * 1000)
    content.seek(500)
    made = plane(wire).upload_file(filename="train.jsonl", content=content, purpose="fine-tune")
    body = wire.asked[0].body
    assert b'{"a":1}\n' * 1000 in body
    assert b'filename="train.jsonl"' in body
    assert b"fine-tune" in body
    assert (made.status, made.bytes) == ("pending", None)


def test_pages_are_read_to_the_end_with_the_last_id(wire: Wire):
    wire.will(
        Says(200, {"data": [{"id": "ftjob-3"}, {"id": "ftjob-2"}], "has_more": True}),
        Says(200, {"data": [{"id": "ftjob-1", "status": "never seen"}], "has_more": False}),
    )
    pages = list(plane(wire).list_jobs(page_size=2))
    assert [[job.remote_id for job in page] for page in pages] == [["ftjob-3", "ftjob-2"], ["ftjob-1"]]
    assert pages[1][0].status == "never seen"
    assert [asked.path.split("?")[1] for asked in wire.asked] == ["limit=2", "limit=2&after=ftjob-2"]


@pytest.mark.parametrize(
    "page",
    [
        {"data": [{"id": "ftjob-1"}], "has_more": True},
        {"data": [], "has_more": True},
        {"data": [{"status": "pending"}], "has_more": False},
        {"data": ["ftjob-1"], "has_more": False},
        {"object": "list"},
    ],
    ids=["the same page for ever", "an empty page with more", "no id", "not an object", "no list"],
)
def test_a_list_that_cannot_be_trusted_to_be_whole_is_unavailable(wire: Wire, page: dict[str, object]):
    wire.will(Says(200, page))
    with pytest.raises(Unavailable):
        list(plane(wire).list_jobs())
    assert len(wire.asked) <= 2


def test_events_stop_at_the_first_known_one_and_come_oldest_first(wire: Wire):
    def event(number: int) -> dict[str, object]:
        return {"id": f"ev-{number}", "created_at": 1000 + number // 2, "level": "warn", "message": f"m{number}"}

    wire.will(
        Says(200, {"data": [event(9), event(8), event(7)], "has_more": True}),
        Says(200, {"data": [event(6), event(5), event(4)], "has_more": True}),
    )
    fresh = plane(wire).job_events("ftjob-1", known=frozenset({"ev-5", "ev-4"}))
    assert [found.remote_id for found in fresh] == ["ev-6", "ev-7", "ev-8", "ev-9"]
    assert {found.level for found in fresh} == {"warning"}
    assert len(wire.asked) == 2


def test_deleting_a_file_that_is_gone_is_success(wire: Wire):
    wire.will(Says(404, {"error": {"code": "notFound", "message": "gone"}}))
    plane(wire).delete_file("file-1")


def test_an_id_cannot_climb_out_of_its_place_in_the_path(wire: Wire):
    wire.will(Says(200, JOB))
    plane(wire).get_job("../../files/x?y=1#z")
    assert wire.asked[0].path == "/openai/v1/fine_tuning/jobs/..%2F..%2Ffiles%2Fx%3Fy%3D1%23z"
    with pytest.raises(ValueError, match="not an id"):
        plane(wire).get_job("..")


ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
}


def test_chat_on_the_dated_form_names_the_deployment_in_the_path(wire: Wire):
    wire.will(Says(200, ANSWER))
    answer = plane(wire, ApiStyle.DATED).chat(
        deployment="ft-1", messages=[{"role": "user", "content": "Hi"}], max_tokens=5, temperature=0
    )
    assert wire.asked[0].path == "/openai/deployments/ft-1/chat/completions?api-version=2025-04-01-preview"
    assert (answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == (
        "Hello",
        "stop",
        9,
        2,
    )
    assert answer.latency_seconds > 0


def test_a_parameter_that_a_model_refuses_is_renamed_or_left_out_and_remembered(wire: Wire):
    def no(parameter: str, words: str) -> Says:
        return Says(400, {"error": {"code": "unsupported_parameter", "param": parameter, "message": words}})

    wire.will(
        no(
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        ),
        no("temperature", "Unsupported value: 'temperature' does not support 0 with this model."),
        Says(200, ANSWER),
    )
    data_plane = plane(wire)
    ask = {"deployment": "o4", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "temperature": 0.0}
    assert data_plane.chat(**ask).text == "Hello"  # type: ignore[arg-type]
    assert wire.asked[2].json() == {"model": "o4", "messages": ask["messages"], "max_completion_tokens": 5}
    data_plane.chat(**ask)  # type: ignore[arg-type]
    assert len(wire.asked) == 4


def refusal_of(parameter: str) -> Says:
    words = f"Unsupported parameter: '{parameter}' is not supported with this model."
    return Says(400, {"error": {"code": "unsupported_parameter", "param": parameter, "message": words}})


def test_a_deployment_that_came_back_with_another_model_is_asked_with_a_limit_again(wire: Wire):
    data_plane = plane(wire)
    wire.will(refusal_of("max_tokens"), Says(200, ANSWER))
    data_plane.chat(deployment="d", messages=[], max_tokens=5)
    wire.will(refusal_of("max_completion_tokens"), Says(200, ANSWER))
    data_plane.chat(deployment="d", messages=[], max_tokens=5)
    assert [asked.json() for asked in wire.asked[-2:]] == [
        {"model": "d", "messages": [], "max_completion_tokens": 5},
        {"model": "d", "messages": [], "max_tokens": 5},
    ]


def test_a_model_that_takes_no_limit_by_any_name_is_not_asked_without_one(wire: Wire):
    wire.will(refusal_of("max_tokens"), refusal_of("max_completion_tokens"))
    with pytest.raises(Refused):
        plane(wire).chat(deployment="d", messages=[], max_tokens=5)
    assert len(wire.asked) == 2


def test_a_model_that_refuses_for_ever_is_not_asked_for_ever(wire: Wire):
    wire.will(refusal_of("temperature"))
    with pytest.raises(Refused):
        plane(wire).chat(deployment="d", messages=[], temperature=1)
    assert len(wire.asked) == 2


def test_another_refusal_of_chat_is_told_at_once(wire: Wire):
    wire.will(
        Says(
            400,
            {
                "error": {
                    "code": "content_filter",
                    "message": "filtered",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
        )
    )
    with pytest.raises(Refused) as caught:
        plane(wire).chat(deployment="d", messages=[], max_tokens=5)
    assert caught.value.code == "azure_content_filtered"
    assert len(wire.asked) == 1


def sse(*chunks: str) -> bytes:
    return "".join(f"data: {chunk}\n\n" for chunk in chunks).encode()


def test_a_streamed_answer_yields_azures_chunks_verbatim(wire: Wire):
    wire.will(
        Says(
            200,
            sse('{"choices":[],"prompt_filter_results":[]}', '{"choices":[{"delta":{"content":"Hé"}}]}', "[DONE]"),
            headers={"Content-Type": "text/event-stream; charset=utf-8"},
        )
    )
    with plane(wire).chat_stream(deployment="d", messages=[], max_tokens=5) as chunks:
        assert list(chunks) == [
            {"choices": [], "prompt_filter_results": []},
            {"choices": [{"delta": {"content": "Hé"}}]},
        ]
    assert wire.asked[0].json()["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (sse('{"choices":[{"delta":{"content":"H"}}]}'), "azure_stream_broken"),
        (sse('{"error":{"message":"late failure"}}'), "azure_stream_failed"),
        (sse("{not json"), "azure_stream_failed"),
    ],
)
def test_a_stream_that_does_not_end_well_is_unavailable(wire: Wire, body: bytes, code: str):
    wire.will(Says(200, body, headers={"Content-Type": "text/event-stream"}))
    with plane(wire).chat_stream(deployment="d", messages=[]) as chunks, pytest.raises(Unavailable) as caught:
        list(chunks)
    assert caught.value.code == code


def test_a_refused_stream_raises_before_the_first_chunk(wire: Wire):
    wire.will(
        Says(
            404,
            {
                "error": {
                    "code": "DeploymentNotFound",
                    "message": "The API deployment for this resource does not exist.",
                }
            },
        )
    )
    with pytest.raises(NotThere) as caught, plane(wire).chat_stream(deployment="d", messages=[]):
        pass
    assert caught.value.code == "azure_deployment_not_found"


# ARM

DEPLOYMENT = {
    "name": "ft-1",
    "properties": {
        "provisioningState": "Accepted",
        "model": {"name": "m.ft-1", "format": "OpenAI", "version": "1"},
    },
    "sku": {"name": "GlobalStandard", "capacity": 50},
    "tags": {"op_key": "abc"},
}
NEW_DEPLOYMENT = NewRemoteDeployment(
    name="ft-1",
    model_format="OpenAI",
    model_name="m.ft-1",
    model_version="1",
    sku_name="GlobalStandard",
    capacity=50,
    tags={"op_key": "abc"},
)
BASE = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acct"


def test_a_deployment_is_put_by_name_and_its_operation_is_kept(wire: Wire):
    operation = f"{wire.origin}/operations/1?api-version=2024-10-01"
    wire.will(Says(201, DEPLOYMENT, headers={"Azure-AsyncOperation": operation, "Retry-After": "5"}))
    made = control(wire).put_deployment(NEW_DEPLOYMENT)
    assert wire.asked[0].path == f"{BASE}/deployments/ft-1?api-version=2024-10-01"
    assert wire.asked[0].json() == {
        "sku": {"name": "GlobalStandard", "capacity": 50},
        "properties": {
            "model": {"format": "OpenAI", "name": "m.ft-1", "version": "1"},
            "versionUpgradeOption": "NoAutoUpgrade",
        },
        "tags": {"op_key": "abc"},
    }
    assert (made.provisioning_state, made.operation_url, made.retry_after_seconds) == ("Accepted", operation, 5.0)
    assert (made.model_name, made.sku_name, made.capacity, made.tags) == (
        "m.ft-1",
        "GlobalStandard",
        50,
        {"op_key": "abc"},
    )


@pytest.mark.parametrize(
    ("says", "error", "code"),
    [
        (
            Says(
                409,
                {
                    "error": {
                        "code": "RequestConflict",
                        "message": "Another operation is being performed on the parent resource '/x'.",
                    }
                },
            ),
            Busy,
            "azure_busy",
        ),
        (Says(400, {"error": {"code": "InsufficientQuota", "message": "q"}}), Refused, "azure_insufficient_quota"),
        (Says(429, b"", headers={"Retry-After": "17"}), Throttled, "azure_throttled"),
        (Says(500, b""), Unavailable, "azure_internal_error"),
        (Says(hang=True), Unavailable, "azure_timeout"),
        (Says(409, {"error": {"code": "ScopeLocked", "message": "locked"}}), Refused, "azure_resource_locked"),
    ],
)
def test_a_put_that_fails_is_sent_once_and_named(wire: Wire, says: Says, error: type[AzureError], code: str):
    wire.will(says)
    with pytest.raises(error) as caught:
        control(wire).put_deployment(NEW_DEPLOYMENT)
    assert caught.value.code == code
    assert wire.methods == ["PUT"]


def test_a_missing_deployment_is_none_but_a_missing_account_is_an_error(wire: Wire):
    wire.will(
        Says(
            404,
            {
                "error": {
                    "code": "ResourceNotFound",
                    "message": "The Resource 'Microsoft.CognitiveServices/accounts/acct/deployments/ft-1' under resource group 'rg' was not found.",
                }
            },
        )
    )
    assert control(wire).get_deployment("ft-1") is None
    control(wire).delete_deployment("ft-1")
    wire.will(
        Says(
            404,
            {
                "error": {
                    "code": "ResourceNotFound",
                    "message": "The Resource 'Microsoft.CognitiveServices/accounts/acct' under resource group 'rg' was not found.",
                }
            },
        )
    )
    with pytest.raises(NotThere):
        control(wire).get_deployment("ft-1")
    wire.will(Says(404, b"<html>nginx</html>"))
    with pytest.raises(Unavailable):
        control(wire).get_deployment("ft-1")


def test_a_change_that_is_accepted_without_a_body_names_its_operation(wire: Wire):
    wire.will(Says(202, b"", headers={"Location": f"{wire.origin}/op/2", "Retry-After": "3"}))
    changed = control(wire).update_deployment("ft-1", sku_name="Standard", capacity=2, tags={"a": "b"})
    assert wire.asked[0].json() == {"sku": {"name": "Standard", "capacity": 2}, "tags": {"a": "b"}}
    assert (changed.name, changed.provisioning_state, changed.operation_url) == (
        "ft-1",
        "Accepted",
        f"{wire.origin}/op/2",
    )


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_deletion_may_be_answered_in_three_ways(wire: Wire, status: int):
    wire.will(Says(status, b""))
    control(wire).delete_deployment("ft-1")
    assert wire.methods == ["DELETE"]


def test_an_operation_is_read_only_on_the_arm_endpoint(wire: Wire):
    wire.will(Says(200, {"status": "Failed", "error": {"code": "X", "message": "y"}}, headers={"Retry-After": "9"}))
    operation = control(wire).get_operation(f"{wire.origin}/op/1?t=2")
    assert (operation.status, operation.error, operation.retry_after_seconds) == (
        "Failed",
        {"code": "X", "message": "y"},
        9.0,
    )
    for foreign in (
        "https://evil.example/op",
        wire.origin.replace("http", "https") + "/op",
        "/op/1",
        "http://127.0.0.1/op",
    ):
        with pytest.raises(Refused) as caught:
            control(wire).get_operation(foreign)
        assert caught.value.code == "azure_foreign_url"
    assert len(wire.asked) == 1


def test_arm_pages_are_followed_on_the_same_origin_only(wire: Wire):
    wire.will(
        Says(200, {"value": [DEPLOYMENT], "nextLink": f"{wire.origin}{BASE}/deployments?skip=1"}),
        Says(200, {"value": [DEPLOYMENT | {"name": "ft-2"}]}),
    )
    assert [found.name for found in control(wire).list_deployments()] == ["ft-1", "ft-2"]
    wire.will(Says(200, {"value": [], "nextLink": "https://evil.example/steal"}))
    with pytest.raises(Unavailable):
        control(wire).list_deployments()


def test_usages_are_the_regions_when_the_region_is_known(wire: Wire):
    line = {"name": {"value": "OpenAI.Standard.gpt-4.1"}, "currentValue": 240.0, "limit": 300.0, "unit": "Count"}
    wire.will(Says(200, {"value": [line, {"name": None}]}))
    arm = ArmControlPlane(
        target(wire, region="swedencentral"), guard=azure_guard([wire.origin]), tokens=FixedToken("t")
    )
    [usage] = arm.list_usages()
    assert (usage.name, usage.current, usage.limit, usage.unit) == (
        "OpenAI.Standard.gpt-4.1",
        240.0,
        300.0,
        "Count",
    )
    assert "/locations/swedencentral/usages" in wire.asked[0].path
    control(wire).list_usages()
    assert wire.asked[1].path.startswith(f"{BASE}/usages")


def test_a_connection_without_arm_ids_says_which_are_missing(wire: Wire):
    with pytest.raises(Refused, match="resource_group, account"):
        ArmControlPlane(
            target(wire, resource_group=None, account=None), guard=azure_guard(), tokens=FixedToken("t")
        )
