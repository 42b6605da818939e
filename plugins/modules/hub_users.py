#!/usr/bin/python3
"""Ansible module: the hub forgets users, and with them their servers, tokens and sessions."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: hub_users
short_description: Make sure that the hub knows nothing of certain users
description:
  - Runs on the head. The hub ends a user's server, tokens and sessions as it forgets the user.
options:
  absent: {description: Names of the users., type: list, elements: str, required: true}
  url: {description: Address of the hub's API., type: str, required: true}
  token_file: {description: File of the operator's token., type: path, required: true}
  seconds: {description: How long a server may take to end., type: int, default: 30}
author: The appliance's maintainers
"""
EXAMPLES = r"""
- name: Let the hub forget alice
  hub_users:
    absent: [alice]
    url: http://127.0.0.1:8081/hub/api
    token_file: /var/lib/jupyterhub/operator-token
"""
RETURN = r"""
forgotten:
  description: Names of the users whom the hub knew.
  returned: always
  type: list
"""

PAUSE = 0.5  # s
ANSWER_SECONDS = 30
NOT_YET = (400, 503)  # the server is starting or ending; the hub is


class HubError(Exception):
    """The hub does not do it; the message says what it answered."""


def forget(url: str, token: str, name: str, seconds: float) -> bool:
    """Let the hub forget a user; whether it knew them. Raises HubError where it has not after ``seconds``."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    address = f"{url}/users/{urllib.parse.quote(name)}"
    deadline = time.monotonic() + seconds
    while True:
        request = urllib.request.Request(  # noqa: S310
            address, method="DELETE", headers={"Authorization": f"token {token}"}
        )
        try:
            with opener.open(request, timeout=ANSWER_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            if error.code == 404:
                return False
            fault, again = f"{address}: {error.code}: {_message(said)}", error.code in NOT_YET
        except OSError as error:
            fault, again = f"{address}: {error}", True
        if not again or time.monotonic() > deadline:
            raise HubError(fault)
        time.sleep(PAUSE)


def _message(said: str) -> str:
    try:
        return str(json.loads(said)["message"])
    except (ValueError, KeyError, TypeError):
        return said[:200]


def main() -> None:
    """Let the hub forget all of them."""
    module = AnsibleModule(
        argument_spec={
            "absent": {"type": "list", "elements": "str", "required": True},
            "url": {"type": "str", "required": True},
            "token_file": {"type": "path", "required": True},
            "seconds": {"type": "int", "default": 30},
        },
    )
    asked = module.params
    try:
        token = Path(asked["token_file"]).read_text().strip()
        forgotten = [name for name in asked["absent"] if forget(asked["url"], token, name, asked["seconds"])]
    except (HubError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(forgotten), forgotten=forgotten)


if __name__ == "__main__":
    main()
