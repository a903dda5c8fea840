"""A keyring for a controller under test: it keeps values in that process's memory. Chosen by PYTHON_KEYRING_BACKEND."""

from typing import ClassVar

from keyring.backend import KeyringBackend


class MemoryKeyring(KeyringBackend):
    priority = 5  # type: ignore[assignment]
    name = "memory"
    held: ClassVar[dict[tuple[str, str], str]] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if password.startswith("refuse"):
            raise RuntimeError(f"no room for {password}")
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.held[service, username]
