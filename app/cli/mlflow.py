"""`kitae mlflow send`: past trainings into an MLflow tracking server, over its REST API."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from app.cli import words
from app.cli.exits import Exit, Told

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from app.exports.record import Record

group = typer.Typer(no_args_is_help=True, help="MLflow.")

API: Final = "/api/2.0/mlflow"
BUNDLE_BYTES_MAX: Final = 2 << 30


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="mlflow")


@group.callback()
def _group() -> None:
    """Keeps `send` a command of its own."""


@group.command()
def send(
    source: Annotated[str, typer.Argument(help="A model's name or id, a run_… id, or the file of a bundle.")],
    *,
    url: Annotated[str, typer.Option("--url", envvar="MLFLOW_TRACKING_URI", help="Of the tracking server.")],
    experiment: Annotated[str, typer.Option("--experiment", help="Made where there is none.")] = "kitae",
    token_env: Annotated[
        str, typer.Option("--token-env", help="Environment variable with a bearer token, where one is needed.")
    ] = "MLFLOW_TRACKING_TOKEN",  # noqa: S107  the name of a variable, no secret
) -> None:
    """Send parameters, metrics by step and the card. Sending again changes nothing: a run is found by its mark."""
    import httpx2

    records = _records(source)
    token = os.environ.get(token_env)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx2.Client(base_url=url.rstrip("/") + API, headers=headers, timeout=30) as http:
        for record in records:
            run_id, is_new = send_record(http, record, experiment)
            words.done(f"{record.facts().name} → {run_id}{'' if is_new else ' (it was there)'}")


def _records(source: str) -> list[Record]:
    from app.exports.bundle import BundleRefused, unpack

    with tempfile.TemporaryDirectory(prefix="kitae-mlflow-") as directory:
        file = Path(source)
        if not file.is_file():
            from app.cli.door import connect

            file = Path(directory) / "bundle.zip"
            with connect() as client:
                client.exports.pack(source, file)
        try:
            with file.open("rb") as opened:
                return list(unpack(opened, data_bytes_max=BUNDLE_BYTES_MAX).records.values())
        except BundleRefused as refused:
            raise Told(str(refused)) from None


def send_record(http: httpx2.Client, record: Record, experiment: str) -> tuple[str, bool]:
    """Bring one run to the server; the run's id there and whether it is new. Again, it goes on where it was.

    Raises:
        Told: the server refuses, or does not answer.
    """
    from app.exports.mlflow import MARK, sending_of

    sending = sending_of(record)
    experiment_id = _experiment(http, experiment)
    search = {
        "experiment_ids": [experiment_id],
        "filter": f"tags.`{MARK}` = '{sending.mark}'",
        "max_results": 1,
    }
    there = _post(http, "/runs/search", search).get("runs") or []
    if there and there[0]["info"].get("status") == sending.update["status"]:
        return str(there[0]["info"]["run_id"]), False
    if there:
        run_id = str(there[0]["info"]["run_id"])
    else:
        made = _post(http, "/runs/create", {"experiment_id": experiment_id, **sending.create})
        run_id = str(made["run"]["info"]["run_id"])
    for batch in sending.batches:
        _post(http, "/runs/log-batch", {"run_id": run_id, **batch})
    _post(http, "/runs/update", {"run_id": run_id, **sending.update})
    return run_id, not there


def _experiment(http: httpx2.Client, name: str) -> str:
    answer = _ask(http, "GET", "/experiments/get-by-name", params={"experiment_name": name})
    if answer.status_code == 404:
        return str(_post(http, "/experiments/create", {"name": name})["experiment_id"])
    return str(_read(answer)["experiment"]["experiment_id"])


def _post(http: httpx2.Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return _read(_ask(http, "POST", path, json=dict(body)))


def _ask(http: httpx2.Client, method: str, path: str, **request: Any) -> httpx2.Response:
    import httpx2

    try:
        return http.request(method, path, **request)
    except httpx2.TransportError as error:
        raise Told(f"MLflow does not answer: {error}.", hint="Send it again; nothing is there twice.") from None


def _read(answer: httpx2.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise Told(f"MLflow answers {answer.status_code}: {answer.text[:300]}", code=Exit.PROBLEM)
    try:
        found = answer.json()
    except ValueError:
        raise Told("What answers there is no MLflow server.", hint="Check --url.") from None
    return found if isinstance(found, dict) else {}
