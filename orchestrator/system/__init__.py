"""Hands on the machine: processes, shims, probes, ports, locks. Imported by supervise and above."""
