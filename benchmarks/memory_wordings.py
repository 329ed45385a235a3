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


# Other attributes, written after the matching was done and never looked at while changing it.
_FRESH = """
home_address: street address | address of residence | postal address | where mail is sent |
  mailing address | house address | residential address | current address
salary: yearly pay | annual income | compensation | earnings per year | wage | income |
  monthly salary | what they earn
blood_type: blood group | type of blood | rhesus group | ABO group
marital_status: relationship status | married or single | civil status | family status |
  is married | marital state
shoe_size: size of shoes | foot size | EU shoe size | footwear size
favorite_sport: preferred sport | sport they like | favourite sports | best loved sport |
  sports preference | likes to play
favorite_music: music taste | preferred genre of music | favourite band | listens to |
  musical preference | favorite artist
favorite_movie: favourite film | preferred movie | film they love | best film | movie preference |
  top movie
favorite_book: favourite novel | preferred book | best loved book | book they like |
  reading favorite | most loved novel
wake_up_time: gets up at | rising time | morning alarm | wakes at | usual wake time | alarm time
commute: way to work | travels to work by | commuting mode | transport to the office |
  how they get to work | daily commute
bank: bank name | banks with | financial institution | name of bank | main bank | bank account at
insurance_provider: insurer | insurance company | insured with | health insurance |
  insurance carrier | name of insurer
emergency_contact: contact in an emergency | ICE contact | whom to call in emergencies |
  emergency person | emergency phone contact | person for emergencies
operating_system: OS | platform used | computer runs | system software | os name | desktop OS
programming_language: codes in | preferred programming language | coding language |
  main language for code | language of the codebase | writes code in
repository: git repo | code repository | source repo | repo url | project repository |
  repository link
team: department | squad | works in team | team name | group at work | member of team
coffee_order: usual coffee | coffee preference | how they take coffee | favorite coffee |
  coffee of choice | regular coffee
currency: preferred currency | money unit | currency used | pays in | local currency |
  billing currency
phone_model: smartphone | handset | type of phone | phone brand | mobile device | phone they use
landlord: rents from | property owner | name of landlord | landlord name | owner of the flat |
  house owner
roommate: flatmate | shares a flat with | lives with | housemate | roommate name | room mate
vacation_spot: holiday destination | favourite place for holidays | travels to | vacation place |
  preferred vacation | holiday place
meeting_time: time of the meeting | standup at | weekly meeting | meets at | meeting slot |
  meeting hour
subscription: plan | subscribed to | membership tier | current plan | subscription tier |
  subscription level
"""


def _parsed(table: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for block in table.replace("\n  ", " ").strip().splitlines():
        name, _, words = block.partition(":")
        found[name] = [word.strip() for word in words.split("|") if word.strip()]
    return found


WORDINGS = _parsed(_TABLE)
FRESH = _parsed(_FRESH)
