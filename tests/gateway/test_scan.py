"""A recording from its first byte to its verdict, through real decoders, with models that find nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from aircheck.gateway.answers import Answer
from aircheck.gateway.calls import Call
from aircheck.gateway.decoding import DecoderPool, Decoding, SandboxLimits, SpoolQuota
from aircheck.gateway.errors import StalledError
from aircheck.gateway.scan import PartialError, Parts, RecordingScan, Request
from aircheck.gateway.scheduling import Priority, WindowScheduler
from aircheck.policy.decide import decide_window
from aircheck.policy.own import Own
from aircheck.policy.packs import PackLibrary
from aircheck.settings import ROOT, Settings
from aircheck_client.schema import AcousticFindings, Action, Context, TextFindings, Transcript, Verdict, WindowFindings
from preprocessing.errors import CorruptAudioError
from preprocessing.wave_file import wave_samples
from support.audio import RATE_HZ, encode, tone, wav

RULES = PackLibrary(ROOT / "server_config" / "policies")["default"].for_context(Context())
ENOUGH_S = 60.0


class Models:
    """Find nothing in any window."""

    async def infer(
        self, wav: bytes, context: Context, language: str, deadline_s: float | None, own: Own | None = None
    ) -> Answer:
        seconds = own.end_s - own.start_s if own else wave_samples(wav).shape[1] / RATE_HZ
        transcript = Transcript(model="ear", model_version="1")
        text, sound = TextFindings(model="text", model_version="1"), AcousticFindings(model="sound", model_version="1")
        return Answer(
            decide_window(
                WindowFindings(
                    start_s=0, duration_s=seconds, transcript=transcript, text_findings=text, acoustic_findings=sound
                ),
                context,
                RULES,
            )
        )


@pytest.fixture(scope="module")
def decoders():
    with asyncio.Runner() as runner:
        pool = DecoderPool(SandboxLimits(), 2)
        runner.run(pool.__aenter__())
        yield runner, pool
        runner.run(pool.__aexit__())


@pytest.fixture
def scan(tmp_path, decoders):
    """Scans chunks; returns the verdicts, and what ended them."""
    runner, pool = decoders

    def run(chunks: AsyncIterator[bytes], is_live: bool = False) -> tuple[list[Verdict], Exception | None]:
        async def main() -> tuple[list[Verdict], Exception | None]:
            verdicts: list[Verdict] = []
            quota = SpoolQuota(tmp_path, 2**28, 2**28)
            async with asyncio.timeout(ENOUGH_S):
                parts = Parts(Settings.load(upload_pause_s=0.5), Models(), pool, quota, WindowScheduler(4))
                request = Request(Context(), RULES, "", Priority.NORMAL)
                scanning = RecordingScan(parts, request, Call("1", "", None), is_live)
                try:
                    async for event in scanning.run(chunks):
                        if not isinstance(event, Decoding):
                            verdicts.append(event if isinstance(event, Verdict) else event.verdict)
                except (PartialError, StalledError, CorruptAudioError) as error:
                    return verdicts, error
                finally:
                    assert quota.used_bytes == 0
                return verdicts, None

        return runner.run(main())

    return run


async def sent(data: bytes, then: Exception | float | None = None) -> AsyncIterator[bytes]:
    """In pieces; at the end an exception, or a pause in seconds."""
    for at in range(0, len(data), 2**16):
        yield data[at : at + 2**16]
    if isinstance(then, Exception):
        raise then
    await asyncio.sleep(then or 0.0)


def test_a_whole_recording_has_its_windows_and_a_clean_verdict(scan):
    (*windows, whole), error = scan(sent(wav(tone(70.0))))
    assert error is None
    assert len(windows) == 3
    assert (whole.scope, whole.action) == ("episode", Action.ALLOW)
    assert whole.duration_s == pytest.approx(70.0)


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize("name", ["mp3", "adts"])  # one says how long it is, and one does not
def test_an_upload_that_stalls_ends_with_what_was_found_and_is_never_clean(scan, name, is_live):
    data = encode(tone(70.0), name)
    windows, error = scan(sent(data[: 4 * len(data) // 5], then=ENOUGH_S), is_live)
    assert isinstance(error, PartialError)
    assert isinstance(error.cause, StalledError)
    assert windows[-1].end_s == pytest.approx(56, abs=0.5)  # all that came, also what was not cut into a window yet
    assert windows[-1].end_s == pytest.approx(error.verdict.duration_s)
    assert error.verdict.action is Action.REVIEW
    assert error.verdict.coverage.undecoded_s >= (70 - windows[-1].end_s - 0.2 if name == "mp3" else 1)
    assert any("no byte came for 0.5 s" in warning for warning in error.verdict.warnings)


def test_an_upload_that_stalls_before_anything_was_heard_has_no_verdict(scan):
    windows, error = scan(sent(wav(tone(1.0))[:20], then=ENOUGH_S))
    assert windows == []
    assert isinstance(error, StalledError)


def test_an_upload_that_breaks_off_is_checked_as_far_as_it_came(scan):
    data = encode(tone(70.0), "adts")
    windows, error = scan(sent(data[: len(data) // 2], then=CorruptAudioError("the rest is lost")))
    assert isinstance(error, PartialError)
    assert windows[-1].end_s == pytest.approx(35, abs=0.5)
    assert error.cause.__notes__ == [f"checked until 00:{int(windows[-1].end_s):02}"]
    assert error.verdict.action is Action.REVIEW
