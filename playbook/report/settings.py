"""The settings `[compliance]`: what only the organisation can say, and the legal case tells."""

from __future__ import annotations

from typing import Literal

from services.common.settings import Name, Section


class WorkloadDeclaration(Section):
    """`[compliance.workloads.NAME]`: what is declared of a workload's data."""

    purpose: str = ""
    """Why the data are processed (GDPR Art. 30(1)(b))."""
    legal_basis: str = ""
    """Which ground of Art. 6, and of Art. 9 where it concerns special categories."""
    data_subjects: str = ""
    """Categories of people whose data are in the prompts."""
    data_categories: str = ""
    """Categories of these data."""
    recipients: str = ""
    """Who gets the answers."""
    erasure: str = ""
    """Time limits for erasure, where there are any."""
    necessity: str = ""
    """Why a language model and these data are needed, and what less would not do (GDPR Art. 35(7)(b))."""
    assessment: str = ""
    """Whether an impact assessment is needed, and why (GDPR Art. 35(1), (3))."""
    ai_act_risk: Literal["", "minimal", "limited", "high", "prohibited"] = ""
    """Risk class by the EU AI Act, as the organisation judges it."""


class Processor(Section):
    """`[compliance.processors.NAME]`: a provider, by the name that its upstreams have."""

    agreement: str = ""
    """The data-processing agreement: which, and of when."""
    transfer: str = ""
    """Ground of a transfer to a third country (GDPR Art. 45, 46 or 49); `none` if there is no transfer."""
    retention: str = ""
    """How long it keeps prompts and answers, by its terms."""
    sub_processors: str = ""
    """Where its own list of further processors is (GDPR Art. 28(2))."""


class Compliance(Section):
    """`[compliance]`: the organisation itself."""

    controller: str = ""
    """Name and address of the controller (GDPR Art. 30(1)(a))."""
    joint_controller: str = ""
    """Name and address of a joint controller, where there is one (GDPR Art. 26, 30(1)(a))."""
    contact: str = ""
    """Whom to write to."""
    dpo: str = ""
    """The data protection officer."""
    representative: str = ""
    """The representative in the Union, where one is needed."""
    workloads: dict[Name, WorkloadDeclaration] = {}
    """Declarations by workload."""
    processors: dict[Name, Processor] = {}
    """Providers by name."""


class ComplianceConfig(Section):
    """The section by itself."""

    compliance: Compliance = Compliance()
