"""A launch's context for tests of providers, with what a test wants to change."""

from app.core.schema import AgentProvider, Bottle, Manifest, ProviderSettings
from app.providers.base import Found, LaunchContext


def manifest(auth_token: str | None = None, prompt: str = "", **settings: object) -> Manifest:
    made = AgentProvider(auth_token=auth_token, settings=ProviderSettings.model_validate(settings))
    return Manifest(bottle=Bottle(agent_provider=made), prompt=prompt)


def context(
    made: Manifest,
    *,
    headless: bool = True,
    task: str | None = "Fix the test",
    model: str | None = None,
    command: tuple[str, ...] = (),
    placeholders: dict[str, str] | None = None,
) -> LaunchContext:
    return LaunchContext(
        manifest=made,
        found=Found("/opt/carboy/x/x", "1.2.3"),
        project='/work/some "project" ü',
        home="/home/agent",
        headless=headless,
        task=task,
        model=model,
        ca_file="/etc/ssl/ca.pem",
        proxy_url="http://127.0.0.1:7878",
        placeholders=placeholders or {},
        command=command,
    )
