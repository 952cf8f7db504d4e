"""The gateway's process: Triton below it, decoder processes beside it, callers above it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from aircheck.cores import usable_cores
from aircheck.gateway import log
from aircheck.gateway.access import Access
from aircheck.gateway.calls import Calls
from aircheck.gateway.counters import WINDOWS_WAITING, begin_at_zero
from aircheck.gateway.decoding.configuration import decoder_pool, spool_quota
from aircheck.gateway.errors import StartError
from aircheck.gateway.log import LOG
from aircheck.gateway.metrics import MetricsEndpoint
from aircheck.gateway.scan import Parts
from aircheck.gateway.scheduling import WindowScheduler
from aircheck.gateway.service import AircheckService
from aircheck.gateway.supervisor import ServerState, Supervisor
from aircheck.policy.service import PolicyService
from aircheck.settings import Settings
from aircheck.tracing.spans import tracing
from aircheck.triton_log import LogLine
from aircheck_client.connection import SERVICE
from aircheck_client.v1 import aircheck_pb2, aircheck_pb2_grpc

WHISPER_SLOTS_PER_CORE = 8  # that the engine has by itself on a CPU, at most
_MAX_STREAMS = 2000  # of one connection at a time
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),  # a caller that is gone without a word is noticed within a minute
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_concurrent_streams", _MAX_STREAMS),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error
)


@dataclass(frozen=True)
class Addresses:
    """Where the server is to be found.

    url : host:port of the gRPC service
    metrics_url : of Prometheus metrics, /livez and /readyz
    triton : Triton's gRPC address, on this machine alone, also after a restart; internal
    """

    url: str
    metrics_url: str
    triton: str
    pid: int


async def serve(
    settings: Settings, on_ready: Callable[[Addresses], None], on_log: Callable[[LogLine], None] | None = None
) -> None:
    """Serves until SIGTERM or SIGINT, then answers what is under way and ends.

    Raises StartError, TritonError, TokenFileError, PolicyError.
    """
    log.set_up(settings.log_level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, on_log) as gateway:
        on_ready(gateway.addresses)
        await stop.wait()
        LOG.info("stopping: calls under way are answered, new ones refused")
        await gateway.drain()


@dataclass(frozen=True)
class Gateway:
    """A gateway that serves."""

    addresses: Addresses
    _exit_timeout_s: float
    _calls: Calls
    _server: grpc.aio.Server
    _health: health.aio.HealthServicer
    _triton: Supervisor

    async def drain(self) -> None:
        """Refuses new calls; returns when those under way have ended, or after `exit_timeout_s`."""
        self._triton.drain()
        await self._health.enter_graceful_shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._exit_timeout_s):
                await self._calls.drain()
        await self._server.stop(grace=1.0)


@asynccontextmanager
async def running(settings: Settings, on_log: Callable[[LogLine], None] | None = None) -> AsyncIterator[Gateway]:
    """A gateway, from all models being ready to the end of the block."""
    access = Access(settings.tokens_file)
    policy = PolicyService(settings.policy_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(tracing(settings))
        server = grpc.aio.server(options=[*_OPTIONS, ("grpc.max_receive_message_length", settings.max_message_bytes)])
        port = _listen(server, settings)
        decoders = await stack.enter_async_context(decoder_pool(settings))
        triton = await stack.enter_async_context(Supervisor(settings, on_log=on_log))
        calls = Calls(access)
        scheduler = _scheduler(settings)
        WINDOWS_WAITING.set_function(scheduler.waiting)
        begin_at_zero(
            (method.name for method in aircheck_pb2.DESCRIPTOR.services_by_name["Aircheck"].methods),
            (pack.name for pack in policy.packs),
        )
        parts = Parts(
            settings=settings,
            models=triton,
            decoders=decoders,
            quota=spool_quota(settings),
            scheduler=scheduler,
        )
        aircheck_pb2_grpc.add_AircheckServicer_to_server(
            AircheckService(parts, policy, calls, lambda: triton.served), server
        )
        health_servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        if settings.is_loopback():
            names = (aircheck_pb2.DESCRIPTOR.services_by_name["Aircheck"].full_name, reflection.SERVICE_NAME)
            reflection.enable_server_reflection((*names, health.SERVICE_NAME), server)
        metrics = await stack.enter_async_context(MetricsEndpoint(settings, triton))
        stack.enter_context(_told(health_servicer, triton))
        await server.start()
        stack.push_async_callback(server.stop, None)
        yield Gateway(
            Addresses(f"{_reachable(settings.host)}:{port}", metrics.url, triton.address, os.getpid()),
            settings.exit_timeout_s,
            calls,
            server,
            health_servicer,
            triton,
        )


@contextlib.contextmanager
def _told(servicer: health.aio.HealthServicer, triton: Supervisor) -> Iterator[None]:
    """Health says what the models' state is, as soon as it changes."""
    changes: set[asyncio.Task[None]] = set()

    def tell(state: ServerState) -> None:
        is_serving = state is ServerState.SERVING
        status = health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", SERVICE):
            change = asyncio.ensure_future(servicer.set(service, status))
            changes.add(change)
            change.add_done_callback(changes.discard)

    tell(triton.state)
    triton.on_state(tell)
    yield


def _listen(server: grpc.aio.Server, settings: Settings) -> int:
    """The port that it listens on. Raises StartError when it is taken, or a certificate cannot be read."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    try:
        if settings.tls_certificate is None or settings.tls_key is None:
            return int(server.add_insecure_port(address))
        credentials = grpc.ssl_server_credentials(
            [(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())],
            settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None,
            require_client_auth=settings.tls_client_ca is not None,
        )
        return int(server.add_secure_port(address, credentials))
    except OSError as error:
        raise StartError(f"certificate or key cannot be read: {error}") from None
    except RuntimeError:
        raise StartError(
            f"cannot listen on {address} for gRPC; choose another port with --grpc-port or AIRCHECK_GRPC_PORT (0 picks "
            "a free one), or an address of this machine with --host or AIRCHECK_HOST"
        ) from None


def _scheduler(settings: Settings) -> WindowScheduler:
    """Without a setting: enough that no core is idle while a window travels; and without clips, that no slot is."""
    if settings.windows_in_flight:
        return WindowScheduler(settings.windows_in_flight)
    cores = usable_cores()
    beside_clips = 4 + 2 * cores
    slots = settings.whisper_slots or WHISPER_SLOTS_PER_CORE * cores
    return WindowScheduler(beside_clips, max_without_clips=max(beside_clips, slots + 1))


def _reachable(host: str) -> str:
    wildcard = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return wildcard.get(host) or (f"[{host}]" if ":" in host else host)
