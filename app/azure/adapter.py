"""`Azure` for the whole process: one pair of clients per resource, made at first use and kept.

It decides which credential and which addresses a resource gets; what is asked of Azure stands elsewhere.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Generic, Protocol, TypeVar

from app.azure.control_plane import ArmControlPlane
from app.azure.credentials import (
    BLOB_SCOPE,
    DATED_SCOPE,
    SEARCH_SCOPE,
    V1_SCOPE,
    BearerTokens,
    Credential,
    FixedToken,
    TokenProviders,
)
from app.azure.data_plane import CHAT_TIMEOUT_SECONDS, PART_BYTES, PARTS_FROM_BYTES, OpenAIDataPlane
from app.azure.port import READ_TIMEOUT_SECONDS, ApiStyle, AuthKind, AzureTarget, SearchTarget
from app.azure.search import AzureSearch
from app.kit.safe_http import Guard

AZURE_HOSTS: Final = frozenset(
    {
        "openai.azure.com",
        "cognitiveservices.azure.com",
        "services.ai.azure.com",
        "management.azure.com",
        "search.windows.net",
        "openai.azure.us",
        "cognitiveservices.azure.us",
        "management.usgovcloudapi.net",
        "search.azure.us",
        "openai.azure.cn",
        "cognitiveservices.azure.cn",
        "management.chinacloudapi.cn",
        "search.azure.cn",
    }
)
"""Where a credential may be sent without an operator's word. Source: Microsoft Learn, API version lifecycle,
2026-03-19 (public hosts); the hosts of the US government and China clouds are unverified."""

MAX_RESOURCES: Final = 64
"""Resources whose clients are kept; the least recently used one is let go beyond it."""


def azure_guard(allowed_origins: Iterable[str] = (), *, own_hosts: Iterable[str] = ()) -> Guard:
    """Azure's own hosts, and the origins an operator names: an emulator, a gateway, a private endpoint."""
    return Guard(
        allowed_origins=frozenset(allowed_origins), host_suffixes=AZURE_HOSTS, own_hosts=frozenset(own_hosts)
    )


class AzureClients:
    """The adapters behind `app.azure.port.Azure`. Safe to share between threads."""

    def __init__(
        self,
        guard: Guard,
        *,
        make_credential: Callable[[], Credential] | None = None,
        timeout_seconds: float = READ_TIMEOUT_SECONDS,
        chat_timeout_seconds: float = CHAT_TIMEOUT_SECONDS,
        max_resources: int = MAX_RESOURCES,
        part_bytes: int = PART_BYTES,
        parts_from_bytes: int = PARTS_FROM_BYTES,
    ) -> None:
        """Opens nothing yet.

        Args:
            guard: which addresses may be reached, usually from `azure_guard`.
            make_credential: how Entra credentials are made; None = azure-identity's default chain.
            timeout_seconds: for each wait on the network in any call but chat, and for a whole answer.
            chat_timeout_seconds: the same for chat.
            max_resources: how many resources' clients are kept.
            part_bytes: size of one part of a large file.
            parts_from_bytes: files from this size on go up in parts.
        """
        self._guard = guard
        self._tokens = TokenProviders(make_credential)
        self._timeout_seconds = timeout_seconds
        self._chat_timeout_seconds = chat_timeout_seconds
        self._part_bytes = part_bytes
        self._parts_from_bytes = parts_from_bytes
        self._data_planes = _Kept[AzureTarget, OpenAIDataPlane](max_resources)
        self._control_planes = _Kept[AzureTarget, ArmControlPlane](max_resources)
        self._search_planes = _Kept[SearchTarget, AzureSearch](max_resources)

    def data_plane(self, target: AzureTarget) -> OpenAIDataPlane:
        """The data plane of a resource; a target that differs in anything has clients of its own."""
        return self._data_planes.get(target, self._new_data_plane)

    def control_plane(self, target: AzureTarget) -> ArmControlPlane:
        """The control plane of a resource. Raises `Refused` when the target has no ARM ids."""
        return self._control_planes.get(target, self._new_control_plane)

    def search_plane(self, target: SearchTarget) -> AzureSearch:
        return self._search_planes.get(target, self._new_search_plane)

    def blob_token(self) -> str:
        return self._tokens.for_scope(BLOB_SCOPE)()

    def close(self) -> None:
        """Closes every client; later calls make new ones."""
        self._data_planes.clear()
        self._control_planes.clear()
        self._search_planes.clear()

    def _new_data_plane(self, target: AzureTarget) -> OpenAIDataPlane:
        tokens: BearerTokens | None = None
        dated_tokens: BearerTokens | None = None
        if target.auth is AuthKind.ENTRA:
            default = V1_SCOPE if target.api_style is ApiStyle.V1 else DATED_SCOPE
            tokens = self._tokens.for_scope(target.entra_scope or default)
            dated_tokens = self._tokens.for_scope(target.entra_scope or DATED_SCOPE)
        return OpenAIDataPlane(
            target,
            guard=self._guard,
            tokens=tokens,
            dated_tokens=dated_tokens,
            timeout_seconds=self._timeout_seconds,
            chat_timeout_seconds=self._chat_timeout_seconds,
            part_bytes=self._part_bytes,
            parts_from_bytes=self._parts_from_bytes,
        )

    def _new_control_plane(self, target: AzureTarget) -> ArmControlPlane:
        tokens: BearerTokens
        if target.arm_token:
            tokens = FixedToken(target.arm_token)
        else:
            tokens = self._tokens.for_scope(f"{target.arm_endpoint.rstrip('/')}/.default")
        return ArmControlPlane(target, guard=self._guard, tokens=tokens, timeout_seconds=self._timeout_seconds)

    def _new_search_plane(self, target: SearchTarget) -> AzureSearch:
        tokens = self._tokens.for_scope(SEARCH_SCOPE) if target.auth is AuthKind.ENTRA else None
        return AzureSearch(target, guard=self._guard, tokens=tokens, timeout_seconds=self._timeout_seconds)


class _Closable(Protocol):
    def close(self) -> None: ...


Target = TypeVar("Target", AzureTarget, SearchTarget)
Plane = TypeVar("Plane", bound=_Closable)


class _Kept(Generic[Target, Plane]):
    """The most recently used planes, by target."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._planes: OrderedDict[Target, Plane] = OrderedDict()

    def get(self, target: Target, make: Callable[[Target], Plane]) -> Plane:
        with self._lock:
            plane = self._planes.get(target)
            if plane is None:
                plane = self._planes[target] = make(target)
            self._planes.move_to_end(target)
            while len(self._planes) > self._limit:
                self._planes.popitem(last=False)  # closes itself when the last call through it has ended
            return plane

    def clear(self) -> None:
        with self._lock:
            planes, self._planes = list(self._planes.values()), OrderedDict()
        for plane in planes:
            plane.close()
