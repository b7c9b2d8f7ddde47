"""How a folder's database is opened: to be written, to be read only, or not at all, and why.

RocksDB by itself goes on without what it cannot find, and with some bytes it goes on for ever: it makes a new database where the file is missing that names the old one, and takes a cut
manifest for a short one and deletes the files that it does not name. So the folder is looked at first. A *damaged* one is opened to be read,
as far as that goes, and nothing is written to it any more: what is written beside a hole is lost with the next one, and RocksDB tidies up. What is
still in there `driftlog edge salvage` brings into a folder of its own (`salvage`).

A write-ahead log that ends within an entry is no damage, for a power cut leaves it so: what was answered was synced, and what was synced is whole.
Damage is an entry that cannot be read and has others behind it. One that was cut between two entries looks like one that never had more. The cloud
tells them apart, where it knows of more than the folder: that is a restored folder, and it gets a new life.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import structlog
from rocksdict import AccessType, BlockBasedOptions, Cache, ColumnFamily, DBRecoveryMode, Options, Rdict

from driftlog_edge.errors import DiskFull, EdgeError, StoreBusy, StoreDamaged, StoreFailed
from driftlog_edge.ports import Family
from driftlog_edge.store import key_file
from driftlog_edge.store.sizes import DEFAULT, Sizes

log = structlog.get_logger()

_BLOCK = 32 << 10
"""Of RocksDB's log format, in which a manifest is written; each record has a head of checksum, length and type."""
_HEAD = struct.Struct("<IHB")
_BLOCK_IN_CACHE = 8 << 10
"""About what a block of rows takes there; an estimate by which the cache is laid out."""
_FILTER_BITS = 10
"""A key, of the filter by which a file is asked whether it has one: most rows that come in are looked for in vain. One in a hundred is read for nothing."""
_OPENING_THREADS = 1
"""That open the files of a family. RocksDB would start sixteen for each family, however few its files: 150 threads for nothing at each start."""
_LAST_KIND = 4
"""The kinds that are written here are whole, first, middle, last. RocksDB never comes to an end of a log that seems to end within one of the
kinds above them."""
_FILES = re.compile(r"[^\s/\\]+\.(?:sst|log)\b|MANIFEST-\d+|CURRENT")
_DAMAGE = ("Corruption", "No such file", "Column family not found")
_WHOLE = DBRecoveryMode.tolerate_corrupted_tail_records()
_UP_TO_IT = DBRecoveryMode.point_in_time()
_BEHIND_IT = DBRecoveryMode.skip_any_corrupted_record()
"""How much of a damaged write-ahead log is taken."""
REMEDY = "bring what is left into a new folder: driftlog edge salvage --from DIR --to DIR"


class Opened(NamedTuple):
    """One opening of the database."""

    db: Rdict
    families: dict[Family, Rdict]
    handles: dict[Family, ColumnFamily]
    refusal: DiskFull | StoreDamaged | None = None
    """Why it can only be read."""


def opened(folder: Path, sizes: Sizes) -> Opened:
    """To read and write, or with the reason to read only. Raises `StoreBusy`, `StoreFailed`; `StoreDamaged` where it cannot even be read."""
    _require_manifest(folder)
    _require_an_end(folder)
    try:
        _require_log(folder)
        return _open(folder, sizes=sizes)
    except DiskFull as error:
        return _open(folder, AccessType.read_only())._replace(refusal=error)
    except StoreDamaged as damage:
        return _as_far_as_it_goes(folder, damage, sizes)


def to_write(folder: Path, sizes: Sizes) -> Opened:
    """To read and write. Raises `DiskFull`, `StoreBusy`, `StoreFailed`."""
    return _open(folder, sizes=sizes)


