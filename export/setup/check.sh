#!/bin/sh
# Looks for the tools that a build needs and, for each that is missing or too old, prints the one command that installs
# it. Silent and 0 when all is there, 2 otherwise. Usage: check.sh [python] [rust] [cc]; without arguments all three.
set -u
here=$(dirname "$0")
python=${PYTHON:-python3}
missing=0

# The name of a package differs between systems: "$1" Debian and Ubuntu, "$2" Fedora, "$3" Arch, "$4" Alpine, "$5" Homebrew.
install_command() {
    sudo=""
    if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null 2>&1; then sudo="sudo "; fi
    if command -v apt-get >/dev/null 2>&1; then echo "${sudo}apt-get install -y $1"
    elif command -v dnf >/dev/null 2>&1; then echo "${sudo}dnf install -y $2"
    elif command -v pacman >/dev/null 2>&1; then echo "${sudo}pacman -S --noconfirm $3"
    elif command -v apk >/dev/null 2>&1; then echo "${sudo}apk add $4"
    elif [ "$5" = xcode ] && [ "$(uname -s)" = Darwin ]; then echo "xcode-select --install"
    elif command -v brew >/dev/null 2>&1; then echo "brew install $5"
    else echo "(no known package manager here: install \`$1\` by hand)"
    fi
}

say() {
    missing=1
    printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
}

check_python() {
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1; then
        say "\`$python\` is missing, or older than Python 3.8" "$(install_command 'python3 python3-pip' 'python3 python3-pip' 'python python-pip' 'python3 py3-pip' python)"
    elif ! "$python" -m pip --version >/dev/null 2>&1; then
        say "\`$python\` has no pip" "$(install_command python3-pip python3-pip python-pip py3-pip python)"
    elif ! "$python" -c 'import venv' >/dev/null 2>&1; then
        say "\`$python\` has no module \`venv\`" "$(install_command python3-venv python3 python python3 python)"
    fi
}

check_rust() {
    needed=$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$here/../../Cargo.toml")
    found=$(cargo --version 2>/dev/null | awk '{ print $2 }')
    if [ -z "$found" ]; then
        if command -v rustup >/dev/null 2>&1; then
            say "rustup is here, but no Rust toolchain" "rustup default stable"
        else
            say "Rust is missing (\`cargo\` was not found)" "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
        fi
    elif ! echo "$found $needed" | awk '{ split($1, f, "[.-]"); split($2, n, "."); exit !(f[1] > n[1] || (f[1] == n[1] && f[2] >= n[2])) }'; then
        if command -v rustup >/dev/null 2>&1; then
            say "Rust is $found, this needs $needed or newer" "rustup update stable"
        else
            say "Rust is $found, this needs $needed or newer" "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
        fi
    fi
}

# A compiler without the C library's headers is the usual half-installed state, so a program is built.
check_cc() {
    cc=${CC:-cc}
    if ! printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' | $cc -x c - -o /dev/null >/dev/null 2>&1; then
        say "no C compiler that works (\`$cc\` could not build a program)" "$(install_command build-essential 'gcc glibc-devel' base-devel build-base xcode)"
    fi
}

[ $# -gt 0 ] || set -- python rust cc
for tool in "$@"; do
    case $tool in
        python) check_python ;;
        rust) check_rust ;;
        cc) check_cc ;;
        *) say "\`$tool\` is no tool that this script knows" "use python, rust or cc" ;;
    esac
done
[ "$missing" = 0 ] || exit 2
