"""Plain prose that nobody wrote for this project: sentences from the docstrings of Python's standard library."""

from __future__ import annotations

import ast
import re
import sysconfig
from pathlib import Path

MODULES = (
    "argparse", "asyncio/base_events", "bdb", "calendar", "cmd", "codecs", "collections/__init__", "configparser",
    "copy", "csv", "datetime", "decimal", "difflib", "doctest", "email/message", "fractions", "functools", "gettext",
    "heapq", "http/client", "imaplib", "inspect", "logging/__init__", "mailbox", "multiprocessing/pool", "os",
    "pathlib", "pickle", "random", "shutil", "signal", "socket", "statistics", "string", "subprocess", "tarfile",
    "tempfile", "textwrap", "threading", "turtle", "unittest/case", "urllib/request", "weakref", "zipfile",
)  # fmt: skip


def docstring_lines(shortest: int = 6, longest: int = 30) -> list[str]:
    """Sentences of `shortest` to `longest` words from the docstrings of MODULES, without code, in a fixed order."""
    found: dict[str, None] = {}
    for module in MODULES:
        source = (Path(sysconfig.get_path("stdlib")) / f"{module}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", ast.get_docstring(node) or ""):
                    words = sentence.split()
                    plain = not re.search(r"[=_()\[\]{}<>|*\\/`#]|\d\.\d|-{2}|\.\w", sentence)
                    if plain and shortest <= len(words) <= longest:
                        found[" ".join(words)] = None
    return list(found)