def to_salvage(folder: Path, *, whole: bool = True) -> dict[Family, Rdict]:
    """What can be read of a copy that may change; not `whole`: where its manifest was made anew. Raises `StoreFailed`."""
    if whole:
        _require_manifest(folder, holds=True)
    try:
        known = set(Rdict.list_cf(str(folder)))
    except Exception as error:  # rocksdict raises plain Exception for all of RocksDB's errors
        raise translated(error, folder) from error
    families = [family for family in Family if family.value in known]
    return _open(folder, AccessType.read_only(), _BEHIND_IT, lenient=True, families=families).families


def _as_far_as_it_goes(folder: Path, damage: StoreDamaged, sizes: Sizes) -> Opened:
    to_read = AccessType.read_only()
    try:
        if not damage.told or _FILES.search(damage.told):
            return _open(folder, to_read, lenient=True)._replace(refusal=damage)
        # Every file that the manifest names is whole. So it is the log, which RocksDB does not name.
        found, behind = (_open(folder, to_read, mode) for mode in (_UP_TO_IT, _BEHIND_IT))
        if behind.db.latest_sequence_number() > found.db.latest_sequence_number():
            logs = ", ".join(sorted(path.name for path in folder.glob("*.log")))
            what = f"within {logs} are entries that cannot be read, with others behind them (RocksDB: {damage.told})"
            return found._replace(refusal=_damaged(folder, what, damage.told))
    except EdgeError as error:
        raise StoreDamaged(f"{damage}, and not even that", REMEDY, damage.told) from error
    log.warning("the write-ahead log ends within an entry, as a power cut leaves it", folder=str(folder))
    return _open(folder, mode=_UP_TO_IT, sizes=sizes)


def _require_manifest(folder: Path, *, holds: bool = False) -> None:
    """Raise `StoreDamaged` where RocksDB would go on without files that it does not find named. `holds`: it is known that something was written."""
    current = folder / "CURRENT"
    left = sorted(path.name for pattern in ("*.sst", "*.log", "MANIFEST-*") for path in folder.glob(pattern))
    if not current.exists():
        if left:
            raise _unreadable(folder, f"CURRENT is missing beside {_some(left)}")
        return
    manifest = folder / current.read_text(errors="replace").strip()
    if not (holds or (folder / key_file.NAME).exists()) or not manifest.is_file():
        return  # nothing was written yet, or nobody can read it, or RocksDB says it
    if any(framing(manifest.read_bytes())[1:]):
        raise _unreadable(folder, f"{manifest.name} ends within an entry")
    try:
        known = Rdict.list_cf(str(folder))
    except Exception as error:  # rocksdict raises plain Exception for all of RocksDB's errors
        told = translated(error, folder)
        raise _unreadable(folder, _told(str(error)), str(error)) if isinstance(told, StoreDamaged) else told from error
    if lost := sorted({family.value for family in Family} - set(known)):
        raise _unreadable(folder, f"{manifest.name} does not know of {_some(lost)}")


def _require_log(folder: Path) -> None:
    """Raise `StoreDamaged` where RocksDB would go on with an older state."""
    if (folder / key_file.NAME).exists() and (folder / "CURRENT").exists() and not any(folder.glob("*.log")):
        raise _damaged(folder, "its write-ahead log is missing")


def _require_an_end(folder: Path) -> None:
    """Raise `StoreDamaged` where RocksDB would look for the end of a log for ever."""
    for path in sorted(folder.glob("*.log")):
        found = framing(path.read_bytes())
        if found.foreign:
            raise _unreadable(folder, f"{path.name} has at byte {found.end} what is no entry of a write-ahead log")


class Framing(NamedTuple):
    """How far a log of RocksDB's is a row of records, by their heads alone."""

    end: int
    """Where the last whole one ends."""
    cut: bool
    """Does the file end within one?"""
    foreign: bool
    """Does something follow that is no record?"""


