"""Names a model makes up for facts: some for declared attributes, others for nothing declared.

Each set was written before any of it was matched. A line is `declared name = its aliases: names
made up`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_DECLARED = """
home_city = city of residence: lives_in | residing_in | based_in | current_city | home_town_city
country = country of residence: country_of_residence | lives_in_country | home_country |
  resident_country
housing_type = kind of home: type_of_housing | dwelling_type | home_type | type_of_residence
move_in_date = date of moving in: moved_in_on | moving_in_date | date_moved_in | when_moved_in
employer = company: works_at | works_for | company_name | employer_name | current_workplace |
  place_of_employment
job_title = occupation: works_as | profession | professional_role | current_position | job_role |
  position_held
work_email = office email: email_at_work | business_email | company_email_address | work_mail
manager = boss: reports_to | supervisor_name | direct_manager | line_manager | managed_by
start_date_at_work = date of hire: hire_date | joined_company_on | employment_start_date |
  date_joined
spouse = partner: married_to | wife_name | husband | significant_other | spouse_full_name
children = kids: has_children | son_name | daughters | kids_names | child
siblings = brothers and sisters: brother | sister_name | has_siblings | brother_or_sister
mother_name = name of mother: mom | mothers_name | mother | name_of_mum
pet = pets: has_pet | dog_name | cat | owns_pet | pet_animal | pet_names
allergies = allergic to: food_allergies | is_allergic_to | allergens | known_allergy |
  has_allergy_to
medications = medicine taken: takes_medication | current_medications | prescription_drugs |
  medicine | prescribed_medication
doctor = physician: primary_care_physician | doctor_name | family_physician | gp_name
diet = dietary habits: dietary_preference | follows_diet | eating_habits | dietary_restrictions |
  is_vegetarian
height = body height: height_cm | how_tall | body_height_in_cm | is_tall
favorite_food = food liked: favourite_dish | likes_food | preferred_food | loves_eating |
  favorite_meal
favorite_color = colour liked: favourite_colour | preferred_color | likes_color | color_preference
music_taste = music liked: favorite_music | listens_to | preferred_music_genre | favorite_band |
  musical_taste
hobbies = pastimes: interests | enjoys_doing | free_time_activities | likes_to_do_for_fun | hobby
favorite_drink = drink liked: preferred_beverage | usual_drink | drink_of_choice | likes_to_drink
phone_number = telephone: mobile_number | cell_phone | phone | contact_number | tel |
  mobile_phone_number
email = email address: email_address | e_mail | personal_email | contact_email | mail_address
preferred_contact_method = how to reach: contact_preference | best_way_to_contact |
  preferred_channel | how_to_contact | preferred_communication_channel
emergency_contact = contact in emergency: emergency_contact_person | in_case_of_emergency |
  emergency_contact_name | ice_contact
home_airport = nearest airport: preferred_airport | departure_airport | local_airport |
  closest_airport
seat_preference = preferred seat: seating_preference | prefers_seat | favorite_seat |
  airplane_seat_preference | aisle_or_window
passport_number = number of passport: passport_no | passport_id | passport | passport_num
travel_destination = where traveling: traveling_to | upcoming_destination | trip_destination |
  going_on_trip_to | destination
university = college: attended_university | alma_mater | studied_at | college_name |
  graduated_from
degree = academic degree: degree_earned | diploma | highest_degree | holds_degree |
  highest_qualification
major = field of study: majored_in | studied_subject | degree_major | study_field | subject_of_study
graduation_year = year of graduation: graduated_in | year_graduated | grad_year |
  graduation_date_year
salary = yearly pay: annual_salary | income | earns | current_compensation | pay_per_year
monthly_rent = rent: rent_amount | pays_rent | rent_per_month | apartment_rent | rent_cost
bank = bank name: banks_with | bank_used | main_bank | has_account_at_bank
savings_goal = saving target: saving_for | savings_target | goal_for_savings | wants_to_save
car = vehicle: drives | owns_car | car_model | vehicle_owned | car_make_and_model
phone_model = kind of phone: smartphone_model | phone_type | mobile_device_model | uses_phone |
  phone_brand
