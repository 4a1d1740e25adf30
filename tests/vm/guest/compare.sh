# Side by side: the same loads on two block devices, one served by the kernel's target and one by
# ours. Sourced by the scenarios compare-*, whose tables tests/vm/compare puts together.

COMPARE_ROUNDS=3 COMPARE_SECONDS=1
COMPARE_TABLE=/vm/$NAME.$WIRE.txt

# compare_head: begins the table.
compare_head() {
  printf '%-5s %-5s %-20s %10s %10s %6s\n' wire disk load kernel ours ratio | tee "$COMPARE_TABLE"
}

# iops DEVICE RW BS DEPTH: one measured run.
iops() {
  fio --name=m --filename="$1" --direct=1 --ioengine=libaio --rw="$2" --bs="$3" --iodepth="$4" \
    --time_based --runtime=$COMPARE_SECONDS --ramp_time=0.3 --size=64M --thread --gtod_reduce=1 \
    --randseed=7 --output-format=terse | awk -F';' '/^3;/ { print int($8 + $49) }'
}

median() { sort -n | sed -n "$(((COMPARE_ROUNDS + 1) / 2))p"; }

# compare_disk LABEL KERNEL-DEVICE OUR-DEVICE: every load, the two in turn, median of the rounds.
compare_disk() {
  local rw bs depth kernel ours
  until_true 10 test -b "$2" || fail "$2 does not appear"
  until_true 10 test -b "$3" || fail "$3 does not appear"
  while read -r rw bs depth; do
    : >"$RUN/kernel" >"$RUN/ours"
    for _ in $(seq $COMPARE_ROUNDS); do
      iops "$2" "$rw" "$bs" "$depth" >>"$RUN/kernel"
      iops "$3" "$rw" "$bs" "$depth" >>"$RUN/ours"
    done
    kernel=$(median <"$RUN/kernel") ours=$(median <"$RUN/ours")
    [ "${kernel:-0}" -gt 0 ] && [ "${ours:-0}" -gt 0 ] || fail "no figure for $bs $rw QD$depth"
    printf '%-5s %-5s %-20s %10d %10d %6s\n' "$WIRE" "$1" "$bs $rw QD$depth" "$kernel" "$ours" \
      "$(awk "BEGIN { printf \"%.2f\", $ours / $kernel }")" | tee -a "$COMPARE_TABLE"
  done <<'LOADS'
randread 4k 1
randread 4k 32
randwrite 4k 32
read 64k 8
write 64k 8
LOADS
}
