"""Shared parts of the policy tests: the shipped packs, and how hypothesis runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from aircheck.policy.packs import PackLibrary, PolicyPack
from aircheck.settings import ROOT

# No deadline: how long an example takes says how busy the machine is, not whether the property holds.
settings.register_profile("policy", deadline=None, max_examples=60)
settings.load_profile("policy")


@pytest.fixture(scope="session")
def policy_dir() -> Path:
    return ROOT / "server_config" / "policies"


@pytest.fixture(scope="session")
def library(policy_dir: Path) -> PackLibrary:
    return PackLibrary(policy_dir)


@pytest.fixture(scope="session")
def default_pack(library: PackLibrary) -> PolicyPack:
    return library["default"]
