#!/usr/bin/env bash
# Builds the book of the documents. A warning is an error.
set -euo pipefail

said=$(mdbook build 2>&1) || { echo "$said" >&2; exit 1; }
if grep -q WARN <<< "$said"; then
    echo "$said" >&2
    exit 1
fi
echo "$PWD/target/book/index.html"
