"""HTTP for search indexes."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from app.http.access import ReadConnections, WriteConnections
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.etags import Precondition, etag_of
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.markers import marker
from app.kit.pagination import Page, Slice
from app.retrieval.schemas import SearchIndexCheck, SearchIndexCreate, SearchIndexRead, SearchRequest
from app.retrieval.service import SearchIndexService
from app.retrieval.tables import SearchIndex

router = APIRouter(prefix="/v1/search-indexes", tags=["Baselines"], route_class=StrictRoute)


def _read(row: SearchIndex) -> SearchIndexRead:
    return SearchIndexRead(
        has_api_key=row.api_key_sealed is not None,
        **{
            name: getattr(row, name)
            for name in SearchIndexRead.model_fields
            if name not in {"object", "has_api_key"}
        },
    )


def _answer(request: Request, row: SearchIndex, **more: Any) -> Response:
    return answer(request, _read(row), etag=etag_of(marker(row.id, row.updated_at)), **more)


@router.post(
    "",
    operation_id="createSearchIndex",
    summary="Keep an index of Azure AI Search",
    status_code=201,
    response_model=SearchIndexRead,
    responses=problems(409),
)
def create_search_index(
    *, request: Request, bench: Bench, caller: WriteConnections, new: SearchIndexCreate
) -> Response:
    """Nothing is called yet; `check` does that. A key is stored encrypted and never shown."""
    row = SearchIndexService(bench).create(caller.project_id, new)
    return _answer(request, row, status=201, location=f"/v1/search-indexes/{row.id}")


@router.get(
    "", operation_id="listSearchIndexes", summary="List search indexes", response_model=ListOf[SearchIndexRead]
)
def list_search_indexes(
    *, request: Request, bench: Bench, caller: ReadConnections, page: Annotated[Page, Depends(page_of("six"))]
) -> Response:
    """Archived ones are left out."""
    found = SearchIndexService(bench).page(caller.project_id, page)
    return answer_page(request, page, Slice([_read(row) for row in found.rows], found.has_more))


@router.get(
    "/{search_index}",
    operation_id="getSearchIndex",
    summary="Read a search index",
    response_model=SearchIndexRead,
)
def get_search_index(*, request: Request, bench: Bench, caller: ReadConnections, search_index: str) -> Response:
    """By id or by name."""
    return _answer(request, SearchIndexService(bench).get(caller.project_id, search_index))


@router.delete(
    "/{search_index}", operation_id="archiveSearchIndex", summary="Archive a search index", status_code=204
)
def archive_search_index(
    *,
    bench: Bench,
    caller: WriteConnections,
    search_index: str,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """It can no longer be chosen. A baseline that already asks through it goes on."""
    SearchIndexService(bench).archive(caller.project_id, search_index, check=condition.check)
    return Response(status_code=204)


@router.post(
    "/{search_index}/check",
    operation_id="checkSearchIndex",
    summary="Search once, to try an index",
    response_model=SearchIndexCheck,
)
def check_search_index(
    *, request: Request, bench: Bench, caller: WriteConnections, search_index: str, wanted: SearchRequest
) -> Response:
    """The passages that a baseline would get, or what is missing and how to mend it."""
    return answer(request, SearchIndexService(bench).check(caller.project_id, search_index, wanted))
