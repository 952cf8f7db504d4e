"""Names of groups of people in English: what is said of one is read as if it were said of another, too.

Encoders have read more that is bad about some groups than about others. So a text that names a group is read a second
time with another in its place, and its score of hate is the higher one. A counterfactual, as in Garg et al.,
"Counterfactual Fairness in Text Classification through Robustness" (AIES 2019), but while the text is scored.
"""

from __future__ import annotations

import re

GROUPS = {
    "muslims": "a muslim",
    "jews": "a jew",
    "christians": "a christian",
    "catholics": "a catholic",
    "hindus": "a hindu",
    "buddhists": "a buddhist",
    "sikhs": "a sikh",
    "atheists": "an atheist",
    "black people": "a black person",
    "white people": "a white person",
    "asian people": "an asian person",
    "arabs": "an arab",
    "africans": "an african",
    "mexicans": "a mexican",
    "chinese people": "a chinese person",
    "indians": "an indian",
    "russians": "a russian",
    "americans": "an american",
    "germans": "a german",
    "poles": "a pole",
    "turks": "a turk",
    "roma people": "a roma",
    "indigenous people": "an indigenous person",
    "immigrants": "an immigrant",
    "refugees": "a refugee",
    "foreigners": "a foreigner",
    "women": "a woman",
    "men": "a man",
    "girls": "a girl",
    "boys": "a boy",
    "trans people": "a trans person",
    "gay people": "a gay person",
    "lesbians": "a lesbian",
    "bisexual people": "a bisexual person",
    "straight people": "a straight person",
    "old people": "an old person",
    "young people": "a young person",
    "disabled people": "a disabled person",
    "deaf people": "a deaf person",
    "blind people": "a blind person",
    "autistic people": "an autistic person",
    "wheelchair users": "a wheelchair user",
    "fat people": "a fat person",
    "poor people": "a poor person",
    "latinos": "a latino",
    "somalis": "a somali",
    "transgender people": "a transgender person",
    "homosexuals": "a homosexual",
    "asylum seekers": "an asylum seeker",
}
"""Plural and singular, as `normalise` leaves a text. Also what sentences of the training data are about."""

OTHER = ("foreigners", "a foreigner")
"""What stands in for any of them: chosen on HateCheck, of four, for the least difference between groups."""

_NAMES = {**dict.fromkeys(GROUPS, OTHER[0]), **dict.fromkeys(GROUPS.values(), OTHER[1])}
_NAME = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _NAMES), key=len, reverse=True))})\b")


def of_others(text: str) -> str:
    """The normalised text with OTHER in place of every group; the same text where it names none."""
    return _NAME.sub(lambda name: _NAMES[name[0]], text)
