"""The categories of unsafe speech, the sound events, and what each corresponds to in other people's taxonomies.

The order of `Category` and `Event` is part of the contract: classifiers emit their scores in it.

Sources of the counterparts:

* MLCommons AILuminate, the twelve hazards of v1.0 (kept in v1.1), with the codes its prompt sets use: Ghosh et al.,
  "AILuminate: Introducing v1.0 of the AI Risk and Reliability Benchmark from MLCommons", arXiv:2503.05731;
  https://github.com/mlcommons/ailuminate
* GARM, "Brand Safety Floor + Suitability Framework", June 2022, twelve categories (World Federation of Advertisers);
  the same names are the "Sensitive Topics" of IAB Tech Lab's Content Taxonomy 2.2.
* Spotify Platform Rules, the four section headings: https://www.spotify.com/safetyandprivacy/platform-rules

A counterpart is the nearest heading, not an equation: those taxonomies were written for chatbots, for advertising and
for a platform. An empty tuple means that the other taxonomy has no heading for the category.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Category(StrEnum):
    """What the words may be. The text classifier gives one score for each."""

    HATE = "hate"
    HARASSMENT = "harassment"
    VIOLENCE_THREAT = "violence_threat"
    VIOLENT_EXTREMISM = "violent_extremism"
    SELF_HARM = "self_harm"
    SEXUAL = "sexual"
    CHILD_SAFETY = "child_safety"
    ILLEGAL_GOODS = "illegal_goods"
    DANGEROUS_MISINFORMATION = "dangerous_misinformation"
    PRIVACY_DOXXING = "privacy_doxxing"
    PROFANITY = "profanity"


class Event(StrEnum):
    """What may be heard besides words: five sounds worth a person's attention, then three that give context."""

    GUNSHOT = "gunshot"
    EXPLOSION = "explosion"
    SCREAM = "scream"
    SIREN = "siren"
    GLASS_BREAKING = "glass_breaking"
    SPEECH = "speech"
    MUSIC = "music"
    SILENCE = "silence"


CONTEXT_EVENTS: frozenset[Event] = frozenset({Event.SPEECH, Event.MUSIC, Event.SILENCE})
"""Events that describe the audio and never make a finding."""

HARM_EVENTS: tuple[Event, ...] = tuple(event for event in Event if event not in CONTEXT_EVENTS)
"""Events that every policy pack must rate, in the order of `Event`."""


class Hazard(StrEnum):
    """MLCommons AILuminate hazards by their code; `label` is the hazard's published name."""

    VIOLENT_CRIMES = "vcr"
    SEX_RELATED_CRIMES = "src"
    CHILD_SEXUAL_EXPLOITATION = "cse"
    SUICIDE_SELF_HARM = "ssh"
    INDISCRIMINATE_WEAPONS = "iwp"
    INTELLECTUAL_PROPERTY = "ipv"
    DEFAMATION = "dfm"
    NON_VIOLENT_CRIMES = "ncr"
    HATE = "hte"
    PRIVACY = "prv"
    SPECIALIZED_ADVICE = "spc"
    SEXUAL_CONTENT = "sxc"

    @property
    def label(self) -> str:
        return _HAZARD_LABELS[self]


_HAZARD_LABELS: Mapping[Hazard, str] = MappingProxyType(
    {
        Hazard.VIOLENT_CRIMES: "Violent Crimes",
        Hazard.SEX_RELATED_CRIMES: "Sex-Related Crimes",
        Hazard.CHILD_SEXUAL_EXPLOITATION: "Child Sexual Exploitation",
        Hazard.SUICIDE_SELF_HARM: "Suicide & Self-Harm",
        Hazard.INDISCRIMINATE_WEAPONS: "Indiscriminate Weapons (CBRNE)",
        Hazard.INTELLECTUAL_PROPERTY: "Intellectual Property",
        Hazard.DEFAMATION: "Defamation",
        Hazard.NON_VIOLENT_CRIMES: "Non-Violent Crimes",
        Hazard.HATE: "Hate",
        Hazard.PRIVACY: "Privacy",
        Hazard.SPECIALIZED_ADVICE: "Specialized Advice",
        Hazard.SEXUAL_CONTENT: "Sexual Content",
    }
)


