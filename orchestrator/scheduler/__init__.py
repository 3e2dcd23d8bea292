"""The scheduler: SchedulerService for applications, and the embedded server."""
