# Side by side: the same loads on block devices of the same kind, each served by another target.
# Sourced by the scenarios compare-*, whose tables tests/vm/compare puts together.

COMPARE_ROUNDS=3 COMPARE_SECONDS=1
COMPARE_TABLE=/vm/$NAME.$WIRE.txt

# compare_head TARGET... OURS: begins the table; a column for each target, and behind them one for
# each peer with our IOPS as a multiple of its own.
compare_head() {
  local peer
  {
    printf '%-5s %-5s %-20s' wire disk load
    printf ' %10s' "$@"
    for peer in "${@:1:$#-1}"; do printf ' %9s' "/$peer"; done
    echo
  } | tee "$COMPARE_TABLE"
}

# iops DEVICE RW BS DEPTH: one measured run.
iops() {
  fio --name=m --filename="$1" --direct=1 --ioengine=libaio --rw="$2" --bs="$3" --iodepth="$4" \
    --time_based --runtime=$COMPARE_SECONDS --ramp_time=0.3 --size=64M --thread --gtod_reduce=1 \
    --randseed=7 --output-format=terse | awk -F';' '/^3;/ { print int($8 + $49) }'
}

median() { sort -n | sed -n "$(((COMPARE_ROUNDS + 1) / 2))p"; }

# compare_disk LABEL DEVICE...: every load, the devices in turn, median of the rounds. The devices
# stand as the targets in compare_head, ours last.
compare_disk() {
  local label=$1 device rw bs depth peer medians
  shift
  for device; do until_true 10 test -b "$device" || fail "$device does not appear"; done
  while read -r rw bs depth; do
    for device; do : >"$RUN/${device##*/}.iops"; done
    for _ in $(seq $COMPARE_ROUNDS); do
      for device; do iops "$device" "$rw" "$bs" "$depth" >>"$RUN/${device##*/}.iops"; done
    done
    medians=()
    for device; do medians+=("$(median <"$RUN/${device##*/}.iops")"); done
    for median in "${medians[@]}"; do
      [ "${median:-0}" -gt 0 ] || fail "no figure for $bs $rw QD$depth"
    done
    {
      printf '%-5s %-5s %-20s' "$WIRE" "$label" "$bs $rw QD$depth"
      printf ' %10d' "${medians[@]}"
      for peer in "${medians[@]:0:$#-1}"; do
        printf ' %9s' "$(awk "BEGIN { printf \"%.2f\", ${medians[-1]} / $peer }")"
      done
      echo
    } | tee -a "$COMPARE_TABLE"
  done <<'LOADS'
randread 4k 1
randread 4k 32
randwrite 4k 32
read 64k 8
write 64k 8
LOADS
}
