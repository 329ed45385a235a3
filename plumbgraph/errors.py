"""Every error plumbgraph raises: a code to match on, and a hint that says what to do next.

Each error also inherits the builtin a caller would expect, so `except ConnectionError` and
`except StoreUnavailable` both work. All are picklable with their facts.
"""

from __future__ import annotations

from typing import Any, ClassVar


class PlumbError(Exception):
    """Base of every plumbgraph error.

    Attributes:
        code: Stable dotted name of the failure, for example `state.stale_writer`.
        hint: The next step for the reader, one sentence.
        facts: What the error is about, as keyword values (thread, version, path, …); each is
            also an attribute.
    """

    code: ClassVar[str] = "plumbgraph.error"
    default_hint: ClassVar[str] = "Run `plumbgraph doctor` to look at the set-up."

    def __init__(self, message: str, *, hint: str | None = None, **facts: Any) -> None:
        self.message = message
        self.hint = hint or self.default_hint
        self.facts = facts
        super().__init__(f"{message} {self.hint}" if self.hint else message)

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.facts)


def _rebuild(
    cls: type[PlumbError], message: str, hint: str | None, facts: dict[str, Any]
) -> PlumbError:
    return cls(message, hint=hint, **facts)


class SettingsError(PlumbError, ValueError):
    """A setting, argument or configuration file does not say something usable."""

    code = "settings.invalid"
    default_hint = "Correct the named setting and try again."


class StoreUnavailable(PlumbError, ConnectionError):
    """A database could not be reached or answered with a fault of its own; retrying may help."""

    code = "store.unavailable"
    default_hint = "Check that the server runs and that the URL is right; the call may be retried."


class ServerStartFailed(PlumbError, RuntimeError):
    """An embedded server could not be started."""

    code = "servers.start_failed"
    default_hint = (
        "Run `plumbgraph doctor`, or point PLUMBGRAPH_POSTGRES_URL and PLUMBGRAPH_REDIS_URL "
        "at servers of your own."
    )


class SchemaMismatch(PlumbError, RuntimeError):
    """The database schema is newer than this plumbgraph, incomplete, or not ours."""

    code = "postgres.schema_mismatch"
    default_hint = "Upgrade plumbgraph, or run `plumbgraph setup`."


class AccessDenied(PlumbError, PermissionError):
    """The database role may not do what is needed."""

    code = "postgres.access_denied"
    default_hint = "Let an administrator run the SQL of `plumbgraph setup --print-sql`."


class StaleWriter(PlumbError, RuntimeError):
    """A checkpoint was put on a parent that is no longer the thread's head."""

    code = "state.stale_writer"
    default_hint = (
        "Another run moved this thread on. Start again from its head, "
        'or pass on_stale="fork" to keep both branches.'
    )


class ThreadDeleted(PlumbError, LookupError):
    """The thread was deleted; late writes are refused so that nothing is resurrected."""

    code = "state.thread_deleted"
    default_hint = "Use a new thread_id."


class ThreadNotFound(PlumbError, LookupError):
    """No checkpoint exists for this thread."""

    code = "state.thread_not_found"
    default_hint = "List the known threads with `plumbgraph threads`."


class HistoryNeeded(PlumbError, ValueError):
    """Checkpoints were to be removed that later ones are rebuilt from; nothing was removed."""

    code = "state.history_needed"
    default_hint = "Remove the later runs of the thread as well, or use `prune`, which is safe."


class ClaimLost(PlumbError, RuntimeError):
    """This process no longer owns the thread: its lease ran out and another took over."""

    code = "state.claim_lost"
    default_hint = "Stop this run; the new owner goes on from the last checkpoint."


class ThreadBusy(PlumbError, RuntimeError):
    """Another live process owns the thread."""

    code = "state.thread_busy"
    default_hint = "Wait until its lease ends, or stop the other process."


class TypeRefused(PlumbError, TypeError):
    """A value's type is not allowed in state; it is refused when written, not when read."""

    code = "state.type_refused"
    default_hint = "Add the named type to `allow=[…]` of PlumbSaver."


class DataCorrupt(PlumbError, ValueError):
    """A stored row does not decode, or was tampered with."""

    code = "state.data_corrupt"
    default_hint = "Restore the row from a backup; nothing was changed by reading it."


class EffectInDoubt(PlumbError, RuntimeError):
    """A crash fell between an outside effect and its record; whether it happened is unknown."""

    code = "effects.in_doubt"
    default_hint = "Look at the outside system, then resume with the true outcome."


class WorkspaceUnsafe(PlumbError, ValueError):
    """A path or file kind that must not enter or leave a workspace."""

    code = "workspace.unsafe"
    default_hint = "Remove the named entry, or exclude it."


