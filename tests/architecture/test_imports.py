"""The import contracts of pyproject.toml hold, and each of them bites when it is broken."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]

PLANTED: Final = {
    "storeys": ("app/datasets/service.py", "import app.jobs.states"),
    "worker-is-a-door": ("app/jobs/service.py", "import worker.tick"),
    "worker-without-http": ("worker/tick.py", "import app.jobs.endpoints"),
    "services-know-no-door": ("app/jobs/steps.py", "import fastapi"),
    "access-repository": ("app/jobs/service.py", "import app.access.repository"),
    "connections-repository": ("app/jobs/service.py", "import app.connections.repository"),
    "costs-repository": ("app/jobs/service.py", "import app.costs.repository"),
    "datasets-repository": ("app/jobs/service.py", "import app.datasets.repository"),
    "jobs-repository": ("app/models/service.py", "import app.jobs.repository"),
    "models-repository": ("app/main.py", "import app.models.repository"),
    "deployments-repository": ("app/main.py", "import app.deployments.repository"),
    "baselines-repository": ("app/main.py", "import app.baselines.repository"),
    "generation-repository": ("app/main.py", "import app.generation.repository"),
    "studies-repository": ("app/main.py", "import app.studies.repository"),
    "studies-pure": ("app/studies/verdict.py", "import app.workbench"),
    "exports-repository": ("app/main.py", "import app.exports.repository"),
    "exports-pure": ("app/exports/card.py", "import app.workbench"),
    "adoptions-repository": ("app/main.py", "import app.adoptions.repository"),
    "triggers-repository": ("app/main.py", "import app.triggers.repository"),
    "upkeep-repository": ("app/main.py", "import app.upkeep.repository"),
    "doors-hold-no-sql": ("app/jobs/endpoints.py", "import sqlalchemy"),
    "settings-at-the-door": ("app/jobs/service.py", "import app.settings"),
    "wiring-in-one-place": ("app/jobs/service.py", "import app.azure.adapter"),
    "sdk-behind-the-port": ("app/jobs/service.py", "import openai"),
    "http-client-in-few-hands": ("app/jobs/service.py", "import httpx2"),
    "queue-in-the-worker": ("app/jobs/service.py", "import celery"),
    "kit-knows-no-word-of-the-domain": ("app/kit/care.py", "import app.azure.port"),
    "engine-is-pure": ("app/datasets/engine/lines.py", "import app.kit.clock"),
    "analysis-is-pure": ("app/jobs/analysis/judge.py", "import app.kit.clock"),
    "graders-are-pure": ("app/graders/facts.py", "import app.kit.clock"),
    "craft-is-pure": ("app/generation/craft/facts.py", "import app.kit.clock"),
    "emulator-is-a-stranger": ("emulator/jobs.py", "import app.jobs.states"),
    "nobody-leans-on-the-emulator": ("app/jobs/service.py", "import emulator.jobs"),
}
"""Contract → (file, line) that breaks it."""


def _contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    return list(settings["contracts"])


def _lint(house: Path) -> str:
    """What lint-imports says of a house, one line a contract."""
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [tool, "--no-cache", "--config", house / "pyproject.toml"],
        cwd=house,
        env=os.environ | {"COLUMNS": "300", "NO_COLOR": "1", "PYTHONPATH": str(house)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def _copy_house(target: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", target)
    for package in ("app", "worker", "emulator"):
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    return target


def test_the_house_keeps_its_contracts() -> None:
    said = _lint(ROOT)
    assert f"{len(_contracts())} kept, 0 broken" in said, said


def test_every_contract_has_a_planted_violation() -> None:
    assert PLANTED.keys() == {contract["id"] for contract in _contracts()}


def test_every_contract_bites(tmp_path: Path) -> None:
    house = _copy_house(tmp_path)
    for name, line in PLANTED.values():
        with (house / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    said = _lint(house)
    toothless = [contract["name"] for contract in _contracts() if f"{contract['name']} BROKEN" not in said]
    assert not toothless, said


def test_a_room_without_a_storey_is_refused(tmp_path: Path) -> None:
    house = _copy_house(tmp_path)
    (house / "app" / "gossip").mkdir()
    (house / "app" / "gossip" / "__init__.py").write_text('"""A room nobody gave a place."""\n')
    said = _lint(house)
    assert "gossip" in said
    assert "0 broken" not in said


@pytest.mark.parametrize("package", ["app", "worker", "emulator"])
def test_the_contracts_cover_every_package(package: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    assert package in settings["root_packages"]
