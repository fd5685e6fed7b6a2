"""A full disk, no file descriptor left, too little memory: told to callers as what it is, and over when it is over."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, head, quick, until
from nursery import Nursery
from servers import Project, make_project

import examples
from app.bootstrap import open_workbench
from app.settings import Settings
from app.workbench import Workbench

pytestmark = pytest.mark.fault
FILE_BYTES = 200_000


@pytest.fixture
def short(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=1.0, redispatch_seconds=0.2, api_threads=4)


@pytest.fixture
def bench(short: Settings, emulator_url: str) -> Iterator[Workbench]:
    Emulator(emulator_url).reset()
    with open_workbench(short) as opened:
        yield opened
        assert_invariants(opened)


@pytest.fixture
def crew(nursery: Nursery, short: Settings, tmp_path: Path) -> Crew:
    return Crew(nursery, short, tmp_path)


@contextmanager
def asked(url: str, project: Project) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, headers=project.headers, timeout=30) as http:
        yield http


def left_on_disk(settings: Settings) -> list[str]:
    return [path.name for path in (settings.data_dir / "objects").rglob("*") if path.is_file()]


@pytest.mark.row(29)
def test_a_full_disk_answers_507_and_keeps_not_a_byte(crew: Crew, bench: Workbench, project: Project) -> None:
    content = b'{"messages": []}\n' * (FILE_BYTES // 17)
    _, url = crew.start_api(limits={"RLIMIT_FSIZE": FILE_BYTES // 2})
    with asked(url, project) as http:
        http.post("/v1/datasets", json={"name": "travel"})
        whole = http.put("/v1/datasets/travel/content", content=content)
        path = http.post("/v1/datasets/travel/uploads", json={"bytes": len(content)}).headers["location"]
        part = http.put(f"{path}/parts/1", content=content)
        form = http.post(
            "/v1/datasets/travel/versions", files={"file": ("train.jsonl", content, "application/jsonl")}
        )
        for answer in (whole, part, form):
            assert (answer.status_code, answer.json()["code"]) == (507, "storage_full"), answer.text
        assert left_on_disk(crew.settings) == []
        small = http.put("/v1/datasets/travel/content", content=head(examples.load("travel").training, 5))
        assert small.status_code == 202
    crew.finish()


@pytest.mark.row(31)
def test_without_a_file_descriptor_nothing_answers_500_and_it_recovers(
    crew: Crew, bench: Workbench, project: Project
) -> None:
    api, url = crew.start_api(limits={"RLIMIT_NOFILE": 64})
    address = httpx2.URL(url)
    content = head(examples.load("travel").training, 12)
    with asked(url, project) as http:
        assert http.post("/v1/datasets", json={"name": "travel"}).status_code == 201
        with ExitStack() as held:
            for _ in range(100):
                peer = socket.create_connection((address.host, address.port), timeout=5)
                held.enter_context(peer)
                peer.sendall(b"GET /healthz HTTP/1.1\r\n")  # and never the rest

            def exhausted() -> bool | None:
                return True if len(list(Path(f"/proc/{api.pid}/fd").iterdir())) >= 62 else None

            until(exhausted)
            seen = [http.put("/v1/datasets/travel/content", content=content).status_code for _ in range(5)]
        assert set(seen) <= {200, 202, 503}, seen
        assert 503 in seen

        def recovered() -> bool | None:
            answer = http.put("/v1/datasets/travel/content", content=content)
            assert answer.status_code < 500 or answer.status_code == 503
            return True if answer.is_success else None

        until(recovered)
        assert http.get("/readyz").status_code == 200
    crew.finish()


@pytest.mark.row(11)
def test_a_check_that_needs_more_memory_than_there_is_is_no_verdict_on_the_data(
    crew: Crew, bench: Workbench, project: Project, emulator_url: str
) -> None:
    life = Life.begin(bench, project.id, emulator_url)
    other = make_project(bench, "other")
    version = life.dataset_unchecked("travel", lines=50)
    base = virtual_bytes(crew.nursery._process.pid)
    starved = crew.begin(limits={"RLIMIT_AS": base + 24_000_000})

    def tried() -> bool | None:
        return True if life.version(version).fail_count or starved.poll() is not None else None

    until(tried)
    starved.kill()
    starved.wait()
    assert life.version(version).status == "checking"

    Life.begin(bench, other.id, emulator_url).dataset_unchecked("elsewhere", lines=5)
    crew.finish()
    assert life.version(version).status == "ready"


def virtual_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(pid)
