# DH-HMAC-CHAP between a kernel that has it (Debian's 6.1 is built without) and our programs.
#
# checks: Linux's host authenticates to our target, and our host to nvmet: right and wrong keys, mutual, again under load
# needs: nvme fio
# wires: rxe
# kernels: 6.12
# timeout: 400
# kernel-may-say: nvme nvme[0-9]+: .*(error|failed)|nvmet: ctrl [0-9]+ fatal error
need nvme fio
wire_up
nvme_rdma

# --- keys: one for each transformation ------------------------------------------------------------
HOST_KEY=$(nvme gen-dhchap-key -m 1 -n $HOST_NQN)
WRONG_KEY=$(nvme gen-dhchap-key -m 1 -n $HOST_NQN)
NEW_KEY=$(nvme gen-dhchap-key -m 0 -l 64 -n $HOST_NQN)
DISK_KEY=$(nvme gen-dhchap-key -m 2 -n $NQN)
NEW_DISK_KEY=$(nvme gen-dhchap-key -m 3 -n $NQN)
keep() { (umask 077 && echo "$2" >"$RUN/$1.key"); }
keep host "$HOST_KEY"
keep disk "$DISK_KEY"
keep wrong "$WRONG_KEY"

# --- our target -----------------------------------------------------------------------------------
auth_config() {  # HASH GROUP: what a host may use
  cat >"$RUN/config.json" <<END
{"listen": ["$URI"], "control": "$RUN/control.sock", "http": "127.0.0.1:9464", "verbose": true,
 "keys": [{"name": "host", "path": "$RUN/host.key"}, {"name": "disk", "path": "$RUN/disk.key"}],
 "subsystems": [{"nqn": "$NQN", "namespaces": [{"storage": "ram:16MiB"}],
   "hosts": [{"nqn": "$HOST_NQN", "dhchap_key": "host", "dhchap_ctrlr_key": "disk",
              "dhchap_digests": ["$1"], "dhchap_dhgroups": ["$2"]}]}]}
END
}
# since MARK PATTERN LOG-COMMAND...: a line after the first MARK lines matches.
since() { "${@:3}" | tail -n "+$(($1 + 1))" | grep -Eq -- "$2"; }
target_log() { cat "$RUN/target.log"; }
lines() { "$@" | wc -l; }
# kernel_says MARK PATTERN, target_says MARK PATTERN
kernel_says() { until_true 60 since "$1" "$2" dmesg || fail "the kernel does not say \"$2\""; }
target_says() { until_true 60 since "$1" "$2" target_log || fail "the target does not say \"$2\""; }
allow() {  # HASH GROUP
  local mark
  mark=$(lines target_log)
  auth_config "$@"
  kill -HUP "$TARGET_PID"
  target_says "$mark" "reload"
}
# counted NAME: of the subsystem, by the metrics.
counted() {
  exec 5<>/dev/tcp/127.0.0.1/9464
  printf 'GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&5
  sed -n "s/^mrpool_subsystem_$1_total{[^}]*} //p" <&5
  exec 5>&-
}
has_counted() { [ "$(counted "$1")" = "$2" ]; }
# again HASH GROUP: the connected host proves itself on its three queues, by these.
again() {
  local mark before
  before=$(counted authentications)
  allow "$@"
  mark=$(lines dmesg)
  echo "$HOST_KEY" >"/sys/class/nvme/$CTRL/dhchap_secret"
  kernel_says "$mark" "qid 0: authenticated with hash hmac\($1\) dhgroup $2"
  until_true 60 has_counted authentications $((before + 3)) ||
    fail "$(counted authentications) authentications, not $((before + 3))"
  ctrl_state_is live || fail "the controller is not live"
}
auth_config sha256 null
target_start --config "$RUN/config.json"

step "no key, a wrong key"
mark=$(lines dmesg) told=$(lines target_log)
refused host_login
kernel_says "$mark" "no key"
refused host_login --dhchap-secret="$WRONG_KEY"
kernel_says "$mark" "qid 0.*(failed|FAILURE1|authentication)"
target_says "$told" "DH-HMAC-CHAP of $HOST_NQN to $NQN failed: its response is wrong"

step "one-way: sha256 without DH"
mark=$(lines dmesg) told=$(lines target_log)
host_connect --dhchap-secret="$HOST_KEY"
kernel_says "$mark" "qid 0: authenticated with hash hmac\(sha256\) dhgroup null"
target_says "$told" "authenticated by DH-HMAC-CHAP \(sha256, null\)"
dev=$(namespace)
verify "$dev" --rw=randwrite --bs=4k --iodepth=8 --size=1M

step "again with other hashes and groups, under load"
load_start "$dev"
again sha384 ffdhe2048
again sha512 ffdhe3072

step "again with a new key, which the target has first"
keep host "$NEW_KEY"
allow sha256 ffdhe2048
HOST_KEY=$NEW_KEY
again sha256 ffdhe2048
writes() { awk '{print $5}' "/sys/class/block/${dev##*/}/stat"; }
load_end

step "again with a wrong key: the connection ends, and the right one brings it back"
mark=$(lines dmesg) told=$(lines target_log)
echo "$WRONG_KEY" >"/sys/class/nvme/$CTRL/dhchap_secret"
target_says "$told" "failed: its response is wrong"
kernel_says "$mark" "authentication failed"
has_counted authentication_failures 3 || fail "$(counted authentication_failures) failures"  # no key, wrong keys
host_disconnect

