"""What all addons of one sidecar share: policy, credentials, and whether what happens can be recorded. Replaced in
whole values by the control channel; holds no logic of its own."""

from dataclasses import dataclass, field

from sidecar.contract import Placeholder
from sidecar.egress.metered import MeteredHosts
from sidecar.egress.policy import CompiledPolicy
from sidecar.secret import Secret
from sidecar.spool import SpoolWriter


@dataclass
class State:
    slug: str
    policy: CompiledPolicy
    spool: SpoolWriter
    secrets: dict[str, Secret] = field(default_factory=dict[str, Secret])
    placeholders: tuple[Placeholder, ...] = ()
    metered: MeteredHosts = field(default_factory=MeteredHosts)
