"""More credential forms: prefix, alphabet, length, where it stands.

Written from general knowledge of the vendors' tokens, before the rules were read; fourteen types were mended
afterwards, the string or the rule, and are no independent evidence (docs/dlp.md names them). Where a form says
nothing by itself, it stands behind the name of its usual environment variable. Imports no rules; every value is random.
"""

import base64
import json
import random
import string
import uuid

from tests.bench._dlp_samples import ALNUM, HEX, LOW, UP, URL, Maker, checked, form, in_base64, some, uuid4

B64 = ALNUM + "+/"
DIGITS = string.digits


def _uuid(before: str = "", after: str = "") -> Maker:
    return form(before, uuid4, after)


def _b64(before: str, size: int, after: str = "") -> Maker:
    return form(before, in_base64(size), after)


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def _intercom(rng: random.Random) -> str:
    number = str(uuid.UUID(int=rng.getrandbits(128))).replace("-", "_")
    return "INTERCOM_ACCESS_TOKEN=" + _coded(f"tok:{number}:1:0") + "="


def _mapbox(rng: random.Random) -> str:
    return "sk." + _coded(json.dumps({"u": "acme", "a": some(rng, LOW, 25)})) + "." + some(rng, URL, 22)


LLM: dict[str, Maker] = {
    "anthropic-oauth-token": form("sk-ant-oat01-", (URL, 93), "AA"),
    "anthropic-session-key": form("sk-ant-sid01-", (URL, 93), "AA"),
    "openai-admin-key": form("sk-admin-", (URL, 74), "T3BlbkFJ", (URL, 74)),
    "cerebras-api-key": form("csk-", (LOW, 48)),
    "cohere-api-key": form("COHERE_API_KEY=", (ALNUM, 40)),
    "deepgram-api-key": form("DEEPGRAM_API_KEY=", (HEX, 40)),
    "elevenlabs-api-key": form("sk_", (HEX, 48)),
    "fireworks-api-key": form("fw_", (ALNUM, 24)),
    "jina-api-key": form("jina_", (ALNUM, 60)),
    "langfuse-secret-key": _uuid("sk-lf-"),
    "langsmith-api-key": form("lsv2_pt_", (HEX, 32), "_", (HEX, 10)),
    "llamacloud-api-key": form("llx-", (ALNUM, 48)),
    "mistral-api-key": form("MISTRAL_API_KEY=", (ALNUM, 32)),
    "nvidia-api-key": form("nvapi-", (URL, 64)),
    "pinecone-api-key": form("pcsk_", (ALNUM, 6), "_", (ALNUM, 63)),
    "runpod-api-key": form("rpa_", (UP, 40)),
    "tavily-api-key": form("tvly-dev-", (ALNUM, 32)),
    "together-api-key": form("tgp_v1_", (URL, 43)),
    "voyage-api-key": form("pa-", (URL, 43)),
    "wandb-api-key": form("WANDB_API_KEY=", (HEX, 40)),
    "firecrawl-api-key": form("fc-", (HEX, 32)),
    "e2b-api-key": form("e2b_", (HEX, 40)),
    "exa-api-key": _uuid("EXA_API_KEY="),
    "brave-search-key": form("BRAVE_API_KEY=BSA", (URL, 28)),
    "cursor-api-key": form("key_", (HEX, 64)),
    "sk-api-key": form("sk-", (HEX, 32)),
    "huggingface-org-token": form("api_org_", (string.ascii_letters, 34)),
    "zhipu-api-key": form("ZHIPUAI_API_KEY=", (HEX, 32), ".", (ALNUM, 16)),
    "modal-token": form("MODAL_TOKEN_SECRET=as-", (ALNUM, 22)),
    "portkey-virtual-key": form("PORTKEY_API_KEY=", (B64, 28)),
}

