"""What a process is doing, where that explains why it does not answer."""


def holding_back(pid: int) -> str | None:
    """Return why a process can't be expected to answer, or None.

    A debugger's breakpoint and a SIGSTOP both look like a hung service; a restart would destroy
    what somebody is looking at. Source: proc(5), `State` and `TracerPid` of /proc/PID/status.
    """
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return None
    tracer = fields.get("TracerPid", "0").strip()
    if tracer != "0":
        return f"a debugger is attached (pid {tracer})"
    if fields.get("State", "").startswith("T"):
        return "stopped by a signal (SIGSTOP); `kill -CONT` lets it go on"
    return None
