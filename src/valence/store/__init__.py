"""What is on disk: atomic files, digests, Parquet shards, run directories and their stages."""

from valence.store.directory import NOTE, RunDirectory, Stage
from valence.store.files import (
    PARTIAL,
    digest,
    digest_files,
    read_json,
    read_parquet,
    storage,
    storage_error,
    write_json,
    write_parquet,
    write_text,
    writing,
)

__all__ = [
    "NOTE",
    "PARTIAL",
    "RunDirectory",
    "Stage",
    "digest",
    "digest_files",
    "read_json",
    "read_parquet",
    "storage",
    "storage_error",
    "write_json",
    "write_parquet",
    "write_text",
    "writing",
]
