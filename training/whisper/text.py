"""Sentences for the synthetic voices, cased and punctuated: a grammar of everyday speech, the lines of the text safety
recipe, found prose, and words drawn by frequency.

Usage: python -m training.whisper.text --count 20 --seed 1      prints sentences with the source of each
"""

import argparse
import functools
import glob
import gzip
import hashlib
import random
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from wordfreq import top_n_list, zipf_frequency

from training.text_safety.lines import read_train

HERE = Path(__file__).parent
WORDNET = Path("/usr/share/wordnet")  # Debian: wordnet-base; its glosses quote examples of everyday use
FORTUNES = Path("/usr/share/games/fortunes")  # Debian: fortunes, fortunes-min; those in ROT13 or not prose are left out
BOOKS = Path("/usr/share/doc/anarchism/markdown")  # Debian: anarchism; a book-length FAQ of natural prose
PACKAGES = ("wordnet-base", "fortunes", "fortunes-min", "anarchism")
SHARES = {
    "grammar": 0.36,
    "pair": 0.04,
    "safety": 0.12,
    "prose": 0.16,
    "wordnet": 0.16,
    "docstrings": 0.04,
    "frequency": 0.12,
}
MAX_WORDS = 18  # about 8 s at 125 words a minute

_word = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?")
_vowel = re.compile(r"[aeiou]")
_UNWANTED = set(  # words for young people and their places
    "boy boys girl girls child children kid kids teen teenage teenager minor minors young baby son daughter school "
    "college student students playground pupil toy toys".split()
)
_SEXUAL = {
    "sex",
    "sexual",
    "naked",
    "nude",
    "rape",
    "raped",
    "kissed",
    "porn",
    "sexy",
    "erotic",
    "intercourse",
    "breast",
}
_SLURS = frozenset(  # first ten hex digits of the SHA-256 of each
    "120f6e5b4e 08a841e996 5b3ae48be1 f59e28f8bb c22f315f1b 8f5083e3e5 9915ba2d82 1e02eec4f1 158869a973 "
    "bd331fb1d2 98b52c4b6b c3de533e9b e84dde508a 267463e5e3 4426e54cf6 1636d92c73 f9d0d9b18a cc02032349 "
    "16ea09fc78 e7b98c6aa5 6122fdf4ae 0be9b885f4 3b1e0d7c5d 886d51e97a ad6cacf3af 8b6f82db88 a7bf072c97 "
    "bb87adf8aa".split()
)

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth twenty-first twenty-second twenty-third thirtieth"
).split()


@functools.cache
def is_slur(word: str) -> bool:
    return hashlib.sha256(word.encode()).hexdigest()[:10] in _SLURS


