"""The workbench as a dependency: `bench: Bench` in an endpoint, then `JobService(bench)`.

A dependency that waits for nothing is `async`: FastAPI runs it where it stands and not in a thread.
"""

from typing import Annotated

from fastapi import Depends, Request

from app.workbench import Workbench


async def workbench(request: Request) -> Workbench:
    bench: Workbench = request.app.state.bench
    return bench


Bench = Annotated[Workbench, Depends(workbench)]
