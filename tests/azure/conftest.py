"""Options and the resource of the contract suite."""

from collections.abc import Iterator

import pytest
from azure_wire import Control, Site, Wire, emulated, real
from emulator_process import emulator_process


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("azure")
    group.addoption(
        "--azure", action="store_true", help="hold the contract against the resource in KITAE_TEST_AZURE_*"
    )
    group.addoption("--azure-spend", action="store_true", help="with --azure: also what costs money")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Azure may take hours; nothing of it is cut off by the clock of ordinary tests."""
    if config.getoption("--azure", default=False):
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """The emulator, quick but showing its states, or the real resource."""
    if request.config.getoption("--azure", default=False):
        yield real()
        return
    with emulator_process(clock="real", speed="600") as emulator:
        yield emulated(emulator.url)


@pytest.fixture(scope="session")
def spend(request: pytest.FixtureRequest, site: Site) -> None:
    """Skips what costs money unless it was allowed."""
    if site.is_real and not request.config.getoption("--azure-spend"):
        pytest.skip("it costs money: give --azure-spend")


@pytest.fixture(scope="session", params=["v1", "dated"])
def wire(request: pytest.FixtureRequest, site: Site) -> Iterator[Wire]:
    found = Wire(site, request.param == "v1")
    yield found
    found.http.close()


@pytest.fixture(scope="session")
def control(site: Site) -> Iterator[Control]:
    found = Control(site)
    yield found
    found.http.close()
