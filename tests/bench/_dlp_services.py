"""Forms of the services that `_dlp_formats.py` leaves out, by where they are known from (as in `_dlp_platforms.py`)."""

import base64
import random
import string

from tests.bench._dlp_samples import ALNUM, HEX, LOW, UP, URL, Maker, either, form, in_base64, some, uuid4

B64 = ALNUM + "+/"
DIGITS = string.digits


def _adyen(rng: random.Random) -> str:
    first, second = (base64.b64encode(rng.randbytes(size)).decode() for size in (64, 32))
    return f"AQE{first}-{second}-{some(rng, ALNUM, 16)}"


def _zulip(rng: random.Random) -> str:
    return f"[api]\nemail=ci-bot@acme.zulipchat.com\nkey={some(rng, ALNUM, 32)}\nsite=https://acme.zulipchat.com"


VENDOR: dict[str, Maker] = {
    "amazon-mws-token": form("amzn.mws.", uuid4),
    "amazon-lwa-refresh-token": form("Atzr|IwEBI", (URL, 280)),
    "auth0-client-secret": form("AUTH0_CLIENT_SECRET=", (URL, 64)),
    "adyen-api-key": _adyen,
    "bigcommerce-token": form("X-Auth-Token: ", (LOW, 31), "\nhttps://api.bigcommerce.com/stores/abc/v3/catalog"),
    "braintree-access-token": form("access_token$production$", (LOW, 16), "$", (HEX, 32)),
    "cal-com-key": form("cal_live_", (HEX, 32)),
    "discord-client-secret": form("DISCORD_CLIENT_SECRET=", (URL, 32)),
    "ebay-cert-id": form("PRD-", (HEX, 12), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4)),
    "hubspot-api-key": form("https://api.hubapi.com/contacts/v1/lists/all?hapikey=", uuid4),
    "make-webhook": form("https://hook.eu1.make.com/", (LOW, 32)),
    "mattermost-token": form("MATTERMOST_TOKEN=", (LOW, 26)),
    "mercadopago-token": form("APP_USR-", (DIGITS, 16), "-", (DIGITS, 6), "-", (HEX, 32), "-", (DIGITS, 9)),
    "onesignal-key": form("os_v2_app_", (string.ascii_lowercase + "234567", 103)),
    "paddle-api-key": form("pdl_live_apikey_", (LOW, 26), "_", (ALNUM, 22), "_", (ALNUM, 3)),
    "postman-access-token": form("PMAT-", (UP, 26)),
    "sanity-token": form("SANITY_AUTH_TOKEN=sk", (ALNUM, 178)),
    "shopify-shared-secret": form("shpss_", (HEX, 32)),
    "slack-browser-token": form(
        "xoxc-", (DIGITS[1:], 12), "-", (DIGITS[1:], 13), "-", (DIGITS[1:], 13), "-", (HEX, 64)
    ),
    "spotify-client-secret": form("SPOTIFY_CLIENT_SECRET=", (HEX, 32)),
    "square-token-legacy": form("sq0atp-", (URL, 22)),
    "stytch-secret": form("secret-live-", (URL, 35), "="),
    "telnyx-api-key": form("KEY", (HEX.upper(), 32), "_", (ALNUM, 22)),
    "twilio-account-sid": form("AC", (HEX, 32)),
    "twilio-api-secret": form("TWILIO_API_SECRET=", (ALNUM, 32)),
    "webex-bot-token": form((ALNUM, 64), "_P", (UP, 3), "_", uuid4),
    "zendesk-token": form("ZENDESK_API_TOKEN=", (ALNUM, 40)),
    "zoho-token": form("1000.", (HEX, 32), ".", (HEX, 32)),
    "zulip-api-key": _zulip,
}

SCANNING: dict[str, Maker] = {
    "adobe-client-secret": form("p8e-", (URL, 32)),
    "amazon-lwa-client-secret": form("amzn1.oa2-cs.v1.", (HEX, 64)),
    "apify-token": form("apify_api_", (ALNUM, 36)),
    "atlassian-api-token-legacy": form("JIRA_API_TOKEN=", (ALNUM, 24)),
    "discord-mfa-token": form("mfa.", (URL, 84)),
    "gocardless-token": form("GOCARDLESS_ACCESS_TOKEN=live_", (URL, 40)),
    "mailgun-signing-key": form("MAILGUN_API_KEY=", (HEX, 32), "-", (HEX, 8), "-", (HEX, 8)),
    "rapidapi-key": form("X-RapidAPI-Key: ", (HEX, 10), "msh", (HEX, 15), "p1", (HEX, 5), "jsn", (HEX, 12)),
    "segment-token": form("sgp_", (ALNUM, 64)),
    "trello-token": form("ATTA", (HEX, 64), (HEX.upper(), 8)),
    "salesforce-token": form("00D", (ALNUM, 12), "!AQ", (ALNUM + "._", 94)),
}