step "mutual"
mark=$(lines dmesg) told=$(lines target_log)
host_connect --dhchap-secret="$HOST_KEY" --dhchap-ctrl-secret="$DISK_KEY"
kernel_says "$mark" "qid 0: controller authenticated"
target_says "$told" "authenticated by DH-HMAC-CHAP \(sha256, ffdhe2048, mutual\)"
dev=$(namespace)
verify "$dev" --rw=randwrite --bs=4k --iodepth=8 --size=1M
again sha512 ffdhe3072

step "again with a new key of the target"
keep disk "$NEW_DISK_KEY"
allow sha256 ffdhe2048
DISK_KEY=$NEW_DISK_KEY
mark=$(lines dmesg) before=$(counted authentications)
echo "$DISK_KEY" >"/sys/class/nvme/$CTRL/dhchap_ctrl_secret"
kernel_says "$mark" "qid 0: controller authenticated"
until_true 60 has_counted authentications $((before + 3)) ||
  fail "$(counted authentications) authentications, not $((before + 3))"
host_disconnect

step "mutual, and the target has another key"
mark=$(lines dmesg) told=$(lines target_log)
refused host_login --dhchap-secret="$HOST_KEY" --dhchap-ctrl-secret="$WRONG_KEY"
kernel_says "$mark" "controller authentication failed"
target_says "$told" "its secret for this target is not dhchap_ctrlr_key"

# --- discovery ------------------------------------------------------------------------------------
step "discovery authenticates"
discovery=nqn.2014-08.org.nvmexpress.discovery
auth_config sha256 ffdhe2048
sed -i 's/^{/{"discovery_authentication": "keys", /' "$RUN/config.json"
mark=$(lines target_log)
kill -HUP "$TARGET_PID"
target_says "$mark" "reload"
# nvme-cli 2.3 does not give the kernel the secret of `nvme discover`.
discover_by() {  # OPTIONS: makes a discovery controller of the kernel with them
  echo "transport=rdma,traddr=$ADDR,trsvcid=$PORT,nqn=$discovery,hostnqn=$HOST_NQN,hostid=$HOST_ID,$1" \
    >/dev/nvme-fabrics
}
told=$(lines target_log)
refused host_discover
refused discover_by "dhchap_secret=$WRONG_KEY"
target_says "$told" "DH-HMAC-CHAP of $HOST_NQN to $discovery failed: its response is wrong"
told=$(lines target_log)
discover_by "dhchap_secret=$HOST_KEY,dhchap_ctrl_secret=$DISK_KEY"
target_says "$told" "connected to $discovery.*\(sha256, ffdhe2048, mutual\)"
NQN=$discovery find_ctrl
nvme get-log "/dev/$CTRL" --log-id=0x70 --log-len=4096 --raw-binary >"$RUN/log"
grep -aq "$NQN" "$RUN/log" || fail "the discovery log does not name $NQN"
mark=$(lines dmesg)
echo "$HOST_KEY" >"/sys/class/nvme/$CTRL/dhchap_secret"
kernel_says "$mark" "qid 0: authenticated with hash hmac\(sha256\) dhgroup ffdhe2048"
echo 1 >"/sys/class/nvme/$CTRL/delete_controller"
target_stop

# --- nvmet ----------------------------------------------------------------------------------------
step "our host against nvmet"
null_block nullb_auth 16 1
kernel_target /dev/nullb_auth
echo 0 >"$NVMET/subsystems/$NQN/attr_allow_any_host"
ALLOWED=$NVMET/hosts/$HOST_NQN
mkdir "$ALLOWED"
echo "$HOST_KEY" >"$ALLOWED/dhchap_key"
ln -s "$ALLOWED" "$NVMET/subsystems/$NQN/allowed_hosts/$HOST_NQN"
ours() {  # COMMAND OPTIONS...
  "$BIN/mrpool-nvmf" "$1" "$URI" --subnqn $NQN --host-nqn $HOST_NQN "${@:2}"
}
right=(--dhchap-secret "$RUN/host.key")
both=("${right[@]}" --dhchap-ctrl-secret "$RUN/disk.key")
refused ours identify
grep -q -e --dhchap-secret "$RUN/refused" || fail "does not name the option"
refused ours identify --dhchap-secret "$RUN/wrong.key"
# nvmet ends the connection at once, sometimes before its message is out.
grep -Eq "target refuses (the|this) host.*--dhchap-secret must be" "$RUN/refused" ||
  fail "does not name the refusal"

step "a target without a key of its own"
ours identify "${right[@]}" >"$RUN/identify"
refused ours identify "${both[@]}"

step "mutual, each hash"
echo "$DISK_KEY" >"$ALLOWED/dhchap_ctrl_key"
for pair in "sha256 null" "sha384 ffdhe2048" "sha512 ffdhe3072"; do
  echo "hmac(${pair% *})" >"$ALLOWED/dhchap_hash"
  echo "${pair#* }" >"$ALLOWED/dhchap_dhgroup"
  ours identify "${both[@]}" >"$RUN/identify"
done
refused ours identify "${right[@]}" --dhchap-ctrl-secret "$RUN/wrong.key"
grep -q -e "--dhchap-ctrl-secret must be its own key" "$RUN/refused" || fail "does not name the reason"

step "verified load, and again meanwhile"
echo ffdhe2048 >"$ALLOWED/dhchap_dhgroup"
ours perf "${both[@]}" --dhchap-reauth 500ms --rw randrw --bs 4k --iodepth 8 --size 1MiB \
  --verify crc32c --time_based --runtime 3 --output-format json >"$RUN/perf"
grep -Eq '"authentications": *[0-9]{2}' "$RUN/perf" || fail "too few: $(cat "$RUN/perf")"
rm "$NVMET/subsystems/$NQN/allowed_hosts/$HOST_NQN"
kernel_target_remove
rmdir "$ALLOWED"
