"""Where skills come from: folders, git commits, installed packages, a shared registry."""

from plumbgraph.skills.sources.base import Scan as Scan
from plumbgraph.skills.sources.base import Source as Source
from plumbgraph.skills.sources.directory import DirectorySource as DirectorySource
from plumbgraph.skills.sources.git import GitSource as GitSource
from plumbgraph.skills.sources.packages import PackageSource as PackageSource
from plumbgraph.skills.sources.packages import entry_point_sources as entry_point_sources
