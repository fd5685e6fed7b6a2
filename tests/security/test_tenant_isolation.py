"""Every route with somebody else's ids, in paths, bodies, queries and cursors; every route with too weak a key.

What is tried is read from the OpenAPI document. A route, a body or a reference that the tables below do not know
fails the test, so a new route comes with its rows.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
import pytest
from furnished import CONNECTION, DATASET, DEPLOYMENT, TRIGGER, House, furnished
from lives import Emulator
from servers import Postgres
from sqlalchemy import text

from app.audit.service import AuditService
from app.connections.schemas import ConnectionCreate
from app.connections.service import ConnectionService
from app.datasets.schemas import DatasetCreate
from app.datasets.service import DatasetService
from app.deployments.steps import DeploymentSteps
from app.exports.bundle import pack
from app.exports.record import RUN, Record, document
from app.kit.caller import GRANTABLE, SCOPES, covers
from app.kit.ids import new_id
from app.main import AUDIT
from app.tables import Base
from app.upkeep.steps import SweepSteps
from app.workbench import INSTALLATION

BUNDLE: Final = b"".join(
    pack(
        {
            "a-run": Record(
                {
                    RUN: document(
                        {
                            "origin": "openai",
                            "id": "ftjob-1",
                            "name": "tours",
                            "status": "succeeded",
                            "base_model": "gpt-4o-mini",
                            "method": "supervised",
                        }
                    )
                }
            )
        }
    )
)
VERBS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

# ── tables: one row for every operation ─────────────────────────────────────

OPEN: Final = {"getHealth", "getReadiness", "getMetrics"}
"""For machines that watch; no key, nobody's data."""
SIGNED: Final = {"receiveMessage"}
"""No key: the message carries a signature, see `test_hooks_refuse_strangers.py`."""
PUBLIC: Final = {"getBaseModel"}
"""Its path names a thing of the catalogue, which is the same for all."""

NEEDS: Final = {
    "getInstallation": "operator",
    "putInstallation": "operator",
    "createProject": "operator",
    "archiveProject": "operator",
    "listProjects": "any key",
    "getProject": "any key",
    "updateProject": "admin",
    "createApiKey": "admin",
    "listApiKeys": "admin",
    "revokeApiKey": "admin",
    "getCosts": "costs:read",
    "getBudget": "costs:read",
    "putBudget": "costs:write",
    "listEvents": "events:read",
    "listAuditEvents": "audit:read",
    "createConnection": "connections:write",
    "listConnections": "connections:read",
    "getConnection": "connections:read",
    "updateConnection": "connections:write",
    "archiveConnection": "connections:write",
    "checkConnection": "connections:write",
    "listRemoteModels": "connections:read",
    "getQuota": "connections:read",
    "createDataset": "datasets:write",
    "listDatasets": "datasets:read",
    "compareDatasets": "datasets:read",
    "getDataset": "datasets:read",
    "updateDataset": "datasets:write",
    "archiveDataset": "datasets:write",
    "putContent": "datasets:write",
    "createVersion": "datasets:write",
    "beginUpload": "datasets:write",
    "getUpload": "datasets:read",
    "putPart": "datasets:write",
    "completeUpload": "datasets:write",
    "cancelUpload": "datasets:write",
    "listVersions": "datasets:read",
    "getVersion": "datasets:read",
    "listFindings": "datasets:read",
    "previewVersion": "datasets:read",
    "getStats": "datasets:read",
    "getContent": "datasets:read",
    "transformVersion": "datasets:write",
    "listFetches": "datasets:read",
    "getFetch": "datasets:read",
    "cancelFetch": "datasets:write",
    "retryFetch": "datasets:write",
    "listTransforms": "datasets:read",
    "getTransform": "datasets:read",
    "cancelTransform": "datasets:write",
    "getRowLineage": "datasets:read",
    "listChanges": "datasets:read",
    "estimateVersion": "datasets:read",
    "createJob": "jobs:write",
    "validateGrader": "jobs:read",
    "calibrateGrader": "jobs:write",
    "listHyperparameters": "jobs:read",
    "listJobs": "jobs:read",
    "getJob": "jobs:read",
    "cancelJob": "jobs:write",
    "pauseJob": "jobs:write",
    "resumeJob": "jobs:write",
    "putJobWatch": "jobs:write",
    "getJobProgress": "jobs:read",
    "retryJob": "jobs:write",
    "listJobEvents": "jobs:read",
    "listRemoteJobEvents": "jobs:read",
    "listCheckpoints": "jobs:read",
    "getJobMetrics": "jobs:read",
    "getResults": "jobs:read",
    "getAnalysis": "jobs:read",
    "getReport": "jobs:read",
    "compareJobs": "jobs:read",
    "compareJobsChart": "jobs:read",
    "getChart": "jobs:read",
    "listModels": "jobs:read",
    "getModel": "jobs:read",
    "copyModel": "jobs:write",
    "listModelCopies": "jobs:read",
    "listRetirements": "jobs:read",
    "listBaseModels": "jobs:read",
    "getBaseModel": "jobs:read",
    "createDeployment": "deployments:write",
    "listDeployments": "deployments:read",
    "getDeployment": "deployments:read",
    "updateDeployment": "deployments:write",
    "deleteDeployment": "deployments:write",
    "retryDeployment": "deployments:write",
    "chat": "deployments:write",
    "createComparison": "deployments:write",
    "listComparisons": "deployments:read",
    "getComparison": "deployments:read",
    "retryComparison": "deployments:write",
    "generate": "datasets:write",
    "listGenerations": "datasets:read",
    "getGeneration": "datasets:read",
    "listGenerationRows": "datasets:read",
    "cancelGeneration": "datasets:write",
    "retryGeneration": "datasets:write",
    "getCoverage": "datasets:read",
    "createBaseline": "deployments:write",
    "listBaselines": "deployments:read",
    "getBaseline": "deployments:read",
    "listBaselineAnswers": "deployments:read",
    "cancelBaseline": "deployments:write",
    "retryBaseline": "deployments:write",
    "createSearchIndex": "connections:write",
    "listSearchIndexes": "connections:read",
    "getSearchIndex": "connections:read",
    "archiveSearchIndex": "connections:write",
    "checkSearchIndex": "connections:write",
    "createStudy": "jobs:write",
    "listStudies": "jobs:read",
    "getStudy": "jobs:read",
    "cancelStudy": "jobs:write",
    "retryStudy": "jobs:write",
    "getModelBundle": "jobs:read",
    "getModelCard": "jobs:read",
    "listOpenAiJobs": "jobs:read",
    "getOpenAiJob": "jobs:read",
    "getOpenAiFile": "jobs:read",
    "getModelCardPage": "jobs:read",
    "importBundle": "jobs:write",
    "listRuns": "jobs:read",
    "getRun": "jobs:read",
    "getRunBundle": "jobs:read",
    "getRunCard": "jobs:read",
    "getRunCardPage": "jobs:read",
    "listRemoteJobs": "connections:read",
    "adoptRemoteJob": "jobs:write",
    "listAdoptions": "jobs:read",
    "getAdoption": "jobs:read",
    "listStrays": "connections:read",
    "getStray": "connections:read",
    "adoptStray": "connections:write",
    "removeStray": "connections:write",
    "ignoreStray": "connections:write",
    "getSweep": "connections:read",
    "sweepConnection": "connections:write",
    "createTrigger": "connections:write",
    "listTriggers": "connections:read",
    "getTrigger": "connections:read",
    "rotateTriggerSecret": "connections:write",
    "archiveTrigger": "connections:write",
}

