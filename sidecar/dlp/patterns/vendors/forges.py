"""Code forges: GitHub with its checksums, every GitLab prefix, Bitbucket, Gitea, Gitee, Sourcegraph. Data only.

Formats: docs.github.com ("About authentication to GitHub", the April 2026 notice on installation tokens),
docs.gitlab.com ("Token overview"), support.atlassian.com.
"""

from sidecar.dlp.patterns.model import CredentialType
from sidecar.dlp.patterns.vendors.define import cred, sample
from sidecar.dlp.patterns.vendors.structure import base62_crc32, crc_suffix_of_body, letters_and_digits


def _signed(prefix: str) -> str:
    """A token of GitHub's shape whose checksum is right."""
    body = sample(f"{prefix}<b62:30>")[len(prefix) :]
    return f"{prefix}{body}{base62_crc32(body.encode())}"


def _github(id: str, title: str, prefix: str, *doc: str) -> CredentialType:
    return cred(
        id,
        "GitHub",
        title,
        prefix + "[A-Za-z0-9]{36}",
        f"Authorization: token {_signed(prefix)}",
        f"https://x-access-token:{_signed(prefix)}@github.com/o/r.git",
        no=(prefix + "<b62:36>", prefix + "<b62:20>"),
        check=crc_suffix_of_body,
        edge="none",  # its checksum says where it begins and ends
        doc=doc,
    )


def _gitlab(id: str, title: str, prefix: str, least: int = 20) -> CredentialType:
    """A prefixed GitLab token: 20 characters and more, or the routable form with its dots."""
    return cred(
        id,
        "GitLab",
        title,
        prefix + rf"[A-Za-z0-9_-]{{{least},300}}(?:\.[0-9a-z]{{2}}\.[0-9a-z]{{9}}|\.[0-9a-z]{{9}})?",
        f"PRIVATE-TOKEN: {prefix}<url:{least - 1}>a",
        f"token={prefix}<url:{max(50, least)}>.01.<low:9>",
        no=(prefix + "<url:9>", "x" + prefix + "<url:20>", prefix + "some-name-of-a-thing-in-code"),
    )


_GITHUB = (
    _github("github-personal-token", "personal access token (classic)", "ghp_"),
    _github("github-oauth-token", "OAuth access token", "gho_", "gho_<>16C7e42F292c6912E7710c838347Ae178B4a"),
    _github("github-user-token", "App user access token", "ghu_", "ghu_<>16C7e42F292c6912E7710c838347Ae178B4a"),
    _github("github-installation-token", "App installation token, GITHUB_TOKEN", "ghs_"),
    cred(
        "github-installation-jwt",
        "GitHub",
        "App installation token (stateless)",
        r"ghs_[0-9]{1,12}_eyJ[A-Za-z0-9_-]{20,400}\.[A-Za-z0-9_-]{20,1000}\.[A-Za-z0-9_-]{20,700}",
        "GITHUB_TOKEN=ghs_123456_eyJ<url:60>.eyJ<url:240>.<url:170>",
        no=("ghs_123456_eyJ<url:60>", "ghs_eyJ<url:60>.eyJ<url:240>.<url:170>"),
        edge="left",
    ),
    cred(
        "github-refresh-token",
        "GitHub",
        "App refresh token",
        r"ghr_[A-Za-z0-9]{36,90}",
        "refresh_token=ghr_<b62:76>",
        no=("ghr_<b62:20>", "xghr_<b62:76>"),
        doc=("ghr_<>1B4a2e77838347a7E420ce178F2E7c6912E169246c34E1ccbF66C46812d16D5B1A9Dc86A1498",),
    ),
    cred(
        "github-fine-grained-token",
        "GitHub",
        "fine-grained personal access token",
        r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
        "GH_TOKEN=github_pat_11<AZ:8>0<b62:11>_<b62:59>",
        no=("github_pat_11<b62:20>", "github_pat_<b62:22>_<b62:40>"),
        prefix=11,
    ),
    cred(
        "github-token-legacy",
        "GitHub",
        "token or client secret of 40 hex digits",
        r"[0-9a-f]{40}",
        "GITHUB_TOKEN=<hex:40>",
        "github_client_secret: <hex:40>",
        no=("github commit <hex:40>", "GITHUB_SHA=<hex:40>", "GITHUB_TOKEN=<hex:64>"),
        keys=(
            "github_token",
            "gh_token",
            "github_client_secret",
            "github_access_token",
            "github_api_token",
            "github-token",
        ),
        check=letters_and_digits,
    ),
)

