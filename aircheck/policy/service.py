"""The Triton model `policy` without Triton: JSON in, a verdict out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from aircheck.policy.conditions import AUDIENCES, CONTENT_TYPES
from aircheck.policy.decide import decide_window
from aircheck.policy.errors import RequestError, UnknownPackError
from aircheck.policy.judge import PolicyJudge
from aircheck.policy.kept import decide_recording
from aircheck.policy.packs import PackLibrary, PolicyPack, Rules
from aircheck_client.schema import AcousticFindings, Context, TextFindings, Transcript, Verdict, WindowFindings

_Parsed = TypeVar("_Parsed")

_CONTEXT = TypeAdapter(Context)
_TRANSCRIPT = TypeAdapter(Transcript)
_WARNINGS = TypeAdapter(tuple[str, ...])
_TEXT_FINDINGS = TypeAdapter(TextFindings)
_ACOUSTIC_FINDINGS = TypeAdapter(AcousticFindings)

_CONTEXT_REMEDIES = {
    "content_type": f"use one of {', '.join(CONTENT_TYPES)}",
    "audience": f"use one of {', '.join(AUDIENCES)}",
    "market": "use an ISO 3166-1 alpha-2 code in capitals, such as SE, or * for any",
}


class PolicyService:
    """Decides windows by the packs of one directory; thread-safe."""

    def __init__(self, policy_dir: Path, judge: PolicyJudge | None = None, language: str = "auto") -> None:
        """Load every pack. Raises PolicyError, which names the file and the key, for a pack with a fault.

        Args:
            language: the setting: "auto", or that of all audio.
        """
        self._packs = PackLibrary(policy_dir)
        self._judge = judge
        self._language = "" if language == "auto" else language

    def decide(
        self,
        *,
        transcript_json: bytes,
        text_findings_json: bytes,
        acoustic_findings_json: bytes,
        duration_s: float,
        warnings_json: bytes,
        context_json: bytes,
    ) -> Verdict:
        """The verdict on one window; with a policy judge, after waiting for its answers.

        Args:
            transcript_json: TRANSCRIPT, a schema.Transcript: what the verdict carries.
            text_findings_json: TEXT_FINDINGS, a schema.TextFindings.
            acoustic_findings_json: ACOUSTIC_FINDINGS, a schema.AcousticFindings.
            duration_s: DURATION of the window in seconds.
            warnings_json: WARNINGS, a list of what the decoder warns of.
            context_json: CONTEXT, a schema.Context; empty for the defaults.

        Raises:
            RequestError: an input is not what it must be; the message names the input, the value and the remedy.
            PolicyError: a classifier speaks of something that the taxonomy does not have.
        """
        context, rules = self.rules(context_json)
        if not (math.isfinite(duration_s) and duration_s >= 0):
            raise RequestError(f"DURATION: {duration_s} is not a length of audio; give seconds, 0 or more")
        window = WindowFindings(
            start_s=0,
            duration_s=duration_s,
            transcript=_parsed("TRANSCRIPT", _TRANSCRIPT, transcript_json),
            text_findings=_parsed("TEXT_FINDINGS", _TEXT_FINDINGS, text_findings_json),
            acoustic_findings=_parsed("ACOUSTIC_FINDINGS", _ACOUSTIC_FINDINGS, acoustic_findings_json),
            warnings=_parsed("WARNINGS", _WARNINGS, warnings_json),
            language=self._language,
        )
        review = self._judge.review(window.text_findings, rules) if self._judge else None
        return decide_window(window, context, rules, review)

    def decide_recording(
        self, windows: Sequence[WindowFindings], duration_s: float, context: Context, undecoded_s: float
    ) -> Verdict:
        """The verdict on a recording from what was kept of its windows; the judge is asked, as in a scan.

        Raises:
            RequestError: an unknown pack, or no windows.
            PolicyError: a classifier speaks of something that the taxonomy does not have.
        """
        rules = self.rules_for(context)
        if not windows:
            raise RequestError("windows: are none; send all that the scan found")
        if not (math.isfinite(duration_s) and duration_s >= 0 and math.isfinite(undecoded_s) and undecoded_s >= 0):
            raise RequestError("duration_s, undecoded_s: give seconds, 0 or more")
        judge = self._judge
        return decide_recording(
            windows,
            duration_s,
            context,
            rules,
            undecoded_s,
            lambda text: judge.review(text, rules) if judge else None,
        )

    def findings_json(
        self,
        *,
        transcript_json: bytes,
        text_findings_json: bytes,
        acoustic_findings_json: bytes,
        duration_s: float,
        warnings_json: bytes,
    ) -> bytes:
        """What `decide` made a verdict of, as a schema.WindowFindings that starts at 0; joined, not parsed again."""
        language = json.dumps(self._language).encode()
        return (
            b'{"start_s":0,"duration_s":%s,"transcript":%s,"text_findings":%s,"acoustic_findings":%s,"warnings":%s,'
            b'"language":%s}'
        ) % (
            repr(duration_s).encode(),
            transcript_json,
            text_findings_json,
            acoustic_findings_json,
            warnings_json,
            language,
        )

    def rules(self, context_json: bytes) -> tuple[Context, Rules]:
        """The context of a request and the rules that apply under it. Raises RequestError."""
        context = self._context(context_json)
        return context, self.rules_for(context)

    def rules_for(self, context: Context) -> Rules:
        """The rules that apply under a context. Raises RequestError for a pack that there is not."""
        try:
            return self._packs[context.policy_pack].for_context(context)
        except UnknownPackError as error:
            raise RequestError(f"CONTEXT policy_pack: {error}") from error

    @property
    def packs(self) -> tuple[PolicyPack, ...]:
        """Every pack that a request may name."""
        return tuple(self._packs[name] for name in self._packs.names)

    def _context(self, context_json: bytes) -> Context:
        if not context_json.strip():
            return Context()
        try:
            return _CONTEXT.validate_json(context_json)
        except ValidationError as error:
            faults = [self._context_fault(details) for details in error.errors(include_url=False)]
            raise RequestError(f"CONTEXT {'; '.join(faults)}") from error

    def _context_fault(self, details: Any) -> str:
        if not details["loc"]:
            return f"is not a JSON object: {details['msg']}; leave it empty for the defaults, or give {_example()}"
        key = details["loc"][0]
        if details["type"] == "extra_forbidden":
            return f"{key}: unknown key; allowed: {', '.join(Context.model_fields)}"
        remedy = _CONTEXT_REMEDIES.get(key, f"available: {', '.join(self._packs.names)}")
        return f"{key}: {details['input']!r:.80} is not allowed; {remedy}"


def _example() -> str:
    return Context(content_type="podcast", market="SE").model_dump_json()


def _parsed(name: str, adapter: TypeAdapter[_Parsed], value: bytes) -> _Parsed:
    try:
        return adapter.validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"[{part!r}]" for part in first["loc"])
        raise RequestError(
            f"{name}{where}: {first['msg']}, got {first['input']!r:.80}; send what the model before this one returned"
        ) from error
