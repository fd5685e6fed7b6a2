"""Deployments, quota and models of one account, as plain requests to Azure Resource Manager (ARM).

It waits for nothing: a write is sent, and its end is seen by later reads. Why no management SDK stands here:
docs/decisions/0006-arm-by-rest.md.
"""

import json
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx2

from app.azure import payloads
from app.azure.credentials import BearerTokens
from app.azure.mapping import (
    CallKind,
    error_from_answer,
    error_from_garbage,
    error_from_silence,
    retry_after_seconds,
)
from app.azure.port import (
    READ_TIMEOUT_SECONDS,
    AzureTarget,
    NewRemoteDeployment,
    NotThere,
    Refused,
    RemoteDeployment,
    RemoteOperation,
    Unavailable,
    Usage,
)
from app.kit.safe_http import Guard, guarded_client

MAX_PAGES: Final = 200
"""A list that never ends is a fault of the other side."""

Parsed = TypeVar("Parsed")


class ArmControlPlane:
    """`ControlPlane` of one account. Safe to share between threads; `close` when no longer needed."""

    def __init__(
        self,
        target: AzureTarget,
        *,
        guard: Guard,
        tokens: BearerTokens,
        timeout_seconds: float = READ_TIMEOUT_SECONDS,
    ) -> None:
        """Opens nothing yet; connections are made by the first call.

        Raises:
            Refused: the target lacks the ids that name an account in ARM.
        """
        ids = {
            "subscription_id": target.subscription_id,
            "resource_group": target.resource_group,
            "account": target.account,
        }
        missing = [name for name, value in ids.items() if not value]
        if missing:
            raise Refused(
                f"The connection does not say where its account is: {', '.join(missing)}",
                code="azure_arm_not_configured",
                hint="Add the subscription id, the resource group and the account's name to the connection; "
                "without them models can be trained but not deployed.",
            )
        subscription = f"/subscriptions/{quote(str(ids['subscription_id']), safe='')}"
        self._account_path = (
            f"{subscription}/resourceGroups/{quote(str(ids['resource_group']), safe='')}"
            f"/providers/Microsoft.CognitiveServices/accounts/{quote(str(ids['account']), safe='')}"
        )
        self._region_path = (
            f"{subscription}/providers/Microsoft.CognitiveServices/locations/{quote(target.region, safe='')}"
            if target.region
            else None
        )
        self._base = target.arm_endpoint.rstrip("/")
        self._api_version = target.arm_api_version
        self._tokens = tokens
        self._http = guarded_client(guard, timeout_seconds=timeout_seconds)
        self._closer = weakref.finalize(self, self._http.close)

    def __repr__(self) -> str:
        return f"ArmControlPlane({self._base}{self._account_path!r})"

    def close(self) -> None:
        """Closes the connections; calls after it fail. Happens by itself when nobody holds the plane."""
        self._closer()

    def put_deployment(self, new: NewRemoteDeployment) -> RemoteDeployment:
        """Source: ARM `Deployments - Create Or Update`, 2024-10-01; a fine-tuned model's version is `1`."""
        body = {
            "sku": {"name": new.sku_name, "capacity": new.capacity},
            "properties": {
                "model": {
                    "format": new.model_format,
                    "name": new.model_name,
                    "version": new.model_version,
                },
                "versionUpgradeOption": "NoAutoUpgrade",
            },
            "tags": dict(new.tags),
        }
        what = f"creating deployment {new.name}"
        return self._deployment(what, new.name, self._send(what, "PUT", self._deployment_url(new.name), body))

    def get_deployment(self, name: str) -> RemoteDeployment | None:
        what = f"reading deployment {name}"
        try:
            response = self._send(what, "GET", self._deployment_url(name))
        except NotThere as exc:
            if exc.code == "azure_resource_not_found" or "error" not in exc.remote:
                raise  # the account is missing, or something that is not ARM answered
            return None
        return self._deployment(what, name, response)

    def update_deployment(
        self, name: str, *, sku_name: str, capacity: int, tags: Mapping[str, str]
    ) -> RemoteDeployment:
        """ARM's PATCH takes `sku` and `tags` only. Source: ARM `Deployments - Update`, 2024-10-01."""
        body = {"sku": {"name": sku_name, "capacity": capacity}, "tags": dict(tags)}
        what = f"changing deployment {name}"
        response = self._send(what, "PATCH", self._deployment_url(name), body)
        return self._deployment(what, name, response)

    def delete_deployment(self, name: str) -> None:
        try:
            self._send(f"deleting deployment {name}", "DELETE", self._deployment_url(name))
        except NotThere as exc:
            if exc.code == "azure_resource_not_found":
                raise

    def list_deployments(self) -> list[RemoteDeployment]:
        what = "listing deployments"
        return self._items(what, f"{self._account_path}/deployments", payloads.deployment_from)

    def get_operation(self, url: str) -> RemoteOperation:
        what = "reading an operation"
        if not self._is_ours(url):
            raise Refused(
                "The operation's address is not on the ARM endpoint",
                code="azure_foreign_url",
                hint="The token is only sent to the ARM endpoint of the connection.",
            )
        response = self._send(what, "GET", httpx2.URL(url))
        wait = self._wait(response)
        return self._read(what, response, lambda raw: payloads.operation_from(raw, retry_after_seconds=wait))

    def list_models(self) -> list[Mapping[str, Any]]:
        return self._items("listing the account's models", f"{self._account_path}/models", lambda raw: raw)

    def list_usages(self) -> list[Usage]:
        """The region's quota where the connection names its region, otherwise the account's."""
        path = f"{self._region_path or self._account_path}/usages"
        return [usage for usage in self._items("reading quota", path, payloads.usage_from) if usage]

    def tuned_capacity(self, *, model_format: str, name: str, version: str) -> dict[str, float]:
        """Source: ARM `Location Based Model Capacities - List`, 2024-10-01: `availableFinetuneCapacity`."""
        if self._region_path is None:
            return {}
        asked = {"modelFormat": model_format, "modelName": name, "modelVersion": version}
        what = f"reading the capacity of {name}"
        found = self._items(what, f"{self._region_path}/modelCapacities", payloads.tuned_capacity_from, asked)
        return {sku: left for sku, left in found if sku is not None and left is not None}

    def _deployment_url(self, name: str) -> httpx2.URL:
        if not name or name in {".", ".."}:
            raise ValueError(f"{name!r} is not the name of a deployment")
        return self._url(f"{self._account_path}/deployments/{quote(name, safe='')}")

    def _url(self, path: str, asked: Mapping[str, str] | None = None) -> httpx2.URL:
        return httpx2.URL(f"{self._base}{path}", params={**(asked or {}), "api-version": self._api_version})

    def _is_ours(self, url: str) -> bool:
        """True for an absolute URL on the same scheme, host and port as the ARM endpoint."""
        try:
            found, base = httpx2.URL(url), httpx2.URL(self._base)
        except httpx2.InvalidURL:
            return False
        same = (found.scheme, found.host, found.port) == (base.scheme, base.host, base.port)
        return same and not found.userinfo

    def _send(
        self, what: str, method: str, url: httpx2.URL, body: Mapping[str, Any] | None = None
    ) -> httpx2.Response:
        """Sends once, or twice when the token was refused and could be renewed.

        Raises:
            AzureError: as the port says, for anything but a 2xx.
        """
        content = None if body is None else json.dumps(body).encode()
        token = self._tokens()
        answer = self._once(method, url, token, content)
        if isinstance(answer, httpx2.Response) and answer.status_code == 401 and self._tokens.renew(token):
            token = self._tokens()
            answer = self._once(method, url, token, content)
        if not isinstance(answer, httpx2.Response):
            raise error_from_silence(kind=CallKind.CONTROL, what=what, cause=answer)
        if answer.is_success:
            return answer
        raise error_from_answer(
            kind=CallKind.CONTROL,
            what=what,
            status=answer.status_code,
            headers=answer.headers,
            body=answer.content,
            secrets=[token],
        )

    def _once(
        self, method: str, url: httpx2.URL, token: str, content: bytes | None
    ) -> httpx2.Response | httpx2.HTTPError:
        """The answer, or what went wrong; httpx2's exceptions end here, since they hold the token."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            return self._http.request(method, url, content=content, headers=headers)
        except httpx2.HTTPError as exc:
            return exc

    def _read(self, what: str, response: httpx2.Response, parse: Callable[[dict[str, Any]], Parsed]) -> Parsed:
        try:
            return parse(payloads.decode_object(response.content))
        except payloads.UnreadableAnswerError:
            pass
        raise error_from_garbage(
            kind=CallKind.CONTROL, what=what, status=response.status_code, body=response.content
        )

    def _deployment(self, what: str, name: str, response: httpx2.Response) -> RemoteDeployment:
        """The answer to a read or write; a 202 or 204 without a body still names the operation."""
        headers = response.headers
        operation_url = headers.get("azure-asyncoperation") or headers.get("location")
        wait = self._wait(response)
        if response.status_code in {202, 204} and not response.content.strip():
            raw: dict[str, Any] = {"name": name, "properties": {"provisioningState": "Accepted"}}
            return payloads.deployment_from(raw, operation_url=operation_url, retry_after_seconds=wait)
        return self._read(
            what,
            response,
            lambda raw: payloads.deployment_from(raw, operation_url=operation_url, retry_after_seconds=wait),
        )

    def _wait(self, response: httpx2.Response) -> float | None:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return retry_after_seconds(headers, now=datetime.now(UTC))

    def _items(
        self,
        what: str,
        path: str,
        parse: Callable[[dict[str, Any]], Parsed],
        asked: Mapping[str, str] | None = None,
    ) -> list[Parsed]:
        """Every item of a list over all its pages; `nextLink` is followed within the ARM endpoint only."""

        def read(page: dict[str, Any]) -> tuple[list[Parsed], str]:
            following = page.get("nextLink")
            items = [parse(item) for item in payloads.items_of(page, "value")]
            return items, following if isinstance(following, str) else ""

        found: list[Parsed] = []
        seen: set[str] = set()
        url = self._url(path, asked)
        while True:
            items, following = self._read(what, self._send(what, "GET", url), read)
            found += items
            if not following:
                return found
            if following in seen or len(seen) >= MAX_PAGES or not self._is_ours(following):
                raise Unavailable(
                    f"ARM's next page leads astray while {what}",
                    code="azure_paging_broken",
                    hint="It is tried again.",
                )
            seen.add(following)
            url = httpx2.URL(following)
