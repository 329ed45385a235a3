"""Every parser of outside input as a function of bytes, with seeds; and an atheris runner.

    python tests/fuzz/targets.py TARGET [libFuzzer options]      needs `pip install atheris`

A target may raise nothing but errors of plumbgraph (and, where LangGraph's contract names one, that
one): whatever else comes out is a finding.
"""

from __future__ import annotations

import io
import json
import runpy
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ormsgpack
from langgraph.store.base import InvalidNamespaceError

from plumbgraph.cli.config_traps import examine
from plumbgraph.cli.durations import seconds
from plumbgraph.content import codec as content
from plumbgraph.content.digest import digest_of
from plumbgraph.content.seal import AesSeal
from plumbgraph.errors import PlumbError
from plumbgraph.memory import formats
from plumbgraph.memory.records import Record
from plumbgraph.memory.saved import FORMAT, Saved
from plumbgraph.policy import Policy
from plumbgraph.policy.documents import parse_rules
from plumbgraph.policy.urls import parse_filter
from plumbgraph.routing.feedback import JsonlOutcomes
from plumbgraph.routing.predict import load_text_model
from plumbgraph.settings import Settings
from plumbgraph.skills.evaluate import read_cases
from plumbgraph.skills.frontmatter import read_body, read_frontmatter
from plumbgraph.skills.lock import read_lock
from plumbgraph.skills.package import read_manifest
from plumbgraph.skills.record import make_record
from plumbgraph.skills.registry import RegistrySource
from plumbgraph.state import PlumbSaver
from plumbgraph.state.crypt import Encryption, ThreadCipher, Vault
from plumbgraph.state.frames import pack_items, unpack_items, unwrap, wrap
from plumbgraph.testing.crash.ledger import Ledger
from plumbgraph.timeline import Timeline
from plumbgraph.tracing.reader import read_log
from plumbgraph.workspace.tree import decode_blocks, decode_step, decode_tree
from plumbgraph.workspace.values import File