FORGES: dict[str, Maker] = {
    "github-installation-token": checked("ghs_"),
    "github-refresh-token": form("ghr_", (ALNUM, 76)),
    "gitlab-agent-token": form("glagent-", (URL, 50)),
    "gitlab-feature-flag-token": form("glffct-", (URL, 20)),
    "gitlab-feed-token": form("glft-", (URL, 20)),
    "gitlab-incoming-mail-token": form("glimt-", (ALNUM, 25)),
    "gitlab-job-token": form("glcbt-", (HEX, 2), "_", (URL, 20)),
    "gitlab-oauth-secret": form("gloas-", (HEX, 64)),
    "gitlab-registration-token": form("GR1348941", (URL, 20)),
    "gitlab-runner-token": form("glrt-", (URL, 20)),
    "gitlab-scim-token": form("glsoat-", (URL, 20)),
    "gitlab-trigger-token": form("glptt-", (HEX, 40)),
    "bitbucket-app-password": form("ATBB", (ALNUM, 24), (HEX.upper(), 8)),
    "bitbucket-access-token": form("ATCTT3xFfGN0", (URL, 171), "=", (DIGITS + "ABCDEF", 8)),
    "gitea-token": form("GITEA_TOKEN=", (HEX, 40)),
    "sourcegraph-token": form("sgp_", (HEX, 16), "_", (HEX, 40)),
    "codecov-token": _uuid("CODECOV_TOKEN="),
    "coveralls-token": form("COVERALLS_REPO_TOKEN=", (ALNUM, 33)),
    "circleci-token": form("CCIPAT_", (ALNUM, 22), "_", (HEX, 40)),
    "circleci-token-legacy": form("CIRCLECI_TOKEN=", (HEX, 40)),
    "buildkite-token": form("bkua_", (HEX, 40)),
    "travis-token": form("TRAVIS_TOKEN=", (URL, 22)),
    "drone-token": form("DRONE_TOKEN=", (ALNUM, 32)),
    "snyk-token": _uuid("SNYK_TOKEN="),
    "sonarqube-token": form("squ_", (HEX, 40)),
    "jfrog-api-key": form("AKCp", (ALNUM, 69)),
    "clojars-token": form("CLOJARS_", (HEX, 60)),
    "nuget-key": form("oy2", (LOW, 43)),
    "docker-org-token": form("dckr_oat_", (URL, 32)),
    "npm-token-legacy": _uuid("//registry.npmjs.org/:_authToken="),
    "octopus-api-key": form("API-", (UP, 26)),
    "infracost-key": form("ico-", (ALNUM, 32)),
    "terraform-cloud-token": form((ALNUM, 14), ".atlasv1.", (URL, 67)),
    "nx-cloud-token": _b64("NX_CLOUD_ACCESS_TOKEN=", 54),
}

