# What an administrator does with a namespace: every nvme-cli command that reads or changes it.
#
# checks: nvme-cli's admin and I/O commands, bad passthrough commands, rescan driven by events
# needs: nvme fio
# wires: rxe siw
# timeout: 300
# kernel-may-say: I/O error|critical|operation not supported
need nvme
wire_up
target_config 64 >"$RUN/config.json"
target_start --config "$RUN/config.json" --verbose
host_connect
dev=$(namespace)
ctrl=/dev/$CTRL

step "identification"
says "^$dev" nvme list
says "subnqn[[:space:]]*: $NQN" nvme id-ctrl "$ctrl"
says 'nsze[[:space:]]*: 0x4000$' nvme id-ns "$dev"
says 'uuid|nguid|eui64' nvme ns-descs "$dev"
says '0x1$' nvme list-ns "$ctrl"
says "$NQN" nvme list-subsys
[ "$(blockdev --getsize64 "$dev")" = $((64 << 20)) ] || fail "size of $dev"

step "log pages"
says 'critical_warning[[:space:]]*: 0' nvme smart-log "$ctrl"
nvme effects-log "$ctrl"  # prints nothing for fabrics in nvme-cli 2.3
says '0000' nvme get-log "$ctrl" -i 5 -l 4096
says 'entry' nvme error-log "$ctrl" -e 1
says 'firmware' nvme fw-log "$ctrl"
says '0000' nvme get-log "$ctrl" -i 4 -l 4096

step "features"
says '0x0*[1-9a-f]' nvme get-feature "$ctrl" -f 7
says 'current value' nvme get-feature "$ctrl" -f 0xf
says 'current value' nvme get-feature "$ctrl" -f 0xb

step "I/O commands"
head -c 8192 /dev/urandom >"$RUN/data"
nvme write "$dev" -s 16 -c 1 -z 8192 -d "$RUN/data"
nvme read "$dev" -s 16 -c 1 -z 8192 -d "$RUN/back"
cmp "$RUN/data" "$RUN/back"
nvme compare "$dev" -s 16 -c 1 -z 8192 -d "$RUN/data"
head -c 8192 /dev/zero >"$RUN/zeroes"
refused nvme compare "$dev" -s 16 -c 1 -z 8192 -d "$RUN/zeroes"
grep -qi 'compare' "$RUN/refused" || fail "a mismatch must be reported as one"
nvme flush "$dev"
nvme write-zeroes "$dev" -s 16 -c 1
nvme compare "$dev" -s 16 -c 1 -z 8192 -d "$RUN/zeroes"
nvme dsm "$dev" -d -s 16 -b 2

step "Verify, Copy: what is announced, and what it does"
says 'oncs[[:space:]]*: 0x1bf$' nvme id-ctrl "$ctrl"
says 'fuses[[:space:]]*: 0x1$' nvme id-ctrl "$ctrl"
says 'msrc[[:space:]]*: 127$' nvme id-ns "$dev"
nvme write "$dev" -s 16 -c 1 -z 8192 -d "$RUN/data"
nvme verify "$dev" -s 16 -c 1
refused nvme verify "$dev" -s 0x3fff -c 1
nvme copy "$dev" --sdlba=64 --slbs=17,16 --blocks=0,0
nvme read "$dev" -s 64 -c 1 -z 8192 -d "$RUN/back"
{ tail -c 4096 "$RUN/data"; head -c 4096 "$RUN/data"; } >"$RUN/copied"
cmp "$RUN/copied" "$RUN/back"
refused nvme copy "$dev" --sdlba=17 --slbs=16 --blocks=1
blkdiscard -o 0 -l $((1 << 20)) "$dev"

step "Write Uncorrectable: reads fail until the blocks are written"
nvme write-uncor "$dev" -s 100 -c 1
refused nvme read "$dev" -s 96 -c 7 -z 32768 -d "$RUN/back"
grep -qi 'unrecovered' "$RUN/refused" || fail "a marked block must be an unrecovered read error"
refused nvme verify "$dev" -s 101 -c 0
refused nvme copy "$dev" --sdlba=200 --slbs=101 --blocks=0
refused dd if="$dev" of=/dev/null bs=4096 skip=100 count=1 iflag=direct
nvme read "$dev" -s 98 -c 1 -z 8192 -d "$RUN/back"
nvme write "$dev" -s 100 -c 1 -z 8192 -d "$RUN/data"
nvme read "$dev" -s 100 -c 1 -z 8192 -d "$RUN/back"
cmp "$RUN/data" "$RUN/back"
nvme write-uncor "$dev" -s 100 -c 1
nvme dsm "$dev" -d -s 100 -b 2
nvme read "$dev" -s 100 -c 1 -z 8192 -d "$RUN/back"
cmp "$RUN/zeroes" "$RUN/back"
refused nvme write-uncor "$dev" -s 0x3fff -c 1

