"""Tokens: made, kept for a while, made anew."""

from datetime import datetime

from clocks import TimeOfDay

from appliance.placement.auth.sigv4 import Keys
from appliance.placement.auth.tokens import RENEW, Token, Tokens

ALICE = Keys("AKALICE", "alices-secret")


def header(keys: Keys, moment: datetime) -> str:
    return Token.of(keys, moment).header()


def test_a_token_is_used_for_a_while_then_made_anew_from_the_keys_there_are() -> None:
    clock, held = TimeOfDay(), [ALICE]
    tokens = Tokens(lambda: held[0], clock=lambda: clock.now)
    first = tokens.headers()
    clock.passes(RENEW - 1)
    assert tokens.headers() == first
    clock.passes(1)
    assert tokens.headers() == {"Authorization": header(ALICE, clock.now)}
    held[0] = Keys("AKLAB", "carols-secret")
    assert tokens.headers(refused=True) == {"Authorization": header(held[0], clock.now)}
    clock.passes(-7200)  # the machine's clock was set
    assert tokens.headers() == {"Authorization": header(held[0], clock.now)}
