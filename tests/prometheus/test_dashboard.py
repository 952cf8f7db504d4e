"""The dashboard's queries: they parse, and they and the alerts ask for metrics that there are."""

from __future__ import annotations

import json
import re

import yaml

from aircheck.settings import ROOT
from support.promtool import promtool

CONFIG = ROOT / "server_config"
DASHBOARD = json.loads((CONFIG / "grafana" / "dashboards" / "aircheck.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_every_query_parses(tmp_path):
    plain = [query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in QUERIES]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(plain)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)


def test_queries_and_alerts_ask_for_metrics_that_there_are():
    page = (ROOT / "docs" / "operations.md").read_text()  # which lists every metric: tests/integration
    listed = set(re.findall(r"^\| `(aircheck_\w+)` \|", page, re.M))
    alerts = yaml.safe_load((CONFIG / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    asked = set(re.findall(r"aircheck_\w+", "\n".join([*QUERIES, *(rule["expr"] for rule in alerts)])))
    assert {name.removesuffix("_bucket") for name in asked} <= listed


def test_panels_have_an_id_of_their_own_and_do_not_overlap():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
