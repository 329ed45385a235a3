"""The demo's plot: an agent is killed at work and resumed, and what else it can do is shown."""

from __future__ import annotations

import logging
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

from plumbgraph import servers
from plumbgraph.agents.open import Opened
from plumbgraph.cli import demo_proof as proof
from plumbgraph.cli.demo_proof import Claim
from plumbgraph.cli.demo_show import Show
from plumbgraph.cli.demo_stage import Pager, Stage, pager, records
from plumbgraph.postgres.pool import Database, Statement
from plumbgraph.routing import Budget, JsonlOutcomes
from plumbgraph.servers import Endpoints
from plumbgraph.timeline import Timeline
from plumbgraph.tracing.handler import trace
from plumbgraph.tracing.reader import LogReader

TASK = "Read the incident reports in documents/, take notes, and write report.md."
_CHECKPOINTS = """
SELECT encode(c.id, 'hex'), c.step FROM {schema}.checkpoint c
JOIN {schema}.stream s ON s.id = c.stream JOIN {schema}.thread t ON t.id = s.thread
WHERE t.tenant = %s AND t.thread_id = %s AND s.ns = ''"""
_PATIENCE_S = 60.0
_FIRST_NOTE = "notes/2025-03-04-lockers-offline.md"


def play(show: Show, *, html: Path | None, keep: bool) -> dict[str, Any]:
    """Play the whole demo; what it found, for `--json`.

    Raises:
        DemoFailed: A process ended too early; shows what it said.
        ServerStartFailed: The servers cannot be started.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="plumbgraph-demo-"))
    stage = Stage(folder, f"demo-{uuid.uuid4().hex[:6]}")
    show.title()
    try:
        documents = stage.prepare()
        with pager() as outside, stage.process(_run_words(stage), outside) as child:
            with show.waiting("starting PostgreSQL and Valkey"):
                endpoints = servers.up(settings=stage.settings)
            with endpoints:
                show.servers(endpoints.versions, time.monotonic() - began, stage.home)
                show.task(documents)
                plot = Plot(stage, show, outside, endpoints)
                page = plot.told(child)
        target = html or (folder if keep else folder.parent) / f"plumbgraph-{stage.thread_id}.html"
        target.write_text(page, encoding="utf-8")
    finally:
        _strike(stage, keep=keep)
    plot.found |= {"html": target, "folder": folder if keep else None}
    plot.found["seconds"] = round(time.monotonic() - began, 2)
    show.end(plot.found)
    return plot.found


def _run_words(stage: Stage) -> list[str]:
    words = ["plumbgraph.cli", "run", "assistant", TASK, "--thread", stage.thread_id]
    return [*words, "--model", "scripted", "--workspace", str(stage.workspace), "--json"]


@dataclass(slots=True)
class Plot:
    """The acts, in the order they are told, and what each of them found."""

    stage: Stage
    show: Show
    outside: Pager
    endpoints: Endpoints
    claims: list[Claim] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)

    def told(self, child: subprocess.Popen[str]) -> str:
        """Play every act; the page about them."""
        first, step = self._killed(child)
        before = self._checkpoints()
        self.show.between(self.stage.thread_id, before)
        with ThreadPoolExecutor(1) as aside:
            plain = aside.submit(plain_damage, self.stage, self.endpoints.postgres_url)
            second, answer = self._resumed()
            page = self._rest(first, second, before, plain)
        self.found |= {
            "proven": all(claim.holds for claim in self.claims),
            "claims": [
                {"from": each.source, "holds": each.holds, "says": each.text}
                for each in self.claims
            ],
            "killed": {"pid": first, "step": step},
            "resumed": {"pid": second, "answer": answer},
            "thread_id": self.stage.thread_id,
        }
        return page

    def _killed(self, child: subprocess.Popen[str]) -> tuple[int, int]:
        """Kill the assistant when it wrote a file and the checkpoint does not know; pid, step."""
        self.show.process(child.pid, ["run", "assistant", "'Read the incident reports …'"])
        step = 0
        with self.show.waiting("importing LangGraph"):
            story = records(child)
            for record in story:
                step = self._step(record)
                if record.get("node") == "model" and "notify" in str(record.get("says")):
                    break
        self._await_alarm(child)
        child.send_signal(signal.SIGKILL)
        code = child.wait()
        self.outside.released.set()
        self.show.killed(child.pid, step + 1, code, _FIRST_NOTE)
        return child.pid, step + 1

    def _step(self, record: Mapping[str, Any]) -> int:
        if record["event"] == "step":
            self.show.step(record)
        return int(record.get("step") or 0)

    def _await_alarm(self, child: subprocess.Popen[str]) -> None:
        """Wait until people were alerted and the note of the same step lies on the disk."""
        note = self.stage.workspace / _FIRST_NOTE
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and child.poll() is None:
            if self.outside.rang.wait(0.005) and note.exists():
                return
        raise self.stage.failure("the first process did not come to its first note")

    def _resumed(self) -> tuple[int, Any]:
        """Resume the thread in a new process to its end; its pid and answer."""
        words = ["plumbgraph.cli", "resume", self.stage.thread_id, "--json"]
        with self.stage.process(words, self.outside) as child:
            self.show.process(child.pid, ["resume", self.stage.thread_id])
            with self.show.waiting("importing LangGraph"):
                from plumbgraph.cli import demo_acts  # noqa: F401, PLC0415 - both import now

                for record in records(child):
                    if record["event"] == "outcome" and record["status"] == "done":
                        return child.pid, record["answer"]
                    self._step(record)
        raise self.stage.failure("the second process did not finish")

    def _rest(
        self, first: int, second: int, before: Mapping[str, int], plain: Future[tuple[int, int]]
    ) -> str:
        """The acts of this process, then the timeline, the proof and the page."""
        from plumbgraph.cli import demo_acts, demo_page  # noqa: PLC0415 - quick start

        logging.getLogger("plumbgraph").addHandler(logging.NullHandler())  # shown here instead
        given = {"home": str(self.stage.home), "tenant": self.stage.thread_id}
        with Opened(given) as plumbing, trace(path=self.stage.log):
            self._crash_claims(plumbing, first, second, before)
            moved, routed = demo_acts.move(plumbing, self._lived(), self.stage.thread_id)
            stopped = demo_acts.loop(plumbing)
            sources = [plumbing, self.stage.log]
            lines = {
                name: Timeline.load(name, sources=sources)
                for name in (self.stage.thread_id, demo_acts.MOVER, demo_acts.LOOPER)
            }
        skill = proof.skill_events(self._records())
        looped = lines[demo_acts.LOOPER].verdict
        self.claims += proof.act_claims(moved, routed, stopped, skill, looped)
        if not self.stage.settings.postgres_url:
            self.claims.append(proof.plain_claim(*plain.result()))
            self.show.plain(*plain.result())
        self.show.memory(moved)
        self.show.skill(skill)
        self.show.route(routed)
        self.show.loop(stopped, looped)
        self.show.timeline(proof.timeline(self._records(), first, second), first, second)
        self.show.proof(self.claims)
        self.found["acts"] = {
            "memory": asdict(moved),
            "skill": list(skill),
            "route": routed.to_dict(),
            "loop": asdict(stopped) | {"verdict": looped.to_dict()},
        }
        return demo_page.page(self.claims, moved, routed, list(lines.values()))

    def _crash_claims(
        self, plumbing: Opened, first: int, second: int, before: Mapping[str, int]
    ) -> None:
        """Messages, files, effects and the bill of the thread that was killed."""
        thread = self.stage.thread_id
        records = self._records()
        rows = proof.timeline(records, first, second)
        found = plumbing.saver.get_tuple({"configurable": {"thread_id": thread}})
        assert found is not None
        values = found.checkpoint["channel_values"]
        folder = self.stage.workspace
        report = folder / "report.md"
        self.claims += [
            *proof.log_claims(records, rows),
            *proof.database_claims(before, self._checkpoints(), rows),
            proof.messages_claim(values["messages"]),
            proof.files_claim(
                plumbing.workspace(folder).digest(values["workspace"]),
                plumbing.workspace(folder).status().digest,
                notes=len(list(folder.glob("notes/*.md"))),
                documents=len(list(folder.glob("documents/*.md"))),
                size=report.stat().st_size if report.exists() else 0,
            ),
            proof.effects_claim(self.outside.requests, self.outside.alerts),
            self._bill_claim(values, records),
        ]

    def _bill_claim(self, values: Mapping[str, Any], records: list[dict[str, Any]]) -> Claim:
        thread = self.stage.thread_id
        with closing(Budget(redis=self.endpoints.redis_url, tenant=thread)) as budget:
            charges = budget.charges(f"{datetime.now(UTC):%Y%m}")
        logged = {
            record["charge_id"]: record["usd"]
            for record in records
            if record["event"] == "route.charged"
        }
        return proof.bill_claim(
            values["ledger"],
            {each.charge_id: each.nano for each in charges if each.thread_id == thread},
            logged,
            sum(message.type == "ai" for message in values["messages"]),
        )

    def _lived(self) -> Path:
        """The file of earlier outcomes that the router of the second act learns from."""
        from plumbgraph.cli.demo_acts import lived_outcomes  # noqa: PLC0415 - quick start

        kept = JsonlOutcomes(self.stage.lived)
        for row in lived_outcomes():
            kept.append(row)
        return self.stage.lived

    def _records(self) -> list[dict[str, Any]]:
        """What the event log holds of the killed thread."""
        thread = self.stage.thread_id
        return [each for each in LogReader(self.stage.log).read() if each["thread_id"] == thread]

    def _checkpoints(self) -> dict[str, int]:
        """The thread's checkpoints as id → step, out of the tables and past our own saver."""
        settings = self.stage.settings
        url = self.endpoints.postgres_url
        with Database(url, schema=settings.schema_name, auto_setup=False) as database:
            asked = Statement(_CHECKPOINTS, (settings.tenant, self.stage.thread_id))
            ((*rows,),) = database.send((asked,))
        return {str(row[0]): int(row[1]) for row in rows}


def plain_damage(stage: Stage, url: str) -> tuple[int, int]:
    """The same kill on an agent with the plain saver: alerts and notes of the one call each."""
    words = ["plumbgraph.cli.demo_plain", url]
    with pager() as outside:
        with stage.process(words, outside, folder=stage.plain) as child:
            rang = outside.rang.wait(_PATIENCE_S)
            child.kill()
            child.wait()
            outside.released.set()
        with stage.process(words, outside, folder=stage.plain) as child:
            if not rang or child.wait(_PATIENCE_S):
                raise stage.failure("the plain agent did not come to its end")
    notes = (stage.plain / "notes.md").read_text(encoding="utf-8").splitlines()
    return len(outside.alerts), len(notes)


def _strike(stage: Stage, *, keep: bool) -> None:
    """Stop the demo's own servers, and remove its folder unless it is to be kept."""
    if (stage.home / "servers").exists():
        servers.down(stage.home)
    if not keep:
        rmtree(stage.folder, ignore_errors=True)
