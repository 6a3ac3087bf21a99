"""Settings that are legal and dangerous. Pure: from settings that were read to warnings."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.classifier.config import ClassifierConfig
from services.common.settings import UNRESTRICTED, DataClass
from services.ledger.config import LedgerConfig
from services.router.config import RouterConfig
from services.shadow.config import ShadowConfig


@dataclass(frozen=True, slots=True)
class Danger:
    """Something that works, and that one should know of."""

    check: str
    found: str
    todo: str


@dataclass(frozen=True, slots=True)
class Configs:
    """What the services are told."""

    router: RouterConfig
    classifier: ClassifierConfig
    shadow: ShadowConfig
    ledger: LedgerConfig


def dangers(configs: Configs, has_price: Callable[[str, str], bool]) -> list[Danger]:
    """All of them.

    Args:
        configs: the settings.
        has_price: whether anybody knows the price of a provider's model.
    """
    rules = (_nowhere, _unowned, _doors, _addresses, _in_the_clear, _secrets, _keys, _budgets)
    told = [danger for rule in rules for danger in rule(configs)]
    return told + list(_prices(configs, has_price))


def _nowhere(configs: Configs) -> Iterator[Danger]:
    """Workloads whose data class leaves no upstream."""
    upstreams = configs.router.upstreams.values()
    for name, workload in configs.ledger.workloads.items():
        rule = configs.ledger.data_classes.get(workload.data_class, UNRESTRICTED)
        if any(_allows(rule, item.target, item.region) for item in upstreams):
            continue
        where = " or ".join(rule.targets) + (f" in {', '.join(rule.regions)}" if rule.regions else "")
        yield Danger(
            f"workload {name}",
            f"its data class {workload.data_class!r} allows only {where}, and no upstream is there: each of"
            " its requests is refused",
            f"set target and region of an upstream, or change [data_classes.{workload.data_class}]",
        )


def _allows(rule: DataClass, target: str, region: str) -> bool:
    return target in rule.targets and (not rule.regions or region in rule.regions)


def _unowned(configs: Configs) -> Iterator[Danger]:
    """Upstreams at home that belong to no pool."""
    pooled = {name for pool in configs.ledger.pools.values() for name in pool.upstreams}
    for name, item in configs.router.upstreams.items():
        if item.target == "sovereign" and name not in pooled:
            yield Danger(
                f"upstream {name}",
                "it is at home and in no pool: what its legs cost is unknown, and so are savings",
                f'name it in the upstreams of a [pools.NAME]: upstreams = ["{name}"]',
            )
    for pool, settings in configs.ledger.pools.items():
        for name in settings.upstreams:
            if name not in configs.router.upstreams:
                yield Danger(
                    f"pool {pool}",
                    f"its upstream {name!r} is none of [upstreams]: its hours are all idle",
                    f"correct upstreams of [pools.{pool}]",
                )


def _doors(configs: Configs) -> Iterator[Danger]:
    """Doors that other machines may reach."""
    inside = {
        "classifier": configs.classifier.classifier.grpc,
        "ledger": configs.ledger.ledger.grpc,
        "shadow": configs.shadow.shadow.grpc,
    }
    if opened := [f"{name} at {address}" for name, address in inside.items() if not loopback(address)]:
        yield Danger(
            "open inside",
            f"{', '.join(opened)}: whoever reaches them may book, register and decide; they ask for no key",
            "let only Homeward's own machines reach these ports (docs/production.md), or bind to 127.0.0.1",
        )
    doors = (configs.router.router.http, configs.router.router.grpc)
    if opened := [address for address in doors if not loopback(address)]:
        yield Danger(
            "open outside",
            f"the router at {', '.join(opened)} has no TLS: keys and prompts go in the clear",
            "put a proxy or an ingress with TLS before it",
        )


def _addresses(configs: Configs) -> Iterator[Danger]:
    """Services that look for another at a port where it does not listen."""
    router, shadow = configs.router.router, configs.shadow.shadow
    links = (
        ("router.classifier", router.classifier, "classifier.grpc", configs.classifier.classifier.grpc),
        ("router.ledger", router.ledger, "ledger.grpc", configs.ledger.ledger.grpc),
        ("router.shadow", router.shadow, "shadow.grpc", shadow.grpc),
        ("shadow.ledger", shadow.ledger, "ledger.grpc", configs.ledger.ledger.grpc),
        ("shadow.router", shadow.router, "router.grpc", router.grpc),
    )
    for caller, asked, listener, address in links:
        # Hosts may differ: one listens at 0.0.0.0, and is asked for by its name.
        if asked.rpartition(":")[2] != address.rpartition(":")[2]:
            yield Danger(
                caller,
                f"it asks at {asked}, and {listener} is {address}",
                f"set {caller} to where that service listens, if nothing forwards the port",
            )


def _in_the_clear(configs: Configs) -> Iterator[Danger]:
    """Prompts that leave the machine without TLS."""
    for name, item in configs.router.upstreams.items():
        url = urlsplit(item.base_url or "https://")
        if url.scheme == "http" and not loopback(url.netloc.rpartition("@")[2]):
            yield Danger(
                f"upstream {name}",
                f"its base_url is {url.scheme}://{url.hostname}: its key and all prompts go in the clear",
                f"use https in [upstreams.{name}] base_url",
            )
    for name, triton in configs.router.triton.items():
        if triton.tls_dir is None and (open_ones := [at for at in triton.replicas if not loopback(at)]):
            yield Danger(
                f"triton {name}",
                f"prompts go to {', '.join(open_ones)} without TLS",
                f"set tls_dir of [triton.{name}], or reach them through a tunnel",
            )


def _secrets(configs: Configs) -> Iterator[Danger]:
    """Secrets in the file."""
    for name, item in configs.router.upstreams.items():
        if item.api_key and not loopback(urlsplit(item.base_url or "").netloc.rpartition("@")[2]):
            yield Danger(
                f"upstream {name}",
                "its key stands in the settings file",
                f'use api_key_env = "NAME" in [upstreams.{name}], and set NAME where the router runs',
            )


def _keys(configs: Configs) -> Iterator[Danger]:
    """Keys that are missing."""
    if not configs.shadow.approvers():
        yield Danger(
            "keys",
            "none has the scope `approvals`: nobody can move a workload, nor roll one back",
            'give one scopes = ["approvals"]; `homeward key new NAME` makes a key',
        )
    if not any("experiments" in key.scopes for key in configs.router.keys.values()):
        yield Danger(
            "keys",
            "none has the scope `experiments`: shadow can ask for no legs",
            'give shadow\'s key scopes = ["experiments"]; HOMEWARD_SHADOW__API_KEY has its secret',
        )
    for name, key in configs.router.keys.items():
        unknown = sorted(set(key.workloads) - {"*"} - set(configs.ledger.workloads))
        if unknown:
            yield Danger(
                f"key {name}",
                f"it names {', '.join(unknown)}, which [workloads] does not have",
                f"correct workloads of [keys.{name}], unless `homeward workload add` has registered it",
            )


def _budgets(configs: Configs) -> Iterator[Danger]:
    """Budgets that cover nothing."""
    for name, budget in configs.ledger.budgets.items():
        if budget.key is not None and budget.key not in configs.router.keys:
            yield Danger(
                f"budget {name}",
                f"its key {budget.key!r} is none of [keys]: it covers no leg",
                f"correct key of [budgets.{name}]",
            )


def _prices(configs: Configs, has_price: Callable[[str, str], bool]) -> Iterator[Danger]:
    """Cloud upstreams whose prices nobody knows."""
    # Legs are priced by what the server calls the model that answered, which need not be the name asked for:
    # a provider with prices of its own in the settings is one that somebody has looked at.
    priced = {item.provider for item in configs.ledger.prices}
    for name, item in configs.router.upstreams.items():
        provider = item.provider or name
        if item.target != "cloud" or provider in priced:
            continue
        models = sorted(named_models(configs.router, name))
        unknown = [model for model in models if not has_price(provider, model)]
        if unknown:
            yield Danger(
                f"upstream {name}",
                f"nobody knows what {', '.join(unknown)} costs at {provider!r}: its legs are booked as"
                " unknown, and budgets can't hold them",
                f'add [[prices]] with provider = "{provider}", or correct provider of [upstreams.{name}]',
            )


def named_models(config: RouterConfig, upstream: str) -> frozenset[str]:
    """The models of an upstream that the settings name without a pattern, as it calls them."""
    own = {name for name in config.upstreams[upstream].models if not any(sign in name for sign in "*?[")}
    routed = {
        route.model
        for model in config.models.values()
        for route in model.routes
        if route.upstream == upstream
    }
    return frozenset(own | routed)


def loopback(address: str) -> bool:
    """True if HOST:PORT is of this machine alone."""
    host = address.rpartition(":")[0] or address
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return address.startswith("unix:")
