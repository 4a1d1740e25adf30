# Linux's own iSER initiator, ib_iser with open-iscsi, against our target and the kernel's.
#
# checks: discovery, CHAP, access list, SCSI passthrough, verified I/O, ext4, reservations of two initiators, resets, restart
# needs: iscsiadm iscsid fio sg_inq sg_persist mkfs.ext4 fsck.ext4
# wires: rxe siw rxe-lio
# timeout: 400
# kernel-may-say: I/O error|failed|timeout|error
need iscsiadm iscsid fio sg_inq sg_persist mkfs.ext4 fsck.ext4
. "$guest/iser.sh"

discovery() {
  iscsi_discover >"$RUN/targets"
  cat "$RUN/targets"
  grep -q "$ADDR:$PORT.*$IQN\$" "$RUN/targets" || fail "SendTargets lacks $IQN"
  # By its other name it does not see what is not for it, and keeps what it knows.
  iscsi_discover second -o nonpersistent >"$RUN/targets"
  grep -q "$IQN\$" "$RUN/targets"
}

# The secret the other side has is told last, a wrong one first. KEY is node.session.auth.KEY.
refused_until_right() {  # TARGET KEY SECRET
  iscsi_node "$1" "node.session.auth.$2" "not it, but as long"
  refused iscsi_log_in "$1"
  iscsi_node "$1" "node.session.auth.$2" "$3"
  iscsi_log_in "$1"
  iscsi_log_out "$1"
}
chap_as_vm() {  # TARGET
  iscsi_node "$1" node.session.auth.authmethod CHAP
  iscsi_node "$1" node.session.auth.username vm
}
chap() {
  chap_as_vm $IQN-chap
  refused_until_right $IQN-chap password "$CHAP_SECRET"
}
mutual_chap() {
  chap_as_vm $IQN-mutual
  iscsi_node $IQN-mutual node.session.auth.password "$CHAP_SECRET"
  iscsi_node $IQN-mutual node.session.auth.username_in disk
  refused_until_right $IQN-mutual password_in "$MUTUAL_SECRET"
}

access_list() {
  iscsi_node_for_second $IQN-private
  refused iscsi_log_in $IQN-private second
  iscsi_log_in $IQN-private
  iscsi_log_out $IQN-private
}

login() {
  iscsi_log_in $IQN
  unit $IQN $LINUX 0
  unit $IQN $LINUX 1
}

# --- passthrough ---------------------------------------------------------------------------------