ALSO: Final = {
    "generate": "deployments:write",
    "adoptRemoteJob": "datasets:write",
    "importBundle": "datasets:write",
    "getOpenAiFile": "datasets:read",
    "createBaseline": "datasets:read",
    "listBaselineAnswers": "datasets:read",
}
"""What an operation needs besides, because it reaches into two rooms."""

GRADER: Final = {
    "type": "string_check",
    "name": "alike",
    "input": "{{sample.output_text}}",
    "reference": "{{item.messages[0].content}}",
    "operation": "ne",
}
BODIES: Final[dict[str, dict[str, Any]]] = {
    "createProject": {"name": "another"},
    "updateProject": {"paused": True},
    "createApiKey": {"name": "another", "scopes": ["jobs:read"]},
    "putInstallation": {"halted": True, "reason": "a drill"},
    "putBudget": {"month_cap_usd": "900"},
    "createConnection": {"name": "another", "endpoint": "https://contoso.openai.azure.com"},
    "updateConnection": {"region": "westeurope"},
    "createDataset": {"name": "another"},
    "compareDatasets": {"training": "mine", "validation": "mine"},
    "updateDataset": {"description": "changed"},
    "createVersion": {"source": {"type": "inline", "rows": [{"messages": []}]}},
    "beginUpload": {"bytes": 5},
    "completeUpload": {},
    "transformVersion": {"operations": [{"type": "drop", "lines": [[1, 1]]}]},
    "estimateVersion": {},
    "validateGrader": {"grader": GRADER, "connection": "mine", "version": "mine@1"},
    "calibrateGrader": {
        "connection": "mine",
        "grader": GRADER,
        "version": "mine@1",
        "samples": 1,
        "answers": {"source": "field", "field": "messages"},
    },
    "createJob": {"connection": "mine", "model": "gpt-4.1-mini", "training": "mine@1", "validation": "mine@1"},
    "createDeployment": {"connection": "mine", "model": "gpt-4.1-mini"},
    "updateDeployment": {"capacity": 77},
    "chat": {"messages": [{"role": "user", "content": "Where is Kyoto?"}], "max_tokens": 4},
    "createComparison": {"candidates": [{"deployment": "mine"}], "prompts": ["Where is Kyoto?"]},
    "generate": {
        "deployment": "mine",
        "source": {"type": "paraphrases", "pairs": [{"question": "Where is Kyoto?", "answer": "In Kansai."}]},
    },
    "resumeJob": {"accept_further_cost_usd": "1"},
    "putJobWatch": {"rules": [{"rule": "not_a_number", "action": "cancel"}]},
    "createBaseline": {"deployment": "mine", "validation": "mine@1"},
    "createSearchIndex": {"name": "another", "endpoint": "https://contoso.search.windows.net", "index": "handbook"},
    "checkSearchIndex": {"text": "Kyoto"},
    "createStudy": {
        "job": {"connection": "mine", "model": "gpt-4.1-mini", "training": "mine@1", "validation": "mine@1"},
        "vary": {"n_epochs": [1, 2]},
        "budget_usd": "5",
    },
    "copyModel": {"connection": "mine"},
    "adoptRemoteJob": {},
    "adoptStray": {},
    "createTrigger": {"name": "another", "connection": "mine"},
    "rotateTriggerSecret": {},
}
"""A sound body for every operation that takes JSON."""

