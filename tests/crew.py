"""Workers without a queue for fault tests: each is a process of its own that can be killed at a named step."""

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import httpx2
from nursery import DRIVE, Child, Nursery
from processes import free_port
from pydantic import SecretStr

from app.kit.failpoints import ENVIRONMENT_VARIABLE
from app.settings import Settings

FINISH_SECONDS: Final = 60.0
NOWHERE: Final = "redis://127.0.0.1:1/0"
"""A queue that is away: everything must work without, only later."""


def environment(settings: Settings, **more: Any) -> dict[str, str]:
    """The settings as the variables of a process."""
    values: dict[str, str] = {}
    for name, value in settings.model_dump(exclude_none=True).items():
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        text = ",".join(sorted(plain)) if isinstance(plain, frozenset) else str(plain)
        values[f"KITAE_{name.upper()}"] = text
    return {**values, **{f"KITAE_{name.upper()}": str(value) for name, value in more.items()}}


@dataclass
class Crew:
    """Worker processes of one installation."""

    nursery: Nursery
    settings: Settings
    directory: Path = field(default_factory=lambda: Path(mkdtemp(prefix="kitae-crew-")))

    def begin(
        self, *, failpoint: str | None = None, limits: Mapping[str, int] | None = None, **settings: Any
    ) -> Child:
        """A worker that takes steps until nothing is due."""
        variables = environment(self.settings, **settings)
        if failpoint is not None:
            variables[ENVIRONMENT_VARIABLE] = failpoint
        return self.nursery.start(
            [DRIVE, str(FINISH_SECONDS)], variables, log=self.directory / "log", limits=limits
        )

    def killed_at(self, failpoint: str, *, nth: int = 1) -> None:
        """A worker that kills itself there, when it passes for the nth time."""
        ended = self.begin(failpoint=f"{failpoint}:kill" + (f"@{nth}" if nth > 1 else ""))
        code = ended.wait(FINISH_SECONDS + 10)
        assert code == -signal.SIGKILL, f"{failpoint} was not passed: {code} {ended.said()[-3000:]}"

    def finish(self, **settings: Any) -> None:
        """A worker until nothing is left to do."""
        ended = self.begin(**settings)
        code = ended.wait(FINISH_SECONDS + 10)
        assert code == 0, (code, ended.said()[-3000:])

    def start(
        self,
        command: str,
        *,
        failpoint: str | None = None,
        limits: Mapping[str, int] | None = None,
        **settings: Any,
    ) -> Child:
        """`kitae COMMAND`, as an operator starts it; without a queue unless the settings name one."""
        variables = environment(self.settings, **{"redis_url": NOWHERE, **settings})
        if failpoint is not None:
            variables[ENVIRONMENT_VARIABLE] = failpoint
        return self.nursery.start([command], variables, log=self.directory / f"{command}.log", limits=limits)

    def start_api(self, *, port: int | None = None, ready: bool = True, **given: Any) -> tuple[Child, str]:
        """The API and its URL, once it answers.

        Args:
            ready: wait until it can work, not only until it lives.
        """
        port = port or free_port()
        child = self.start("api", port=port, **given)
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + FINISH_SECONDS
        while True:
            try:
                if httpx2.get(f"{url}/{'readyz' if ready else 'healthz'}", timeout=5).status_code == 200:
                    return child, url
            except httpx2.TransportError:
                assert child.poll() is None, child.said()[-3000:]
            assert time.monotonic() < deadline, child.said()[-3000:]
            time.sleep(0.02)
