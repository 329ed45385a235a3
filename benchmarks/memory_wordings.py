"""How people and models word the same attribute: every second one is declared, the rest asked."""

from __future__ import annotations

_TABLE = """
home_city: city of residence | current city | lives in | place of residence | home town |
  resides in | hometown city | city they live in | residence city | where they live |
  town of residence | living in city
employer: company | works for | employer name | current employer | workplace | employed by |
  company they work for | organization | current company | work place name
job_title: occupation | profession | job | role at work | position | current job | job role |
  works as | career | what they do for work
birthday: date of birth | birth date | born on | dob | birthdate | day of birth | when born |
  birthday date
spouse: wife | husband | partner name | married to | spouse name | life partner | name of wife |
  name of husband
children: kids | sons and daughters | child names | number of children | kid names |
  names of children
pet: dog | cat | pet name | animal at home | pets owned | name of dog | household pet | name of pet
diet: dietary preference | dietary restriction | food restrictions diet | eating habits diet |
  vegetarian or vegan | diet type | dietary needs | nutrition preference
allergy: allergic to | allergies | food allergy | known allergies | allergic reaction to |
  allergy information
languages: speaks | languages spoken | spoken language | fluent in | mother tongue |
  native language | language skills | can speak
favorite_color: favourite colour | preferred color | color they like best | best liked colour |
  likes the color | color preference
favorite_food: favourite dish | preferred food | best loved food | food they like |
  favorite cuisine | food preference | favorite meal | likes to eat
hobby: hobbies | leisure activity | pastime | interests | free time interest | leisure interests
school: university | college | alma mater | studied at | education school | school attended |
  place of study | degree from
email: email address | e-mail | mail address | contact email | email contact | primary email
phone: phone number | telephone | mobile number | cell phone | mobile phone | telephone number
nationality: citizenship | citizen of | country of citizenship | passport country |
  nationality country |
  nation of citizenship
car: vehicle | automobile | drives | car model | vehicle owned | car they drive
doctor: physician | family doctor | gp | primary physician | doctor name | name of physician
medication: medicine | prescription | takes medicine | current medication | drugs prescribed |
  prescribed medicine
timezone: time zone | tz | local timezone | current time zone | timezone name | user timezone
editor: code editor | ide | preferred editor | text editor | favorite ide | editor of choice
deadline: due date | project deadline | cutoff date | due by | final deadline | deadline date
budget: project budget | spending limit | available funds | budget amount | funding | total budget
manager: boss | supervisor | reports to manager | line manager | name of boss | team lead
"""


def _parsed() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for block in _TABLE.replace("\n  ", " ").strip().splitlines():
        name, _, words = block.partition(":")
        found[name] = [word.strip() for word in words.split("|") if word.strip()]
    return found


WORDINGS = _parsed()
