"""What can be wrong with a caller's audio. Messages name the fault and the remedy; the caller adds the file's name."""


class AudioError(ValueError):
    """The audio cannot be used. Everything below is the caller's to mend, never the server's."""


class UnsupportedFormatError(AudioError):
    """The bytes are no audio container or codec that can be decoded."""


class NoAudioTrackError(UnsupportedFormatError):
    """The container holds other tracks, but none of sound."""


class EncryptedAudioError(UnsupportedFormatError):
    """The sound is encrypted (DRM); without its key there is nothing to decode."""


class CorruptAudioError(AudioError):
    """The container was recognised, but what it holds is damaged or not what its header says."""


class IncompleteAudioError(CorruptAudioError):
    """A part without which nothing can be decoded is missing: the recording or the upload was cut off."""


class LimitExceededError(AudioError):
    """The audio is larger, longer, wider or faster than a limit allows; the message names the limit."""