class Garm(StrEnum):
    """GARM's brand-safety floor and suitability categories, June 2022."""

    ADULT = "Adult & Explicit Sexual Content"
    ARMS = "Arms & Ammunition"
    CRIME = "Crime & Harmful acts to individuals and Society, Human Right Violations"
    DEATH = "Death, Injury or Military Conflict"
    PIRACY = "Online piracy"
    HATE = "Hate speech & acts of aggression"
    OBSCENITY = (
        "Obscenity and Profanity, including language, gestures, and explicitly gory, graphic or repulsive content "
        "intended to shock and disgust"
    )
    DRUGS = "Illegal Drugs/Tobacco/e-cigarettes/Vaping/Alcohol"
    SPAM = "Spam or Harmful Content"
    TERRORISM = "Terrorism"
    SOCIAL_ISSUES = "Debated Sensitive Social Issues"
    MISINFORMATION = "Misinformation"


class SpotifyRule(StrEnum):
    """The four headings of Spotify's Platform Rules."""

    DANGEROUS = "Dangerous Content"
    DECEPTIVE = "Deceptive Content"
    SENSITIVE = "Sensitive Content"
    ILLEGAL = "Illegal Content"


@dataclass(frozen=True)
class Description:
    """What a category means, where it ends, and its nearest headings elsewhere."""

    title: str
    definition: str
    not_it: tuple[str, ...]  # speech that sounds alike and does not belong to the category
    ailuminate: tuple[Hazard, ...] = ()
    garm: tuple[Garm, ...] = ()
    spotify: tuple[SpotifyRule, ...] = ()


