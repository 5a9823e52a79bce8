#!/usr/bin/env bash
# Recognises the sample scans, or a folder of yours, on a node of its own and shows the text: called by `make demo`.
#
#   SCANS=DIR       a folder instead of the samples; LANGUAGE=eng (or deu+eng) is the language of its pages
#   NODE_BIN=FILE   the binary (default .build/release/node)
#   DEMO_TIMEOUT    how long to wait for the text (default 1800s)
# The node keeps its data in a temporary directory that is removed at the end; the text stays in demo-data/.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
node=${NODE_BIN:-$root/.build/release/node}
batch=demo
scans=${SCANS:+$(cd "$SCANS" && pwd)}
output=$root/demo-data
# A short path: the name of a Unix socket may have 107 bytes.
data=$(mktemp -d /tmp/ocr-demo.XXXXXX)
export NODE_DATA_DIR=$data/node
stopped=no

cleanup() {
    status=$?
    trap - EXIT INT TERM
    if [ "$stopped" = no ] && [ -e "$NODE_DATA_DIR/lock" ]; then
        "$node" drain --restart --deadline 10s >/dev/null 2>&1 || true
        # The lock file names the process; ask it once more if the drain did not end it.
        pid=$(head -n 1 "$NODE_DATA_DIR/lock" 2>/dev/null || true)
        if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$(readlink -f "$node")" ]; then
            kill "$pid" 2>/dev/null || true
        fi
    fi
    if [ "$status" -ne 0 ]; then
        echo "demo: failed (exit code $status)" >&2
        for log in "$NODE_DATA_DIR"/*.log; do
            [ -s "$log" ] && { echo "demo: last lines of $log:" >&2; tail -n 20 "$log" >&2; }
        done
    fi
    rm -rf "$data"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n== %s\n' "$*"; }

if [ ! -x "$node" ]; then
    echo "demo: $node is not there: run make demo, which builds it" >&2
    exit 1
fi

say "Starting a node (data in $NODE_DATA_DIR)"
"$node" start --detach

if [ -n "$scans" ]; then
    say "Submitting $scans (language ${LANGUAGE:-eng})"
    "$node" submit "$scans" --batch "$batch" --language "${LANGUAGE:-eng}"
else
    say "Submitting the sample scans of Samples/manifest.csv"
    (cd "$root/Samples" && "$node" submit --manifest manifest.csv --batch "$batch" --language eng)
fi

say "Recognising"
result=0
"$node" wait --batch "$batch" --timeout "${DEMO_TIMEOUT:-1800s}" || result=$?
case $result in
0) ;;
1)
    echo "Some files could not be recognised; the reasons:"
    "$node" jobs --batch "$batch" --outcome failed
    ;;
2)
    echo "demo: not done after ${DEMO_TIMEOUT:-1800s}; DEMO_TIMEOUT=2h waits longer" >&2
    exit 2
    ;;
*) exit "$result" ;;
esac
"$node" status

say "Exporting"
rm -rf "$output"
mkdir -p "$output"
# --partial: files that failed are named above and must not hide the text of the others.
"$node" export --batch "$batch" --format jsonl --partial -o "$output/pages.jsonl"
"$node" export --batch "$batch" --format text --partial -o "$output/text"

say "Text (the first lines of each file)"
count=0
total=$(find "$output/text" -type f -name '*.txt' | wc -l)
while IFS= read -r -d '' file; do
    count=$((count + 1))
    if [ "$count" -gt 20 ]; then
        echo "… and $((total - 20)) more"
        break
    fi
    printf '\n--- %s\n' "${file#"$output/text/"}"
    LC_ALL=C awk '/[^[:space:]]/ && shown++ < 6; END { if (!shown) print "(blank page)" }' "$file"
done < <(find "$output/text" -type f -name '*.txt' -print0 | sort -z)

say "Stopping the node"
"$node" drain --restart
stopped=yes

say "Done. One line of JSON for each page: demo-data/pages.jsonl; the text: demo-data/text/"
