"""Podcast feeds to items: RSS 2.0 with Apple's and the podcast namespace.

What a feed says is written by others. Its XML is read without entities, external files or network, only http(s)
enclosures are taken, and what it declares is noted (`Published`) and never trusted.
https://cyber.harvard.edu/rss/rss.html, https://podcasting2.org/docs/podcast-namespace
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from pydantic import Base64Bytes, ValidationError

from aircheck_client.catalogue.extras import imported
from aircheck_client.catalogue.fetch import Http, RefusedSourceError
from aircheck_client.catalogue.items import BadItem, SourceError, is_manifest
from aircheck_client.catalogue.records import Item, Published, RecordStore
from aircheck_client.schema import Context, _Model

MAX_FEED_BYTES = 64 * 2**20
_ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
_PODCAST = "{https://podcastindex.org/namespace/1.0}"
_EXPLICIT = {"true": True, "yes": True, "explicit": True, "false": False, "no": False, "clean": False}
_FEEDS = (".xml", ".rss")


class FeedState(_Model):
    """A feed as it was last read: asked for again only where it has changed, and what is read where it has not."""

    url: str
    etag: str = ""
    last_modified: str = ""
    body: Base64Bytes


def is_feed(source: str) -> bool:
    """An http(s) address that is no manifest, or a file that ends as feeds do."""
    return (source.startswith(("http://", "https://")) and not is_manifest(source)) or source.lower().endswith(_FEEDS)


async def feed_items(
    source: str, context: Context, store: RecordStore, http: Http, since: datetime | None = None
) -> list[Item | BadItem]:
    """The items of a feed, newest first as it has them. Raises SourceError.

    since : items published before that are left out; those without a date never are
    """
    if not source.startswith(("http://", "https://")):
        try:
            return list(parsed(Path(source).read_bytes(), source, context, since))
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", source) from None
    return list(parsed(await _body(source, store, http), source, context, since))


async def _body(url: str, store: RecordStore, http: Http) -> bytes:
    before = store.document("feeds", url, FeedState)
    headers = {}
    if before is not None:
        pairs = {"If-None-Match": before.etag, "If-Modified-Since": before.last_modified}
        headers = {name: value for name, value in pairs.items() if value}
    async with http.get(url, headers) as response:
        if response.status == 304:
            if before is None:
                raise SourceError("the host answers 304 to a first question", url)
            return before.body
        body = bytearray()
        async for chunk in response.content.iter_chunked(1 << 16):
            body += chunk
            if len(body) > MAX_FEED_BYTES:
                raise RefusedSourceError(f"has more than {MAX_FEED_BYTES} bytes: no feed", url)
        state = FeedState(
            url=url,
            etag=response.headers.get("etag", ""),
            last_modified=response.headers.get("last-modified", ""),
            body=base64.b64encode(body),
        )
    store.put_document("feeds", url, state)
    return state.body


def parsed(xml: bytes, source: str, context: Context, since: datetime | None = None) -> Iterator[Item | BadItem]:
    """The items of a feed's text. Raises SourceError where it is none."""
    etree = imported("lxml.etree")
    # entities stay as they stand, nothing is loaded, and libxml2's limits of size and depth hold
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise SourceError(f"is no feed: {error}", source) from None
    channel = root.find("channel") if root is not None else None
    if channel is None:
        raise SourceError("is no RSS feed: it has no channel", source)
    show = _text(channel, f"{_PODCAST}guid") or source
    by_show = _EXPLICIT.get(_text(channel, f"{_ITUNES}explicit").lower())
    for number, entry in enumerate(channel.iterfind("item"), start=1):
        published_at = _date(_text(entry, "pubDate"))
        if since and published_at and published_at < since:
            continue
        yield _item(entry, f"{show}#", f"{source}:{number}", context, by_show, published_at)


def _item(
    entry: Any, prefix: str, where: str, context: Context, by_show: bool | None, published_at: datetime | None
) -> Item | BadItem:
    enclosure = entry.find("enclosure")
    places = [(enclosure.get("url", "").strip(), "")] if enclosure is not None else []
    places += _alternates(entry)
    places = [(url, integrity) for url, integrity in places if url.startswith(("http://", "https://"))]
    guid = _text(entry, "guid") or (places[0][0] if places else "")
    if not places:
        return BadItem(f"{prefix}{guid}" if guid else where, "has no http(s) enclosure")
    length = enclosure.get("length", "") if enclosure is not None else ""
    try:
        return Item(
            id=f"{prefix}{guid}",
            uri=places[0][0],
            uris=tuple(dict.fromkeys(url for url, _ in places[1:])),
            context=context,
            published=Published(
                title=_text(entry, "title") or _text(entry, f"{_ITUNES}title"),
                published_at=published_at,
                explicit=_EXPLICIT.get(_text(entry, f"{_ITUNES}explicit").lower(), by_show),
                transcripts=tuple(filter(None, (one.get("url") for one in entry.iterfind(f"{_PODCAST}transcript")))),
                media_type=enclosure.get("type", "") if enclosure is not None else "",
                size_bytes=int(length) if length.isdecimal() else None,
                integrity={url: text for url, text in places if text},
            ),
        )
    except ValidationError as error:
        return BadItem(f"{prefix}{guid}", str(error.errors(include_url=False)[0]["msg"]))


def _alternates(entry: Any) -> list[tuple[str, str]]:
    """The places of other encodings, the default one first, then by length: any of them has the words."""
    found = []
    for order, other in enumerate(entry.iterfind(f"{_PODCAST}alternateEnclosure")):
        length = other.get("length", "")
        rank = (other.get("default") != "true", int(length) if length.isdecimal() else 2**63, order)
        node = other.find(f"{_PODCAST}integrity")
        # PGP signatures are of no use here
        integrity = node.get("value", "") if node is not None and node.get("type") == "sri" else ""
        for place in other.iterfind(f"{_PODCAST}source"):
            found.append((rank, place.get("uri", "").strip(), integrity))
    return [(url, integrity) for _, url, integrity in sorted(found)]


def _text(node: Any, tag: str) -> str:
    return (node.findtext(tag) or "").strip()


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
