"""File tools for an agent, confined to one folder."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from langchain_core.tools import BaseTool, StructuredTool, ToolException

Folder: TypeAlias = str | Path | Callable[[], str | Path]
"""The folder the tools work in, or a function that tells it at each call."""

_MAX_LISTED = 500
_MAX_LINES = 2_000
_MAX_READ_BYTES = 1_000_000
_MAX_WRITE_BYTES = 1_000_000
_MAX_HITS = 100
_UNFINISHED = ".writing-"


def file_tools(folder: Folder | None = None) -> list[BaseTool]:
    """The tools `list_files`, `read_file`, `write_file` and `search_files`, confined to a folder.

    Paths are relative to the folder; without one, to the workspace of the running node. A path
    that leads out of it, also through a symbolic link, is refused with a message the model can
    read; so is anything that is not a regular file.
    """
    desk = _Desk(_current_workspace if folder is None else folder)
    jobs = (desk.list_files, desk.read_file, desk.write_file, desk.search_files)
    return [_as_tool(job) for job in jobs]


def _as_tool(job: Callable[..., str]) -> BaseTool:
    return StructuredTool.from_function(job, parse_docstring=True, handle_tool_error=True)


def _current_workspace() -> Path:
    from plumbgraph.workspace import Workspace  # noqa: PLC0415 - only where there is one

    return Workspace.current().folder


class _Desk:
    """The folder, and what may be done in it."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def list_files(self, path: str = ".") -> str:
        """List the files below a folder of the workspace, with their sizes in bytes.

        Args:
            path: Folder relative to the workspace; "." is the workspace itself.
        """
        root, start = self._within(path)
        if not start.is_dir():
            raise ToolException(f"There is no folder {path!r}.")
        found = list(islice(_files(start), _MAX_LISTED + 1))
        lines = [f"{_shown(root, file)}\t{file.stat().st_size}" for file in found[:_MAX_LISTED]]
        if len(found) > _MAX_LISTED:
            lines.append(f"(more than {_MAX_LISTED} files; list a folder below)")
        return "\n".join(lines) or f"No files in {path!r}."

    def read_file(self, path: str, first_line: int = 1, max_lines: int = _MAX_LINES) -> str:
        """Read a text file of the workspace.

        Args:
            path: File relative to the workspace.
            first_line: Line to begin with, counted from 1.
            max_lines: How many lines to read at most.
        """
        text = _text_of(self._file(path), path)
        lines = text.splitlines(keepends=True)
        begin, count = max(first_line, 1) - 1, max(1, min(max_lines, _MAX_LINES))
        part = "".join(lines[begin : begin + count])
        rest = len(lines) - begin - count
        if rest > 0:
            part += f"\n({rest} more lines; go on with first_line={begin + count + 1})"
        return part or f"{path!r} has no text from line {begin + 1} on."

    def write_file(self, path: str, content: str) -> str:
        """Write a text file of the workspace, whole; folders are made as needed.

        Args:
            path: File relative to the workspace; an existing file is replaced.
            content: The new text of the file.
        """
        _, target = self._within(path)
        if target.exists() and not target.is_file():
            raise ToolException(f"{path!r} is not a regular file.")
        data = _encoded(content)
        if len(data) > _MAX_WRITE_BYTES:
            raise ToolException(f"At most {_MAX_WRITE_BYTES} bytes can be written at once.")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace(target, data)
        except OSError as fault:
            raise ToolException(f"{path!r} could not be written: {fault.strerror}.") from fault
        return f"Wrote {len(data)} bytes to {path!r}."

    def search_files(self, text: str, path: str = ".") -> str:
        """Find the lines that contain a text, whatever its case, in the files below a folder.

        Args:
            text: What to look for, literally.
            path: Folder relative to the workspace.
        """
        root, start = self._within(path)
        if not text:
            raise ToolException("Say what to look for.")
        hits = list(islice(_hits(root, start, text.casefold()), _MAX_HITS + 1))
        if len(hits) > _MAX_HITS:
            hits[_MAX_HITS:] = [f"(more than {_MAX_HITS} hits; look for something rarer)"]
        return "\n".join(hits) or f"{text!r} was not found below {path!r}."

    def _within(self, path: str) -> tuple[Path, Path]:
        folder = self._folder() if callable(self._folder) else self._folder
        root = Path(folder).resolve()
        try:
            target = (root / path).resolve()
        except (OSError, RuntimeError, ValueError) as fault:
            raise ToolException(f"{path!r} is not a usable path.") from fault
        if not target.is_relative_to(root):
            raise ToolException(
                f"{path!r} lies outside the workspace, so nothing was done. "
                "Use a path relative to the workspace."
            )
        return root, target

    def _file(self, path: str) -> Path:
        _, target = self._within(path)
        if not target.is_file():
            raise ToolException(f"There is no file {path!r}; list_files shows what there is.")
        return target


def _files(start: Path) -> Iterator[Path]:
    """Regular files below `start` in a stable order; links are not followed."""
    for entry in sorted(os.scandir(start), key=lambda each: each.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False) and not entry.name.startswith(_UNFINISHED):
            yield Path(entry.path)


def _hits(root: Path, start: Path, wanted: str) -> Iterator[str]:
    for file in _files(start) if start.is_dir() else [start]:
        try:
            lines = _text_of(file, file.name).splitlines()
        except ToolException:
            continue
        for number, line in enumerate(lines, 1):
            if wanted in line.casefold():
                yield f"{_shown(root, file)}:{number}: {line.strip()[:200]}"


def _text_of(file: Path, path: str) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as handle:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ToolException(f"{path!r} is not a regular file.")
            data = handle.read(_MAX_READ_BYTES + 1)
    except OSError as fault:
        raise ToolException(f"{path!r} could not be read: {fault.strerror}.") from fault
    if len(data) > _MAX_READ_BYTES:
        raise ToolException(f"{path!r} is larger than {_MAX_READ_BYTES} bytes; search it instead.")
    try:
        return data.decode()
    except UnicodeDecodeError as fault:
        raise ToolException(f"{path!r} is not a text file.") from fault


def _encoded(content: str) -> bytes:
    try:
        return content.encode()
    except UnicodeEncodeError as fault:
        raise ToolException(f"The content is not valid Unicode: {fault.reason}.") from fault


def _replace(target: Path, data: bytes) -> None:
    """Put the whole file in place at once, so that a crash leaves the old or the new one."""
    descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            os.fchmod(handle.fileno(), 0o644)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(name, target)  # noqa: PTH105 - atomic, both are in one folder
    except BaseException:
        os.unlink(name)  # noqa: PTH108 - the name is a str
        raise


def _shown(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()
