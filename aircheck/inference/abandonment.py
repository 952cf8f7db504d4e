"""Whether anybody still waits for the answer to a request.

The gateway names a file in a request's parameters and removes it when the caller has gone. Triton 2.51 knows of the
cancellation too, but tells no step of an ensemble that has been sent to its model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

PARAMETER = "waited_for"  # of the request: the path of a file that exists while somebody waits


def abandonment(parameters: str) -> Callable[[], bool] | None:
    """A question to ask as often as one likes; None where the request names no file.

    parameters : of the request, as Triton's Python backend gives them (JSON, or empty)
    """
    path = json.loads(parameters or "{}").get(PARAMETER)
    return (lambda: not os.path.exists(path)) if isinstance(path, str) else None
