#!/usr/bin/env bash
# curl and a shell: the fields are taken apart here, and the cursor is kept. `--speed-time` ends a connection that is dead.
# An id counts only when its block is complete, as the standard says: the last one may be cut.
cursor=''
while :; do
  while IFS= read -r line; do
    case $line in
      'id: '*) id=${line#id: } ;;
      'event: '*) type=${line#event: } ;;
      'data: '*) data=${data+$data$'\n'}${line#data: } ;;
      '')
        cursor=${id:-$cursor}
        [ -z "${data+x}" ] || jq --null-input --compact-output --arg type "${type:-message}" --arg data "$data" --arg id "$cursor" \
          '{type: $type, data: $data, id: $id}'
        unset data type id
        ;;
    esac
  done < <(curl --silent --no-buffer --speed-limit 1 --speed-time 45 --header 'Accept: text/event-stream' \
    ${cursor:+--header "Last-Event-ID: $cursor"} "$1")
  unset data type id
  sleep 0.2
done