TAXONOMY: Mapping[Category, Description] = MappingProxyType(
    {
        Category.HATE: Description(
            title="Hate",
            definition=(
                "Attacks, dehumanises, or calls for exclusion of people because of a protected characteristic: race, "
                "ethnicity, nationality, religion, caste, sex, gender identity, sexual orientation, disability, age."
            ),
            not_it=(
                "reclaimed speech: a group's own use of a word once thrown at it",
                "news, history or teaching that quotes hate in order to report or condemn it",
                "a hateful character in fiction whom the work does not endorse",
                "criticism of a belief, a government or an institution rather than of the people",
            ),
            ailuminate=(Hazard.HATE,),
            garm=(Garm.HATE,),
            spotify=(SpotifyRule.DANGEROUS,),
        ),
        Category.HARASSMENT: Description(
            title="Harassment",
            definition=(
                "Demeans, bullies or torments an identifiable person, presses unwanted sexual advances on them, or "
                "calls on others to pile on."
            ),
            not_it=(
                "banter and roast comedy between people who take part willingly",
                "a harsh review of a work, a product or a public decision",
                "a person telling of harassment that they suffered",
                "quarrels between characters in fiction",
            ),
            garm=(Garm.CRIME, Garm.HATE),
            spotify=(SpotifyRule.DANGEROUS,),
        ),
        Category.VIOLENCE_THREAT: Description(
            title="Violence and threats",
            definition=(
                "Threatens, incites, plans or glorifies serious physical harm to a person or a group, or gives "
                "instructions for it."
            ),
            not_it=(
                "figures of speech: «shoot a film», «this recipe kills», «I'm dying to see it»",
                "news, court and war reporting, true crime told without approval",
                "fights and killings in fiction, drama and games",
                "medicine, self-defence, hunting, contact sports",
            ),
            ailuminate=(Hazard.VIOLENT_CRIMES,),
            garm=(Garm.CRIME, Garm.DEATH),
            spotify=(SpotifyRule.DANGEROUS,),
        ),
        Category.VIOLENT_EXTREMISM: Description(
            title="Violent extremism",
            definition=(
                "Praises, supports, recruits or raises money for terrorist or violent extremist groups and attacks, "
                "or helps to make weapons of mass harm."
            ),
            not_it=(
                "news, scholarship and history of extremism, counter-extremism work",
                "testimony of survivors and of people who left such a group",
                "political dissent and protest without violence, however radical",
                "thrillers and satire that depict extremists without promoting them",
            ),
            ailuminate=(Hazard.VIOLENT_CRIMES, Hazard.INDISCRIMINATE_WEAPONS),
            garm=(Garm.TERRORISM,),
            spotify=(SpotifyRule.DANGEROUS,),
        ),
        Category.SELF_HARM: Description(
            title="Suicide and self-harm",
            definition=(
                "Encourages, glorifies or gives methods for suicide, self-injury or disordered eating, or states an "
                "intent to do it."
            ),
            not_it=(
                "prevention, help lines, therapy and advice on how to support someone",
                "a story of recovery or of grief told without methods",
                "medicine and public-health statistics",
                "figures of speech: «this commute is killing me»",
            ),
            ailuminate=(Hazard.SUICIDE_SELF_HARM,),
            garm=(Garm.CRIME,),
            spotify=(SpotifyRule.DANGEROUS,),
        ),
        Category.SEXUAL: Description(
            title="Sexual content",
            definition="Describes sexual acts between adults explicitly, to arouse, or offers sexual services.",
            not_it=(
                "sex education, sexual health and medicine",
                "news and discussion of sexuality, consent, and abuse, told without explicit detail",
                "romance and love scenes that stay short of explicit",
                "biology, anatomy, breast-feeding",
            ),
            ailuminate=(Hazard.SEXUAL_CONTENT, Hazard.SEX_RELATED_CRIMES),
            garm=(Garm.ADULT,),
            spotify=(SpotifyRule.SENSITIVE,),
        ),
        Category.CHILD_SAFETY: Description(
            title="Child safety",
            definition="Sexualises, grooms, exploits or abuses minors, or promotes, excuses or facilitates any of it.",
            not_it=(
                "child-protection education, and advice to parents about grooming",
                "news and court reporting, and survivors' testimony",
                "paediatrics and ordinary talk about children, families and schools",
            ),
            ailuminate=(Hazard.CHILD_SEXUAL_EXPLOITATION,),
            garm=(Garm.ADULT, Garm.CRIME),
            spotify=(SpotifyRule.DANGEROUS, SpotifyRule.ILLEGAL),
        ),
        Category.ILLEGAL_GOODS: Description(
            title="Illegal goods",
            definition=(
                "Sells, brokers, or tells how to get or make illegal drugs, illegal weapons, or other goods that may "
                "not be traded."
            ),
            not_it=(
                "medicine, pharmacy and harm-reduction advice",
                "news and policy debate about drugs or arms",
                "lawful hunting, sport shooting, licensed sale of alcohol, tobacco or cannabis where it is legal",
                "drug or gun use in fiction, song and memoir that offers nothing for sale",
            ),
            ailuminate=(Hazard.NON_VIOLENT_CRIMES, Hazard.INDISCRIMINATE_WEAPONS),
            garm=(Garm.DRUGS, Garm.ARMS),
            spotify=(SpotifyRule.DANGEROUS, SpotifyRule.ILLEGAL),
        ),
        Category.DANGEROUS_MISINFORMATION: Description(
            title="Dangerous misinformation",
            definition=(
                "States as fact a falsehood that may lead people to harm: false cures, denial of established disease "
                "or emergency advice, false instructions on how or whether to vote."
            ),
            not_it=(
                "debunking, and news that repeats a claim in order to correct it",
                "opinion, uncertainty honestly stated, and open questions of science",
                "satire and fiction recognisable as such",
                "alternative practices described without a claim to replace treatment",
            ),
            ailuminate=(Hazard.SPECIALIZED_ADVICE,),
            garm=(Garm.MISINFORMATION,),
            spotify=(SpotifyRule.DANGEROUS, SpotifyRule.DECEPTIVE),
        ),
        Category.PRIVACY_DOXXING: Description(
            title="Privacy and doxxing",
            definition=(
                "Reveals, or threatens to reveal, a private person's address, telephone, identity or bank numbers, "
                "health or location without consent."
            ),
            not_it=(
                "a business's or an office's public contact details",
                "a speaker's own details, given willingly",
                "names and facts in news that are of public interest",
                "invented addresses and numbers in fiction; help-line numbers",
            ),
            ailuminate=(Hazard.PRIVACY,),
            garm=(Garm.CRIME,),
            spotify=(SpotifyRule.DANGEROUS,),
        ),
        Category.PROFANITY: Description(
            title="Profanity",
            definition="Swear words and vulgar expressions, aimed at nobody in particular.",
            not_it=(
                "mild exclamations: «damn», «heck», «oh my God»",
                "medical and anatomical words",
                "place names, surnames and words that only sound alike",
                "mild substitutes: «shoot», «fudge», «sugar»",
            ),
            garm=(Garm.OBSCENITY,),
        ),
    }
)


def taxonomy_table() -> str:
    """The taxonomy as a Markdown table, one row per category; `docs/policy.md` holds this text."""
    rows = [
        "| category | what it is | what it is not | AILuminate | GARM | Spotify |",
        "|---|---|---|---|---|---|",
    ]
    for category, description in TAXONOMY.items():
        cells = (
            f"`{category}`",
            description.definition,
            "; ".join(description.not_it),
            "; ".join(f"{hazard.label} (`{hazard}`)" for hazard in description.ailuminate) or "–",
            "; ".join(description.garm) or "–",
            "; ".join(description.spotify) or "–",
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(taxonomy_table())
