"""Entra tokens for the adapters, one provider per scope, kept until shortly before they expire.

It knows neither endpoints nor calls. azure-identity is imported when the first token is asked for (0.4 s).
Only azure-identity may reach the instance metadata address; our own client refuses it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from app.azure.port import Unauthorised

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

DATED_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
"""Source: Azure OpenAI authoring spec 2025-04-01-preview, security section."""
V1_SCOPE: Final = "https://ai.azure.com/.default"
"""Source: Microsoft Learn, Azure OpenAI troubleshooting page, 2026-09-20. The v1 OpenAPI of 2026-02 still
names the cognitiveservices scope; a connection may set either."""

BLOB_SCOPE: Final = "https://storage.azure.com/.default"
"""Source: Microsoft Learn, Authorize access to blobs using Microsoft Entra ID, 2025."""

SEARCH_SCOPE: Final = "https://search.azure.com/.default"
"""Source: Microsoft Learn, Connect to Azure AI Search using roles, 2025."""

RENEW_BEFORE_SECONDS: Final = 300.0
"""A token is renewed this long before it expires, so that no call of ours outlives it."""
FORCED_RENEWAL_SECONDS: Final = 30.0
"""Two forced renewals are at least this far apart: a wrong role must not become a storm of sign-ins."""


class Credential(Protocol):
    """The part of azure-identity's credentials that is used here."""

    def get_token(self, *scopes: str) -> "AccessToken": ...


class TokenProvider:
    """A bearer token for one scope; call it for a token, `renew` after a 401. Safe between threads."""

    def __init__(
        self,
        scope: str,
        *,
        make_credential: Callable[[], Credential] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Signs in at the first call, not here.

        Args:
            scope: e.g. `https://ai.azure.com/.default`.
            make_credential: None = azure-identity's default chain.
            now: Unix seconds, as token expiries are.
        """
        self.scope = scope
        self._make_credential = make_credential or default_credential
        self._now = now
        self._lock = threading.Lock()
        self._credential: Credential | None = None
        self._token = ""
        self._expires_at = 0.0
        self._renewed_at = float("-inf")

    def __repr__(self) -> str:
        return f"TokenProvider({self.scope!r})"

    def __call__(self) -> str:
        """A token that is valid for some minutes yet.

        Raises:
            Unauthorised: no way of signing in worked.
        """
        with self._lock:
            if self._now() < self._expires_at - RENEW_BEFORE_SECONDS:
                return self._token
            return self._sign_in()

    def renew(self, refused: str) -> bool:
        """Forgets a token that Azure refused; True when the next call gives another one.

        The credential is made anew, because azure-identity keeps tokens of its own.
        """
        with self._lock:
            if self._token != refused:
                return True  # another thread has renewed it meanwhile
            if self._now() - self._renewed_at < FORCED_RENEWAL_SECONDS:
                return False
            self._renewed_at = self._now()
            self._credential = None
            self._token = ""  # so that others who were refused with it see that it is being renewed
            self._expires_at = 0.0
            return True

    def _sign_in(self) -> str:
        failure = ""
        try:
            if self._credential is None:
                self._credential = self._make_credential()
            got = self._credential.get_token(self.scope)
        except Exception as exc:  # noqa: BLE001  # a door: azure-identity's many errors become one of ours
            failure = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        if failure:
            raise Unauthorised(
                f"No Entra token for {self.scope}: {failure[:600]}",
                code="azure_no_entra_token",
                hint="Give the service a workload identity, a managed identity or AZURE_CLIENT_ID, "
                "AZURE_TENANT_ID and AZURE_CLIENT_SECRET; on a laptop, sign in with `az login`.",
            )
        self._token, self._expires_at = got.token, float(got.expires_on)
        return self._token


@dataclass(frozen=True, slots=True)
class FixedToken:
    """A token that someone set, for an emulator or a test; it cannot be renewed."""

    token: str

    def __repr__(self) -> str:
        return "FixedToken(…)"

    def __call__(self) -> str:
        return self.token

    def renew(self, refused: str) -> bool:  # noqa: ARG002  # same shape as TokenProvider
        """Always False."""
        return False


BearerTokens = TokenProvider | FixedToken


def default_credential() -> Credential:
    """Workload identity, managed identity, environment or a developer's sign-in, whichever answers first."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(exclude_interactive_browser_credential=True)


class TokenProviders:
    """One provider per scope, shared by every connection of this process: they are the same identity."""

    def __init__(self, make_credential: Callable[[], Credential] | None = None) -> None:
        self._make_credential = make_credential
        self._lock = threading.Lock()
        self._by_scope: dict[str, TokenProvider] = {}

    def for_scope(self, scope: str) -> TokenProvider:
        """The provider of a scope, made at the first ask."""
        with self._lock:
            if scope not in self._by_scope:
                self._by_scope[scope] = TokenProvider(scope, make_credential=self._make_credential)
            return self._by_scope[scope]
