"""The life of a service's runs: start, watch, signal, kill, and the one report of the end."""

from __future__ import annotations

import os
import resource
import time

from orchestrator.shim import endings, failpoints, identity, index, launch, signals
from orchestrator.shim.home import EXIT_RECORD, RUN_RECORD, Home, Lock
from orchestrator.shim.index import Index
from orchestrator.shim.launch import Launch, Refused
from orchestrator.shim.pump import MORE, Pump
from orchestrator.shim.run import End, Run
from orchestrator.shim.tree import FoundTree, OwnTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]

STUCK_EVERY_S = 3.0
TRACED_EVERY_S = 1.0
# A kill loop is woken by every death; this is for those who die without telling us.
KILL_AGAIN_S = 0.1
FOUND_AGAIN_S = 0.2


class Inherited:
    """What the shim changed for itself and a service gets as it was."""

    __slots__ = ("file_size", "umask")

    def __init__(self, umask: int, file_size: tuple[int, int]) -> None:
        self.umask = umask
        self.file_size = file_size


class Life:
    """Holds at most one run, and never starts another while something of it lives."""

    def __init__(
        self,
        names: tuple[str, str],
        home: Home,
        lock: Lock,
        pump: Pump,
        log_index: Index,
        tiers: dict[str, bool],
        emit: Callable[[Json], None],
        watch: Callable[[int], None],
        inherited: Inherited,
    ) -> None:
        self._names = names
        self._home = home
        self._lock = lock
        self._pump = pump
        self._index = log_index
        self._tiers = tiers
        self._emit = emit
        self._watch = watch
        self._inherited = inherited
        self.run: Run | None = None
        self.record: Json = {}
        self.look_at: float | None = None

    # orders

    def start(self, order: Json) -> None:
        """Start a run as ordered, or say why not."""
        run, wanted = int(order["run"]), launch.launch_of(order)
        if self.run is not None:
            self._emit_busy(self.run)
            return
        self._pump.drain(gather=False)
        if wanted.umask is None:
            wanted.umask = self._inherited.umask
        self._add_files(wanted)
        self.record = self._intent(order, run)
        # Before the spawn: what a death in between leaves behind is recognised by it.
        self._home.write(RUN_RECORD, self.record)
        started_wall, started_mono = time.time(), time.monotonic()
        try:
            by_spawn = self._tiers["posix_spawn"]
            pid = launch.start(wanted, by_spawn=by_spawn, own_fsize=self._inherited.file_size)
        except Refused as refused:
            self._refuse(run, refused)
            return
        failpoints.reach("spawn.before_record")
        self._index.run = run
        self.record |= {"started_wall": started_wall, "started_mono": started_mono}
        self._begin(pid)

    def signal(self, order: Json) -> None:
        """Signal the group of a run, wake it if it is stopped, and note that it is to end."""
        number, wanted = int(order["signal"]), int(order["run"])
        run = self.run
        delivered = False
        if run is not None and run.run == wanted:
            run.by_us = run.by_us or "signal"
            delivered = self._signal_group(run, number)
            self._note_stopping(run)
            if run.adopted:
                run.tree.members()
        self._emit({"event": "signalled", "run": wanted, "signal": number, "delivered": delivered})
        self._look_soon()

    def kill(self, order: Json) -> None:
        """KILL a run's tree until it is empty."""
        wanted = int(order["run"])
        self._emit({"event": "killing", "run": wanted})
        if self.run is not None and self.run.run == wanted:
            self.run.by_us = "kill"
            self._begin_kill(self.run)
            self.look()

    def tell_tree(self) -> None:
        """Say what belongs to the run."""
        members = self.run.tree.members() if self.run else []
        pids = [[stat.pid, stat.starttime, stat.comm] for stat in members]
        self._emit({"event": "tree", "run": self.run.run if self.run else None, "pids": pids})

    def is_busy(self) -> bool:
        """Tell, and say to the clients, that a run's tree is not empty."""
        if self.run is not None:
            self._emit_busy(self.run)
        return self.run is not None

    @property
    def last_run(self) -> int:
        """The highest run number used so far, from the index or the record."""
        return max(self._index.run, int(self.record.get("run", 0)))

    def keep(self, record: Json) -> None:
        """Write down who runs, if anybody does."""
        if record:
            self._home.write(RUN_RECORD, record)

    # facts

    def adopt(self, record: Json, end: End | None, tree: FoundTree) -> None:
        """Take over a run that an earlier shim started."""
        self.record = record
        run = Run(record, tree, adopted=True)
        run.end = end
        run.stopping = bool(record.get("stopping"))
        run.by_us = "signal" if run.stopping else None
        if end is None:
            self._watch_leader(run)
        self._index.run = max(self._index.run, run.run)
        self.run = run
        self._look_soon()

    def look(self) -> None:
        """See who died, and do what follows. Called at every wake-up that may be about it."""
        self.look_at = None
        run = self.run
        if run is None:
            endings.reap_strangers()
            return
        is_empty = self._reap_found(run) if run.adopted else self._reap_own(run)
        if run.end is None:
            if run.killing:
                self._go_on_killing(run)
        elif is_empty or run.tree.is_empty():
            self._finish(run)
        elif run.stopping and not run.killing:
            self._tell_leader(run)
            if isinstance(run.tree, FoundTree):
                self.look_at = time.monotonic() + FOUND_AGAIN_S
        else:
            self._note_leftovers(run)
            self._begin_kill(run)
            self._go_on_killing(run)

    # start

    def _add_files(self, wanted: Launch) -> None:
        output = self._home.output_path
        soft = wanted.nofile[0] if wanted.nofile else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        # A description each, fresh for every run: O_NONBLOCK set by one hits nobody else.
        wanted.files += [(1, output, os.O_WRONLY), (2, output, os.O_WRONLY)]
        holder = launch.holder_number(soft)
        if holder is not None:
            # The service's own reading end: no death of ours gives it a broken pipe.
            wanted.files.append((holder, output, os.O_RDONLY))

    def _intent(self, order: Json, run: int) -> Json:
        return {
            "version": 1,
            "stack": self._names[0],
            "service": self._names[1],
            "boot_id": identity.boot_id(),
            "pidns": identity.pid_namespace(),
            "run": run,
            "pid": 0,
            "starttime": 0,
            "pgid": 0,
            "cookie": order["env"].get("ORCH_COOKIE", ""),
            "started_wall": time.time(),
            "started_mono": time.monotonic(),
            "log_offset": self._pump.offset,
            "fifo": list(self._home.fifo_inode),
            "stop_signal": order.get("stop_signal", signals.SIGTERM),
            "spec": order.get("spec"),
            "state": "starting",
        }

    def _refuse(self, run: int, refused: Refused) -> None:
        self._home.remove(RUN_RECORD)
        self.record = {}
        self._emit(
            {
                "event": "refused",
                "run": run,
                "errno": refused.errno,
                "text": refused.text,
                "permanent": refused.permanent,
            }
        )

    def _begin(self, pid: int) -> None:
        stat = identity.read_stat(pid)
        starttime = stat.starttime if stat else 0
        self.record |= {"pid": pid, "starttime": starttime, "pgid": pid, "state": "running"}
        self._home.write(RUN_RECORD, self.record)
        run = Run(self.record, self._tree(pid, starttime), adopted=False)
        self._watch_leader(run)
        self.run = run
        self._index.note(run.log_offset, index.START)
        self._emit(run.spawned())
        endings.make_likelier_victim(pid)

    def _tree(self, pid: int, starttime: int) -> OwnTree | FoundTree:
        if self._tiers["subreaper"]:
            return OwnTree(by_pidfd=self._tiers["pidfd"])
        return self.found_tree((pid, starttime), str(self.record.get("cookie", "")))

    def found_tree(self, leader: tuple[int, int] | None, cookie: str) -> FoundTree:
        """Return the tree of a run whose processes are not below us."""
        by_pidfd = self._tiers["pidfd"]
        return FoundTree(leader, self._home.fifo_inode, cookie, by_pidfd=by_pidfd)

    def _watch_leader(self, run: Run) -> None:
        if self._tiers["pidfd"]:
            run.pidfd = identity.open_pidfd(run.pid, run.starttime)
        if run.pidfd is not None:
            self._watch(run.pidfd)
        elif run.adopted:
            self._look_soon()

    # death

    def _reap_own(self, run: Run) -> bool:
        """Reap all that can be; return whether no child is left, by the kernel's word."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                run.end = run.end or End.unknown()
                return isinstance(run.tree, OwnTree)
            if dead is None:
                self._look_for_tracer(run)
                return False
            if dead.si_pid == run.pid and run.end is None:
                failpoints.reach("exit.before_reap")
                run.end = End.of_waitid(dead)
                self._lock.write(run.ended())
            endings.reap(dead.si_pid)

    def _reap_found(self, run: Run) -> bool:
        """See whether an adopted leader is dead; who reaps it is its new parent."""
        endings.reap_strangers()
        if run.end is None and not identity.is_alive(run.pid, run.starttime):
            run.end = endings.end_of_stranger(run)
            self._lock.write(run.ended())
        elif run.end is None and run.pidfd is None:
            self.look_at = time.monotonic() + FOUND_AGAIN_S
        return False

    def _look_for_tracer(self, run: Run) -> None:
        """Say who keeps a dead leader from being reaped, and look again."""
        if run.end is not None or run.pidfd is None or not identity.has_ended(run.pidfd):
            return
        tracer = identity.tracer(run.pid)
        self.look_at = time.monotonic() + TRACED_EVERY_S
        if tracer and tracer != run.tracer:
            run.tracer = tracer
            self._emit({"event": "traced", "run": run.run, "pid": tracer})

    def _tell_leader(self, run: Run) -> None:
        if not run.told_leader and run.end is not None:
            run.told_leader = True
            self._emit({"event": "leader", "run": run.run} | run.end.fields())

    def _note_leftovers(self, run: Run) -> None:
        if not run.killing:
            left = run.tree.members() or run.tree.members()
            run.leftovers = [(stat.comm, stat.pid) for stat in left]

    def _finish(self, run: Run) -> None:
        """Report the end of a run, then write it down: the report must not wait for a disk."""
        self._drain_rest()
        if run.pidfd is not None:
            os.close(run.pidfd)
        self.run = None
        self.report_end(run.exited(self._pump.offset))

    def report_end(self, event: Json) -> None:
        """Tell the clients of an end, and record it in the index and the folder."""
        self._emit(event)
        failpoints.reach("exit.before_record")
        a, b = event["code"] or 0, event["signal"] or 0
        known = event["code"] is not None or event["signal"] is not None
        self._index.run = max(self._index.run, event["run"])
        self._index.note(
            event["log_offset"], index.EXIT, a & 0xFF, b if known else index.UNKNOWN_END
        )
        kept = ("boot_id", "starttime", "started_wall", "started_mono")
        self._home.write(EXIT_RECORD, event | {name: self.record.get(name) for name in kept})
        self._pump.finish()

    def _drain_rest(self) -> None:
        """Move what the dead have written; a stranger who goes on writing can't hold us up."""
        self._pump.drain(gather=False)
        left = self._pump.waiting()
        goal = self._pump.offset + left
        while self._pump.offset < goal:
            if self._pump.drain(gather=False) != MORE:
                break

    # signals

    def _signal_group(self, run: Run, number: int) -> bool:
        """Signal what is in the leader's group. A reaped leader's number is not trusted."""
        if not run.adopted and run.end is None:
            return endings.signal_group(run.pid, number)
        hit = False
        for stat in run.tree.members():
            if stat.group == run.pid:
                by_pidfd = self._tiers["pidfd"]
                hit |= identity.send_signal(stat.pid, stat.starttime, number, by_pidfd=by_pidfd)
                identity.send_signal(stat.pid, stat.starttime, signals.SIGCONT, by_pidfd=by_pidfd)
        return hit

    def _note_stopping(self, run: Run) -> None:
        """Remember, beyond our own death, that the run is to end."""
        if not run.stopping:
            run.stopping = True
            self.record["stopping"] = True
            self.keep(self.record)

    def _begin_kill(self, run: Run) -> None:
        if not run.killing:
            run.killing = True
            run.killing_since = run.told_stuck = time.monotonic()

    def _go_on_killing(self, run: Run) -> None:
        more = run.tree.kill()
        now = time.monotonic()
        again_s = 0.0 if more else min(KILL_AGAIN_S, 0.002 + (now - run.killing_since) / 4)
        self.look_at = min(self.look_at or now + again_s, now + again_s)
        if now - run.told_stuck >= STUCK_EVERY_S:
            run.told_stuck = now
            pids = [stat.pid for stat in run.tree.members()]
            if pids:
                self._emit({"event": "stuck", "run": run.run, "pids": pids})

    def _emit_busy(self, run: Run) -> None:
        alive = len(run.tree.members())
        self._emit({"event": "busy", "run": run.run, "alive": alive})

    def _look_soon(self) -> None:
        self.look_at = time.monotonic()
