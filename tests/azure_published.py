"""What Microsoft published of Azure's wire, as schemas that judge answers; and where real answers leave them.

The data plane is judged by the two specifications under `data/azure-spec`, the control plane by the models of
azure-mgmt-cognitiveservices, each with a table of deviations. No code of ours takes part.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from azure.mgmt.cognitiveservices import models as sdk
from jsonschema import Draft202012Validator

DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Deviation:
    """A place where real answers do not follow the schema: the new value of one keyword, and who says so."""

    schema: str
    path: str
    value: Any
    source: str


V1_DEVIATIONS = (
    Deviation(
        "OpenAI.FineTuningJob",
        "required",
        ["id", "object", "created_at", "status", "model", "training_file", "hyperparameters", "seed"],
        "Microsoft's notebooks, 2025-05 … 2025-12: members without a value are absent, not null",
    ),
    Deviation(
        "OpenAI.FineTuningJob",
        "properties/status/enum",
        ["pending", "queued", "running", "pausing", "paused", "resuming", "succeeded", "failed", "cancelled"],
        "Microsoft's notebooks, 2025-09 and 2025-12: a new job is `pending`; 2025-04-01-preview has the paused states",
    ),
    Deviation(
        "OpenAI.FineTuningJob",
        "properties/error/required",
        ["code", "message"],
        "2025-04-01-preview, FineTuningJobError: every member is optional",
    ),
    Deviation(
        "AzureContentFilterResultForPrompt",
        "properties/content_filter_results/required",
        ["jailbreak"],
        "chat answers of the service carry no `indirect_attack` unless the filter is switched on",
    ),
    Deviation(
        "AzureCreateChatCompletionStreamResponse",
        "properties/object/enum",
        ["chat.completion.chunk", ""],
        "streams begin with a chunk of empty members that carries prompt_filter_results",
    ),
)

DATED_DEVIATIONS = (
    Deviation(
        "FineTuningMethodType",
        "enum",
        ["dpo", "supervised", "reinforcement"],
        "Microsoft's samples send `reinforcement` to this version",
    ),
)

ARM_DEVIATIONS = (
    Deviation(
        "DeploymentProperties",
        "properties/deploymentState",
        {"enum": ["Running", "Paused"]},
        "ARM Deployment.tsp and the GetDeployment example of 2025-10-01-preview; the SDK is generated from an older one",
    ),
    Deviation(
        "CallRateLimit",
        "properties/key",
        {"enum": ["request", "token"]},
        "an item of ARM's list of models in a public issue, 2023-08: the rate limits of a SKU say what they limit",
    ),
)


def _json_schema(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema."""
    if isinstance(node, list):
        return [_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: _json_schema(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


def _deviate(schemas: dict[str, Any], deviations: tuple[Deviation, ...]) -> None:
    for deviation in deviations:
        node = schemas[deviation.schema]
        *path, last = deviation.path.split("/")
        for step in path:
            node = node[step]
        assert node.get(last) != deviation.value, f"{deviation.schema}/{deviation.path} is no deviation any more"
        node[last] = deviation.value


@cache
def _published(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DATA / "azure-spec" / name).read_text())
    if name.startswith("v1"):
        _deviate(document["components"]["schemas"], V1_DEVIATIONS)
    else:
        _deviate(document["definitions"], DATED_DEVIATIONS)
    plain: dict[str, Any] = _json_schema(document)
    return plain


@cache
def _validator(form: str, name: str) -> Draft202012Validator:
    if form == "v1":
        return Draft202012Validator({**_published("v1-schemas.json"), "$ref": f"#/components/schemas/{name}"})
    if form == "dated":
        document = _published("authoring-2025-04-01-preview.json")
        return Draft202012Validator({**document, "$ref": f"#/definitions/{name}"})
    return Draft202012Validator({"$defs": _arm_schemas(), "$ref": f"#/$defs/{name}"})


def v1_valid(name: str, body: object) -> None:
    _validator("v1", name).validate(body)


def dated_valid(name: str, body: object) -> None:
    _validator("dated", name).validate(body)


def arm_valid(name: str, body: object) -> None:
    """Judged closed: a member the SDK's model does not know is wrong."""
    _validator("arm", name).validate(body)


# The SDK's models as schemas

_PLAIN = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "iso-8601": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
    "object": {},
}
_ROOTS = (
    "Account",
    "AccountModelListResult",
    "ApiKeys",
    "Deployment",
    "DeploymentListResult",
    "DeploymentSkuListResult",
    "ErrorResponse",
    "ModelCapacityListResult",
    "ModelListResult",
    "UsageListResult",
)

