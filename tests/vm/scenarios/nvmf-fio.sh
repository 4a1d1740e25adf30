# Verified load: every block that fio wrote is read back and its checksum compared.
#
# checks: fio crc32c from 512 bytes to 1 MiB, depth 1 to 128, several jobs, 512 and 4096 byte blocks
# needs: nvme fio
# wires: rxe siw
# timeout: 300
need nvme fio
wire_up
# The rare path, a registration for every transfer, where the device has keys for local memory.
force_mr=()
[ "$WIRE" = rxe ] || force_mr=(--force-mr)
target_start --listen "$URI" --subnqn $NQN --namespace ram:64MiB,bs=512 \
  --namespace "file:$RUN/disk,size=64MiB" --verbose "${force_mr[@]}"
host_connect
small=$(namespace 1)
file=$(namespace 2)

load() {  # DEVICE RW BS DEPTH SIZE
  step "$1: $2 of $3, $4 deep"
  verify "$1" --rw="$2" --bs="$3" --iodepth="$4" --size="$5"
}
load "$small" randwrite 512 1 256k
load "$small" randwrite 512 32 1M
load "$small" randwrite 4k 128 4M
load "$small" write 64k 16 8M
load "$small" randwrite 1M 8 16M
load "$file" write 4k 16 2M
load "$file" randwrite 128k 32 16M
load "$file" write 1M 4 16M

step "four jobs, mixed sizes"
verify "$small" --rw=randwrite --bsrange=512-256k --bs_unaligned=0 --blockalign=512 --iodepth=16 \
  --numjobs=4 --size=4M --offset_increment=16M

host_disconnect
target_stop
