"""The installation's kill switch: nothing that costs money begins, and everything that stops money goes on."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from furnished import DATASET, DEPLOYMENT, House, furnished
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from servers import Postgres, make_project

from app.access.schemas import InstallationPut
from app.access.service import AccessService
from app.bootstrap import open_workbench
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.jobs.steps import JobSteps
from app.kit.caller import Operator
from app.kit.errors import Unready
from app.settings import Settings
from app.workbench import Workbench

SPENDS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/jobs", {"connection": "emulator", "model": "gpt-4.1-mini", "training": f"{DATASET}@1"}),
    ("/v1/deployments", {"connection": "emulator", "model": "gpt-4.1-mini", "name": "more"}),
    ("/v1/comparisons", {"candidates": [{"deployment": DEPLOYMENT}], "prompts": ["Where is Kyoto?"]}),
    (f"/v1/deployments/{DEPLOYMENT}/chat", {"messages": [{"role": "user", "content": "Hello?"}]}),
]


@pytest.fixture(scope="module")
def house(postgres: Postgres, emulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with furnished(postgres, emulator_url, tmp_path_factory.mktemp("halt") / "data") as built:
        yield built


def turn(bench: Workbench, *, halted: bool) -> None:
    operator = Operator(key_id="key_operator", scopes=frozenset({"admin"}))
    AccessService(bench).set_halted(operator, InstallationPut(halted=halted, reason="a test" if halted else None))


@pytest.fixture
def halted(house: House) -> Iterator[None]:
    turn(house.bench, halted=True)
    yield
    turn(house.bench, halted=False)


def test_only_an_operator_turns_the_switch_and_all_can_see_that_it_is_on(house: House) -> None:
    with house.ask(house.owner.secret) as owner, house.ask(house.operator) as operator, house.ask(None) as anyone:
        assert owner.put("/v1/installation", json={"halted": True}).status_code == 403
        assert owner.get("/v1/installation").status_code == 403
        put = operator.put("/v1/installation", json={"halted": True, "reason": "a stolen key"})
        assert put.status_code == 200, put.text
        read = operator.get("/v1/installation").json()
        assert (read["halted"], read["reason"], read["halted_by_setting"]) == (True, "a stolen key", False)
        ready = anyone.get("/readyz")
        assert ready.status_code == 200
        spending = next(check for check in ready.json()["checks"] if check["name"] == "spending")
        assert (spending["ok"], "halted" in spending["detail"]) == (True, True)
        assert "a stolen key" not in ready.text
        assert "kitae_halted 1.0" in anyone.get("/metrics").text
        assert operator.put("/v1/installation", json={"halted": False}).json()["halted_at"] is None
        assert "kitae_halted 0.0" in anyone.get("/metrics").text


@pytest.mark.usefixtures("halted")
@pytest.mark.parametrize(("path", "body"), SPENDS, ids=[path for path, _ in SPENDS])
def test_what_costs_money_answers_503_while_halted(path: str, body: dict[str, Any], house: House) -> None:
    refused = post(house, path, body)
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"] == "installation_halted"
    assert int(refused.headers["retry-after"]) > 0


def test_a_paused_project_does_not_chat_and_another_one_does(house: House) -> None:
    path, body = SPENDS[-1]
    with house.ask(house.owner.secret) as owner:
        owner.patch(f"/v1/projects/{house.owner.id}", json={"paused": True})
        refused = post(house, path, body)
        owner.patch(f"/v1/projects/{house.owner.id}", json={"paused": False})
    assert (refused.status_code, refused.json()["code"]) == (409, "project_paused")
    assert post(house, path, body).status_code == 200


def post(house: House, path: str, body: dict[str, Any]) -> httpx2.Response:
    with house.ask(house.owner.secret) as owner:
        return owner.post(path, json=body, headers={"Idempotency-Key": f"{path}-{id(body)}-{len(str(body))}"})


# ── what is under way ───────────────────────────────────────────────────────


@pytest.fixture
def life(settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick(settings, emulator_url)) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "halts").id, emulator_url)


def test_an_accepted_job_waits_without_a_post_can_be_cancelled_and_goes_on_after_the_halt(
    life: Life, emulator_url: str
) -> None:
    azure, jobs, steps = Emulator(emulator_url), JobService(life.bench), JobSteps(life.bench)
    connection = life.connect()
    training, _ = life.example(lines=12)
    first, second = life.job(connection, training), life.job(connection, training)
    turn(life.bench, halted=True)
    for job_id in (first, second):
        life.drive(job_id, until_status={JobStatus.SUBMITTING})
        steps.advance(job_id)
    assert azure.requests("jobs.create") == []
    jobs.cancel(life.caller.project_id, first)
    assert life.drive(first, until_status={JobStatus.CANCELLED}).status == JobStatus.CANCELLED
    assert_invariants(life.bench, emulator_url)
    turn(life.bench, halted=False)
    with life.bench.begin() as work:
        work.session.get_one(type(life.read(second)), second).next_check_at = life.read(second).created_at
    assert life.drive(second, until_status={JobStatus.SUCCEEDED}).status == JobStatus.SUCCEEDED
    assert len(azure.requests("jobs.create")) == 1
    assert_invariants(life.bench, emulator_url)


def test_a_deployment_under_way_is_not_put_while_halted_and_is_deleted_all_the_same(
    life: Life, emulator_url: str
) -> None:
    azure, service, steps = Emulator(emulator_url), DeploymentService(life.bench), DeploymentSteps(life.bench)
    connection = life.connect()

    def deploy(name: str) -> str:
        wanted = DeploymentCreate(connection=connection, model="gpt-4.1-mini", name=name, ttl_seconds=600)
        return service.create(life.caller, wanted).id

    def reached(deployment_id: str, status: str) -> bool | None:
        steps.advance(deployment_id)
        return True if service.get(life.caller.project_id, deployment_id).status == status else None

    running = deploy("running")
    until(lambda: reached(running, "ready"))
    waiting = deploy("waiting")
    turn(life.bench, halted=True)
    for _ in range(3):
        steps.advance(waiting)
    assert len(azure.requests("deployments.put")) == 1
    service.delete(life.caller.project_id, running)
    service.delete(life.caller.project_id, waiting)
    until(lambda: reached(running, "deleted"))
    until(lambda: reached(waiting, "deleted"))
    assert azure.state()["deployments"] == []
    assert_invariants(life.bench, emulator_url)


def test_the_setting_halts_a_process_like_the_switch(settings: Settings, emulator_url: str) -> None:
    by_setting = quick(settings, emulator_url, halted=True)
    with open_workbench(by_setting) as bench:
        life = Life.begin(bench, make_project(bench, "set").id, emulator_url)
        assert AccessService(bench).is_paused(life.caller.project_id)
        assert AccessService(bench).installation().halted_by_setting
        connection = life.connect()
        training, _ = life.example(lines=12)
        with pytest.raises(Unready) as refused:
            life.job(connection, training)
    assert refused.value.code == "installation_halted"
    assert "KITAE_HALTED" in refused.value.hint
