import pytest

from aircheck.triton_log import LogReader

HEAD = "{}1122 15:40:41.123456 4242 model_lifecycle.cc:849] "
NO_GPU = (
    'W1122 15:40:41.1 42 pinned.cc:273] "Unable to allocate pinned system memory: CUDA driver version is insufficient"'
)


def test_progress_is_read_from_the_log():
    reader = LogReader(has_gpu=False)
    assert reader.read(HEAD.format("I") + '"loading: whisper:1"').loading == "whisper"
    assert reader.read(HEAD.format("I") + "\"successfully loaded 'whisper'\"").loaded == "whisper"


@pytest.mark.parametrize(
    "line", [NO_GPU, 'W1122 1:40:41.1 42 metrics.cc:1] "DCGM unable to start"'.replace(" 1:", " 01:")]
)
def test_the_harmless_noise_of_a_machine_without_gpu_is_known_as_such(line):
    assert LogReader(has_gpu=False).read(line).noise
    assert not LogReader(has_gpu=True).read(line).noise  # with a GPU these are real faults


def test_real_errors_are_never_noise_and_keep_their_continuation():
    reader = LogReader(has_gpu=False)
    line = reader.read(
        HEAD.format("E") + "\"failed to load 'whisper' version 1: Internal: CheckpointError: no such file\""
    )
    assert (line.level, line.noise) == ("error", False)
    follow = reader.read("  File model.py, line 12, in initialize")
    assert (follow.level, follow.noise) == ("error", False)


def test_a_line_without_header_takes_the_level_of_the_line_before():
    reader = LogReader(has_gpu=False)
    reader.read(NO_GPU)
    assert reader.read("continued").noise
    reader.read(HEAD.format("I") + '"Started GRPCInferenceService"')
    assert reader.read("| table |").level == "info"
