"""What the reports of `aircheck evaluate` and `aircheck capacity` are made of: pages, plots, tables in Markdown."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
matplotlib.rcParams["svg.hashsalt"] = "aircheck"  # the same figures, the same file


def html_page(title: str, parts: Iterable[str]) -> str:
    """HTML, complete in itself. `parts` are HTML too."""
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


def svg(figure: Figure) -> str:
    """Without the head of a file, to stand in a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def markdown_table(table: pd.DataFrame) -> str:
    """Without the index."""
    rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows += [[str(cell).replace("|", "\\|") for cell in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


class MarkdownError(Exception):
    """A Markdown file that cannot take a report's tables; the message names the file."""


class MarkdownBlock:
    """A place between `<!-- NAME: begin -->` and `<!-- NAME: end -->` of a Markdown file. Raises MarkdownError."""

    def __init__(self, path: Path, name: str):
        self._path, self._begin, self._end = path, f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        self._around()  # a report may take an hour: what is missing is said before

    def write(self, text: str) -> None:
        """Renews what stands there. Raises MarkdownError."""
        head, tail = self._around()
        self._path.write_text(f"{head}{self._begin}\n\n{text}\n\n{self._end}{tail}", encoding="utf-8")

    def _around(self) -> tuple[str, str]:
        try:
            whole = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MarkdownError(f"{self._path}: cannot be read: {error}") from None
        head, found, rest = whole.partition(self._begin)
        _, found_end, tail = rest.partition(self._end)
        if not (found and found_end):
            raise MarkdownError(f"{self._path}: has no `{self._begin}` and `{self._end}` to write between")
        return head, tail


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>aircheck {title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
h1 {{ font-size: 1.3rem }}
table {{ border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }}
td, th {{ padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap }}
svg {{ max-width: 100%; height: auto }}
</style></head><body>
{body}
</body></html>
"""
