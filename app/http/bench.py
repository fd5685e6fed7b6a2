"""The workbench as a dependency: `bench: Bench` in an endpoint, then `JobService(bench)`."""

from typing import Annotated

from fastapi import Depends, Request

from app.workbench import Workbench


def workbench(request: Request) -> Workbench:
    bench: Workbench = request.app.state.bench
    return bench


Bench = Annotated[Workbench, Depends(workbench)]
