"""What `aircheck scan` and `aircheck listen` do."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from aircheck_client.client import AircheckClient, Pcm, Tls
from aircheck_client.errors import AircheckError, InvalidAudioError
from aircheck_client.formats import FORMATS, csv_header
from aircheck_client.output import STDIN, OutputError, discard_output, printable, standard_input, write, write_rich
from aircheck_client.progress import Bar, Lines, reporter
from aircheck_client.render import decision, timeline
from aircheck_client.schema import Action, Context, ExitCode, Verdict, clock
from aircheck_client.sources import Source

LIVE_FORMATS = ("text", "json", "csv")
SINGLE_FORMATS = ("vtt", "srt", "chapters")
LISTEN_CHUNK_S = 0.25  # of a file that is sent at the pace at which it plays
_HTTP_CHUNK_BYTES = 4096
_CONNECT_S = 30.0


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

    def scan(self, files: Sequence[str]) -> ExitCode:
        """Scans the files one after another. Never raises for a file, a server or an output."""
        told = reporter(sys.stderr)
        if self.form in SINGLE_FORMATS and len(files) > 1:
            told.error(f"--format {self.form}: makes one file of one recording; scan them one by one")
            return ExitCode.ERROR
        try:
            client, context = self._client(), context_of(self.context)
        except (OSError, ValueError) as error:
            told.error(str(error))
            return ExitCode.ERROR
        code = ExitCode.CLEAN
        with client:
            try:
                if self.form == "csv":
                    write(csv_header())
                for name in files:
                    its_code, verdict = self._scan_one(client, context, name, told)
                    code = max(code, its_code)
                    if verdict is not None:
                        self._print(verdict, _shown(name))
            except BrokenPipeError:  # `| head` has seen enough
                discard_output()
            except OutputError as error:
                told.error(f"standard output: {error}")
                discard_output()
                return ExitCode.ERROR
        return code

    def listen(self, source: str, pcm_rate_hz: int | None) -> ExitCode:
        """Sends what is heard and prints a line for each window. Never raises, as `scan`."""
        told = reporter(sys.stderr)
        code = ExitCode.CLEAN
        if self.form not in LIVE_FORMATS:
            told.error(f"--format {self.form}: live audio has {', '.join(LIVE_FORMATS)}")
            return ExitCode.ERROR
        try:
            client, context = self._client(), context_of(self.context)
            pcm = Pcm(sample_rate_hz=pcm_rate_hz) if pcm_rate_hz else None
            if self.form == "csv":
                write(csv_header())
            with client, closing(client.listen(_live(source), context, pcm=pcm, **self.options)) as verdicts:
                try:
                    for verdict in verdicts:
                        # what is found in a window stays found, also where nobody waits for the end
                        code = self._code(verdict) if verdict.scope == "episode" else max(code, self._code(verdict))
                        self._print_live(verdict, _shown(source))
                except AircheckError as error:
                    told.error(printable(str(error)))
                    code = ExitCode.ERROR
                    if error.partial is not None:
                        self._print_live(error.partial, _shown(source))
        except BrokenPipeError:
            discard_output()
        except KeyboardInterrupt:
            pass  # the way to stop listening
        except OutputError as error:
            told.error(f"standard output: {error}")
            discard_output()
            return ExitCode.ERROR
        except (OSError, ValueError) as error:
            told.error(str(error))
            return ExitCode.ERROR
        return code

    def _scan_one(
        self, client: AircheckClient, context: Context, name: str, told: Bar | Lines
    ) -> tuple[ExitCode, Verdict | None]:
        """The code, and the verdict as far as there is one."""
        try:
            source = standard_input() if name == "-" else name
            verdict = scan_with_progress(client, source, context, told, _shown(name), self.timeout_s, **self.options)
        except AircheckError as error:
            told.error(printable(str(error)))
            return ExitCode.ERROR, error.partial
        return self._code(verdict), verdict

    def _code(self, verdict: Verdict) -> ExitCode:
        least = Action.LABEL_EXPLICIT if self.fail_on == "any" else Action(self.fail_on)
        return ExitCode.FOUND if verdict.action >= least else ExitCode.CLEAN

    def _print(self, verdict: Verdict, name: str) -> None:
        if self.form == "text":
            write_rich(timeline(verdict, name))
        elif self.form == "json":
            write(_line(verdict, name))
        else:
            write(FORMATS[self.form](verdict, name))

    def _print_live(self, verdict: Verdict, source: str) -> None:
        if self.form == "json":
            write(_line(verdict, source))
        elif self.form == "csv":
            if verdict.scope == "window":  # the recording's has the same places once more
                write(FORMATS["csv"](verdict, source))
        elif verdict.scope == "episode":
            write_rich(decision(verdict))
        else:
            said = " ".join(segment.text for segment in verdict.segments)
            found = ", ".join(f"{finding.category}: {finding.action}" for finding in verdict.findings)
            write(f"{clock(verdict.start_s)} {said}" + (f"  [{found}]" if found else "") + "\n")

    def _client(self) -> AircheckClient:
        """Raises ValueError, OSError."""
        connection = connection_of(self.url, self.tls, self.tls_files, self.token_file)
        return AircheckClient(**connection, timeout_s=self.timeout_s)


def connection_of(
    url: str, tls: bool, tls_files: tuple[Path | None, Path | None, Path | None], token_file: Path | None
) -> dict[str, Any]:
    """What both clients take of the options `--url`, `--tls`, `--tls-…` and `--token-file`. Raises OSError."""
    ca, certificate, key = tls_files
    token = token_file.read_text() if token_file else os.environ.get("AIRCHECK_TOKEN", "")
    return {
        "url": url,
        "tls": Tls(ca, certificate, key) if any(tls_files) else tls,
        "token": token.strip() or None,
    }


def context_of(fields: Mapping[str, str]) -> Context:
    """Raises ValueError, which names the option."""
    try:
        return Context.model_validate(dict(fields))
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


def _shown(name: str) -> str:
    return STDIN if name == "-" else printable(name)


def _line(verdict: Verdict, name: str) -> str:
    return json.dumps({"file": name, "verdict": verdict.model_dump(mode="json")}, ensure_ascii=False) + "\n"


def _live(source: str) -> Iterator[bytes]:
    """Pieces of a stream as they come; a file at about the pace at which it plays. Raises InvalidAudioError."""
    if source == "-":
        yield from _pieces(standard_input())
    elif source.startswith(("http://", "https://")):
        try:
            request = urllib.request.Request(source, headers={"User-Agent": "aircheck", "Icy-MetaData": "0"})
            with urllib.request.urlopen(request, timeout=_CONNECT_S) as response:
                missing = response.length or 0  # 0: for ever
                for piece in _pieces(response):
                    missing -= len(piece)
                    yield piece
        except (OSError, HTTPException, ValueError) as error:  # ValueError: of the URL
            raise InvalidAudioError(f"cannot be read: {error}", source) from None
        if missing > 0:
            raise InvalidAudioError(f"broke off: {missing} bytes are missing", source)
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
