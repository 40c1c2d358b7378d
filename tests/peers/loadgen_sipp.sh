#!/usr/bin/env bash
# strowger-loadgen against SIPp on loopback, each as either end: 0 failures on both sides, or exit 1.
#
#   tests/peers/loadgen_sipp.sh [LOADGEN]     default: target/release/strowger-loadgen, else target/debug
#
# Environment: SECONDS_PER_CASE (2), RATE (50), BACKEND (auto). Every case is bounded; exit 77 where sipp is missing.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..

loadgen=${1:-}
for candidate in "$root/${CARGO_TARGET_DIR:-target}"/{release,debug}/strowger-loadgen; do
  [ -n "$loadgen" ] || { [ -x "$candidate" ] && loadgen=$candidate; }
done
[ -x "$loadgen" ] || { echo "no strowger-loadgen: cargo build --release -p strowger-loadgen"; exit 2; }
loadgen=$(realpath "$loadgen")
command -v sipp > /dev/null || { echo "SKIP loadgen_sipp: sipp (Debian: sip-tester) is not installed"; exit 77; }

seconds=${SECONDS_PER_CASE:-2}
rate=${RATE:-50}
calls=$((seconds * rate))
bound=$((seconds + 25))
backend=${BACKEND:-auto}
work=$(mktemp -d)
children=()
cleanup() {
  for child in "${children[@]}"; do kill "$child" 2> /dev/null; done
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 2
ran=0 failed=0

# Waits for a UDP or TCP port of ours to be bound: $1 port.
bound_port() {
  local hex
  hex=$(printf ':%04X ' "$1")
  for _ in $(seq 100); do
    cat /proc/net/{udp,udp6,tcp,tcp6} 2> /dev/null | awk '{print $2" "}' | grep -q "$hex" && return 0
    sleep 0.05
  done
  return 1
}

verdict() { # NAME STATUS_OF_LOADGEN STATUS_OF_SIPP
  ran=$((ran + 1))
  if [ "$2" = 0 ] && [ "$3" = 0 ]; then
    echo "ok   $1"
    return
  fi
  failed=$((failed + 1))
  echo "FAIL $1: strowger-loadgen $2, sipp $3"
  sed 's/^/     /' "$work/loadgen.txt"
  tail -n 25 "$work/sipp.txt" | sed 's/^/     /'
  cat "$work"/*_errors.log 2> /dev/null | head -n 20 | sed 's/^/     /'
}

# Our calling side against a SIPp scenario: NAME ADDRESS PORT "SIPP OPTIONS" LOADGEN OPTIONS...
calling() {
  local name=$1 address=$2 port=$3 sipp_pid sipp_status status
  rm -f "$work"/*_errors.log
  # shellcheck disable=SC2086
  timeout "$bound" sipp -i "$address" -p "$port" -m "$calls" -nostdin -trace_err $4 > "$work/sipp.txt" 2>&1 &
  sipp_pid=$!
  children+=("$sipp_pid")
  bound_port "$port" || echo "sipp did not listen on $port"
  timeout "$bound" "$loadgen" calls --uac --target "$address:$port" --rate "$rate" --calls "$calls" --hold 300ms \
    --backend "$backend" --late-max 5s --quiet --check "${@:5}" > "$work/loadgen.txt" 2>&1
  status=$?
  wait "$sipp_pid"
  sipp_status=$?
  verdict "$name" "$status" "$sipp_status"
}

# SIPp's calls against our answering side: NAME ADDRESS PORT "SIPP OPTIONS" LOADGEN OPTIONS...
answering() {
  local name=$1 address=$2 port=$3 loadgen_pid sipp_status status
  rm -f "$work"/*_errors.log
  timeout "$bound" "$loadgen" calls --uas --uas-listen "$address:$port" --calls "$calls" --duration "$bound"s \
    --backend "$backend" --late-max 5s --quiet --check "${@:5}" > "$work/loadgen.txt" 2>&1 &
  loadgen_pid=$!
  children+=("$loadgen_pid")
  bound_port "$port" || echo "strowger-loadgen did not listen on $port"
  # shellcheck disable=SC2086
  timeout "$bound" sipp "$address:$port" -i "$address" -m "$calls" -r "$rate" -d 300 -nostdin -trace_err $4 \
    > "$work/sipp.txt" 2>&1
  sipp_status=$?
  wait "$loadgen_pid"
  status=$?
  verdict "$name" "$status" "$sipp_status"
}

# A scenario that SIPp prints, run by us as the calling side: NAME PORT SCENARIO CALLS "SIPP OPTIONS" LOADGEN OPTIONS...
playing() {
  local name=$1 port=$2 scenario=$3 many=$4 sipp_pid sipp_status status
  rm -f "$work"/*_errors.log
  sipp -sd "$scenario" > "$work/$scenario.xml" 2> /dev/null
  # shellcheck disable=SC2086
  timeout "$bound" sipp -i 127.0.0.1 -p "$port" -m "$many" -nostdin -trace_err $5 > "$work/sipp.txt" 2>&1 &
  sipp_pid=$!
  children+=("$sipp_pid")
  bound_port "$port" || echo "sipp did not listen on $port"
  timeout "$bound" "$loadgen" sipp -sf "$scenario.xml" "127.0.0.1:$port" -r "$rate" -m "$many" -i 127.0.0.1 -d 300 \
    --backend "$backend" --late-max 5s --quiet --check "${@:6}" > "$work/loadgen.txt" 2>&1
  status=$?
  wait "$sipp_pid"
  sipp_status=$?
  verdict "$name" "$status" "$sipp_status"
}

# SIPp's calls against a scenario that SIPp prints, run by us as the answering side: NAME PORT SCENARIO "SIPP OPTIONS"
answering_by() {
  local name=$1 port=$2 scenario=$3 loadgen_pid sipp_status status
  rm -f "$work"/*_errors.log
  sipp -sd "$scenario" > "$work/$scenario.xml" 2> /dev/null
  timeout "$bound" "$loadgen" sipp -sf "$scenario.xml" -i 127.0.0.1 -p "$port" -m "$calls" --duration "$bound"s \
    --backend "$backend" --late-max 5s --quiet --check "${@:5}" > "$work/loadgen.txt" 2>&1 &
  loadgen_pid=$!
  children+=("$loadgen_pid")
  bound_port "$port" || echo "strowger-loadgen did not listen on $port"
  # shellcheck disable=SC2086
  timeout "$bound" sipp "127.0.0.1:$port" -i 127.0.0.1 -m "$calls" -r "$rate" -d 300 -nostdin -trace_err $4 \
    > "$work/sipp.txt" 2>&1
  sipp_status=$?
  wait "$loadgen_pid"
  status=$?
  verdict "$name" "$status" "$sipp_status"
}

calling "calls to sipp uas, UDP" 127.0.0.1 26010 "-sn uas" --rtp off
calling "calls to sipp uas, TCP" 127.0.0.1 26012 "-sn uas -t t1" --rtp off --transport tcp
calling "calls to sipp uas, UDP over IPv6" '[::1]' 26014 "-sn uas" --rtp off
calling "calls to sipp uas, TCP over IPv6" '[::1]' 26016 "-sn uas -t t1" --rtp off --transport tcp
calling "calls to sipp uas that echoes RTP" 127.0.0.1 26018 "-sn uas -rtp_echo -mp 26100" --rtp-ports 26200-26399
calling "calls to a challenge of sipp" 127.0.0.1 26020 "-sf $here/sipp/challenge.uas.xml" \
  --rtp off --auth "strowger:trunk secret"
answering "calls of sipp uac, UDP" 127.0.0.1 26030 "-sn uac -p 26031" --rtp off
answering "calls of sipp uac, TCP" 127.0.0.1 26032 "-sn uac -p 26033 -t t1" --rtp off --transport tcp
answering "calls of sipp uac, UDP over IPv6" '[::1]' 26034 "-sn uac -p 26035" --rtp off
answering "calls of sipp uac, 180 for 200 ms" 127.0.0.1 26036 "-sn uac -p 26037" --rtp off --ring 200ms
playing "scenario uac to sipp uas, UDP" 26040 uac "$calls" "-sn uas"
playing "scenario uac to sipp uas, TCP" 26042 uac "$calls" "-sn uas -t t1" -t t1
playing "scenario regexp to sipp uas" 26044 regexp "$calls" "-sn uas"
playing "scenario branchc to sipp branchs" 26046 branchc "$calls" "-sn branchs"
for pcap in /usr/share/sip-tester /usr/share/sipp/pcap; do
  if [ -e "$pcap/g711a.pcap" ]; then ln -sfn "$pcap" "$work/pcap"; fi
done
playing "scenario uac_pcap to sipp uas that echoes RTP" 26048 uac_pcap 20 "-sn uas -rtp_echo -mp 26500" \
  --rtp-ports 26520-26899 --assert 'rtp_received_uac>4000'
answering_by "sipp uac to scenario uas" 26050 uas "-sn uac -p 26051"
answering_by "sipp regexp to scenario uas" 26052 uas "-sn regexp -p 26053"
answering_by "sipp branchc to scenario branchs" 26054 branchs "-sn branchc -p 26055"
answering_by "sipp uac to scenario uas, TCP" 26056 uas "-sn uac -p 26057 -t t1" -t t1

echo "$ran cases, $failed failed"
[ "$failed" = 0 ]
