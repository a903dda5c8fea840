"""Chat, webhooks and social networks. Data only.

Formats: api.slack.com, discord.com/developers, core.telegram.org; Matrix tokens as Synapse makes them.
"""

import base64

from sidecar.dlp.patterns.vendors.define import cred, sample
from sidecar.dlp.patterns.vendors.structure import (
    base62_crc32,
    crc_suffix_of_all,
    discord_bot,
    letters_and_digits,
    mixed,
)

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def _matrix() -> str:
    base = sample("syt_YWxpY2U_<abc:20>")
    return f"{base}_{base62_crc32(base.encode())}"


_DISCORD_ID = base64.b64encode(sample("1<num:17>").encode()).decode().rstrip("=")

_CHAT = (
    cred(
        "slack-bot-token",
        "Slack",
        "bot token",
        r"xoxb-[0-9]{8,14}-(?:[0-9]{8,14}-)?[A-Za-z0-9]{18,34}",
        "SLACK_BOT_TOKEN=xoxb-<num:12>-<num:13>-<b62:24>",
        no=("xoxb-<num:12>", "xoxz-<num:12>-<num:13>-<b62:24>"),
        doc=("xoxb-<>17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy",),
    ),
    cred(
        "slack-user-token",
        "Slack",
        "user or legacy token",
        r"xox[pars]-(?:[0-9]-)?[0-9]{8,14}-[0-9A-Za-z-]{20,120}",
        "xoxp-<num:12>-<num:12>-<num:12>-<hex:32>",
        "xoxs-<num:10>-<num:10>-<num:10>-<hex:10>",
        no=("xoxp-<num:6>", "xoxq-<num:12>-<num:12>-<num:12>-<hex:32>"),
        prefix=3,
    ),
    cred(
        "slack-config-token",
        "Slack",
        "app configuration or rotating token",
        r"xoxe(?:\.xox[bp])?-[0-9]-[A-Za-z0-9]{40,220}",
        "xoxe.xoxp-1-<b62:163>",
        "xoxe-1-<b62:147>",
        no=("xoxe-1-<b62:12>", "xoxf-1-<b62:147>"),
    ),
    cred(
        "slack-browser-token",
        "Slack",
        "browser session token or cookie",
        r"xox[cd]-[A-Za-z0-9%+/=_-]{40,400}",
        "token=xoxc-<num:12>-<num:12>-<num:13>-<hex:64>",
        "Cookie: d=xoxd-<b62:80>%2B<b62:20>%3D",
        no=("xoxc-<num:12>", "xoxz-<num:12>-<num:12>-<hex:64>"),
        edge="left",
        prefix=3,
    ),
    cred(
        "slack-app-token",
        "Slack",
        "app-level token",
        r"xapp-[0-9]-[A-Z0-9]{9,13}-[0-9]{10,14}-[0-9a-f]{64}",
        "SLACK_APP_TOKEN=xapp-1-A<up:10>-<num:13>-<hex:64>",
        no=("xapp-1-A<up:10>", "xapq-1-A<up:10>-<num:13>-<hex:64>"),
    ),
    cred(
        "slack-workflow-token",
        "Slack",
        "workflow token",
        r"xwfp-[A-Za-z0-9-]{30,200}",
        "xwfp-<num:13>-<num:13>-<b62:40>",
        no=("xwfp-<b62:8>", "xwfq-<num:13>-<b62:40>"),
    ),
    cred(
        "slack-webhook",
        "Slack",
        "incoming webhook or workflow trigger",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Z0-9]{8,14}/[A-Z0-9]{8,16}/[A-Za-z0-9]{20,40}",
        "https://hooks.slack.com/services/T<up:10>/B<up:10>/<b62:24>",
        "https://hooks.slack.com/triggers/T<up:10>/<num:13>/<hex:32>",
        no=("https://hooks.slack.com/services/T<up:10>/B<up:10>", "https://hooks.slack.com/services/T0/B0/<b62:24>"),
        edge="right",
        prefix=0,
    ),
    cred(
        "slack-signing-secret",
        "Slack",
        "signing or client secret",
        r"[0-9a-f]{32}",
        "SLACK_SIGNING_SECRET=<hex:32>",
        no=("slack channel <hex:32>", "SLACK_SIGNING_SECRET=<hex:12>"),
        keys=("slack_signing", "slack_client_secret", "slack-signing", "slack_verification"),
        check=letters_and_digits,
    ),
    cred(
        "discord-bot-token",
        "Discord",
        "bot token",
        r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}",
        f"DISCORD_TOKEN={_DISCORD_ID}.<b62:6>.<url:37>a",
        no=("M<b62:25>.<b62:6>.<url:38>", "MTA<b62:8>.<b62:6>.<url:38>"),
        check=discord_bot,
        doc=("MTk4NjIyNDgzNDcxOTI1MjQ4.<>Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs",),
    ),
    cred(
        "discord-mfa-token",
        "Discord",
        "user token with two factors",
        r"mfa\.[A-Za-z0-9_-]{84}",
        "Authorization: mfa.<url:83>a",
        no=("mfa.<url:20>", "nfa.<url:84>"),
    ),
    cred(
        "discord-webhook",
        "Discord",
        "webhook",
        r"discord(?:app)?\.com/api/(?:v[0-9]{1,2}/)?webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,72}",
        "https://discord.com/api/webhooks/1<num:18>/<url:67>a",
        "https://discordapp.com/api/v10/webhooks/1<num:18>/<url:67>a",
        no=("https://discord.com/api/webhooks/1<num:18>", "https://discord.com/api/webhooks/1<num:18>/<url:20>"),
        edge="right",
        prefix=0,
    ),
    cred(
        "discord-client-secret",
        "Discord",
        "OAuth client secret",
        r"[A-Za-z0-9_-]{32}",
        "DISCORD_CLIENT_SECRET=<url:31>a",
        no=("discord <url:31>a", "DISCORD_CLIENT_SECRET=<url:12>"),
        keys=("discord_client_secret", "discord_secret", "discord-client-secret"),
        check=mixed,
    ),
    cred(
        "telegram-bot-token",
        "Telegram",
        "bot token",
        r"[0-9]{8,10}:AA[A-Za-z0-9_-]{32,33}",
        "TELEGRAM_BOT_TOKEN=<num:10>:AA<url:32>a",
        no=("<num:10>:AA<url:12>", "<num:10>:AB<url:33>"),
        doc=("110201543:<>AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",),
    ),
    cred(
        "telegram-bot-url",
        "Telegram",
        "bot token in an API address",
        r"api\.telegram\.org/(?:file/)?bot[0-9]{8,10}:[A-Za-z0-9_-]{35}",
        "https://api.telegram.org/bot<num:10>:AA<url:32>a/getMe",
        no=("https://api.telegram.org/bot", "https://api.telegram.org/bot<num:10>:<url:12>/getMe"),
        edge="none",
        prefix=0,
    ),
    cred(
        "teams-webhook",
        "Microsoft Teams",
        "incoming webhook",
        rf"\.webhook\.office\.com/webhookb2/{_UUID}@{_UUID}/IncomingWebhook/[0-9a-f]{{32}}/{_UUID}",
        "https://acme.webhook.office.com/webhookb2/<uuid>@<uuid>/IncomingWebhook/<hex:32>/<uuid>",
        no=("https://acme.webhook.office.com/webhookb2/<uuid>@<uuid>", "https://x.office.com/webhook/<uuid>"),
        edge="right",
        prefix=0,
    ),
    cred(
        "mattermost-token",
        "Mattermost",
        "personal access token",
        r"[a-z0-9]{26}",
        "MATTERMOST_TOKEN=<low:26>",
        no=("channel <low:26>", "MATTERMOST_TOKEN=<low:12>"),
        keys=("mattermost_token", "mattermost_access", "mattermost_bot", "mattermost-token", "mm_token"),
        check=letters_and_digits,
    ),
    cred(
        "matrix-access-token",
        "Matrix",
        "access token (Synapse)",
        r"syt_[A-Za-z0-9_-]{2,340}_[A-Za-z]{20}_[A-Za-z0-9]{6}",
        f"Authorization: Bearer {_matrix()}",
        no=("syt_YWxpY2U_<abc:20>_<b62:6>", "syt_<abc:12>"),
        check=crc_suffix_of_all,
    ),
    cred(
        "zulip-api-key",
        "Zulip",
        "API key",
        r"[A-Za-z0-9]{32}",
        "ZULIP_API_KEY=<b62:32>",
        no=("zulip <b62:32>", "ZULIP_API_KEY=<b62:12>"),
        keys=("zulip_api", "zulip_key", "zulip-api", "zuliprc", "zulipchat.com"),
        check=letters_and_digits,
    ),
    cred(
        "line-channel-token",
        "LINE",
        "channel access token",
        r"[A-Za-z0-9+/]{168,172}=?",
        "LINE_CHANNEL_ACCESS_TOKEN=<b64:171>=",
        no=("x=<b64:171>=", "LINE_CHANNEL_ACCESS_TOKEN=<b64:40>"),
        keys=("line_channel", "line-channel", "channelaccesstoken", "channel_access_token"),
        check=mixed,
        edge="left",
    ),
    cred(
        "feishu-webhook",
        "Lark",
        "bot webhook",
        rf"open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v[12]/hook/{_UUID}",
        "https://open.feishu.cn/open-apis/bot/v2/hook/<uuid>",
        no=("https://open.feishu.cn/open-apis/bot/v2/hook", "https://open.feishu.cn/open-apis/im/v1/messages"),
        edge="right",
        prefix=0,
    ),
    cred(
        "dingtalk-webhook",
        "DingTalk",
        "bot webhook",
        r"oapi\.dingtalk\.com/robot/send\?access_token=[0-9a-f]{64}",
        "https://oapi.dingtalk.com/robot/send?access_token=<hex:64>",
        no=("https://oapi.dingtalk.com/robot/send", "https://oapi.dingtalk.com/robot/send?access_token=<hex:12>"),
        edge="right",
        prefix=0,
    ),
    cred(
        "wecom-webhook",
        "WeCom",
        "bot webhook",
        rf"qyapi\.weixin\.qq\.com/cgi-bin/webhook/(?:send|upload_media)\?key={_UUID}",
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=<uuid>",
        no=("https://qyapi.weixin.qq.com/cgi-bin/webhook/send", "https://qyapi.weixin.qq.com/?key=<uuid>"),
        edge="right",
        prefix=0,
    ),
    cred(
        "webex-bot-token",
        "Webex",
        "bot or personal token",
        rf"[A-Za-z0-9]{{64}}_P[A-Z0-9]{{3}}_{_UUID}",
        "WEBEX_TOKEN=<b62:64>_PF84_<uuid>",
        no=("<b62:40>_PF84_<uuid>", "<b62:64>_pf84_<uuid>"),
    ),
)


