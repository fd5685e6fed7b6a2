"""Every operation of the contract with generated requests, well formed and not: no answer the contract lacks.

`KITAE_TEST_FUZZ_EXAMPLES` sets how many requests each operation gets. The requests are the same in every run.
"""

import os
from collections.abc import Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from furnished import CONNECTION, DATASET, DEPLOYMENT, House, furnished
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from servers import Postgres

from app.main import create_app
from app.settings import Settings

EXAMPLES: Final = int(os.environ.get("KITAE_TEST_FUZZ_EXAMPLES", "12"))
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
WATCHERS: Final = {"getHealth", "getReadiness", "getMetrics"}
SENT: dict[int, int] = {}
"""How many answers of each status came, over all operations."""


class _NoBench:
    """Enough of a workbench for the document of an app that answers no request."""

    sessions = None


HEAD_TOO_LARGE: Final = 431
BENT_ELSEWHERE: Final = {"importBundle"}
"""Its body is a ZIP of our own making, bent in tests/unit/exports and tests/integration/test_bundles.py."""


def _operations() -> dict[str, Any]:
    """Operation id → operation; those that put an end to something come last."""
    document = create_app(Settings(_env_file=None), _NoBench()).openapi()  # type: ignore[arg-type]
    schema = schemathesis.openapi.from_dict(document)
    found: list[Any] = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    ends = {"updateConnection": 1, "updateProject": 1, "delete": 2}

    def place(operation: Any) -> int:
        return max(ends.get(operation.method, 0), ends.get(operation.definition.raw["operationId"], 0))

    named = {operation.definition.raw["operationId"]: operation for operation in sorted(found, key=place)}
    return {name: operation for name, operation in named.items() if name not in BENT_ELSEWHERE}


@schemathesis.serializer("application/jsonl")
def jsonl(_context: Any, value: Any) -> bytes:
    """An upload's bytes as they are."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


OPERATIONS: Final = _operations()
MODES: Final = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def house(postgres: Postgres, emulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with furnished(
        postgres, emulator_url, tmp_path_factory.mktemp("fuzz"), upload_max_bytes=20_000, key_cache_seconds=5
    ) as built:
        yield built


@pytest.fixture(scope="module")
def wire(house: House) -> Iterator[requests.Session]:
    """Asks with one more key of the owner, so that revoking the house's own ends nothing."""
    with house.ask(house.owner.secret) as owner:
        secret = owner.post("/v1/api-keys", json={"name": "fuzz", "scopes": ["*"]}).json()["secret"]
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update({"Authorization": f"Bearer {secret}", "Accept": "application/json"})
        yield session


def real_path(house: House) -> dict[str, Any]:
    """Path parameters that lead to what is there."""
    return {
        "project": house.ids["project"],
        "key_id": house.ids["key"],
        "connection": CONNECTION,
        "dataset": DATASET,
        "number": "1",
        "upload": house.ids["upload"],
        "fetch": house.ids["fetch"],
        "transform": house.ids["transform"],
        "job": house.ids["job"],
        "model": house.ids["model"],
        "base_model": "gpt-4.1-mini",
        "deployment": DEPLOYMENT,
        "comparison": house.ids["comparison"],
        "generation": house.ids["generation"],
        "baseline": house.ids["baseline"],
        "search_index": "handbook",
        "study": house.ids["study"],
        "remote_job": house.ids["remote_job"],
        "adoption": house.ids["adoption"],
        "run": house.ids["run"],
        "file": house.ids["results"],
        "trigger": house.ids["trigger"],
        "stray": house.ids["stray"],
    }


REAL_REFS: Final = {
    "connection": CONNECTION,
    "training": f"{DATASET}@1",
    "validation": "travel-validation@1",
    "model": "gpt-4.1-mini",
    "candidates": [{"deployment": DEPLOYMENT}],
}
"""Members of bodies that name things which are there."""


def requests_of(operation: Any, house: House) -> st.SearchStrategy[Any]:
    """Well-formed and ill-formed requests, at things that are there and at things that are not."""
    real = real_path(house)
    names = [parameter.name for parameter in operation.path_parameters]
    fixed = {name: real[name] for name in names}
    cases = [
        operation.as_strategy(generation_mode=mode, path_parameters=path)
        for mode in MODES
        for path in ([fixed, None] if fixed else [None])
    ]
    return st.tuples(st.one_of(cases), st.booleans()).map(lambda drawn: with_real_refs(*drawn))


def with_real_refs(case: Any, wanted: bool) -> Any:  # noqa: FBT001  drawn in a tuple
    # a form's file is bytes, which a body written anew would be judged by as if it were text in JSON
    is_json = isinstance(case.body, dict) and case.media_type == "application/json"
    if wanted and is_json and case.meta.generation.mode.is_positive:
        case.body = {name: REAL_REFS.get(name, value) for name, value in case.body.items()}
    return case


@pytest.mark.parametrize("operation_id", list(OPERATIONS))
def test_an_operation_answers_anything_as_its_contract_says(
    operation_id: str, house: House, wire: requests.Session
) -> None:
    operation = OPERATIONS[operation_id]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=requests_of(operation, house))
    def holds(case: Any) -> None:
        response = case.call(base_url=house.url, session=wire, timeout=30)
        SENT[response.status_code] = SENT.get(response.status_code, 0) + 1
        if response.status_code == HEAD_TOO_LARGE:
            return  # refused at the door, whatever the operation
        streamed = response.headers.get("content-type", [""])[0].startswith("text/event-stream")
        case.validate_response(
            response, checks=CHECKS, excluded_checks=[response_schema_conformance] if streamed else []
        )

    holds()


def test_the_requests_reached_what_is_there_and_were_refused_too() -> None:
    """Runs behind the operations: a fuzz that only met closed doors would prove nothing."""
    assert sum(SENT.values()) >= len(OPERATIONS)
    assert SENT.get(200, 0) > 50
    assert SENT.get(422, 0) > 50
    assert SENT.get(404, 0) > 50
    assert not [status for status in SENT if status >= 500]
    print(f"{sum(SENT.values())} requests: {dict(sorted(SENT.items()))}")
