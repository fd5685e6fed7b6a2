"""Real files that lie beside a checkout; tests that need one are skipped where it is absent."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared(name: str) -> Path:
    """The path of one real file, or a clean skip of the calling test."""
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"the real file {name} is not on this machine")
    return path
