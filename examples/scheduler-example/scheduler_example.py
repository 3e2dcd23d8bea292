"""Schedule conversations through the scheduler that config/config.json names.

python scheduler_example.py                      connect, schedule one, look at it, cancel it
python scheduler_example.py --schedule           schedule one, and wait until it is delivered
python scheduler_example.py --status ID          look at one
python scheduler_example.py --cancel ID          cancel one
"""

import argparse
import asyncio
import logging
import sys
from datetime import datetime, timedelta

from orchestrator.scheduler import SchedulerService

logger = logging.getLogger("scheduler_example")


async def schedule(service: SchedulerService, text: str, endpoint: str, seconds: float) -> str:
    """Schedule a conversation a while from now, in local time, and return its id."""
    conversation_id = await service.schedule_conversation(
        conversation_text=text,
        scheduled_time=datetime.now() + timedelta(seconds=seconds),
        endpoint=endpoint,
        method="POST",
        additional_info="scheduled by scheduler_example.py",
    )
    if conversation_id is None:
        sys.exit("the conversation was not scheduled")
    print(f"scheduled {conversation_id} in {seconds:g} s")
    return conversation_id


async def schedule_and_wait(service: SchedulerService, options: argparse.Namespace) -> None:
    """Schedule a conversation and follow it until it is delivered."""
    wanted = await schedule(service, options.text, options.endpoint, options.seconds)
    status = None
    while status not in ("Completed", "Failed", "Cancelled"):
        await asyncio.sleep(0.2)
        status = await service.get_conversation_status(wanted)
    print(f"status {status}")
    if status != "Completed":
        sys.exit(1)


async def schedule_and_cancel(service: SchedulerService, options: argparse.Namespace) -> None:
    """Schedule a conversation for later, look at it, and cancel it."""
    wanted = await schedule(service, options.text, options.endpoint, 3600)
    print(f"status {await service.get_conversation_status(wanted)}")
    print(f"cancelled {await service.cancel_conversation(wanted)}")
    print(f"status {await service.get_conversation_status(wanted)}")


async def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Schedule conversations.")
    parser.add_argument("--schedule", action="store_true", help="schedule one and wait for it")
    parser.add_argument("--status", metavar="ID", help="look at a conversation")
    parser.add_argument("--cancel", metavar="ID", help="cancel a conversation")
    parser.add_argument("--text", default="hello from the scheduler example")
    parser.add_argument("--endpoint", default="http://localhost:8000/callback")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long from now; 2")
    options = parser.parse_args()

    service = SchedulerService()
    if not await service.initialize():
        sys.exit("the scheduler cannot be reached")
    try:
        if options.status:
            print(f"status {await service.get_conversation_status(options.status)}")
        elif options.cancel:
            print(f"cancelled {await service.cancel_conversation(options.cancel)}")
        elif options.schedule:
            await schedule_and_wait(service, options)
        else:
            await schedule_and_cancel(service, options)
    finally:
        await service.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    asyncio.run(main())
