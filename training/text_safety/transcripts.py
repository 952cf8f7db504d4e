"""What Whisper wrote when the lines were spoken to it: small JSON files beside the data.

`data/transcripts/test.json` holds every held-out line, `train.json` a sample of the training lines.
`python -m training.text_safety.transcribe` makes both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from aircheck.inference.text_safety.passages import normalise
from training.text_safety.lines import DATA, DataError, Line

FOLDER = DATA / "transcripts"
TEST, TRAIN = FOLDER / "test.json", FOLDER / "train.json"


@dataclass(frozen=True)
class Transcripts:
    """Segment texts by spoken line (`spoken`), and the checkpoint that wrote them; no segments: it heard nothing."""

    whisper: str
    whisper_version: str
    segments: dict[str, tuple[str, ...]]

    def heard(self, line: Line) -> Line:
        """The line as it was heard, its segments normalised. Raises DataError when it was never transcribed."""
        try:
            segments = self.segments[spoken(line)]
        except KeyError:
            raise DataError(
                f"'{line.text}' has no transcript; make them with `python -m training.text_safety.transcribe`"
            ) from None
        return replace(line, parts=tuple(text for text in map(normalise, segments) if text))


def spoken(line: Line) -> str:
    """The text given to the speech synthesiser: a full stop makes the pause between two segments."""
    return ". ".join(line.parts)


def read(path: Path) -> Transcripts:
    """Raises DataError when the file is missing or is not what `write` makes."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Transcripts(
            content["whisper"],
            content["whisper_version"],
            {text: tuple(segments) for text, segments in content["segments"].items()},
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path.name}: cannot be read as transcripts: {error!r}; "
            "make it with `python -m training.text_safety.transcribe`"
        ) from None


def write(transcripts: Transcripts, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(vars(transcripts), indent=0, ensure_ascii=False, sort_keys=True)
    path.write_text(content.replace("[\n", "[").replace("\n]", "]") + "\n", encoding="utf-8")
