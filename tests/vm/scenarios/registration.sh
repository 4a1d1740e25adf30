# A measurement for tests/bench/run registration: what a key for one I/O costs against registering
# the memory for it, which needs a kernel device. Writes /vm/registration.json, a line a round.
#
# checks: uiwarp's key for one I/O and ibv_reg_mr on rxe, side by side in one machine
# needs: uiwarp_bench
# wires: rxe
# timeout: 300
# by-name-only: yes
[ -x "$BIN/uiwarp_bench" ] || fail "no uiwarp_bench in $BIN: .ci/build --bench release uiwarp_bench"
wire_up
for _ in 1 2 3 4 5 6 7; do
  for size in 4096 131072 1048576; do
    ours=$("$BIN/uiwarp_bench" register --size $size --seconds 0.2)
    theirs=$("$BIN/uiwarp_bench" reg_mr --size $size --seconds 0.2 --address "verbs://$ADDR")
    echo "{\"size\": $size, \"ours\": $ours, \"verbs\": $theirs}"
  done
done >/vm/registration.json
