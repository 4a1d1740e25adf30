# The target dies with the host connected and comes back.
#
# checks: kill -9 of the target under load; the host reconnects by itself; written data is intact
# needs: nvme fio
# wires: rxe siw
# timeout: 120
# kernel-may-say: I/O error|failed|timeout|error
need nvme fio
wire_up
serve() {
  target_start --listen "$URI" --subnqn $NQN --namespace "file:$RUN/disk,size=64MiB" --verbose
}
serve
host_connect --reconnect-delay=1 --ctrl-loss-tmo=60 --keep-alive-tmo=5
dev=$(namespace)

step "data that was acknowledged and flushed"
verify "$dev" --rw=write --bs=64k --iodepth=4 --size=16M --end_fsync=1 --do_verify=0

step "kill -9 under load"
fio --name=load --filename="$dev" --direct=1 --ioengine=libaio --rw=randwrite --bs=4k --iodepth=8 \
  --offset=32M --size=16M --time_based --runtime=12 --output-format=terse --output=/dev/null &
load=$!
for _ in 1 2; do
  sleep 2
  target_kill
  sleep 1
  serve
  until_true 30 ctrl_state_is live || fail "the host does not come back"
done
wait $load || fail "I/O failed although the host may wait 60 s for the target"

step "it is still there"
verify "$dev" --rw=read --bs=64k --iodepth=4 --size=16M
host_disconnect
target_stop
