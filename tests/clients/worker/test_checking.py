"""Which uris a worker opens."""

from __future__ import annotations

import pytest

from aircheck_client.catalogue.fetch import RefusedSourceError
from aircheck_client.worker.checking import check_uri
from aircheck_client.worker.settings import SCHEMES


@pytest.mark.parametrize(
    "uri",
    ["episode.mp3", "/data/a:b.mp3", "file:///data/a.mp3", "S3://bucket/a.mp3", "gs://b/a", "https://example.org/a"],
)
def test_paths_and_buckets_are_opened(uri):
    check_uri(uri, SCHEMES)


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://example.org/a.mp3",
        "zip://a.mp3::http://169.254.169.254/a.zip",
        "simplecache::s3://bucket/a.mp3",
        "reference://a",
        "memory://a",
    ],
)
def test_other_schemes_and_chains_of_them_are_refused(uri):
    with pytest.raises(RefusedSourceError, match="opens file, s3, gs, http, https"):
        check_uri(uri, SCHEMES)
