"""Which kind of trouble an error is, by its class."""

from __future__ import annotations

_BY_CLASS = {
    "GraphRecursionError": "stopped_by_budget",
    "BudgetSpent": "stopped_by_budget",
    "LoopSuspected": "looping",
    "BlobMissing": "lost_workspace",
    "BlobCorrupt": "lost_workspace",
    "WorkspaceConflict": "workspace_error",
    "WorkspaceQuota": "workspace_error",
    "WorkspaceUnsafe": "workspace_error",
    "WorkspaceUnwritable": "workspace_error",
    "WorkspaceChanging": "workspace_error",
    "VersionConflict": "memory_conflict",
    "MemoryInvalid": "memory_error",
    "MemoryExpired": "memory_error",
    "NotReplicated": "memory_error",
    "PolicyDenied": "denied",
    "NoModelAllowed": "denied",
    "AccessDenied": "denied",
    "SkillTampered": "skill_error",
    "SkillInvalid": "skill_error",
    "SkillNotFound": "skill_error",
    "EffectInDoubt": "effect_in_doubt",
    "StaleWriter": "two_writers",
    "ClaimLost": "two_writers",
    "ThreadBusy": "two_writers",
    "StoreUnavailable": "store_unavailable",
    "ModelUnavailable": "model_error",
    "UnknownPrice": "model_error",
    "ScriptExhausted": "model_error",
}


def cause_of(error_type: str | None) -> str | None:
    """The verdict's code for an error, or `None` where the class says nothing."""
    return _BY_CLASS.get(str(error_type).rpartition(".")[2])
