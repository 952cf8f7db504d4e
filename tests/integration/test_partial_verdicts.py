"""Scans that fail midway, through a real server: what was found until then is delivered, and never clean."""

from __future__ import annotations

import asyncio
import time

import psutil
import pytest

from aircheck_client import Action, InvalidAudioError, ServerError
from support.audio import encode, silence, tone, wav
from support.requests import LONG_S, asyncio_client, long_recording
from support.sources import Interrupted


def torn() -> None:
    raise OSError(5, "Input/output error")


def check_partial(partial) -> None:
    """What was found until then; never clean, for the rest is unchecked."""
    assert partial.scope == "episode"
    assert 0 < partial.duration_s < LONG_S
    assert partial.action >= Action.REVIEW
    assert partial.coverage.undecoded_s >= 1
    assert any("not checked from" in warning for warning in partial.warnings)


@pytest.mark.parametrize("name", ["mp3", "wav-16"])
def test_a_disk_that_fails_midway_keeps_what_was_found(client, name):
    source = Interrupted(encode(silence(LONG_S), name), torn)
    stream = client.stream(source)
    next(stream)
    source.go_on.set()
    with pytest.raises(InvalidAudioError, match=r"interrupted\.mp3: cannot be read: Input/output error") as raised:
        list(stream)
    check_partial(raised.value.partial)
    assert stream.about.partial == raised.value.partial


def test_a_disk_that_fails_midway_keeps_what_was_found_with_asyncio_too(server):
    async def scenario():
        async with asyncio_client(server) as client:
            source = Interrupted(long_recording(), torn)
            stream = client.stream(source)
            await anext(stream)
            source.go_on.set()
            with pytest.raises(InvalidAudioError, match=r"interrupted\.mp3: cannot be read") as raised:
                async for _ in stream:
                    pass
            check_partial(raised.value.partial)

    asyncio.run(scenario())


def test_a_fault_of_the_callers_own_is_its_own(client):
    def fail() -> None:
        raise KeyError("mine")

    source = Interrupted(long_recording(), fail)
    stream = client.stream(source)
    next(stream)
    source.go_on.set()
    with pytest.raises(KeyError, match="mine"):
        list(stream)
    check_partial(stream.about.partial)


def test_a_decoder_that_dies_midway_keeps_what_was_found(server, client):
    source = Interrupted(long_recording())
    stream = client.stream(source)
    next(stream)
    decoders = decoder_processes(server.pid)
    assert decoders
    for process in decoders:
        process.kill()
    while decoder_processes(server.pid) & decoders:
        time.sleep(0.05)
    source.go_on.set()
    with pytest.raises(ServerError, match="checked until") as raised:
        list(stream)
    check_partial(raised.value.partial)
    assert client.scan(wav(tone(0.5))).action == "allow"


def decoder_processes(gateway: int) -> set[psutil.Process]:
    """Those that decode; not the one that they are forked from."""
    (first,) = [child for child in psutil.Process(gateway).children() if "decoding.zygote" in " ".join(child.cmdline())]
    return set(first.children())


def test_a_text_file_is_told_from_audio(client, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    with path.open() as file, pytest.raises(TypeError, match=r"notes\.txt is open as text.*'rb'"):
        client.scan(file)
