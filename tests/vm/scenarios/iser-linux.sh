# Linux's own iSER initiator, ib_iser with open-iscsi, against our target.
#
# checks: discovery, CHAP, login, verified I/O of 4 KiB to 1 MiB, ext4, SCSI passthrough, reservations, logout, restart
# needs: iscsiadm iscsid fio sg_inq sg_readcap sg_persist mkfs.ext4 fsck.ext4
# wires: rxe siw
# timeout: 400
need iscsiadm iscsid fio sg_inq sg_readcap sg_persist mkfs.ext4 fsck.ext4
PORT=3260
IQN=iqn.2026-11.org.mrpool:vm
CHAP_SECRET="vm has a secret"
wire_up

start_target() {
  local mark
  touch "$RUN/target.log"
  mark=$(wc -l <"$RUN/target.log")
  "$BIN/mrpool-iser-target" --listen "$URI" --state-dir "$RUN" \
    --target $IQN --lun "file:$RUN/disk.img,size=128MiB" --lun ram:16MiB \
    --target $IQN-chap --lun ram:16MiB --chap "vm:$CHAP_SECRET" >>"$RUN/target.log" 2>&1 &
  TARGET_PID=$!
  until_true 20 listening "$mark" || fail "the target does not listen: $(tail -n 3 "$RUN/target.log")"
}

iscsi_log_in() { iscsiadm -m node -T "${1:-$IQN}" -p "$ADDR:$PORT" --login; }
iscsi_log_out() { iscsiadm -m node -T "${1:-$IQN}" -p "$ADDR:$PORT" --logout; }
# The block device of LUN $1, waits for it.
lun_is_there() { ls -d /sys/class/iscsi_session/session*/device/target*/*:"$1"/block/*; }
lun() {
  until_true 20 lun_is_there "$1" || fail "LUN $1 does not appear"
  echo "/dev/$(basename "$(lun_is_there "$1" | head -n 1)")"
}

step "target, ib_iser and iscsid"
start_target
modprobe -a ib_iser sg sd_mod
mkdir -p /etc/iscsi /run/lock/iscsi
echo "InitiatorName=iqn.2026-11.org.mrpool:linux" >/etc/iscsi/initiatorname.iscsi
touch /etc/iscsi/iscsid.conf
iscsid -f >"$RUN/iscsid.log" 2>&1 &
ISCSID_PID=$!
until_true 10 iscsiadm -m iface || fail "iscsid does not answer"

step "discovery"
iscsiadm -m discovery -t st -p "$ADDR:$PORT" -I iser | tee "$RUN/targets"
grep -q "$IQN\$" "$RUN/targets" || fail "SendTargets lacks $IQN"

step "CHAP: a wrong secret is refused, the right one is not"
node() { iscsiadm -m node -T $IQN-chap -p "$ADDR:$PORT" -o update -n "$1" -v "$2"; }
node node.session.auth.authmethod CHAP
node node.session.auth.username vm
node node.session.auth.password "not the secret"
refused iscsi_log_in $IQN-chap
node node.session.auth.password "$CHAP_SECRET"
iscsi_log_in $IQN-chap
iscsi_log_out $IQN-chap

step "login and passthrough"
iscsi_log_in
disk=$(lun 0)
sg_inq "$disk"
for page in 0x00 0x80 0x83 0xb0 0xb1 0xb2; do sg_inq --page=$page "$disk" >/dev/null; done
sg_readcap --16 "$disk"

step "verified I/O"
verify "$disk" --rw=randwrite --bs=4k --iodepth=32 --size=8M
verify "$disk" --rw=write --bs=64k --iodepth=8 --size=16M
verify "$disk" --rw=randwrite --bs=1m --iodepth=4 --size=16M

step "reservations"
sg_persist --out --register --param-sark=0xa "$disk"
sg_persist --out --reserve --param-rk=0xa --prout-type=1 "$disk"
sg_persist --in --read-reservation "$disk" | grep -qi "0xa" || fail "the reservation is not held"
sg_persist --out --release --param-rk=0xa --prout-type=1 "$disk"
sg_persist --out --clear --param-rk=0xa "$disk"

step "ext4"
mkfs.ext4 -q "$disk"
mkdir -p "$RUN/mnt"
mount "$disk" "$RUN/mnt"
dd if=/dev/urandom of="$RUN/mnt/file" bs=1M count=8 conv=fsync status=none
before=$(md5sum <"$RUN/mnt/file")
umount "$RUN/mnt"
fsck.ext4 -fn "$disk"

step "kill -9 and restart: the session recovers, the data is there"
target_kill
start_target
until_true 60 dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct || fail "no recovery"
mount "$disk" "$RUN/mnt"
[ "$before" = "$(md5sum <"$RUN/mnt/file")" ] || fail "the file changed"
umount "$RUN/mnt"

step "logout during I/O, and ten logins"
fio --name=noise --filename="$disk" --direct=1 --ioengine=libaio --rw=randread --bs=4k \
  --iodepth=16 --runtime=10 --time_based >/dev/null 2>&1 &
sleep 1
iscsi_log_out
wait $! || true
for _ in 1 2 3 4 5 6 7 8 9 10; do
  iscsi_log_in >/dev/null
  iscsi_log_out >/dev/null
done

step "stop"
kill $ISCSID_PID
target_stop
grep -q "MRs in use: 0 " "$RUN/target.log" || fail "MRs are still in use"
