"""Lists at the HTTP door: which page was asked for, and the envelope in which it is answered."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from app.http.responses import answer
from app.kit.errors import FieldError, Invalid
from app.kit.ids import is_id
from app.kit.pagination import Page, Slice

T = TypeVar("T")


class ListOf(BaseModel, Generic[T]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[T] = Field(description="The page's items, in the order asked for.")
    first_id: str | None = Field(description="Id of the first item; pass it as `before` to page back.")
    last_id: str | None = Field(description="Id of the last item; pass it as `after` to go on.")
    has_more: bool = Field(description="Whether more items follow in the direction that was read.")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """`JobReadList` reads better in generated clients than `ListOf_JobRead_`."""
        return f"{params[0].__name__}List"


def page_of(prefix: str) -> Callable[..., Awaitable[Page]]:
    """A dependency that reads `limit`, `after`, `before` and `order` for a list of ids with this prefix.

    A cursor that is no id of this kind answers 422; one whose row is gone still marks its place.
    """
    form = {"pattern": f"^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"}

    async def page(
        limit: Annotated[int, Query(ge=1, le=200, description="Most items in the answer.")] = 20,
        after: Annotated[
            str | None, Query(description="Only items behind this id.", max_length=40, json_schema_extra=form)
        ] = None,
        before: Annotated[
            str | None, Query(description="Only items in front of this id.", max_length=40, json_schema_extra=form)
        ] = None,
        order: Annotated[Literal["asc", "desc"], Query(description="`desc` = newest first.")] = "desc",
    ) -> Page:
        errors = [
            FieldError(parameter=name, code="cursor_invalid", detail=f"{cursor!r} is not an id of this list.")
            for name, cursor in (("after", after), ("before", before))
            if cursor is not None and not is_id(cursor, prefix)
        ]
        if errors:
            raise Invalid(errors[0].detail, code="cursor_invalid", errors=errors)
        if after is not None and before is not None:
            raise Invalid("Give `after` or `before`, not both.", code="cursor_invalid")
        return Page(limit=limit, after=after, before=before, descending=order == "desc")

    return page


def answer_page(request: Request, page: Page, rows: Slice[Any]) -> Response:
    """The list envelope with its `Link` header and an ETag.

    Args:
        rows: schemas, or mapping rows that have a schema's members already; each with an `id`.
    """
    first = _id_of(rows.rows[0]) if rows.rows else None
    last = _id_of(rows.rows[-1]) if rows.rows else None
    envelope = {"object": "list", "data": rows.rows, "first_id": first, "last_id": last, "has_more": rows.has_more}
    headers = _link(request, page, first, last) if rows.has_more else {}
    return answer(request, envelope, headers=headers)


def _id_of(row: Any) -> str:
    return str(row["id"] if isinstance(row, Mapping) else row.id)


def _link(request: Request, page: Page, first: str | None, last: str | None) -> dict[str, str]:
    back = page.before is not None
    url = request.url.remove_query_params(["after", "before"])
    url = url.include_query_params(**({"before": first} if back else {"after": last}))
    return {"Link": f'<{url.path}?{url.query}>; rel="{"prev" if back else "next"}"'}