step "Format: the content goes, the namespace stays"
says 'oacs[[:space:]]*: 0x2$' nvme id-ctrl "$ctrl"
nvme write "$dev" -s 16 -c 1 -z 8192 -d "$RUN/data"
nvme format "$dev" --namespace-id=1 --ses=1 --force
nvme read "$dev" -s 16 -c 1 -z 8192 -d "$RUN/back"
cmp "$RUN/zeroes" "$RUN/back"
refused nvme format "$dev" --namespace-id=1 --ses=2 --force
[ "$(blockdev --getsize64 "$dev")" = $((64 << 20)) ] || fail "size of $dev"

step "commands that must fail, and only they"
nvme_refused() { refused nvme io-passthru "$dev" "$@"; }
nvme_refused --opcode=0x02 --namespace-id=1 --data-len=4096 --read --cdw10=0x4000 --cdw12=0
grep -qi 'LBA' "$RUN/refused" || fail "behind the end must be LBA out of range"
nvme_refused --opcode=0x02 --namespace-id=1 --data-len=4096 --read --cdw10=0xffffffff --cdw11=0xffffffff
nvme_refused --opcode=0x01 --namespace-id=1 --data-len=4096 --write --input-file="$RUN/data" --cdw10=0x3fff --cdw12=7
nvme_refused --opcode=0x02 --namespace-id=77 --data-len=4096 --read
nvme_refused --opcode=0x7f --namespace-id=1
refused nvme admin-passthru "$ctrl" --opcode=0xc1
refused nvme admin-passthru "$ctrl" --opcode=0x06 --cdw10=0xff --data-len=4096 --read
refused nvme get-log "$ctrl" -i 0x7e -l 512
refused nvme get-feature "$ctrl" -f 0x7b
nvme read "$dev" -s 16 -c 1 -z 8192 -d "$RUN/back"

step "reset"
nvme reset "$ctrl"
until_true 40 ctrl_state_is live || fail "not live behind a reset"
nvme write "$dev" -s 0 -c 1 -z 8192 -d "$RUN/data"

step "namespaces come and go, the host hears of it"
target_reload 64 32
until_true 10 test -b "/dev/${CTRL}n2" || fail "the second namespace does not appear"
target_reload 64
until_true 10 test ! -b "/dev/${CTRL}n2" || fail "the second namespace does not go"
nvme compare "$dev" -s 0 -c 1 -z 8192 -d "$RUN/data"

step "a store takes the place of another under writes: none of them reaches it"
# second_disk UUID: the disk of namespace 2, when its identity is another than UUID.
second_disk() {
  local disk
  for disk in /sys/class/block/nvme*n*; do
    [ -b "/dev/${disk##*/}" ] && [ "$(cat "$disk/nsid" 2>/dev/null)" = 2 ] || continue
    [ "$(cat "$disk/uuid")" != "$1" ] && echo "/dev/${disk##*/}" && return
  done
  return 1
}
target_reload 64 ram:32MiB,name=former
until_true 10 second_disk none || fail "the second namespace does not appear"
former=$(second_disk none)
uuid=$(cat "/sys/class/block/${former##*/}/uuid")
fio --name=writer --filename="$former" --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite \
  --bs=4k --time_based --runtime=30 --output="$RUN/writer" &
writer=$!
sleep 2
kill -0 $writer || fail "the writer has ended: $(cat "$RUN/writer")"
target_reload 64 ram:32MiB,name=latter
until_true 20 second_disk "$uuid" || fail "the other store does not appear"
wait $writer && fail "writes to a store that is gone must fail"
cmp -n $((32 << 20)) /dev/zero "$(second_disk "$uuid")" || fail "writes reached the other store"

host_disconnect
target_stop
