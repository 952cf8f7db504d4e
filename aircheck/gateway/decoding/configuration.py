"""Decoding as the settings have it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aircheck.cores import usable_cores
from aircheck.gateway.decoding.pool import DecoderPool
from aircheck.gateway.decoding.sandbox import SandboxLimits
from aircheck.gateway.decoding.spool import SpoolQuota
from aircheck.settings import Settings

_FOR_CLIPS_PER_CORE = 2  # processes beyond those that recordings may hold, so that no clip waits for one


def spool_quota(settings: Settings) -> SpoolQuota:
    """What uploads may hold on disk."""
    folder = settings.spool_dir or Path(tempfile.gettempdir())
    return SpoolQuota(folder, settings.spool_max_bytes, settings.max_episode_bytes)


def decoder_pool(settings: Settings) -> DecoderPool:
    """Decoder processes, to be entered."""
    limits = SandboxLimits(
        is_confined=settings.decoder_sandbox,
        memory_bytes=settings.decoder_memory_bytes,
        cpu_base_s=settings.decoder_cpu_s,
        stall_s=settings.decoder_stall_s,
    )
    cores = usable_cores()
    return DecoderPool(limits, settings.max_parallel_episodes + _FOR_CLIPS_PER_CORE * cores)