def number(n: int) -> str:
    """Say 0 <= n < 1000 as English words without hyphens."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (" " + ONES[n % 10] if n % 10 else "")
    return f"{ONES[n // 100]} hundred" + (f" and {number(n % 100)}" if n % 100 else "")


def plain(text: str) -> list[str]:
    """Lower-case words of a sentence, apostrophes kept: what word error rates compare."""
    return [w.lower() for w in _word.findall(text.replace("-", " "))]


def written(text: str) -> str:
    """A sentence as Whisper writes it: a capital letter first, a full stop last, no hyphens, single spaces."""
    text = " ".join(text.replace("-", " ").split()).strip(" ,;")
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


def cased(text: str) -> str:
    """Lower-case words with the capitals that names and the word I have in prose."""
    return re.sub(r"[a-z']+", lambda m: usual_case().get(m[0], m[0]), text)


class Grammar:
    """Templates with slots (see grammar.txt), expanded with a caller's random generator."""

    def __init__(self, path: Path = HERE / "grammar.txt") -> None:
        self.slots: dict[str, list[str]] = {}
        self.templates: dict[str, list[str]] = {}
        current: list[str] = []
        for line in path.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            if head := re.fullmatch(r"\[(= )?(.*)\]", line):
                current = (self.templates if head[1] else self.slots).setdefault(head[2], [])
            elif current is self.templates.get(next(reversed(self.templates), "")):
                current.append(line)
            else:
                current.extend(part.strip() for part in line.split("|"))

    def number(self, name: str, rng: random.Random) -> str | None:
        """Expand the slots that are numbers; None for any other name."""
        match name:
            case "num":
                return number(rng.choice([rng.randint(2, 12), rng.randint(10, 99), 10 * rng.randint(2, 30)]))
            case "small":
                return number(rng.randint(2, 12))
            case "digit":
                return ONES[rng.randint(0, 9)]
            case "digits":
                said = [ONES[rng.randint(0, 9)] for _ in range(rng.choice([3, 4, 6, 7, 8]))]
                return " ".join(w + ("," if i % 3 == 2 and i + 1 < len(said) else "") for i, w in enumerate(said))
            case "ordinal":
                return rng.choice(ORDINALS).replace("-", " ")
            case "year":
                century, rest = rng.choice(["eighteen", "nineteen", "nineteen", "twenty"]), rng.randint(10, 99)
                return f"{century} {number(min(rest, 29) if century == 'twenty' else rest)}"
            case "price":
                return f"{number(rng.choice([rng.randint(2, 99), 100 * rng.randint(1, 9)]))} " + rng.choice(
                    ["pounds", "dollars", "euros", "thousand dollars", "million pounds", "cents"]
                )
            case "clock":
                hour = ONES[rng.randint(1, 12)]
                form = rng.choice(["{} o'clock", "half past {}", "quarter to {}", "{} thirty", "{} fifteen", "{}"])
                return form.format(hour)
        return None

    def expand(self, template: str, rng: random.Random) -> str:
        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if "|" in name:
                return rng.choice(name.split("|"))
            return self.number(name, rng) or self.expand(rng.choice(self.slots[name]), rng)

        return re.sub(r"\{([^{}]*)\}", fill, template)

    def sentence(self, rng: random.Random) -> str:
        """Draw a topic by the root of its size, so that small topics are not drowned, then a template."""
        topics = list(self.templates)
        weights = [len(self.templates[t]) ** 0.6 for t in topics]
        text = self.expand(rng.choice(self.templates[rng.choices(topics, weights)[0]]), rng)
        return tidy(text)


def tidy(text: str) -> str:
    """Collapse spaces, put `an` before a vowel, begin with a capital letter."""
    text = re.sub(r"\s+", " ", text).replace(" .", ".").replace(" ,", ",").strip()
    text = re.sub(r"\b([Aa]) (?=[aeiou])(?!one|uni|use|euro)", r"\1n ", text)
    return text[:1].upper() + text[1:]


@functools.cache
def known_words() -> frozenset[str]:
    return frozenset(w for w in top_n_list("en", 45000) if _word.fullmatch(w))


def acceptable(text: str) -> bool:
    """Plain words only, of a speakable length, no slurs, and nothing sexual near a word for a young person."""
    words = set(plain(text))
    if not 2 <= len(plain(text)) <= MAX_WORDS or not words <= known_words() or any(map(is_slur, words)):
        return False
    return not (words & _SEXUAL and words & _UNWANTED)


@functools.cache
def wordnet_examples() -> list[str]:
    """Examples of use quoted in WordNet's glosses, without those that hold a name; read at run time, never stored."""
    found = set()
    for path in sorted(WORDNET.glob("data.*")):
        for quoted in re.findall(r'"([^"]*)"', path.read_text(errors="replace")):
            if re.fullmatch(r"[A-Za-z',;.!? -]+", quoted) and not re.search(r"(?<=\s)(?!I\b)[A-Z]", quoted):
                text = quoted.replace("-", " ").replace("`", "'").strip(" ,;")
                if len(plain(text)) >= 3 and acceptable(text) and not re.search("[;.]", text.rstrip(".")):
                    found.add(cased(text))
    return sorted(found)


def sentences(text: str) -> Iterator[str]:
    """Plain sentences of running prose: words, commas and a full stop, question or exclamation mark."""
    for found in re.split(r"(?<=[.!?])\s+", re.sub(r"\s+([,.!?])", r"\1", " ".join(text.split()))):
        if re.fullmatch(r"[A-Z][A-Za-z' ,-]+[.!?]", found) and len(plain(found)) >= 4 and acceptable(found):
            yield found


