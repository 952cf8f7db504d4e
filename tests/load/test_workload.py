"""A load follows from its options and its seed, and says what is wrong with them."""

import numpy as np
import pytest

from aircheck.load.errors import LoadError
from aircheck.load.lengths import Lengths
from aircheck.load.shapes import Stage, parse_shape, poisson_times_s
from aircheck.load.workload import Kind, Workload


def test_the_same_options_and_seed_give_the_same_arrivals_and_another_seed_others():
    load = Workload(rate=3, seconds=60, mix="clip=3,episode=1", lengths="lognormal:10,0.7")
    assert load.arrivals() == load.arrivals()
    assert load.model_copy(update={"seed": 1}).arrivals() != load.arrivals()


def test_arrivals_are_poisson_at_the_stated_rate():
    times_s = poisson_times_s([Stage(10_000, 2.0)], np.random.default_rng(0))
    gaps_s = np.diff(times_s)
    assert len(times_s) == 20_000
    assert np.mean(gaps_s) == pytest.approx(0.5, rel=0.02)
    assert np.std(gaps_s) == pytest.approx(0.5, rel=0.03)  # exponential: as wide as their mean
    assert np.mean(gaps_s > 1.0) == pytest.approx(np.exp(-2), abs=0.01)


@pytest.mark.parametrize(
    ("shape", "counts"),
    [("steady", (100, 100, 100)), ("step:1,4,10", (50, 200, 500)), ("spike:5@50+50", (100, 500, 100))],
)
def test_a_shape_changes_the_rate_where_it_says(shape, counts):
    seconds = 150.0
    times_s = poisson_times_s(parse_shape(shape, 2.0, seconds), np.random.default_rng(0))
    found, _ = np.histogram(times_s, bins=3, range=(0, seconds))
    assert found == pytest.approx(counts, rel=0.25)


def test_a_schedule_is_replayed_as_it_was(tmp_path):
    file = tmp_path / "arrivals.csv"
    file.write_text("at_s,kind,audio_s\n3.5,episode,120\n1.25,clip,99\n70,clip,3\n")
    arrivals = Workload(shape=f"replay:{file}", seconds=60).arrivals()
    assert [(one.at_s, one.kind, one.audio_s) for one in arrivals] == [(1.25, "clip", 30.0), (3.5, "episode", 120.0)]


def test_a_mix_is_drawn_by_its_weights():
    kinds = [arrival.kind for arrival in Workload(rate=50, seconds=100, mix="clip=8,live=2").arrivals()]
    assert set(kinds) == {Kind.CLIP, Kind.LIVE}
    assert kinds.count(Kind.CLIP) / len(kinds) == pytest.approx(0.8, abs=0.03)


def test_lengths_are_drawn_from_their_distribution_and_from_files(tmp_path):
    generator = np.random.default_rng(0)
    drawn = [Lengths.parse("lognormal:12,0.5", 30).draw_s(generator) for _ in range(4000)]
    assert np.median(drawn) == pytest.approx(12, rel=0.05)
    assert max(drawn) <= 30
    file = tmp_path / "lengths.txt"
    file.write_text("4\n20.5\n\n4\n")
    lengths = Lengths.parse(f"file:{file}", 30)
    assert {lengths.draw_s(generator) for _ in range(50)} == {4.0, 20.5}
    assert lengths.mean_s == pytest.approx(9.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": "uniform:5"}, "lengths 'uniform:5': is none of 30"),
        ({"lengths": "-3"}, "wants seconds above 0"),
        ({"lengths": "file:nowhere.txt"}, "nowhere.txt: No such file"),
        ({"shape": "spike:4@50+20"}, "give a longer --seconds"),
        ({"shape": "wave"}, "shape 'wave': is none of steady"),
        ({"mix": "podcast=1"}, "mix 'podcast=1': wants weights"),
        ({"mix": "ensemble=1"}, "--triton-url"),
        ({"rate": 0}, "--rate: Input should be greater than 0"),
        ({"seconds": 1e6}, "--seconds: Input should be less"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_with_what_can(options, message):
    with pytest.raises(LoadError) as error:
        Workload.of(options)
    assert message in str(error.value)


def test_a_load_is_bounded_in_count():
    with pytest.raises(LoadError, match="at most 100000; lower --rate"):
        Workload(rate=1000, seconds=3600).arrivals()


def test_load_goes_to_loopback_unless_a_host_is_named():
    local = Workload()
    for host in ("127.0.0.1:8001", "localhost:8001", "[::1]:8001", "127.0.0.1:1,127.0.0.1:2"):
        local.check_host(host)
    for host in ("10.0.0.7:8001", "127.0.0.1:1,10.0.0.7:8001"):
        with pytest.raises(LoadError, match="--allow-host 10.0.0.7"):
            local.check_host(host)
        Workload(allow_host="10.0.0.7").check_host(host)
    with pytest.raises(LoadError, match="10.0.0.7"):
        Workload(metrics_url="http://10.0.0.7:8002/metrics").check_host("127.0.0.1:8001")
