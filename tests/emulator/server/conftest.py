"""One emulator for all tests of this folder, emptied before each."""

from collections.abc import Iterator

import pytest
from emulator_process import Emulator, Workshop, emulator_process


@pytest.fixture(scope="session")
def _server() -> Iterator[Emulator]:
    with emulator_process() as emulator:
        yield emulator


@pytest.fixture
def emulator(_server: Emulator) -> Emulator:
    """An empty emulator whose clock is instant and whose limits and pace are the usual ones."""
    _server.lever("POST", "reset")
    return _server


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()
