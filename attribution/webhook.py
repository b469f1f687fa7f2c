"""The webhook: a POST of JSON when a run was published, refused or failed.

Its URL often holds a secret: it comes from the environment (ATTRIBUTION_WEBHOOK_URL), and nothing
that is said here names it.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Most would turn the POST into a GET of a log-in page, and that would count as delivered."""

    def redirect_request(self, *_: Any) -> None:
        return None


OPENER = urllib.request.build_opener(_NoRedirect)
SECONDS = 10.0  # for all of it, however slowly the other side answers


def post(url: str, payload: Mapping[str, Any]) -> str | None:
    """Deliver a payload; returns why it was not, None where it was.

    It waits for SECONDS at most and raises nothing: a thread of its own does the waiting, since a
    name server or a peer that dribbles its answer byte by byte knows no timeout of ours.
    """
    if not url.startswith(("https://", "http://")):
        return "ATTRIBUTION_WEBHOOK_URL begins neither with https:// nor with http://"
    problem: list[str | None] = [f"no answer within {SECONDS:g} s"]
    thread = threading.Thread(target=_deliver, args=(url, payload, problem), daemon=True)
    thread.start()
    thread.join(SECONDS)
    return problem[-1]


def _deliver(url: str, payload: Mapping[str, Any], problem: list[str | None]) -> None:
    try:
        request = urllib.request.Request(  # noqa: S310  http and https only, see above
            url,
            data=json.dumps(payload, ensure_ascii=False).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "attribution"},
        )
        with OPENER.open(request, timeout=SECONDS):
            problem.append(None)
    except urllib.error.HTTPError as error:
        problem.append(f"HTTP status {error.code}")
    except Exception as error:  # the text of an error may hold the URL
        reason = getattr(error, "reason", error)
        problem.append(type(reason if isinstance(reason, Exception) else error).__name__)
