"""Which status a caller sees for which fault."""

import asyncio
import logging

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from aircheck.gateway.decoding.errors import DecoderLostError, SpoolFullError
from aircheck.gateway.errors import BusyError, OverloadedError, WindowError
from aircheck.gateway.statuses import LONGEST_MESSAGE, statuses
from preprocessing.errors import CorruptAudioError

_DETAILS = "grpc-status-details-bin"


class FakeContext:
    """Keeps what the call was ended with."""

    async def abort(self, code, details, trailing):
        self.code, self.details, self.trailing = code, details, dict(trailing)
        raise grpc.aio.AbortError


def ended_by(fault):
    async def call(context):
        async with statuses(context, logging.LoggerAdapter(logging.getLogger("test"))):
            raise fault

    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(call(context))
    return context


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (CorruptAudioError("no packets at 0:01:00"), grpc.StatusCode.INVALID_ARGUMENT),
        (OverloadedError("9 windows wait", 3.5), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (SpoolFullError("the disk is full"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (BusyError("the models are restarting"), grpc.StatusCode.UNAVAILABLE),
        (DecoderLostError("killed after 60 s"), grpc.StatusCode.INTERNAL),
        (WindowError("the models ended twice"), grpc.StatusCode.INTERNAL),
    ],
)
def test_known_faults_keep_their_words(fault, code):
    context = ended_by(fault)
    assert (context.code, context.details) == (code, str(fault))


@pytest.mark.parametrize(
    ("fault", "delay_s"), [(OverloadedError("full", 3.5), 3.5), (SpoolFullError("full"), 2.0), (BusyError("full"), 2.0)]
)
def test_who_may_come_again_is_told_when(fault, delay_s):
    status = Status.FromString(ended_by(fault).trailing[_DETAILS])
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.retry_delay.ToTimedelta().total_seconds() == delay_s


def test_unknown_faults_say_no_more_than_their_type():
    context = ended_by(KeyError("/etc/secret"))
    assert context.code is grpc.StatusCode.INTERNAL
    assert "KeyError" in context.details
    assert "secret" not in context.details


def test_messages_are_bounded():
    assert len(ended_by(CorruptAudioError("x" * 5000)).details) == LONGEST_MESSAGE