ENDED: Final = {"cancelFetch", "cancelGeneration", "cancelBaseline"}
"""What the owner's house has of these has ended: to cancel it is allowed, and changes nothing."""

COMPARES: Final = frozenset({"compareJobs", "compareJobsChart"})
"""They name two jobs, and the house has one: tests/integration/test_understanding_http.py compares one's own."""
QUERIES: Final[dict[str, dict[str, str | list[str]]]] = {
    "listChanges": {"since": "1"},
    "getRowLineage": {"row": "1"},
    **{operation: {"job": ["nothing-here", "nothing-there"]} for operation in sorted(COMPARES)},
}
"""What operations have to be asked with."""

PATHS: Final[dict[str, tuple[str, ...]]] = {
    "project": ("project", "=owner"),
    "key_id": ("key",),
    "connection": ("connection", f"={CONNECTION}"),
    "remote_job": ("remote_job",),
    "run": ("run",),
    "file": ("results",),
    "adoption": ("adoption",),
    "stray": ("stray",),
    "dataset": ("dataset", f"={DATASET}", "version"),
    "number": ("=1",),
    "upload": ("upload",),
    "fetch": ("fetch",),
    "transform": ("transform",),
    "job": ("job",),
    "model": ("model", "=MODEL-NAME"),
    "deployment": ("deployment", f"={DEPLOYMENT}"),
    "comparison": ("comparison",),
    "generation": ("generation",),
    "baseline": ("baseline",),
    "search_index": ("search_index", "=handbook"),
    "study": ("study",),
    "trigger": ("trigger", f"={TRIGGER}"),
}
"""Path parameter → the owner's ids and, with `=`, names that are tried in it."""

REFS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("createApiKey", "project"): ("project", "=owner"),
    ("compareDatasets", "training"): ("version", "dataset", f"={DATASET}", f"={DATASET}@1"),
    ("compareDatasets", "validation"): ("validation", f"={DATASET}@1"),
    ("createJob", "connection"): ("connection", f"={CONNECTION}"),
    ("createJob", "training"): ("version", "dataset", f"={DATASET}", f"={DATASET}@1"),
    ("createJob", "continue_from"): ("model", "job", "=MODEL-NAME", "=MODEL-REMOTE"),
    ("validateGrader", "connection"): ("connection", f"={CONNECTION}"),
    ("validateGrader", "version"): ("version", f"={DATASET}@1"),
    ("calibrateGrader", "connection"): ("connection", f"={CONNECTION}"),
    ("calibrateGrader", "version"): ("version", f"={DATASET}@1"),
    ("createJob", "validation"): ("validation", "dataset", f"={DATASET}@1"),
    ("estimateVersion", "validation"): ("validation", f"={DATASET}@1"),
    ("listChanges", "since"): ("version", f"={DATASET}@1"),
    ("createStudy", "job"): ("version", "dataset", f"={DATASET}", f"={DATASET}@1"),
    ("createDeployment", "connection"): ("connection", f"={CONNECTION}"),
    ("createDeployment", "model"): ("model", "=MODEL-NAME", "=MODEL-REMOTE"),
    ("createTrigger", "connection"): ("connection", f"={CONNECTION}"),
    ("createComparison", "candidates"): ("deployment", f"={DEPLOYMENT}"),
    ("generate", "deployment"): ("deployment", f"={DEPLOYMENT}"),
    ("generate", "connection"): ("connection", f"={CONNECTION}"),
    ("createBaseline", "deployment"): ("deployment", f"={DEPLOYMENT}"),
    ("createBaseline", "connection"): ("connection", f"={CONNECTION}"),
    ("createBaseline", "validation"): ("validation", f"={DATASET}@1"),
    ("createBaseline", "training"): ("version", f"={DATASET}@1"),
    ("createBaseline", "ways"): ("search_index", "=handbook"),
    ("listGenerations", "dataset"): ("dataset", f"={DATASET}"),
    ("listJobs", "connection"): ("connection", f"={CONNECTION}"),
    ("compareJobs", "job"): ("job",),
    ("compareJobsChart", "job"): ("job",),
    ("adoptRemoteJob", "training"): ("version", f"={DATASET}@1"),
    ("adoptRemoteJob", "validation"): ("validation",),
    ("listAdoptions", "connection"): ("connection", f"={CONNECTION}"),
    ("listStrays", "connection"): ("connection", f"={CONNECTION}"),
    ("listDeployments", "model"): ("model", "=MODEL-NAME"),
    ("copyModel", "connection"): ("connection", f"={CONNECTION}"),
    ("listBaseModels", "connection"): ("connection", f"={CONNECTION}"),
    ("getBaseModel", "connection"): ("connection", f"={CONNECTION}"),
    ("adoptStray", "training"): ("version", f"={DATASET}@1"),
    ("adoptStray", "validation"): ("validation",),
}
"""Members of bodies and queries that name a thing, and the owner's things tried in them: 404."""

