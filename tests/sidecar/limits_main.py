"""A sidecar with other limits: `LIMITS` in the environment, fields of `sidecar.egress.limits.Limits` as JSON."""

import dataclasses
import json
import os
from typing import Any, cast

from sidecar.__main__ import main
from sidecar.egress import limits
from sidecar.egress.proxy import Proxy

if __name__ == "__main__":
    changed = dataclasses.replace(limits.DEFAULT, **json.loads(os.environ["LIMITS"]))
    cast(dict[str, Any], Proxy.__init__.__kwdefaults__)["limits"] = changed
    main()
