"""What both clients connect with: addresses, TLS, the token, retries and keepalive."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from aircheck_client.tracing import Metadata

DEFAULT_URL = "127.0.0.1:8001"
SERVICE = "aircheck.v1.Aircheck"
_MAX_MESSAGE_BYTES = 256 * 2**20  # a verdict on days of speech
_KEEPALIVE_S, _KEEPALIVE_TIMEOUT_S = 30, 20


@dataclass(frozen=True)
class Tls:
    """How to verify the server and, for mutual TLS, what to show it. Paths of PEM files."""

    ca: Path | None = None  # None: the system's roots
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client certificate and its key belong together: give both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError when a file cannot be read."""
        read = [path.read_bytes() if path else None for path in (self.ca, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*read)


@dataclass(frozen=True)
class Retry:
    """gRPC's own retries: for a server that is absent or full, until its first answer, after the wait that it asks for.

    https://github.com/grpc/proposal/blob/master/A6-client-retries.md
    """

    attempts: int = 4  # gRPC makes no more than five
    first_wait_s: float = 0.2
    longest_wait_s: float = 5.0

    def service_config(self, is_health_watched: bool = False) -> str:
        """https://github.com/grpc/grpc/blob/master/doc/service_config.md

        is_health_watched : calls go to no server that says of itself that it cannot answer
            (https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md)
        """
        method: dict[str, Any] = {"name": [{"service": SERVICE}], "waitForReady": False}
        if self.attempts > 1:
            method["retryPolicy"] = {
                "maxAttempts": self.attempts,
                "initialBackoff": f"{self.first_wait_s}s",
                "maxBackoff": f"{self.longest_wait_s}s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            }
        config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [method]}
        if is_health_watched:
            config["healthCheckConfig"] = {"serviceName": SERVICE}
        return json.dumps(config)


@dataclass(frozen=True)
class Connection:
    """Where and how to connect. `urls`: host:port of one server, or of several that share the load."""

    urls: tuple[str, ...]
    tls: Tls | bool
    token: str | None
    retry: Retry

    @classmethod
    def of(cls, url: str | Sequence[str], tls: Tls | bool, token: str | None, retry: Retry | None) -> Connection:
        """Raises ValueError for a token that would cross a network unencrypted, and for no address."""
        urls = tuple(part.strip() for part in (url.split(",") if isinstance(url, str) else url) if part.strip())
        if not urls:
            raise ValueError("no address; give HOST:PORT")
        for one in urls:
            if token and not tls and not is_loopback(one):
                raise ValueError(f"a token for {one} would cross the network in clear; pass tls=True or tls=Tls(...)")
        return cls(urls, tls, token, retry or Retry())

    @property
    def name(self) -> str:
        """For messages."""
        return ", ".join(self.urls)

    @property
    def target(self) -> str:
        """As gRPC takes it. Several names are looked up here, once. Raises OSError when one is unknown."""
        return self.urls[0] if len(self.urls) == 1 else "ipv4:" + ",".join(_ipv4(url) for url in self.urls)

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """None: without TLS. Raises OSError when a file cannot be read."""
        if not self.tls:
            return None
        return (self.tls if isinstance(self.tls, Tls) else Tls()).credentials()

    @property
    def options(self) -> list[tuple[str, Any]]:
        options: list[tuple[str, Any]] = [
            # one server says more of what it lacks when it is asked
            ("grpc.service_config", self.retry.service_config(is_health_watched=len(self.urls) > 1)),
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", _KEEPALIVE_S * 1000),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_S * 1000),
        ]
        if all(is_loopback(url) for url in self.urls):
            options.append(("grpc.enable_http_proxy", 0))  # a proxy cannot reach this machine's loopback
        if self.tls and len(self.urls) > 1:
            options.append(("grpc.ssl_target_name_override", self.urls[0].rsplit(":", 1)[0]))
        return options

    @property
    def metadata(self) -> Metadata:
        """What each call carries: the token."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()


def is_loopback(url: str) -> bool:
    """Whether host:port is this machine's own."""
    host = url.rsplit(":", 1)[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _ipv4(url: str) -> str:
    host, _, port = url.rpartition(":")
    return f"{socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]}:{port}"
