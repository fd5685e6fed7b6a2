"""The documentation pages at `/docs`: a vendored viewer of the OpenAPI document and the page of errors."""

from html import escape
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.http.problems import KINDS
from app.http.security import DOCS_POLICY

STATIC: Final = Path(__file__).resolve().parent.parent / "web" / "static"
"""Files served under `/static`; no page loads anything from elsewhere."""

router = APIRouter(include_in_schema=False)

_VIEWER: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kitae API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/vendor/swagger-ui/swagger-ui.css">
<script src="/static/vendor/swagger-ui/swagger-ui-bundle.js"></script>
<script src="/static/docs.js"></script>
</head>
<body>
<main id="viewer"></main>
<noscript>This viewer needs JavaScript; the document is at <a href="/openapi.json">/openapi.json</a>.</noscript>
</body>
</html>
"""

_ERRORS: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kitae API: errors</title>
<link rel="icon" href="data:,">
</head>
<body>
<main>
<h1>Errors</h1>
<p>Every error is a problem document (RFC 9457, <code>application/problem+json</code>). Programs match on
<code>code</code>; <code>type</code> points to one of the kinds below; <code>hint</code> says what to do.</p>
<dl>
{kinds}
</dl>
</main>
</body>
</html>
"""


@router.get("/docs")
def viewer() -> HTMLResponse:
    return HTMLResponse(_VIEWER, headers={"Content-Security-Policy": DOCS_POLICY})


@router.get("/docs/errors")
def errors() -> HTMLResponse:
    kinds = "\n".join(
        f'<dt id="{kind.anchor}">{kind.status} {escape(kind.title)}</dt>\n<dd>{escape(kind.meaning)}</dd>'
        for kind in KINDS
    )
    return HTMLResponse(_ERRORS.format(kinds=kinds), headers={"Content-Security-Policy": DOCS_POLICY})
