"""A source written as one word, as on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plumbgraph.skills.registry import RegistrySource
from plumbgraph.skills.sources.base import Source
from plumbgraph.skills.sources.directory import DirectorySource
from plumbgraph.skills.sources.git import GitSource
from plumbgraph.skills.sources.packages import PackageSource

_REDIS = ("redis://", "rediss://", "unix://", "valkey://", "valkeys://")


def source_of(address: str, *, cache: Any = "default") -> Source:
    """The source an address names.

    A folder is its path; a git clone `git+PATH@REF#FOLDER`; an installed package
    `package:NAME/FOLDER`; a shared registry its Redis URL, with `#REGISTRY@TAG` at the end.
    """
    if address.startswith("git+"):
        where, _, folder = address.removeprefix("git+").partition("#")
        clone, _, ref = where.rpartition("@") if "@" in where else (where, "", "HEAD")
        return GitSource(Path(clone).expanduser(), ref, folder=folder)
    if address.startswith("package:"):
        package, _, folder = address.removeprefix("package:").partition("/")
        return PackageSource(package, folder or "skills")
    if address.startswith(_REDIS):
        url, _, name = address.partition("#")
        registry, _, tag = name.partition("@")
        return RegistrySource(url, registry=registry or "default", tag=tag or "latest")
    return DirectorySource(Path(address).expanduser(), cache=cache)
