"""Requests to Triton and what its errors mean, with a stand-in that answers on the same socket."""

import asyncio
import errno
import os
import struct
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from aircheck.gateway.errors import BusyError, WindowError
from aircheck.gateway.triton_link import LostError, TritonLink
from aircheck.inference.abandonment import PARAMETER
from aircheck.policy.taxonomy import Category, Event
from aircheck_client.schema import Action, Context, Severity, Verdict
from preprocessing.errors import AudioError

VERDICT = Verdict(
    scope="window",
    duration_s=1.0,
    score=0.0,
    severity=Severity.NONE,
    action=Action.ALLOW,
    reason="",
    policy_pack="default",
    policy_version="3",
    policy_sha256="0" * 64,
    server_version="0",
    models=(),
)
FINDINGS = b'{"start_s": 0}'
_IN = "in ensemble 'audio_safety', "


class FakeTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers with a verdict, an error, or not at all."""

    def __init__(self, fault=None, is_silent=False):
        self.fault, self.is_silent = fault, is_silent
        self.requests = []
        self.tickets = []  # whether each request's file was there

    async def ModelInfer(self, request, context):  # noqa: N802
        self.requests.append(request)
        self.tickets.append(os.path.exists(request.parameters[PARAMETER].string_param))
        if self.fault:
            await context.abort(*self.fault)
        if self.is_silent:
            await asyncio.sleep(3600)
        text = VERDICT.model_dump_json().encode()
        contents = {
            "VERDICT": struct.pack("<I", len(text)) + text,
            "TEXT_SCORES": bytes(4 * len(Category)),
            "ACOUSTIC_SCORES": bytes(4 * len(Event)),
            "FINDINGS": struct.pack("<I", len(FINDINGS)) + FINDINGS,
        }
        asked = [output.name for output in request.outputs]
        tensor = service_pb2.ModelInferResponse.InferOutputTensor
        return service_pb2.ModelInferResponse(
            outputs=[tensor(name=name) for name in asked], raw_output_contents=[contents[name] for name in asked]
        )


@asynccontextmanager
async def linked(triton):
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for a socket
        link, server = TritonLink(Path(folder)), grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(triton, server)
        server.add_insecure_port(link.url)
        await server.start()
        yield link, Path(folder)
        await link.close()
        await server.stop(None)


def infer(triton, deadline_s=None):
    async def run():
        async with linked(triton) as (link, folder):
            try:
                return await link.infer(b"RIFF", Context(), "en", deadline_s)
            finally:
                assert not list(folder.glob("window-*"))

    return asyncio.run(run())


def test_a_window_is_sent_whole_and_its_verdict_comes_back():
    triton = FakeTriton()
    answer = infer(triton)
    assert answer.verdict == VERDICT
    assert answer.findings_json == FINDINGS
    (request,) = triton.requests
    assert [(one.name, list(one.shape)) for one in request.inputs] == [
        ("AUDIO", [1, 4]),
        ("CONTEXT", [1, 1]),
        ("LANGUAGE", [1, 1]),
    ]
    assert request.raw_input_contents[0] == b"RIFF"
    assert request.raw_input_contents[2] == b"\x02\0\0\0en"


def test_a_file_is_there_while_somebody_waits():
    triton = FakeTriton()
    infer(triton)
    assert triton.tickets == [True]


def test_a_file_that_cannot_be_made_is_not_named(monkeypatch):
    really_open = os.open

    def full(path, *arguments, **options):
        if "window-" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return really_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", full)
    triton = FakeTriton()
    assert infer(triton).verdict == VERDICT
    assert PARAMETER not in triton.requests[0].parameters or not triton.requests[0].parameters[PARAMETER].string_param


def test_a_cancelled_window_is_cancelled_at_triton_and_its_file_is_gone():
    triton = FakeTriton(is_silent=True)

    async def run():
        async with linked(triton) as (link, folder):
            call = asyncio.create_task(link.infer(b"RIFF", Context(), "", None))
            while not triton.requests:
                await asyncio.sleep(0.01)
            assert len(list(folder.glob("window-*"))) == 1
            call.cancel()
            await asyncio.wait([call])
            return list(folder.glob("window-*")), call.cancelled()

    assert asyncio.run(run()) == ([], True)


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, _IN + "no audio packets", AudioError),
        (
            grpc.StatusCode.UNAVAILABLE,
            _IN + "whisper: 9 windows wait to be transcribed",
            BusyError,
        ),
        (
            grpc.StatusCode.INTERNAL,
            _IN + "Failed to increase the shared memory pool size",
            BusyError,
        ),
        (grpc.StatusCode.INTERNAL, _IN + "Stub process 'whisper_0_0' is not healthy.", LostError),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", LostError),
        (grpc.StatusCode.CANCELLED, _IN + "the request was cancelled", LostError),
        (grpc.StatusCode.INTERNAL, _IN + "whisper: NaN", WindowError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", TimeoutError),
    ],
)
def test_errors_are_told_apart(code, details, kind):
    with pytest.raises(kind) as raised:
        infer(FakeTriton((code, details)))
    assert "ensemble" not in str(raised.value)
    if kind is LostError:
        assert raised.value.is_certain == ("not healthy" in details)


def test_words_of_triton_are_bounded():
    with pytest.raises(WindowError) as raised:
        infer(FakeTriton((grpc.StatusCode.INTERNAL, "x" * 5000)))
    assert len(str(raised.value)) <= 500
