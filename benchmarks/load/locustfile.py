"""Load tests with Locust over gRPC; the users are `aircheck.load.locustfile`'s.

    aircheck serve                                                     # in one terminal
    python -m benchmarks.load --headless --rate 0.5 --seconds 60        # in another

Open loop by default: Poisson arrivals at a stated rate, latency from the intended start. `--help` has the options and
examples; without `--headless` Locust's page has a tab Audio. What a machine carries, found by these users:
`aircheck capacity`.
"""

from aircheck.load.locustfile import ClipScanner, EpisodeScanner, LiveListener, RawEnsemble

__all__ = ["ClipScanner", "EpisodeScanner", "LiveListener", "RawEnsemble"]
