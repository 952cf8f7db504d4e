"""What is kept of a catalogue: a record for each audio under each policy, and a small file for each item.

    store = RecordStore("s3://bucket/catalogue")  # or a folder, gs://…: whatever fsspec knows
    if (record := store.get(key)) is None:
        ...  # scan it
        store.put(record)
    store.put_item(ItemEntry(item=item, key=record.key))

A file is there whole or not at all, and that it is there means that the work is done: whoever is killed leaves nothing
half-done behind, and any number of processes may share a store without talking to one another. The same audio under two
uris has one record; each item has one entry, which names its record.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Annotated, Any, BinaryIO, Literal, TypeVar

from pydantic import AwareDatetime, Field, ValidationError

from aircheck_client.catalogue.extras import imported
from aircheck_client.schema import Context, ModelVersion, Seconds, ServerInfo, Verdict, WindowFindings, _Model

ZSTD_LEVEL = 6
MAX_RECORD_BYTES = 2**31  # unpacked; more is no record of ours

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_T = TypeVar("_T", bound=_Model)


class RecordKey(_Model):
    """Which audio, heard by which models, decided by which policy: what makes two scans the same work.

    audio_sha256 : of the file's bytes
    models : see `models_digest`
    pack : see `pack_digest`
    """

    audio_sha256: Sha256
    models: Sha256
    pack: Sha256

    @classmethod
    def of(cls, audio_sha256: str, info: ServerInfo, context: Context) -> RecordKey:
        """Of audio that a server is about to hear. Raises ValueError for a pack that the server does not have."""
        packs = {pack.name: pack.sha256 for pack in info.policy_packs}
        if context.policy_pack not in packs:
            raise ValueError(f"no policy pack {context.policy_pack!r} on the server; it has {', '.join(packs)}")
        return cls(
            audio_sha256=audio_sha256,
            models=models_digest(info.models),
            pack=pack_digest(packs[context.policy_pack], context),
        )

    @classmethod
    def of_verdict(cls, audio_sha256: str, verdict: Verdict) -> RecordKey:
        """Of audio that was heard: what the verdict says that it was made with, also where the server has changed."""
        return cls(
            audio_sha256=audio_sha256,
            models=models_digest(verdict.models),
            pack=pack_digest(verdict.policy_sha256, verdict.context),
        )


def models_digest(models: Iterable[ModelVersion]) -> str:
    """SHA-256 over roles, names and versions, in whatever order they come."""
    return _digest(sorted([model.role, model.name, model.version] for model in models))


def pack_digest(policy_sha256: str, context: Context) -> str:
    """SHA-256 over a pack's file and the context, for one pack decides differently for other markets and audiences."""
    return _digest([policy_sha256, context.model_dump(mode="json")])


class Published(_Model):
    """What a publisher says of an item: noted, compared, never trusted."""

    title: str = ""
    published_at: AwareDatetime | None = None
    explicit: bool | None = Field(default=None, description="itunes:explicit")
    transcripts: tuple[str, ...] = Field(default=(), description="URLs of transcripts that are offered")
    media_type: str = ""
    size_bytes: int | None = Field(default=None, description="as the enclosure says")
    integrity: dict[str, str] = Field(
        default_factory=dict, description="Subresource Integrity, such as sha384-…, by the uri of the bytes"
    )


class Item(_Model):
    """A recording of a catalogue: what it is called, where it lies, and for whom it is.

    uris : other places of the same recording, to be tried where `uri` fails
    """

    id: Annotated[str, Field(min_length=1)]
    uri: Annotated[str, Field(min_length=1)]
    context: Context = Context()
    uris: tuple[str, ...] = ()
    published: Published | None = None


class ItemEntry(_Model):
    """An item that is done, and where its record is."""

    item: Item
    key: RecordKey
    done_at: AwareDatetime


class Failure(_Model):
    """An item that could not be done, for people and for the next run: a line of `dead_letters.jsonl`.

    reason : see `aircheck_client.catalogue.scanning`
    attempts : over all runs
    """

    id: str
    uri: str = ""
    reason: str
    message: str
    is_retryable: bool
    next_step: str
    attempts: int = 1
    failed_at: AwareDatetime


class Record(_Model):
    """What was heard in one audio, and what one policy makes of it.

    verdict : on the recording, with its transcript; it names the server's and the models' versions
    windows : what the classifiers found in each window, from which any policy can decide without the audio
    """

    record_version: Literal[1] = 1
    key: RecordKey
    size_bytes: Annotated[int, Field(ge=0)]
    duration_s: Seconds
    verdict: Verdict
    windows: tuple[WindowFindings, ...]
    created_at: AwareDatetime


class StoreError(Exception):
    """The store cannot be read or written; the message says where and why."""


