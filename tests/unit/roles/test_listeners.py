"""What listens where: the documents say what the roles state, and the rules hold it and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from rendered_roles import PROJECT, RenderedRoles

LISTENERS: list[dict[str, Any]] = yaml.safe_load((PROJECT / "roles/site_facts/vars/main.yml").read_text())[
    "__site_facts_listeners"
]
PEOPLE = {"users", "operators", "monitoring"}
WORDS = {"group", "variable", "last", "port", "protocol", "from", "what", "units", "researchers", "unprivileged"}


def of(listener: dict[str, Any]) -> str:
    """The cell that names a listener's port."""
    if "port" in listener:
        return str(listener["port"])
    return " to ".join(f"`{listener[key]}`" for key in ("variable", "last") if key in listener)


def test_the_operators_page_has_all_listeners_and_no_other() -> None:
    page = (PROJECT / "docs/operators.md").read_text()
    section = page.partition("## What listens where\n")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in re.findall(r"(?m)^\|.*\|$", section)]
    stated = [
        (
            "all machines" if listener["group"] == "all" else f"`{listener['group']}`",
            of(listener),
            listener["protocol"],
            ", ".join(_said(word) for word in listener["from"]) or "nobody else",
            listener["what"],
        )
        for listener in LISTENERS
    ]
    assert rows[2:] == stated


def _said(word: str) -> str:
    if word in PEOPLE:
        return f"`firewall_{word}_networks`"
    return "all machines" if word == "all" else f"`{word}`"


def test_a_listener_says_who_connects_in_words_that_there_are() -> None:
    groups = {path.name for path in (PROJECT / "roles").iterdir()} | {"all"}
    for listener in LISTENERS:
        assert set(listener) <= WORDS
        assert listener["group"] in groups
        assert set(listener["from"]) <= groups | PEOPLE


def rules(**changed: Any) -> list[str]:
    """The rules of the example's head and of a storage machine of its first row, which runs monitors too."""

    def found(value: Any) -> Iterator[str]:
        if isinstance(value, dict) and str(value.get("path", "")).endswith("/firewall.nft"):
            yield value["content"]
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from found(part)

    return list(found(json.loads(RenderedRoles(changed).text("firewall"))))


@pytest.fixture(scope="module")
def usual() -> list[str]:
    return rules()


def let_in(text: str) -> set[tuple[str, str]]:
    """Who may connect to which port, over IPv4."""
    chain = text.partition("chain input {")[2].partition("}\n\tchain")[0]
    return set(re.findall(r"ip saddr @(\w+)_ipv4 tcp dport (\S+) accept", chain))


def test_a_machine_lets_in_what_the_roles_of_its_groups_need(usual: list[str]) -> None:
    head, store = map(let_in, usual)
    assert head == {
        ("operators", "22"), ("users", "443"), ("users", "80"), ("jupyterhub", "8003"), ("compute_node", "8003"),
        ("jupyterhub", "8786"),
    }  # fmt: skip
    assert store == {
        ("operators", "22"), ("gateway", "22"), ("all", "3300"), ("all", "6789"), ("all", "6800-7299"),
        ("all", "7443"), ("all", "7600"), ("monitoring", "7600"),
        *((group, "20000-24999") for group in ("jupyterhub", "gateway", "compute_node")),
    }  # fmt: skip


def test_every_word_of_a_rule_is_a_set_of_the_same_table(usual: list[str]) -> None:
    for text in usual:
        assert set(re.findall(r"@(\w+)", text)) <= set(re.findall(r"set (\w+) \{", text))


def test_groups_are_the_addresses_of_their_machines(usual: list[str]) -> None:
    (elements,) = re.findall(r"set compute_node_ipv4 \{[^}]*elements = \{ ([^}]*) \}", usual[0])
    assert elements.split(", ") == [f"10.20.0.{number}" for number in range(21, 27)]


def test_networks_of_both_kinds_go_where_they_belong() -> None:
    (text, _) = rules(firewall_users_networks=["10.1.0.0/16", "2001:db8::/32"])
    assert re.search(r"set users_ipv4 \{[^}]*elements = \{ 10\.1\.0\.0/16 \}", text)
    assert re.search(r"set users_ipv6 \{[^}]*elements = \{ 2001:db8::/32 \}", text)


def test_what_machines_need_of_each_other_is_let_in_from_their_further_networks() -> None:
    (head, store) = rules(firewall_machines_networks=["10.30.0.0/16"])
    assert "elements = { 10.30.0.0/16 }" in store
    assert ("machines", "6800-7299") in let_in(store)
    assert ("machines", "8000") not in let_in(head)


def test_a_listener_of_the_site_s_own_is_let_in_from_its_networks() -> None:
    listeners = [{"port": 9100, "protocol": "udp", "from": ["10.9.0.0/24", "2001:db8::/32"]}]
    for text in rules(firewall_site_listeners=listeners):
        assert "\t\tip saddr 10.9.0.0/24 udp dport 9100 accept\n" in text
        assert "\t\tip6 saddr 2001:db8::/32 udp dport 9100 accept\n" in text


def test_researchers_connect_to_what_they_need_and_to_nothing_else(usual: list[str]) -> None:
    ways = [set(re.findall(r"ip daddr @(\w+)_ipv4 (.*) accept", text)) for text in usual]
    ever = {("resolvers", "meta l4proto { tcp, udp } th dport 53"), ("compute_node", "tcp dport 20000-24999")}
    ever |= {("gateway", "tcp dport 8003")}
    assert ways == [ever | {("gateway", "tcp dport 8786")}, ever]
    for text in usual:
        assert "\t\tip daddr @researchers_ipv4 accept\n" in text
        assert "meta skuid 2000-59999 jump researchers" in text
