"""The shared registry: a fleet's skills on Redis, and the source that reads them."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.errors import PlumbError, SkillInvalid, SkillTampered, StoreUnavailable
from plumbgraph.redis.clients import Command, Redis, RedisPlan
from plumbgraph.skills import registry_plans as plans
from plumbgraph.skills.events import RegistryUnavailable
from plumbgraph.skills.frontmatter import read_frontmatter
from plumbgraph.skills.package import package_digest, read_manifest
from plumbgraph.skills.record import make_record
from plumbgraph.skills.sources.base import Scan
from plumbgraph.skills.values import SKILL_FILE, Diagnostic, Rejected, Skill, SkillRecord
from plumbgraph.tracing import emit

_BLOCK_S = 5.0


class SkillRegistry:
    """Publishes skills for a fleet: versions by digest never change, tags move.

    Args:
        server: URL of a Redis or Valkey, or a `plumbgraph.redis.clients.Redis`.
        registry: Name of the registry; registries share nothing.
        clock: Tells when a version was published.
    """

    def __init__(
        self, server: Redis | str, *, registry: str = "default", clock: Clock = SYSTEM
    ) -> None:
        self.redis = server if isinstance(server, Redis) else Redis(server)
        self.keys = plans.Keys(registry)
        self._clock = clock

    def publish(self, skill: Skill, *, tag: str = "latest", expected: str | None = None) -> str:
        """Publish a skill under a tag and give its digest.

        Args:
            skill: An opened skill, with all its files.
            tag: What to point at it.
            expected: Only if the tag points to this digest now (`"-"`: to nothing).

        Raises:
            VersionConflict: It does not.
        """
        return self.redis.run(self._publish(skill, tag, expected))

    async def apublish(
        self, skill: Skill, *, tag: str = "latest", expected: str | None = None
    ) -> str:
        """See `publish`."""
        return await self.redis.arun(self._publish(skill, tag, expected))

    def move(self, name: str, digest: str, *, tag: str = "latest") -> bool:
        """Point a tag at another published version, for example back; no running thread changes."""
        return self.redis.run(plans.move(self.keys, name, tag, digest))

    async def amove(self, name: str, digest: str, *, tag: str = "latest") -> bool:
        """See `move`."""
        return await self.redis.arun(plans.move(self.keys, name, tag, digest))

    def withdraw(self, name: str, *, tag: str = "latest") -> bool:
        """Take a skill out of a tag; whether it was there."""
        return self.redis.run(plans.withdraw(self.keys, name, tag))

    async def awithdraw(self, name: str, *, tag: str = "latest") -> bool:
        """See `withdraw`."""
        return await self.redis.arun(plans.withdraw(self.keys, name, tag))

    def versions(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """Digest and facts of every published version, the oldest first."""
        return self.redis.run(plans.versions(self.keys, name))

    async def aversions(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """See `versions`."""
        return await self.redis.arun(plans.versions(self.keys, name))

    def current(self, name: str, *, tag: str = "latest") -> str | None:
        """The digest a tag points at, or None."""
        return self.redis.run(plans.current(self.keys, name, tag))

    async def acurrent(self, name: str, *, tag: str = "latest") -> str | None:
        """See `current`."""
        return await self.redis.arun(plans.current(self.keys, name, tag))

    def _publish(self, skill: Skill, tag: str, expected: str | None) -> RedisPlan[str]:
        facts = {"version": skill.record.version, "published_at": round(self._clock.now(), 3)}
        return plans.publish(
            self.keys, skill.name, skill.contents, facts, tag=tag, expected=expected
        )


class RegistrySource:
    """Skills of a shared registry under one tag.

    A scan costs one round trip while nothing changed. When the registry is down the last good
    copy is used and a notice says so: every `SKILL.md`, the files beside it as far as `keep_bytes`
    goes (the smallest skills first), and whatever was opened since the last change.

    Args:
        server: URL of a Redis or Valkey, or a `plumbgraph.redis.clients.Redis`.
        registry: Name of the registry.
        tag: Which versions to follow.
        label: First part of qualified names; the registry's name when not given.
        last_good: A file to remember the last good copy in across processes.
        keep_bytes: How much is held of the files beside each `SKILL.md`.
    """

    def __init__(
        self,
        server: Redis | str,
        *,
        registry: str = "default",
        tag: str = "latest",
        label: str | None = None,
        last_good: Path | str | None = None,
        keep_bytes: int = 16 << 20,
    ) -> None:
        self.redis = server if isinstance(server, Redis) else Redis(server)
        self.keys = plans.Keys(registry)
        self.tag = tag
        self._label = label or registry
        self._file = Path(last_good) if last_good else None
        self._keep_bytes = keep_bytes
        self._lock = threading.RLock()
        self._seen: Scan | None = None
        self._last_id: str | None = None
        self._names: dict[str, str] = {}
        self._blobs: dict[str, bytes] = {}

    @property
    def label(self) -> str:
        """Name of the source."""
        return self._label

    def relabel(self, label: str) -> None:
        """Take another name."""
        self._label, self._seen = label, None

    def scan(self) -> Scan:
        """What the registry offers now, or offered when it last answered."""
        with self._lock:
            try:
                notices = self._update()
            except (StoreUnavailable, ResponseError) as error:
                notices = (self._fall_back(error),)
            if self._seen is None:
                self._seen = self._scan_of()
            return replace(self._seen, notices=notices)

    def skill_md(self, record: SkillRecord) -> bytes:
        """The `SKILL.md` of a version."""
        return self._files(record, only=SKILL_FILE)[SKILL_FILE]

    def files(self, record: SkillRecord) -> Mapping[str, bytes]:
        """Every file of a version, verified against its digest."""
        return self._files(record)

    def wait(self, timeout_s: float) -> bool:
        """Block until something was published since the last scan, at most `timeout_s`."""
        block = max(1, int(min(timeout_s, _BLOCK_S) * 1000))
        seen = self._last_id or plans.START
        command = Command("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", self.keys.log, seen)
        (reply,) = self.redis.send((command,))
        return bool(reply)

    def _update(self) -> tuple[Diagnostic, ...]:
        if self._last_id is not None and self.redis.run(plans.head(self.keys)) == self._last_id:
            return ()
        last_id, names = self.redis.run(plans.listing(self.keys, self.tag))
        self._fetch(names.values(), lenient=True)
        mains = [main for digest in names.values() if (main := self._main_digest(digest))]
        wanted = [*mains, *self._beside(names.values())]
        self._fetch(wanted, lenient=True)
        keep = {*names.values(), *wanted}
        self._blobs = {digest: data for digest, data in self._blobs.items() if digest in keep}
        self._last_id, self._names, self._seen = last_id, names, None
        return self._save()

    def _fetch(self, digests: Iterable[str], *, lenient: bool = False) -> None:
        missing = [digest for digest in digests if digest not in self._blobs]
        if missing:
            self._blobs |= self.redis.run(plans.blobs(self.keys, missing, lenient=lenient))

    def _beside(self, digests: Iterable[str]) -> list[str]:
        """The files beside each `SKILL.md` that are held, the smallest skills' first."""
        packages = []
        for digest in digests:
            with suppress(SkillTampered):
                files = read_manifest(self._blobs.get(digest, b""))
                others = [file for file in files if file.path != SKILL_FILE]
                packages.append((sum(file.size_bytes for file in others), digest, others))
        ordered = sorted(packages, key=lambda each: each[:2])
        sizes = accumulate(size for size, _, _ in ordered)
        return [
            file.digest
            for (_, _, others), so_far in zip(ordered, sizes, strict=True)
            if so_far <= self._keep_bytes
            for file in others
        ]

    def _scan_of(self) -> Scan:
        records: list[SkillRecord] = []
        rejected: list[Rejected] = []
        for name, digest in sorted(self._names.items()):
            path = f"{self.label}/{name}@{digest[:12]}"
            main = self._blobs.get(self._main_digest(digest))
            if main is None:
                fault = Diagnostic(
                    "skills.tampered", "its content is not sound", path, level="error"
                )
                rejected.append(Rejected(path, (fault,)))
                continue
            parsed = read_frontmatter(main, path)
            record = make_record(
                parsed, source=self.label, location=digest, folder=name, fingerprint=digest
            )
            if record is None:
                rejected.append(Rejected(path, tuple(parsed.diagnostics)))
            else:
                records.append(record)
        fingerprint = f"{self.label}:{sorted(self._names.items())}"
        return Scan(tuple(records), tuple(rejected), (), fingerprint)

    def _main_digest(self, digest: str) -> str:
        """Where the `SKILL.md` of a version lies, or nothing when its manifest is not sound."""
        try:
            files = read_manifest(self._blobs.get(digest, b""))
        except SkillTampered:
            return ""
        return next((file.digest for file in files if file.path == SKILL_FILE), "")

    def _files(self, record: SkillRecord, only: str | None = None) -> dict[str, bytes]:
        digest = record.location
        try:
            with self._lock:
                self._fetch([digest])
                files = [f for f in read_manifest(self._blobs[digest]) if only in {None, f.path}]
                self._fetch(f.digest for f in files)
                contents = {file.path: self._blobs[file.digest] for file in files}
        except PlumbError as error:
            raise SkillInvalid(
                f"{record.name!r} cannot be read from the registry: {error.message}",
                path=record.address,
                line=None,
                reason="skills.registry_unavailable",
            ) from error
        if only is None and package_digest(contents) != digest:
            raise SkillInvalid(
                f"{record.name!r} is not what its digest says.",
                path=record.address,
                line=None,
                reason="skills.tampered",
            )
        return contents

    def _fall_back(self, error: Exception) -> Diagnostic:
        if self._last_id is None:
            self._restore()
        emit(RegistryUnavailable(registry=self.keys.registry, error=str(error)))
        message = f"the last good copy with {len(self._names)} skills is used ({error})"
        return Diagnostic("skills.registry_unavailable", message, self.label)

    def _save(self) -> tuple[Diagnostic, ...]:
        """Remember the copy for a time without the registry; a failure is a notice."""
        if self._file is None:
            return ()
        texts = {digest: data.decode("latin-1") for digest, data in self._blobs.items()}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fd, temporary = tempfile.mkstemp(dir=self._file.parent)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(json.dumps({"names": self._names, "blobs": texts}))
            Path(temporary).replace(self._file)
        except OSError as error:
            message = f"the last good copy is not kept ({error.strerror})"
            return (Diagnostic("skills.cache_unwritable", message, str(self._file), level="note"),)
        return ()

    def _restore(self) -> None:
        if self._file is None or not self._file.is_file():
            return
        try:
            data = json.loads(self._file.read_text("utf-8"))
            blobs = {digest: text.encode("latin-1") for digest, text in data["blobs"].items()}
            self._names = {name: str(digest) for name, digest in data["names"].items()}
            self._blobs, self._seen = blobs, None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._blobs, self._names = {}, {}  # damaged, so there is no last good copy
