"""What all addons of one sidecar share: policy, credentials, and whether what happens can be recorded. Replaced in
whole values by the control channel; holds no logic but how to keep credentials out of a text."""

from dataclasses import dataclass, field

from sidecar.contract import Placeholder
from sidecar.egress.metered import MeteredHosts
from sidecar.egress.policy import CompiledPolicy
from sidecar.secret import Secret
from sidecar.spool import SpoolWriter

_LINE = 16
"""Characters of a line that stands for its secret."""


@dataclass
class State:
    slug: str
    policy: CompiledPolicy
    spool: SpoolWriter
    secrets: dict[str, Secret] = field(default_factory=dict[str, Secret])
    placeholders: tuple[Placeholder, ...] = ()
    metered: MeteredHosts = field(default_factory=MeteredHosts)

    def without_secrets(self, text: str) -> str:
        """`text` as it may be kept or shown, of one with several lines also where each has something before it."""
        for secret in self.secrets.values():
            if not secret:
                continue
            value = secret.reveal()
            text = text.replace(value, "[secret]")
            for line in value.split("\n") if "\n" in value else ():
                text = text.replace(line, "[secret]") if len(line) >= _LINE else text
        return text
