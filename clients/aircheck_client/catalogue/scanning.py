"""One item to its record: what was heard already is not heard again.

    scanner = Scanner(client, store, sources)
    await scanner.refresh()
    done = await scanner.scan(item)

Whoever has items, from a manifest or from a queue, calls this: it is idempotent, and may be asked for the same item at
the same time by any number of tasks.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from aircheck_client.aio import AsyncAircheckClient
from aircheck_client.catalogue.fetch import RefusedSourceError, UnreachableSourceError
from aircheck_client.catalogue.items import SourceError
from aircheck_client.catalogue.records import Item, ItemEntry, Record, RecordKey, RecordStore, StoreError, now
from aircheck_client.catalogue.sources import LocalAudio, Sources
from aircheck_client.errors import (
    AircheckError,
    AuthenticationError,
    DeadlineError,
    InvalidAudioError,
    OverloadedError,
    ScanCancelledError,
    ServerError,
    UnavailableError,
)
from aircheck_client.messages import Priority
from aircheck_client.schema import ServerInfo, Verdict

MAX_KEY_CHARS = 200  # of the name of the work that stands in the server's log


@dataclass(frozen=True)
class Reason:
    """Why an item failed, as a type; whether it may succeed later; and what somebody should do."""

    name: str
    is_retryable: bool
    next_step: str


_REASONS: tuple[tuple[type[Exception], Reason], ...] = (  # the first that fits
    (RefusedSourceError, Reason("source_refused", False, "fetch it another way, or allow what was refused")),
    (UnreachableSourceError, Reason("source_unreachable", True, "run again; if it stays, look at the storage")),
    (SourceError, Reason("source_missing", False, "correct the uri, or put the file there; then run again")),
    (InvalidAudioError, Reason("invalid_audio", False, "listen to the file; replace it where it is damaged")),
    (AuthenticationError, Reason("unauthenticated", False, "give a token that the server knows")),
    (OverloadedError, Reason("overloaded", True, "run again, later or with fewer jobs at a time")),
    (UnavailableError, Reason("unavailable", True, "run again; if it stays, look at the server's health")),
    (DeadlineError, Reason("deadline", True, "run again with a longer --timeout")),
    (ScanCancelledError, Reason("cancelled", True, "run again")),
    (ServerError, Reason("server_failed", True, "look for the item's id in the server's log")),
    (StoreError, Reason("store_failed", True, "make room, or give rights, where the records lie; then run again")),
    (AircheckError, Reason("failed", False, "look at the message")),
)
BAD_ITEM = Reason("bad_item", False, "correct the line in the manifest")


def reason_of(error: Exception) -> Reason:
    """The typed reason of an error that `Scanner.scan` raised."""
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason("bug", False, "report it"))


@dataclass(frozen=True)
class Done:
    """An item that has its record.

    record : where it was at hand, as it is but for an item that was done before
    heard : now; else the record was there already
    took_s : from its turn on, of what was heard
    """

    entry: ItemEntry
    heard: bool
    duration_s: float = 0.0
    took_s: float = 0.0
    record: Record | None = None


class Slots(Protocol):
    """Bounds the scans under way; see `AdaptiveLimit`."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


