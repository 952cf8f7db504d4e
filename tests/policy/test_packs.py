from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from policy_findings import segment

from aircheck.policy.conditions import CONTENT_TYPES
from aircheck.policy.errors import PolicyError, UnknownPackError
from aircheck.policy.packs import Level, PackLibrary, PolicyPack, Rule, load_pack, main
from aircheck.policy.taxonomy import HARM_EVENTS, Category, Event
from aircheck.settings import ROOT
from aircheck_client.schema import Action, Context, Severity

POLICIES = ROOT / "server_config" / "policies"
SHIPPED = sorted(POLICIES.glob("*.yaml"))
LIBRARY = PackLibrary(POLICIES)
RULES_OF_VERSION = {("default", "4"): "fbd2f1113188833e", ("strict", "4"): "469ed583646f7ae9"}
"""Digests of what each shipped version says, comments aside."""


@pytest.fixture
def data() -> dict[str, Any]:
    """The default pack as plain data, to break in one place."""
    loaded = yaml.safe_load((POLICIES / "default.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def write(directory: Path, data: object, name: str = "default") -> Path:
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
class TestShippedPack:
    def test_loads_and_rates_every_category_and_harmful_event(self, path: Path) -> None:
        pack = load_pack(path)
        assert set(pack.categories) == set(Category)
        assert set(pack.events) == set(HARM_EVENTS)

    def test_that_says_something_else_has_another_version(self, path: Path) -> None:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
        known = RULES_OF_VERSION.get((said["name"], said["version"]))
        assert digest == known, "raise the pack's version, and write its digest into RULES_OF_VERSION"

    def test_never_blocks_for_a_sound_alone(self, path: Path) -> None:
        pack = load_pack(path)
        for content_type in CONTENT_TYPES:
            rules = pack.for_context(Context.model_validate({"content_type": content_type, "market": "DE"}))
            for rule in rules.events.values():
                assert max(level.action for level in rule.levels) <= Action.REVIEW

    def test_treats_confident_child_safety_as_critical_and_blocks(self, path: Path) -> None:
        level = Rule(load_pack(path).categories[Category.CHILD_SAFETY]).level_for(0.9)
        assert level is not None
        assert (level.severity, level.action) == (Severity.CRITICAL, Action.BLOCK)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_pack_sends_what_could_not_be_checked_to_review(path: Path) -> None:
    pack = load_pack(path)
    for rule in (pack.coverage.undecoded, pack.coverage.untranscribed, pack.coverage.unclassified):
        assert rule.action >= Action.REVIEW


def test_a_pack_is_known_by_the_hash_of_its_file(data: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path, data)
    before = load_pack(path).for_context(Context()).sha256
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(path.read_text(encoding="utf-8") + "# a remark\n", encoding="utf-8")
    assert load_pack(path).for_context(Context()).sha256 != before


def test_the_shipped_packs_are_default_and_strict(library: PackLibrary) -> None:
    assert library.names == ("default", "strict")


@given(category=st.sampled_from(Category), percent=st.integers(0, 100))
def test_the_strict_pack_is_never_milder_than_the_default(category: Category, percent: int) -> None:
    mild, strict = (Rule(LIBRARY[name].categories[category]).level_for(percent / 100) for name in ("default", "strict"))
    if mild is not None:
        assert strict is not None
        assert strict.action >= mild.action
        assert strict.severity >= mild.severity


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_level_begins_exactly_at_its_score(path: Path) -> None:
    pack = load_pack(path)
    for levels in (*pack.categories.values(), *pack.events.values()):
        rule = Rule(levels)
        assert rule.level_for(levels[0].score - 1e-9) is None
        for below, level in zip((None, *levels), levels, strict=False):
            assert rule.level_for(level.score) is level
            assert rule.level_for(level.score - 1e-9) is below
        assert rule.level_for(1.0) is levels[-1]


class TestOverrides:
    def test_apply_only_where_every_condition_holds(self, data: dict[str, Any], tmp_path: Path) -> None:
        data["overrides"] = [
            {
                "why": "a test",
                "when": {"content_type": ["clip"], "market": ["SE", "NO"], "audience": ["children"]},
                "events": {"siren": [{"score": 0.1, "severity": "low", "action": "limit"}]},
            }
        ]
        pack = load_pack(write(tmp_path, data))

        def overridden(content_type: str, market: str, audience: str = "children") -> bool:
            context = Context.model_validate({"content_type": content_type, "market": market, "audience": audience})
            return pack.for_context(context).events[Event.SIREN].why == "a test"

        assert overridden("clip", "SE")
        assert overridden("clip", "NO")
        assert not overridden("clip", "DE")
        assert not overridden("clip", "*"), "an unknown market matches no market condition"
        assert not overridden("podcast", "SE")
        assert not overridden("clip", "SE", "general")

    def test_a_later_one_wins_and_the_rest_stays_as_it_was(self, data: dict[str, Any], tmp_path: Path) -> None:
        def override(why: str, score: float) -> dict[str, Any]:
            levels = [{"score": score, "severity": "low", "action": "limit"}]
            return {"why": why, "when": {"content_type": ["podcast"]}, "categories": {"profanity": levels}}

        data["overrides"] = [override("first", 0.2), override("second", 0.3)]
        pack = load_pack(write(tmp_path, data))
        rules = pack.for_context(Context(content_type="podcast"))
        assert rules.categories[Category.PROFANITY].why == "second"
        assert [level.score for level in rules.categories[Category.PROFANITY].levels] == [0.3]
        assert rules.categories[Category.HATE] == Rule(pack.categories[Category.HATE])

    def test_audiobook_fiction_is_treated_more_mildly_by_the_default_pack(self, default_pack: PolicyPack) -> None:
        podcast = default_pack.for_context(Context(content_type="podcast"))
        audiobook = default_pack.for_context(Context(content_type="audiobook"))
        for category in (Category.VIOLENCE_THREAT, Category.PROFANITY):
            for score in (0.6, 0.9, 1.0):
                told, spoken = (rules.categories[category].level_for(score) for rules in (audiobook, podcast))
                assert spoken is not None
                assert told is None or told.action < spoken.action

    def test_germany_is_stricter_on_extremism(self, default_pack: PolicyPack) -> None:
        german, other = (
            default_pack.for_context(Context(market=market)).categories[Category.VIOLENT_EXTREMISM].level_for(0.8)
            for market in ("DE", "SE")
        )
        assert german is not None
        assert other is not None
        assert german.action > other.action


def put(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        target: Any = data
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value

    return change


def drop(*keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        target: Any = data
        for key in keys[:-1]:
            target = target[key]
        del target[keys[-1]]

    return change


def level(score: Any, severity: Any = "low", action: Any = "limit") -> dict[str, Any]:
    return {"score": score, "severity": severity, "action": action}


LEVELS = [level(0.5)]

BROKEN: list[tuple[str, Callable[[dict[str, Any]], None], tuple[str, ...]]] = [
    ("unknown key", put("treshold", value=1), ("'treshold'", "rename or remove", "categories")),
    ("unknown category", put("categories", "hat", value=LEVELS), ("categories", "'hat'", "allowed: hate, harassment")),
    ("missing category", drop("categories", "sexual"), ("categories", "sexual", "add")),
    ("missing categories", drop("categories"), ("categories", "missing", "add")),
    ("unknown event", put("events", "bang", value=LEVELS), ("events", "'bang'", "allowed: gunshot")),
    ("context event", put("events", "music", value=LEVELS), ("events", "'music'", "remove")),
    ("missing event", drop("events", "scream"), ("events", "scream", "add")),
    ("no levels", put("categories", "hate", value=[]), ("categories.hate", "at least 1")),
    ("levels not a list", put("categories", "hate", value=0.5), ("categories.hate", "0.5")),
    ("unknown level key", put("categories", "hate", 0, "above", value=1), ("categories.hate[0]", "'above'", "score")),
    ("missing severity", drop("categories", "hate", 0, "severity"), ("categories.hate[0].severity", "missing")),
    ("unknown severity", put("categories", "hate", 0, "severity", value="bad"), ("hate[0].severity", "'bad'", "'low'")),
    (
        "severity none",
        put("categories", "hate", 0, "severity", value="none"),
        ("categories.hate[0]", "remove the level"),
    ),
    ("unknown action", put("categories", "hate", 1, "action", value="ban"), ("hate[1].action", "'ban'", "'block'")),
    ("score above 1", put("categories", "hate", 1, "score", value=85), ("categories.hate[1].score", "85")),
    ("score of zero", put("categories", "hate", 0, "score", value=0.0), ("categories.hate[0].score", "greater than 0")),
    ("score not a number", put("events", "siren", 0, "score", value="0.7"), ("events.siren[0].score", "'0.7'")),
    ("score is nan", put("events", "siren", 0, "score", value=float("nan")), ("events.siren[0].score",)),
    (
        "scores fall",
        put("categories", "hate", value=[level(0.8), level(0.5)]),
        ("categories.hate", "0.5 follows 0.8", "rising"),
    ),
    ("equal scores", put("categories", "hate", value=[level(0.5), level(0.5)]), ("categories.hate", "rising")),
    (
        "severity falls",
        put("categories", "hate", value=[level(0.5, "high"), level(0.8, "low")]),
        ("categories.hate", "severity falls from high to low"),
    ),
    (
        "action falls",
        put("categories", "hate", value=[level(0.5, action="review"), level(0.8, action="limit")]),
        ("categories.hate", "action falls from review to limit"),
    ),
    ("no coverage", drop("coverage"), ("coverage", "missing")),
    ("unknown gap", put("coverage", "unheard", value={}), ("coverage", "'unheard'", "untranscribed")),
    (
        "negative tolerance",
        put("coverage", "undecoded", "tolerated_s", value=-1.0),
        ("coverage.undecoded.tolerated_s", "-1.0"),
    ),
    ("no version", drop("version"), ("version", "missing")),
    ("version is a number", put("version", value=1), ("version", "quote it")),
    ("empty version", put("version", value=""), ("version",)),
    ("no description", drop("description"), ("description", "missing")),
    ("name differs", put("name", value="other"), ("name", "'other'", "rename")),
    ("name not allowed", put("name", value="My pack"), ("name", "'My pack'")),
    ("no low_confidence", drop("low_confidence"), ("low_confidence", "missing")),
    (
        "low confidence blocks",
        put("low_confidence", "highest_action", value="block"),
        ("low_confidence", "never blocks", "'review' or less"),
    ),
    (
        "probability above 1",
        put("low_confidence", "max_no_speech_prob", value=6),
        ("low_confidence.max_no_speech_prob", "6"),
    ),
    (
        "positive log-probability",
        put("low_confidence", "min_avg_logprob", value=1.0),
        ("low_confidence.min_avg_logprob", "1.0"),
    ),
    ("override without why", drop("overrides", 0, "why"), ("overrides[0].why", "missing")),
    ("override without when", drop("overrides", 0, "when"), ("overrides[0].when", "missing")),
    ("override everywhere", put("overrides", 0, "when", value={}), ("overrides[0].when", "edit them above")),
    (
        "override of nothing",
        put("overrides", 1, "categories", value={}),
        ("overrides[1]", "changes no category", "remove the override"),
    ),
    (
        "override of an unknown category",
        put("overrides", 1, "categories", value={"gore": LEVELS}),
        ("overrides[1].categories", "'gore'", "allowed"),
    ),
    (
        "unknown condition",
        put("overrides", 0, "when", value={"language": ["sv"]}),
        ("overrides[0].when", "'language'", "content_type, market"),
    ),
    (
        "unknown content type",
        put("overrides", 0, "when", value={"content_type": ["book"]}),
        ("overrides[0].when.content_type[0]", "'book'", "audiobook"),
    ),
    (
        "content type not a list",
        put("overrides", 0, "when", value={"content_type": "clip"}),
        ("overrides[0].when.content_type", "'clip'"),
    ),
    (
        "audience by age",
        put("overrides", 0, "when", value={"audience": ["7"]}),
        ("overrides[0].when.audience[0]", "'7'", "children"),
    ),
    (
        "market by name",
        put("overrides", 1, "when", value={"market": ["Sweden"]}),
        ("overrides[1].when.market[0]", "'Sweden'", "ISO 3166"),
    ),
    (
        "any market",
        put("overrides", 1, "when", value={"market": ["*"]}),
        ("overrides[1].when.market[0]", "'*'"),
    ),
    (
        "Norway unquoted",
        put("overrides", 1, "when", value={"market": [False]}),
        ("overrides[1].when.market[0]", "Norway", "quote it"),
    ),
]


@pytest.mark.parametrize(("change", "words"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_pack_is_refused_by_file_key_and_remedy(
    data: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], None], words: tuple[str, ...]
) -> None:
    change(data)
    path = write(tmp_path, data)
    with pytest.raises(PolicyError) as raised:
        load_pack(path)
    for word in (str(path), *words):
        assert word in str(raised.value)


def test_every_fault_of_a_pack_is_listed_at_once(data: dict[str, Any], tmp_path: Path) -> None:
    put("categories", "hate", 0, "action", value="ban")(data)
    put("events", "siren", 0, "score", value=7)(data)
    with pytest.raises(PolicyError) as raised:
        load_pack(write(tmp_path, data))
    assert "categories.hate[0].action" in str(raised.value)
    assert "events.siren[0].score" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [unclosed", ("not valid YAML", "line 1")),
        ("", ("not a mapping",)),
        ("- a list", ("list, not a mapping",)),
        ("name: default\nname: default\n", ("'name' of line 1 is repeated in line 2", "keep one")),
        ("categories:\n  hate: []\n  hate: []\n", ("'hate' of line 2 is repeated in line 3",)),
        ("overrides:\n- {why: a, why: b}\n", ("'why' of line 2 is repeated in line 2",)),
        ("!!python/object/apply:os.getcwd []", ("not valid YAML", "python/object")),
    ],
    ids=["broken", "empty", "list", "repeated", "repeated below", "repeated in a list", "code"],
)
def test_a_file_that_is_not_a_plain_mapping_is_refused(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "default.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError) as raised:
        load_pack(path)
    for word in (str(path), *words):
        assert word in str(raised.value)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"gone\.yaml: cannot be read"):
        load_pack(tmp_path / "gone.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9t\xe9")
    with pytest.raises(PolicyError, match=r"latin\.yaml: cannot be read"):
        load_pack(tmp_path / "latin.yaml")


class TestLibrary:
    def test_an_unknown_pack_error_lists_those_there_are(self, library: PackLibrary) -> None:
        with pytest.raises(UnknownPackError, match=r"'kids'; available: default, strict"):
            library["kids"]

    def test_an_added_pack_is_found_by_its_name(self, data: dict[str, Any], tmp_path: Path) -> None:
        data["name"] = "kids"
        write(tmp_path, data, "kids")
        assert PackLibrary(tmp_path)["kids"].name == "kids"

    def test_one_broken_pack_stops_the_library(self, data: dict[str, Any], tmp_path: Path) -> None:
        write(tmp_path, data)
        write(tmp_path, {"name": "kids"}, "kids")
        with pytest.raises(PolicyError, match=r"kids\.yaml"):
            PackLibrary(tmp_path)

    def test_a_directory_without_packs_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(PolicyError, match=r"holds no policy pack; add"):
            PackLibrary(tmp_path)
        with pytest.raises(PolicyError, match=r"no such directory; point policy_dir"):
            PackLibrary(tmp_path / "gone")

    def test_a_pack_that_would_be_overlooked_for_its_ending_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "kids.yml").touch()
        with pytest.raises(PolicyError, match=r"rename kids\.yml"):
            PackLibrary(tmp_path)


class TestLowConfidence:
    def test_a_segment_at_the_limits_is_trusted(self, default_pack: PolicyPack) -> None:
        limits = default_pack.low_confidence
        at_limits = segment().model_copy(
            update={
                "no_speech_prob": limits.max_no_speech_prob,
                "avg_logprob": limits.min_avg_logprob,
                "compression_ratio": limits.max_compression_ratio,
            }
        )
        assert limits.doubts(at_limits) == ()

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("no_speech_prob", 0.61, "no-speech probability 0.61 > 0.6"),
            ("avg_logprob", -1.01, "average log-probability -1.01 < -1"),
            ("compression_ratio", 2.41, "compression ratio 2.41 > 2.4"),
            ("avg_logprob", float("nan"), "average log-probability nan"),
        ],
    )
    def test_failing_any_one_test_is_a_doubt_that_names_it(
        self, default_pack: PolicyPack, field: str, value: float, words: str
    ) -> None:
        (doubt,) = default_pack.low_confidence.doubts(segment().model_copy(update={field: value}))
        assert words in doubt


def test_levels_are_read_as_the_wire_types(default_pack: PolicyPack) -> None:
    assert default_pack.categories[Category.PROFANITY] == (
        Level(score=0.5, severity=Severity.LOW, action=Action.LABEL_EXPLICIT),
    )


class TestChecker:
    def test_lists_the_packs_of_a_good_directory(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([str(POLICIES)]) == 0
        assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["default v4", "strict v4"]

    def test_fails_with_the_fault_of_a_bad_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(tmp_path, {"name": "kids"}, "kids")
        assert main([str(tmp_path)]) == 1
        assert "kids.yaml" in capsys.readouterr().err

    def test_says_how_it_is_used(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 2
        assert "usage" in capsys.readouterr().err
