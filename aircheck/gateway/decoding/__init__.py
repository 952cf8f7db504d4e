"""Recordings of any length to windows, in processes that can do nothing else: what the rest of the gateway uses."""

from aircheck.gateway.decoding.configuration import decoder_pool, spool_quota
from aircheck.gateway.decoding.errors import DecoderLostError, SandboxError, SpoolFullError
from aircheck.gateway.decoding.messages import ChapterInfo, RecordingInfo, Summary
from aircheck.gateway.decoding.pool import DecodedWindow, DecoderPool, Decoding
from aircheck.gateway.decoding.sandbox import SandboxLimits
from aircheck.gateway.decoding.spool import Spool, SpoolQuota

__all__ = [
    "ChapterInfo",
    "DecodedWindow",
    "DecoderLostError",
    "DecoderPool",
    "Decoding",
    "RecordingInfo",
    "SandboxError",
    "SandboxLimits",
    "Spool",
    "SpoolFullError",
    "SpoolQuota",
    "Summary",
    "decoder_pool",
    "spool_quota",
]
