"""Forms of clouds, forges, databases, models and monitoring that `_dlp_formats.py` leaves out, and how they are known.

Written without a look at the rules or their tests, from the list of type names and titles alone. "Vendor" means that
the vendor's own documentation, specification or source states the form; "scanning" that public documentation of
secret scanners does; "known" is general knowledge, with the name of the usual environment variable before what says
nothing by itself. Imports no rules; every value is random.
"""

import base64
import json
import random
import string

from tests.bench._dlp_computed import SPECIFIED, url64
from tests.bench._dlp_samples import ALNUM, HEX, LOW, UP, URL, Maker, either, form, in_base64, some, uuid4

B64 = ALNUM + "+/"
DIGITS = string.digits
A_TO_P = "ABCDEFGHIJKLMNOP"
CASK = ("ABCDEFGHIJKL", 1)


def _azure_connection(rng: random.Random) -> str:
    key = base64.b64encode(rng.randbytes(32)).decode()
    return rng.choice(
        (
            f"endpoint=https://acme.communication.azure.com/;accesskey={base64.b64encode(rng.randbytes(64)).decode()}",
            f"Endpoint=https://acme.service.signalr.net;AccessKey={key};Version=1.0;",
            f"Endpoint=https://acme.azconfig.io;Id=ab1c-l9-s0:{some(rng, ALNUM, 20)};Secret={key}",
        )
    )


def _publish(rng: random.Random) -> str:
    return (
        '<publishData><publishProfile profileName="acme - Web Deploy" publishMethod="MSDeploy" '
        'publishUrl="acme.scm.azurewebsites.net:443" msdeploySite="acme" userName="$acme" '
        f'userPWD="{some(rng, ALNUM, 60)}" destinationAppUrl="https://acme.azurewebsites.net" /></publishData>'
    )


def _docker(rng: random.Random) -> str:
    login = base64.b64encode(f"alice:{some(rng, ALNUM, 20)}".encode()).decode()
    return json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": login}}})


def _elastic(rng: random.Random) -> str:
    key = base64.b64encode(f"{some(rng, URL, 20)}:{some(rng, URL, 22)}".encode()).decode()
    return f"Authorization: ApiKey {key}"


def _reference(rng: random.Random) -> str:
    return base64.b64encode(f"reftkn:01:1780000000:{some(rng, ALNUM, 27)}".encode()).decode()


def _authress(rng: random.Random) -> str:
    key = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + rng.randbytes(32)).decode()
    return f"sc_{some(rng, LOW, 22)}.{some(rng, LOW, 4)}.acc-{some(rng, LOW, 16)}.{key}"


def _convex(rng: random.Random) -> str:
    made = base64.b64encode(json.dumps({"v2": some(rng, HEX, 64)}, separators=(",", ":")).encode()).decode()
    return f"CONVEX_DEPLOY_KEY=prod:happy-otter-{rng.randint(100, 999)}|{made}"


def _npm(rng: random.Random) -> str:
    password = base64.b64encode(some(rng, ALNUM, 18).encode()).decode()
    return f"//npm.acme.example/:username=alice\n//npm.acme.example/:_password={password}"


def _snyk(rng: random.Random) -> str:
    made = {"e": 1_790_000_000, "h": "snyk.io", "j": some(rng, URL, 22), "s": some(rng, URL, 22), "tid": "AAAAAA"}
    return (
        f"snyk_uat.{some(rng, HEX, 8)}.{url64(json.dumps(made, separators=(',', ':')).encode())}.{some(rng, URL, 86)}"
    )


