"""HTTP for addresses that others wrote: feeds, and the enclosures that they name.

Every address that is connected to is checked at the moment of connecting, so that no name, no redirect and no second
look-up of a name leads to this machine or into a private network. Proxies of the environment are not used: they would
connect for us, unchecked.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from aircheck_client.catalogue.extras import imported
from aircheck_client.catalogue.items import SourceError

MAX_REDIRECTS = 5
PER_HOST = 4  # connections at a time: nobody's host is to be flooded
CONNECT_S, SILENCE_S = 15.0, 60.0
CHUNK_BYTES = 1 << 18
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last four bytes
_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429, 500, 502, 503, 504)


class UnreachableSourceError(SourceError):
    """It may be there later: the network, or the storage, failed."""

    retry_after_s: float | None = None


class RefusedSourceError(SourceError):
    """It is never fetched: too large, other bytes than were promised, or an address that is not for us."""


class _PrivateAddressError(OSError):
    pass


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, also where an IPv6 address holds an IPv4 one."""
    ip: Any = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 6:
        held = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            held = ipaddress.ip_address(ip.packed[-4:])
        ip = held or ip
    return bool(ip.is_global and not ip.is_multicast)


class Http:
    """A client of one event loop, whose connections are checked. `allow_private`: all addresses are for us."""

    def __init__(self, allow_private: bool = False):
        self._allow_private = allow_private
        self._session: Any = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Any]:
        """The response of 200 or 304 (aiohttp's), after redirects.

        Raises RefusedSourceError, UnreachableSourceError, SourceError where it is not there.
        """
        aiohttp = imported("aiohttp")
        at = url
        for _ in range(MAX_REDIRECTS + 1):
            if urlsplit(at).scheme not in ("http", "https"):
                raise RefusedSourceError(f"leads to {at!r}, which is no http", url)
            try:
                async with self._connected(aiohttp).get(at, headers=headers, allow_redirects=False) as response:
                    if response.status in _REDIRECTS and "location" in response.headers:
                        at = urljoin(at, response.headers["location"])
                        continue
                    _check_status(response, url)
                    yield response
                    return
            except aiohttp.InvalidURL:
                raise RefusedSourceError("is no address", url) from None
            except (aiohttp.ClientError, TimeoutError) as error:
                if _is_private(error):
                    raise RefusedSourceError(
                        f"leads to a private address ({urlsplit(at).hostname}); --allow-private fetches it", url
                    ) from None
                raise UnreachableSourceError(f"cannot be read: {error or type(error).__name__}", url) from None
        raise RefusedSourceError(f"redirects more than {MAX_REDIRECTS} times", url)

    async def download(self, url: str, file: BinaryIO, max_bytes: int | None, integrity: str = "") -> tuple[str, int]:
        """Copies a file; returns its SHA-256 and size. Raises as `get`, and where `integrity` is of other bytes."""
        digests = {"sha256": hashlib.sha256()}
        algorithm, promised = strongest(integrity)
        if algorithm:
            digests.setdefault(algorithm, hashlib.new(algorithm))
        size_bytes = 0
        async with self.get(url, {"Accept-Encoding": "identity"}) as response:
            _check_size(response.content_length or 0, max_bytes, url)
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                size_bytes += len(chunk)
                _check_size(size_bytes, max_bytes, url)
                await asyncio.to_thread(_consume, chunk, file, tuple(digests.values()))
        if algorithm and digests[algorithm].digest() != promised:
            raise RefusedSourceError(f"has other bytes than its {algorithm} says", url)
        return digests["sha256"].hexdigest(), size_bytes

    def _connected(self, aiohttp: Any) -> Any:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit_per_host=PER_HOST, socket_factory=self._socket)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
            agent = {"User-Agent": "aircheck (content policy check)"}
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=agent, trust_env=False)
        return self._session

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """For the address that is about to be connected to: of a name, a literal, or a redirect alike."""
        family, kind, protocol, _, (host, *_) = address
        if not (self._allow_private or is_public(host)):
            raise _PrivateAddressError(f"{host} is private")
        return socket.socket(family, kind, protocol)


def strongest(integrity: str) -> tuple[str, bytes]:
    """Algorithm and digest of a Subresource Integrity text; empty where it has none that we know.

    https://www.w3.org/TR/SRI/
    """
    found = []
    for part in integrity.split():
        algorithm, _, digest = part.partition("?")[0].partition("-")
        try:
            found.append((("sha256", "sha384", "sha512").index(algorithm), base64.b64decode(digest, validate=True)))
        except (ValueError, binascii.Error):
            continue
    if not found:
        return "", b""
    rank, promised = max(found)
    return ("sha256", "sha384", "sha512")[rank], promised


def _check_status(response: Any, url: str) -> None:
    if response.status in (200, 304):
        return
    if response.status in _LATER:
        error = UnreachableSourceError(f"the host answers {response.status}", url)
        wait = response.headers.get("retry-after", "")
        error.retry_after_s = min(float(wait), 300.0) if wait.isdecimal() else None
        raise error
    raise SourceError(f"the host answers {response.status}", url)


def _check_size(size_bytes: int, max_bytes: int | None, url: str) -> None:
    if max_bytes is not None and size_bytes > max_bytes:
        raise RefusedSourceError(f"has more than {max_bytes} bytes, the limit", url)


def _consume(chunk: bytes, file: BinaryIO, digests: tuple[Any, ...]) -> None:
    for digest in digests:
        digest.update(chunk)
    file.write(chunk)


def _is_private(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is that of a private address."""
    while error is not None:
        parts = (error, getattr(error, "os_error", None), *getattr(error, "exceptions", ()))
        if any(isinstance(part, _PrivateAddressError) for part in parts):
            return True
        error = error.__cause__ or error.__context__
    return False
