"""The results of a run in its folder, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from aircheck.evaluation.items import DataError, Item, Result

RESULTS = "results.jsonl"


class ResultLog:
    """`FOLDER/results.jsonl`: the conditions of the run on the first line, then a result a line, as they come.

    Results of other conditions (another model, another server) are forgotten.
    """

    def __init__(self, folder: Path, conditions: Mapping[str, str], fresh: bool = False):
        """Opens or makes the folder; `fresh` forgets what it holds. Raises DataError when it cannot be written."""
        path = folder / RESULTS
        self._kept: dict[str, Result] = {} if fresh else _kept(path, conditions)
        self.n_kept = len(self._kept)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(conditions), *(one.model_dump_json(exclude_defaults=True) for one in self._all())]
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            self._file: TextIO = path.open("a", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error}; give another --out") from None

    def __enter__(self) -> ResultLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def left(self, items: Sequence[Item]) -> list[Item]:
        """The items that have no result yet, have changed since, or failed."""
        return [item for item in items if not self._done(item)]

    def add(self, result: Result) -> None:
        """Keeps a result at once."""
        self._kept[result.id] = result
        self._file.write(result.model_dump_json(exclude_defaults=True) + "\n")
        self._file.flush()

    def of(self, items: Sequence[Item]) -> list[Result]:
        """Their results, in the same order."""
        return [self._kept[item.id] for item in items]

    def _all(self) -> list[Result]:
        return list(self._kept.values())

    def _done(self, item: Item) -> bool:
        kept = self._kept.get(item.id)
        try:
            return kept is not None and kept.error is None and kept.fingerprint == item.fingerprint()
        except OSError:
            return False


def _kept(path: Path, conditions: Mapping[str, str]) -> dict[str, Result]:
    """The readable results of the same conditions; the last line may be torn, as an interruption leaves it."""
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(first) != dict(conditions):
            return {}
    except (OSError, ValueError):
        return {}
    kept = {}
    for line in lines:
        try:
            result = Result.model_validate_json(line)
        except ValidationError:
            break
        kept[result.id] = result
    return kept
