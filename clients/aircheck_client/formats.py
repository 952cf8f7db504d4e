"""A verdict in the forms that other programs take: WebVTT, SubRip, chapters, CSV."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable

from aircheck_client.schema import Evidence, Finding, Segment, Verdict

LINE_CHARACTERS = 65  # of a caption: https://www.w3.org/TR/webvtt1/ sets none; podcast hosts cut longer ones
_CSV_COLUMNS = (
    "file", "category", "start_s", "end_s", "severity", "action", "score", "threshold", "modality", "quote_or_event"
)  # fmt: skip


def webvtt(verdict: Verdict, name: str) -> str:
    """What was said, as captions, with findings marked: https://www.w3.org/TR/webvtt1/."""
    cues = [f"NOTE {_one_line(name)}: {_one_line(verdict.reason)}"]
    for segment in verdict.segments:
        text = "\n".join(_escaped(line) for line in _lines(segment, verdict))
        cues.append(f"{_time(segment.start_s, '.')} --> {_time(_end_s(segment), '.')}\n{text}")
    return "WEBVTT\n\n" + "\n\n".join(cues) + "\n"


def subrip(verdict: Verdict, name: str) -> str:
    """The same as SubRip (.srt)."""
    cues = [
        f"{number}\n{_time(segment.start_s, ',')} --> {_time(_end_s(segment), ',')}\n"
        + "\n".join(_lines(segment, verdict))
        for number, segment in enumerate(verdict.segments, 1)
    ]
    return "\n\n".join(cues) + ("\n" if cues else "")


def chapters(verdict: Verdict, name: str) -> str:
    """A chapter for each place of a finding: JSON chapters 1.2, https://podcasting2.org/podcast-namespace/tags/chapters."""
    places = sorted(
        ((item, finding) for finding in verdict.findings for item in finding.evidence),
        key=lambda place: (place[0].start_s, place[1].category),
    )
    listed = [
        {
            "startTime": round(item.start_s, 3),
            "endTime": round(item.end_s, 3),
            "title": f"{finding.category}: {item.severity}, {item.action}",
        }
        for item, finding in places
    ]
    return json.dumps({"version": "1.2.0", "title": name, "chapters": listed}, ensure_ascii=False) + "\n"


def csv_header() -> str:
    return ",".join(_CSV_COLUMNS) + "\r\n"


def csv_rows(verdict: Verdict, name: str) -> str:
    """A row for each place of a finding (RFC 4180), without the header; none for a recording without findings."""
    text = io.StringIO()
    writer = csv.writer(text)
    for finding in verdict.findings:
        for item in finding.evidence:
            writer.writerow([_inert(value) for value in _row(name, finding, item)])
    return text.getvalue()


FORMATS: dict[str, Callable[[Verdict, str], str]] = {
    "vtt": webvtt,
    "srt": subrip,
    "chapters": chapters,
    "csv": csv_rows,
}


def _row(name: str, finding: Finding, item: Evidence) -> tuple[object, ...]:
    times = (f"{item.start_s:.3f}", f"{item.end_s:.3f}")
    levels = (item.severity.value, item.action.value, item.score, item.threshold)
    return name, finding.category, *times, *levels, item.modality, item.quote or item.event or ""


def _inert(value: object) -> object:
    """What somebody said or named a file must not become a spreadsheet's formula (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _lines(segment: Segment, verdict: Verdict) -> list[str]:
    found = sorted(
        {
            f"[{finding.category}: {item.action}]"
            for finding in verdict.findings
            for item in finding.evidence
            if item.modality == "text" and item.start_s < segment.end_s and segment.start_s < item.end_s
        }
    )
    return textwrap.wrap(" ".join((*found, segment.text)), LINE_CHARACTERS) or [""]


def _end_s(segment: Segment) -> float:
    return max(segment.end_s, segment.start_s + 0.001)  # a cue must end after it begins


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("-->", "→")


def _time(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    whole_s, millisecond = divmod(milliseconds, 1000)
    minutes, second = divmod(whole_s, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{point}{millisecond:03}"
