"""Words people use for the same thing when they ask and when they write a skill."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from plumbgraph.skills.ranking.words import term

_GROUPS = """
spreadsheet xlsx excel workbook sheet
docx word
slides slide deck presentation powerpoint pptx ppt
image picture photo illustration
chart graph plot visualization
video clip movie
animation animated gif
audio podcast sound voice speech
email mail inbox
meeting agenda minutes
bug defect error fault failure
debug troubleshoot diagnose
test testing qa
deploy deployment ship release publish launch
repo repository git github
pr pull merge
review critique feedback assess audit
documentation docs readme
summarize summary digest recap
research investigate survey
paper article manuscript preprint publication
poster flyer banner
website web site page
frontend ui interface
backend server api endpoint
database sql db
forecast predict projection
budget cost spend price
invoice bill receipt
contract agreement legal
hire recruit interview candidate
resume cv
customer client
competitor rival
market industry
plan roadmap strategy
idea concept brainstorm ideation
remember memorize memory recall
calendar schedule
travel trip itinerary
medical clinical patient health
molecule compound chemical
gene genomic dna rna
security vulnerability threat
accessibility a11y wcag
performance latency speed slow optimize
refactor cleanup restructure
docker container kubernetes
ci pipeline workflow
agent assistant bot
tweet linkedin social
story narrative
color palette
checklist list
fix repair resolve
parallel concurrent simultaneously
delegate subagent
verify confirm check validate
cite citation reference bibliography
translate translation localize localization
encrypt encryption crypto
login authentication auth
password credential secret
log logs trace
crash hang freeze stuck
install setup configure
teach tutorial lesson course
money finance financial accounting
tax taxes irs
map geospatial gis
train training finetune
transcript transcribe transcription caption subtitle
logo brand branding
table csv tabular
scrape crawl crawler scraper
cluster segment segmentation
persona audience
survey questionnaire poll
newsletter digest
headline title
proofread edit rewrite polish revise
grammar spelling typo
recipe cook meal diet nutrition
exercise workout fitness
flight hotel
lease rent tenant landlord
insurance policy coverage
retirement pension
loan mortgage debt credit
portfolio stock invest investment
revenue sale income turnover
churn retention
incident outage postmortem
rollback revert undo
automate automation script
schedule cron recurring
monitor observe watch alert
notify notification alert
convert conversion export
extract parse ocr
statistics statistical stats regression
simulate simulation
experiment trial
protein peptide sequence amino
drug pharmaceutical ligand compound
disease diagnosis symptom
imaging scan mri ct radiology dicom
tissue histology pathology microscopy
phylogeny phylogenetic evolutionary
quantum qubit
dataframe pandas
embed embedding vector
gpu cuda accelerate
classify classifier classification categorize
grant funding proposal
treatment therapy care
equation math algebra symbolic
optimization solver
survival hazard
schema table column
query sql
migrate migration port upgrade
package library dependency module
onboard onboarding
pitch investor fundraising
font typography typeface
wireframe mockup prototype
game play
icon logo
stream streaming realtime live
chat conversation dialogue
compress compression shorten
"""


@cache
def synonyms() -> dict[str, frozenset[str]]:
    """Index term to the terms that may stand for it."""
    near: dict[str, set[str]] = defaultdict(set)
    for line in _GROUPS.split("\n"):
        group = {stem for word in line.split() if (stem := term(word))}
        for stem in group:
            near[stem] |= group - {stem}
    return {stem: frozenset(others) for stem, others in near.items()}