INSIDE: Final[dict[tuple[str, str], Callable[[str], Any]]] = {
    ("createComparison", "candidates"): lambda value: [{"deployment": value}],
    ("createBaseline", "ways"): lambda value: [{"type": "retrieval", "search_index": value}],
    ("createStudy", "job"): lambda value: {**BODIES["createStudy"]["job"], "training": value},
}
"""Members that hold what is named further in."""

NAMES_NOTHING: Final = {
    ("createJob", "model"),  # a base model
    ("listHyperparameters", "model"),  # a base model
    ("estimateVersion", "model"),  # a base model
    ("generate", "model"),  # a base model
    ("putContent", "model"),  # a base model
    ("createVersion", "model"),  # a base model
    ("beginUpload", "model"),  # a base model
    ("adoptRemoteJob", "dataset"),  # of the caller's own project, made where there is none
}
FILTERS: Final = {
    ("listModels", "job"): "job",
    ("listEvents", "subject"): "job",
    ("listAuditEvents", "subject"): "job",
}
"""Queries that only narrow down what is one's own: an empty list, whoever's id it is."""

NOUNS: Final = {
    *PATHS,
    *(
        "training",
        "validation",
        "candidates",
        "subject",
        "continue_from",
        "version",
        "key",
        "event",
        "file",
    ),
} - {"number"}


@dataclass(frozen=True)
class Operation:
    """One entry of the document."""

    id: str
    method: str
    path: str
    parameters: tuple[str, ...]
    query: tuple[str, ...]
    members: tuple[str, ...] = field(default=())
    """Names of the body's members."""
    takes_json: bool = False

    def url(self, values: dict[str, str]) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], self.path)


def operations(document: dict[str, Any]) -> list[Operation]:
    schemas = document["components"]["schemas"]
    found = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            given = operation.get("parameters", [])
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            named = body["schema"].get("$ref") if body else None
            schema = schemas[named.rpartition("/")[2]] if named else {}
            found.append(
                Operation(
                    id=operation["operationId"],
                    method=method.upper(),
                    path=path,
                    parameters=tuple(re.findall(r"\{(\w+)\}", path)),
                    query=tuple(parameter["name"] for parameter in given if parameter["in"] == "query"),
                    members=tuple(schema.get("properties", ())),
                    takes_json=named is not None,
                )
            )
    return found


