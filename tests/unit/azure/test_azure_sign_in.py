"""Tokens: kept, renewed once, shared; and clients kept per resource."""

import gc
import io
import threading
import weakref
from collections.abc import Iterator

import pytest
from azure.core.credentials import AccessToken
from scripted_wire import Says, Wire, scripted_wire

from app.azure.adapter import AzureClients, azure_guard
from app.azure.credentials import FORCED_RENEWAL_SECONDS, TokenProvider, TokenProviders
from app.azure.data_plane import OpenAIDataPlane
from app.azure.port import ApiStyle, AuthKind, AzureTarget, Unauthorised

SCOPE = "https://ai.azure.com/.default"


class Issuer:
    """Stands where azure-identity stands: counts sign-ins and numbers the tokens."""

    def __init__(self, lifetime_seconds: float = 3600, now: float = 1000.0) -> None:
        self.now = now
        self.lifetime_seconds = lifetime_seconds
        self.credentials = 0
        self.scopes: list[str] = []

    def credential(self) -> "Issuer":
        self.credentials += 1
        return self

    def get_token(self, *scopes: str) -> AccessToken:
        self.scopes.extend(scopes)
        return AccessToken(f"token-{len(self.scopes)}", int(self.now + self.lifetime_seconds))


@pytest.fixture
def wire() -> Iterator[Wire]:
    with scripted_wire() as found:
        yield found


def provider(issuer: Issuer) -> TokenProvider:
    return TokenProvider(SCOPE, make_credential=issuer.credential, now=lambda: issuer.now)


def test_a_token_is_kept_until_five_minutes_before_it_expires():
    issuer = Issuer()
    tokens = provider(issuer)
    assert tokens() == tokens() == "token-1"
    issuer.now += 3299
    assert tokens() == "token-1"
    issuer.now += 2
    assert tokens() == "token-2"
    assert issuer.credentials == 1


def test_a_refused_token_is_renewed_with_a_new_credential_but_not_in_a_storm():
    issuer = Issuer()
    tokens = provider(issuer)
    first = tokens()
    assert tokens.renew(first)
    assert tokens() == "token-2"
    assert issuer.credentials == 2
    assert tokens.renew(first), "another thread's refusal of the old token needs no new sign-in"
    assert not tokens.renew("token-2")
    issuer.now += FORCED_RENEWAL_SECONDS + 1
    assert tokens.renew("token-2")


