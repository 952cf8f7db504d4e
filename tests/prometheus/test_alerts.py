"""The alert rules by Prometheus's own tool, and that the operator's page has a word on each."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from aircheck.settings import ROOT
from support.promtool import promtool

FOLDER = ROOT / "server_config" / "prometheus"
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
UNIT_TESTS = Path(__file__).with_name("alerts_test.yaml")
PAGE = (ROOT / "docs" / "operations.md").read_text()


def test_the_configuration_is_valid():
    promtool("check", "config", FOLDER / "prometheus.yaml")


def test_alerts_fire_when_they_must_and_only_then():
    promtool("test", "rules", UNIT_TESTS)


def test_every_alert_has_a_unit_test_that_raises_it():
    tests = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    raised = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert raised == {rule["alert"] for rule in ALERTS}


def test_the_operators_page_says_what_every_alert_means():
    described = re.findall(r"^\| `(Aircheck\w+)` \|", PAGE, re.M)
    assert sorted(described) == sorted(rule["alert"] for rule in ALERTS)
