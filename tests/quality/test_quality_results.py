"""Results survive an interruption, and never mix with those of other weights."""

import pytest
from quality_results import conditions, result

from benchmarks.quality.results import RESULTS, ResultLog, ResultsError, read_conditions, read_results


def test_what_is_added_is_read_again_in_the_manifests_order_with_its_labels_of_now(tmp_path):
    first, second = result("a"), result("b", text={"hate": 0.9})
    with ResultLog(tmp_path, conditions()) as log:
        log.add(second)
        log.add(first)
        relabelled = second.item.model_copy(update={"note": "looked at again"})
        assert log.close([first.item, relabelled]) == (first, second.model_copy(update={"item": relabelled}))
    assert read_results(tmp_path) == read_results(tmp_path / RESULTS)
    assert [one.item.note for one in read_results(tmp_path)] == [None, "looked at again"]
    assert read_conditions(tmp_path) == conditions()


def test_an_interrupted_run_keeps_what_it_finished_and_drops_the_torn_line(tmp_path):
    with ResultLog(tmp_path, conditions()) as log:
        log.add(result("a"))
        log.add(result("b").model_copy(update={"error": "broken", "verdict": None}))
    with (tmp_path / RESULTS).open("a") as file:
        file.write('{"item": {"id": "c", "aud')
    with ResultLog(tmp_path, conditions()) as log:
        assert log.finished(result("a").item, "00")
        assert not log.finished(result("a").item, "11")  # other audio under the same id
        assert not log.finished(result("b").item, "00")  # what failed is tried again
        assert not log.finished(result("c").item, "00")


def test_results_of_other_weights_are_refused_with_the_difference(tmp_path):
    with ResultLog(tmp_path, conditions()) as log:
        log.add(result("a"))
    other = conditions(pack_version="2")
    with pytest.raises(ResultsError, match="pack_version: 1 there, 2 now.*--fresh"):
        ResultLog(tmp_path, other)
    with ResultLog(tmp_path, other, fresh=True) as log:
        assert not log.finished(result("a").item, "00")


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(result("a").model_dump_json() + "\n" + '{"item": 1}\n')
    with pytest.raises(ResultsError, match=r"r.jsonl, line 2: item"):
        read_results(path)
    with pytest.raises(ResultsError, match="cannot be read"):
        read_results(tmp_path / "none")