@pytest.fixture(scope="module")
def house(postgres: Postgres, emulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The stranger has a connection and a dataset of its own, both named `mine`."""
    with furnished(postgres, emulator_url, tmp_path_factory.mktemp("isolation"), key_cache_seconds=5) as built:
        new = ConnectionCreate(name="mine", endpoint=emulator_url, auth="api_key", api_key="k")
        ConnectionService(built.bench).create(built.stranger.id, new)
        datasets = DatasetService(built.bench)
        datasets.create(built.stranger.id, DatasetCreate(name="mine"))
        with datasets.receive() as upload, datasets.content(built.owner.id, f"{DATASET}@1") as (_, file):
            upload.write(
                file.read() + b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}'
            )
        version, _ = datasets.add_version(built.stranger.id, "mine", upload, original_name=None, base_model=None)
        datasets.check(version.id)
        with built.ask(built.owner.secret) as owner:
            model = owner.get(f"/v1/models/{built.ids['model']}").json()
        built.ids["MODEL-NAME"], built.ids["MODEL-REMOTE"] = model["name"], model["remote_name"]
        yield built


@pytest.fixture(scope="module")
def routes(house: House) -> list[Operation]:
    """Every operation that a key opens, or that is open to all."""
    return [operation for operation in operations(house.app.openapi()) if operation.id not in SIGNED]


@pytest.fixture
def stranger(house: House) -> Iterator[httpx2.Client]:
    with house.ask(house.stranger.secret) as client:
        yield client


def values_of(house: House, tried: tuple[str, ...]) -> list[str]:
    """Ids and names of the owner, as they stand in the tables."""
    return [house.ids.get(item.lstrip("="), item.lstrip("=")) for item in tried]


def foreign_urls(house: House, operation: Operation) -> list[str]:
    """The operation's path with each of the owner's ids and names."""
    urls = [operation.path]
    for name in operation.parameters:
        urls = [url.replace(f"{{{name}}}", value) for url in urls for value in values_of(house, PATHS[name])]
    return urls


def send(client: httpx2.Client, operation: Operation, url: str, **changed: Any) -> httpx2.Response:
    body: dict[str, Any] = {}
    if operation.takes_json:
        body = {"json": BODIES[operation.id] | changed}
    elif operation.id == "importBundle":
        body = {"content": BUNDLE}
    elif operation.id in {"putContent", "putPart"}:
        body = {"content": b"{}"}
    return client.request(operation.method, url, params=QUERIES.get(operation.id), **body)


def rows_of_owner(house: House, *, but: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Every row that is not the stranger's, but for the times at which keys were used."""
    found = {}
    with house.bench.read() as session:
        for table in sorted(set(Base.metadata.tables) - set(but)):
            rows = session.scalars(text(f"SELECT (to_jsonb(t) - 'last_used_at')::text FROM {table} t")).all()  # noqa: S608  our own tables' names
            found[table] = sorted(row for row in rows if house.stranger.id not in row)
    return found


def test_every_operation_stands_in_the_tables(routes: list[Operation]) -> None:
    ids = {operation.id for operation in routes}
    assert ids - set(NEEDS) - OPEN == set(), "give new operations their scope in NEEDS"
    assert set(NEEDS) - ids == set(), "gone from the document"
    for operation in routes:
        if operation.takes_json:
            assert operation.id in BODIES, f"give {operation.id} a sound body in BODIES"
        if operation.id in PUBLIC:
            continue
        for parameter in operation.parameters:
            assert parameter in PATHS, f"say in PATHS what {{{parameter}}} of {operation.id} names"
        for name in (*operation.members, *operation.query):
            known = REFS | dict.fromkeys(NAMES_NOTHING) | FILTERS
            assert name not in NOUNS or (operation.id, name) in known, f"{operation.id}.{name} stands in no table"


def test_somebody_elses_ids_in_a_path_answer_404_and_change_nothing(
    house: House, routes: list[Operation], stranger: httpx2.Client
) -> None:
    before = rows_of_owner(house)
    tried = 0
    for operation in routes:
        if not operation.parameters or operation.id in PUBLIC:
            continue
        for url in foreign_urls(house, operation):
            answer = send(stranger, operation, url)
            expected = 403 if NEEDS[operation.id] == "operator" else 404
            assert answer.status_code == expected, (operation.id, url, answer.status_code, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            tried += 1
    assert rows_of_owner(house) == before
    print(f"{tried} foreign paths")
    assert tried > 60


def test_a_verb_that_a_path_does_not_take_opens_it_to_nobody(
    house: House, routes: list[Operation], stranger: httpx2.Client
) -> None:
    before = rows_of_owner(house)
    paths = {operation.path: operation for operation in routes}
    for path, operation in paths.items():
        known = {other.method for other in routes if other.path == path}
        if not operation.parameters or operation.id in PUBLIC:
            continue
        for verb in set(VERBS) - known:
            answer = stranger.request(verb, foreign_urls(house, operation)[0])
            assert answer.status_code == 405, (verb, path, answer.status_code)
            assert set(answer.headers["allow"].split(", ")) == known, (verb, path)
    assert rows_of_owner(house) == before


def test_somebody_elses_things_named_in_a_body_or_a_query_are_not_found(
    house: House, routes: list[Operation], stranger: httpx2.Client
) -> None:
    by_id = {operation.id: operation for operation in routes}
    before = rows_of_owner(house)
    for (operation_id, member), things in REFS.items():
        operation = by_id[operation_id]
        for value in values_of(house, things):
            if member in operation.query:
                others = [value, "nothing-there"] if operation_id in COMPARES else value
                answer = stranger.get(operation.path, params={member: others})
            else:
                named: Any = INSIDE[operation_id, member](value) if (operation_id, member) in INSIDE else value
                answer = send(stranger, operation, operation.path, **{member: named})
            allowed = {404, 422} if operation_id == "createDeployment" else {404}
            assert answer.status_code in allowed, (operation_id, member, value, answer.status_code, answer.text)
    assert rows_of_owner(house) == before


def test_lists_show_nothing_of_others_whatever_they_are_asked_for(
    house: House, routes: list[Operation], stranger: httpx2.Client
) -> None:
    owned = {value for name, value in house.ids.items() if not name.startswith("MODEL")}
    cursors = {
        "listProjects": "project",
        "listApiKeys": "key",
        "listConnections": "connection",
        "listDatasets": "dataset",
        "listJobs": "job",
        "listModels": "model",
        "listDeployments": "deployment",
        "listComparisons": "comparison",
        "listGenerations": "generation",
        "listBaselines": "baseline",
        "listSearchIndexes": "search_index",
        "listStudies": "study",
        "listTriggers": "trigger",
        "listEvents": "event",
        "listAuditEvents": "audit_event",
        "listAdoptions": "adoption",
        "listRuns": "run",
        "listOpenAiJobs": "job",
        "listStrays": "stray",
    }
    lists = [operation for operation in routes if not operation.parameters and "after" in operation.query]
    assert {operation.id for operation in lists} == set(cursors)
    for operation in lists:
        cursor = house.ids[cursors[operation.id]]
        narrowed = [{name: house.ids[kind]} for (id_, name), kind in FILTERS.items() if id_ == operation.id]
        for params in ({}, {"limit": 200}, {"after": cursor}, {"before": cursor}, *narrowed):
            answer = stranger.get(operation.path, params=params)
            must_exist = operation.id in {"listEvents", "listAuditEvents"} and cursor in params.values()
            assert answer.status_code == (404 if must_exist else 200), (operation.id, params, answer.text)
            shown = answer.text if answer.status_code == 200 else ""
            if operation.id == "listAuditEvents":  # it names what the stranger itself has asked for in vain
                assert all(record["chain"] == house.stranger.id for record in answer.json().get("data", ()))
                continue
            assert [value for value in owned if value in shown] == [], (operation.id, params)


@pytest.mark.parametrize("place", ["header", "query"])
def test_a_stream_does_not_begin_behind_somebody_elses_event(
    place: str, house: House, stranger: httpx2.Client
) -> None:
    stream = {"Accept": "text/event-stream"}
    answer = (
        stranger.get("/v1/events", headers=stream | {"Last-Event-ID": house.ids["event"]})
        if place == "header"
        else stranger.get("/v1/events", headers=stream, params={"after": house.ids["event"]})
    )
    assert answer.status_code == 404
    job = stranger.get(f"/v1/jobs/{house.ids['job']}/events", headers=stream)
    assert job.status_code == 404


def test_a_stray_is_not_adopted_with_somebody_elses_data(
    house: House, stranger: httpx2.Client, emulator_url: str
) -> None:
    """Neither when its caller names it, nor when the job's own metadata does."""
    mark = {"svc": "kitae", "env": "test", "op_key": new_id("job"), "training": house.ids["version"]}
    mark["project"] = house.stranger.id
    planted = {"action": "create_jobs", "count": 1, "status": "queued", "metadata": mark}
    Emulator(emulator_url).post("/portal", planted)
    sweep = stranger.post("/v1/connections/mine/sweep").json()
    with house.bench.read() as session:
        rows = session.execute(
            text("SELECT id FROM sweeps WHERE connection_id = :id"), {"id": sweep["connection"]}
        ).scalars()
        SweepSteps(house.bench).sweep(rows.one())
    (stray,) = stranger.get("/v1/strays").json()["data"]
    before = rows_of_owner(house)
    silent = stranger.post(f"/v1/strays/{stray['id']}/adopt", json={})
    assert (silent.status_code, silent.json()["code"]) == (422, "training_unknown")
    for value in values_of(house, ("version", f"={DATASET}@1")):
        named = stranger.post(f"/v1/strays/{stray['id']}/adopt", json={"training": value})
        assert named.status_code == 404, (value, named.text)
    assert rows_of_owner(house) == before


def test_somebody_elses_idempotency_key_replays_nothing(house: House, stranger: httpx2.Client) -> None:
    """Both projects may choose the same key; each gets its own answer."""
    with house.ask(house.owner.secret) as owner:
        body = {"connection": CONNECTION, "model": "gpt-4.1-mini", "training": f"{DATASET}@1"}
        key = {"Idempotency-Key": "same-words"}
        first = owner.post("/v1/jobs", json=body, headers=key)
        assert first.status_code == 202
        replayed = owner.post("/v1/jobs", json=body, headers=key)
        assert replayed.headers["idempotent-replayed"] == "true"
        other = stranger.post("/v1/jobs", json=body, headers=key)
        assert other.status_code == 404
        assert first.json()["id"] not in other.text


# ── keys ────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def keys(house: House) -> dict[str, str]:
    """Secrets by what they may: `only SCOPE`, and `all but SCOPE`."""
    secrets = {}
    with house.ask(house.owner.secret) as owner:
        for scope in sorted(SCOPES):
            others = sorted(other for other in GRANTABLE if not covers({other}, scope))
            for name, scopes in ((f"only {scope}", [scope]), (f"all but {scope}", others)):
                answer = owner.post("/v1/api-keys", json={"name": name, "scopes": scopes})
                assert answer.status_code == 201, answer.text
                secrets[name] = answer.json()["secret"]
    return secrets


def test_every_route_needs_exactly_its_scope(house: House, routes: list[Operation], keys: dict[str, str]) -> None:
    checks = 0
    clients = {name: house.ask(secret) for name, secret in keys.items()}
    for operation in routes:
        if operation.id in OPEN:
            continue
        url = operation.url(dict.fromkeys(operation.parameters, "nothing-here"))
        needed = NEEDS[operation.id]
        for name, client in clients.items():
            scope = name.removeprefix("only ").removeprefix("all but ")
            may = needed == "any key" or (name == f"only {needed}")
            if name.startswith("only ") and needed in SCOPES:
                may = covers({scope}, needed) and covers({scope}, ALSO.get(operation.id, needed))
            if name.startswith("all but "):
                if needed in SCOPES and scope not in {needed, ALSO.get(operation.id)}:
                    continue  # has the scope, and more
                may = needed == "any key"
            answer = client.request(operation.method, url, json={})
            assert (answer.status_code != 403) == may, (operation.id, needed, name, answer.status_code)
            assert answer.status_code not in {401, 500}, (operation.id, name, answer.text)
            checks += 1
    for client in clients.values():
        client.close()
    print(f"{checks} pairs of route and key")
    assert checks > 800


ROLES: Final[dict[str, tuple[str, ...]]] = {
    "everything": ("*",),
    "administrator": ("admin",),
    "reader": ("datasets:read", "jobs:read", "deployments:read", "connections:read", "costs:read", "events:read"),
    "data engineer": ("datasets:*",),
    "trainer": ("datasets:read", "jobs:write", "connections:read"),
    "deployer": ("jobs:read", "deployments:write"),
    "caretaker of connections": ("connections:write",),
    "accountant": ("costs:write",),
    "auditor": ("audit:read", "events:read"),
}
"""Keys as people hand them out: role → its scopes. What each may do follows from NEEDS and nothing else."""


KEPT_ANYHOW: Final = ("api_keys", "events", "audit_events", "audit_heads", "sweeps")
"""What making the keys writes, and the plan of a sweep, which is made when somebody first looks at it."""


def allowed(scopes: tuple[str, ...], needed: str) -> bool:
    return needed == "any key" or (needed in SCOPES and covers(scopes, needed))


def test_every_role_on_every_route_meets_its_own_and_others_things_as_the_table_says(
    house: House, routes: list[Operation]
) -> None:
    """Own things are there for whoever has the scope; others' never are; without the scope it makes no difference.

    Requests that would change something carry a body that is refused after the key was looked at.
    """
    own = {name: values_of(house, things)[0] for name, things in PATHS.items()}
    own |= {"base_model": "gpt-4.1-mini"}
    nobodys = dict.fromkeys(own, "nothing-here") | {"number": "1"}
    before = rows_of_owner(house, but=KEPT_ANYHOW)
    pairs = {"allow": 0, "deny": 0}
    with house.ask(house.owner.secret) as owner, house.ask(house.stranger.secret) as stranger:
        for role, scopes in ROLES.items():
            for mine, maker in ((True, owner), (False, stranger)):
                made = maker.post("/v1/api-keys", json={"name": role, "scopes": list(scopes)})
                with house.ask(made.json()["secret"]) as client:
                    for operation in routes:
                        if operation.id in OPEN | SIGNED:
                            continue
                        needed = NEEDS[operation.id]
                        harmless = operation.method == "GET" or operation.takes_json
                        url = operation.url(own if harmless or not mine else nobodys)
                        content = b"[" if not harmless else b"[]"
                        asked = QUERIES.get(operation.id)
                        answer = client.request(operation.method, url, content=content, params=asked)
                        where = (role, operation.id, "own" if mine else "foreign", answer.status_code, answer.text)
                        may = allowed(scopes, needed) and allowed(scopes, ALSO.get(operation.id, needed))
                        assert (answer.status_code == 403) == (not may), where
                        assert answer.status_code not in {401, 429}, where
                        assert answer.status_code < 500, where
                        if may and not mine and operation.parameters and operation.method == "GET":
                            assert answer.status_code == 404 or operation.id in PUBLIC, where
                        if may and mine and operation.method == "GET":
                            wanted = {404} if operation.id in COMPARES else {200, 409}
                            assert answer.status_code in wanted, where
                        pairs["allow" if may else "deny"] += 1
    assert rows_of_owner(house, but=KEPT_ANYHOW) == before
    print(f"{len(routes)} routes × {len(ROLES)} roles × own and foreign: {pairs}")
    assert sum(pairs.values()) == 2 * len(ROLES) * len([one for one in routes if one.id not in OPEN | SIGNED])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer ftk_live_" + "0" * 46},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"api-key": "nonsense"},
        {"Cookie": "session=1"},
    ],
    ids=["nothing", "empty", "unknown", "basic", "api-key", "cookie"],
)
def test_without_a_valid_key_every_route_answers_401(
    headers: dict[str, str], house: House, routes: list[Operation]
) -> None:
    with house.ask(None) as nobody:
        for operation in routes:
            if operation.id in OPEN:
                continue
            url = (
                foreign_urls(house, operation)[0] if operation.id not in PUBLIC else "/v1/base-models/gpt-4.1-mini"
            )
            answer = nobody.request(operation.method, url, headers=headers, json={})
            assert answer.status_code == 401, (operation.id, answer.status_code)
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_in_the_url_opens_nothing(house: House) -> None:
    with house.ask(None) as nobody:
        for name in ("key", "api-key", "api_key", "token", "access_token"):
            assert nobody.get("/v1/jobs", params={name: house.owner.secret}).status_code == 401