class Scanner:
    """Scans items into a store, through a client of one or several servers."""

    def __init__(
        self,
        client: AsyncAircheckClient,
        store: RecordStore,
        sources: Sources,
        *,
        timeout_s: float | None = None,
        force: bool = False,
        reread: bool = False,
        priority: Priority = "bulk",
    ):
        """force : hear again what was heard
        reread : do not go by an item's entry, but read its audio: a uri or an id may stand for another by now
        """
        self._client, self.store, self.sources = client, store, sources
        self._timeout_s, self._force, self._reread, self._priority = timeout_s, force, reread, priority
        self._info: ServerInfo | None = None
        self._busy: WeakValueDictionary[RecordKey, asyncio.Lock] = WeakValueDictionary()

    async def refresh(self) -> ServerInfo:
        """Learns what the server runs. Raises UnavailableError while it has not loaded its models, and as any call."""
        info = await self._client.info(timeout_s=30)
        if not info.models:
            raise UnavailableError("the server has not loaded its models yet")
        self._info = info
        self.sources.max_bytes = info.limits.max_recording_bytes
        return info

    async def done(self, item: Item) -> ItemEntry | None:
        """The item's entry, where it is done by what the server runs now. Raises ValueError, StoreError."""
        entry = await asyncio.to_thread(self.store.item, item.id)
        if entry is None or self._force or entry.key != self._key(entry.key.audio_sha256, item):
            return None
        return entry

    async def scan(self, item: Item, slots: Slots | None = None) -> Done:
        """The item's record, which is made where there is none.

        slots : held while a server works on it

        Raises SourceError, InvalidAudioError (also for a context that the server does not know), StoreError, and what
        `AsyncAircheckClient.stream` raises.
        """
        entry = None if self._force or self._reread else await asyncio.to_thread(self.store.item, item.id)
        if entry is not None:
            if entry.key == self._key(entry.key.audio_sha256, item):
                return Done(entry, heard=False)
            if entry.item.uri == item.uri and (record := await self._decided(entry.key.audio_sha256, item)):
                entry = await self._entered(item, record)
                return Done(entry, heard=False, duration_s=record.duration_s, record=record)
        async with self._fetched(item) as audio:
            key = self._key(audio.sha256, item)
            async with self._alone(key):
                record = None if self._force else await asyncio.to_thread(self.store.get, key)
                if record is None and not self._force:
                    record = await self._decided(audio.sha256, item)
                took_s = 0.0
                if record is None:
                    async with slots or nullcontext():
                        begun_s = time.monotonic()
                        record = await self._heard(item, audio)
                        took_s = time.monotonic() - begun_s
                    await asyncio.to_thread(self.store.put, record)
        entry = await self._entered(item, record)
        return Done(entry, heard=took_s > 0, duration_s=record.duration_s, took_s=took_s, record=record)

    async def _entered(self, item: Item, record: Record) -> ItemEntry:
        entry = ItemEntry(item=item, key=record.key, done_at=now())

        def enter() -> None:
            self.store.put_item(entry)
            self.store.forget_failure(item.id)

        await asyncio.to_thread(enter)
        return entry

    async def _decided(self, audio_sha256: str, item: Item) -> Record | None:
        """A record by the pack and context that are asked for, made of what the same models heard; None: they did not.

        No audio is touched. Raises as the client does.
        """
        wanted = self._key(audio_sha256, item)
        known = await asyncio.to_thread(list, self.store.find(audio_sha256))
        for key in sorted(known, key=lambda key: (key != wanted, key.pack)):
            if key.models != wanted.models or (heard := await asyncio.to_thread(self.store.get, key)) is None:
                continue
            if key == wanted:
                return heard
            verdict = await self._client.decide_recording(
                heard.windows,
                heard.duration_s,
                item.context,
                undecoded_s=heard.verdict.coverage.undecoded_s,
                warnings=heard.verdict.warnings,
                timeout_s=self._timeout_s,
            )
            made = RecordKey.of_verdict(audio_sha256, verdict)
            record = heard.model_copy(update={"key": made, "verdict": verdict, "created_at": now()})
            await asyncio.to_thread(self.store.put, record)
            return record
        return None

    def _key(self, audio_sha256: str, item: Item) -> RecordKey:
        if self._info is None:
            raise RuntimeError("call refresh first")
        try:
            return RecordKey.of(audio_sha256, self._info, item.context)
        except ValueError as error:
            raise InvalidAudioError(str(error), item.uri) from None

    @asynccontextmanager
    async def _fetched(self, item: Item) -> AsyncIterator[LocalAudio]:
        """From the first of the item's places that has it. Raises the first place's error where none has."""
        first: SourceError | None = None
        integrity = item.published.integrity if item.published else {}
        for uri in (item.uri, *item.uris):
            async with AsyncExitStack() as stack:
                try:
                    audio = await stack.enter_async_context(self.sources.fetched(uri, integrity.get(uri, "")))
                except SourceError as error:
                    first = first or error
                    continue
                yield audio
                return
        raise first or SourceError("has no uri", item.id)

    async def _heard(self, item: Item, audio: LocalAudio) -> Record:
        stream = self._client.stream(
            audio.source,
            item.context,
            timeout_s=self._timeout_s,
            windows=False,
            findings=True,
            priority=self._priority,
            idempotency_key=_short(item.id),
        )
        whole: Verdict | None = None
        try:
            async for verdict in stream:
                whole = verdict
        finally:
            await stream.aclose()
        if whole is None:
            raise ServerError("the stream ended without a verdict", item.uri)
        key = RecordKey.of_verdict(audio.sha256, whole)
        if key != self._key(audio.sha256, item):
            await self.refresh()  # other models, or another pack, since we asked
        return Record(
            key=key,
            size_bytes=audio.size_bytes,
            duration_s=whole.duration_s,
            verdict=whole,
            windows=tuple(stream.about.findings),
            created_at=now(),
        )

    @asynccontextmanager
    async def _alone(self, key: RecordKey) -> AsyncIterator[None]:
        """Whoever else has the same audio waits, and finds the record."""
        lock = self._busy.setdefault(key, asyncio.Lock())  # goes with the last who holds it
        async with lock:
            yield


def _short(item_id: str) -> str:
    """The id, or its hash where it is longer than a key may be."""
    return item_id if len(item_id) <= MAX_KEY_CHARS else hashlib.sha256(item_id.encode()).hexdigest()
