# checks: profile
# needs: nvme fio
# wires: rxe siw
# timeout: 120
# by-name-only: yes
need nvme fio
. "$guest/compare.sh"
wire_up
target_start --listen "$URI" --subnqn $NQN --namespace null:4GiB,bs=4096
host_connect
dev=$(namespace)
for l in "randread 4k 1" "randwrite 4k 32"; do
(sleep 1.2; timeout 1.5 strace -c -f -p $TARGET_PID -o /vm/strace."${l// /_}".$WIRE) &
COMPARE_SECONDS=3
echo "SPIN $l $(iops $dev $l)"
wait %1 || true
cat /vm/strace."${l// /_}".$WIRE
done
perf stat -a -e context-switches,cpu-clock sleep 0.1 || true
perf record -a -g -o /run/perf.data -e cpu-clock sleep 2 & 
iops $dev randread 4k 1; wait $! || true
perf report -i /run/perf.data --no-children --sort comm --stdio 2>/dev/null | grep -v '^#' | grep '%' | head -12
host_disconnect
target_stop
