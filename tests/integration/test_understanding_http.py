"""What trainings mean, over HTTP: analysis with the data's counts, thinned curves, comparisons, the page of a job."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from lives import Life, quick
from sqlalchemy import update
from starlette.testclient import TestClient

import examples
from app.bootstrap import open_workbench
from app.jobs import repository
from app.jobs.tables import Job
from app.settings import Settings
from app.workbench import Workbench


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


def rows(count: int, *, kinds: int | None = None) -> bytes:
    """Examples of which only `kinds` differ."""
    lines = examples.load("character").training.read_bytes().splitlines()
    return b"\n".join(lines[index % (kinds or len(lines))] for index in range(count)) + b"\n"


def job(
    life: Life, name: str, training: str, validation: str, *, epochs: int, valid: Callable[[float], float]
) -> str:
    """A job that stays a draft and has the curve of a training."""
    made = life.job("emulator", training, validation, suffix=name)
    points = [
        (
            step,
            {"train_loss": 0.01 + 3 * math.exp(-step / 12)}
            | ({"full_valid_loss": valid(step / 120)} if step % 20 == 0 else {}),
        )
        for step in range(1, 121)
    ]
    with life.bench.begin() as work:
        repository.put_points(work.session, made, points, revision=1)
        work.session.execute(
            update(Job).where(Job.id == made).values(hyperparameters={"n_epochs": epochs, "batch_size": 1})
        )
    return made


def turning(done: float) -> float:
    return 0.6 + max(0.0, done - 0.4)


def resting(done: float) -> float:
    return 0.6 + 0.4 * math.exp(-6 * done)


@pytest.fixture
def jobs(life: Life) -> tuple[str, str]:
    """One that rests and one that over-fits, on the same data."""
    life.dataset("novel", rows(40))
    life.dataset("novel-validation", examples.load("character").validation.read_bytes())
    return (
        job(life, "three", "novel@1", "novel-validation@1", epochs=3, valid=resting),
        job(life, "ten", "novel@1", "novel-validation@1", epochs=10, valid=turning),
    )


def read(client: TestClient, path: str, **params: Any) -> Any:
    answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_comparison_tells_what_differs_and_which_validation_is_best(
    client: TestClient, jobs: tuple[str, str]
) -> None:
    told = read(client, "/v1/jobs/compare", job=jobs)
    assert [one["verdict"] for one in told["jobs"]] == ["converged", "over_fitting"]
    assert [one["name"] for one in told["jobs"]] == [f"three · {jobs[0][-6:]}", f"ten · {jobs[1][-6:]}"]
    by_name = {row["name"]: row for row in told["table"]}
    assert by_name["n_epochs"] == {"group": "parameters", "name": "n_epochs", "values": [3, 10], "differs": True}
    assert by_name["training"]["values"] == ["novel@1", "novel@1"]
    assert not by_name["training_sha256"]["differs"]
    assert by_name["training_examples"]["values"] == [40, 40]
    assert by_name["leaked"]["values"] == [0, 0]
    assert by_name["verdict"]["differs"]
    assert told["best"] == jobs[0 if resting(1) < turning(0.4) else 1]
    assert told["steps"] == list(range(1, 121))
    assert told["series"]["full_valid_loss"][1][19] == pytest.approx(turning(20 / 120))
    assert told["series"]["full_valid_loss"][0][18] is None


def test_a_comparison_over_other_questions_names_no_best(
    client: TestClient, life: Life, jobs: tuple[str, str]
) -> None:
    life.dataset("other", rows(20))
    other = job(life, "other", "novel@1", "other@1", epochs=3, valid=resting)
    told = read(client, "/v1/jobs/compare", job=[jobs[0], other])
    assert told["best"] is None
    assert any("validation sets differ" in caution for caution in told["cautions"])
    assert any("stand in the training data" in caution for caution in told["cautions"])


def test_one_job_eleven_jobs_or_a_job_of_others_are_not_compared(
    client: TestClient, stranger: TestClient, jobs: tuple[str, str]
) -> None:
    for wrong in ([jobs[0]], [jobs[0], jobs[0]], [f"job_{n:026d}" for n in range(11)]):
        answer = client.get("/v1/jobs/compare", params={"job": wrong})
        assert answer.status_code == 422, answer.text
    assert stranger.get("/v1/jobs/compare", params={"job": jobs}).status_code == 404
    assert stranger.get("/v1/jobs/compare.svg", params={"job": jobs}).status_code == 404
    assert stranger.get(f"/v1/jobs/{jobs[0]}/report.html").status_code == 404


def test_the_overlay_is_a_picture_that_loads_nothing(client: TestClient, jobs: tuple[str, str]) -> None:
    answer = client.get("/v1/jobs/compare.svg", params={"job": jobs})
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    texts = ["".join(node.itertext()) for node in ET.fromstring(answer.content).iter()]  # noqa: S314  our own output
    assert f"three · {jobs[0][-6:]}" in texts


def test_the_page_of_a_job_stands_alone_and_tells_its_data_and_settings(
    client: TestClient, jobs: tuple[str, str]
) -> None:
    answer = client.get(f"/v1/jobs/{jobs[1]}/report.html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; style-src 'sha256-" in policy
    assert "sandbox" in policy
    text = re.sub(r"<[^>]+>", " ", answer.text)
    analysis = read(client, f"/v1/jobs/{jobs[1]}/analysis")["analysis"]
    for wanted in (
        analysis["headline"],
        "novel@1",
        "n epochs",
        "over-fitting",
        analysis["next_experiment"]["action"],
    ):
        assert wanted in text
    assert "<script" not in answer.text


def test_a_curve_comes_in_as_many_points_as_asked_for_with_its_spike(
    client: TestClient, life: Life, jobs: tuple[str, str]
) -> None:
    with life.bench.begin() as work:
        points = [
            (step, {"train_loss": 9.0 if step == 1_777 else 1.0 + step % 5 / 10}) for step in range(200, 3_000)
        ]
        repository.put_points(work.session, jobs[0], points, revision=2)
    whole = read(client, f"/v1/jobs/{jobs[0]}/metrics")
    short = read(client, f"/v1/jobs/{jobs[0]}/metrics", points=150)
    assert whole["points"] == short["points"] == len(whole["steps"]) == 2_920
    assert len(short["steps"]) <= 150
    at = short["steps"].index(1_777)
    assert short["series"]["train_loss"][at] == 9.0
    assert client.get(f"/v1/jobs/{jobs[0]}/metrics", params={"points": 3}).status_code == 422


def test_copies_in_the_data_are_counted_with_the_plan_and_decide_the_verdict(
    client: TestClient, life: Life
) -> None:
    life.dataset("copies", rows(60, kinds=20))
    life.dataset("validation", examples.load("character").validation.read_bytes())
    made = job(life, "copies", "copies@1", "validation@1", epochs=3, valid=resting)
    analysis = read(client, f"/v1/jobs/{made}/analysis")["analysis"]
    assert analysis["verdict"] == "memorised_duplicates"
    assert "40 of these 60 only repeat others" in analysis["headline"]
    assert analysis["next_experiment"]["dataset"] == {"operations": [{"type": "dedupe", "of": "near"}]}


def test_a_judgement_made_by_older_rules_is_made_afresh(
    client: TestClient, life: Life, jobs: tuple[str, str]
) -> None:
    old = {"verdict": "converging", "headline": "It converged.", "evidence": [], "advice": []}
    with life.bench.begin() as work:
        work.session.execute(update(Job).where(Job.id == jobs[0]).values(analysis=old))
    analysis = read(client, f"/v1/jobs/{jobs[0]}/analysis")["analysis"]
    assert analysis["verdict"] == "converged"
    assert analysis["confidence"]["level"] == "high"