_GITLAB = (
    _gitlab("gitlab-access-token", "personal, project or group access token", "glpat-"),
    _gitlab("gitlab-oauth-secret", "OAuth application secret", "gloas-", 64),
    _gitlab("gitlab-deploy-token", "deploy token", "gldt-"),
    _gitlab("gitlab-runner-token", "runner authentication token", "glrt-"),
    _gitlab("gitlab-runner-token-registered", "runner token made by registration", "glrtr-"),
    _gitlab("gitlab-trigger-token", "pipeline trigger token", "glptt-"),
    _gitlab("gitlab-feed-token", "feed token", "glft-"),
    _gitlab("gitlab-incoming-mail-token", "incoming mail token", "glimt-"),
    _gitlab("gitlab-agent-token", "Kubernetes agent token", "glagent-", 50),
    _gitlab("gitlab-scim-token", "SCIM token", "glsoat-"),
    _gitlab("gitlab-feature-flag-token", "feature flags client token", "glffct-"),
    _gitlab("gitlab-workspace-token", "workspace token", "glwt-"),
    cred(
        "gitlab-job-token",
        "GitLab",
        "CI job token",
        r"glcbt-(?:[0-9a-zA-Z]{1,5}_)?[A-Za-z0-9_-]{20,1000}",
        "JOB-TOKEN: glcbt-64_<b62:20>",
        "glcbt-<url:59>a",
        no=("glcbt-64_<b62:4>", "glcb-64_<b62:20>"),
    ),
    cred(
        "gitlab-registration-token",
        "GitLab",
        "runner registration token",
        r"GR1348941[A-Za-z0-9_-]{20}",
        "gitlab-runner register --registration-token GR1348941<url:19>a",
        no=("GR1348941<url:8>", "GR1348942<url:20>"),
    ),
    cred(
        "gitlab-session-cookie",
        "GitLab",
        "session cookie",
        r"[0-9a-f]{32}",
        "Cookie: _gitlab_session=<hex:32>",
        no=("Cookie: session=<hex:32>", "_gitlab_session=<hex:20>"),
        keys=("_gitlab_session",),
        check=letters_and_digits,
    ),
)

_OTHERS = (
    cred(
        "bitbucket-app-password",
        "Bitbucket",
        "app password",
        r"ATBB[A-Za-z0-9]{24}[0-9A-F]{8}",
        "https://user:ATBB<b62:24><HEX:8>@bitbucket.org/o/r",
        no=("ATBB<b62:10>", "ATBX<b62:24><HEX:8>"),
    ),
    cred(
        "bitbucket-access-token",
        "Bitbucket",
        "repository, project or workspace access token",
        r"ATCTT3xFf[A-Za-z0-9_=-]{80,300}=[0-9A-F]{8}",
        "BITBUCKET_TOKEN=ATCTT3xFfGN0<url:160>=<HEX:8>",
        no=("ATCTT3xFfGN0<url:20>=<HEX:8>", "ATCTT3xFfGN0<url:160>"),
    ),
    cred(
        "bitbucket-client-secret",
        "Bitbucket",
        "OAuth consumer secret",
        r"[A-Za-z0-9]{32}",
        "BITBUCKET_CLIENT_SECRET=<b62:32>",
        no=("BITBUCKET_REPO=<b62:32>", "bitbucket_secret=<b62:16>"),
        keys=("bitbucket_client_secret", "bitbucket_secret", "bitbucket-secret", "bitbucket_oauth"),
        check=letters_and_digits,
    ),
    cred(
        "gitea-token",
        "Gitea",
        "access token (Forgejo and Codeberg too)",
        r"[0-9a-f]{40}",
        "GITEA_TOKEN=<hex:40>",
        "CODEBERG_TOKEN: <hex:40>",
        no=("gitea commit <hex:40>", "GITEA_TOKEN=<hex:32>"),
        keys=("gitea_token", "gitea_api", "forgejo_token", "codeberg_token", "gitea-token", "gitea_access"),
        check=letters_and_digits,
    ),
    cred(
        "gitee-token",
        "Gitee",
        "access token",
        r"[0-9a-f]{32}",
        "GITEE_ACCESS_TOKEN=<hex:32>",
        no=("gitee etag <hex:32>", "GITEE_ACCESS_TOKEN=<hex:20>"),
        keys=("gitee_access", "gitee_token", "gitee_pat", "gitee-token"),
        check=letters_and_digits,
    ),
    cred(
        "sourcegraph-token",
        "Sourcegraph",
        "access token",
        r"sgp_(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}",
        "SRC_ACCESS_TOKEN=sgp_<hex:16>_<hex:40>",
        "sgp_local_<hex:40>",
        "sgp_<hex:40>",
        no=("sgp_<hex:20>", "sgx_<hex:40>"),
    ),
    cred(
        "sourcegraph-dotcom-token",
        "Sourcegraph",
        "user gateway token or license key",
        r"(?:sgd|slk)_[0-9a-f]{64}",
        "sgd_<hex:64>",
        "slk_<hex:64>",
        no=("sgd_<hex:40>", "sge_<hex:64>"),
        prefix=4,
    ),
    cred(
        "sourcehut-token",
        "SourceHut",
        "personal access token",
        r"A[=A-Za-z0-9+/_-]{60,120}",
        "SRHT_TOKEN=AA<b64:90>",
        no=("token=AA<b64:90>", "SRHT_TOKEN=AA<b64:20>"),
        keys=("srht_token", "sourcehut_token", "srht-token", "srht_access", "sr.ht"),
        edge="left",
    ),
)

TYPES = _GITHUB + _GITLAB + _OTHERS
