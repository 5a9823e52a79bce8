#!/usr/bin/env bash
# Installs the system packages of a group that are missing: scripts/install-packages.sh build|test|bench|bench-membership
#
# Debian and Ubuntu only; says what it installs. Where it may not install, it prints the command and ends with 1.
set -euo pipefail

build=(libtesseract-dev libleptonica-dev libsqlite3-dev libtiff-dev libpoppler-cpp-dev zlib1g-dev libzstd-dev
    libqpdf-dev tesseract-ocr-eng tesseract-ocr-deu tesseract-ocr-fra)
case "${1:-}" in
build) wanted=("${build[@]}") ;;
test)
    wanted=("${build[@]}" gzip iproute2 jq libxml2-utils nftables poppler-utils python3 python3-venv qpdf sqlite3 zstd)
    for language in spa frk ita nld lat heb ara hin jpn chi-sim por script-frak; do
        wanted+=("tesseract-ocr-$language")
    done
    ;;
bench) wanted=("${build[@]}" parallel tesseract-ocr postgresql python3 python3-tesserocr) ;;
bench-membership) wanted=("${build[@]}" iproute2 nftables python3) ;;
*)
    echo "usage: scripts/install-packages.sh build|test|bench|bench-membership" >&2
    exit 64
    ;;
esac

# Installing Debian's serf would start an agent that listens on all interfaces. Only its program is wanted: it is unpacked
# into .build/serf, and nothing is installed. Without it the benchmark measures our side alone.
unpack_serf() {
    local target scratch
    target="$(cd "$(dirname "$0")/.." && pwd)/.build/serf"
    if [ -x "$target/usr/bin/serf" ] || command -v serf >/dev/null; then return 0; fi
    if ! command -v apt-get >/dev/null; then
        echo "install-packages: no apt-get to get serf with; its side is not measured" >&2
        return 0
    fi
    scratch=$(mktemp -d)
    if (cd "$scratch" && apt-get -qq download serf 2>/dev/null) && dpkg-deb -x "$scratch"/serf_*.deb "$target" &&
        dpkg-deb -f "$scratch"/serf_*.deb Version >"$target/version"; then
        echo "install-packages: serf $(cat "$target/version") is in $target" >&2
    else
        rm -rf "$target"
        echo "install-packages: serf cannot be had here; its side is not measured" >&2
    fi
    rm -rf "$scratch"
}

# The S3 API that tests work with, and the command that fills it, in .build/moto where they are not installed. Without them
# these tests are skipped, and say so.
install_moto() {
    local target
    target="$(cd "$(dirname "$0")/.." && pwd)/.build/moto"
    if command -v moto_server >/dev/null && command -v aws >/dev/null; then return 0; fi
    if [ -x "$target/bin/moto_server" ] && [ -x "$target/bin/aws" ]; then return 0; fi
    if ! python3 -m venv "$target" || ! "$target/bin/pip" install --quiet 'moto[s3,iam,server]' awscli; then
        rm -rf "$target"
        echo "install-packages: moto and awscli cannot be had here; tests with the S3 API are skipped" >&2
    fi
}
# The checker of hOCR that tests ask, in .build/hocr-tools where it is not installed. Without it they are skipped, and say so.
install_hocr_tools() {
    local target
    target="$(cd "$(dirname "$0")/.." && pwd)/.build/hocr-tools"
    if command -v hocr-check >/dev/null || [ -x "$target/bin/hocr-check" ]; then return 0; fi
    if ! python3 -m venv "$target" || ! "$target/bin/pip" install --quiet hocr-tools; then
        rm -rf "$target"
        echo "install-packages: hocr-tools cannot be had here; tests with hocr-check are skipped" >&2
    fi
}
group=$1
finish() {
    if [ "$group" = bench-membership ]; then unpack_serf; fi
    if [ "$group" = test ]; then
        install_moto
        install_hocr_tools
    fi
    exit 0
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    # Elsewhere the libraries may well be there under other names: only what the compiler would miss is an error.
    if command -v pkg-config >/dev/null && pkg-config --exists tesseract lept sqlite3 libtiff-4 poppler-cpp libzstd libqpdf; then
        echo "install-packages: not Debian or Ubuntu; tesseract, leptonica, sqlite3, libtiff, poppler, zstd and qpdf were found" >&2
        finish
    fi
    cat >&2 <<END
install-packages: this script knows apt-get only. Install what this system calls:
  ${wanted[*]} pkg-config
  (headers of tesseract, leptonica, sqlite3, libtiff, poppler-cpp, zstd and qpdf; language models of tesseract)
END
    exit 1
fi

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${wanted[@]}"; do
    is_installed "$package" || missing+=("$package")
done
# pkg-config comes in two packages; the C++ library's headers in one for each version of GCC.
command -v pkg-config >/dev/null || missing+=(pkg-config)
compgen -G '/usr/include/c++/*/vector' >/dev/null || missing+=(g++)
[ ${#missing[@]} -gt 0 ] || finish

command=(apt-get install -y --no-install-recommends "${missing[@]}")
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        cat >&2 <<END
install-packages: these system packages are missing, and only root may install them:
  ${missing[*]}
Run this, then try again:
  sudo apt-get update && sudo ${command[*]}
END
        exit 1
    fi
fi

echo "install-packages: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
run() { if [ ${#as_root[@]} -gt 0 ]; then "${as_root[@]}" "$@"; else "$@"; fi; }
if ! run apt-get update -qq >&2; then
    echo "install-packages: apt-get update failed; going on with the package lists that are there" >&2
fi
if ! run "${command[@]}" >&2; then
    cat >&2 <<END
install-packages: apt-get could not install them (its messages are above). Install them by hand, then try again:
  sudo apt-get update && sudo ${command[*]}
END
    exit 1
fi
finish