inquiry() {
  sg_inq "$disk"
  local page
  for page in 0x00 0x80 0x83 0xb0 0xb2; do sg_vpd --page=$page "$disk"; done
}
rotation_page() { sg_vpd --page=0xb1 "$disk"; }
capacity() {
  says "Last LBA=262143" sg_readcap "$disk"
  says "Last LBA=262143" sg_readcap --16 "$disk"
}
report_luns() { says "0001000000000000" sg_luns "$disk"; }
opcodes() { sg_opcodes -n "$disk"; }
small_questions() {
  sg_turs "$disk"
  sg_requests "$disk"
  sg_modes --page=0x8 "$disk"
  sg_modes --six --page=0xa "$disk"
}
# What is there, written back.
mode_select() {
  local page
  page=$(sg_modes --page=0xa -r "$disk" | od -An -v -tx1 | tr -s ' \n' ' ')
  # Behind the header of eight bytes and the block descriptors it tells the length of.
  set -- $page
  shift $((8 + 0x$7$8))
  sg_wr_mode --page=0xa --contents="$(printf '%s,' "$@" | sed 's/,$//')" "$disk"
}
verify_command() { sg_verify --lba=0 --count=128 "$disk"; }
write_and_verify() {
  head -c 4096 /dev/urandom >"$RUN/pattern"
  sg_write_verify -l 64 -n 8 -i "$RUN/pattern" "$disk"
  rm -f "$RUN/back"
  sg_dd if="$disk" of="$RUN/back" bs=512 skip=64 count=8 blk_sgio=1 2>/dev/null
  cmp "$RUN/pattern" "$RUN/back"
}
write_same() {
  head -c 512 /dev/urandom >"$RUN/pattern"
  sg_write_same --lba=128 --num=16 --xferlen=512 --in="$RUN/pattern" "$disk"
  rm -f "$RUN/back"
  sg_dd if="$disk" of="$RUN/back" bs=512 skip=143 count=1 blk_sgio=1 2>/dev/null
  cmp "$RUN/pattern" "$RUN/back"
}
unmap() { sg_unmap --lba=256 --num=16 --force "$disk"; }
lba_status() { sg_get_lba_status --lba=0 "$disk"; }
compare_and_write() {
  head -c 512 /dev/zero >"$RUN/old"
  head -c 512 /dev/urandom >"$RUN/new"
  dd if="$RUN/old" of="$disk" bs=512 seek=512 oflag=direct conv=notrunc status=none
  cat "$RUN/old" "$RUN/new" >"$RUN/both"
  sg_compare_and_write --in="$RUN/both" --lba=512 --num=1 --xferlen=1024 "$disk"
  # The old content is not there any more.
  refused sg_compare_and_write --in="$RUN/both" --lba=512 --num=1 --xferlen=1024 "$disk"
}
# A block that cannot be read until it is written.
write_long() {
  says "wu_sup *= *1" sg_vpd --page=0x86 --long "$disk"
  sg_write_long --wr_uncor --lba=600 --xfer_len=0 "$disk"
  sg_write_long --16 --wr_uncor --lba=601 --xfer_len=0 "$disk"
  sense "medium|unrecovered" sg_verify --lba=600 --count=1 "$disk"
  refused sg_dd if="$disk" of=/dev/null bs=512 skip=601 count=1 blk_sgio=1
  refused dd if="$disk" of=/dev/null bs=4096 skip=75 count=1 iflag=direct
  sg_verify --lba=602 --count=1 "$disk"
  dd if=/dev/zero of="$disk" bs=4096 seek=75 count=1 oflag=direct conv=notrunc status=none
  sg_verify --lba=600 --count=8 "$disk"
  sense "invalid field|illegal request" sg_write_long --lba=600 --xfer_len=0 "$disk"
}
# From a LUN to another, in several commands, and within one.
extended_copy() {
  local to each
  to=$(unit $IQN $LINUX 1)
  mkdir -p /dev/block  # where sg_xcopy looks for them; there is no udev
  for each in "$disk" "$to"; do
    ln -sf "$each" "/dev/block/$(cat "/sys/class/block/${each##*/}/dev")"
  done
  sg_copy_results --params "$disk"
  head -c 1M /dev/urandom >"$RUN/pattern"
  dd if="$RUN/pattern" of="$disk" bs=64k seek=32 oflag=direct conv=notrunc status=none
  sg_xcopy if="$disk" of="$to" bs=512 skip=4096 seek=2048 count=2048
  sg_xcopy if="$disk" of="$disk" bs=512 skip=4096 seek=8192 count=2048 bpt=2048
  has_pattern "$to" 2048
  has_pattern "$disk" 8192
}
has_pattern() {  # DISK LBA
  rm -f "$RUN/back"
  sg_dd if="$1" of="$RUN/back" bs=512 skip="$2" count=2048 blk_sgio=1 2>/dev/null
  cmp "$RUN/pattern" "$RUN/back"
}
sync_cache() { sg_sync "$disk"; }
start_stop() {
  sg_start --stop "$disk"
  refused sg_turs "$disk"
  sg_start --start "$disk"
  sg_turs "$disk"
}
beyond_the_end() {
  sense "out of range|Illegal request" sg_verify --lba=262144 --count=1 "$disk"
}

# --- I/O -----------------------------------------------------------------------------------------

verified() {  # SIZE DEPTH TOTAL
  verify "$disk" --rw=randwrite --bs="$1" --iodepth="$2" --size="$3"
}

file_system() {
  mkfs.ext4 -q -E nodiscard -O ^has_journal "$disk"
  mkdir -p "$RUN/mnt"
  mount "$disk" "$RUN/mnt"
  dd if=/dev/urandom of="$RUN/mnt/file" bs=1M count=4 conv=fsync status=none
  md5sum <"$RUN/mnt/file" >"$RUN/file.md5"
  umount "$RUN/mnt"
  fsck.ext4 -fn "$disk"
}

# --- reservations ----------------------------------------------------------------------------------

reads() { sg_dd if="$1" of=/dev/null bs=512 count=8 blk_sgio=1 verbose=0; }
writes() { sg_dd if=/dev/zero of="$1" bs=512 count=8 seek=1024 blk_sgio=1 verbose=0; }
prout() { sg_persist --no-inquiry --out "$@"; }
prin() { sg_persist --no-inquiry --in "$@"; }
# Takes the unit attention that another's command has raised, where there is one.
hears() { sg_turs "$1" || true; }

second_login() {
  iscsi_node_for_second $IQN
  iscsi_log_in $IQN second
  unit $IQN $SECOND 0
}

register_both() {
  prout --register --param-sark=0xa "$disk"
  prout --register --param-sark=0xb "$other"
  says "2 registered" prin --read-keys "$disk"
  refused prout --register --param-rk=0xdead --param-sark=0xc "$other"
  prin --read-full-status "$disk"
  prin --report-capabilities "$disk"
}
write_exclusive() {
  prout --reserve --param-rk=0xa --prout-type=1 "$disk"
  says 0xa prin --read-reservation "$other"
  writes "$disk"
  reads "$other"
  refused writes "$other"
  refused prout --reserve --param-rk=0xb --prout-type=1 "$other"
  prout --release --param-rk=0xa --prout-type=1 "$disk"
}
exclusive_access() {
  prout --reserve --param-rk=0xa --prout-type=3 "$disk"
  refused reads "$other"
  refused writes "$other"
  prout --release --param-rk=0xa --prout-type=3 "$disk"
  reads "$other"
}
registrants_only() {
  prout --reserve --param-rk=0xa --prout-type=5 "$disk"
  writes "$other"
  prout --register --param-rk=0xb --param-sark=0 "$other"
  refused writes "$other"
  prout --register --param-sark=0xb "$other"
  writes "$other"
  prout --release --param-rk=0xa --prout-type=5 "$disk"
  hears "$other"
}
preempt() {
  prout --reserve --param-rk=0xa --prout-type=5 "$disk"
  prout --preempt --param-rk=0xb --param-sark=0xa --prout-type=5 "$other"
  hears "$disk"
  says 0xb prin --read-reservation "$disk"
  refused writes "$disk"
  prout --clear --param-rk=0xb "$other"
  hears "$disk"
  writes "$disk"
}
survives_restart() {
  prout --register-ignore --param-aptpl --param-sark=0xa "$disk"
  prout --reserve --param-rk=0xa --prout-type=1 "$disk"
  iser_kill
  iser_serve
  recovered
  says 0xa prin --read-reservation "$disk"
  until_true 60 sg_turs "$other"
  refused writes "$other"
  prout --clear --param-rk=0xa "$disk"
}

# --- resets, restart --------------------------------------------------------------------------------

resets_under_load() {
  fio --name=load --filename="$disk" --direct=1 --ioengine=libaio --rw=randread --bs=4k \
    --iodepth=16 --runtime=3 --time_based --output-format=terse --output=/dev/null &
  local load=$!
  sleep 1
  sg_reset --device "$disk"
  sg_reset --target "$disk"
  wait $load
}

recovered() {
  until_true 60 dd if="$disk" of=/dev/null bs=4k count=1 iflag=direct || fail "no recovery"
}

restart() {
  iser_kill
  iser_serve
  recovered
  mkdir -p "$RUN/mnt"
  mount "$disk" "$RUN/mnt"
  md5sum <"$RUN/mnt/file" | cmp - "$RUN/file.md5" || fail "the file changed"
  umount "$RUN/mnt"
}

restart_under_load() {
  fio --name=load --filename="$disk" --direct=1 --ioengine=libaio --verify=crc32c --rw=randwrite \
    --bs=4k --iodepth=8 --offset=64M --size=512K --loops=4 --rate_iops=64 --randseed=9 \
    --output-format=terse --output=/dev/null &
  local load=$!
  sleep 2
  iser_kill
  sleep 1
  iser_serve
  wait $load || fail "I/O failed although the initiator may wait for the target"
}

iser_serve
initiator_start
attempt "SendTargets" discovery
attempt "CHAP" chap
attempt "mutual CHAP" mutual_chap
attempt "access list" access_list
attempt "login" login
disk=$(unit $IQN $LINUX 0)
attempt "INQUIRY, VPD 00 80 83 B0 B2" inquiry
attempt "INQUIRY, VPD B1" rotation_page
attempt "READ CAPACITY 10, 16" capacity
attempt "REPORT LUNS" report_luns
attempt "REPORT SUPPORTED OPERATION CODES" opcodes
attempt "TEST UNIT READY, REQUEST SENSE, MODE SENSE" small_questions
attempt "MODE SELECT" mode_select
attempt "VERIFY" verify_command
attempt "WRITE AND VERIFY" write_and_verify
attempt "WRITE SAME" write_same
attempt "UNMAP" unmap
attempt "GET LBA STATUS" lba_status
attempt "COMPARE AND WRITE" compare_and_write
attempt "WRITE LONG" write_long
attempt "EXTENDED COPY, RECEIVE COPY RESULTS" extended_copy
attempt "SYNCHRONIZE CACHE" sync_cache
attempt "START STOP UNIT" start_stop
attempt "blocks beyond the end" beyond_the_end
attempt "fio crc32c, 4 KiB" verified 4k 32 4M
attempt "fio crc32c, 64 KiB" verified 64k 8 8M
attempt "fio crc32c, 256 KiB" verified 256k 4 8M
attempt "fio crc32c, 1 MiB" verified 1m 4 8M
attempt "mkfs, files, fsck" file_system
attempt "a second initiator's login" second_login
other=$(unit $IQN $SECOND 0)
attempt "PR: two registrants" register_both
attempt "PR: write exclusive" write_exclusive
attempt "PR: exclusive access" exclusive_access
attempt "PR: registrants only" registrants_only
attempt "PR: preempt, clear" preempt
attempt "PR: survives a restart (APTPL)" survives_restart
attempt "LUN and target reset under load" resets_under_load
attempt "target killed and started, session recovers" restart
attempt "target killed under verified load" restart_under_load
attempt "logout of both initiators" iscsiadm -m node --logout
iser_stop
report