def test_the_operators_key_sees_into_no_project(house: House, routes: list[Operation]) -> None:
    with house.ask(house.operator) as operator:
        for operation in routes:
            if operation.id in OPEN or NEEDS[operation.id] in {"operator", "any key", "admin", "audit:read"}:
                continue
            url = (
                foreign_urls(house, operation)[0] if operation.id not in PUBLIC else "/v1/base-models/gpt-4.1-mini"
            )
            assert send(operator, operation, url).status_code == 403, operation.id


# ── the record ──────────────────────────────────────────────────────────────


def records(client: httpx2.Client, **only: Any) -> list[dict[str, Any]]:
    """Newest first."""
    answer = client.get("/v1/audit-events", params={"limit": 200, **only})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_no_path_takes_a_verb_that_changes_a_record(house: House) -> None:
    with house.ask(house.owner.secret) as owner, house.ask(house.operator) as operator:
        first = records(owner)[-1]["id"]
        for client in (owner, operator):
            for verb in ("POST", "PUT", "PATCH", "DELETE"):
                assert client.request(verb, "/v1/audit-events", json={}).status_code == 405
                assert client.request(verb, f"/v1/audit-events/{first}", json={}).status_code in {404, 405}


def test_pages_go_through_a_chain_in_its_order(house: House) -> None:
    with house.ask(house.owner.secret) as owner, house.ask(house.stranger.secret) as stranger:
        everything = records(owner)
        numbers = [one["number"] for one in everything]
        assert numbers == list(range(numbers[0], numbers[0] - len(numbers), -1))
        second = owner.get("/v1/audit-events", params={"limit": 3, "after": everything[2]["id"]}).json()
        assert [one["id"] for one in second["data"]] == [one["id"] for one in everything[3:6]]
        back = owner.get("/v1/audit-events", params={"limit": 2, "before": everything[3]["id"]}).json()
        assert [one["id"] for one in back["data"]] == [one["id"] for one in everything[1:3]]
        rising = owner.get("/v1/audit-events", params={"limit": 2, "order": "asc"}).json()
        assert [one["number"] for one in rising["data"]] == [1, 2]
        assert stranger.get("/v1/audit-events", params={"after": everything[0]["id"]}).status_code == 404
        job = house.ids["job"]
        assert {one["subject_id"] for one in records(owner, subject=job)} == {job}
        assert {one["actor_id"] for one in records(owner, actor="key_test")} <= {"key_test"}


