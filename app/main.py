"""The HTTP door: one app from settings and a workbench. It holds no rule of the domain."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app.access import endpoints as access_endpoints
from app.access.measures import MEASURES as ACCESS_MEASURES
from app.access.measures import halted_by_setting
from app.access.service import AccessService
from app.adoptions import endpoints as adoptions_endpoints
from app.audit import endpoints as audit_endpoints
from app.audit.service import AuditService
from app.baselines import endpoints as baselines_endpoints
from app.baselines.measures import MEASURES as BASELINES_MEASURES
from app.calibrations import endpoints as calibrations_endpoints
from app.connections import endpoints as connections_endpoints
from app.connections.measures import MEASURES as CONNECTIONS_MEASURES
from app.costs import endpoints as costs_endpoints
from app.datasets import endpoints as datasets_endpoints
from app.datasets import transform_endpoints, upload_endpoints
from app.datasets.measures import MEASURES as DATASETS_MEASURES
from app.deployments import endpoints as deployments_endpoints
from app.deployments.measures import MEASURES as DEPLOYMENTS_MEASURES
from app.deployments.service import DeploymentService
from app.events import endpoints as events_endpoints
from app.exports import endpoints as exports_endpoints
from app.generation import endpoints as generation_endpoints
from app.generation.measures import MEASURES as GENERATION_MEASURES
from app.http import docs, health
from app.http.access import KeyRing
from app.http.deeds import AuditRules, DeedsRecorded
from app.http.health import Probe
from app.http.limits import Limits
from app.http.metrics import DatabaseCollector, request_seconds
from app.http.openapi import complete
from app.http.problems import install_problem_handlers
from app.http.rates import BURST_SECONDS, Buckets, RateFields, Rates, Slots
from app.http.request_id import RequestIds
from app.http.security import SecurityHeaders
from app.http.server import Stopping
from app.jobs import endpoints as jobs_endpoints
from app.jobs import understanding_endpoints
from app.jobs.measures import MEASURES as JOBS_MEASURES
from app.kit.measures import Measure
from app.models import endpoints as models_endpoints
from app.retrieval import endpoints as retrieval_endpoints
from app.settings import Settings
from app.studies import endpoints as studies_endpoints
from app.studies.measures import MEASURES as STUDIES_MEASURES
from app.triggers import endpoints as triggers_endpoints
from app.upkeep import endpoints as upkeep_endpoints
from app.upkeep.measures import MEASURES as UPKEEP_MEASURES
from app.workbench import Workbench

ROUTERS: Final[tuple[APIRouter, ...]] = (
    access_endpoints.router,
    audit_endpoints.router,
    costs_endpoints.router,
    events_endpoints.router,
    connections_endpoints.router,
    datasets_endpoints.router,
    upload_endpoints.router,
    transform_endpoints.router,
    understanding_endpoints.router,  # before jobs: its /v1/jobs/compare is no job
    jobs_endpoints.router,
    adoptions_endpoints.router,
    models_endpoints.router,
    exports_endpoints.router,
    deployments_endpoints.router,
    deployments_endpoints.chat_router,
    generation_endpoints.router,
    calibrations_endpoints.router,
    baselines_endpoints.router,
    retrieval_endpoints.router,
    studies_endpoints.router,
    upkeep_endpoints.router,
    triggers_endpoints.router,
    triggers_endpoints.hooks_router,
)
"""Every room's door, in the order of a model's life."""

MEASURES: Final[tuple[Measure, ...]] = (
    *ACCESS_MEASURES,
    *CONNECTIONS_MEASURES,
    *DATASETS_MEASURES,
    *JOBS_MEASURES,
    *DEPLOYMENTS_MEASURES,
    *GENERATION_MEASURES,
    *BASELINES_MEASURES,
    *STUDIES_MEASURES,
    *UPKEEP_MEASURES,
)
"""What the rooms count for Prometheus."""

AUDIT: Final = AuditRules(
    reads=frozenset({"getContent", "previewVersion", "getRowLineage", "listChanges", "listBaselineAnswers"}),
    silent=frozenset({"compareDatasets", "estimateVersion", "putPart", "chat", "validateGrader"}),
)
"""Reads that hand out training rows leave a record. Not recorded: POSTs that only compute, the parts of an upload
whose beginning and end are, and chat, which is traffic and no change."""
COSTLY: Final = frozenset(
    {
        *("putContent", "createVersion", "putPart", "completeUpload", "transformVersion", "estimateVersion"),
        *("listChanges", "getRowLineage"),
        *(
            "compareDatasets",
            "getContent",
            "chat",
            "checkConnection",
            "generate",
            "getCoverage",
            "createBaseline",
            "checkSearchIndex",
            "calibrateGrader",
            "importBundle",
            "getModelBundle",
        ),
    }
)
"""Operations that hold a thread for long: a project may have only so many of them under way."""

DESCRIPTION: Final = """\
The whole life of a fine-tuned model on Azure OpenAI: datasets, jobs, models, deployments.