VENDOR: dict[str, Maker] = {
    **SPECIFIED,
    "ably-api-key": form("ABLY_API_KEY=", (URL, 6), ".", (URL, 6), ":", (URL, 43)),
    "aws-session-token": form("aws_session_token = IQoJb3JpZ2luX2Vj", (B64, 400)),
    "azure-access-key-connection": _azure_connection,
    "azure-logic-app-url": form(
        "https://prod-12.westeurope.logic.azure.com:443/workflows/",
        (HEX, 32),
        "/triggers/manual/paths/invoke?api-version=2016-10-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=",
        (URL, 43),
    ),
    "azure-publish-password": _publish,
    "azure-cosmos-key": form(
        "AccountEndpoint=https://acme.documents.azure.com:443/;AccountKey=",
        (ALNUM, 76),
        "ACDb",
        (ALNUM, 5),
        ("AQgw", 1),
        "==;",
    ),
    "azure-cognitive-key": form("Ocp-Apim-Subscription-Key: ", (HEX, 32)),
    "bitwarden-access-token": form("BWS_ACCESS_TOKEN=0.", uuid4, ".", (ALNUM, 30), ":", in_base64(16)),
    "cloudflare-token": form(either("cfut_", "cfat_", "cfk_"), (ALNUM, 40), (HEX, 8)),
    "confluent-secret": form("CONFLUENT_CLOUD_API_SECRET=cflt", (B64, 60)),
    "convex-deploy-key": _convex,
    "cockroach-api-key": form("CCDB1_", (ALNUM, 22), "_", (ALNUM, 40)),
    "databricks-oauth-secret": form("dose", (HEX, 32)),
    "docker-config-auth": _docker,
    "elastic-api-key": _elastic,
    "gitlab-runner-token-registered": form("glrtr-", (URL, 20)),
    "gitlab-session-cookie": form("Cookie: _gitlab_session=", (HEX, 32)),
    "gitlab-workspace-token": form("glwt-", (URL, 20)),
    "google-hmac-secret": form(
        "[Credentials]\ngs_access_key_id = GOOG1E", (UP, 55), "\ngs_secret_access_key = ", in_base64(30)
    ),
    "gradle-plugin-secret": form("gradle.publish.key=", (ALNUM, 32), "\ngradle.publish.secret=", (ALNUM, 48)),
    "jupyter-token": form("http://localhost:8888/lab?token=", (HEX, 48)),
    "mongodb-service-secret": form("mdb_sa_sk_", (URL, 40)),
    "npm-basic-auth": _npm,
    "packagist-token": form("packagist_", either("ort_", "out_", "uut_"), (HEX, 68)),
    "pgpass-line": form("db.internal.example:5432:prod:app:", (ALNUM, 18)),
    "rancher-token": form("token-", (string.ascii_lowercase + DIGITS, 5), ":", (LOW, 54)),
    "snyk-pat": _snyk,
    "sourcegraph-dotcom-token": form(either("sgd_", "slk_"), (HEX, 64)),
    "teleport-token": form("teleport start --roles=node --token=", (HEX, 32), " --auth-server=auth.example:3025"),
    "vault-unseal-key": form("Unseal Key 1: ", in_base64(33)),
    "volcengine-ark-key": form("ARK_API_KEY=", uuid4),
    "yandex-iam-token": form("t1.9eu", (URL, 120), ".", (URL, 86)),
}

SCANNING: dict[str, Maker] = {
    "amp-api-key": form("sgamp_user_", (UP, 26), "_", (HEX, 64)),
    "authress-key": _authress,
    "azure-annotated-key": form((ALNUM, 52), "JQQJ99B", CASK, "ACYeBjFXJ3w3AAABACOG", (ALNUM, 4)),
    "azure-devops-pat": form((ALNUM, 52), "JQQJ99B", CASK, "ACAAAAAAAAAAAAASAZDO", (ALNUM, 4)),
    "azure-container-registry-key": form((B64, 42), "+ACR", ("ABCD", 1), (ALNUM, 5)),
    "azure-functions-key": form((URL, 44), "AzFu", (ALNUM, 5), ("AQgw", 1), "=="),
    "azure-marked-key-32": form(
        (B64, 33), either("AIoT", "+ASb", "+AEh", "+ARm"), ("ABCDEFGHIJKLMNOP", 1), (ALNUM, 5), "="
    ),
    "azure-marked-key-64": form((B64, 76), either("APIM", "+ABa", "+AMC"), (ALNUM, 5), ("AQgw", 1), "=="),
    "azure-redis-key": form((ALNUM, 33), "AzCa", (A_TO_P, 1), (ALNUM, 5), "="),
    "azure-search-key": form((ALNUM, 42), "AzSe", ("ABCD", 1), (ALNUM, 5)),
    "azure-storage-key": form((B64, 76), "+ASt", (ALNUM, 5), ("AQgw", 1), "=="),
    "confluent-secret-legacy": form("CONFLUENT_CLOUD_API_SECRET=", (B64, 64)),
    "harness-token": form(either("pat.", "sat."), (URL, 22), ".", (HEX, 24), ".", (ALNUM, 20)),
    "hcp-client-secret": form("HCP_CLIENT_SECRET=", (URL, 64)),
    "jfrog-reference-token": _reference,
    "newrelic-admin-key": form("NRAA-", (HEX, 27)),
    "wandb-api-key-v1": form("wandb_v1_", (ALNUM, 27), "_", (ALNUM, 49)),
}

