#!/bin/sh
# MCP servers that do what they should not: sh test/fakes/hostile.sh fork|stubborn|garbage|stderr|silent [MARK]
case $1 in
  fork)
    for n in 1 2 3; do setsid sh -c 'trap "" INT TERM HUP; while :; do sleep 5; done' "$@" & done
    while read -r _; do :; done
    ;;
  stubborn)
    trap '' INT TERM HUP
    while :; do sleep 5; done
    ;;
  garbage)
    trap '' INT TERM HUP
    while :; do echo 'Server ready! {"jsonrpc": [['; done
    ;;
  stderr)
    trap '' INT TERM HUP
    while :; do echo 'warning: warning: warning' >&2; done
    ;;
  silent)
    sleep 600
    ;;
esac