_ENUMERATIONS = (
    ("DeploymentProperties", "provisioningState", sdk.DeploymentProvisioningState),
    ("DeploymentProperties", "versionUpgradeOption", sdk.DeploymentModelVersionUpgradeOption),
    ("AccountModel", "lifecycleStatus", sdk.ModelLifecycleStatus),
    ("Usage", "unit", sdk.UnitType),
)
"""Members the SDK's models only call strings; these enumerations of it are their words."""


def _typed(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The schema of one of the SDK's type words; models met on the way are added to `found`."""
    if name in _PLAIN:
        return _PLAIN[name]
    if name.startswith("["):
        return {"type": "array", "items": _typed(name[1:-1], found)}
    if name.startswith("{"):
        return {"type": "object", "additionalProperties": _typed(name[1:-1], found)}
    kind = getattr(sdk, name)
    if name not in found:
        found[name] = {}
        members = {
            entry["key"].replace("\\.", "."): _typed(entry["type"], found) for entry in kind._attribute_map.values()
        }
        found[name] = {"type": "object", "properties": members, "additionalProperties": False}
    return {"$ref": f"#/$defs/{name}"}


@cache
def _arm_schemas() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _ROOTS:
        _typed(name, found)
    for model, member, words in _ENUMERATIONS:
        found[model]["properties"][member] = {"enum": [word.value for word in words]}
    _deviate(found, ARM_DEVIATIONS)
    found["Operation"] = {
        "type": "object",
        "required": ["status"],
        "properties": {
            "id": {"type": "string"},
            "name": {"type": "string"},
            "status": {"type": "string"},
            "startTime": _PLAIN["iso-8601"],
            "endTime": _PLAIN["iso-8601"],
            "error": {"$ref": "#/$defs/ErrorDetail"},
        },
    }
    return found


# Which schema judges which answer

_DATA_PLANE: tuple[tuple[str, str, str, str], ...] = (
    ("POST", r"/files(/import)?", "AzureOpenAIFile", "File"),
    ("GET", r"/files", "AzureListFilesResponse", "FileList"),
    ("GET", r"/files/[^/]+", "AzureOpenAIFile", "File"),
    ("DELETE", r"/files/[^/]+", "OpenAI.DeleteFileResponse", "FileDelete"),
    ("POST", r"/uploads(/[^/]+/(complete|cancel))?", "", "UploadResource"),
    ("POST", r"/uploads/[^/]+/parts", "", "UploadPartResource"),
    ("POST", r"/fine_tuning/jobs(/[^/]+/(cancel|pause|resume))?", "OpenAI.FineTuningJob", "FineTuningJob"),
    ("GET", r"/fine_tuning/jobs", "OpenAI.ListPaginatedFineTuningJobsResponse", "FineTuningJobList"),
    ("GET", r"/fine_tuning/jobs/[^/]+", "OpenAI.FineTuningJob", "FineTuningJob"),
    (
        "GET",
        r"/fine_tuning/jobs/[^/]+/events",
        "OpenAI.ListFineTuningJobEventsResponse",
        "FineTuningJobEventList",
    ),
    (
        "GET",
        r"/fine_tuning/jobs/[^/]+/checkpoints",
        "OpenAI.ListFineTuningJobCheckpointsResponse",
        "FineTuningJobCheckpointList",
    ),
    ("GET", r"/models", "OpenAI.ListModelsResponse", "ModelList"),
    ("GET", r"/models/[^/]+", "OpenAI.Model", "Model"),
)
_CHAT = r"(/deployments/[^/]+)?/chat/completions"
_CONTROL_PLANE: tuple[tuple[str, str, str], ...] = (
    ("GET", r"/accounts/[^/]+", "Account"),
    ("GET", r"/accounts/[^/]+/deployments", "DeploymentListResult"),
    ("PUT", r"/accounts/[^/]+/deployments/[^/]+", "Deployment"),
    ("GET", r"/accounts/[^/]+/deployments/[^/]+", "Deployment"),
    ("POST", r"/accounts/[^/]+/deployments/[^/]+/(pause|resume)", "Deployment"),
    ("GET", r"/accounts/[^/]+/deployments/[^/]+/skus", "DeploymentSkuListResult"),
    ("GET", r"/accounts/[^/]+/models", "AccountModelListResult"),
    ("GET", r"/locations/[^/]+/models", "ModelListResult"),
    ("GET", r"/(accounts|locations)/[^/]+/usages", "UsageListResult"),
    ("GET", r"(/locations/[^/]+)?/modelCapacities", "ModelCapacityListResult"),
    ("GET", r"/locations/[^/]+/operationStatuses/[^/]+", "Operation"),
    ("GET", r"/locations/[^/]+/operationResults/[^/]+", "Deployment"),
    ("POST", r"/accounts/[^/]+/listKeys", "ApiKeys"),
)


def judge(method: str, path: str, status: int, content: bytes, content_type: str) -> str:
    """Validate one answer of either plane by what was published of it.

    Returns: by which schema it was judged; empty for answers without JSON.

    Raises:
        ValidationError: it is not what was published.
        AssertionError: nothing was published for such a call, or the answer is no JSON.
    """
    if status in {202, 204} or "event-stream" in content_type or (status < 400 and path.endswith("/content")):
        return ""
    if status >= 400 and not content:  # some of Azure's errors have no word
        return ""
    form, place = _place(path)
    if status >= 400:
        schema = (form, _ERRORS[form])
    elif method == "POST" and re.fullmatch(_CHAT, place):
        schema = ("v1", "AzureCreateChatCompletionResponse")  # the dated form's own is not among the files
    else:
        schema = (form, _success_name(form, method, place))
    assert schema[1], f"nothing is published for {method} {path}"
    body = json.loads(content)
    if status >= 400 and form == "dated":
        body["error"]["code"] = (
            "notFound"  # an open enumeration: codes of the gateway and of inference are not in it
        )
    _validator(*schema).validate(body)
    return schema[1]


_ERRORS = {"v1": "AzureErrorResponse", "dated": "ErrorResponse", "arm": "ErrorResponse"}


def _place(path: str) -> tuple[str, str]:
    if path.startswith("/subscriptions/"):
        return "arm", path.partition("/providers/Microsoft.CognitiveServices")[2]
    before, found, after = path.partition("/openai/v1")
    return ("v1", after) if found and not before.endswith("openai") else ("dated", path.partition("/openai")[2])


def _success_name(form: str, method: str, place: str) -> str:
    if form == "arm":
        return next((name for verb, at, name in _CONTROL_PLANE if verb == method and re.fullmatch(at, place)), "")
    for verb, at, v1, dated in _DATA_PLANE:
        if verb == method and re.fullmatch(at, place):
            return v1 if form == "v1" else dated
    return ""


def judge_answer(answer: httpx2.Response) -> None:
    """`judge` as a hook of an HTTP client; levers and calls outside Azure's two planes are not judged."""
    path = answer.request.url.path
    if "/openai" in path or path.startswith("/subscriptions/"):
        answer.read()
        kind = answer.headers.get("content-type", "")
        judge(answer.request.method, path, answer.status_code, answer.content, kind)
