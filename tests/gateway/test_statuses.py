"""Faults to gRPC statuses."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from aircheck.gateway.errors import AccessError, BusyError, DrainingError, OverloadedError, StalledError, WindowError
from aircheck.gateway.statuses import LONGEST_MESSAGE, statuses
from aircheck.policy.errors import RequestError
from preprocessing.errors import CorruptAudioError, LimitExceededError


class AbortedError(Exception):
    pass


class Context:
    """Keeps how a call was ended."""

    async def abort(self, code, details, trailing_metadata):
        self.code, self.details, self.trailing = code, details, dict(trailing_metadata)
        raise AbortedError


def ended_by(fault: BaseException) -> Context:
    context = Context()

    async def call() -> None:
        async with statuses(context, "Test"):
            raise fault

    with pytest.raises(AbortedError):
        asyncio.run(call())
    return context


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (CorruptAudioError("cut off at 3 s"), grpc.StatusCode.INVALID_ARGUMENT),
        (LimitExceededError("too long"), grpc.StatusCode.INVALID_ARGUMENT),
        (RequestError("context.market: no"), grpc.StatusCode.INVALID_ARGUMENT),
        (AccessError("no token"), grpc.StatusCode.UNAUTHENTICATED),
        (OverloadedError("full", 3.5), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (BusyError("full"), grpc.StatusCode.UNAVAILABLE),
        (DrainingError("stops"), grpc.StatusCode.UNAVAILABLE),
        (StalledError("no byte"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (TimeoutError("late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (WindowError("a model failed"), grpc.StatusCode.INTERNAL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_fault_has_its_status_and_keeps_its_words(fault, code):
    context = ended_by(fault)
    assert (context.code, context.details) == (code, str(fault))


def test_what_nobody_foresaw_says_nothing_of_the_call(caplog):
    context = ended_by(KeyError("what somebody said"))
    assert context.code is grpc.StatusCode.INTERNAL
    assert "somebody" not in context.details
    assert "KeyError" in context.details


def test_the_place_in_the_recording_is_told():
    fault = CorruptAudioError("the disk is gone")
    fault.add_note("checked until 5:02:13")
    assert ended_by(fault).details == "the disk is gone (checked until 5:02:13)"


def test_messages_are_bounded():
    assert len(ended_by(RequestError("x" * 2_000_000)).details.encode()) == LONGEST_MESSAGE
    assert LONGEST_MESSAGE - 3 < len(ended_by(RequestError("語" * 5000)).details.encode()) <= LONGEST_MESSAGE


def test_who_is_refused_is_told_when_to_come_again():
    trailing = ended_by(OverloadedError("full", 3.5)).trailing
    (detail,) = Status.FromString(trailing["grpc-status-details-bin"]).details
    info = RetryInfo()
    assert detail.Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 3500
    assert trailing["grpc-retry-pushback-ms"] == "3500"
    assert "grpc-status-details-bin" in ended_by(BusyError("full")).trailing
    assert not ended_by(RequestError("no")).trailing


def test_who_has_gone_is_no_fault():
    async def call() -> None:
        async with statuses(Context(), "Test"):
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(call())
