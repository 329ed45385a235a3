"""Bytes by digest: hashed, split, compressed, sealed, and kept in PostgreSQL or in a folder."""

from plumbgraph.content.collect import Collected, Tracer
from plumbgraph.content.digest import digest_of, is_digest
from plumbgraph.content.folder import FolderBlobs
from plumbgraph.content.postgres import PostgresBlobs
from plumbgraph.content.seal import AesSeal, Seal
from plumbgraph.content.store import BlobStore, Ref

__all__ = [
    "AesSeal",
    "BlobStore",
    "Collected",
    "FolderBlobs",
    "PostgresBlobs",
    "Ref",
    "Seal",
    "Tracer",
    "digest_of",
    "is_digest",
]