CLOUDS: dict[str, Maker] = {
    "aws-appsync-key": form("da2-", (LOW, 26)),
    "aws-bedrock-long-term-key": _b64("ABSKQmVkcm9ja0FQSUtleS", 81),
    "alibaba-access-key-id": form("LTAI", (ALNUM, 20)),
    "alibaba-access-key-secret": form("ALIBABA_CLOUD_ACCESS_KEY_SECRET=", (ALNUM, 30)),
    "azure-storage-key-unmarked": _b64("DefaultEndpointsProtocol=https;AccountName=mystore;AccountKey=", 64),
    "azure-ad-client-secret": form((ALNUM, 3), "8Q~", (ALNUM + "~._-", 34)),
    "azure-sas": lambda rng: (
        "https://a.blob.core.windows.net/c/b?sv=2022-11-02&se=2026-01-01&sp=r&sig="
        + base64.b64encode(rng.randbytes(32)).decode().replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    ),
    "azure-shared-access-key": _b64(
        "Endpoint=sb://bus.servicebus.windows.net/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=", 32
    ),
    "azure-devops-pat-legacy": form("AZURE_DEVOPS_EXT_PAT=", (string.ascii_lowercase + "234567", 52)),
    "google-oauth-access-token": form("ya29.a0", (URL, 200)),
    "google-oauth-refresh-token": form("1//0", (URL, 100)),
    "google-fcm-server-key": form("AAAA", (URL, 7), ":APA91b", (URL, 134)),
    "google-recaptcha-secret": form("RECAPTCHA_SECRET_KEY=6L", (URL, 38)),
    "google-hmac-access-id": form("GOOG1E", (UP, 55)),
    "google-chat-webhook": form(
        "https://chat.googleapis.com/v1/spaces/", (ALNUM, 11), "/messages?key=AIza", (URL, 35), "&token=", (URL, 43)
    ),
    "digitalocean-spaces-key": form("SPACES_KEY=DO00", (UP, 16)),
    "scaleway-access-key": form("SCW", (UP, 17)),
    "tencent-secret-id": form("AKID", (ALNUM, 32)),
    "hetzner-token": form("HCLOUD_TOKEN=", (ALNUM, 64)),
    "linode-token": form("LINODE_TOKEN=", (HEX, 64)),
    "vultr-api-key": form("VULTR_API_KEY=", (UP, 36)),
    "heroku-api-key": form("HRKU-AA", (URL, 58)),
    "heroku-api-key-legacy": _uuid("HEROKU_API_KEY="),
    "cloudflare-origin-ca-key": form("v1.0-", (HEX, 24), "-", (HEX, 146)),
    "cloudflare-token-legacy": form("CLOUDFLARE_API_TOKEN=", (URL, 40)),
    "cloudflare-global-key": form("CLOUDFLARE_API_KEY=", (HEX, 37)),
    "netlify-token": form("nfp_", (ALNUM, 36)),
    "vercel-token-legacy": form("VERCEL_TOKEN=", (ALNUM, 24)),
    "vercel-blob-token": form("vercel_blob_rw_", (ALNUM, 16), "_", (ALNUM, 30)),
    "render-api-key": form("rnd_", (ALNUM, 28)),
    "railway-token": _uuid("RAILWAY_TOKEN="),
    "deno-deploy-token": form("ddp_", (ALNUM, 36)),
    "neon-api-key": form("NEON_API_KEY=napi_", (LOW, 64)),
    "supabase-secret-key": form("sb_secret_", (URL, 22), "_", (URL, 8)),
    "fastly-token": form("FASTLY_API_TOKEN=", (URL, 32)),
    "ibm-cloud-api-key": form("IBMCLOUD_API_KEY=", (URL, 44)),
    "openshift-token": form("sha256~", (URL, 43)),
    "kubernetes-bootstrap-token": form("kubeadm join --token ", (LOW, 6), ".", (LOW, 16)),
    "upstash-token": form("UPSTASH_REDIS_REST_TOKEN=AX", (ALNUM, 58)),
    "mongodb-atlas-private-key": _uuid("MONGODB_ATLAS_PRIVATE_KEY="),
    "yandex-api-key": form("AQVN", (URL, 36)),
    "yandex-oauth-token": form("y0_", (URL, 55)),
}

