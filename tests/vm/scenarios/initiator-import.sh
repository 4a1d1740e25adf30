# Our targets serve what the kernel's targets served, by the files that were saved of them. The
# kernel's NVMe target is saved as nvmetcli does it, LIO by the program of targetcli that does it.
#
# checks: saved files of a live kernel's targets load unchanged: data, names, access
# needs: cmp targetctl
# wires: rxe
# timeout: 300
need cmp targetctl
wire_up
IQN=iqn.2026-11.io.mrpool:vm LINUX=iqn.2026-11.io.mrpool:host SECRET=vm:a-secret-of-the-host
to=("$URI" --subnqn "$NQN" --host-nqn "$HOST_NQN")
head -c 1M /dev/urandom >"$RUN/file"

step 'the kernel serves NVMe'
null_block nullb_import 64 1
kernel_target /dev/nullb_import
subsys=$NVMET/subsystems/$NQN
echo 0 >"$subsys/attr_allow_any_host"
echo 0123456789abcdef >"$subsys/attr_serial"
mkdir "$NVMET/hosts/$HOST_NQN" "$NVMET/ports/2"
ln -s "$NVMET/hosts/$HOST_NQN" "$subsys/allowed_hosts/$HOST_NQN"
echo tcp >"$NVMET/ports/2/addr_trtype"
referral=$NVMET/ports/1/referrals/other
mkdir "$referral"
echo tcp >"$referral/addr_trtype"
echo ipv4 >"$referral/addr_adrfam"
echo 10.0.0.9 >"$referral/addr_traddr"
echo 8009 >"$referral/addr_trsvcid"
echo 1 >"$referral/enable"
discover=("$BIN/mrpool-nvmf" discover "$URI" --host-nqn "$HOST_NQN")
says 'tcp 10\.0\.0\.9:8009' "${discover[@]}"
"$BIN/mrpool-nvmf" write "${to[@]}" --input "$RUN/file"
"$BIN/mrpool-nvmf" identify "${to[@]}" | tee "$RUN/kernel"
uuid=$(cat "$subsys/namespaces/1/device_uuid")

step 'it is saved and ends'
"$guest/nvmet-save" "$RUN/nvmet.json"
cat "$RUN/nvmet.json"
rm "$subsys/allowed_hosts/$HOST_NQN"
rmdir "$referral" "$NVMET/ports/2" "$NVMET/hosts/$HOST_NQN"
kernel_target_remove

step 'ours serves it'
says 'ports.1.\.addr\.trtype: is "tcp"' \
  sh -c "'$BIN/mrpool-nvmf-target' --config '$RUN/nvmet.json' --check-config 2>&1"
target_start --config "$RUN/nvmet.json"
says 'tcp 10\.0\.0\.9:8009' "${discover[@]}"
"$BIN/mrpool-nvmf" read "${to[@]}" --size 1MiB --output "$RUN/back"
cmp "$RUN/file" "$RUN/back"
says "${uuid//-/}" "$BIN/mrpool-nvmf" identify "${to[@]}"
says 0123456789abcdef "$BIN/mrpool-nvmf" identify "${to[@]}"
refused "$BIN/mrpool-nvmf" identify "$URI" --subnqn "$NQN" --host-nqn nqn.2026-11.io.mrpool:other
target_stop

step 'the kernel serves iSCSI, and its target is saved'
truncate -s 64M "$RUN/disk"
dd if="$RUN/file" of="$RUN/disk" conv=notrunc status=none
modprobe -a target_core_mod target_core_file iscsi_target_mod ib_isert
mkdir -p /etc/target/pr /var/target/pr
lio=/sys/kernel/config/target
store=$lio/core/fileio_0/disk tpg=$lio/iscsi/$IQN/tpgt_1
mkdir -p "$store"
echo "fd_dev_name=$RUN/disk,fd_dev_size=$((64 << 20))" >"$store/control"
echo -n "$RUN/disk" >"$store/udev_path"
echo 0a1b2c3d-1111-4222-8333-444455556666 >"$store/wwn/vpd_unit_serial"
echo 1 >"$store/enable"
mkdir -p "$lio/iscsi"
mkdir -p "$tpg/lun/lun_0" "$tpg/np/$ADDR:3260"
ln -s "$store" "$tpg/lun/lun_0/disk"
mkdir -p "$tpg/acls/$LINUX/lun_0"
ln -s "$tpg/lun/lun_0" "$tpg/acls/$LINUX/lun_0/disk"
echo -n "${SECRET%%:*}" >"$tpg/acls/$LINUX/auth/userid"
echo -n "${SECRET#*:}" >"$tpg/acls/$LINUX/auth/password"
echo 1 >"$tpg/attrib/authentication"
echo 1 >"$tpg/np/$ADDR:3260/iser"
echo 1 >"$tpg/enable"
# What targetcli's saveconfig calls; targetcli itself needs a D-Bus.
targetctl save "$RUN/saveconfig.json"
cat "$RUN/saveconfig.json"
/usr/bin/python3 -c 'import rtslib_fb; rtslib_fb.RTSRoot().clear_existing(confirm=True)'

step 'ours serves it'
# Our initiator cannot register enough at once on rxe, so this goes over TCP.
import=(--config "$RUN/saveconfig.json" --import-transport uiwarp)
"$BIN/mrpool-iser-target" "${import[@]}" --check-config
"$BIN/mrpool-iser-target" "${import[@]}" >>"$RUN/target.log" 2>&1 &
TARGET_PID=$!
until_true 20 grep -q 'listening on uiwarp' "$RUN/target.log" || fail 'the target does not listen'
iser=("uiwarp://$ADDR:3260" --target "$IQN" --initiator "$LINUX")
says 0a1b2c3d-1111-4222-8333-444455556666 "$BIN/mrpool-iser" inq "${iser[@]}" --chap "$SECRET"
"$BIN/mrpool-iser" read "${iser[@]}" --chap "$SECRET" --size 1MiB --output "$RUN/back"
cmp "$RUN/file" "$RUN/back"
refused "$BIN/mrpool-iser" inq "${iser[@]}" --chap 'vm:another-secret-here'
refused "$BIN/mrpool-iser" inq "${iser[@]}"
target_stop