KNOWN: dict[str, Maker] = {
    "airbrake-key": form("AIRBRAKE_PROJECT_KEY=", (HEX, 32)),
    "algolia-admin-key": form("ALGOLIA_ADMIN_KEY=", (HEX, 32)),
    "amplitude-secret": form("AMPLITUDE_SECRET_KEY=", (HEX, 32)),
    "binance-secret": form("BINANCE_API_SECRET=", (ALNUM, 64)),
    "bitwarden-client-secret": form("BW_CLIENTSECRET=", (ALNUM, 30)),
    "box-client-secret": form("BOX_CLIENT_SECRET=", (ALNUM, 32)),
    "braintree-private-key": form("BRAINTREE_PRIVATE_KEY=", (HEX, 32)),
    "browserstack-key": form("BROWSERSTACK_ACCESS_KEY=", (ALNUM, 20)),
    "coinbase-api-secret": form("COINBASE_API_SECRET=", in_base64(64)),
    "contentful-delivery-token": form("CONTENTFUL_ACCESS_TOKEN=", (URL, 43)),
    "etherscan-key": form("ETHERSCAN_API_KEY=", (UP, 34)),
    "facebook-app-secret": form("FACEBOOK_APP_SECRET=", (HEX, 32)),
    "generic-assignment": form(either('password = "', 'DB_PASSWORD="', '"secret": "'), (ALNUM + "!#%", 20), '"'),
    "http-url-password": form("https://alice:", (ALNUM, 20), "@intranet.acme.example/reports"),
    "instagram-token": form("IGQVJ", (URL, 150)),
    "keycloak-client-secret": form("KEYCLOAK_CLIENT_SECRET=", (ALNUM, 32)),
    "line-channel-token": form("LINE_CHANNEL_ACCESS_TOKEN=", (B64, 171), "="),
    "linkedin-client-secret": form("LINKEDIN_CLIENT_SECRET=", (ALNUM, 16)),
    "mailjet-secret": form("MJ_APIKEY_PRIVATE=", (HEX, 32)),
    "messagebird-key": form("MESSAGEBIRD_API_KEY=", (ALNUM, 25)),
    "mixpanel-secret": form("MIXPANEL_API_SECRET=", (HEX, 32)),
    "onelogin-secret": form("ONELOGIN_CLIENT_SECRET=", (HEX, 64)),
    "openweather-key": form("OPENWEATHER_API_KEY=", (HEX, 32)),
    "plaid-secret": form("PLAID_SECRET=", (HEX, 30)),
    "pusher-secret": form("PUSHER_APP_SECRET=", (HEX, 20)),
    "razorpay-key-secret": form("RAZORPAY_KEY_SECRET=", (ALNUM, 24)),
    "reddit-client-secret": form("REDDIT_CLIENT_SECRET=", (URL, 27)),
    "salesforce-refresh-token": form("5Aep861", (ALNUM + "._", 75), "=="),
    "segment-write-key": form("SEGMENT_WRITE_KEY=", (ALNUM, 32)),
    "slack-signing-secret": form("SLACK_SIGNING_SECRET=", (HEX, 32)),
    "sparkpost-api-key": form("SPARKPOST_API_KEY=", (HEX, 40)),
    "statsig-key": form("secret-", (ALNUM, 43)),
    "twitch-token": form("TWITCH_CLIENT_SECRET=", (LOW, 30)),
    "url-password": form(either("ftp://alice:", "ssh://alice:", "ldap://alice:"), (ALNUM, 18), "@files.acme.example/"),
    "vonage-secret": form("VONAGE_API_SECRET=", (ALNUM, 16)),
    "webflow-token": form("WEBFLOW_API_TOKEN=", (HEX, 64)),
    "x-api-secret": form("TWITTER_API_SECRET=", (ALNUM, 50)),
}

# No form can be told without the rule: the vendor states a prefix at most.
LEFT_OUT = ("elastic-cloud-key", "slack-workflow-token")
