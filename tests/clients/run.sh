#!/bin/sh
# Others' clients, and publishing from others' servers, against the real binary. `CLIENTS=curl,php` runs only these.
[ $# -gt 0 ] || set -- all.js
cd "$(dirname "$0")" && exec node --test --test-concurrency=1 --test-reporter=spec "$@"
