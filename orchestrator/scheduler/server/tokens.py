"""The tokens that clients get and show: JWTs signed with HS256."""

import hmac
from datetime import UTC, datetime
from uuid import uuid4

from orchestrator.scheduler.clock import Clock
from orchestrator.scheduler.server.settings import Keys

ALGORITHM = "HS256"
SKEW_S = 300
NAME_CLAIM = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"


class TokenRefused(Exception):
    """The token is not good; the text is for ``error_description`` and may be empty."""


class Tokens:
    """Issues tokens for the holders of the API key and checks what comes back."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    @property
    def life_s(self) -> int:
        """Return for how many seconds a new token is good."""
        return self._keys.life_s

    def knows(self, api_key: str) -> bool:
        """Tell whether this is the API key, in constant time."""
        return hmac.compare_digest(api_key.encode(), self._keys.api_key.encode())

    def issue(self, client_id: str) -> str:
        """Return a token for a client."""
        import jwt  # 0.1 s that the first health check need not wait for

        claims = {
            "sub": client_id,
            NAME_CLAIM: client_id,
            "jti": str(uuid4()),
            "exp": self._now_s() + self._keys.life_s,
            "iss": self._keys.issuer,
            "aud": self._keys.audience,
        }
        return jwt.encode(claims, self._keys.signing_key, algorithm=ALGORITHM)

    def client_of(self, token: str) -> str:
        """Return the client that the token was issued for.

        Signature, issuer, audience and expiry (five minutes of skew, as in the .NET service)
        must be good, and the algorithm ours.

        Raises:
            TokenRefused: with what is wrong, in the .NET service's words.
        """
        import jwt  # late, as above

        try:
            claims = jwt.decode(
                token,
                self._keys.signing_key,
                algorithms=[ALGORITHM],
                issuer=self._keys.issuer,
                audience=self._keys.audience,
                leeway=SKEW_S,
                options={"require": ["exp"]},
            )
        except (jwt.PyJWTError, ValueError, OverflowError, TypeError, RecursionError) as error:
            raise TokenRefused(_why(token, error)) from error
        return str(claims.get("sub", ""))

    def _now_s(self) -> int:
        return self._clock.wall_ns() // 1_000_000_000


def _why(token: str, error: Exception) -> str:
    match type(error).__name__:
        case "ExpiredSignatureError":
            return f"The token expired at '{_expiry(_claim(token, 'exp'))}'"
        case "InvalidIssuerError":
            return f"The issuer '{_harmless(_claim(token, 'iss'))}' is invalid"
        case "InvalidAudienceError":
            return f"The audience '{_harmless(_claim(token, 'aud'))}' is invalid"
        case "MissingRequiredClaimError":
            return "The token has no expiration"
        case "InvalidSignatureError":
            return "The signature key was not found"
        case "InvalidAlgorithmError":
            return "The signature is invalid"
        case _:
            return ""


def _claim(token: str, name: str) -> object:
    import jwt  # late, as above

    # Only asked once the signature was found good.
    return jwt.decode(token, options={"verify_signature": False}).get(name)


def _expiry(seconds: object) -> str:
    return datetime.fromtimestamp(float(str(seconds)), UTC).strftime("%m/%d/%Y %H:%M:%S")


def _harmless(value: object) -> str:
    # It goes into a quoted string of a header.
    return "".join(
        c for c in str(value)[:100] if c.isascii() and c.isprintable() and c not in '"\\'
    )