laptop = laptop model: computer | notebook_model | work_laptop_model | laptop_brand | uses_laptop
bicycle = bike: owns_bike | bike_type | cycle | bicycle_model
wake_up_time = time of getting up: wakes_up_at | gets_up_at | morning_wakeup | wake_time |
  usual_waking_time
working_hours = hours of work: work_hours | office_hours | working_time | works_from_to |
  work_schedule
bedtime = time of going to bed: goes_to_bed_at | sleep_time | usual_bedtime | sleeps_at
gym_day = day of gym: gym_days | day_for_gym | goes_to_gym_on | workout_day
next_appointment = upcoming appointment: appointment_date | next_meeting | upcoming_appointment |
  appointment
project_deadline = due date: due_date | deadline | project_due_on | delivery_deadline | due_by
programming_language = coding language: codes_in | preferred_language_for_coding | coding_lang |
  main_programming_language | programs_in
framework = web framework: framework_used | uses_framework | backend_framework |
  preferred_framework
database = database engine: db | database_used | db_type | uses_database | datastore
repository_url = link to repository: repo_url | github_repo | repo_link | git_repository |
  source_code_url
code_editor = editor: ide | preferred_editor | uses_editor | text_editor | editor_of_choice
license = software license: project_license | licence | license_type | licensed_under
test_command = command that runs tests: run_tests_with | how_to_run_tests | testing_command |
  command_for_tests
ci_provider = ci service: ci_system | continuous_integration | ci_tool | ci_platform
"""

_UNDECLARED = """
birth_city | favorite_city | city_visited | home_address | postal_code | landlord_name |
roommate | neighborhood | previous_employer_industry | work_phone | team_size | company_size |
company_headquarters | job_satisfaction | years_of_experience | vacation_days | father_name |
grandmother | wedding_anniversary | number_of_cousins | best_friend | best_friend_birthday |
mother_in_law | godfather | babysitter | childhood_nickname | blood_type | dentist |
body_weight | eye_color | hair_color | smoking_status | health_insurance | hospital |
last_surgery | favorite_movie | favorite_author | favorite_sport | favorite_restaurant |
least_favorite_food | favorite_season | preferred_language | twitter_handle | website |
linkedin_profile | mailing_list | signature | airline | frequent_flyer_number | hotel_chain |
visa_expiry | drivers_license_number | travel_budget | travel_companion | luggage | gpa |
thesis_topic | professor | high_school | scholarship | student_loan | credit_card | tax_number |
pension_plan | monthly_budget | currency | mortgage_rate | stock_portfolio | license_plate |
camera | watch_brand | game_console | headphones | guitar | television_size | lunch_time |
school_run_time | holiday_dates | meeting_room | birthday_party_date | commute_time | time_zone |
operating_system | project_name | project_budget | project_owner | release_date | branch_name |
coverage_threshold | docker_image | cloud_region | log_level | bug_count | api_key_name |
database_password | code_reviewer | indentation_style | python_version | religion |
political_party | zodiac_sign | gender
"""


# Other names, written after the matching had learnt from those above, never looked at since.
_LATER = """
street_address = where mail goes: home_address | residential_address | postal_address |
  lives_at_address | address_line
previous_city = former city: used_to_live_in | last_city | old_city | lived_before_in
department = unit at work: team_at_work | works_in_department | division | dept
years_of_experience = length of career: experience_in_years | work_experience | years_in_field
skills = abilities: good_at | skilled_in | technical_skills | expertise | competencies
father_name = name of father: dad | father | fathers_name | name_of_dad
wedding_date = anniversary: got_married_on | wedding_day | marriage_date | wedding_anniversary
blood_group = blood type: bloodtype | type_of_blood | blood_grp
medical_condition = illness: chronic_condition | diagnosed_with | health_condition | disease |
  suffers_from
weight = body weight: weighs | weight_kg | current_weight | how_heavy
dentist = dental doctor: dentist_name | goes_to_dentist | dental_clinic
favorite_movie = film liked: favourite_film | likes_movie | preferred_movie | best_movie
favorite_restaurant = restaurant liked: preferred_restaurant | loves_eating_at |
  restaurant_of_choice
