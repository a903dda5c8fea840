"""Private keys, connection strings and login files: no vendor's token, but formats that software defines. Data only.

Formats: RFC 7468 and 4716 (PEM), age-encryption.org, WireGuard, PuTTY, minisign; RFC 3986, libpq, JDBC.
"""

import base64

from sidecar.dlp.patterns.vendors.define import cred, sample
from sidecar.dlp.patterns.vendors.structure import (
    basic_credentials,
    bech32,
    key_value_password,
    mixed,
    netrc_password,
    pem_in_base64,
    unbase64,
    url_with_password,
)

_USER = r"[A-Za-z0-9._%~+@-]{0,80}"
_LOGIN = r"[A-Za-z0-9._~!$&()*+,;=%:^#?-]{3,160}"
_HOST = r"@[A-Za-z0-9.\[\]_-]{1,160}"
_BODY = r"[A-Za-z0-9+/=\s\\]"
_LONG_BODY = rf"{_BODY}{{64,1000}}{_BODY}{{0,1000}}{_BODY}{{0,1000}}"
_JWK = r'\\{{0,2}}"{}\\{{0,2}}"\s{{0,4}}:\s{{0,4}}\\{{0,2}}"[A-Za-z0-9_-]'
_NEXT = r'\\{0,2}"\s{0,4},[\s\\n]{0,8}'
_AGE = "AGE-SECRET-KEY-1<>GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"


def _pem(kind: str, body: str = "<b64:64>\n<b64:64>\n<b64:64>\n<b64:64>\n") -> str:
    return f"-----BEGIN {kind}-----\n{sample(body)}-----END {kind}-----\n"


def _marked(mark: str) -> str:
    """A key with something before each line, as tools show files."""
    return mark + _pem("EC PRIVATE KEY").replace("\n", "\n" + mark)


