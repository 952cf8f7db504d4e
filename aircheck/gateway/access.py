"""Who may call: named tokens from a file, and how much each may ask for.

The file holds the SHA-256 of each token, never a token, so that reading it lets nobody in. It is read again when it
changes, and what it says holds from the next call on; a file with a fault leaves the former tokens in force.

    tokens:
      - name: ingestion
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        calls_per_minute: 600   # optional
        parallel: 32            # optional: calls at a time
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aircheck.gateway.errors import AccessError, OverloadedError
from aircheck.gateway.log import LOG
from aircheck.yaml_files import YamlFile, YamlFileError

_CHECK_EVERY_S = 1.0
_BEARER = "bearer "


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Token(_Strict):
    """One caller's entry in the file of tokens."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the token, in hexadecimal")
    calls_per_minute: int | None = Field(default=None, ge=1)
    parallel: int | None = Field(default=None, ge=1, description="calls at a time")


class _File(_Strict):
    tokens: tuple[Token, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _differ(self) -> _File:
        for what in ("name", "sha256"):
            values = [getattr(token, what) for token in self.tokens]
            if twice := {value for value in values if values.count(value) > 1}:
                raise ValueError(f"{what} {', '.join(sorted(twice))} stands twice; each caller needs its own")
        return self


class TokenFileError(ValueError):
    """A file of tokens that cannot be used; the message names it and the fault."""


def new_token() -> tuple[str, str]:
    """A fresh token and its SHA-256 for the file."""
    token = secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()


@dataclass
class _Use:
    """What a caller has used of its allowance."""

    calls: float = 0.0  # that it may still make at once: a bucket that fills by calls_per_minute
    filled_at_s: float = field(default_factory=time.monotonic)
    parallel: int = 0
    is_new: bool = True


class Access:
    """Checks calls. Without a file everybody may call."""

    def __init__(self, path: Path | None) -> None:
        """Raises TokenFileError."""
        self._path = path
        self._tokens: tuple[Token, ...] = ()
        self._uses: dict[str, _Use] = {}
        self._looked_at_s, self._stamp = 0.0, (0, 0)
        if path is not None:
            self._stamp = _stamp(path)
            self._tokens = _read(path)

    @contextmanager
    def call(self, authorization: str | None) -> Iterator[str]:
        """Counts a call while the block runs; gives the caller's name, empty where none is asked for.

        authorization : the metadata `authorization`, "Bearer TOKEN"

        Raises AccessError; OverloadedError for a caller that has used up its allowance.
        """
        if self._path is None:
            yield ""
            return
        self._reread()
        token = self._known(authorization)
        use = self._uses.setdefault(token.name, _Use())
        self._take(token, use)
        use.parallel += 1
        try:
            yield token.name
        finally:
            use.parallel -= 1

    def _known(self, authorization: str | None) -> Token:
        if authorization is None:
            raise AccessError("this server wants a token; send the metadata authorization: Bearer TOKEN")
        given = authorization[len(_BEARER) :] if authorization[: len(_BEARER)].lower() == _BEARER else authorization
        digest = hashlib.sha256(given.strip().encode()).hexdigest()
        # every entry is compared, each in constant time: how long it takes says nothing of where they differ
        matching = [token for token in self._tokens if hmac.compare_digest(token.sha256, digest)]
        if not matching:
            raise AccessError("this server does not know the token that was sent")
        return matching[0]

    @staticmethod
    def _take(token: Token, use: _Use) -> None:
        if token.parallel is not None and use.parallel >= token.parallel:
            raise OverloadedError(f"{token.name} has {use.parallel} calls under way, which is its limit", 1.0)
        if token.calls_per_minute is None:
            return
        now_s = time.monotonic()
        per_s = token.calls_per_minute / 60
        full = max(1.0, token.calls_per_minute / 60)  # what may come at once: a second's worth
        gained = full if use.is_new else (now_s - use.filled_at_s) * per_s
        use.calls, use.filled_at_s, use.is_new = min(full, use.calls + gained), now_s, False
        if use.calls < 1:
            raise OverloadedError(
                f"{token.name} may make {token.calls_per_minute} calls a minute", (1 - use.calls) / per_s
            )
        use.calls -= 1

    def _reread(self) -> None:
        now_s = time.monotonic()
        if self._path is None or now_s - self._looked_at_s < _CHECK_EVERY_S:
            return
        self._looked_at_s = now_s
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._tokens = _read(self._path)
            LOG.info("tokens read again: %d", len(self._tokens))
        except TokenFileError as error:
            LOG.error("the former tokens stay in force: %s", error)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be read: {error.strerror}") from None
    return found.st_mtime_ns, found.st_size


def _read(path: Path) -> tuple[Token, ...]:
    try:
        return YamlFile.read(path).checked(_File).tokens
    except YamlFileError as error:
        raise TokenFileError(f"{error}; `aircheck token NAME` prints an entry") from None