KEY = bytes(32)
BOUND = b"here"
CIPHER = ThreadCipher(KEY)
VAULT = Vault(Encryption(keys={"k": KEY}, current="k"))
SEAL = AesSeal(keys={"k": KEY}, current="k")
DIGEST = digest_of(b"x")
SERDE = PlumbSaver("postgresql://nowhere/none").serde
PLACE = Path(tempfile.mkdtemp(prefix="plumbgraph-fuzz-"))


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        run: Parses.
        seeds: Valid inputs to begin with.
        allowed: Errors besides plumbgraph's own.
        sized: Whether it reads rows of our own database, which are as large as they say.
    """

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    allowed: tuple[type[Exception], ...] = field(default=())
    sized: bool = False

    def __call__(self, data: bytes) -> None:
        """Parse; only expected errors are swallowed."""
        with suppress(PlumbError, *self.allowed):
            self.run(data)


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def file(name: str, data: bytes) -> Path:
    path = PLACE / name
    path.write_bytes(data)
    return path


def skill_md(data: bytes) -> None:
    parsed = read_frontmatter(data, "x/SKILL.md")
    make_record(parsed, source="s", location="x", folder="x")
    read_body(data)


def policy_url(data: bytes) -> None:
    rules = {"version": 1, "web": {"URLBlocklist": ["*"], "URLAllowlist": ["docs.python.org/3"]}}
    Policy(rules).url(text(data))


def chats(data: bytes) -> None:
    for note in formats.read(text(data), "chatgpt"):
        _ = note.key, note.value


def markdown(data: bytes) -> None:
    for note in formats.read(text(data), "claude"):
        _ = note.key, note.value


def memory_record(data: bytes) -> None:
    record = Record.unpacked(data)
    _ = record.value, record.marks, record.provenance


def event_log(data: bytes) -> None:
    path = file("events.jsonl", data)
    assert all(isinstance(record, dict) for record in read_log(path))
    found = Timeline.load("t", log=path)
    _ = found.verdict, found.rows, found.findings, found.to_html()


def crash_ledger(data: bytes) -> None:
    ledger = Ledger(file("ledger", data))
    ledger.counts()
    ledger.has("0" * 16)


def registry_copy(data: bytes) -> None:
    source = RegistrySource("unix:///nowhere/none", last_good=file("last-good.json", data))
    source.scan()


def langgraph_json(data: bytes) -> None:
    list(examine(file("langgraph.json", data)))


def graph_code(data: bytes) -> None:
    file("agent.py", data)
    config = {"dependencies": ["."], "graphs": {"a": "./agent.py:graph"}}
    list(examine(file("langgraph.json", json.dumps(config).encode())))


def settings_url(data: bytes) -> None:
    name = "redis_url" if data.startswith(b"r") else "postgres_url"
    repr(Settings.load(**{name: text(data)}))


def tree_and_blocks(data: bytes) -> None:
    decode_blocks(data, File(0o644, 1, DIGEST))


def _npz() -> bytes:
    held = io.BytesIO()
    np.savez_compressed(
        held,
        version=np.array(1),
        heads=np.array(["m"]),
        prior=np.zeros((1, 3)),
        places=np.array([1]),
        words=np.zeros((1, 1), dtype=np.float32),
        trust=np.zeros(1),
        labels=np.array([5]),
    )
    return held.getvalue()


SKILL = b"---\nname: pdf\ndescription: Read PDF files.\nmetadata:\n  a: b\n---\nBody.\n"
RULES = b"version: 1\ntools:\n  deny: [shell]\nweb:\n  URLBlocklist: ['*']\nmodels: {allow: null}\n"
TREE = json.dumps(
    [["a", "f", 420, 1, DIGEST], ["d", "d", 493, DIGEST, 1, 1]], separators=(",", ":")
).encode()
MANIFEST = f"plumbgraph skill 1\n{DIGEST} 12 SKILL.md\n{DIGEST} 3 a/b.txt\n".encode()
LOCKED = {"digest": DIGEST, "files": {"SKILL.md": DIGEST}, "source": "s", "version": ""}
LOCK = {"version": 1, "algorithm": "blake2b-256", "skills": {"pdf": LOCKED}}
ROW: Any = [1, 1, 1, 0, None, None, "", "", '{"a":1}', "", 0, "p"]
RIVAL: Any = ["x", 0.5, "cv", None, None, "", '{"a":2}', 1]
FACT: Any = [*ROW, ["x", 1.0, 0, "mail"], [RIVAL]]
SAVED = {"format": FORMAT, "namespace": ["a"], "key": "k", "now": ROW, "past": [ROW]}
CHAT = [
    {
        "title": "t",
        "mapping": {
            "x": {
                "message": {
                    "author": {"role": "user"},
                    "content": {"parts": ["hello"]},
                    "create_time": 1.7e9,
                }
            }
        },
    }
]
MORE: list[dict[str, Any]] = [
    {"event": "run.started", "run_id": "r"},
    {"event": "node.started", "run_id": "r", "step": 1, "node": "a", "attempt": 1},
    {"event": "model.ended", "step": 1, "node": "a", "gen_ai.usage.input_tokens": 5},
    {"event": "trace.lost", "count": 2},
    {"event": "run.ended", "run_id": "r", "status": "ok"},
]
EVENTS = "".join(
    json.dumps({"v": 1, "ts": f"2026-01-01T00:00:0{i}.000Z", "thread_id": "t", "pid": 7, **more})
    + "\n"
    for i, more in enumerate(MORE)
).encode()
PLAIN = pack_items([b"\x81\xa1a\x01", None, ("bytes", b"x" * 300)])
VALUE = SERDE.dumps_typed({"a": [1, "x", None, 2.5, {"b": (1, 2)}]})[1]

TARGETS: dict[str, Target] = {
    "skill_md": Target(skill_md, (SKILL, b"---\n---\n", b"# only a body")),
    "skill_manifest": Target(read_manifest, (MANIFEST,)),
    "skill_cases": Target(
        lambda data: read_cases(file("cases.tsv", data)),
        (b"direct\tpdf|doc\tread this PDF\nnone\t-\tbook a table\n",),
    ),
    "skills_lock": Target(
        lambda data: read_lock(file("skills.lock", data)), (json.dumps(LOCK).encode(),)
    ),
    "registry_copy": Target(
        registry_copy, (b'{"names": {"pdf": "00"}, "blobs": {"00": "x"}}', b"{}")
    ),
    "policy_file": Target(
        lambda data: parse_rules(text(data), source="x"), (RULES, b'{"version": 1}')
    ),
    "policy_filter": Target(
        lambda data: parse_filter(text(data), allow=True),
        (b"https://.api.example.com:443/v1?a=b*", b"file:*", b"*"),
    ),
    "policy_url": Target(policy_url, (b"https://docs.python.org/3/x?y=1#z", b"http://0x7f.1/")),
    "workspace_tree": Target(decode_tree, (TREE, b"[]")),
    "workspace_blocks": Target(tree_and_blocks, (bytes(32),)),
    "workspace_step": Target(decode_step, (json.dumps({"root": DIGEST, "parents": []}).encode(),)),
    "memory_line": Target(
        lambda data: Saved.of_line(text(data)),
        (json.dumps(SAVED).encode(),),
        (InvalidNamespaceError,),
    ),
    "memory_record": Target(memory_record, (ormsgpack.packb(ROW), ormsgpack.packb(FACT))),
    "memory_markdown": Target(markdown, (b"# Memory\n\n## kind\n\n- one\n  more\n```\nx\n```\n",)),
    "memory_chats": Target(chats, (json.dumps(CHAT).encode(),)),
    "event_log": Target(event_log, (EVENTS,)),
    "outcomes": Target(
        lambda data: JsonlOutcomes(file("outcomes.jsonl", data)).read(),
        (b'{"model": "a:b", "score": 0.5, "task": "t", "text": "x"}\n',),
    ),
    "text_model": Target(lambda data: load_text_model(file("m.npz", data)), (_npz(),)),
    "crash_ledger": Target(crash_ledger, (b"sent mail #0123456789abcdef\nwrote\n",)),
    "state_row": Target(
        lambda data: unpack_items(unwrap(data)), (wrap(PLAIN), b"\x00\x90"), sized=True
    ),
    "state_value": Target(lambda data: SERDE.loads_typed(("msgpack", data)), (VALUE,)),
    "encrypted_row": Target(
        lambda data: unwrap(data, CIPHER, BOUND), (wrap(PLAIN, CIPHER, BOUND),)
    ),
    "wrapped_key": Target(VAULT.unwrap, (VAULT.wrap(KEY),)),
    "blob": Target(
        lambda data: content.decode(DIGEST, data[0] if data else 0, 1000, data[1:]),
        (bytes([1]) + content.encode(DIGEST, b"x" * 1000)[1], bytes(1001)),
    ),
    "sealed_blob": Target(
        lambda data: content.decode(DIGEST, 3, 1000, data, SEAL),
        (content.encode(DIGEST, b"x" * 1000, SEAL)[1],),
    ),
    "langgraph_json": Target(
        langgraph_json,
        (b'{"dependencies": ["."], "graphs": {"a": "./agent.py:graph"}, "env": ".env"}',),
    ),
    "graph_code": Target(graph_code, (b"import time\nasync def f(state):\n    time.sleep(1)\n",)),
    "duration": Target(lambda data: seconds(text(data)), (b"10m", b"24h", b"1.5d")),
    "settings_url": Target(
        settings_url,
        (b"postgresql://u:p@h:5432/d", b"redis://:p@[::1]:6379/0"),
    ),
}


def main() -> None:
    """Run one target under atheris."""
    try:
        import atheris  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        sys.exit("atheris is not installed: pip install atheris")
    name, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    for known in [each for each in sys.modules if each.partition(".")[0] == "plumbgraph"]:
        del sys.modules[known]  # so that they are loaded once more, instrumented
    with atheris.instrument_imports(include=["plumbgraph"]):
        target = runpy.run_path(__file__, run_name="targets")["TARGETS"][name]
    corpus = PLACE / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
