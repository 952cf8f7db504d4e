"""Which clips the embedded quality set holds: one factor at a time.

A line is first spoken at the reference: a voice of its own, American English, at a normal speed, alone in a quiet room,
through the reference codec. Then one thing is changed and all else is kept. A clip carries a slice only where it takes
part in that comparison, so every value of a slice is heard on *the same lines*, and a gap between two values comes from
the factor and not from the words. (Genre is a property of the words: there, every genre has as many lines of every
category.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

from aircheck.policy.taxonomy import HARM_EVENTS, Category
from benchmarks.quality.embedded_texts import GENRES, Line, Script, Texts, slug
from training.acoustic_safety.sounds import HARD_NEGATIVES

Sex = Literal["male", "female"]

ACCENTS = {  # slice value: espeak-ng's name of the voice
    "en-us": "en-us",
    "en-gb": "en",
    "en-gb-x-rp": "en-gb-x-rp",
    "en-gb-scotland": "en-gb-scotland",
    "en-029": "en-029",
    "en-us-nyc": "en-us-nyc",
}
SPEEDS = {"slow, 120 words/min": 120, "normal, 155 words/min": 155, "fast, 205 words/min": 205}
SNRS_DB = {"clean": None, "20 dB": 20.0, "10 dB": 10.0, "5 dB": 5.0}
MUSIC_DB = {"none": None, "20 dB below the voice": 20.0, "10 dB below the voice": 10.0}
LENGTHS = {"under 5 s": 0, "5 to 15 s": 2, "over 15 s": 5}  # plain lines around, in the same voice
FLAC, OPUS, TELEPHONE = "flac", "opus 24 kbit/s", "telephone, 8 kHz, mu-law"
CODECS = (FLAC, "mp3 128 kbit/s", "mp3 64 kbit/s", "mp3 32 kbit/s", "aac 64 kbit/s", OPUS, TELEPHONE)

# espeak-ng variants. The Whisper recipe trains on m1 to m8 and f1 to f5, and never on the held-out ones. f2, f3 and f5
# are left out: espeak-ng 1.52 draws their breath from the clock, so they never sound the same twice.
KNOWN: dict[Sex, tuple[str, ...]] = {"male": ("m1", "m3", "m7", "m2", "m4"), "female": ("f1", "f4")}
HELD_OUT: dict[Sex, tuple[str, ...]] = {
    "male": ("Lee", "Michael", "adam", "edward", "quincy"),
    "female": ("Andrea", "Annie", "linda", "steph", "grandma"),
}
FLITE: dict[Sex, tuple[str, ...]] = {"male": ("rms", "awb", "kal16"), "female": ("slt",)}

NO_SPEECH = (
    "digital silence", "quiet room", "white noise", "pink noise", "brown noise", "mains hum", "music", "drums",
    "drone", "applause", "rain", "wind", "typing", "engine",
)  # fmt: skip
SMALL_NO_SPEECH = ("digital silence", "pink noise", "music", "applause", "rain")
SMALL_HARD_NEGATIVE_SOUNDS = ("door_slam", "fireworks_crackle", "dishes", "shout")
SMALL_WITHOUT = ("mp3 128 kbit/s", "mp3 64 kbit/s", "en-gb-x-rp", "20 dB below the voice")
EVENT_OVER = {  # what an event is heard over: the bed, and how much louder the event is
    "nothing": ("", 0.0),
    "speech, 10 dB louder": ("speech", 10.0),
    "speech, as loud": ("speech", 0.0),
    "music, 10 dB louder": ("music", 10.0),
}


@dataclass(frozen=True)
class Speaker:
    """A synthetic voice."""

    voice: str
    sex: Sex
    accent: str = "en-us"  # espeak-ng's name of it
    words_per_minute: int = 155
    engine: Literal["espeak-ng", "flite"] = "espeak-ng"


@dataclass(frozen=True)
class Said:
    """An utterance; `categories` are its harm."""

    text: str
    speaker: Speaker
    categories: tuple[Category, ...] = ()


@dataclass(frozen=True)
class Heard:
    """A sound of the acoustic recipe or of NO_SPEECH; at most `max_s` of it, at a level relative to speech."""

    name: str
    level_db: float = 0.0
    max_s: float = 6.0
    seed: str = ""  # examples of one seed sound the same; "": the clip's


@dataclass(frozen=True)
class Clip:
    """What one item of audio holds, before it is made."""

    id: str
    parts: tuple[Said | Heard, ...]  # one after the other
    codec: str
    slices: dict[str, str]
    over: tuple[Heard, ...] = ()  # laid over the parts, at a place that the seed draws
    snr_db: float | None = None  # of coloured noise
    music_db: float | None = None  # how far music lies below the voice
    seed: str = ""  # "": the id; clips that share one have the same noise and music
    note: str | None = None


@dataclass(frozen=True)
class Condition:
    """How a line is spoken and recorded."""

    speaker: Speaker
    codec: str
    snr_db: float | None = None
    music_db: float | None = None
    plain_around: int = 0  # plain lines before and after it


@dataclass(frozen=True)
class Sizes:
    """How many clips of each sort; the defaults make the committed set."""

    reference_codec: str = OPUS
    swept: int = 3  # lines of each factor
    same_lines: bool = False  # the same ones in every factor
    without: tuple[str, ...] = SMALL_WITHOUT  # values of factors that are left out
    harmful: int = 11
    hard_negatives: int = 6
    plain: int = 3
    held_out: int = 0
    event_examples: int = 1
    events_over: tuple[str, ...] = ("nothing", "speech, 10 dB louder")
    hard_negative_sounds: tuple[str, ...] = SMALL_HARD_NEGATIVE_SOUNDS
    hard_negative_examples: int = 1
    no_speech: tuple[str, ...] = SMALL_NO_SPEECH
    no_speech_examples: int = 1
    terms_each: int | None = 2  # identity terms of each kind; None: all
    identity_spoken: int = 0  # sentences that are also spoken, about each term
    episodes: bool = False
    flite: bool = False


def full_sizes(clips: int, flite: bool = False) -> Sizes:
    """Sizes of a set of about so many clips: sounds first; of the rest, two thirds sweeps and a third single lines."""
    sounds = Sizes(
        reference_codec=FLAC,
        same_lines=True,
        without=(),
        event_examples=3,
        events_over=tuple(EVENT_OVER),
        hard_negative_sounds=(*HARD_NEGATIVES, "drums", "singing"),
        hard_negative_examples=2,
        no_speech=NO_SPEECH,
        no_speech_examples=3,
        terms_each=None,
        identity_spoken=2,
        episodes=True,
        flite=flite,
    )
    spoken_identity, episodes = 40, 2
    left = clips - len(HARM_EVENTS) * len(sounds.events_over) * sounds.event_examples - spoken_identity - episodes
    left -= (
        len(sounds.hard_negative_sounds) * sounds.hard_negative_examples + len(NO_SPEECH) * sounds.no_speech_examples
    )
    a_line = 23 + flite  # clips of a line that every factor sweeps
    swept = round(left * 0.66 / a_line)
    single = left - swept * a_line
    own = min(swept + single, 198)
    plain = min(36, swept + single - own + 12)
    return replace(
        sounds,
        swept=swept,
        harmful=(own + 1) // 2,
        hard_negatives=own // 2,
        plain=plain,
        held_out=max(swept + single - own - plain, 0),
    )


def plan(texts: Texts, sizes: Sizes, held_out: Sequence[Line] = ()) -> list[Clip]:
    """Every clip of the set, in the manifest's order. `held_out`: the text head's test lines, to draw from."""
    clips = [*_lines(texts, sizes), *_single(_spread(held_out, sizes.held_out), sizes.reference_codec)]
    clips += [*_events(texts, sizes), *_hard_negative_sounds(sizes), *_no_speech(sizes)]
    clips += _spoken_identity(texts, sizes)
    if sizes.episodes:
        clips += [_episode(name, script, sizes.reference_codec) for name, script in texts.episodes.items()]
    return clips


def variants(condition: Condition, voice: int, flite: bool) -> dict[str, dict[str, Condition]]:
    """For every factor its values, and the condition of each: one is the given one, the others change one thing.

    Where another voice is needed, the number `voice` picks it.
    """
    speaker = condition.speaker
    others: Mapping[Sex, Sex] = {"male": "female", "female": "male"}
    other = others[speaker.sex]

    def pick(voices: Mapping[Sex, Sequence[str]], sex: Sex) -> str:
        return voices[sex][voice % len(voices[sex])]

    def by(changed: Speaker) -> Condition:
        return replace(condition, speaker=changed)

    opposite = replace(speaker, sex=other, voice=pick(KNOWN, other))
    unknown = replace(speaker, voice=pick(HELD_OUT, speaker.sex))
    factors: dict[str, dict[str, Condition]] = {
        "sex": {speaker.sex: condition, other: by(opposite)},
        "voice": {"known to the recipe": condition, "held out": by(unknown)},
        "accent": {name: by(replace(speaker, accent=accent)) for name, accent in ACCENTS.items()},
        "speed": {name: by(replace(speaker, words_per_minute=rate)) for name, rate in SPEEDS.items()},
        "snr": {name: replace(condition, snr_db=snr) for name, snr in SNRS_DB.items()},
        "music": {name: replace(condition, music_db=level) for name, level in MUSIC_DB.items()},
        "codec": {name: replace(condition, codec=name) for name in CODECS},
        "length": {name: replace(condition, plain_around=around) for name, around in LENGTHS.items()},
    }
    if flite:
        flite_speaker = replace(speaker, engine="flite", voice=pick(FLITE, speaker.sex))
        factors["synthesiser"] = {"espeak-ng": condition, "flite": by(flite_speaker)}
    return factors


def reference(line: Line, codec: str) -> Condition:
    """The line's own voice, alone in a quiet room."""
    sexes: tuple[Sex, Sex] = ("male", "female")
    sex = sexes[line.number % 2]
    return Condition(Speaker(KNOWN[sex][line.number // 2 % len(KNOWN[sex])], sex), codec)


def _lines(texts: Texts, sizes: Sizes) -> list[Clip]:
    """Single lines at the reference, and those of them that each factor sweeps in its other values too."""
    harmful, hard_negatives = _spread(texts.harmful, sizes.harmful), _spread(texts.hard_negatives, sizes.hard_negatives)
    plain = _spread(texts.plain, sizes.plain)
    codec = sizes.reference_codec
    slices: dict[tuple[Line, Condition], dict[str, str]] = {
        (line, reference(line, codec)): {"genre": line.genre or ""} for line in (*harmful, *hard_negatives, *plain)
    }
    for at, factor in enumerate(variants(reference(harmful[0], codec), 0, sizes.flite)):
        pools = [harmful, hard_negatives, plain]
        if sizes.same_lines:
            at = 0
        elif factor in ("codec", "length"):  # the largest files: the shortest lines
            pools, at = [sorted(pool, key=lambda line: len(line.text)) for pool in pools], 0
        for line in _swept(*pools, count=sizes.swept, offset=at):
            for value, condition in variants(reference(line, codec), line.number // 2, sizes.flite)[factor].items():
                if value not in sizes.without:
                    slices.setdefault((line, condition), {})[factor] = value
    clips = []
    for (line, condition), values in slices.items():
        change = "" if condition == reference(line, codec) else "--" + slug(" ".join(*values.items()))
        around = _around(texts.plain, line, condition.plain_around)
        clips.append(_clip(line, condition, line.id + change, {"kind": line.kind, **values}, around))
    return clips


def _swept(
    harmful: Sequence[Line], hard_negatives: Sequence[Line], plain: Sequence[Line], *, count: int, offset: int
) -> list[Line]:
    """Of five lines two are harmful, two hard negatives and one plain; `offset` begins further on in each list."""
    order = []
    for at in range(count):
        turn, row = at % 5, at // 5 * 2
        if turn in (0, 2):
            order.append(harmful[(offset + row + turn // 2) % len(harmful)])
        elif turn in (1, 3):
            order.append(hard_negatives[(offset + row + turn // 2) % len(hard_negatives)])
        else:
            order.append(plain[(offset + at // 5) % len(plain)])
    return list(dict.fromkeys(order))


def _single(lines: Sequence[Line], codec: str) -> list[Clip]:
    return [
        _clip(line, reference(line, codec), line.id, {"kind": line.kind}, note="held-out line of the text head")
        for line in lines
    ]


def _spread(lines: Sequence[Line], count: int) -> list[Line]:
    """The first `count` of an order that goes round the categories and, among them, round the genres.

    The bench's own lines stand by category, one a genre, and plain ones by genre. Held-out lines are taken evenly.
    """
    if not lines or lines[0].genre is None:
        step = len(lines) / max(count, 1)
        return [lines[int(at * step)] for at in range(min(count, len(lines)))]
    if lines[0].kind == "plain":
        by_genre = [[line for line in lines if line.genre == genre] for genre in reversed(GENRES)]
        return [line for turn in zip_longest(*by_genre) for line in turn if line is not None][:count]
    rows = [lines[at : at + len(GENRES)] for at in range(0, len(lines), len(GENRES))]
    start = int(lines[0].kind == "harmful")  # so that the first two lines of a category differ in genre
    order = [row[(start + at + turn) % len(GENRES)] for turn in range(len(GENRES)) for at, row in enumerate(rows)]
    return order[:count]


def _around(plain: Sequence[Line], line: Line, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Plain lines of the same genre, or the next one's when it has too few, before and after a line."""
    at = GENRES.index(line.genre or GENRES[0])
    near = (GENRES[at], GENRES[(at + 1) % len(GENRES)])
    texts = [other.text for genre in near for other in plain if other.genre == genre and other != line]
    before = (count + 1) // 2
    return tuple(texts[:before]), tuple(texts[before:count])


def _clip(
    line: Line,
    condition: Condition,
    id_: str,
    slices: dict[str, str],
    around: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
    note: str | None = None,
) -> Clip:
    before, after = ([Said(text, condition.speaker) for text in texts] for texts in around)
    said = [Said(part, condition.speaker, line.categories) for part in line.parts]
    return Clip(
        id=id_,
        parts=(*before, *said, *after),
        codec=condition.codec,
        slices=slices,
        snr_db=condition.snr_db,
        music_db=condition.music_db,
        seed=line.id,
        note=note,
    )


def _events(texts: Texts, sizes: Sizes) -> Iterator[Clip]:
    """Every event over every bed; one example sounds the same over each."""
    for event in HARM_EVENTS:
        for example in range(sizes.event_examples):
            seed = f"{slug(event)}-{example + 1}"
            line = texts.plain[(HARM_EVENTS.index(event) * 7 + example * 11) % len(texts.plain)]
            for name in sizes.events_over:
                bed, louder_db = EVENT_OVER[name]
                sound = Heard(event.value, louder_db if bed else 6.0, max_s=2.5, seed=seed)
                speaker = reference(line, "").speaker
                beds: dict[str, tuple[Said | Heard, ...]] = {
                    "": (sound,),
                    "speech": (Said(line.text, speaker),),
                    "music": (Heard("music", max_s=6.0, seed=seed),),
                }
                slices = {"kind": "harmful sound", "event_over": name}
                over = (sound,) if bed else ()
                yield Clip(f"event-{seed}--{slug(name)}", beds[bed], sizes.reference_codec, slices, over, seed=seed)


def _hard_negative_sounds(sizes: Sizes) -> Iterator[Clip]:
    for name in sizes.hard_negative_sounds:
        for example in range(sizes.hard_negative_examples):
            sound = Heard(name, 6.0, max_s=2.5)
            id_ = f"look-alike-sound-{slug(name)}-{example + 1}"  # the id seeds the committed clip
            slices = {"kind": "hard negative sound"}
            yield Clip(id_, (sound,), sizes.reference_codec, slices, note=name.replace("_", " "))


def _no_speech(sizes: Sizes) -> Iterator[Clip]:
    for name in sizes.no_speech:
        for example in range(sizes.no_speech_examples):
            sound = Heard(name, -6.0 * example, max_s=(3.0, 6.0, 10.0)[example % 3])
            slices = {"kind": "no speech", "no_speech": name}
            yield Clip(f"no-speech-{slug(name)}-{example + 1}", (sound,), sizes.reference_codec, slices)


def _spoken_identity(texts: Texts, sizes: Sizes) -> Iterator[Clip]:
    """Some of the identity sentences, the last ones first (they are the harmful ones), all in one voice."""
    speaker = Speaker("f4", "female")
    sentences = list(texts.identity.sentences.items())
    for name, sentence in (sentences[-1:] + sentences[:1])[: sizes.identity_spoken]:
        for term in texts.identity.terms(sizes.terms_each):
            said = Said(sentence.about(term), speaker, sentence.labels)
            slices = {
                "kind": "identity",
                "identity_sentence": f"{name}, spoken",
                "identity_term": term.lower(),
            }
            yield Clip(f"identity-spoken-{name}-{slug(term)}", (said,), sizes.reference_codec, slices)


def _episode(name: str, script: Script, codec: str) -> Clip:
    host, guest = Speaker("m3", "male"), Speaker("f4", "female", "en")
    parts: list[Said | Heard] = []
    for turn in script.lines:
        if turn.sound is not None:
            parts.append(Heard(turn.sound, 4.0, max_s=3.0))
        else:
            text, speaker = (turn.host, host) if turn.host is not None else (turn.guest, guest)
            parts.append(Said(text or "", speaker, turn.labels))
    return Clip(f"episode-{name}", tuple(parts), codec, {"kind": "episode"}, note=f"an episode, {script.genre}")