Send an API key as `Authorization: Bearer ftk_live_…`. Lists are paged by id (`limit`, `after`, `before`, `order`).
Every error is a problem document (RFC 9457); programs match on its `code`. Times are RFC 3339 in UTC, money is USD
as decimal text. POSTs that can spend take an `Idempotency-Key`.
"""


class Service(FastAPI):
    """FastAPI with our layers around everything, its own error pages included."""

    def __init__(self, settings: Settings, bench: Workbench, registry: CollectorRegistry, **options: Any) -> None:
        self._settings = settings
        self._bench = bench
        self._seconds = request_seconds(registry)
        super().__init__(**options)

    def build_middleware_stack(self) -> ASGIApp:
        """Outermost first: ids, headers, rates, deeds, limits, then what FastAPI builds."""
        inner = super().build_middleware_stack()
        limited = Limits(inner, body_max_bytes=self._settings.body_max_bytes)
        recorded = DeedsRecorded(limited, record=AuditService(self._bench).record_outcome)
        rated = RateFields(recorded, requests=self.state.rates.requests)
        return RequestIds(SecurityHeaders(rated), seconds=self._seconds)

    def openapi(self) -> dict[str, Any]:
        """The contract, built once."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi(), self)
        return self.openapi_schema


def rates(settings: Settings) -> Rates:
    """The limits of one process, all in its memory."""
    per_second = settings.key_requests_per_second
    per_minute = settings.wrong_keys_per_minute
    return Rates(
        requests=Buckets(per_second=per_second, burst=per_second * BURST_SECONDS),
        failures=Buckets(per_second=per_minute / 60, burst=per_minute),
        streams=Slots(settings.streams_per_key_max),
        costly=Slots(settings.costly_requests_per_project_max),
        costly_operations=COSTLY,
        proxy_hops=settings.proxy_hops,
    )


def create_app(
    settings: Settings,
    bench: Workbench,
    *,
    routers: Sequence[APIRouter] = ROUTERS,
    measures: Sequence[Measure] = MEASURES,
    probes: Mapping[str, Probe] | None = None,
) -> FastAPI:
    """The service over this workbench.

    Args:
        probes: further things `/readyz` looks at, by name, such as the queue.
    """
    registry = CollectorRegistry()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = settings.api_threads
        yield
        app.state.stopping.tell()

    app = Service(
        settings,
        bench,
        registry,
        title="Kitae",
        version="0.1.0",
        summary="Fine-tuned models on Azure OpenAI, from data to deployment",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        max_body_size=settings.body_max_bytes,
        lifespan=lifespan,
    )
    app.state.bench = bench
    app.state.settings = settings
    app.state.stopping = Stopping()
    app.state.key_ring = KeyRing(AccessService(bench).check, seconds=settings.key_cache_seconds)
    app.state.rates = rates(settings)
    app.state.audit_rules = AUDIT
    app.state.metrics = registry
    app.state.running_hosting = DeploymentService(bench).running_hosting_usd
    app.state.probes = {"spending": AccessService(bench).say_halt, **(probes or {})}
    registry.register(DatabaseCollector(bench.sessions, [*measures, halted_by_setting(halted=settings.halted)]))
    install_problem_handlers(app)
    for router in routers:
        app.include_router(router)
    app.include_router(health.router)
    app.include_router(docs.router)
    app.mount("/static", StaticFiles(directory=docs.STATIC), name="static")

    @app.get("/openapi.json", include_in_schema=False)
    def document() -> JSONResponse:
        return JSONResponse(app.openapi())

    return app
