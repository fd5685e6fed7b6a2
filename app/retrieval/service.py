"""What one can do with search indexes: keep them, try them, find passages."""

from app.azure.port import AuthKind, AzureError, Passage, SearchTarget
from app.kit import named
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.markers import CheckMarker, any_marker
from app.kit.pagination import Page, Slice
from app.retrieval.schemas import PassageRead, SearchIndexCheck, SearchIndexCreate, SearchRequest
from app.retrieval.tables import SearchIndex
from app.workbench import Workbench


class SearchIndexService:
    """The search indexes of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def create(self, project_id: str, wanted: SearchIndexCreate) -> SearchIndex:
        """Keep an index; nothing is called. Raises `Conflict` (`name_taken`), `Invalid` (endpoint)."""
        index_id = new_id("six")
        key = wanted.api_key if wanted.auth == "api_key" else None
        row = SearchIndex(
            id=index_id,
            project_id=project_id,
            name=wanted.name,
            endpoint=self._reachable(wanted.endpoint),
            index=wanted.index,
            auth=wanted.auth,
            api_key_sealed=self._bench.vault.seal(key.get_secret_value(), row_id=index_id) if key else None,
            content_field=wanted.content_field,
            title_field=wanted.title_field,
            semantic_configuration=wanted.semantic_configuration,
        )
        with self._bench.begin() as work:
            if named.find(work.session, SearchIndex, project_id, wanted.name):
                raise Conflict(f"A search index named {wanted.name!r} exists already.", code="name_taken")
            work.session.add(row)
            work.session.flush()
            work.session.refresh(row)
            work.announce("search_index.created", project_id=project_id, subject_id=index_id, name=wanted.name)
        return row

    def _reachable(self, url: str) -> str:
        try:
            return self._bench.check_url(url)
        except ValueError as error:
            field = FieldError(pointer="/endpoint", detail=str(error), code="url_not_allowed")
            raise Invalid(f"This URL may not be called: {error}", code="url_not_allowed", errors=[field]) from error

    def get(self, project_id: str, ref: str) -> SearchIndex:
        """By id or name. Raises `NotFound`."""
        with self._bench.read() as session:
            row = named.find(session, SearchIndex, project_id, ref)
        if row is None:
            raise NotFound(f"There is no search index {ref!r} in this project.", code="search_index_not_found")
        return row

    def page(self, project_id: str, wanted: Page) -> Slice[SearchIndex]:
        with self._bench.read() as session:
            return named.page(session, SearchIndex, project_id, wanted)

    def archive(self, project_id: str, ref: str, *, check: CheckMarker = any_marker) -> None:
        """Hide it. A baseline that already asks through it goes on."""
        row = self.get(project_id, ref)
        with self._bench.begin() as work:
            check(named.lock_marker(work.session, SearchIndex, row.id))
            named.change(work.session, SearchIndex, row.id, {"archived_at": utc_now()})
            work.announce("search_index.archived", project_id=project_id, subject_id=row.id)

    def check(self, project_id: str, ref: str, wanted: SearchRequest) -> SearchIndexCheck:
        """Search once, and say what is missing and how to mend it."""
        row = self.get(project_id, ref)
        detail, hint, found, ok = "", "", list[Passage](), True
        try:
            found = self._search(row, wanted.text, top=wanted.passages)
        except AzureError as error:
            detail, hint, ok = error.message, error.hint, False
        if ok:
            characters = sum(len(passage.text) for passage in found)
            detail = f"{len(found)} passage{'s' if len(found) != 1 else ''}, {characters:,} characters"
            hint = "" if found else "Nothing was found: is the index filled, and does the text hold its words?"
        outcome = SearchIndexCheck(
            search_index=row.id,
            ok=ok,
            detail=detail,
            hint=hint,
            passages=[PassageRead(text=one.text, title=one.title, score=one.score) for one in found],
        )
        with self._bench.begin() as work:
            work.note("search_index.checked", project_id=project_id, subject_id=row.id, ok=ok)
        return outcome

    def search(self, index_id: str, text: str, *, top: int) -> list[Passage]:
        """For workers, whose row names its index. Raises `AzureError`."""
        with self._bench.read() as session:
            row = session.get_one(SearchIndex, index_id)
        return self._search(row, text, top=top)

    def _search(self, row: SearchIndex, text: str, *, top: int) -> list[Passage]:
        sealed = row.api_key_sealed
        target = SearchTarget(
            search_index_id=row.id,
            endpoint=row.endpoint,
            index=row.index,
            auth=AuthKind(row.auth),
            api_key=self._bench.vault.open(sealed, row_id=row.id) if sealed else None,
            content_field=row.content_field,
            title_field=row.title_field,
            semantic_configuration=row.semantic_configuration,
        )
        return self._bench.azure.search_plane(target).search(text, top=top)