def test_many_threads_share_one_sign_in():
    issuer = Issuer()
    tokens = provider(issuer)
    threads = [threading.Thread(target=tokens) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert issuer.scopes == [SCOPE]


def test_a_sign_in_that_fails_says_what_a_person_can_do():
    def broken() -> Issuer:
        raise RuntimeError("no identity here\nsecret details")

    with pytest.raises(Unauthorised) as caught:
        TokenProvider(SCOPE, make_credential=broken)()
    assert caught.value.code == "azure_no_entra_token"
    assert "no identity here" in caught.value.message
    assert "secret details" not in caught.value.message
    assert caught.value.__context__ is None


def test_each_scope_has_one_provider():
    found = TokenProviders()
    assert found.for_scope("a") is found.for_scope("a")
    assert found.for_scope("a") is not found.for_scope("b")


def entra(wire: Wire, style: ApiStyle, **changes: object) -> AzureTarget:
    fields: dict[str, object] = {
        "connection_id": "con_1",
        "endpoint": wire.origin,
        "api_style": style,
        "api_version": "2024-10-21" if style is ApiStyle.DATED else None,
        "auth": AuthKind.ENTRA,
        "arm_endpoint": wire.origin,
        "subscription_id": "s",
        "resource_group": "g",
        "account": "a",
    }
    return AzureTarget(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("style", "scope"),
    [(ApiStyle.V1, SCOPE), (ApiStyle.DATED, "https://cognitiveservices.azure.com/.default")],
)
def test_a_401_renews_the_token_once_and_repeats_the_request(wire: Wire, style: ApiStyle, scope: str):
    issuer = Issuer(now=4e9)
    azure = AzureClients(azure_guard([wire.origin]), make_credential=issuer.credential)
    wire.will(Says(401, b""), Says(200, {"data": []}))
    assert azure.data_plane(entra(wire, style)).list_models() == []
    assert [asked.headers["authorization"] for asked in wire.asked] == ["Bearer token-1", "Bearer token-2"]
    assert issuer.scopes == [scope, scope]
    assert "api-key" not in wire.asked[0].headers


def test_a_second_401_is_told(wire: Wire):
    issuer = Issuer(now=4e9)
    azure = AzureClients(azure_guard([wire.origin]), make_credential=issuer.credential)
    wire.will(Says(401, b""))
    with pytest.raises(Unauthorised):
        azure.data_plane(entra(wire, ApiStyle.V1)).list_models()
    assert len(wire.asked) == 2
    with pytest.raises(Unauthorised):
        azure.control_plane(entra(wire, ApiStyle.V1)).list_deployments()
    assert len(wire.asked) == 4
    with pytest.raises(Unauthorised):
        azure.data_plane(entra(wire, ApiStyle.V1)).list_models()
    assert len(wire.asked) == 5, "a renewal was forced a moment ago"


def test_a_connection_may_name_its_own_scope_and_arm_has_the_endpoints(wire: Wire):
    issuer = Issuer(now=4e9)
    azure = AzureClients(azure_guard([wire.origin]), make_credential=issuer.credential)
    wire.will(Says(200, {"data": [], "value": []}))
    azure.data_plane(entra(wire, ApiStyle.V1, entra_scope="https://mine/.default")).list_models()
    azure.control_plane(entra(wire, ApiStyle.V1)).list_deployments()
    assert issuer.scopes == ["https://mine/.default", f"{wire.origin}/.default"]


def test_clients_are_kept_per_resource_and_the_oldest_is_let_go(wire: Wire):
    azure = AzureClients(azure_guard([wire.origin]), max_resources=2)
    targets = [entra(wire, ApiStyle.V1, auth=AuthKind.API_KEY, api_key=key) for key in ("a", "b", "c")]
    first = azure.data_plane(targets[0])
    assert azure.data_plane(targets[0]) is first
    http, forgotten = first._whole, weakref.ref(first)
    azure.data_plane(targets[1])
    azure.data_plane(targets[2])
    assert not http.is_closed, "whoever still holds the plane may finish"
    del first
    gc.collect()
    assert forgotten() is None
    assert http.is_closed
    last = azure.data_plane(targets[2])
    azure.close()
    assert last._whole.is_closed


def test_a_key_that_changed_gets_clients_of_its_own(wire: Wire):
    azure = AzureClients(azure_guard([wire.origin]))
    wire.will(Says(200, {"data": []}))
    for key in ("old", "new"):
        azure.data_plane(entra(wire, ApiStyle.V1, auth=AuthKind.API_KEY, api_key=key)).list_models()
    assert [asked.headers["api-key"] for asked in wire.asked] == ["old", "new"]


def test_a_connection_without_a_key_says_so(wire: Wire):
    with pytest.raises(Unauthorised, match="no api key"):
        AzureClients(azure_guard()).data_plane(entra(wire, ApiStyle.V1, auth=AuthKind.API_KEY))


def test_a_large_file_of_a_v1_resource_is_signed_for_the_dated_form(wire: Wire):
    issuer = Issuer(now=4e9)
    tokens = TokenProviders(issuer.credential)
    wire.will(
        Says(200, {"id": "upload-1"}),
        Says(401, b""),
        Says(200, {"id": "part-1"}),
        Says(200, {"id": "upload-1", "file": {"id": "file-1", "status": "pending"}}),
    )
    plane = OpenAIDataPlane(
        entra(wire, ApiStyle.V1),
        guard=azure_guard([wire.origin]),
        tokens=tokens.for_scope(SCOPE),
        dated_tokens=tokens.for_scope("https://cognitiveservices.azure.com/.default"),
        parts_from_bytes=1,
    )
    assert plane.upload_file(filename="a", content=io.BytesIO(b"{}"), purpose="fine-tune").remote_id == "file-1"
    assert set(issuer.scopes) == {"https://cognitiveservices.azure.com/.default"}
    sent = [asked.body.split(b"\r\n\r\n")[1].split(b"\r\n")[0] for asked in wire.asked[1:3]]
    assert sent == [b"{}", b"{}"], "the part is sent whole again"


def test_without_a_token_nothing_is_sent(wire: Wire):
    def broken() -> Issuer:
        raise RuntimeError("no identity here")

    azure = AzureClients(azure_guard([wire.origin]), make_credential=broken)
    for style in ApiStyle:
        with pytest.raises(Unauthorised):
            azure.data_plane(entra(wire, style)).list_models()
    with pytest.raises(Unauthorised):
        azure.control_plane(entra(wire, ApiStyle.V1)).list_models()
    assert wire.asked == []