class WorkspaceConflict(PlumbError, RuntimeError):
    """Two branches changed the same file in different ways."""

    code = "workspace.conflict"
    default_hint = 'Give the branches different files, or pass on_conflict="keep_both".'


class WorkspaceQuota(PlumbError, RuntimeError):
    """The workspace holds more bytes or files than its quota allows."""

    code = "workspace.quota"
    default_hint = "Delete or exclude files, or raise the quota."


class WorkspaceUnwritable(PlumbError, PermissionError):
    """The folder cannot be read or written as needed (facts: path)."""

    code = "workspace.unwritable"
    default_hint = "Check the owner and mode of the named path; nothing recorded was lost."


class WorkspaceChanging(PlumbError, RuntimeError):
    """A file kept changing while it was read (facts: path)."""

    code = "workspace.changing"
    default_hint = "Stop the process that writes it before the node returns, or exclude the file."


class BlobMissing(PlumbError, LookupError):
    """Content named by a digest is not in the store."""

    code = "content.blob_missing"
    default_hint = "Restore the blobs from a backup of the same moment as the checkpoints."


class BlobCorrupt(PlumbError, ValueError):
    """Content does not match its digest."""

    code = "content.blob_corrupt"
    default_hint = "Restore the blob from a backup; nothing was written."


class SkillInvalid(PlumbError, ValueError):
    """A SKILL.md does not follow the standard (facts: path, line)."""

    code = "skills.invalid"
    default_hint = "Run `plumbgraph skills check` on the folder."


class SkillNotFound(PlumbError, LookupError):
    """No source offers a skill of this name."""

    code = "skills.not_found"
    default_hint = "Search with `plumbgraph skills search`."


class SkillTampered(PlumbError, RuntimeError):
    """A skill's files do not match the digest they were locked or published with."""

    code = "skills.tampered"
    default_hint = "Compare with `plumbgraph skills diff`, then lock or install it anew."


class PolicyDenied(PlumbError, PermissionError):
    """A policy rule forbids this (facts: rule)."""

    code = "policy.denied"
    default_hint = "Ask the operator who keeps the named rule."


class NoModelAllowed(PlumbError, PermissionError):
    """Every candidate model was refused (facts: refusals, one rule for each)."""

    code = "routing.no_model_allowed"
    default_hint = "Add a model that satisfies the refusing rules, or change the rules."


class BudgetSpent(PlumbError, RuntimeError):
    """The budget has no room for the cheapest allowed call."""

    code = "routing.budget_spent"
    default_hint = "Raise the budget, or wait for its period to end."


class UnknownPrice(PlumbError, LookupError):
    """No price is known for a model, and counting zero would be wrong."""

    code = "routing.unknown_price"
    default_hint = "Give prices={…} to the router, or install plumbgraph[prices]."


class ModelUnavailable(PlumbError, ConnectionError):
    """No healthy model answered."""

    code = "routing.model_unavailable"
    default_hint = "See the breaker state with `plumbgraph router report`; the call may be retried."


class VersionConflict(PlumbError, RuntimeError):
    """A conditional write met another version (facts: expected, found)."""

    code = "memory.version_conflict"
    default_hint = "Read the item again and apply the change to what you find."


class NotReplicated(PlumbError, ConnectionError):
    """The write was applied, but no replica confirmed it in time."""

    code = "memory.not_replicated"
    default_hint = "Check the replicas; repeat the write under its idempotency_key."


class MemoryInvalid(PlumbError, ValueError):
    """A value, time or option that memory cannot store exactly."""

    code = "memory.invalid"
    default_hint = "Correct the named argument; nothing was written."


class MemoryExpired(PlumbError, LookupError):
    """The item existed and its time to live has ended."""

    code = "memory.expired"
    default_hint = "Read its history, or write it anew."


class LoopSuspected(PlumbError, RuntimeError):
    """The run makes no progress (facts: cycle, since_step, cost_usd)."""

    code = "tracing.loop_suspected"
    default_hint = "See the cycle with `plumbgraph trace THREAD`."


class ScriptExhausted(PlumbError, LookupError):
    """A scripted model was called more often than its script has replies."""

    code = "testing.script_exhausted"
    default_hint = 'Add replies to the script, or pass on_end="repeat" or "cycle".'


class MissingExtra(PlumbError, ImportError):
    """An optional part is not installed (facts: extra)."""

    code = "plumbgraph.missing_extra"

    def __init__(self, message: str, *, hint: str | None = None, **facts: Any) -> None:
        extra = facts.get("extra", "all")
        super().__init__(message, hint=hint or f"pip install 'plumbgraph[{extra}]'", **facts)