_KEYS = (
    cred(
        "pem-private-key",
        "PEM",
        "private key (PKCS#8, RSA, EC, DSA, encrypted ones too)",
        rf"-----BEGIN (?:(?:RSA|EC|DSA|ENCRYPTED|ANY|ED25519) )?PRIVATE KEY-----{_LONG_BODY}",
        _pem("RSA PRIVATE KEY"),
        _pem("PRIVATE KEY").replace("\n", "\\n"),
        _pem("EC PRIVATE KEY"),
        no=(_pem("PUBLIC KEY"), "-----BEGIN PRIVATE KEY-----\nshort\n-----END", _pem("CERTIFICATE")),
        edge="none",
        prefix=10,
    ),
    cred(
        "private-key-in-marked-lines",
        "PEM",
        "private key with line numbers, quotation marks or comments between its lines",
        rf"-----BEGIN (?:(?:RSA|EC|DSA|ENCRYPTED|ANY|ED25519|OPENSSH|PGP) )?PRIVATE KEY(?: BLOCK)?-----{_BODY}{{0,40}}"
        r"[^A-Za-z0-9+/=\s\\][^\x00]{0,120}[A-Za-z0-9+/]{60}",
        _marked("     1: "),
        _marked("> "),
        _marked("keys/id_ec:1:"),
        _pem("OPENSSH PRIVATE KEY").replace("\n", '",\n  "'),
        _pem("PRIVATE KEY").replace("\n", "<br>"),
        no=(_marked("> ").replace("PRIVATE", "PUBLIC"), "> -----BEGIN PRIVATE KEY-----\n> ...\n> -----END"),
        check=lambda text: mixed(text[-60:]),
        edge="none",
        prefix=10,
    ),
    cred(
        "pem-private-key-with-headers",
        "PEM",
        "private key with an encryption header",
        rf"-----BEGIN (?:RSA|EC|DSA) PRIVATE KEY-----[\s\\nr]{{1,6}}Proc-Type: 4,ENCRYPTED[\s\\nr]{{1,6}}"
        rf"DEK-Info: [A-Z0-9,-]{{8,80}}{_BODY}{{64,1000}}{_BODY}{{0,1000}}",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,<HEX:32>\n\n"
        "<b64:64>\n<b64:64>\n",
        no=("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", _pem("RSA PUBLIC KEY")),
        edge="none",
        prefix=10,
    ),
    cred(
        "openssh-private-key",
        "OpenSSH",
        "private key",
        rf"-----BEGIN OPENSSH PRIVATE KEY-----{_LONG_BODY}",
        _pem("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEAAAAA<b64:46>\n<b64:70>\n<b64:70>\n"),
        no=("-----BEGIN OPENSSH PRIVATE KEY-----\n...\n", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI<b64:43>"),
        edge="none",
        prefix=10,
    ),
    cred(
        "ssh2-private-key",
        "SSH",
        "private key (SSH2 or SSH.com)",
        rf"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----{_BODY}{{0,80}}[A-Za-z0-9+/=\s\\:\"'_.,;@-]{{64,1000}}",
        '---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: "key"\n<b64:70>\n<b64:70>\n',
        '---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: "2048-bit rsa, mine"\n<b64:70>\n<b64:70>\n',
        no=("---- BEGIN SSH2 PUBLIC KEY ----\n<b64:140>", "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----"),
        edge="none",
        prefix=10,
    ),
    cred(
        "pgp-private-key",
        "PGP",
        "private key block",
        r"-----BEGIN PGP PRIVATE KEY BLOCK-----[A-Za-z0-9+/=\s\\:.()-]{64,1000}[A-Za-z0-9+/=\s\\]{0,1000}",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n<b64:64>\n<b64:64>\n<b64:64>\n",
        no=("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n<b64:200>", "-----BEGIN PGP PRIVATE KEY BLOCK-----"),
        edge="none",
        prefix=10,
    ),
    cred(
        "putty-private-key",
        "PuTTY",
        "private key file",
        r"PuTTY-User-Key-File-[123]: [a-z0-9@.-]{4,40}[A-Za-z0-9+/=\s\\:.,@_-]{40,1000}",
        "PuTTY-User-Key-File-<>3: ssh-ed25519\nEncryption: none\nComment: k\n"
        "Public-Lines: 2\n<b64:64>\nPrivate-Lines: 1\n<b64:44>",
        no=("PuTTY-User-Key-File-3", "PuTTY-User-Key-File-9: ssh-ed25519\nEncryption: none\n<b64:64>"),
        edge="none",
        prefix=10,
    ),
    cred(
        "cosign-private-key",
        "Sigstore",
        "encrypted cosign key",
        rf"-----BEGIN ENCRYPTED (?:COSIGN|SIGSTORE) PRIVATE KEY-----{_BODY}{{64,1000}}",
        _pem("ENCRYPTED SIGSTORE PRIVATE KEY"),
        no=(_pem("SIGSTORE PUBLIC KEY"), "-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----"),
        edge="none",
        prefix=10,
    ),
    cred(
        "pem-in-base64",
        "Kubernetes",
        "private key in base64 (kubeconfig client-key-data and the like)",
        r"LS0tLS1CRUdJTi(?:BSU0EgUF|BQUklW|BFQyBQ|BPUEVO|BFTkNS|BEU0Eg)[A-Za-z0-9+/=]{90,1000}[A-Za-z0-9+/=]{0,1000}",
        "client-key-data: " + base64.b64encode(_pem("RSA PRIVATE KEY").encode()).decode(),
        no=(
            "certificate-authority-data: " + base64.b64encode(_pem("CERTIFICATE").encode()).decode(),
            "LS0tLS1CRUdJTi<b64:20>",
        ),
        check=pem_in_base64,
        edge="left",
    ),
    cred(
        "age-secret-key",
        "age",
        "secret key",
        r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
        f"# created: 2030\n{_AGE}",
        no=(_AGE[:-3] + "XEA", "AGE-SECRET-KEY-1GFPYYSJZ"),
        check=bech32,
    ),
    cred(
        "age-plugin-identity",
        "age",
        "post-quantum secret key or plugin identity",
        r"AGE-(?:SECRET-KEY-PQ|PLUGIN-[A-Z0-9-]{2,40})-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{16,400}",
        "AGE-PLUGIN-YUBIKEY-1<>QYZG5YSJZR2TVDW0S3JN54KHCE6MUA7L",
        no=("AGE-PLUGIN-YUBIKEY-1QQ", "age1yubikey1q<low:58>"),
        prefix=4,
    ),
    cred(
        "wireguard-private-key",
        "WireGuard",
        "private or preshared key",
        r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=",
        "[Interface]\nPrivateKey = <b64:42>w=",
        "PresharedKey = <b64:42>A=",
        no=("PublicKey = <b64:42>A=", "PrivateKey = <b64:20>="),
        keys=("privatekey", "presharedkey", "wg_private_key", "wireguard_private_key"),
        check=lambda text: len(unbase64(text)) == 32,
        edge="left",
    ),
    cred(
        "minisign-secret-key",
        "minisign",
        "secret key",
        r"RWRTY0Iy[A-Za-z0-9+/]{200}={0,2}",
        "untrusted comment: minisign encrypted secret key\nRWRTY0Iy<b64:200>==",
        no=("RWRTY0Iy<b64:40>", "RWQf6LRCGA9i<b64:44>"),
        edge="left",
    ),
    cred(
        "openvpn-static-key",
        "OpenVPN",
        "static key",
        r"-----BEGIN OpenVPN Static key V1-----[0-9a-f\s\\nr]{256,700}",
        "-----BEGIN OpenVPN Static key V1-----\n" + "<hex:32>\n" * 16,
        no=("-----BEGIN OpenVPN Static key V1-----", "-----BEGIN OpenVPN tls-crypt-v2 client key-----"),
        edge="none",
        prefix=10,
    ),
    cred(
        "jwk-private-key",
        "JSON Web Key",
        "private exponent or key",
        rf"(?:{_JWK.format('x')}{{43,90}}{_NEXT})?(?:{_JWK.format('y')}{{43,90}}{_NEXT})?{_JWK.format('d')}{{43,700}}",
        '{"kty":"EC","crv":"P-256","x":"<url:43>","d":"<url:43>"}',
        '{"d": "<url:342>", "dp": "<url:171>", "kty": "RSA"}'.replace('{"d"', '{"kty": "RSA", "d"'),
        '{"kty": "EC", "crv": "P-521", "x": "<url:88>", "y": "<url:88>", "d": "<url:88>"}',
        '{"kty":"RSA","n":"<url:342>","e":"AQAB","d":"<url:342>"}',
        no=('{"kty":"EC","x":"<url:43>"}', '{"d": "<url:43>"}'),
        keys=("kty", "p-256", "p-384", "p-521", "ed25519", "aqab"),
        edge="none",
        prefix=0,
    ),
)

_LOGINS = (
    cred(
        "postgres-url",
        "PostgreSQL",
        "connection string with a password",
        rf"postgres(?:ql)?(?:\+[a-z0-9]{{2,12}})?://{_USER}:{_LOGIN}{_HOST}",
        "DATABASE_URL=postgresql://app:<b62:20>@db.example.org:5432/app",
        "postgres+asyncpg://app:<b62:12>%21@10.0.0.5/app",
        no=(
            "postgresql://user:password@localhost/db",
            "postgres://app@db.example.org/app",
            "postgres://app:${PGPASS}@db/app",
        ),
        check=url_with_password,
        edge="left",
        prefix=8,
    ),
    cred(
        "mysql-url",
        "MySQL",
        "connection string with a password",
        rf"(?:mysql|mariadb)(?:\+[a-z0-9]{{2,12}})?://{_USER}:{_LOGIN}{_HOST}",
        "mysql+pymysql://app:<b62:20>@db.example.org/app",
        no=("mysql://root:root@127.0.0.1/test", "mysql://db.example.org/app"),
        check=url_with_password,
        edge="left",
        prefix=5,
    ),
    cred(
        "mongodb-url",
        "MongoDB",
        "connection string with a password",
        rf"mongodb(?:\+srv)?://{_USER}:{_LOGIN}{_HOST}",
        "MONGODB_URI=mongodb+srv://app:<b62:16>@cluster0.abcde.mongodb.net/app",
        no=("mongodb://user:pass@localhost:27017", "mongodb://localhost:27017/app"),
        check=url_with_password,
        edge="left",
        prefix=7,
    ),
    cred(
        "redis-url",
        "Redis",
        "connection string with a password",
        rf"(?:redis|rediss|valkey)://{_USER}:{_LOGIN}{_HOST}",
        "REDIS_URL=rediss://default:<b62:32>@x.upstash.io:6379",
        "redis://:<b62:24>@cache.example.org:6379/0",
        no=("redis://:password@localhost:6379", "redis://localhost:6379/0"),
        check=url_with_password,
        edge="left",
        prefix=5,
    ),
    cred(
        "amqp-url",
        "RabbitMQ",
        "connection string with a password",
        rf"amqps?://{_USER}:{_LOGIN}{_HOST}",
        "CLOUDAMQP_URL=amqps://app:<url:32>@x.rmq.cloudamqp.com/app",
        no=("amqp://guest:guest@localhost:5672", "amqp://localhost"),
        check=url_with_password,
        edge="left",
        prefix=4,
    ),
    cred(
        "database-url",
        "Databases",
        "connection string with a password (SQL Server, ClickHouse, Oracle, Cassandra, Neo4j, Snowflake …)",
        r"(?:mssql|sqlserver|clickhouses?|oracle|cockroachdb|redshift|snowflake|trino|db2|couchbase|neo4j|bolt"
        rf"|kafka|nats|ldaps?|libsql)(?:\+[a-z0-9_]{{2,12}})?://{_USER}:{_LOGIN}{_HOST}",
        "mssql+pyodbc://sa:<b62:20>@sql.example.org/app",
        "snowflake://app:<b62:20>@org-account/db",
        "clickhouse://default:<b62:16>@ch.example.org:9440",
        no=("mssql://user:password@host/db", "nats://localhost:4222"),
        check=url_with_password,
        edge="left",
        prefix=0,
    ),
    cred(
        "smtp-url",
        "SMTP",
        "address with a password (FTP, SFTP, SSH too)",
        rf"(?:smtps?|s?ftps?|ssh|imaps?|webdavs?|davs?)://{_USER}:{_LOGIN}{_HOST}",
        "EMAIL_URL=smtp://app:<b62:20>@smtp.example.org:587",
        "sftp://deploy:<b62:16>@files.example.org/in",
        no=("smtp://user:pass@smtp.example.org", "ftp://ftp.example.org/pub"),
        check=url_with_password,
        edge="left",
        prefix=0,
    ),
    cred(
        "http-url-password",
        "HTTP",
        "address with a password",
        rf"https?://{_USER}:{_LOGIN}{_HOST}",
        "https://deploy:<b62:24>@git.example.org/o/r.git",
        "http://admin:<b62:16>@10.0.0.1:8080/",
        no=("https://user:pass@example.org", "https://example.org:8080/@x", "https://user:${TOKEN}@example.org/"),
        check=url_with_password,
        edge="left",
        prefix=4,
    ),
    cred(
        "http-basic-auth",
        "HTTP",
        "Basic credentials in a header",
        r"(?i)basic [=a-z0-9+/]{12,800}",
        "Authorization: Basic " + base64.b64encode(sample("deploy:<b62:24>").encode()).decode(),
        no=("Authorization: Basic " + base64.b64encode(b"user:password").decode(), "Authorization: Basic <b64:40>"),
        keys=("authorization",),
        check=basic_credentials,
        edge="left",
        prefix=6,
        doc=("Basic <>czZCaGRSa3F0MzpnWDFmQmF0M2JW", "Basic <>QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 6749, RFC 7617
    ),
    cred(
        "ado-connection-string",
        "SQL Server",
        "connection string with a password",
        r"(?i)(?:server|data source|host)\s{0,3}=[^;\"'\r\n]{2,120};[^\"'\r\n]{0,200}"
        r"(?:password|pwd)\s{0,3}=\s{0,3}[^;\"'\s]{4,128}",
        "Server=tcp:x.database.windows.net,1433;Initial Catalog=app;User ID=app;Password=<b62:18>!;Encrypt=True;",
        "Host=db.example.org;Username=app;Password=<b62:20>",
        no=("Server=x;User ID=app;Password=password;", "Server=x;Password={your_password};", "host=x;user=y"),
        check=key_value_password,
        edge="left",
        prefix=0,
    ),
    cred(
        "jdbc-url",
        "JDBC",
        "address with a password",
        r"jdbc:[a-z0-9:]{2,40}//[A-Za-z0-9._:,/-]{1,160}[?;][A-Za-z0-9_=&;.%:/-]{0,200}(?:password|PWD|pwd|Password)="
        r"[A-Za-z0-9._~!$()*+%^#-]{4,128}",
        "jdbc:postgresql://db.example.org:5432/app?user=app&password=<b62:20>",
        "jdbc:sqlserver://sql.example.org:1433;databaseName=app;user=sa;password=<b62:20>",
        no=("jdbc:postgresql://localhost/test?user=test&password=test", "jdbc:mysql://localhost/app"),
        check=key_value_password,
        edge="left",
        prefix=5,
    ),
    cred(
        "libpq-connection",
        "PostgreSQL",
        "keyword connection string with a password",
        r"host=[A-Za-z0-9._/-]{1,120} [A-Za-z0-9_=./ -]{0,160}password=[A-Za-z0-9._~!$()*+%^#&?,:;-]{4,128}",
        "host=db.example.org port=5432 dbname=app user=app password=<b62:20>",
        no=("host=localhost user=postgres password=postgres", "host=localhost dbname=app"),
        check=key_value_password,
        edge="left",
        prefix=5,
    ),
    cred(
        "netrc-login",
        "netrc",
        "login of a machine",
        r"machine\s{1,4}[A-Za-z0-9.:_-]{3,120}\s{1,8}login\s{1,4}[A-Za-z0-9._%+@-]{1,120}"
        r"\s{1,8}password\s{1,4}[A-Za-z0-9._~!$&()*+,;:=%^#?@/-]{4,200}",
        "machine api.example.org\n  login deploy\n  password <b62:24>\n",
        no=("machine example.com login user password password", "machine example.com login <user> password <token>"),
        check=netrc_password,
        edge="left",
        prefix=7,
    ),
    cred(
        "pgpass-line",
        "PostgreSQL",
        "line of a password file",
        r"[A-Za-z0-9._-]{3,120}:[0-9]{4,5}:[A-Za-z0-9_*-]{1,60}:[A-Za-z0-9_-]{1,60}"
        r":[A-Za-z0-9._~!$&()*+,;=%^#?@-]{6,128}",
        "cat .pgpass\ndb.example.org:5432:app:app:<b62:20>",
        no=("db.example.org:5432:app:app:<b62:20>", ".pgpass\nlocalhost:5432:*:app:pw"),
        keys=("pgpass",),
        check=lambda text: url_with_password("x://u:" + text.rsplit(":", 1)[1] + "@h"),
        prefix=0,
    ),
    cred(
        "unix-password-hash",
        "Unix",
        "password hash (shadow, htpasswd)",
        r"\$(?:1|5|6|y|2[aby]|apr1|argon2i|argon2id)\$[A-Za-z0-9./$=,+-]{30,140}",
        "root:$6$<b62:16>$<b62:86>:19000:0:99999:7:::",
        "admin:$2y$10$<b62:53>",
        no=("$6$<b62:8>", "$9$<b62:16>$<b62:86>"),
        edge="left",
        prefix=1,
    ),
)

TYPES = _KEYS + _LOGINS