@functools.cache
def docstring_prose(limit: int = 20000) -> list[str]:
    """Plain sentences in the docstrings of installed Python packages; read at run time, never stored."""
    roots = sysconfig.get_paths()
    found: set[str] = set()
    for root in (roots["stdlib"], roots["purelib"]):
        for path in sorted(glob.glob(f"{root}/**/*.py", recursive=True))[:12000]:
            try:
                source = Path(path).read_text()
            except (OSError, UnicodeDecodeError):
                continue
            for doc in re.findall(r'"""(.*?)"""', source, re.S):
                found.update(sentences(doc))
            if len(found) > limit:
                return sorted(found)
    return sorted(found)


@functools.cache
def package_prose() -> list[str]:
    """Plain sentences in the texts that Debian's packages carry; read at run time, never stored."""
    found: set[str] = set()
    for path in sorted(FORTUNES.glob("*")):
        if not path.suffix:
            for saying in path.read_text(errors="replace").split("\n%\n"):
                found.update(sentences(saying))
    for path in sorted(BOOKS.glob("*.md.gz")):
        text = re.sub(
            r"\[([^\]]*)\]\([^)]*\)|[*_`>#]", r"\1", gzip.decompress(path.read_bytes()).decode(errors="replace")
        )
        for paragraph in re.split(r"\n\s*\n", text):
            found.update(sentences(paragraph))
    return sorted(found)


@functools.cache
def usual_case() -> dict[str, str]:
    """Words that prose mostly writes with a capital inside a sentence (names, days, I'm) -> as it writes them."""
    counts: dict[str, Counter[str]] = {}
    grammar = Grammar()
    names = [entry for slot in grammar.slots.values() for entry in slot]
    for text in (*package_prose(), *docstring_prose(), *(f"The {name}" for name in names)):
        for word in _word.findall(text)[1:]:
            counts.setdefault(word.lower(), Counter())[word] += 1
    usual = {low: seen.most_common(1)[0][0] for low, seen in counts.items()}
    return {low: word for low, word in usual.items() if word != low and not word.isupper()} | {
        low: "I" + low[1:] for low in ("i", "i'm", "i'll", "i've", "i'd")
    }


@functools.cache
def safety_lines() -> list[str]:
    """The training lines of the text safety recipe: a model must hear a word before anybody can flag it."""
    return sorted({cased(line.text) for line in read_train() if acceptable(line.text)})


@functools.cache
def frequent_words() -> tuple[list[str], list[float]]:
    words = [w for w in top_n_list("en", 12000) if _word.fullmatch(w) and not is_slur(w)]
    words = [w for w in words if _vowel.search(w) or "y" in w]  # no bare initials: voices spell them out
    return words, [10 ** (0.35 * zipf_frequency(w, "en")) for w in words]


@functools.cache
def held_out() -> list[str]:
    """Hand-written test sentences: their exact word sequences are kept out of every training text."""
    return (HERE / "heldout.txt").read_text().splitlines()


def draw(rng: random.Random, grammar: Grammar) -> tuple[str, str]:
    """One (source, sentence as Whisper writes it); sources are mixed as SHARES says."""
    found = {
        "wordnet": wordnet_examples,
        "docstrings": docstring_prose,
        "prose": package_prose,
        "safety": safety_lines,
    }
    while True:
        source = rng.choices(list(SHARES), list(SHARES.values()))[0]
        match source:
            case "grammar":
                text = grammar.sentence(rng)
            case "pair":
                text = grammar.sentence(rng) + " " + grammar.sentence(rng)
            case "frequency":
                words, weights = frequent_words()
                text = cased(" ".join(rng.choices(words, weights, k=rng.randint(3, 12))))
            case _:
                if not found[source]():
                    raise FileNotFoundError(f"no {source} sentences found: install Debian's {', '.join(PACKAGES)}")
                text = rng.choice(found[source]())
        if acceptable(text) and tuple(plain(text)) not in _forbidden():
            return source, written(text)


@functools.cache
def _forbidden() -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(plain(t)) for t in held_out())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng, grammar = random.Random(options.seed), Grammar()
    for _ in range(options.count):
        print(*draw(rng, grammar), sep="\t")


if __name__ == "__main__":
    main()
