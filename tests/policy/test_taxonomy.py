import pytest

from aircheck.policy.taxonomy import (
    CONTEXT_EVENTS,
    HARM_EVENTS,
    TAXONOMY,
    Category,
    Event,
    Garm,
    Hazard,
    SpotifyRule,
    taxonomy_table,
)
from aircheck.settings import ROOT


def test_the_order_of_categories_and_events_is_the_contract() -> None:
    assert list(Category) == [
        "hate",
        "harassment",
        "violence_threat",
        "violent_extremism",
        "self_harm",
        "sexual",
        "child_safety",
        "illegal_goods",
        "dangerous_misinformation",
        "privacy_doxxing",
        "profanity",
    ]
    assert list(Event) == [
        "gunshot",
        "explosion",
        "scream",
        "siren",
        "glass_breaking",
        "speech",
        "music",
        "silence",
    ]


def test_every_category_is_described_in_the_order_of_the_enumeration() -> None:
    assert list(TAXONOMY) == list(Category)


@pytest.mark.parametrize("category", Category)
def test_a_description_says_what_the_category_is_and_at_least_three_things_it_is_not(category: Category) -> None:
    description = TAXONOMY[category]
    assert description.title
    assert description.definition.endswith(".")
    assert len(set(description.not_it)) == len(description.not_it) >= 3


def test_no_two_categories_share_a_limit() -> None:
    limits = [limit for description in TAXONOMY.values() for limit in description.not_it]
    assert len(set(limits)) == len(limits), "what a category is not must be specific to it"


@pytest.mark.parametrize("category", Category)
def test_counterparts_are_members_of_their_taxonomies_without_repeats(category: Category) -> None:
    description = TAXONOMY[category]
    for counterparts, kind in (
        (description.ailuminate, Hazard),
        (description.garm, Garm),
        (description.spotify, SpotifyRule),
    ):
        assert all(isinstance(counterpart, kind) for counterpart in counterparts)
        assert len(set(counterparts)) == len(counterparts)


def test_the_other_taxonomies_have_their_published_sizes_and_every_hazard_a_name() -> None:
    assert (len(Hazard), len(Garm), len(SpotifyRule)) == (12, 12, 4)
    assert len({hazard.label for hazard in Hazard}) == 12


def test_events_are_either_harmful_or_context_and_never_named_like_a_category() -> None:
    assert set(HARM_EVENTS) | CONTEXT_EVENTS == set(Event)
    assert not set(HARM_EVENTS) & CONTEXT_EVENTS
    assert not {str(event) for event in Event} & {str(category) for category in Category}


def test_the_document_holds_the_table_that_the_code_prints() -> None:
    document = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    assert taxonomy_table() in document, (
        "run `python -m aircheck.policy.taxonomy` and paste its table into the document"
    )
