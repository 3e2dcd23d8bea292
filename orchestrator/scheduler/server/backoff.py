"""How long a failed delivery waits for its next attempt."""

from orchestrator.scheduler.server.settings import DeliveryPolicy


def retry_wait_s(policy: DeliveryPolicy, attempt: int) -> float:
    """Return the seconds to wait after failed attempt ``attempt`` (from 1): doubling, jittered."""
    import tenacity  # few servers are told to try again

    state = tenacity.RetryCallState(tenacity.AsyncRetrying(), None, (), {})
    state.attempt_number = attempt
    # Between half and all of the doubling wait, so that a broken receiver gets them spread out.
    full_s = tenacity.wait_exponential(policy.first_wait_s, policy.longest_wait_s)(state)
    return tenacity.wait_random(full_s / 2, full_s)(state)
