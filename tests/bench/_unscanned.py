"""The sidecar with a scan that finds nothing and costs nothing: what `streams` measures the real one against."""

from sidecar import __main__ as sidecar_main
from sidecar.dlp.engine import Engine, Scan


def _nothing(_engine: Engine, _data: bytes, **_options: object) -> Scan:
    return Scan()


if __name__ == "__main__":
    setattr(Engine, "scan", _nothing)  # noqa: B010  (another signature, on purpose)
    sidecar_main.main()
