"""Words that ask for the same thing about a person or a project, grouped by what they ask for."""

from __future__ import annotations

from functools import cache

from plumbgraph.memory.words import stems

_GROUPS = """
residence: live lives living lived reside resides residence residing home house based dwell located
location whereabouts settled hometown
town: city town municipality metro
nation: country nation nationality citizenship citizen passport homeland
occupation: job occupation profession role position career vocation trade
work: work works working employment
employer: employer company firm organization organisation workplace business employed
  employs employing employ
colleague: colleague coworker teammate
boss: boss manager supervisor lead
salary: salary pay wage income earnings compensation
birth: birth born birthday birthdate dob
age: age old years
spouse: spouse wife husband married partner marital marriage
child: child children kid kids son daughter
parent: parent mother father mom dad mum
sibling: sibling brother sister
pet: pet pets dog cat animal
like: favorite favourite like likes prefer preferred preference loves enjoy enjoys best fond
dislike: dislike dislikes hate hates avoid avoids aversion
speak: language languages speak speaks spoken tongue fluent
food: food dish cuisine meal eat eats eating
diet: diet dietary vegan vegetarian nutrition
allergy: allergy allergen allergens allergies allergic reaction intolerance intolerant
drink: drink beverage coffee tea
music: music song band artist genre listen
color: color colour hue shade
film: film movie cinema
book: book novel read reading
hobby: hobby hobbies pastime leisure interest interests
sport: sport sports exercise workout fitness
school: school university college alma mater studied study education degree
email: email mail inbox
phone: phone telephone mobile cell cellphone number
vehicle: car vehicle automobile drive drives
doctor: doctor physician gp
illness: illness disease condition diagnosis medical
medicine: medicine medicines medication medications meds drug drugs prescription
  prescribed prescribes pill
zone: timezone tz
editor: editor ide
shell: shell terminal
code: programming coding code
system: os platform operating
deadline: deadline deadlines due cutoff
owner: owner responsible maintainer accountable
status: status state progress phase stage
budget: budget spend spending funds funding
price: price cost fee rate
version: version release
title: title heading
height: height tall
weight: weight weigh weighs heavy
goal: goal aim objective target ambition
religion: religion faith belief
"""


@cache
def _concepts() -> tuple[dict[str, str], dict[str, str]]:
    stem = stems("english").of
    by_word: dict[str, str] = {}
    groups_of: dict[str, set[str]] = {}
    group = ""
    for word in _GROUPS.split():
        if word.endswith(":"):
            group = word[:-1]
        else:
            by_word.setdefault(word, group)
    for word, group in by_word.items():
        groups_of.setdefault(stem(word), set()).add(group)
    by_stem = {s: next(iter(groups)) for s, groups in groups_of.items() if len(groups) == 1}
    return by_word, by_stem


def concept(word: str) -> str:
    """The group a word belongs to by itself or by its stem, else its stem."""
    by_word, by_stem = _concepts()
    stem = stems("english").of(word)
    return by_word.get(word) or by_stem.get(stem, stem)
