"""What common words and phrases of attribute names ask for: groups of words for the same thing.

A line is `group < its kinds > what goes without saying: words and phrases`. A dog is a kind of pet:
what is told of a dog may be filed under pets, not the other way round. Who has a job has work, so
that `job at work` asks for nothing beside the job.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from plumbgraph.memory.words import stems

_GROUPS = """
residence > town home place: live, living, reside, residing, residence, residency, resident, dwell,
  dwelling, home, inhabit, domicile, abode, based, located, settled, relocated, move to, home base,
  homebase, whereabouts, hometown, home town
town > residence place: city, town, municipality, metropolis, village, hometown, home town
nation > place: country, nation, homeland
region > place: region, province, county, federal state
citizenship > nation: nationality, citizen, citizenship, passport, national of
passport > number: passport, travel document
address > residence place: address, street, house number, postal, mailing, mail sent
postcode > address: postcode, zip, zipcode, zip code, postal code, post code
district > place: neighborhood, neighbourhood, district, borough, quarter
birthday < birth > date: birthday, birthdate, birth date, date of birth, dob, bday, b day, born on,
  when born, day of birth, birth day
birthplace < birth > place: birthplace, birth place, place of birth, born in, where born, born at,
  birth city, city of birth, country of birth, birth country, town of birth
birth: birth, born
death: death, died, deceased, passed away
work: work, working
employer < work > work org: employer, employ, employed, company, firm, organization, organisation,
  workplace, corporation, business, work for, work at, working for, working at, employed by,
  employed at, place of work, place of employment, work place, where work, where working
occupation < work > work: job, occupation, profession, role, position, career, vocation, trade,
  designation, job title, professional role, work title, job position, job role, work as, working
  as, employed as, line of work, do for living, does for living, do for work, does for work, do at
  work
industry > work: industry, sector, field of work, line of business
colleague > work: colleague, coworker, co worker, teammate, work with, works alongside
boss > work: boss, manager, supervisor, superior, report to, answers to, line manager, managed by,
  supervised by, team lead, team leader
reports > work: subordinate, direct report, manages, supervises
team > work: team, department, squad, division
pay > work money: salary, pay, wage, income, earn, earnings, compensation, remuneration, stipend,
  paid
office < work > work place: office, desk
workhours > work time: work hour, working hour, hour of work, working time, office hour, business
  hour, work schedule, working schedule, work shift, shift, work from to
seniority > work date: experience, seniority, tenure
commute > work office transport travel: commute, get to work, way to work, travel to work, go to
  work, goes to work, transport to work, transport to office, get to office, way to office, travel
  to office
transport: transport, transportation, transit
travel: travel, travelling, traveling
skill: skill, expertise, proficient, proficiency, good at, competence, competency
firstname: first name, given name, forename, firstname
lastname: last name, surname, family name, lastname
nickname: nickname, nick name, goes by, go by, likes to be called, called, preferred name
gender: gender, sex
age > number: age, aged, how old, old, years old, age in years
height: height, tall, how tall
weight: weight, weigh, heavy, how heavy
ethnic: ethnicity, ethnic, race
religion: religion, religious, faith, belief, denomination
politics: politics, political
character: personality, temperament, character, character trait
zodiac: zodiac, star sign, horoscope, sun sign, astrological
spouse > marriage person: spouse, wife, husband, hubby, partner, married to, significant other,
  other half, better half, consort, life partner
marriage > state: married, marital, marriage, marry, relationship status, civil status, family
  status
wedding > date: wedding, anniversary
engaged: fiance, fiancee, engaged to
child > person number: child, children, kid, son, daughter, offspring
mother > person: mother, mom, mum, mama
father > person: father, dad, papa
parent > person: parent, parents
sibling > person: sibling, brother, sister
friend > person: friend, buddy, pal
roommate > person: roommate, flatmate, housemate, room mate, flat mate, house mate, live with,
  living with, share flat with, share apartment with, share room with, share house with