def test_the_whole_life_of_the_house_is_one_sound_chain(house: House) -> None:
    checked = {item.chain: item for item in AuditService(house.bench).check()}
    assert [item for item in checked.values() if item.flaw] == []
    assert checked[house.owner.id].records > 15
    assert {house.owner.id, house.stranger.id, INSTALLATION} <= set(checked)


def records_of(house: House) -> set[tuple[str, str | None, str]]:
    """(operation, change, outcome) of every record there is."""
    with house.bench.read() as session:
        rows = session.execute(text("SELECT DISTINCT operation, change, outcome FROM audit_events"))
        return {(row.operation, row.change, row.outcome) for row in rows}


def test_the_owner_may_do_all_of_it_and_each_deed_leaves_its_record(house: House, routes: list[Operation]) -> None:
    """The same requests with the owner's key and things: proof that those above were refused for whose they were.

    Near the end of this file, because it archives and deletes.
    """
    mine = {"connection": CONNECTION, "training": f"{DATASET}@1", "candidates": [{"deployment": DEPLOYMENT}]}
    mine |= {"validation": "travel-validation@1", "deployment": DEPLOYMENT, "version": f"{DATASET}@1"}
    mine["job"] = BODIES["createStudy"]["job"] | {
        name: mine[name] for name in BODIES["createStudy"]["job"] if name in mine
    }
    order = {"POST": 1, "PUT": 2, "PATCH": 3, "DELETE": 4}
    with house.ask(house.owner.secret) as owner, house.ask(house.operator) as operator:
        victim = owner.post("/v1/api-keys", json={"name": "v", "scopes": ["jobs:read"]}).json()["id"]
        done: set[str] = set()
        real = {name: values_of(house, things)[0] for name, things in PATHS.items()}
        real |= {"key_id": victim, "base_model": "gpt-4.1-mini"}
        last = ("putInstallation", "updateProject", "archiveProject")

        def place(one: Operation) -> tuple[bool, int, int]:
            inner_first = -one.path.count("/") if one.method == "DELETE" else 0
            return (one.id in last, order.get(one.method, 0), inner_first)

        for operation in sorted(routes, key=place):
            if operation.id in COMPARES:
                continue
            client = operator if NEEDS.get(operation.id) == "operator" else owner
            changed = {name: mine[name] for name in operation.members if name in mine}
            if operation.id in {"generate", "createBaseline"}:
                del changed["connection"]  # or a deployment of ours; this one names it
            answer = send(client, operation, operation.url(real), **changed)
            accepted = answer.status_code < 300 or answer.status_code == 409
            assert accepted, (operation.id, answer.status_code, answer.text)
            changes = operation.method != "GET" and operation.id not in AUDIT.silent
            if answer.status_code < 300 and (changes or operation.id in AUDIT.reads):
                done.add(operation.id)
    recorded = records_of(house)
    print(f"{len(done)} operations that change something or hand out rows, {len(recorded)} kinds of records")
    assert {operation for operation, change, outcome in recorded if outcome == "done"} >= done - ENDED
    assert {(operation, None, "unchanged") for operation in ENDED} <= recorded
    forgot = {operation for operation, change, outcome in recorded if outcome == "done" and change is None}
    assert forgot <= AUDIT.reads, "a change is recorded in its own transaction: announce or note it"
    unchanged = {operation for operation, change, outcome in recorded if outcome == "unchanged"}
    assert unchanged <= done


def test_the_end_of_a_deployment_is_the_workers_deed(house: House) -> None:
    """The caller wished it, and the worker did it."""
    DeploymentSteps(house.bench).advance(house.ids["deployment"])
    with house.bench.read() as session:
        statement = text("SELECT change, actor_kind FROM audit_events WHERE subject_id = :id")
        rows = session.execute(statement, {"id": house.ids["deployment"]}).all()
    by_kind = {row.change: row.actor_kind for row in rows}
    assert by_kind["deployment.delete_requested"] == "key"
    assert by_kind["deployment.deleting"] == "worker"
