"""Processes that fault tests break."""

from collections.abc import Iterator

import nursery as processes
import pytest


@pytest.fixture(scope="session")
def nursery() -> Iterator[processes.Nursery]:
    with processes.nursery() as made:
        yield made