class RecordStore:
    """Records and items under a folder or an object store's prefix. Thread-safe."""

    def __init__(self, url: str | os.PathLike[str], **storage_options: Any):
        """`storage_options` are fsspec's, such as an endpoint. Raises StoreError for a place that it cannot open."""
        fsspec = imported("fsspec")
        self._zstandard = imported("zstandard")
        try:
            self._files, root = fsspec.core.url_to_fs(str(url), **storage_options)
        except (ImportError, ValueError, OSError) as error:
            raise StoreError(f"{url}: {error}") from None
        self.url, self._root = str(url), root.rstrip("/")
        self._is_local = "file" in _protocols(self._files)

    def get(self, key: RecordKey) -> Record | None:
        """The record; None where there is none, or one that cannot be read and is to be made anew."""
        return self._read(self.record_path(key), Record)

    def put(self, record: Record) -> None:
        self._write(self.record_path(record.key), _packed(record, self._zstandard))

    def find(self, audio_sha256: str) -> Iterator[RecordKey]:
        """The keys of all records of one audio, by any models and policy."""
        for path in self._list(f"{self._root}/records/{audio_sha256[:2]}/{audio_sha256}"):
            models, _, pack = path.rpartition("/")[2].partition(".")[0].partition("-")
            yield RecordKey(audio_sha256=audio_sha256, models=models, pack=pack)

    def records(self) -> Iterator[Record]:
        """All that can be read, in no order that means anything."""
        for path in self._walk("records"):
            if (record := self._read(path, Record)) is not None:
                yield record

    def item(self, item_id: str) -> ItemEntry | None:
        return self.document("items", item_id, ItemEntry)

    def put_item(self, entry: ItemEntry) -> None:
        """After its record. An item that is done again, by other models or another policy, keeps its latest record."""
        self.put_document("items", entry.item.id, entry)

    def failure(self, item_id: str) -> Failure | None:
        return self.document("failures", item_id, Failure)

    def put_failure(self, failure: Failure) -> None:
        self.put_document("failures", failure.id, failure)

    def forget_failure(self, item_id: str) -> None:
        """Of an item that is done now."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._named("failures", item_id))

    @property
    def failures(self) -> Iterator[Failure]:
        for path in self._walk("failures"):
            if (failure := self._read(path, Failure)) is not None:
                yield failure

    def document(self, part: str, name: str, kind: type[_T]) -> _T | None:
        """What is kept in a part of the store under a name, whatever characters it has."""
        return self._read(self._named(part, name), kind)

    def put_document(self, part: str, name: str, value: _Model) -> None:
        self._write(self._named(part, name), _packed(value, self._zstandard))

    def remove_folder(self, name: str) -> None:
        try:
            self._files.rm(f"{self._root}/{name}", recursive=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"{name}: {error}") from None

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file below the store's top, for as long as the block runs. Raises StoreError."""
        path = f"{self._root}/{name}"
        try:
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with self._files.open(path, "wb") as file:
                yield file
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None

    def write_text(self, name: str, text: str) -> str:
        """A file for people at the store's top; returns where it lies."""
        self._write(f"{self._root}/{name}", text.encode("utf-8", "replace"))
        return f"{self.url.rstrip('/')}/{name}"

    @property
    def items(self) -> Iterator[ItemEntry]:
        """All that are done, in no order that means anything."""
        for path in self._walk("items"):
            if (entry := self._read(path, ItemEntry)) is not None:
                yield entry

    def record_path(self, key: RecordKey) -> str:
        folder = f"{self._root}/records/{key.audio_sha256[:2]}/{key.audio_sha256}"
        return f"{folder}/{key.models}-{key.pack}.json.zst"

    def item_path(self, item_id: str) -> str:
        return self._named("items", item_id)

    def _named(self, part: str, item_id: str) -> str:
        name = hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self._root}/{part}/{name[:2]}/{name}.json.zst"

    def _read(self, path: str, kind: type[_T]) -> _T | None:
        try:
            data = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None
        try:
            text = self._zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_RECORD_BYTES)
            return kind.model_validate_json(text)
        except (self._zstandard.ZstdError, ValidationError):  # torn by a loss of power, or of another version
            return None

    def _write(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        try:
            if self._is_local:  # an object store's put is whole or not at all by itself
                os.makedirs(folder, exist_ok=True)
                draft = f"{folder}/.{name}.{uuid.uuid4().hex}"
                try:
                    with open(draft, "xb") as file:
                        file.write(data)
                    os.replace(draft, path)
                except BaseException:
                    if os.path.exists(draft):
                        os.unlink(draft)
                    raise
            else:
                self._files.pipe_file(path, data)
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None

    def _walk(self, part: str) -> Iterator[str]:
        for prefix in sorted(self._list(f"{self._root}/{part}")):
            if part != "records":
                yield from self._list(prefix)
            else:
                for folder in self._list(prefix):
                    yield from self._list(folder)

    def _list(self, folder: str) -> list[str]:
        """What lies in a folder, without drafts of writers that were killed."""
        try:
            self._files.invalidate_cache(folder)
            paths = [path.rstrip("/") for path in self._files.ls(folder, detail=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{folder}: {error}") from None
        return [path for path in paths if path != folder and not path.rpartition("/")[2].startswith(".")]


def now() -> datetime:
    return datetime.now().astimezone()


def _packed(model: _Model, zstandard: Any) -> bytes:
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
    data: bytes = compressor.compress(model.model_dump_json().encode())
    return data


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)
