"""A place to try routing: models, a budget, the reason for every answer, and two experiments.

Talk to it, and a router chooses who answers. Give it `questions` whose answers are known, and say
what to `do` with them: `calibrate` asks every model every question, and the router learns from what
came; `shadow` answers as always and asks an alternative beside, whose answers are scored and never
returned. The `report` says what was found, and what the router does now.

`PLUMBGRAPH_ROUTER_MODELS` names the models, `provider:name` by commas, the weakest first. Without
it two scripted models answer, which needs no network and no key. `PLUMBGRAPH_ROUTER_USD` is what
the process may spend, a dollar when not set. `PLUMBGRAPH_ROUTER_OUTCOMES` is a file that keeps what
was learned, which `plumbgraph router fit` and `report` read too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from plumbgraph.agents import build_agent, resolve_model
from plumbgraph.agents.node import Ask, Node, State, off_loop
from plumbgraph.agents.routing import RouterNode
from plumbgraph.errors import BudgetSpent, ModelUnavailable, NoModelAllowed, SettingsError
from plumbgraph.plan import Plan
from plumbgraph.routing import (
    Aim,
    Budget,
    CostRouter,
    JsonlOutcomes,
    ModelCard,
    OutcomeRow,
    Price,
    Request,
    Route,
    RoutedChatModel,
    TextPredictor,
)
from plumbgraph.routing.report import pairs, tasks
from plumbgraph.routing.training import MIN_LABELS, compare, fit_table, table_of
from plumbgraph.testing import ScriptedChatModel

SYSTEM = "You answer briefly and say so when you do not know."
ENDED = "router_lab"


class Question(BaseModel):
    """A question whose answer is known."""

    text: str = Field(min_length=1, description="What is asked.")
    expected: str = Field(min_length=1, description="Words a right answer holds, in any case.")
    task: str = Field("talk", description="The kind of question that its outcome speaks for.")

    def score(self, answer: str) -> float:
        """1 for a right answer, else 0."""
        return float(self.expected.casefold() in answer.casefold())


QUESTIONS = TypeAdapter(list[Question])


class Trial(TypedDict, total=False):
    """What the experiments read and write.

    Attributes:
        do: Which experiment.
        questions: What is asked in it; none in a talk.
        report: What the latest one found.
    """

    do: Literal["calibrate", "shadow"]
    questions: list[dict[str, Any]]
    report: dict[str, Any]


class Experiment(Node):
    """Carries out an experiment where questions are given; a talk goes on to the model."""

    state_schema = Trial

    def plan(
        self,
        state: State,
        runtime: Runtime[Any],  # noqa: ARG002 - a node's signature
        config: RunnableConfig | None,  # noqa: ARG002 - as above
    ) -> Plan[Ask, Any, dict[str, Any]]:
        """Ask, score, learn and report."""
        if not state.get("questions"):
            return {}
        do = state.get("do") or "calibrate"
        if do not in EXPERIMENTS:
            raise SettingsError(f"There is no experiment {do!r}.", hint="calibrate or shadow.")
        report = yield off_loop(EXPERIMENTS[do], checked(state["questions"]))
        told = AIMessage(in_words(report), name=ENDED)
        return {"questions": [], "report": report, "messages": [told]}

    @staticmethod
    def way(state: State) -> str:
        """A report ends the run."""
        messages = state["messages"]
        return "stop" if messages and messages[-1].name == ENDED else "go"


class Book:
    """Outcomes as they come; those of a file that is named were there before."""

    def __init__(self, path: str = "", *, behind: Book | None = None) -> None:
        self._file = JsonlOutcomes(path) if path else None
        self._behind = behind
        self.rows: list[OutcomeRow] = self._file.read() if self._file else []

    def append(self, row: OutcomeRow) -> None:
        """Keep one, also in the book behind this one."""
        self.rows.append(row)
        for other in (self._file, self._behind):
            if other:
                other.append(row)

    def read(self) -> tuple[()]:
        """None: `router` was told of them when it was made."""
        return ()


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def route_of(state: Any) -> Route:
    """Tool-using threads and first questions are tasks of their own; a pin is kept."""
    used = any(message.type == "tool" for message in state["messages"])
    return Route(task="tools" if used else "talk", pin=state.get("route_pin") or "")


def scripted(name: str) -> ScriptedChatModel:
    """A model without a network, which says who it is and what it heard."""

    def respond(messages: Sequence[BaseMessage]) -> AIMessage:
        heard = next((m.text for m in reversed(messages) if m.type == "human"), "")
        return AIMessage(f"({name}) You said: {heard}", response_metadata={"finish_reason": "stop"})

    return ScriptedChatModel.from_messages(respond, model_name=name)


def cards(names: str) -> list[ModelCard]:
    """The named models, or the two scripted ones."""
    if not names:
        return [
            ModelCard(model=scripted("small"), price=Price.per_mtok(0.25, 2.0), prior=0.75),
            ModelCard(model=scripted("large"), price=Price.per_mtok(3.0, 15.0), prior=0.92),
        ]
    listed = [name.strip() for name in names.split(",") if name.strip()]
    step = 0.25 / max(len(listed) - 1, 1)
    return [ModelCard(model=name, prior=0.7 + step * n) for n, name in enumerate(listed)]


@lru_cache(maxsize=1)
def book() -> Book:
    """One book of outcomes for the process."""
    return Book(os.environ.get("PLUMBGRAPH_ROUTER_OUTCOMES", ""))


@lru_cache(maxsize=1)
def router() -> CostRouter:
    """One router for the process, so that its budget and what it learned are one."""
    budget = Budget(float(os.environ.get("PLUMBGRAPH_ROUTER_USD", "1.0")))
    one = made(budget=budget, outcomes=book())
    one.tallies.add_all(row.outcome() for row in book().rows)
    return one


def made(**more: Any) -> CostRouter:
    """A router over the named models."""
    names = os.environ.get("PLUMBGRAPH_ROUTER_MODELS", "")
    aim = Aim.quality(0.8)
    return CostRouter(cards(names), aim=aim, load=resolve_model, **more)


def checked(questions: Any) -> list[Question]:
    """The questions of an experiment.

    Raises:
        SettingsError: One of them is none.
    """
    try:
        return QUESTIONS.validate_python(questions)
    except ValidationError as error:
        raise SettingsError(
            f"These are no questions: {error}",
            hint='A question is {"text": …, "expected": …, "task": …}.',
        ) from error


def calibrate(questions: Sequence[Question]) -> dict[str, Any]:
    """Ask every model every question, and let the router learn from the answers."""
    asked, rows = router(), list[OutcomeRow]()

    def each() -> None:
        for question in questions:
            for name in asked.names:
                said = ask(asked, question, pin=name)
                row = outcome(said, question, at=asked.clock.now())
                rows.append(row)
                book().append(row)
                asked.tallies.add(row.outcome())

    stopped = until_stopped(each)
    return {
        "do": "calibrate",
        "stopped": stopped,
        "usd": sum(row.usd for row in rows),
        "tasks": [asdict(row) for row in tasks(rows)],
        "text_model": text_model(asked),
        "now": now(asked, questions),
    }


def shadow(questions: Sequence[Question]) -> dict[str, Any]:
    """Answer as always, and ask an alternative beside: may it take over?"""
    known = {question.text: question for question in questions}
    told = Book(behind=book())
    trial = made(
        budget=router().budget,
        outcomes=told,
        shadow=1.0,
        verify=lambda request, answer: known[request.text].score(answer.text),
    )
    trial.tallies = router().tallies

    def each() -> None:
        for question in questions:
            ask(trial, question)
            trial.shadows.close()  # waits, so that each question is answered by two

    stopped = until_stopped(each)
    return {
        "do": "shadow",
        "stopped": stopped,
        "usd": sum(row.usd for row in told.rows),
        "pairs": [asdict(row) for row in pairs(told.rows)],
        "now": now(router(), questions),
    }


EXPERIMENTS: dict[str, Callable[[Sequence[Question]], dict[str, Any]]] = {
    "calibrate": calibrate,
    "shadow": shadow,
}


def ask(asked: CostRouter, question: Question, pin: str = "") -> AIMessage:
    """One routed answer, outside the talk.

    It is streamed, as to a user: what has been said is not asked again of a better model, so that
    a shadow's answer stands beside the one that was given.
    """
    model = RoutedChatModel(asked, route=Route(task=question.task, pin=pin))
    messages = [SystemMessage(SYSTEM), HumanMessage(question.text)]
    first, *more = model.stream(messages, {"tags": [TAG_NOSTREAM]})
    for chunk in more:
        first += chunk
    return first


def outcome(said: AIMessage, question: Question, *, at: float) -> OutcomeRow:
    """How well an answer did, under the bare task: it speaks for that task in every node."""
    mark = said.response_metadata["plumbgraph"]
    return OutcomeRow(
        model=mark["model"],
        score=question.score(said.text),
        task=question.task,
        text=question.text,
        usd=mark["cost_usd"],
        at=at,
    )


def until_stopped(experiment: Callable[[], None]) -> str:
    """Why it ended early, if it did; what it had learned by then is kept."""
    try:
        experiment()
    except (BudgetSpent, ModelUnavailable, NoModelAllowed) as error:
        return str(error)
    return ""


def text_model(asked: CostRouter) -> dict[str, Any] | None:
    """The verdict on a text model over all outcomes; the router takes it where it is no worse."""
    rows = [row for row in book().rows if row.text and row.model in asked.names]
    if len({(row.text, row.task, row.model) for row in rows}) < MIN_LABELS:
        return None
    table = table_of(rows)
    found = compare(table)
    if found.promote:
        asked.predict = TextPredictor(fit_table(table))
    return asdict(found)


def now(asked: CostRouter, questions: Iterable[Question]) -> list[dict[str, str]]:
    """Whom the router would ask today, for each kind of question."""
    kinds = {question.task: question for question in reversed(list(questions))}
    told = []
    for task in sorted(kinds):
        decision = asked.decide(Request(text=kinds[task].text, node="model", task=task))
        told.append({"task": task, "model": decision.model, "reason": decision.reason})
    return told


def in_words(report: dict[str, Any]) -> str:
    """A report as a person reads it."""
    lines = [f"{report['do']}: ${report['usd']:.6f} spent"]
    if report["stopped"]:
        lines.append(f"It ended early: {report['stopped']}")
    lines += [
        f"{row['task']}: {row['model']} was right in {row['lived']:.0%} of {row['count']}"
        for row in report.get("tasks", ())
    ]
    lines += [
        f"{row['task']}: {row['shadow']} beside {row['model']} in {row['count']}, "
        f"{row['difference']:+.2f} in quality, ${row['saved_usd']:.6f} saved a call: "
        f"{row['verdict']}"
        for row in report.get("pairs", ())
    ]
    if found := report.get("text_model"):
        verdict = "in use from now on" if found["promote"] else "not shown to be no worse"
        lines.append(f"text model over {found['labels']} outcomes: {verdict}")
    lines += [f"{row['task']} goes to {row['model']} now. {row['reason']}" for row in report["now"]]
    return "\n".join(lines)


def make_graph() -> StateGraph[Any, Any, Any, Any]:
    """The agent's graph, not yet compiled."""
    route = RouterNode(router(), describe=route_of)
    trial = Experiment(name="experiment")
    return build_agent(route.model, [add], system=SYSTEM, before=[trial], each_turn=[route])


graph = make_graph()
