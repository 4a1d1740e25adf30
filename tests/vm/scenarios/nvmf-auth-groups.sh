# Linux's host authenticates to our target with the largest groups, which take long in an emulated machine.
#
# checks: ffdhe4096, ffdhe6144 and ffdhe8192 between Linux's host and our target, first and again; then I/O
# needs: nvme fio
# wires: rxe
# kernels: 6.12
# timeout: 300
# kernel-may-say: nvme nvme[0-9]+: .*(error|failed)
need nvme fio
wire_up
nvme_rdma
HOST_KEY=$(nvme gen-dhchap-key -m 1 -n $HOST_NQN)
(umask 077 && echo "$HOST_KEY" >"$RUN/host.key")

auth_config() {  # GROUP
  cat >"$RUN/config.json" <<END
{"listen": ["$URI"], "keys": [{"name": "host", "path": "$RUN/host.key"}], "verbose": true,
 "subsystems": [{"nqn": "$NQN", "namespaces": [{"storage": "ram:16MiB"}],
   "hosts": [{"nqn": "$HOST_NQN", "dhchap_key": "host", "dhchap_dhgroups": ["$1"]}]}]}
END
}
since() { "${@:3}" | tail -n "+$(($1 + 1))" | grep -Eq -- "$2"; }
target_log() { cat "$RUN/target.log"; }
lines() { "$@" | wc -l; }
kernel_says() { until_true 200 since "$1" "$2" dmesg || fail "the kernel does not say \"$2\""; }
target_says() { until_true 60 since "$1" "$2" target_log || fail "the target does not say \"$2\""; }

auth_config ffdhe4096
target_start --config "$RUN/config.json"
for group in ffdhe4096 ffdhe6144 ffdhe8192; do
  step "$group"
  mark=$(lines target_log)
  auth_config $group
  kill -HUP "$TARGET_PID"
  target_says "$mark" "reload"
  mark=$(lines dmesg)
  host_connect --dhchap-secret="$HOST_KEY" --nr-io-queues=1 --keep-alive-tmo=60
  kernel_says "$mark" "qid 0: authenticated with hash hmac\([a-z0-9]+\) dhgroup $group"
  verify "$(namespace)" --rw=randwrite --bs=4k --iodepth=8 --size=1M
  step "$group, again"
  mark=$(lines dmesg)
  echo "$HOST_KEY" >"/sys/class/nvme/$CTRL/dhchap_secret"
  kernel_says "$mark" "qid 0: authenticated with hash hmac\([a-z0-9]+\) dhgroup $group"
  verify "$(namespace)" --rw=randwrite --bs=4k --iodepth=8 --size=1M
  host_disconnect
done
target_stop
