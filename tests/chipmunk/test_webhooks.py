"""What apps are told is signed as Standard Webhooks has it, and told again on a schedule."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from datetime import timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from chipmunk import telling, webhooks

MESSAGE = UUID(hex="0" * 31 + "1")
BODY = json.dumps({"type": "ping", "data": {"name": "ü"}}).encode()


def test_a_library_for_standard_webhooks_verifies_what_is_signed() -> None:
    secret, other = webhooks.new_secret(), webhooks.new_secret()
    assert secret.startswith("whsec_")
    assert 24 <= len(b64decode(secret.removeprefix("whsec_"))) <= 64
    headers = webhooks.signed([secret, other], MESSAGE, int(time.time()), BODY)
    assert headers["webhook-id"] == MESSAGE.hex
    for one in (secret, other):
        assert Webhook(one).verify(BODY, headers) == json.loads(BODY)
    for body, given, by in (
        (BODY + b" ", headers, secret),
        (BODY, headers | {"webhook-id": "2"}, secret),
        (BODY, headers | {"webhook-timestamp": str(int(time.time()) - 1)}, secret),
        (BODY, headers, webhooks.new_secret()),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(by).verify(body, given)


def test_attempts_are_further_and_further_apart_and_end() -> None:
    waits = [telling.pause(n, 0) for n in range(1, 11)]
    assert waits[0] == timedelta(seconds=5)
    assert waits[-1] is None
    spread = [wait for wait in waits if wait is not None]
    assert spread == sorted(set(spread))
    assert timedelta(days=3) < sum(spread, timedelta()) < timedelta(days=4)
    assert telling.pause(1, 1) == timedelta(seconds=5.5)
