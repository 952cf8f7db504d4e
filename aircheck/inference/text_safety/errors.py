"""What can go wrong in text safety, each with the name of the culprit and the remedy."""


class TextSafetyError(ValueError):
    """Base of the errors of this package."""


class LabelMapError(TextSafetyError):
    """A label map cannot be read, or does not fit the checkpoint or the taxonomy."""


class CheckpointError(TextSafetyError):
    """A classifier cannot be loaded from the given name or path."""


class TranscriptError(TextSafetyError):
    """A `TRANSCRIPT` tensor is not the JSON of a transcript."""


class ProfanityListError(TextSafetyError):
    """A list of swear words cannot be read."""