dislikes = things disliked: hates | does_not_like | avoids | dislike
language = spoken language: speaks | native_language | languages_spoken | language_preference
linkedin = professional profile: linkedin_url | linkedin_profile | linkedin_account
website = homepage: personal_website | site_url | web_page | portfolio_site
airline = carrier: preferred_airline | favorite_airline | flies_with | usual_carrier
travel_dates = dates of trip: trip_dates | traveling_on | dates_of_travel | when_traveling
hotel_preference = preferred hotel: hotel_choice | stays_at_hotel | favorite_hotel | hotel_chain
teacher = instructor: professor | tutor_name | taught_by | class_teacher
grade_average = gpa: average_grade | grade_point_average | mean_grade
course = class taken: current_course | enrolled_in | taking_class | course_name
monthly_budget = spending limit: budget_per_month | spending_budget | monthly_spending_cap
credit_card = card for payment: card_type | payment_card | credit_card_brand
currency = money used: preferred_currency | currency_code | pays_in_currency
camera = kind of camera: camera_model | owns_camera | photo_camera
house = house owned: owns_house | property_owned | home_owned
birthday = date of birth: born_on | dob | birth_date | birthdate | date_born
timezone = time zone: tz | local_time_zone | time_zone_name | utc_offset
lunch_time = hour of lunch: eats_lunch_at | time_of_lunch | lunch_hour | lunch_break_time
meeting_day = day of the meeting: weekly_meeting_day | meets_on | day_of_meeting
operating_system = os: runs_os | uses_os | os_version | system_os
cloud_provider = cloud: hosting_provider | cloud_platform | hosted_on | deploys_to
default_branch = main branch: base_branch | branch_name | git_branch
python_version = version of python: python_release | uses_python_version | required_python
issue_tracker = bug tracker: tracks_issues_in | ticket_system | issue_tracking_tool
release_date = date of release: released_on | launch_date | ships_on | release_day
project_owner = responsible person: owner | maintainer | owned_by | project_lead
"""

_LATER_UNDECLARED = """
current_city | number_of_rooms | rent_amount | floor | house_size | employer_name | job_title |
salary | boss | office_location | retirement_date | spouse | mother_name | son_age | cousin |
pet_name | favorite_uncle | divorce_date | funeral_date | height | medication | allergy |
vaccination_date | glasses_prescription | resting_heart_rate | sleep_duration | favorite_book |
favorite_color | favorite_team | favorite_dessert | coffee_order | music_genre | email |
phone_number | fax | discord_handle | emergency_contact | passport_number | visa_type |
departure_airport | luggage_allowance | rental_car | travel_insurance | school_name |
graduation_year | exam_date | tuition_fee | degree | classmate | tax_id | savings_account |
investment_goal | bank_name | debt_amount | car_model | bicycle | lens | house_plant |
wake_up_time | gym_schedule | doctor_appointment | dinner_time | meeting_link | meeting_agenda |
database | code_editor | test_framework | license | node_version | release_notes |
deployment_frequency | branch_protection | issue_count | build_time | package_name |
cloud_cost | owner_email | project_deadline
"""


def _lines(table: str) -> Iterator[tuple[str, str, str]]:
    for line in table.replace("\n  ", " ").strip().splitlines():
        head, _, names = line.partition(":")
        name, _, aliases = head.partition("=")
        yield name.strip(), aliases, names


def _cut(text: str, at: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(at) if part.strip())


@dataclass(frozen=True, slots=True)
class Names:
    """What is declared, with its aliases; what is asked for each; what belongs to none."""

    aliases: dict[str, tuple[str, ...]]
    asked: dict[str, tuple[str, ...]]
    undeclared: tuple[str, ...]


def _names(table: str, undeclared: str) -> Names:
    return Names(
        {name: _cut(aliases, ",") for name, aliases, _ in _lines(table)},
        {name: _cut(names, "|") for name, _, names in _lines(table)},
        _cut(undeclared, "|"),
    )


FIRST = _names(_DECLARED, _UNDECLARED)
LATER = _names(_LATER, _LATER_UNDECLARED)
