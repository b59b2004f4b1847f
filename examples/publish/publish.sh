#!/bin/sh
# curl: echo '{"total":10}' | ./publish.sh
# The same key is the same event, so what got no answer may be sent again.
exec curl --silent --show-error --fail-with-body \
  --retry 10 --retry-delay 1 --retry-all-errors --max-time 10 \
  --header 'Content-Type: application/json' --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" \
  --data-binary @- "${RIACHO:-http://127.0.0.1:4700}/streams/orders?type=placed"
