#!/usr/bin/env bash
# Every relative link of every Markdown file must lead to something. Prints each that does not; ends with 1 then.
set -euo pipefail
cd "$(dirname "$0")/.."

status=0
while IFS= read -r file; do
    # What stands in a code block or in backticks is no link.
    links=$(awk '/^ *```/ { code = !code; next } !code { gsub(/`[^`]*`/, ""); print }' "$file" |
        grep -oE '\]\([^) ]+' | cut -c3- || true)
    while IFS= read -r link; do
        case "$link" in '' | '#'* | *://* | mailto:*) continue ;; esac
        target="$(dirname "$file")/${link%%#*}"
        if [ ! -e "$target" ]; then
            echo "$file: link to $link, which is not there" >&2
            status=1
        fi
    done <<<"$links"
done < <(find . -name '*.md' -not -path './.build*' -not -path './.git/*' -not -path './node_modules/*' | sort)
exit $status
