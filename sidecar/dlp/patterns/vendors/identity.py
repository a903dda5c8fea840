"""Identity providers, password managers and second factors. Data only.

Formats: developer.okta.com, auth0.com/docs, developer.1password.com, bitwarden.com, RFC 7519 and others.
"""

import base64

from sidecar.dlp.patterns.vendors.define import cred, sample
from sidecar.dlp.patterns.vendors.structure import jwt, letters_and_digits, mixed, one_password

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def _in_base64(text: str) -> str:
    return base64.urlsafe_b64encode(sample(text).encode()).decode().rstrip("=")


def _jwt(header: str, payload: str) -> str:
    return f"{_in_base64(header)}.{_in_base64(payload)}.{sample('<url:42>a')}"


TYPES = (
    cred(
        "jwt",
        "JSON Web Token",
        "signed token",
        r"eyJ[A-Za-z0-9_-]{12,600}\.eyJ[A-Za-z0-9_-]{8,1000}[A-Za-z0-9_-]{0,1000}\.[A-Za-z0-9_-]{16,700}",
        "Authorization: Bearer " + _jwt('{"alg":"HS256","typ":"JWT"}', '{"sub":"<num:10>","exp":1900000000}'),
        "token="
        + _jwt('{"typ":"JWT","kid":"<hex:40>","alg":"RS256"}', '{"iss":"https://x.example.org","jti":"<uuid>"}'),
        no=(
            "eyJ<url:30>.eyJ<url:60>.<url:43>",
            _in_base64('{"alg":"HS256","typ":"JWT"}') + "." + _in_base64('{"a":1}'),
            "Authorization: Bearer "
            + _jwt('{"alg":"RS256","kid":"<url:20>"}', '{"sub":"","access":[{"name":"a/b","actions":["pull"]}]}'),
        ),
        check=jwt,
        edge="left",
        doc=(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.<>eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5"
            "MDIyfQ.<>SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
        ),
    ),
    cred(
        "jwe",
        "JSON Web Token",
        "encrypted token",
        r"eyJ[A-Za-z0-9_-]{12,600}\.[A-Za-z0-9_-]{0,700}\.[A-Za-z0-9_-]{16,24}\.[A-Za-z0-9_-]{16,1000}[A-Za-z0-9_-]{0,1000}"
        r"\.[A-Za-z0-9_-]{22,43}",
        "next-auth.session-token=" + _in_base64('{"alg":"dir","enc":"A256GCM"}') + "..<b62:16>.<url:200>.<b62:22>",
        no=("eyJ<url:30>..<b62:16>.<url:200>.<b62:22>", _in_base64('{"alg":"dir"}') + ".<url:40>"),
        check=jwt,
        edge="left",
    ),
    # what goes on for longer than a search does is told by its beginning
    cred(
        "jwt-long",
        "JSON Web Token",
        "signed token with more than 2,000 characters of claims",
        r"eyJ[A-Za-z0-9_-]{12,600}\.eyJ[A-Za-z0-9_-]{1000}[A-Za-z0-9_-]{1000}",
        "Authorization: Bearer " + _jwt('{"alg":"RS256","typ":"JWT"}', '{"groups":"<hex:1700>"}'),
        "token=" + _jwt('{"typ":"JWT","kid":"<hex:40>","alg":"RS256"}', '{"roles":"<hex:4000>"}'),
        no=(
            "eyJ<url:30>.eyJ<url:2100>.<url:43>",
            _in_base64('{"alg":"HS256","typ":"JWT"}') + "." + _in_base64('{"groups":"<hex:1200>"}'),
        ),
        check=jwt,
        edge="left",
    ),
    cred(
        "jwe-long",
        "JSON Web Token",
        "encrypted token of more than 2,000 characters",
        r"eyJ[A-Za-z0-9_-]{12,600}\.[A-Za-z0-9_-]{0,700}\.[A-Za-z0-9_-]{16,24}\.[A-Za-z0-9_-]{1000}[A-Za-z0-9_-]{1000}",
        "next-auth.session-token=" + _in_base64('{"alg":"dir","enc":"A256GCM"}') + "..<b62:16>.<url:2500>.<b62:22>",
        no=(
            "eyJ<url:30>..<b62:16>.<url:2500>.<b62:22>",
            _in_base64('{"alg":"dir","enc":"A256GCM"}') + "..<b62:16>.<url:1500>",
        ),
        check=jwt,
        edge="left",
    ),
    cred(
        "okta-token",
        "Okta",
        "API token",
        r"00[A-Za-z0-9_-]{40}",
        "Authorization: SSWS 00<url:39>a",
        "OKTA_API_TOKEN=00<url:39>a",
        no=("okta 00<url:39>a", "OKTA_API_TOKEN=00<url:12>"),
        keys=("ssws", "okta_api", "okta_token", "okta-token", "okta_oauth2"),
        check=mixed,
    ),
    cred(
        "auth0-client-secret",
        "Auth0",
        "client secret",
        r"[A-Za-z0-9_-]{64}",
        "AUTH0_CLIENT_SECRET=<url:63>a",
        no=("auth0 <url:63>a", "AUTH0_CLIENT_SECRET=<url:12>"),
        keys=("auth0_client_secret", "auth0_secret", "auth0-client-secret", "auth0_management"),
        check=mixed,
    ),
    cred(
        "onepassword-service-token",
        "1Password",
        "service account token",
        r"ops_eyJ[A-Za-z0-9+/_-]{250,1000}[=A-Za-z0-9+/_-]{0,1000}",
        "OP_SERVICE_ACCOUNT_TOKEN=ops_"
        + _in_base64(
            '{"signInAddress":"x.1password.com","userAuth":{"method":"SRPg-4096",'
            '"salt":"<url:22>"},"email":"<low:12>@1passwordserviceaccounts.com","srpX":"<hex:64>","muk":{"k":"<url:43>"}}'
        ),
        no=("ops_eyJ<b64:100>", "ops_eyJ<b64:400>"),
        check=one_password,
        edge="left",
    ),
    cred(
        "onepassword-secret-key",
        "1Password",
        "secret key of an account",
        r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
        "A3-<B32:6>-<B32:6>-<B32:5>-<B32:5>-<B32:5>-<B32:5>",
        "A3-<B32:6>-<B32:11>-<B32:5>-<B32:5>-<B32:5>",
        no=("A3-<B32:6>-<B32:6>", "A4-<B32:6>-<B32:6>-<B32:5>-<B32:5>-<B32:5>-<B32:5>"),
    ),
    cred(
        "bitwarden-access-token",
        "Bitwarden",
        "Secrets Manager access token",
        rf"0\.{_UUID}\.[A-Za-z0-9]{{30}}:[A-Za-z0-9+/]{{22}}==",
        "BWS_ACCESS_TOKEN=0.<uuid>.<b62:30>:<b64:22>==",
        no=("0.<uuid>.<b62:30>", "0.<uuid>.<b62:12>:<b64:22>=="),
        edge="left",
        place="dotted",
    ),
    cred(
        "bitwarden-client-secret",
        "Bitwarden",
        "personal API key secret",
        r"[A-Za-z0-9]{30}",
        "BW_CLIENTSECRET=<b62:30>",
        no=("bitwarden <b62:30>", "BW_CLIENTSECRET=<b62:12>"),
        keys=("bw_clientsecret", "bitwarden_client_secret", "bw_client_secret"),
        check=mixed,
    ),
    cred(
        "duo-secret-key",
        "Duo",
        "secret key",
        r"[A-Za-z0-9]{40}",
        "DUO_SKEY=<b62:40>",
        no=("duo <b62:40>", "DUO_SKEY=<b62:12>"),
        keys=("duo_skey", "duo_secret", "duo_security"),
        check=mixed,
    ),
    cred(
        "onelogin-secret",
        "OneLogin",
        "client secret",
        r"[0-9a-f]{64}",
        "ONELOGIN_CLIENT_SECRET=<hex:64>",
        no=("onelogin <hex:64>", "ONELOGIN_CLIENT_SECRET=<hex:12>"),
        keys=("onelogin_client_secret", "onelogin_secret"),
        check=letters_and_digits,
    ),
    cred(
        "stytch-secret",
        "Stytch",
        "project secret",
        r"secret-(?:live|test)-[A-Za-z0-9_-]{35,36}=?",
        "STYTCH_SECRET=secret-live-<url:35>a=",
        no=("secret-live-<url:12>", "secret-prod-<url:36>"),
        edge="left",
        prefix=7,
    ),
    cred(
        "authress-key",
        "Authress",
        "service client key",
        r"(?:sc|ext|scauth|authress)_[A-Za-z0-9]{5,30}\.[A-Za-z0-9]{4,6}\.acc[_-][A-Za-z0-9-]{10,32}\.[A-Za-z0-9+/_=-]{30,120}",
        "AUTHRESS_KEY=sc_<low:24>.<low:4>.acc-<low:20>.<b64:60>",
        no=("sc_<low:24>.<low:4>", "sc_<low:24>.<low:4>.axx-<low:20>.<b64:60>"),
        edge="left",
        prefix=0,
    ),
    cred(
        "keycloak-client-secret",
        "Keycloak",
        "client secret",
        r"[A-Za-z0-9]{32}",
        "KEYCLOAK_CLIENT_SECRET=<b62:32>",
        no=("keycloak <b62:32>", "KEYCLOAK_CLIENT_SECRET=<b62:12>"),
        keys=("keycloak_client_secret", "keycloak_secret", "keycloak.credentials.secret"),
        check=letters_and_digits,
    ),
    cred(
        "totp-uri",
        "TOTP",
        "second factor's seed",
        r"otpauth://[ht]otp/[A-Za-z0-9%:@._+-]{0,200}\?[A-Za-z0-9=&%+._-]{0,200}secret=[A-Z2-7]{16,128}",
        "otpauth://totp/Acme:a@example.org?secret=<B32:32>&issuer=Acme",
        no=("otpauth://totp/Acme:a@example.org?issuer=Acme", "otpauth://totp/Acme?secret=<B32:8>"),
        prefix=10,
    ),
    cred(
        "jupyter-token",
        "Jupyter",
        "server token",
        r"[0-9a-f]{48}",
        "http://127.0.0.1:8888/lab?token=<hex:48>",
        no=("http://127.0.0.1:8888/lab?id=<hex:48>", "http://127.0.0.1:8888/lab?token=<hex:12>"),
        keys=("token", "jupyter"),
        check=letters_and_digits,
    ),
    cred(
        "kubernetes-bootstrap-token",
        "Kubernetes",
        "bootstrap token",
        r"[a-z0-9]{6}\.[a-z0-9]{16}",
        "kubeadm join 192.0.2.1:6443 --token <low:6>.<low:16>",
        no=("file <low:6>.<low:16>", "kubeadm join --token <low:6>.<low:8>"),
        keys=("kubeadm", "bootstrap-token", "tls-bootstrap-token"),
        check=letters_and_digits,
        doc=("abcdef.<>0123456789abcdef",),
    ),
    cred(
        "rancher-token",
        "Rancher",
        "API token",
        r"token-[a-z0-9]{5}:[a-z0-9]{54}",
        "RANCHER_TOKEN=token-<low:5>:<low:54>",
        no=("token-<low:5>:<low:12>", "broken-<low:5>:<low:54>"),
    ),
    cred(
        "openshift-token",
        "OpenShift",
        "user token",
        r"sha256~[A-Za-z0-9_-]{43}",
        "oc login --token=sha256~<url:42>a",
        no=("sha256~<url:12>", "sha256:<url:43>"),
    ),
)
