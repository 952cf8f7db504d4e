"""What is fetched over http, and what never is."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket

import pytest

from aircheck_client.catalogue.fetch import (
    Http,
    RefusedSourceError,
    UnreachableSourceError,
    is_public,
    strongest,
)
from aircheck_client.catalogue.items import SourceError
from aircheck_client.catalogue.sources import Sources
from aircheck_client.sources import name_of
from support.web import Page

AUDIO = b"a recording " * 1000


def fetched(url: str, allow_private: bool = True, max_bytes: int | None = None, integrity: str = ""):
    async def fetch():
        async with Sources(allow_private=allow_private) as sources:
            sources.max_bytes = max_bytes
            async with sources.fetched(url, integrity) as audio:
                return audio.sha256, audio.size_bytes, audio.source.read(), name_of(audio.source)

    sha256, size_bytes, data, name = asyncio.run(fetch())
    assert name == url
    assert (sha256, size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    return data


def sri(data: bytes, algorithm: str = "sha384") -> str:
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
    ],
)
def test_which_addresses_are_of_the_internet(address, public):
    assert is_public(address) is public


def test_a_file_is_copied_with_its_hash(web):
    web.pages["/a.mp3"] = Page(AUDIO)
    assert fetched(f"{web.url}/a.mp3") == AUDIO


def test_a_copy_has_no_name_that_a_killed_process_could_leave_behind(web, tmp_path):
    web.pages["/a.mp3"] = Page(AUDIO)

    async def fetch():
        async with Sources(tmp_path, allow_private=True) as sources, sources.fetched(f"{web.url}/a.mp3") as audio:
            assert audio.source.read() == AUDIO
            return list(tmp_path.iterdir())

    assert asyncio.run(fetch()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "[::ffff:127.0.0.1]"])
def test_private_addresses_are_refused_however_they_are_written(web, host):
    web.pages["/a.mp3"] = Page(AUDIO)
    port = web.url.rpartition(":")[2]
    with pytest.raises(SourceError) as refused:
        fetched(f"http://{host}:{port}/a.mp3", allow_private=False)
    assert isinstance(refused.value, RefusedSourceError | UnreachableSourceError)
    assert web.asked == []


def test_a_name_that_resolves_to_a_private_address_is_refused(web, monkeypatch):
    web.pages["/a.mp3"] = Page(AUDIO)
    port = int(web.url.rpartition(":")[2])
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))],
    )
    with pytest.raises(RefusedSourceError, match="private address"):
        fetched(f"http://podcast.example:{port}/a.mp3", allow_private=False)
    assert web.asked == []


def test_a_redirect_to_a_private_address_is_refused(web, monkeypatch):
    """The first address counts as public here, the second is the real one of this machine."""
    web.pages["/a.mp3"] = Page(status=302, headers={"Location": web.url.replace("127.0.0.1", "127.0.0.2") + "/b.mp3"})
    web.pages["/b.mp3"] = Page(AUDIO)
    monkeypatch.setattr("aircheck_client.catalogue.fetch.is_public", lambda host: host == "127.0.0.1")
    with pytest.raises(RefusedSourceError, match=r"private address \(127\.0\.0\.2\)"):
        fetched(f"{web.url}/a.mp3", allow_private=False)
    assert web.asked == ["/a.mp3"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/a.mp3", "gopher://x/"])
def test_a_redirect_to_another_scheme_is_refused(web, target):
    web.pages["/a.mp3"] = Page(status=301, headers={"Location": target})
    with pytest.raises(RefusedSourceError, match="no http"):
        fetched(f"{web.url}/a.mp3")


def test_redirects_are_followed_to_their_end_but_not_for_ever(web):
    web.pages["/1"] = Page(status=302, headers={"Location": "/2"})
    web.pages["/2"] = Page(status=307, headers={"Location": f"{web.url}/a.mp3"})
    web.pages["/a.mp3"] = Page(AUDIO)
    web.pages["/loop"] = Page(status=302, headers={"Location": "/loop"})
    assert fetched(f"{web.url}/1") == AUDIO
    with pytest.raises(RefusedSourceError, match="redirects more than 5 times"):
        fetched(f"{web.url}/loop")


def test_a_proxy_of_the_environment_is_not_used(web, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    web.pages["/a.mp3"] = Page(AUDIO)
    assert fetched(f"{web.url}/a.mp3") == AUDIO


def test_sizes_over_the_limit_are_refused_also_where_the_header_lies(web):
    web.pages["/a.mp3"] = Page(AUDIO)
    with pytest.raises(RefusedSourceError, match="more than 100 bytes"):
        fetched(f"{web.url}/a.mp3", max_bytes=100)
    assert fetched(f"{web.url}/a.mp3", max_bytes=len(AUDIO)) == AUDIO


def test_what_passes_is_told_from_what_does_not(web):
    web.pages["/busy"] = Page(status=503, headers={"Retry-After": "7"})
    web.pages["/short"] = Page(AUDIO, length=len(AUDIO) + 10)
    with pytest.raises(UnreachableSourceError) as busy:
        fetched(f"{web.url}/busy")
    assert busy.value.retry_after_s == 7.0
    for url in (f"{web.url}/short", "http://127.0.0.1:1/a.mp3"):
        with pytest.raises(UnreachableSourceError):
            fetched(url)
    with pytest.raises(SourceError, match="404") as missing:
        fetched(f"{web.url}/absent")
    assert not isinstance(missing.value, UnreachableSourceError)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_bytes_that_are_not_the_promised_ones_are_refused(web, algorithm):
    web.pages["/a.mp3"] = Page(AUDIO)
    assert fetched(f"{web.url}/a.mp3", integrity=sri(AUDIO, algorithm)) == AUDIO
    with pytest.raises(RefusedSourceError, match=f"other bytes than its {algorithm}"):
        fetched(f"{web.url}/a.mp3", integrity=sri(b"others", algorithm))


def test_of_several_digests_the_strongest_counts_and_unknown_ones_do_not():
    assert strongest(f"{sri(b'x', 'sha256')} {sri(b'y', 'sha512')}") == ("sha512", hashlib.sha512(b"y").digest())
    assert strongest("md5-abc sha256-not/base64!") == ("", b"")


def test_chains_of_fsspec_are_refused():
    with pytest.raises(RefusedSourceError, match="chain"):
        fetched("simplecache::http://127.0.0.1/a.mp3")


def test_an_http_client_that_was_never_used_closes():
    asyncio.run(Http().close())
