"""The results of a run in its folder, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from aircheck.evaluation.items import DataError, Item, Result

RESULTS = "results.jsonl"


class ResultLog:
    """`FOLDER/results.jsonl`: the conditions of the run on the first line, then a result a line, as they come.

    Results of other conditions (another model, another server) are forgotten.
    """

    def __init__(self, folder: Path, conditions: Mapping[str, str], fresh: bool = False):
        """Opens or makes the folder; `fresh` forgets what it holds. Raises DataError when it cannot be written."""
        path = folder / RESULTS
        kept = [] if fresh else _kept(path, conditions)
        self._results: dict[str, Result] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error}; give another --out") from None
        self._file.write(json.dumps(conditions) + "\n")
        for result in kept:
            self.add(result)

    def __enter__(self) -> ResultLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def left(self, items: Sequence[Item]) -> list[Item]:
        """The items that have no result yet, have changed since, or failed."""
        return [item for item in items if not self._done(item)]

    def add(self, result: Result) -> None:
        """Keeps a result at once."""
        self._results[result.id] = result
        self._file.write(result.model_dump_json(exclude_defaults=True) + "\n")
        self._file.flush()

    def of(self, items: Sequence[Item]) -> list[Result]:
        """Their results, in the same order."""
        return [self._results[item.id] for item in items]

    def _done(self, item: Item) -> bool:
        kept = self._results.get(item.id)
        try:
            return kept is not None and kept.error is None and kept.fingerprint == item.fingerprint()
        except OSError:
            return False


def _kept(path: Path, conditions: Mapping[str, str]) -> list[Result]:
    """The readable results of the same conditions; the last line may be torn, as an interruption leaves it."""
    kept: list[Result] = []
    try:
        with path.open(encoding="utf-8") as lines:
            if json.loads(lines.readline()) == dict(conditions):
                for line in lines:
                    kept.append(Result.model_validate_json(line))
    except (OSError, ValueError):  # pydantic's too
        pass
    return kept