_TABLE = 4


def _meta_token(text: str) -> bool:
    """Zeros of a number's bytes stand at its beginning, and may by chance elsewhere: many are base64 of a table."""
    return mixed(text) and text[3:].lstrip("A").count("AAA") < _TABLE


_SOCIAL = (
    cred(
        "facebook-access-token",
        "Meta",
        "access token (Facebook, WhatsApp)",
        r"EAA[A-Za-z0-9]{80,400}",
        "WHATSAPP_TOKEN=EAAG<b62:180>",
        "WHATSAPP_TOKEN=EAACEdEose0cBAAAA<b62:160>",
        no=("EAAG<b62:30>", "xEAAG<b62:180>", "EAAAUBAAAFUQAABaEAAAXRAAAGEQAABhEAAAZRAAAGYQ" + "AABuEAAA" * 9),
        check=_meta_token,
    ),
    cred(
        "facebook-app-secret",
        "Meta",
        "app secret",
        r"[0-9a-f]{32}",
        "FACEBOOK_APP_SECRET=<hex:32>",
        no=("facebook post <hex:32>", "FACEBOOK_APP_SECRET=<hex:12>"),
        keys=("facebook_app_secret", "fb_app_secret", "facebook_secret", "meta_app_secret", "facebook_client_secret"),
        check=letters_and_digits,
    ),
    cred(
        "instagram-token",
        "Meta",
        "Instagram access token",
        r"IG(?:QV|AA)[A-Za-z0-9_-]{100,300}",
        "INSTAGRAM_TOKEN=IGQV<b62:160>",
        no=("IGQV<b62:20>", "IGXX<b62:160>"),
        prefix=2,
    ),
    cred(
        "x-bearer-token",
        "X",
        "API bearer token (Twitter)",
        r"AAAAAAAAAAAAAAAAAAAAA[A-Za-z0-9%]{20,60}%3D[A-Za-z0-9]{40,60}",
        "TWITTER_BEARER_TOKEN=AAAAAAAAAAAAAAAAAAAAAB<b62:10>%2B<b62:20>%3D<b62:50>",
        no=("AAAAAAAAAAAAAAAAAAAAA" + "A" * 120, "AAAAAAAAAAAAAAAAAAAAAB<b62:30>%3D<b62:12>"),
        check=mixed,
        doc=(
            "AAAAAAAAAAAAAAAAAAAAAMLheAAAAAAA0%2BuSeid%2BULvsea4JtiGRiSDSJSI%3D<>EUifiRBkKG5E2XzMDjRfl76ZC9Ub0wnz4Xs"
            "NiRVBChTYbJcE3F",
        ),
        edge="left",
    ),
    cred(
        "x-api-secret",
        "X",
        "API secret (Twitter)",
        r"[A-Za-z0-9]{45,50}",
        "TWITTER_API_SECRET=<b62:50>",
        "TWITTER_ACCESS_TOKEN_SECRET=<b62:45>",
        no=("twitter <b62:50>", "TWITTER_API_SECRET=<b62:20>"),
        keys=("twitter_api_secret", "twitter_consumer_secret", "twitter_access_token_secret", "x_api_secret"),
        check=mixed,
    ),
    cred(
        "linkedin-client-secret",
        "LinkedIn",
        "client secret",
        r"WPL_AP[0-9]\.[A-Za-z0-9]{16}\.[=A-Za-z0-9+/]{6,8}",
        "LINKEDIN_CLIENT_SECRET=WPL_AP1.<b62:16>.<b62:6>==",
        no=("WPL_AP1.<b62:4>", "WPL_AX1.<b62:16>.<b62:6>=="),
        edge="left",
    ),
    cred(
        "reddit-client-secret",
        "Reddit",
        "client secret",
        r"[A-Za-z0-9_-]{27,30}",
        "REDDIT_CLIENT_SECRET=<url:29>a",
        no=("reddit <url:29>a", "REDDIT_CLIENT_SECRET=<url:12>"),
        keys=("reddit_client_secret", "reddit_secret", "praw_client_secret"),
        check=mixed,
    ),
    cred(
        "spotify-client-secret",
        "Spotify",
        "client secret",
        r"[0-9a-f]{32}",
        "SPOTIFY_CLIENT_SECRET=<hex:32>",
        no=("spotify track <hex:32>", "SPOTIFY_CLIENT_SECRET=<hex:12>"),
        keys=("spotify_client_secret", "spotify_secret", "spotipy_client_secret"),
        check=letters_and_digits,
    ),
    cred(
        "twitch-token",
        "Twitch",
        "OAuth token or client secret",
        r"[a-z0-9]{30}",
        "TWITCH_OAUTH=oauth:<low:30>",
        "TWITCH_CLIENT_SECRET=<low:30>",
        no=("twitch <low:30>", "TWITCH_CLIENT_SECRET=<low:12>"),
        keys=("twitch_oauth", "twitch_client_secret", "twitch_token", "twitch_access_token", "twitch_secret"),
        check=letters_and_digits,
    ),
)

TYPES = _CHAT + _SOCIAL
