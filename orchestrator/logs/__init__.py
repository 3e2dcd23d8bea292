"""Reading the log files and their index. Imported by supervise and above."""
