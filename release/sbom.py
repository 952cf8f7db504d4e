"""Writes the software bill of materials of the product as CycloneDX 1.6: its packages and its weights.

    python -m release.sbom --out out/aircheck.cdx.json

cyclonedx-py lists all that this environment has; what is only there for tests and benchmarks is taken out again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from release.notice import ROOT, all_packages

_OWN = ("aircheck", "aircheck-client")


def environment() -> dict[str, Any]:
    """What cyclonedx-py says of this interpreter's environment."""
    command = ["environment", "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", *command], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def product(document: dict[str, Any]) -> dict[str, Any]:
    """The same without what the product does not depend on, and with its weights. Raises ValueError where one lacks."""
    names = {canonicalize_name(package.name) for package in all_packages()} | set(_OWN)
    kept = [one for one in document["components"] if canonicalize_name(one["name"]) in names]
    if lacking := names - {canonicalize_name(one["name"]) for one in kept}:
        raise ValueError(f"not in this environment: {', '.join(sorted(lacking))}; run it where `make test` runs")
    root = document["metadata"]["component"]["bom-ref"]
    refs = {one["bom-ref"] for one in kept} | {root}
    dependencies = [
        {**one, "dependsOn": [ref for ref in one.get("dependsOn", []) if ref in refs]}
        for one in document["dependencies"]
        if one["ref"] in refs
    ]
    return {**document, "components": [*kept, *_weights()], "dependencies": dependencies}


def _weights() -> list[dict[str, Any]]:
    return [
        {
            "bom-ref": f"weights: {one['what']}",
            "type": "machine-learning-model",
            "name": one["what"],
            "supplier": {"name": one["by"]},
            "licenses": [{"license": {"id": one["licence"]}}],
            "description": f"carried by {', '.join(one['carried_by'])}; {one['source']}",
        }
        for one in yaml.safe_load((ROOT / "release" / "weights.yaml").read_text())
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    text = json.dumps(product(environment()), indent=1, ensure_ascii=False) + "\n"
    if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"not CycloneDX 1.6: {fault}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(f"{out}: {len(json.loads(text)['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