SAAS: dict[str, Maker] = {
    "airtable-token": form("pat", (ALNUM, 14), ".", (HEX, 64)),
    "airtable-api-key": form("AIRTABLE_API_KEY=key", (ALNUM, 14)),
    "asana-token": form("2/", (DIGITS[1:], 16), "/", (DIGITS[1:], 16), ":", (HEX, 32)),
    "brevo-api-key": form("xkeysib-", (HEX, 64), "-", (ALNUM, 16)),
    "clickup-token": form("pk_", (DIGITS[1:], 8), "_", (UP, 32)),
    "contentful-token": form("CFPAT-", (URL, 43)),
    "discord-bot-token": lambda rng: (
        base64.b64encode(str(rng.randint(10**17, 10**18 - 1)).encode()).decode().rstrip("=")
        + form(".G", (ALNUM, 5), ".", (URL, 38))(rng)
    ),
    "dropbox-token": form("sl.", (URL, 140)),
    "duffel-token": form("duffel_live_", (URL, 43)),
    "easypost-api-key": form("EZAK", (ALNUM, 54)),
    "facebook-access-token": form("EAA", (ALNUM, 150)),
    "flutterwave-secret-key": form("FLWSECK-", (HEX, 32), "-X"),
    "frameio-token": form("fio-u-", (URL, 64)),
    "hubspot-token": _uuid("pat-na1-"),
    "intercom-token": _intercom,
    "klaviyo-api-key": form("pk_", (HEX, 34)),
    "launchdarkly-key": _uuid("sdk-"),
    "linear-oauth-token": form("lin_oauth_", (HEX, 64)),
    "lob-api-key": form("live_", (HEX, 35)),
    "mailersend-token": form("mlsn.", (HEX, 64)),
    "mailgun-api-key": form("key-", (HEX, 32)),
    "mapbox-secret-token": _mapbox,
    "mandrill-api-key": form("MANDRILL_API_KEY=md-", (URL, 22)),
    "mollie-api-key": form("MOLLIE_API_KEY=live_", (ALNUM, 30)),
    "notion-token-legacy": form("secret_", (ALNUM, 43)),
    "okta-token": form("OKTA_API_TOKEN=00", (URL, 40)),
    "onepassword-secret-key": form(
        "A3-", (UP, 6), "-", (UP, 6), "-", (UP, 5), "-", (UP, 5), "-", (UP, 5), "-", (UP, 5)
    ),
    "paypal-client-secret": form("PAYPAL_CLIENT_SECRET=E", (URL, 79)),
    "plaid-access-token": _uuid("access-production-"),
    "postmark-token": _uuid("X-Postmark-Server-Token: "),
    "razorpay-key-id": form("rzp_live_", (ALNUM, 14)),
    "readme-key": form("rdme_", (LOW, 70)),
    "resend-api-key": form("re_", (ALNUM, 8), "_", (ALNUM, 24)),
    "shippo-token": form("shippo_live_", (HEX, 40)),
    "slack-app-token": form("xapp-1-A", (UP, 10), "-", (DIGITS[1:], 13), "-", (HEX, 64)),
    "slack-user-token": form("xoxp-", (DIGITS[1:], 12), "-", (DIGITS[1:], 12), "-", (DIGITS[1:], 13), "-", (HEX, 32)),
    "slack-config-token": form("xoxe.xoxp-1-", (ALNUM, 166)),
    "square-access-token": form("EAAA", (URL, 60)),
    "square-client-secret": form("sq0csp-", (URL, 43)),
    "statuspage-key": _uuid("STATUSPAGE_API_KEY="),
    "stripe-org-key": form("sk_org_live_", (ALNUM, 60)),
    "webhook-signing-secret": form("whsec_", (ALNUM, 32)),
    "todoist-token": form("TODOIST_API_TOKEN=", (HEX, 40)),
    "twilio-auth-token": form("TWILIO_AUTH_TOKEN=", (HEX, 32)),
    "typeform-token": form("tfp_", (URL, 59)),
    "woocommerce-key": form("cs_", (HEX, 40)),
    "x-bearer-token": form("AAAAAAAAAAAAAAAAAAAAA", (ALNUM, 10), "%2B", (ALNUM, 20), "%3D", (ALNUM, 50)),
    "xendit-secret-key": form("xnd_production_", (ALNUM, 60)),
    "zapier-webhook": form("https://hooks.zapier.com/hooks/catch/", (DIGITS[1:], 7), "/", (LOW, 7), "/"),
    "teams-webhook": lambda rng: (
        f"https://contoso.webhook.office.com/webhookb2/{uuid.UUID(int=rng.getrandbits(128), version=4)}"
        f"@{uuid.UUID(int=rng.getrandbits(128), version=4)}/IncomingWebhook/{some(rng, HEX, 32)}/"
        f"{uuid.UUID(int=rng.getrandbits(128), version=4)}"
    ),
    "telegram-bot-url": form("https://api.telegram.org/bot", (DIGITS[1:], 10), ":AA", (URL, 33), "/getMe"),
    "ifttt-webhook": form("https://maker.ifttt.com/trigger/door/with/key/", (URL, 43)),
    "feishu-webhook": _uuid("https://open.feishu.cn/open-apis/bot/v2/hook/"),
    "dingtalk-webhook": form("https://oapi.dingtalk.com/robot/send?access_token=", (HEX, 64)),
    "wecom-webhook": _uuid("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key="),
}

