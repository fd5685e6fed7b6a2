"""The guide names every setting, lever, stage, limit and fault there is."""

from dataclasses import asdict
from pathlib import Path

import pytest

from emulator import faults, levers, portal
from emulator.ledger import Limits
from emulator.schedule import Pace
from emulator.settings import Settings

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "emulator.md").read_text()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_the_guide_names_each_setting(name: str):
    assert f"`EMULATOR_{name.upper()}`" in GUIDE


@pytest.mark.parametrize("path", sorted({route.path for route in [*levers.router.routes, *portal.router.routes]}))
def test_the_guide_names_each_lever(path: str):
    name = path.removeprefix("/_emulator/")
    assert f" {name}`" in GUIDE


@pytest.mark.parametrize(("stage", "seconds"), asdict(Pace()).items())
def test_the_guide_names_each_stage_with_its_seconds(stage: str, seconds: float | None):
    assert (f"`{stage}` {seconds:g}" if seconds is not None else f"`{stage}` (1200") in GUIDE


@pytest.mark.parametrize(("limit", "number"), asdict(Limits()).items())
def test_the_guide_names_each_limit(limit: str, number: int):
    assert f"`{limit}` {number}" in GUIDE


@pytest.mark.parametrize("name", [*faults._DO, *faults._WHEN, *faults._MATCH, *faults._FATES])
def test_the_guide_names_each_member_of_a_fault(name: str):
    assert f"`{name}`" in GUIDE


@pytest.mark.parametrize("action", sorted(portal.ACTIONS))
def test_the_guide_names_each_action_in_the_portal(action: str):
    assert f"`{action}`" in GUIDE
