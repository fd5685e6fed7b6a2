"""What every data-plane handler asks first: who calls, in which form, which resource, and with what fate."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from emulator.wire import Dialect, check_arm, check_data_plane, dialect_of, read_object, read_optional_object
from emulator.world import World


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted request.

    `account` is the state key of its resource (empty for the default one). `fate` is what a fault rule has in store
    for whatever the request creates; `list_lag_seconds`, `list_order` and `page_shift` are for a list it reads.
    """

    dialect: Dialect
    account: str
    url: str
    world: World
    fate: dict[str, Any]
    list_lag_seconds: float = 0.0
    list_order: str = ""
    page_shift: int = 0


def world_of(request: Request) -> World:
    world: World = request.app.state.world
    return world


def _call(request: Request, dialect: Dialect) -> Call:
    plan: dict[str, Any] = request.scope.get("emulator.plan", {})
    return Call(
        dialect=dialect,
        account=request.scope.get("emulator.account", ""),
        url=str(request.url.replace(query="", path=request.scope.get("emulator.prefix", "") + request.url.path)),
        world=world_of(request),
        fate=plan.get("fate", {}),
        list_lag_seconds=float(plan.get("list_lag_seconds", 0.0)),
        list_order=plan.get("list_order", ""),
        page_shift=int(plan.get("page_shift", 0)),
    )


async def data_plane(request: Request) -> Call:
    """Admit a data-plane request.

    Raises:
        Refusal: 401 without an accepted credential, 404 or 400 for a wrong api-version.
    """
    settings = world_of(request).settings
    check_data_plane(request, settings.key, settings.bearer)
    return _call(request, dialect_of(request))


async def arm(request: Request) -> Call:
    """Admit an ARM request; 401 without an accepted bearer token."""
    check_arm(request, world_of(request).settings.bearer)
    return _call(request, Dialect("arm", request.query_params.get("api-version", "")))


DataCall = Annotated[Call, Depends(data_plane)]
ArmCall = Annotated[Call, Depends(arm)]
Body = Annotated[dict[str, Any], Depends(read_object)]
OptionalBody = Annotated[dict[str, Any], Depends(read_optional_object)]
AnyWorld = Annotated[World, Depends(world_of)]