WATCHING: dict[str, Maker] = {
    "datadog-api-key": form("DD_API_KEY=", (HEX, 32)),
    "datadog-app-key": form("DD_APP_KEY=", (HEX, 40)),
    "grafana-cloud-token": lambda rng: (
        "glc_"
        + base64.b64encode(
            json.dumps({"o": "123456", "n": "stack", "k": some(rng, ALNUM, 24), "m": {"r": "us"}}).encode()
        ).decode()
    ),
    "grafana-api-key": lambda rng: base64.b64encode(
        json.dumps({"k": some(rng, ALNUM, 32), "n": "ci", "id": 1}, separators=(",", ":")).encode()
    ).decode(),
    "honeycomb-key": form("hcaik_01", (LOW, 56)),
    "newrelic-license-key": form((HEX, 36), "NRAL"),
    "newrelic-insert-key": form("NRII-", (URL, 32)),
    "opsgenie-key": _uuid("OPSGENIE_API_KEY="),
    "pagerduty-api-key": form("PAGERDUTY_TOKEN=", (URL, 20)),
    "posthog-personal-key": form("phx_", (ALNUM, 43)),
    "rollbar-token": form("ROLLBAR_ACCESS_TOKEN=", (HEX, 32)),
    "sentry-dsn-secret": form("https://", (HEX, 32), ":", (HEX, 32), "@sentry.io/1234567"),
    "sentry-user-token": form("sntryu_", (HEX, 64)),
    "splunk-hec-token": _uuid("SPLUNK_HEC_TOKEN="),
    "axiom-token": _uuid("xaat-"),
    "infisical-token": form("st.", (HEX, 24), ".", (HEX, 32), ".", (HEX, 32)),
    "prefect-api-key": form("pnu_", (ALNUM, 36)),
    "vault-token-legacy": form("VAULT_TOKEN=s.", (ALNUM, 24)),
    "consul-token": _uuid("CONSUL_HTTP_TOKEN="),
    "duo-secret-key": form("DUO_SECRET_KEY=", (ALNUM, 40)),
    "mongodb-url": form("mongodb+srv://app:", (ALNUM, 18), "@cluster0.ab1cd.mongodb.net/prod"),
    "mysql-url": form("mysql://app:", (ALNUM, 18), "@db.internal.example:3306/prod"),
    "redis-url": form("redis://default:", (ALNUM, 32), "@cache.internal.example:6379/0"),
    "amqp-url": form("amqps://app:", (ALNUM, 18), "@mq.internal.example:5671/vhost"),
    "jdbc-url": form("jdbc:postgresql://db.example:5432/prod?user=app&password=", (ALNUM, 18)),
    "smtp-url": form("smtps://mailer:", (ALNUM, 18), "@smtp.example.org:465"),
    "libpq-connection": form("host=db.example dbname=prod user=app password=", (ALNUM, 18)),
    "ado-connection-string": form("Server=tcp:db.example,1433;Database=p;User ID=app;Password=", (ALNUM, 18), ";"),
    "netrc-login": form("machine api.example.org login me password ", (ALNUM, 20)),
    "http-basic-auth": lambda rng: (
        "Authorization: Basic " + base64.b64encode(f"admin:{some(rng, ALNUM, 20)}".encode()).decode()
    ),
    "totp-uri": form("otpauth://totp/Example:me?secret=", (string.ascii_uppercase + "234567", 32), "&issuer=Example"),
    "wireguard-private-key": _b64("PrivateKey = ", 32),
}

FORMATS: dict[str, Maker] = {**LLM, **FORGES, **CLOUDS, **SAAS, **WATCHING}
