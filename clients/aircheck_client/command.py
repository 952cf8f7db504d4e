"""What `aircheck scan` and `aircheck listen` do."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError
from rich.console import Console

from aircheck_client.client import AircheckClient, Pcm, Tls
from aircheck_client.errors import AircheckError, InvalidAudioError
from aircheck_client.formats import FORMATS, csv_header
from aircheck_client.progress import Bar, Lines, reporter
from aircheck_client.render import decision, timeline
from aircheck_client.schema import Action, Context, ExitCode, Verdict, clock
from aircheck_client.sources import Source

LISTEN_CHUNK_S = 0.25  # of a file that is sent at the pace at which it plays
_HTTP_CHUNK_BYTES = 4096
_CONNECT_S = 30.0


class OutputError(Exception):
    """Standard output cannot be written."""


@dataclass(frozen=True)
class Command:
    """The options that both commands have; see their help."""

    url: str
    form: str
    fail_on: str
    context: Mapping[str, str]
    options: Mapping[str, Any]
    timeout_s: float | None
    tls: bool
    tls_files: tuple[Path | None, Path | None, Path | None]  # roots, certificate, key
    token_file: Path | None

    def scan(self, files: Iterable[str]) -> ExitCode:
        """Scans the files one after another. Never raises for a file, a server or an output."""
        told = reporter(sys.stderr)
        try:
            client, context = self._client(), self._context()
        except (OSError, ValueError) as error:
            told.error(str(error))
            return ExitCode.ERROR
        code = ExitCode.CLEAN
        with client:
            try:
                if self.form == "csv":
                    _write(csv_header())
                for name in files:
                    code = max(code, self._scan_one(client, context, name, told))
            except BrokenPipeError:  # `| head` has seen enough
                _close_stdout()
            except OutputError as error:
                told.error(f"standard output: {error}")
                return ExitCode.ERROR
        return code

    def listen(self, source: str, pcm_rate_hz: int | None) -> ExitCode:
        """Sends what is heard and prints a line for each window."""
        told = reporter(sys.stderr)
        code = ExitCode.CLEAN
        try:
            client, context = self._client(), self._context()
            pcm = Pcm(sample_rate_hz=pcm_rate_hz) if pcm_rate_hz else None
            with client, closing(client.listen(_live(source), context, pcm=pcm, **self.options)) as verdicts:
                for verdict in verdicts:
                    if verdict.scope == "episode":
                        code = max(code, self._code(verdict))
                    self._print_live(verdict, source)
        except BrokenPipeError:
            _close_stdout()
        except KeyboardInterrupt:
            pass  # the way to stop listening
        except (AircheckError, OSError, ValueError, OutputError) as error:
            told.error(str(error))
            return ExitCode.ERROR
        return code

    def _scan_one(self, client: AircheckClient, context: Context, name: str, told: Bar | Lines) -> ExitCode:
        shown = _printable(name)
        source: Source = sys.stdin.buffer if name == "-" else name
        if shown == "-":
            shown = "standard input"
        try:
            verdict = scan_with_progress(client, source, context, told, shown, self.timeout_s, **self.options)
        except AircheckError as error:
            told.error(_printable(str(error)))
            if error.partial is not None:
                self._print(error.partial, shown)
            return ExitCode.ERROR
        self._print(verdict, shown)
        return self._code(verdict)

    def _code(self, verdict: Verdict) -> ExitCode:
        least = Action.LABEL_EXPLICIT if self.fail_on == "any" else Action(self.fail_on)
        return ExitCode.FOUND if verdict.action >= least else ExitCode.CLEAN

    def _print(self, verdict: Verdict, name: str) -> None:
        if self.form == "text":
            _print_rich(timeline(verdict, name))
        elif self.form == "json":
            _write(_line(verdict, name))
        else:
            _write(FORMATS[self.form](verdict, name))

    def _print_live(self, verdict: Verdict, source: str) -> None:
        if self.form == "json":
            _write(_line(verdict, source))
        elif self.form == "csv":
            _write(FORMATS["csv"](verdict, source))
        elif verdict.scope == "episode":
            _print_rich(decision(verdict))
        else:
            said = " ".join(segment.text for segment in verdict.segments)
            found = ", ".join(f"{finding.category}: {finding.action}" for finding in verdict.findings)
            _write(f"{clock(verdict.start_s)} {said}" + (f"  [{found}]" if found else "") + "\n")

    def _client(self) -> AircheckClient:
        """Raises ValueError, OSError."""
        ca, certificate, key = self.tls_files
        tls = Tls(ca, certificate, key) if any(self.tls_files) else self.tls
        token = self.token_file.read_text() if self.token_file else os.environ.get("AIRCHECK_TOKEN", "")
        return AircheckClient(self.url, tls=tls, token=token.strip() or None, timeout_s=self.timeout_s)

    def _context(self) -> Context:
        """Raises ValueError, which names the option."""
        try:
            return Context.model_validate(dict(self.context))
        except ValidationError as error:
            fault = error.errors()[0]
            name = {"policy_pack": "policy"}.get(str(fault["loc"][0]), str(fault["loc"][0]).replace("_", "-"))
            raise ValueError(f"--{name}: {fault['msg']}") from None


def scan_with_progress(
    client: AircheckClient,
    source: Source,
    context: Context,
    told: Bar | Lines,
    name: str,
    timeout_s: float | None = None,
    **options: Any,
) -> Verdict:
    """Scans one recording, and says how far it is. Raises AircheckError."""
    with told.file(name) as step, closing(client.stream(source, context, timeout_s=timeout_s, **options)) as verdicts:
        for verdict in verdicts:
            if verdict.scope == "episode":
                return verdict
            step(verdict.end_s, verdict.recording_s)
    raise AssertionError("a stream ends with a verdict or an error")


def _line(verdict: Verdict, name: str) -> str:
    return json.dumps({"file": name, "verdict": verdict.model_dump(mode="json")}, ensure_ascii=False) + "\n"


def _printable(text: str) -> str:
    """A file's name as bytes that no UTF-8 is become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _write(text: str) -> None:
    """Raises BrokenPipeError when nobody reads any more, OutputError when it cannot be written."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.strerror or str(error)) from None


def _print_rich(shown: Any) -> None:
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(shown)
    try:
        encoding = sys.stdout.encoding or "utf-8"
        text = captured.get().encode(encoding, "replace")
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.strerror or str(error)) from None


def _close_stdout() -> None:
    """So that the interpreter does not complain of the closed pipe when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _live(source: str) -> Iterator[bytes]:
    """Pieces of a stream as they come; a file at about the pace at which it plays. Raises InvalidAudioError."""
    if source == "-":
        yield from _pieces(sys.stdin.buffer)
    elif source.startswith(("http://", "https://")):
        request = urllib.request.Request(source, headers={"User-Agent": "aircheck", "Icy-MetaData": "0"})
        try:
            with urllib.request.urlopen(request, timeout=_CONNECT_S) as response:
                yield from _pieces(response)
        except OSError as error:
            raise InvalidAudioError(f"cannot be read: {error}", source) from None
    else:
        yield from _paced(Path(source))


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    read = getattr(stream, "read1", stream.read)
    while piece := read(_HTTP_CHUNK_BYTES):
        yield piece


def _paced(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            per_s = _bytes_per_s(path)
            begun_s, sent = time.monotonic(), 0
            while piece := file.read(max(1, int(per_s * LISTEN_CHUNK_S))):
                yield piece
                sent += len(piece)
                time.sleep(max(0.0, begun_s + sent / per_s - time.monotonic()))
    except OSError as error:
        raise InvalidAudioError(f"cannot be read: {error.strerror}", str(path)) from None


def _bytes_per_s(path: Path) -> float:
    """The rate at which a file plays, on average. Raises InvalidAudioError."""
    from tinytag import TinyTag, TinyTagException

    try:
        duration_s = TinyTag.get(path, tags=False).duration
    except TinyTagException as error:
        raise InvalidAudioError(f"its length cannot be read ({error}); send it with scan", str(path)) from None
    if not duration_s:
        raise InvalidAudioError("does not say how long it is; send it with scan", str(path))
    return path.stat().st_size / duration_s
