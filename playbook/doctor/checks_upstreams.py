"""What servers of models tell of themselves means, and what to do. Pure."""

from __future__ import annotations

from playbook.doctor.checks import clock
from playbook.doctor.facts import Capabilities, Home, Replica, Upstream
from playbook.doctor.findings import Finding, State
from playbook.doctor.limits import Limits
from playbook.doctor.words import listed, span
from playbook.lines import without_secrets

CAPABILITIES = "capabilities"
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_MANY = 401, 403, 404, 429


def upstream(found: Upstream, limits: Limits) -> list[Finding]:
    """A server of models that speaks HTTP."""
    part = f"{found.target}: {found.name}"
    told = [_asked(part, found)]
    if found.listed is not None and (absent := found.wanted - found.listed):
        told.append(
            Finding(
                part,
                "models",
                State.WARNING,
                f"it does not list {listed(absent)}",
                f"correct `models` of [upstreams.{found.name}] or the routes, or load the model there",
            )
        )
    elif found.listed is not None and found.wanted:
        told.append(Finding(part, "models", State.OK, f"it lists all {len(found.wanted)} that settings name"))
    if found.clock is not None:
        told.append(clock(part, found.clock, limits))
    told.append(_region(part, found.name, found.region))
    return told


def home(found: Home) -> list[Finding]:
    """A model at home behind Triton's tensor contract."""
    part = f"sovereign: {found.name}"
    told = [_folder(part, found)]
    for replica in found.replicas:
        told += _replica(part, found, replica)
    told.append(_region(part, found.name, found.region))
    return told


def capabilities(found: Capabilities, limits: Limits) -> list[Finding]:
    """What models at home were found to be able to do."""
    if found.problem:
        return [Finding(CAPABILITIES, "probes", State.UNKNOWN, found.problem, _probe_todo(found))]
    if not found.found and not found.at_home:
        return [Finding(CAPABILITIES, "probes", State.OK, "the settings name no model at home to probe")]
    if not found.found:
        return [
            Finding(
                CAPABILITIES,
                "probes",
                State.UNKNOWN,
                "no model at home was probed yet",
                "`homeward doctor --probe` asks each: about ten short legs, which are booked",
            )
        ]
    told = []
    for subject in dict.fromkeys(item.subject for item in found.found):
        own = [item for item in found.found if item.subject == subject]
        when = "" if found.probed else f", probed {span(max(item.age_s for item in own))} ago"
        lacking = [item for item in own if item.passed is False]
        silent = [item for item in own if item.passed is None]
        has = listed([item.name for item in own if item.passed], most=8)
        for item in lacking:
            told.append(
                Finding(
                    CAPABILITIES,
                    f"{subject}: {item.name}",
                    State.WARNING,
                    f"no: {item.found}{when}",
                    "workloads that use it can't move there: serve a model that has it, or leave them",
                )
            )
        for item in silent:
            told.append(
                Finding(
                    CAPABILITIES, f"{subject}: {item.name}", State.UNKNOWN, item.found, _probe_todo(found)
                )
            )
        old = not found.probed and max(item.age_s for item in own) > limits.probes_old_s
        if has:
            told.append(
                Finding(
                    CAPABILITIES,
                    subject,
                    State.WARNING if old else State.OK,
                    f"it has {has}{when}",
                    "`homeward doctor --probe` asks anew" if old else "",
                )
            )
    return told


def _asked(part: str, found: Upstream) -> Finding:
    check, where = "answers", f"{without_secrets(found.base_url)}/models"
    section = f"[upstreams.{found.name}]"
    elsewhere = found.key not in ("set", "none")
    if found.problem and elsewhere:
        return Finding(
            part,
            check,
            State.UNKNOWN,
            f"{where}: {found.problem}; {found.key} is not set here either, so the router runs elsewhere",
            "look at the router's log, or run this where the router runs",
        )
    if found.problem:
        return Finding(
            part,
            check,
            State.FAILED,
            f"{where}: {found.problem}",
            f"correct base_url of {section}, or open the way there (DNS, proxy, firewall)",
        )
    if found.status in (UNAUTHORIZED, FORBIDDEN):
        if elsewhere:
            return Finding(
                part,
                check,
                State.UNKNOWN,
                f"it wants a key, and {found.key} is not set here; the router may have it",
                f"set {found.key} where this command runs, and ask again",
            )
        which = (
            "it wants a key, and settings name none" if found.key == "none" else "it does not take the key"
        )
        return Finding(
            part,
            check,
            State.FAILED,
            f"{found.status}: {which}",
            f"set the key: api_key_env of {section} names its environment variable; restart the router",
        )
    if found.status == NOT_FOUND:
        return Finding(
            part,
            check,
            State.WARNING,
            f"404: there is no {where}",
            f"look whether base_url of {section} has the version, as in https://api.openai.com/v1; some"
            " servers list no models, and then this is all right",
        )
    if found.status == TOO_MANY:
        return Finding(
            part, check, State.WARNING, "429: it takes no more requests now", "look at the account's limits"
        )
    if not 200 <= found.status < 300:
        return Finding(
            part,
            check,
            State.WARNING if found.status < 500 else State.FAILED,
            f"{found.status} from {where}",
            "look at its provider's status page, and ask again",
        )
    return Finding(
        part, check, State.OK, f"{where} answers" + (", and takes the key" if found.key == "set" else "")
    )


