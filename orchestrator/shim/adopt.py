"""Finds what an earlier shim of this service left: a live run, its remains, an end untold."""

from __future__ import annotations

import os
import time

from orchestrator.shim import files, identity
from orchestrator.shim.home import EXIT_RECORD, RUN_RECORD, Home, fresh
from orchestrator.shim.life import Life
from orchestrator.shim.pump import ENDED, Pump
from orchestrator.shim.run import End

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.shim.identity import Stat

    Json = dict[str, Any]


def look_back(life: Life, home: Home, pump: Pump, ends: list[Json]) -> Json | None:
    """Adopt what lives; return the end of a run that died untold, as an event for later.

    ``ends`` are ways in which leaders ended, noted by an earlier shim or by who reaped them. The
    FIFO tells whether anybody still writes: so the costly search is made only where one must be.
    """
    record = home.read(RUN_RECORD)
    if record is not None and not _is_whole(record):
        record = None
    if record is not None and _is_told(home, record):
        record = None
    has_writer = pump.drain(gather=False) != ENDED
    if record is not None and fresh(record):
        _reopen_output(home, record)
        return _adopt_recorded(life, record, ends, pump)
    if has_writer:
        _adopt_unrecorded(life, home, record)
        return None
    return _untold(life, record, ends, pump) if record is not None else None


def _adopt_recorded(life: Life, record: Json, ends: list[Json], pump: Pump) -> Json | None:
    pid, starttime = record["pid"], record["starttime"]
    leader = (pid, starttime) if pid else None
    tree = life.found_tree(leader, record["cookie"])
    if leader and identity.is_alive(pid, starttime):
        life.adopt(record, None, tree)
        return None
    members = tree.members()
    if not members:
        # Never started, or dead altogether.
        return _untold(life, record, ends, pump)
    if leader:
        life.adopt(record, _end(record, ends), tree)
    else:
        _adopt_members(life, record, members)
    return None


def _adopt_unrecorded(life: Life, home: Home, record: Json | None) -> None:
    """Take over processes that write into our FIFO and that no record knows."""
    members = life.found_tree(None, "").members()
    if members:
        blank = {"run": life.last_run + 1, "cookie": "", "spec": None, "log_offset": 0}
        _adopt_members(life, record or blank | {"fifo": list(home.fifo_inode)}, members)


def _adopt_members(life: Life, record: Json, members: list[Stat]) -> None:
    """Take the leader to be the session leader among them, or the oldest."""
    oldest_first = sorted(members, key=lambda stat: (stat.pid != stat.session, stat.starttime))
    leader = oldest_first[0]
    cookie = record["cookie"] or _cookie_of(leader.pid)
    run = cookie.rpartition("/")[2]
    found = {
        "version": 1,
        "boot_id": identity.boot_id(),
        "pidns": identity.pid_namespace(),
        "pid": leader.pid,
        "starttime": leader.starttime,
        "pgid": leader.group,
        "cookie": cookie,
        "run": int(run) if run.isdigit() else record["run"],
        "state": "running",
    }
    started_mono = leader.starttime / os.sysconf("SC_CLK_TCK")
    found["started_mono"] = record.get("started_mono", started_mono)
    found["started_wall"] = record.get(
        "started_wall", time.time() - time.monotonic() + started_mono
    )
    record = record | found
    life.keep(record)
    life.adopt(record, None, life.found_tree((leader.pid, leader.starttime), cookie))


def _cookie_of(pid: int) -> str:
    try:
        words = files.read(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return ""
    found = [word[len(b"ORCH_COOKIE=") :] for word in words if word.startswith(b"ORCH_COOKIE=")]
    return found[0].decode("utf-8", "surrogateescape") if found else ""


def _untold(life: Life, record: Json, ends: list[Json], pump: Pump) -> Json | None:
    if not record["pid"]:
        return None
    life.record = record
    end = _end(record, ends)
    return {
        "event": "exit",
        "run": record["run"],
        "pid": record["pid"],
        **end.fields(),
        "wall": time.time(),
        "mono": time.monotonic(),
        "log_offset": pump.offset,
        "leftovers": [],
        "by_us": None,
    }


def _end(record: Json, ends: list[Json]) -> End:
    """Return how the recorded leader ended, from whoever still knows; never invented."""
    who = (record["boot_id"], record["pid"], record["starttime"])
    for ended in ends:
        if (ended.get("boot_id"), ended.get("pid"), ended.get("starttime")) != who:
            continue
        if "status" in ended:
            return End.of_status(int(ended["status"]))
        return End(ended.get("code"), ended.get("signal"), core=bool(ended.get("core")))
    stat = identity.read_stat(record["pid"])
    if stat is not None and stat.starttime == record["starttime"] and stat.state in "ZX":
        return End.of_status(stat.wait_status)
    return End.unknown()


def _reopen_output(home: Home, record: Json) -> None:
    """Read from the FIFO that the run writes into, if the folder was swept and made again."""
    wanted = tuple(record.get("fifo") or ())
    if not wanted or wanted == home.fifo_inode:
        return
    for number in (1, 2):
        path = f"/proc/{record['pid']}/fd/{number}"
        try:
            stat = os.stat(path)
        except OSError:
            continue
        if (stat.st_dev, stat.st_ino) == wanted and home.adopt_fifo(path):
            return


def _is_whole(record: Json) -> bool:
    kinds = {"run": int, "pid": int, "starttime": int, "cookie": str, "boot_id": str}
    return all(isinstance(record.get(key), kind) for key, kind in kinds.items())


def _is_told(home: Home, record: Json) -> bool:
    told = home.read(EXIT_RECORD)
    return (
        told is not None
        and told.get("run") == record["run"]
        and told.get("boot_id") == record["boot_id"]
        and told.get("starttime") == record["starttime"]
    )