pet: pet, household animal, animal at home, household pet, domestic animal, house pet, animal
dog < pet: dog, puppy
cat < pet: cat, kitten
family: family, relative, household
neighbor > person: neighbor, neighbour, live next to
guardian > person: guardian, custodian
food > taste: food, dish, cuisine, meal, eat, eating
diet > food: diet, dietary, vegan, vegetarian, nutrition, nutritional, eating habit, eating pattern,
  eating plan, eating style, food restriction, eating restriction, dietary restriction, diet
  restriction, dietary need, dietary requirement, dietary choice, dietary rule
allergy > food illness: allergy, allergic, allergic reaction, food reaction, allergen, intolerance,
  intolerant, sensitivity, hypersensitivity, anaphylaxis
drink > taste: drink, beverage
coffee > drink taste: coffee, espresso
tea > drink taste: tea
alcohol > drink: alcohol, alcoholic, wine, beer
music > taste: music, musical, song, band, artist, singer, musician, tune, genre, listen to,
  listening to
color > taste: color, colour, hue, shade
film > taste: film, movie, cinema, flick, genre
show > taste: show, series, television, tv
book > taste: book, novel, read, reading, genre
author > book taste person: author, writer, novelist
game > taste: game, videogame, video game, computer game, gaming
sport > taste: sport, athletic, sporting
exercise > taste: exercise, workout, work out, fitness, gym
hobby > taste: hobby, pastime, leisure, leisure activity, free time activity, interest, free time,
  spare time, for fun, enjoy doing, like doing, like to do, love doing, recreation, recreational,
  off hours, passion
instrument > music: instrument, musical instrument
vacation > travel place taste: vacation, holiday, getaway, trip, travel destination, travel to
destination > travel place: destination, travel destination, trip destination, travel to, trip to,
  going to, headed to, heading to, bound for, flying to, journey to
restaurant > food place taste: restaurant, eatery, diner
school > education place org: school, university, college, alma mater, campus, academy, study at,
  studied at, studying at, place of study, where studied, where study, educated at, graduated from,
  went to school, attend
degree > education: degree, degree earned, diploma, qualification, level of education, education
  level
major > education degree: major, field of study, subject of study, specialization, specialisation,
  study subject, study field, studied subject, subject studied, course of study, area of study
graduation > education: graduation, graduate, graduated, grad
education: education, educational, educated, schooling, academic, study, studied
language > taste skill: language, speak, spoken, tongue, fluent, linguistic
nativelanguage < language: native language, mother tongue, first language, native tongue
email > address: email, e mail, inbox, mail
mailinglist: mailing list, mail list, newsletter
contactway > taste: contact method, method of contact, contact channel, contact preference, contact
  mode, means of contact, mode of contact, way to contact, way of contact, how to contact, channel,
  communication channel, communication method, communication preference, communication mode, means
  of communication, way to reach, how to reach, reach at, reach by, reach via
phone > number: phone, telephone, tel, mobile, cell, cellphone, cell phone, landline, contact number
smartphone > kind: smartphone, handset, mobile device, phone model, mobile model, type of phone,
  kind of phone, phone type, phone brand, make of phone
website > link: website, homepage, web site, web page, webpage
username: username, user name, login, handle, screen name, account name
password: password, passcode, passphrase
emergency > person: emergency, in case of emergency, ice contact
kin > person: next of kin
doctor > person: doctor, physician, family doctor, gp, general practitioner, practitioner, primary
  care, primary care physician, primary care doctor, family physician, pcp
dentist > person: dentist
hospital > place: hospital, clinic
illness: illness, disease, condition, diagnosis, sickness, ailment, disorder, diagnosed, medical
symptom: symptom, complaint
medicine: medicine, medication, med, drug, prescription, prescribed, prescribe, pill
pharmacy > place: pharmacy, chemist, drugstore
insurance > org tool: insurance, insurance company, insurer, insured
bedtime > time: bedtime, go to bed, goes to bed, sleep, fall asleep
wake > time morning: wake, wakeup, get up, gets up, rise, alarm, awake, wake up, out of bed
morning > time: morning
smoking: smoke, smoker, smoking, tobacco
bank > org: bank, financial institution, account at bank, account with
saving > money: saving, save, put aside
savinggoal > saving goal money: saving goal, saving target, goal for saving, target for saving,
  saving for, saving up for, want to save, save up for
