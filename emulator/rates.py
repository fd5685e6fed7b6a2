"""How many calls fit into a window of virtual time; it must not know what is called."""

import threading
from dataclasses import dataclass


@dataclass(slots=True)
class _Window:
    from_v: float
    count: float = 0.0


class Windows:
    """Counts calls in fixed windows of virtual time; forgets at a restart."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def take(
        self, name: str, now_v: float, seconds: float, limit: float, amount: float = 1.0
    ) -> tuple[float, float]:
        """Count `amount`, unless the window is full already.

        Returns: virtual seconds to wait (0: it was counted), and how much of the limit is left.
        """
        with self._lock:
            window = self._windows.get(name)
            if window is None or now_v - window.from_v >= seconds:
                window = self._windows[name] = _Window(now_v)
            if window.count >= limit:
                return window.from_v + seconds - now_v, 0.0
            window.count += amount
            return 0.0, max(0.0, limit - window.count)