def _region(part: str, name: str, region: str) -> Finding:
    if region:
        return Finding(part, "region", State.OK, region)
    return Finding(
        part,
        "region",
        State.WARNING,
        "not set: no data class with `regions` runs here, and the legal case can't say where legs ran",
        f"set region in [upstreams.{name}]",
    )


def _folder(part: str, found: Home) -> Finding:
    check = "model's folder"
    if not found.folder_here:
        return Finding(
            part,
            check,
            State.UNKNOWN,
            f"{found.folder} is not on this machine",
            "look where the router runs: it does not start without",
        )
    if found.folder_problem:
        return Finding(
            part,
            check,
            State.FAILED,
            found.folder_problem,
            f"correct model_dir of [triton.{found.name}]: the folder as published with the model",
        )
    tokens, most = found.context_tokens, found.folder_tokens
    if tokens and most and tokens > most:
        return Finding(
            part,
            check,
            State.WARNING,
            f"context_tokens is {tokens:,}; the model's config.json allows {most:,}",
            f"lower context_tokens of [triton.{found.name}], or leave it out",
        )
    context = "unknown" if not tokens else f"{tokens:,}"
    return Finding(
        part, check, State.OK, f"{found.folder}: template and tokenizer read; context {context} tokens"
    )


def _replica(part: str, found: Home, replica: Replica) -> list[Finding]:
    check = f"replica {replica.address}"
    if replica.unasked:
        return [
            Finding(
                part, check, State.UNKNOWN, replica.unasked, "run this where the router runs, which has them"
            )
        ]
    if replica.problem:
        return [
            Finding(
                part,
                check,
                State.FAILED,
                replica.problem,
                "start it (deploy/triton/gpu/serve.sh, or `make run` for the embedded one), or correct"
                f" replicas of [triton.{found.name}]",
            )
        ]
    told = f"Triton {replica.version}"
    unready = {version: state for version, state in replica.states.items() if state != "READY"}
    if not replica.ready or unready or not replica.states:
        states = ", ".join(f"version {version}: {state}" for version, state in sorted(unready.items()))
        return [
            Finding(
                part,
                check,
                State.FAILED,
                f"{told}: {states or f'model {found.model!r} is not in its repository'}",
                "look into its log; the router loads a model again whose process died, if reload is on",
            )
        ]
    dead = {version: why for version, why in replica.mute.items() if why}
    if dead:
        why = "; ".join(f"version {version or 'newest'}: {text}" for version, text in sorted(dead.items()))
        return [
            Finding(
                part,
                check,
                State.FAILED,
                f"{told} says ready and makes no token: {why}",
                "the model's process has died or hangs: restart its container (docs/gpu.md, Health); only the"
                " embedded Triton is cured by unloading and loading the model",
            )
        ]
    if replica.missing_inputs:
        return [
            Finding(
                part,
                check,
                State.FAILED,
                f"{told}: model {found.model!r} lacks the inputs {listed(replica.missing_inputs)}",
                "serve it by TensorRT-LLM's llmapi backend: deploy/triton/contract has the tensors",
            )
        ]
    made = listed([version or "newest" for version in replica.mute])
    return [Finding(part, check, State.OK, f"{told}, model {found.model!r}: a token from version {made}")]


def _probe_todo(found: Capabilities) -> str:
    if found.probed:
        return 'set HOMEWARD_API_KEY to a key with scopes = ["experiments"], or see to shadow and the router'
    return "see to shadow first; `homeward doctor --probe` asks the models"