KNOWN: dict[str, Maker] = {
    "ai21-api-key": form("AI21_API_KEY=", (ALNUM, 32)),
    "aiven-token": form("AVNS_", (URL, 19)),
    "alchemy-key": form("https://eth-mainnet.g.alchemy.com/v2/", (URL, 32)),
    "anaconda-token": form("ANACONDA_API_TOKEN=", (string.ascii_lowercase, 2), "-", uuid4),
    "anyscale-secret": form("esecret_", (LOW, 26)),
    "appveyor-token": form("APPVEYOR_TOKEN=v2.", (LOW, 20)),
    "assemblyai-api-key": form("ASSEMBLYAI_API_KEY=", (HEX, 32)),
    "baseten-api-key": form("BASETEN_API_KEY=", (ALNUM, 8), ".", (ALNUM, 32)),
    "bitbucket-client-secret": form("BITBUCKET_CLIENT_SECRET=", (ALNUM, 32)),
    "browserbase-api-key": form("bb_live_", (URL, 27)),
    "bugsnag-key": form("BUGSNAG_API_KEY=", (HEX, 32)),
    "checkly-api-key": form("CHECKLY_API_KEY=cu_", (HEX, 32)),
    "cloudsmith-key": form("CLOUDSMITH_API_KEY=", (HEX, 40)),
    "comet-api-key": form("COMET_API_KEY=", (ALNUM, 25)),
    "context7-api-key": form("ctx7sk-", uuid4),
    "coralogix-key": form("cxtp_", (ALNUM, 30)),
    "database-url": form(
        either("mssql://sa:", "clickhouse://app:", "neo4j://neo4j:", "oracle://app:"),
        (ALNUM, 18),
        "@db.internal.example:1433/prod",
    ),
    "daytona-api-key": form("dtn_", (HEX, 64)),
    "digitalocean-spaces-secret": form("SPACES_SECRET_ACCESS_KEY=", (B64, 43)),
    "expo-token": form("EXPO_TOKEN=", (URL, 40)),
    "fauna-secret": form("FAUNA_SECRET=fnAE", (URL, 36)),
    "fly-token-legacy": form("FLY_API_TOKEN=", (URL, 43)),
    "friendli-token": form("flp_", (ALNUM, 46)),
    "gemfury-token": form("GEMFURY_TOKEN=", (ALNUM, 20)),
    "gitee-token": form("GITEE_TOKEN=", (HEX, 32)),
    "github-token-legacy": form("GITHUB_TOKEN=", (HEX, 40)),
    "google-auth-key": form("AQ.Ab8RN6", (URL, 44)),
    "helicone-api-key": form("sk-helicone-", (LOW, 7), "-", (LOW, 7), "-", (LOW, 7), "-", (LOW, 7)),
    "hex-pm-key": form("HEX_API_KEY=", (HEX, 32)),
    "honeycomb-key-classic": form("X-Honeycomb-Team: ", (HEX, 32)),
    "infura-key": form("https://mainnet.infura.io/v3/", (HEX, 32)),
    "jenkins-api-token": form("JENKINS_API_TOKEN=11", (HEX, 32)),
    "logzio-token": form("LOGZIO_TOKEN=", (string.ascii_letters, 32)),
    "neon-password": form(
        "postgresql://neondb_owner:npg_", (ALNUM, 12), "@ep-cool-sun-a1b2.eu-central-1.aws.neon.tech/neondb"
    ),
    "netlify-token-legacy": form("NETLIFY_AUTH_TOKEN=", (URL, 43)),
    "ngrok-token": form("NGROK_AUTHTOKEN=2", (ALNUM, 26), "_", (ALNUM, 21)),
    "openai-refresh-token": form("rt_", (URL, 43), ".", (URL, 43)),
    "openai-session-token": form("sess-", (ALNUM, 40)),
    "ovh-secret": form("OVH_APPLICATION_SECRET=", (ALNUM, 32)),
    "pagerduty-integration-key": form('{"routing_key": "', (HEX, 32), '", "event_action": "trigger"}'),
    "pinecone-api-key-legacy": form("PINECONE_API_KEY=", uuid4),
    "rootly-key": form("rootly_", (HEX, 64)),
    "saucelabs-key": form("SAUCE_ACCESS_KEY=", uuid4),
    "scaleway-secret-key": form("SCW_SECRET_KEY=", uuid4),
    "sentry-token-legacy": form("SENTRY_AUTH_TOKEN=", (HEX, 64)),
    "serpapi-key": form("SERPAPI_API_KEY=", (HEX, 64)),
    "sonarcloud-token": form("SONAR_TOKEN=", (HEX, 40)),
    "sonatype-token": form(
        "<server>\n  <id>central</id>\n  <username>",
        (ALNUM, 8),
        "</username>\n  <password>",
        (B64, 44),
        "</password>\n</server>",
    ),
    "sumologic-key": form("SUMOLOGIC_ACCESSKEY=", (ALNUM, 64)),
    "tencent-secret-key": form("TENCENTCLOUD_SECRET_KEY=", (ALNUM, 32)),
    "together-api-key-legacy": form("TOGETHER_API_KEY=", (HEX, 64)),
    "uptimerobot-key": form("UPTIMEROBOT_API_KEY=u", (DIGITS, 7), "-", (HEX, 24)),
    "vercel-token": form("vcp_", (ALNUM, 56)),
    "xata-api-key": form("XATA_API_KEY=xau_", (ALNUM, 38)),
    "zerotier-token": form("ZEROTIER_CENTRAL_TOKEN=", (ALNUM, 32)),
}