currency > taste: currency, money unit, monetary unit
price > money: price, cost, fee, rate, charge
budget > money: budget, spend, fund, funding, spending limit, price range, money available
rent > money price: rent, rental, pay rent, house rent, flat rent, apartment rent
landlord > person rent: landlord, landlady, rent from, property owner, house owner, flat owner,
  owner of flat, owner of house, owner of apartment
debt > money: debt, loan, mortgage, owe
tax: tax
payment > taste: payment, pay by, pay with, pay in
subscription: subscription, subscribe, subscribed, subscriber, plan, tier, membership, package
vehicle: car, vehicle, automobile, auto, drive
bicycle: bicycle, bike, cycle
computer > taste: computer, laptop, pc, notebook, machine
plate > vehicle number: license plate, licence plate, number plate, plate
os > taste tool: operating system, os
browser > taste tool: browser
editor > taste code tool: editor, ide, text editor, development environment
shell > taste tool: shell, terminal, console, command line
code > taste: code, programming, coding, program
codelanguage > code language taste: programming language, program language, coding language, code
  language, coding lang, programming lang, code in, program in, write code in, coded in, written in,
  language for code, language for coding, language for programming
command: command, cmd, script
testcommand > command test: test command, testing command, command for test, test script, run test
  with, run test by, how to run test, command to run test, test run with
buildcommand > command build: build command, build script, build with, how to build, command to
  build
test: test
build: build
ci > tool org: ci, continuous integration, ci cd, cicd, build pipeline, build server
repository > code link: repository, repo, git, codebase, source code, github repo, github
  repository, gitlab repo, gitlab repository, git repo, git repository
framework > taste tool: framework, library, stack
database > taste tool: database, db, datastore, data store
cloud > org tool: cloud, hosting, hosted, hosted on
version: version, release
license: license, licence
environment: environment
defect: issue, bug, ticket, defect
theme > taste: theme, appearance
timezone: timezone, tz, time zone, utc offset, gmt offset
unit > taste: unit, metric, imperial, measurement
notification: notification, alert, reminder
deadline > date time: deadline, due, cutoff, cut off, finished by, done by, must be done by
start > date time: start, begin, began, commence, kickoff, kick off
joined < start > date: joined, hire, hired, hiring
end > date time: end, finish, completion
expiry < end > date: expire, expiry, expiration, valid until
renewal > date: renew, renewal
priority: priority, urgency, urgent
owner > person: owner, responsible, maintainer, accountable, assignee, assigned, in charge of
goal: goal, aim, objective, target, ambition, aspiration, purpose, hope to achieve, want to achieve
customer > person org: customer, client, buyer
supplier > org: supplier, vendor
contract: contract
meeting > date time: meeting, standup, stand up, meet at, meet, appointment
schedule > time: schedule, availability, available
delivery: delivery, shipping, shipment, ship, deliver
order: order, purchase, buy, bought
style > taste: style, tone, manner
flight > travel: flight, airplane, aeroplane, plane, aircraft
airline > flight taste org: airline, air carrier, fly with, flight company
airport > flight: airport, home airport, local airport, nearest airport, closest airport, departure
  airport, base airport
