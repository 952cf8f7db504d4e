"""Feeds to items; and feeds that mean harm."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from aircheck_client.catalogue.feed import feed_items, is_feed, parsed
from aircheck_client.catalogue.fetch import Http, RefusedSourceError
from aircheck_client.catalogue.items import BadItem, SourceError
from aircheck_client.catalogue.records import Item, RecordStore
from aircheck_client.schema import Context
from support.web import Page

HEAD = (
    '<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"'
    ' xmlns:podcast="https://podcastindex.org/namespace/1.0"><channel><title>Show</title>'
)
TAIL = "</channel></rss>"
EPISODE = """
<item><title>Pilot</title><guid isPermaLink="false">ep-1</guid><pubDate>Mon, 02 Mar 2026 10:00:00 +0100</pubDate>
<itunes:explicit>true</itunes:explicit>
<podcast:transcript url="https://x.example/1.vtt" type="text/vtt"/>
<podcast:transcript url="https://x.example/1.srt" type="application/srt"/>
<enclosure url="https://x.example/1.mp3" length="1234" type="audio/mpeg"/>
<podcast:alternateEnclosure type="audio/opus" length="900"><podcast:source uri="https://x.example/1.opus"/>
<podcast:source uri="ipfs://Qm"/><podcast:integrity type="sri" value="sha384-AAAA"/></podcast:alternateEnclosure>
<podcast:alternateEnclosure type="audio/flac" length="90000" default="true">
<podcast:source uri="https://x.example/1.flac"/></podcast:alternateEnclosure></item>
"""


def items(xml: str, **given) -> list[Item | BadItem]:
    return list(parsed(xml.encode(), "https://x.example/feed.xml", Context(market="SE"), **given))


def test_an_episode_has_all_that_its_publisher_says_of_it():
    (item,) = items(f"{HEAD}<podcast:guid>show-guid</podcast:guid>{EPISODE}{TAIL}")
    assert item.id == "show-guid#ep-1"
    assert item.uri == "https://x.example/1.mp3"
    assert item.uris == ("https://x.example/1.flac", "https://x.example/1.opus")  # the default first
    assert item.context == Context(market="SE")
    said = item.published
    assert (said.title, said.explicit, said.size_bytes, said.media_type) == ("Pilot", True, 1234, "audio/mpeg")
    assert said.published_at == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert said.transcripts == ("https://x.example/1.vtt", "https://x.example/1.srt")
    assert said.integrity == {"https://x.example/1.opus": "sha384-AAAA"}


@pytest.mark.parametrize(
    ("show", "episode", "explicit"),
    [("yes", "", True), ("true", "clean", False), ("", "", None), ("no", "explicit", True), ("perhaps", "", None)],
)
def test_explicit_is_the_episodes_word_then_the_shows(show, episode, explicit):
    tag = "<itunes:explicit>{}</itunes:explicit>".format
    entry = f'<item>{tag(episode) if episode else ""}<enclosure url="http://x.example/1.mp3"/></item>'
    (item,) = items(f"{HEAD}{tag(show) if show else ''}{entry}{TAIL}")
    assert item.published.explicit is explicit


def test_an_episode_without_a_guid_is_known_by_its_enclosure_and_one_without_that_is_told():
    named, bare = items(
        f'{HEAD}<item><enclosure url="http://x.example/1.mp3"/></item><item><guid>2</guid></item>{TAIL}'
    )
    assert named.id == "https://x.example/feed.xml#http://x.example/1.mp3"
    assert bare == BadItem("https://x.example/feed.xml#2", "has no http(s) enclosure")


def test_since_leaves_out_what_is_older_and_keeps_what_has_no_date():
    undated = '<item><guid>2</guid><pubDate>soon</pubDate><enclosure url="http://x.example/2.mp3"/></item>'
    xml = f"{HEAD}{EPISODE}{undated}{TAIL}"
    assert len(items(xml, since=datetime(2026, 3, 2, tzinfo=UTC))) == 2
    assert [item.id.rpartition("#")[2] for item in items(xml, since=datetime(2026, 3, 3, tzinfo=UTC))] == ["2"]


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "/etc/passwd", "s3://bucket/x", "ftp://x/1.mp3", ""])
def test_only_http_enclosures_are_taken(uri):
    (found,) = items(f'{HEAD}<item><guid>1</guid><enclosure url="{uri}"/></item>{TAIL}')
    assert isinstance(found, BadItem)


def test_entities_are_not_expanded_nor_files_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    xml = (
        f'<!DOCTYPE rss [<!ENTITY x SYSTEM "file://{secret}"><!ENTITY y "{"y" * 1000}">]>'
        f'{HEAD}<item><title>&x;&y;</title><guid>&x;1</guid><enclosure url="http://x.example/1.mp3"/></item>{TAIL}'
    )
    (item,) = items(xml)
    assert "s3cret" not in item.model_dump_json()
    assert "yyyy" not in item.model_dump_json()


def test_a_bomb_of_entities_does_not_go_off():
    entities = '<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    xml = f"<!DOCTYPE rss [{entities}]>{HEAD}<item><title>&i;</title></item>{TAIL}"
    try:
        found = items(xml)
    except SourceError:
        return
    assert all(isinstance(one, BadItem) for one in found)


def test_a_feed_with_faults_is_read_as_far_as_it_goes():
    found = items(f"{HEAD}{EPISODE}<item><title>Rock & Roll &nbsp;</title>" + EPISODE.replace("ep-1", "ep-2"))
    assert "ep-1" in found[0].id


@pytest.mark.parametrize("xml", ["", "no xml", "<html><body/></html>", "<rss/>"])
def test_what_is_no_feed_is_refused(xml):
    with pytest.raises(SourceError, match="feed"):
        items(xml)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("https://x.example/feed", True),
        ("show.rss", True),
        ("feed.xml", True),
        ("https://x.example/m.jsonl", False),
        ("archive", False),
        ("m.csv", False),
    ],
)
def test_what_counts_as_a_feed(source, expected):
    assert is_feed(source) is expected


def read(url: str, store: RecordStore, allow_private: bool = True) -> list[Item | BadItem]:
    async def fetch():
        http = Http(allow_private)
        try:
            return await feed_items(url, Context(), store, http)
        finally:
            await http.close()

    return asyncio.run(fetch())


def test_a_feed_that_has_not_changed_is_not_sent_again_and_its_items_are_still_there(web, tmp_path):
    store, whole, conditions = RecordStore(tmp_path), f"{HEAD}{EPISODE}{TAIL}".encode(), []

    def feed(headers: dict[str, str]) -> Page:
        conditions.append((headers.get("If-None-Match"), headers.get("If-Modified-Since")))
        same = headers.get("If-None-Match") == '"1"'
        date = "Mon, 02 Mar 2026 10:00:00 GMT"
        return Page(status=304) if same else Page(whole, headers={"ETag": '"1"', "Last-Modified": date})

    web.pages["/feed"] = feed
    first = read(f"{web.url}/feed", store)
    assert len(first) == 1
    assert read(f"{web.url}/feed", store) == first
    assert conditions == [(None, None), ('"1"', "Mon, 02 Mar 2026 10:00:00 GMT")]


def test_a_feed_at_a_private_address_is_refused(web, tmp_path):
    web.pages["/feed"] = Page(f"{HEAD}{TAIL}".encode())
    with pytest.raises(RefusedSourceError, match="private"):
        read(f"{web.url}/feed", RecordStore(tmp_path), allow_private=False)


def test_a_feed_without_end_is_refused(web, tmp_path, monkeypatch):
    monkeypatch.setattr("aircheck_client.catalogue.feed.MAX_FEED_BYTES", 1000)
    web.pages["/feed"] = Page(f"{HEAD}{' ' * 2000}{TAIL}".encode())
    with pytest.raises(RefusedSourceError, match="no feed"):
        read(f"{web.url}/feed", RecordStore(tmp_path))
