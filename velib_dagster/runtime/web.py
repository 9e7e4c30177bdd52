"""Whether a part answers over HTTP on loopback.

Called while waiting for a part, several times a second; it must not raise for a part that is not there yet.
"""

import urllib.request
from http import HTTPStatus
from http.client import HTTPException

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""No proxy: the parts are on this machine."""


def answers_ok(url: str, within: float = 3) -> bool:
    """Whether a GET of the URL gives 200."""
    try:
        with _DIRECT.open(url, timeout=within) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):
        return False