seat > flight taste: seat, seating, aisle or window, window or aisle
hotel > taste: hotel, accommodation, lodging
visa: visa
bloodtype > kind: blood type, blood group, type of blood, group of blood
shoe: shoe, footwear, foot, feet
clothes: clothes, clothing, garment, shirt, dress
title: title, heading
dislike: dislike, hate, avoid, aversion, loathe, detest, least favorite, least favourite
"""

_SORTS = """
date: date, day, when, year, month
time: time, hour, when, clock
place: place, location, where, spot, venue, site
org: where, provider, service
tool: tool, system, platform, software, engine, service, provider, app, application
number: number, count, how many, quantity, num, no, nr, id
money: amount, how much
size: size, dimension, length
kind: type, kind, sort, model, brand, make, use, category, class, variant, level, tier
person: person, who, whom, someone
link: url, link
reason: reason, why
often: frequency, how often
state: status, state, phase, stage, progress
"""

_ENDS = """
date: on, in, by, since, until
time: at, by, since, until
place: in, at, to, from
org: at, for, with
"""

_TASTE = (
    "favorite favourite favored favoured fave like liking love beloved enjoy fond best top taste"
)
_CHOICE = "prefer preferred preference choice pick chosen choose default"
_GRAMMAR = (
    "the a an s is are was were be been am my your his her their our its i we you he she they "
    "it them him us user one somebody has have had having which that personal"
)
_PREPOSITIONS = (
    "of for to in at by with from on as into through via during about up under since until "
    "within onto"
)
_EMPTY = (
    "current currently now today present latest new main primary usual usually regular "
    "regularly typical typically normal general overall actual real exact official full "
    "complete private individual registered own owned owns value name named info information "
    "detail details needs contact data record fact list known taken take takes habit habits "
    "entry field attribute property project profile employee patient get gets go goes give "
    "given always most often daily weekly monthly yearly annual annually everyday per each and "
    "or any does do did done what how all local option selected these those this going been "
    "keeps keep had kept can could final total next upcoming coming planned direct highest hold "
    "holds held follow follows obtained completed attained cm mm km kg lb lbs usd eur gbp"
)

Concepts = frozenset[str]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The table by the stems of its words.

    Attributes:
        groups: What a word or phrase, as written, may ask for.
        stems: The same for its stems: `mailing` asks for an address, `mails` for what `mail` does.
        kinds: What a group is a kind of.
        implied: What a group says beside itself.
        sorts: Words that tell the sort of a value, with these sorts.
        ends: Prepositions that a name may end in, with the sorts of value that they leave open.
        longest: Words in the longest phrase.
    """

    groups: dict[str, Concepts]
    stems: dict[str, Concepts]
    kinds: dict[str, Concepts]
    implied: dict[str, Concepts]
    sorts: dict[str, Concepts]
    ends: dict[str, Concepts]
    taste: Concepts
    choice: Concepts
    grammar: Concepts
    empty: Concepts
    longest: int

    def means(self, written: str, stem: str) -> Concepts:
        """What a word or phrase may ask for."""
        return self.groups.get(written) or self.stems.get(stem, frozenset())


@cache
def lexicon() -> Lexicon:
    """The table, made when first asked for."""
    groups, kinds, implied = _parsed(_GROUPS)
    sorts, ends = _by_stems(_parsed(_SORTS)[0]), _parsed(_ENDS)[0]
    return Lexicon(
        groups,
        _by_stems(groups),
        kinds,
        implied,
        sorts,
        ends,
        _stems(_TASTE),
        _stems(_CHOICE),
        frozenset(_GRAMMAR.split()),
        _stems(f"{_PREPOSITIONS} {_EMPTY}"),
        max(phrase.count(" ") + 1 for phrase in (*groups, *sorts)),
    )


def stem(word: str) -> str:
    """The stem of a word of an attribute's name."""
    return stems("english").of(word)


def _stems(words: str) -> Concepts:
    return frozenset(map(stem, words.split()))


def _parsed(table: str) -> tuple[dict[str, Concepts], dict[str, Concepts], dict[str, Concepts]]:
    of_phrase: dict[str, Concepts] = {}
    kinds: dict[str, Concepts] = {}
    implied: dict[str, Concepts] = {}
    for line in table.replace("\n  ", " ").strip().splitlines():
        head, _, phrases = line.partition(":")
        named, _, also = head.partition(">")
        name, _, wider = named.partition("<")
        group = name.strip()
        kinds[group], implied[group] = frozenset(wider.split()), frozenset(also.split())
        for phrase in phrases.split(","):
            key = phrase.strip()
            of_phrase[key] = of_phrase.get(key, frozenset()) | {group}
    return of_phrase, kinds, implied


def _by_stems(of_phrase: dict[str, Concepts]) -> dict[str, Concepts]:
    of_stems: dict[str, Concepts] = {}
    for phrase, groups in of_phrase.items():
        key = " ".join(map(stem, phrase.split()))
        of_stems[key] = of_stems.get(key, frozenset()) | groups
    return of_stems
