"""Names that a model makes up find the declared attribute they mean, or none."""

from __future__ import annotations

import pytest

from plumbgraph.memory import Attribute, Attributes
from plumbgraph.memory.attributes import near_duplicates
from plumbgraph.memory.wordings import likeness, meaning

PERSON = Attributes(
    (
        Attribute("home_city", ("city of residence",)),
        Attribute("employer"),
        Attribute("birthday"),
        Attribute("move_in_date"),
        Attribute("phone_number"),
        Attribute("work_email"),
        Attribute("pets"),
        Attribute("favorite_food"),
        Attribute("database"),
        Attribute("home_address", ("mailing address",)),
    )
)


@pytest.mark.parametrize(
    ("wording", "name"),
    [
        ("lives_in", "home_city"),
        ("works_at", "employer"),
        ("emploier", "employer"),
        ("born_on", "birthday"),
        ("moved_in_on", "move_in_date"),
        ("mobile_number", "phone_number"),
        ("company_email", "work_email"),
        ("dog", "pets"),
        ("preferred_dish", "favorite_food"),
        ("db_type", "database"),
        ("database_engine", "database"),
    ],
)
def test_a_name_finds_the_attribute_it_means(wording: str, name: str) -> None:
    match = PERSON.match(wording)
    assert (match.attribute.name, match.how) == (name, "wording")


@pytest.mark.parametrize(
    "wording",
    [
        "birth_city",
        "employer_phone",
        "phone_model",
        "phone_provider",
        "personal_email",
        "pet_birthday",
        "least_favorite_food",
        "food_allergy",
        "database_password",
        "mailing_list",
        "e-mail",
        "move_in_city",
    ],
)
def test_a_name_that_says_more_or_else_is_of_no_attribute(wording: str) -> None:
    assert PERSON.match(wording).how == "undeclared"


def test_a_kind_is_filed_under_what_it_is_a_kind_of_and_not_the_other_way() -> None:
    assert Attributes((Attribute("dog"),)).match("pet").how == "undeclared"
    assert Attributes((Attribute("pet"),)).match("dog").attribute.name == "pet"


def test_two_attributes_that_fit_alike_leave_the_name_to_neither() -> None:
    declared = Attributes((Attribute("dog", ("my pet",)), Attribute("cat", ("a pet",))))
    match = declared.match("household pet")
    assert match.how == "undeclared"
    assert "'dog' or 'cat'" in match.reason


def test_an_alias_without_a_word_explains_nothing() -> None:
    declared = Attributes((Attribute("home_city", ("?!",)),))
    assert declared.match("favorite_food").how == "undeclared"
    assert declared.match("current city").attribute.name == "home_city"


def test_near_duplicates_are_alike_in_words_or_meaning() -> None:
    names = ["lives_in", "residence", "favorite_food", "food_allergy", "the", "!"]
    assert near_duplicates(names) == [("lives_in", "residence")]


def test_nothing_is_like_a_name_without_words() -> None:
    assert likeness(meaning("!"), meaning("city"), meaning("city").terms) == 0.0
    assert likeness(meaning("city"), meaning("!"), meaning("!").terms) == 0.0
