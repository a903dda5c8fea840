"""One request for the demo agent where the bottle has no curl: prints the answer as it comes, then its status.

It runs inside the bottle with the bottle's own Python, on the standard library alone, and never imports carboy.
"""

import os
import sys
import urllib.error
import urllib.request


def main(arguments: list[str]) -> None:
    direct = arguments[0] == "--direct"
    if direct:
        for name in list(os.environ):
            if name.lower().endswith("_proxy"):
                del os.environ[name]
        request = urllib.request.Request(arguments[1])  # noqa: S310
    else:
        method, url, key, body = arguments
        headers = {"content-type": "application/json"} | ({"x-api-key": key} if key else {})
        request = urllib.request.Request(url, body.encode() or None, headers, method=method)  # noqa: S310
    try:
        answer = urllib.request.urlopen(request, timeout=4 if direct else 20)  # noqa: S310
    except urllib.error.HTTPError as error:
        answer = error
    except OSError as error:
        print(f"{error}\n000")
        return
    for line in answer:
        print(line.decode(errors="replace"), end="", flush=True)
    print(f"\n{answer.status}")


main(sys.argv[1:])
