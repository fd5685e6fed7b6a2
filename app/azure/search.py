"""One index of Azure AI Search, asked for passages. It must not know what they are for.

Source: Azure AI Search REST, Documents - Search Post, 2024-07-01; roles and scope: Microsoft Learn, Connect to
Azure AI Search using roles, 2025 (Search Index Data Reader).
"""

import json
import re
import weakref
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx2

from app.azure import payloads
from app.azure.credentials import BearerTokens
from app.azure.mapping import CallKind, error_from_answer, error_from_garbage, error_from_silence
from app.azure.port import READ_TIMEOUT_SECONDS, Passage, Refused, SearchTarget
from app.kit.safe_http import Guard, guarded_client

API_VERSION: Final = "2024-07-01"
QUERY_CHARACTERS: Final = 2000
"""Of one question; a longer one is cut. Keyword search gains nothing from more words."""
_OPERATORS: Final = re.compile(r"[+|\"()'*~\\^:/\[\]{}!&-]+")
"""What the simple query syntax would read as an order instead of a word. Source: Simple query syntax, 2025."""


class AzureSearch:
    """`SearchPlane` of one index. Safe to share between threads; `close` when no longer needed."""

    def __init__(
        self,
        target: SearchTarget,
        *,
        guard: Guard,
        tokens: BearerTokens | None,
        timeout_seconds: float = READ_TIMEOUT_SECONDS,
    ) -> None:
        """Opens nothing yet.

        Args:
            tokens: None = the target's key.
        """
        self._target = target
        self._tokens = tokens
        name = quote(target.index, safe="")
        self._url = httpx2.URL(
            f"{target.endpoint.rstrip('/')}/indexes('{name}')/docs/search.post.search",
            params={"api-version": API_VERSION},
        )
        self._http = guarded_client(guard, timeout_seconds=timeout_seconds)
        self._closer = weakref.finalize(self, self._http.close)

    def __repr__(self) -> str:
        return f"AzureSearch({self._target.endpoint}, {self._target.index!r})"

    def close(self) -> None:
        """Closes the connections; calls after it fail. Happens by itself when nobody holds the plane."""
        self._closer()

    def search(self, text: str, *, top: int) -> list[Passage]:
        what = f"searching the index {self._target.index}"
        answer = self._send(what, json.dumps(self._body(text, top)).encode())
        try:
            rows = payloads.items_of(payloads.decode_object(answer.content), "value")
        except payloads.UnreadableAnswerError:
            rows = None
        if rows is None:
            raise error_from_garbage(kind=CallKind.READ, what=what, status=answer.status_code, body=answer.content)
        return [self._passage(row) for row in rows][:top]

    def _body(self, text: str, top: int) -> dict[str, Any]:
        target = self._target
        body: dict[str, Any] = {
            "search": " ".join(_OPERATORS.sub(" ", text).split())[:QUERY_CHARACTERS] or "*",
            "top": top,
            "select": ",".join(name for name in (target.content_field, target.title_field) if name),
        }
        if target.semantic_configuration:
            body |= {"queryType": "semantic", "semanticConfiguration": target.semantic_configuration}
        return body

    def _passage(self, row: Mapping[str, Any]) -> Passage:
        """Raises `Refused` (`search_field_missing`): the index has no such field, or it holds no text."""
        text = row.get(self._target.content_field)
        if not isinstance(text, str):
            raise Refused(
                f"The field {self._target.content_field!r} of the index {self._target.index} holds no text.",
                code="search_field_missing",
                hint="Name a retrievable field of type Edm.String as the search index's content field.",
                http_status=200,
            )
        title = row.get(self._target.title_field or "")
        score = row.get("@search.rerankerScore") or row.get("@search.score")
        return Passage(
            text=text,
            title=title if isinstance(title, str) else "",
            score=float(score) if isinstance(score, int | float) else None,
        )

    def _send(self, what: str, content: bytes) -> httpx2.Response:
        """Sends once, or twice when the token was refused and could be renewed. Raises `AzureError`."""
        secret = self._tokens() if self._tokens else self._target.api_key or ""
        answer = self._once(secret, content)
        if (
            self._tokens is not None
            and isinstance(answer, httpx2.Response)
            and answer.status_code == 401
            and self._tokens.renew(secret)
        ):
            secret = self._tokens()
            answer = self._once(secret, content)
        if not isinstance(answer, httpx2.Response):
            raise error_from_silence(kind=CallKind.READ, what=what, cause=answer)
        if answer.is_success:
            return answer
        raise error_from_answer(
            kind=CallKind.READ,
            what=what,
            status=answer.status_code,
            headers=answer.headers,
            body=answer.content,
            secrets=[secret],
        )

    def _once(self, secret: str, content: bytes) -> httpx2.Response | httpx2.HTTPError:
        """The answer, or what went wrong; httpx2's exceptions end here, since they hold the secret."""
        proof = {"Authorization": f"Bearer {secret}"} if self._tokens else {"api-key": secret}
        headers = {**proof, "Accept": "application/json", "Content-Type": "application/json"}
        try:
            return self._http.request("POST", self._url, content=content, headers=headers)
        except httpx2.HTTPError as exc:
            return exc
