"""Trainings as other tools read them: through OpenAI's client, as W&B's sync does, and in an MLflow server."""

import csv
import io
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from lives import Emulator, Life, quick, until
from openai import OpenAI
from processes import serve
from servers import Project

from app.bootstrap import open_workbench
from app.cli.exits import Told
from app.cli.mlflow import API, send_record
from app.exports.record import Record
from app.exports.service import ExportService
from app.kit.pagination import Page
from app.models.service import ModelService
from app.settings import Settings
from app.workbench import Workbench
from worker.reactions import react


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


@pytest.fixture
def job(life: Life, azure: Emulator) -> str:
    training, validation = life.example(lines=12)
    made = life.job("emulator", training, validation, suffix="kyoto", seed=7)
    assert life.drive(made, until_status={"succeeded", "failed", "cancelled"}).status == "succeeded"
    life.tidy(made)
    until(lambda: None if react(life.bench) else True)
    return made


def test_openais_own_client_reads_a_job_its_results_and_its_data_as_wandbs_sync_does(
    service: FastAPI, project: Project, job: str, life: Life
) -> None:
    with serve(service) as url:
        client = OpenAI(base_url=f"{url}/v1/openai", api_key=project.secret, max_retries=0)
        assert [found.id for found in client.fine_tuning.jobs.list()] == [job]
        found = client.fine_tuning.jobs.retrieve(job)
        assert (found.status, found.seed) == ("succeeded", 7)
        assert dict(found.hyperparameters)["n_epochs"] == 2
        assert found.error is not None
        assert dict(found.error)["code"] is None
        results = client.files.content(found.result_files[0]).text
        training = client.files.content(found.training_file).text
    rows = list(csv.DictReader(io.StringIO(results)))
    assert len(rows) > 0
    assert "step" in rows[0]
    assert "train_loss" in rows[0]
    for row in rows:
        measured = {name: float(cell) for name, cell in row.items() if cell}
        assert int(measured.pop("step")) > 0
        assert not any(math.isnan(value) for value in measured.values())
    assert len([json.loads(line) for line in training.splitlines()]) == 12


class MlflowServer:
    """What this test needs of MLflow's REST API, with its rules: names, batch sizes, one experiment of a name."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.break_at: str | None = None

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.break_at == path:
            self.break_at = None
            return 503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}
        match path:
            case "/experiments/get-by-name":
                known = self.experiments.get(body["experiment_name"])
                found = {"experiment": {"experiment_id": known}}
                return (200, found) if known else (404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})
            case "/experiments/create":
                self.experiments[body["name"]] = "1"
                return 200, {"experiment_id": "1"}
            case "/runs/search":
                mark = body["filter"].split("'")[1]
                found_runs = [run for run in self.runs.values() if run["tags"].get("kitae.run") == mark]
                return 200, {"runs": [{"info": run["info"]} for run in found_runs]}
            case "/runs/create":
                run_id = f"r{len(self.runs)}"
                tags = {tag["key"]: tag["value"] for tag in body["tags"]}
                info = {"run_id": run_id, "status": "RUNNING", "run_name": body["run_name"]}
                self.runs[run_id] = {"info": info, "tags": tags, "metrics": set(), "params": {}}
                return 200, {"run": {"info": info}}
            case "/runs/log-batch":
                run = self.runs[body["run_id"]]
                metrics, params = body.get("metrics", []), body.get("params", [])
                assert len(metrics) <= 1000
                assert len(params) <= 100
                run["metrics"] |= {(one["key"], one["step"], one["value"], one["timestamp"]) for one in metrics}
                for one in params:
                    assert run["params"].setdefault(one["key"], one["value"]) == one["value"]
                return 200, {}
            case "/runs/update":
                self.runs[body["run_id"]]["info"]["status"] = body["status"]
                return 200, {}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND"}


@contextmanager
def listening(server: MlflowServer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.removeprefix(API).partition("?")
            self._send(*server.answer(path, dict(part.split("=") for part in query.split("&"))))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*server.answer(self.path.removeprefix(API), body))

        def _send(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: Any) -> None:
            """Silent."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}{API}"
    finally:
        http.shutdown()
        http.server_close()


def record(life: Life) -> Record:
    models = ModelService(life.bench).page(life.caller.project_id, Page(limit=50)).rows
    name = next(model.name for model in models if model.kind == "final")
    return ExportService(life.bench).record(life.caller.project_id, name)


def test_a_run_sent_to_mlflow_is_there_once_with_its_curve_however_often_it_is_sent(job: str, life: Life) -> None:
    server, sent = MlflowServer(), record(life)
    with listening(server) as url, httpx2.Client(base_url=url) as http:
        server.break_at = "/runs/update"
        with pytest.raises(Told, match="503"):
            send_record(http, sent, "tours")
        assert send_record(http, sent, "tours") == ("r0", False)
        assert send_record(http, sent, "tours") == ("r0", False)
    (run,) = server.runs.values()
    assert (run["info"]["status"], run["info"]["run_name"]) == ("FINISHED", "kyoto")
    assert run["params"]["n_epochs"] == "2"
    assert run["params"]["training.version"] == "travel@1"
    points = sent.curve().points
    assert {step for name, step, _, _ in run["metrics"] if name == "train_loss"} == {point.step for point in points}
    assert "# kyoto" in run["tags"]["mlflow.note.content"]


def test_a_server_that_does_not_answer_is_told_in_words(job: str, life: Life) -> None:
    with (
        httpx2.Client(base_url=f"http://127.0.0.1:9{API}") as http,
        pytest.raises(Told, match="does not answer"),
    ):
        send_record(http, record(life), "tours")
