"""Fixtures for every test: the servers and the service of `servers.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from servers import (  # noqa: F401  pytest finds fixtures by their names here
    _logs,
    azure,
    bench,
    client,
    database_url,
    emulator_url,
    life,
    live_url,
    postgres,
    project,
    redis_server,
    redis_url,
    second_project,
    service,
    settings,
    stranger,
)
