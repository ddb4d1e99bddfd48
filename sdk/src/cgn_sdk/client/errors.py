"""What a request can raise: one family, so that a program needs one `except CgnError`.

    CgnError
    ├── CgnProblem        the network refused, and says why (RFC 9457)
    ├── DServiceError     the DService answered with an error status, and the program asked to be told so
    ├── NodeUnreachable   no connection to the node, or it was lost; also a ConnectionError
    ├── NoAnswerInTime    the client's own time limit passed; also a TimeoutError
    ├── AnswerCutShort    the body ended early; what was read is not a result
    └── ClientClosed      the client is closed

A wrong argument is a TypeError or ValueError, as everywhere in Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp

from cgn_sdk.protocol.errors import Problem, Retry


class CgnError(Exception):
    """Base of everything that a request to the network can raise."""


class CgnProblem(CgnError):
    """The network refused, in the words of a problem document (RFC 9457)."""

    def __init__(self, problem: Problem, request_id: str = "", retry_after_s: int | None = None) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem
        self.status = problem.status
        """The HTTP status."""
        self.code = problem.code
        """One of the closed list in `cgn_sdk.protocol.errors.CODES`."""
        self.retry: Retry = problem.retry
        """Whether sending it again can help: never, later, or elsewhere (on another node)."""
        self.retry_after_s = retry_after_s
        """Seconds the node asks to wait; None where it does not say."""
        self.request_id = request_id


class DServiceError(CgnError):
    """A DService answered with a status of 400 or more. The work was done and is paid for like any other."""

    def __init__(self, status: int, document: dict[str, Any] | None, body: bytes, request_id: str) -> None:
        said = document.get("detail") or document.get("title") if document else body[:200].decode("utf-8", "replace")
        super().__init__(f"the DService answered {status}: {said or 'without a word'}")
        self.status = status
        self.document = document
        """Its problem document; None where it sent something else."""
        self.body = body
        """What it sent, up to a bound."""
        self.request_id = request_id


class NodeUnreachable(CgnError, ConnectionError):
    """The node cannot be reached, or the connection ended before the answer's head came. Whether a request that was
    under way was done is unknown: ask `status` with its request id, or send it again with the same one."""


class NoAnswerInTime(CgnError, TimeoutError):
    """The client's own time limit passed."""


class AnswerCutShort(CgnError):
    """The answer's body ended early: what was read is a part, not a result."""


class ClientClosed(CgnError, RuntimeError):
    """The client was closed; make a new one."""


@contextmanager
def translated(time_limit_s: float) -> Iterator[None]:
    """Turns what the HTTP library raises into this family."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise NodeUnreachable(f"no connection in time: {error}") from error
    except TimeoutError as error:
        raise NoAnswerInTime(f"no answer within {time_limit_s:g} s") from error
    except aiohttp.ClientPayloadError as error:
        raise AnswerCutShort(f"the answer's body ended early: {error}") from error
    except aiohttp.ClientError as error:
        raise NodeUnreachable(str(error) or type(error).__name__) from error
