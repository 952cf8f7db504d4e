"""Triton's log, read for people: which model is loading or ready, which lines matter, which are harmless noise."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

_LINE = re.compile(r"^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ \d+ \S+:\d+\] (.*)$", re.S)
_LOADED = re.compile(r"successfully loaded '([^']+)'")
_LOADING = re.compile(r"loading: ([\w.-]+):\d+")
_NOISE_WITHOUT_GPU = re.compile(
    r"CUDA driver version is insufficient|CudaDriverHelper has not been|NVML|DCGM|"
    r"[Ff]ailed to allocate pinned|[Uu]nable to allocate pinned system memory|"
    r"[Uu]nable to create (?:a )?(?:cuda )?stream|CUDA memory pool|cudaGetDevice|no CUDA-capable device|"
    r"GPU metrics|Failed to get the number of CUDA devices|Cannot get CUDA device count"
)
_NOISE = re.compile(r"Polling model repository is disabled|server version|Waiting for in-flight requests")


@dataclass(frozen=True)
class LogLine:
    """One line of the log, and what it means."""

    text: str
    level: Literal["info", "warning", "error"]
    noise: bool = False
    loading: str | None = None  # this model began to load
    loaded: str | None = None  # this model is ready


class LogReader:
    """Classifies lines one after another; a line without a header continues the one before it."""

    def __init__(self, has_gpu: bool):
        self._has_gpu = has_gpu
        self._last = LogLine("", "info")

    def read(self, line: str) -> LogLine:
        """What `line` (without its newline) means. Never raises."""
        match = _LINE.match(line)
        if match is None:
            return LogLine(line, self._last.level, self._last.noise)
        text = match[2].strip('"')
        loading, loaded = _LOADING.search(text), _LOADED.search(text)
        noise = bool(_NOISE.search(text)) or (not self._has_gpu and bool(_NOISE_WITHOUT_GPU.search(text)))
        self._last = LogLine(
            text,
            {"I": "info", "W": "warning"}.get(match[1], "error"),  # type: ignore[arg-type]
            noise,
            loading[1] if loading else None,
            loaded[1] if loaded else None,
        )
        return self._last


class LogPrinter:
    """Prints what matters of Triton's log: a line for each model as it gets ready, warnings, errors."""

    def __init__(self, console: Console, verbose: bool = False):
        self._console, self._verbose = console, verbose
        self._since: dict[str, float] = {}

    def __call__(self, line: LogLine) -> None:
        """Takes one line of the log, on the reader's thread."""
        if self._verbose:
            self._console.print(line.text, markup=False)
        if line.loading:
            self._since.setdefault(line.loading, time.monotonic())
        if line.loaded:
            took_s = time.monotonic() - self._since.get(line.loaded, time.monotonic())
            self._console.print(f"  [green]✓[/] {line.loaded:16} {took_s:5.1f} s")
        if not self._verbose and not line.noise and line.level != "info" and line.text.strip():
            style = "red" if line.level == "error" else "yellow"
            self._console.print(line.text, style=style, markup=False)
