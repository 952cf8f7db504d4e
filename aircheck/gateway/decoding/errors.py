"""What can go wrong with decoding, beside the audio itself (preprocessing.errors)."""

from __future__ import annotations


class SpoolFullError(RuntimeError):
    """There is no room on disk for more bytes of uploads: the quota is used up, or the disk is full."""


class DecoderLostError(RuntimeError):
    """The process that decoded the recording ended, or was killed: by a limit, a crash, or for want of progress."""


class SandboxError(RuntimeError):
    """Decoding cannot be confined on this machine; the message says why and what to do."""
