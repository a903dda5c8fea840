#!/bin/sh
# Makes .venv with .venv/bin/carboy: finds Python 3.13 or 3.14 (or fetches one with uv), installs the locked
# dependencies, and bubblewrap where that is possible. Safe to run again: it does nothing when all is in place.
#
#   scripts/setup.sh [run|dev]      run: what `carboy` needs; dev: also what the tests need
#
# CARBOY_PYTHON names an interpreter to use instead of searching.
set -eu
cd "$(dirname "$0")/.."
# Company networks re-sign TLS with their own authority: trust what the system trusts (old and new name of the switch).
export UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1
kind=${1:-run}
lock=requirements/$kind.lock

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Any of the two supported versions that can run; the shims of version managers exist for versions that do not.
supported() {
    "$1" -c 'import sys; sys.exit(not ((3, 13) <= sys.version_info < (3, 15)))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${CARBOY_PYTHON:-}" ]; then
        supported "$CARBOY_PYTHON" || fail "CARBOY_PYTHON=$CARBOY_PYTHON is not a working Python 3.13 or 3.14"
        echo "$CARBOY_PYTHON CARBOY_PYTHON"
        return
    fi
    for name in python3.13 python3.14 python3 python; do
        path=$(command -v "$name" 2>/dev/null) || continue
        if supported "$path"; then echo "$path PATH"; return; fi
    done
    for root in $(pyenv_roots); do
        for path in "$root"/versions/3.13.*/bin/python "$root"/versions/3.14.*/bin/python; do
            if [ -x "$path" ] && supported "$path"; then echo "$path pyenv"; return; fi
        done
    done
    if uv=$(find_uv) && path=$("$uv" python find --no-python-downloads '>=3.13,<3.15' 2>/dev/null) && supported "$path"; then
        echo "$path uv"
    fi
}

# Where pyenv keeps its interpreters: said by the variable, by the home, or by where its program lies.
pyenv_roots() {
    [ -z "${PYENV_ROOT:-}" ] || echo "$PYENV_ROOT"
    echo "$HOME/.pyenv"
    if pyenv=$(command -v pyenv 2>/dev/null); then dirname "$(dirname "$pyenv")"; fi
}

find_uv() {
    for path in "$(command -v uv 2>/dev/null)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv" .cache/uv/bin/uv; do
        if [ -n "$path" ] && [ -x "$path" ]; then echo "$path"; return 0; fi
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo -n "$@"; else return 1; fi
}

apt_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    # The lists are fetched only when the package is unknown: a fresh image has none.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return 0
    as_root apt-get update -qq >/dev/null 2>&1 || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
}

fetch_uv() {
    mkdir -p .cache/uv
    for name in python3 python; do
        command -v "$name" >/dev/null 2>&1 || continue
        if "$name" -m pip --version >/dev/null 2>&1 \
            && "$name" -m pip install -q --disable-pip-version-check --target .cache/uv --upgrade uv >/dev/null 2>&1; then return 0; fi
        if "$name" -m venv .cache/uv-venv >/dev/null 2>&1 && .cache/uv-venv/bin/pip install -q uv >/dev/null 2>&1; then
            mkdir -p .cache/uv/bin && ln -sf ../../uv-venv/bin/uv .cache/uv/bin/uv
            return 0
        fi
    done
    if apt_install python3-pip && python3 -m pip install -q --break-system-packages --target .cache/uv uv >/dev/null 2>&1; then return 0; fi
    if command -v curl >/dev/null 2>&1; then
        curl -fsSL --max-time 120 https://astral.sh/uv/install.sh 2>/dev/null \
            | UV_UNMANAGED_INSTALL="$PWD/.cache/uv/bin" sh >/dev/null 2>&1 && return 0
    fi
    return 1
}

make_venv() {
    found=$(find_python)
    if [ -z "$found" ] && apt_install python3.13-venv; then found=$(find_python); fi
    if [ -z "$found" ]; then
        find_uv >/dev/null || fetch_uv || fail "no Python 3.13 or 3.14 here, and uv could not be fetched to get one: install either (https://docs.astral.sh/uv), or set CARBOY_PYTHON"
        say "no Python 3.13 or 3.14 found; fetching one with uv"
        uv=$(find_uv)
        "$uv" python install 3.13 >&2 || fail "uv could not fetch Python 3.13: install Python 3.13 or 3.14, or set CARBOY_PYTHON"
        found="$("$uv" python find 3.13) uv"
    fi
    python=${found% *}
    say "using $("$python" -V 2>&1) at $python (found by: ${found##* })"
    if "$python" -c 'import ensurepip' >/dev/null 2>&1; then
        "$python" -m venv .venv
    else
        # Debian's python3 comes without ensurepip; uv needs neither.
        find_uv >/dev/null || fetch_uv || fail "$python has no ensurepip and uv could not be fetched: apt-get install python3-venv, or install uv"
        "$(find_uv)" venv -q --python "$python" .venv
    fi
}

install_locked() {
    if uv=$(find_uv); then
        # uv leaves compiling to the first start; a zygote that compiles keeps 5 MB of holes from it
        VIRTUAL_ENV="$PWD/.venv" "$uv" pip install -q --compile-bytecode --python .venv/bin/python --require-hashes -r "$lock" || return 1
    else
        .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "$lock" || return 1
    fi
    # The project itself: a path file and the entry point, so that an edit shows without another install.
    site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$PWD" > "$site/carboy.pth"
    printf '#!%s\nimport sys\nfrom app.__main__ import main\nsys.exit(main())\n' "$PWD/.venv/bin/python" > .venv/bin/carboy
    chmod +x .venv/bin/carboy
    .venv/bin/python -m compileall -q app sidecar || true
}

find_sandbox() {
    [ "$(uname -s)" = Linux ] || return 0
    command -v bwrap >/dev/null 2>&1 && return 0
    if apt_install bubblewrap; then say "installed bubblewrap"; return 0; fi
    say "bubblewrap is not installed and could not be: the built-in Python engine serves instead (better: apt-get install bubblewrap)"
}

stamp=.venv/.ready-$kind
want=$(cat "$lock" pyproject.toml scripts/setup.sh | cksum)
if [ -x .venv/bin/carboy ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && supported .venv/bin/python; then
    exit 0
fi
if [ -e .venv ] && ! supported .venv/bin/python; then
    say "the interpreter of .venv is gone or too old: making it anew"
    rm -rf .venv
fi
[ -e .venv ] || make_venv
say "installing the locked dependencies ($lock)"
install_locked || fail "the dependencies could not be installed: see the lines above"
find_sandbox
printf '%s' "$want" > "$stamp"
say "ready: .venv/bin/carboy"
