"""What is to be scanned: the items of a manifest or of a folder, read one after another, never all at once.

A manifest is JSONL, CSV or Parquet with a `uri` a line, and where wanted an `id`, the context's fields (`content_type`,
`market`, `audience`, `policy_pack`; in JSONL also an object `context`). A uri without a scheme is a path from the
manifest's folder. The id says which item it is, also where its uri changes; without one, the uri does.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import mimetypes
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from aircheck_client.catalogue.extras import imported
from aircheck_client.catalogue.records import Item
from aircheck_client.errors import AircheckError
from aircheck_client.schema import Context

MANIFESTS = (".jsonl", ".ndjson", ".csv", ".parquet")
PARQUET_ROWS = 10_000  # read at a time
_CONTEXT = tuple(Context.model_fields)
_SOUND = frozenset({".amr", ".caf", ".m4b", ".mka", ".mkv", ".opus", ".weba", ".wma", ".flac"})  # what mimetypes lacks


class SourceError(AircheckError):
    """The manifest, folder or feed cannot be read; or what one of its items lies in."""


@dataclass(frozen=True)
class BadItem:
    """A line of a manifest that is no item: where it is, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """One of `count` disjoint parts of a catalogue, by the items' ids: the same on every machine and in every run."""

    number: int = 1  # from 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"shard {self.number}/{self.count}: give I/N with I from 1 to N")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/8`. Raises ValueError."""
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            raise ValueError(f"{text!r} is no shard; give I/N, such as 2/8")
        return cls(int(number), int(count))

    def holds(self, item_id: str) -> bool:
        digest = hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


def is_manifest(source: str) -> bool:
    return PurePosixPath(source.partition("?")[0]).suffix.lower() in MANIFESTS


def is_folder(source: str) -> bool:
    if "://" not in source:
        return Path(source).is_dir()
    files, path = _files_of(source)
    return bool(files.isdir(path))


def manifest_items(source: str, context: Context) -> Iterator[Item | BadItem]:
    """The items of a manifest; `context` is that of lines which say nothing else. Raises SourceError."""
    files, path = _files_of(source)
    reader = {".csv": _csv_rows, ".parquet": _parquet_rows}.get(PurePosixPath(path).suffix.lower(), _jsonl_rows)
    base = source.rpartition("/")[0] if "://" in source else str(Path(source).resolve().parent)
    try:
        with files.open(path, "rb") as file:
            for number, row in enumerate(reader(file), start=1):
                if row is not None:
                    yield _item(row, f"{source}:{number}", base, context)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be read: {error}", source) from None


def folder_items(source: str, context: Context) -> Iterator[Item]:
    """The sound and video files of a folder and all folders in it, by their names' endings. Raises SourceError."""
    files, root = _files_of(source)
    prefix = source.partition("://")[0] + "://" if "://" in source else ""
    root = root.rstrip("/")
    try:
        for folder, folders, names in files.walk(root):
            if isinstance(folders, list):  # a dict has fsspec's own order
                folders.sort()
            for name in sorted(names):
                path = f"{folder.rstrip('/')}/{name}"
                if _is_sound(name):
                    yield Item(id=path.removeprefix(f"{root}/"), uri=f"{prefix}{path}", context=context)
    except OSError as error:
        raise SourceError(f"cannot be read: {error}", source) from None


def _is_sound(name: str) -> bool:
    kind, _ = mimetypes.guess_type(name)
    is_known = PurePosixPath(name).suffix.lower() in _SOUND or (kind or "").startswith(("audio/", "video/"))
    return is_known and not name.startswith(".") and "mpegurl" not in (kind or "") and kind != "audio/x-scpls"


def _files_of(source: str) -> tuple[Any, str]:
    fsspec = imported("fsspec")
    try:
        files, path = fsspec.core.url_to_fs(source)
    except (ImportError, ValueError, OSError) as error:
        raise SourceError(f"cannot be opened: {error}", source) from None
    return files, str(path)


def _jsonl_rows(file: Any) -> Iterator[Mapping[str, Any] | str | None]:
    for line in file:
        if not line.strip():
            yield None
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            yield f"no JSON: {error}"
            continue
        yield row if isinstance(row, dict) else "no JSON object"


def _csv_rows(file: Any) -> Iterable[Mapping[str, Any]]:
    return csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""))


def _parquet_rows(file: Any) -> Iterator[Mapping[str, Any]]:
    polars = imported("polars")
    try:
        table = polars.scan_parquet(file)
        table = table.select(name for name in table.collect_schema() if name in ("uri", "id", *_CONTEXT))
        for start in itertools.count(step=PARQUET_ROWS):
            rows = table.slice(start, PARQUET_ROWS).collect()
            yield from rows.iter_rows(named=True)
            if rows.height < PARQUET_ROWS:
                return
    except polars.exceptions.PolarsError as error:
        raise ValueError(f"no Parquet: {error}") from None


def _item(row: Mapping[str, Any] | str, where: str, base: str, defaults: Context) -> Item | BadItem:
    if isinstance(row, str):
        return BadItem(where, row)
    uri = str(row.get("uri") or "")
    if not uri:
        return BadItem(where, "no uri")
    given = {name: row[name] for name in _CONTEXT if row.get(name)}
    if isinstance(nested := row.get("context"), dict):
        given = nested | given
    try:
        context = Context.model_validate(defaults.model_dump() | given)
        return Item(id=str(row.get("id") or uri), uri=resolved(uri, base), context=context)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        return BadItem(where, f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}")


def resolved(uri: str, base: str) -> str:
    """A uri as it stands in a manifest, from the manifest's folder."""
    if "://" in uri or uri.startswith("/"):
        return uri
    return f"{base}/{uri}"