def framing(data: bytes) -> Framing:
    """Walk through a log as RocksDB does, which goes on with the next block where a head is none. Checksums it looks at itself."""
    at = end = 0
    while at < len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEAD.size:
            at += left
            continue
        if len(data) - at < _HEAD.size:
            return Framing(end, any(data[at:]), False)
        _, length, kind = _HEAD.unpack_from(data, at)
        if kind > _LAST_KIND and len(data) - at <= left:
            return Framing(end, False, True)
        if kind > _LAST_KIND or not (kind or length) or _HEAD.size + length > left:
            at = min(at + left, len(data))
            continue
        at += _HEAD.size + length
        end = at if at <= len(data) else end
    return Framing(end, at > len(data), False)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _damaged(folder: Path, what: str, told: str = "") -> StoreDamaged:
    return StoreDamaged(f"the store in {folder} is damaged and can only be read: {what}", REMEDY, told)


def _unreadable(folder: Path, what: str, told: str = "") -> StoreDamaged:
    return StoreDamaged(f"the store in {folder} is damaged and cannot be opened: {what}", REMEDY, told)


def _told(text: str) -> str:
    """Which file, and what RocksDB said of it."""
    text = " ".join(text.split())
    named = _FILES.search(text)
    return f"{named[0] if named else 'a file'} cannot be read (RocksDB: {text})"


def _options(
    sizes: Sizes, cache: Cache, *, create: bool = False, lenient: bool = False, mode: DBRecoveryMode | None = None
) -> Options:
    options = Options(raw_mode=True)
    if create:
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_db_write_buffer_size(sizes.buffers)
        options.set_max_total_wal_size(sizes.log)
        options.set_keep_log_file_num(3)
        options.set_max_log_file_size(sizes.told)
        options.set_recycle_log_file_num(0)
    options.set_max_file_opening_threads(_OPENING_THREADS)
    if lenient:
        options.set_paranoid_checks(False)
    options.set_wal_recovery_mode(mode or _WHOLE)
    options.set_write_buffer_size(sizes.buffer)
    options.set_target_file_size_base(sizes.file)
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    table.set_cache_index_and_filter_blocks(True)  # else they grow with the rows, outside of any bound
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_bloom_filter(_FILTER_BITS, False)
    options.set_block_based_table_factory(table)
    return options


def _open(
    folder: Path,
    access: AccessType | None = None,
    mode: DBRecoveryMode | None = None,
    *,
    lenient: bool = False,
    families: Sequence[Family] = tuple(Family),
    sizes: Sizes = DEFAULT,
) -> Opened:
    """To read and write if `access` does not say otherwise; `lenient`: also without files that cannot be read, which is told when they
    are asked for. Raises `DiskFull`, `StoreBusy`, `StoreFailed`."""
    cache = Cache.new_hyper_clock_cache(sizes.cache, _BLOCK_IN_CACHE)
    try:
        db = Rdict(
            str(folder),
            _options(sizes, cache, create=access is None, lenient=lenient, mode=mode),
            {f.value: _options(sizes, cache, lenient=lenient) for f in families},
            access or AccessType.read_write(),
        )
    except Exception as error:  # rocksdict raises plain Exception for all of RocksDB's errors
        raise translated(error, folder) from error
    return Opened(
        db,
        {f: db.get_column_family(f.value) for f in families},
        {f: db.get_column_family_handle(f.value) for f in families},
    )


def close(db: Rdict, folder: Path) -> None:
    """Raises as opening does."""
    try:
        db.close()
    except Exception as error:  # rocksdict's, as above
        raise translated(error, folder) from error


def translated(error: Exception, folder: Path) -> EdgeError:
    """What RocksDB said, as one of ours."""
    text = " ".join(str(error).split())
    if "lock" in text.lower() and ("hold" in text.lower() or "LOCK" in text):
        return StoreBusy(
            f"data folder {folder} is held by another process", "stop that agent, or give this one another data_dir"
        )
    if "No space left" in text or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return DiskFull(f"no space left for {folder}", "free space; nothing that was answered is lost")
    if any(mark in text for mark in _DAMAGE):
        return _damaged(folder, _told(text), text)
    return StoreFailed(f"RocksDB in {folder}: {text}", "see the folder's LOG file")
