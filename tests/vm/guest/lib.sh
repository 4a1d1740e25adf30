# What scenarios share. Sourced by guest/scenario, which sets NAME and WIRE.
#
# A wire is a dummy interface with a software RDMA device on it and an address that both ends use:
#   rxe  RoCE: the target listens on verbs:// as an RDMA program
#   siw  iWARP: the target is an ordinary process on an ordinary TCP socket, uiwarp://

declare -A wire_addr=([rxe]=10.77.0.1 [siw]=10.78.0.1)
declare -A wire_scheme=([rxe]=verbs [siw]=uiwarp)
PORT=4420
NQN=nqn.2024-01.io.mrpool:vm
HOST_NQN=nqn.2014-08.org.nvmexpress:uuid:6d72706f-6f6c-4d00-8000-000000000001
HOST_ID=6d72706f-6f6c-4d00-8000-000000000001
BIN=$(cat /vm/bin)
SKIPS=$guest/../skips.txt
RUN=/run/$NAME.$WIRE
mkdir -p "$RUN"

step() { echo "--- $* ($(cut -d' ' -f1 /proc/uptime))"; }
fail() {
  echo "FAILED: $*"
  trap - ERR
  exit 1
}
skip() {
  echo "$*"
  exit 77
}
need() {
  local tool
  for tool; do command -v "$tool" >/dev/null || skip "needs $tool"; done
}

# until_true SECONDS COMMAND...: polls; fails when it is never true.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}

# refused COMMAND...: passes when the command fails; its output stays in $RUN/refused.
refused() {
  if "$@" >"$RUN/refused" 2>&1; then
    cat "$RUN/refused"
    fail "accepted, must be refused: $*"
  fi
  sed 's/^/  refused: /' "$RUN/refused"
}

# says PATTERN COMMAND...: passes when the command succeeds and its output matches.
says() {
  local pattern=$1
  shift
  "$@" >"$RUN/says" 2>&1 || { cat "$RUN/says"; fail "failed: $*"; }
  grep -Eqi -- "$pattern" "$RUN/says" || { cat "$RUN/says"; fail "does not say \"$pattern\": $*"; }
}

# --- wires ---------------------------------------------------------------------------------------

wire_up() {
  local wire=${1:-$WIRE}
  ADDR=${wire_addr[$wire]}
  URI=${wire_scheme[$wire]}://$ADDR:$PORT
  [ ! -e "/sys/class/infiniband/${wire}0" ] || return 0
  modprobe -a dummy ib_uverbs rdma_ucm
  case $wire in
    rxe) modprobe rdma_rxe ;;
    siw)
      modprobe -a libcrc32c crc32c_generic iw_cm && modprobe siw
      # siw completes every request that it cannot send with one and the same status; the kernel's
      # log then has the reason.
      echo 'module siw format "failed" +p; module siw format "STag" +p' \
        >/sys/kernel/debug/dynamic_debug/control || true ;;
  esac
  ip link add "d-$wire" type dummy
  ip addr add "$ADDR/24" dev "d-$wire"
  ip link set "d-$wire" up
  rdma link add "${wire}0" type "$wire" netdev "d-$wire"
  until_true 5 test -e "/sys/class/infiniband/${wire}0"
}

# --- the kernel's own target, for baselines -------------------------------------------------------

NVMET=/sys/kernel/config/nvmet

# kernel_target BLOCKDEVICE...: nvmet-rdma with these as namespaces 1...
kernel_target() {
  modprobe -a nvmet nvmet-rdma
  local subsys=$NVMET/subsystems/$NQN port=$NVMET/ports/1 device nsid=0
  mkdir "$subsys"
  echo 1 >"$subsys/attr_allow_any_host"
  for device; do
    nsid=$((nsid + 1))
    mkdir "$subsys/namespaces/$nsid"
    echo -n "$device" >"$subsys/namespaces/$nsid/device_path"
    echo 1 >"$subsys/namespaces/$nsid/enable"
  done
  mkdir "$port"
  echo rdma >"$port/addr_trtype"
  echo ipv4 >"$port/addr_adrfam"
  echo "$ADDR" >"$port/addr_traddr"
  echo "$PORT" >"$port/addr_trsvcid"
  ln -s "$subsys" "$port/subsystems/$NQN"
}

kernel_target_remove() {
  local dir
  [ -d "$NVMET/ports/1" ] || return 0
  rm -f "$NVMET"/ports/1/subsystems/*
  rmdir "$NVMET/ports/1"
  for dir in "$NVMET"/subsystems/*/namespaces/*; do
    echo 0 >"$dir/enable"
    rmdir "$dir"
  done
  rmdir "$NVMET"/subsystems/*
}

null_block() {  # NAME SIZE_MIB [memory_backed]: a null_blk device /dev/NAME
  modprobe null_blk nr_devices=0
  local dir=/sys/kernel/config/nullb/$1
  mkdir "$dir"
  echo "$2" >"$dir/size"
  echo 4096 >"$dir/blocksize"
  echo "${3:-0}" >"$dir/memory_backed"
  echo 1 >"$dir/power"
}

# --- our target -----------------------------------------------------------------------------------

TARGET_PID=

# target_start ARGS...: mrpool-nvmf-target on this wire, returns once it listens.
target_start() {
  [ -x "$BIN/mrpool-nvmf-target" ] || fail "no $BIN/mrpool-nvmf-target: build it first"
  local mark
  touch "$RUN/target.log"
  mark=$(wc -l <"$RUN/target.log")
  "$BIN/mrpool-nvmf-target" "$@" >>"$RUN/target.log" 2>&1 &
  TARGET_PID=$!
  until_true 20 listening "$mark" || fail "the target does not listen: $(tail -n 3 "$RUN/target.log")"
}
listening() {
  kill -0 "$TARGET_PID" || return 0
  tail -n +$(($1 + 1)) "$RUN/target.log" | grep -q listening
}

# target_config STORE...: a configuration file with these namespaces; a number is RAM of that many MiB.
target_config() {
  local nsid=0 store comma=
  printf '{"listen": ["%s"], "subsystems": [{"nqn": "%s", "namespaces": [' "$URI" "$NQN"
  for store; do
    nsid=$((nsid + 1))
    case $store in *[!0-9]*) ;; *) store=ram:${store}MiB ;; esac
    printf '%s{"nsid": %d, "storage": "%s"}' "$comma" $nsid "$store"
    comma=', '
  done
  printf ']}]}\n'
}

# target_reload STORE...: the running target's configuration becomes this one.
target_reload() {
  target_config "$@" >"$RUN/config.json"
  kill -HUP "$TARGET_PID"
}

target_kill() {
  kill -9 "$TARGET_PID"
  wait "$TARGET_PID" || true
  TARGET_PID=
}

# A clean stop: exit status 0 within 20 s, and no MR left in use.
target_stop() {
  kill -TERM "$TARGET_PID"
  local pid=$TARGET_PID rc=0
  TARGET_PID=
  (sleep 20 && kill -9 "$pid") &
  wait "$pid" || rc=$?
  kill $! 2>/dev/null || true
  [ $rc = 0 ] || fail "the target's exit status is $rc: $(tail -n 3 "$RUN/target.log")"
}

# --- our initiator --------------------------------------------------------------------------------

# initiator_round ADDRESS OFFSET: mrpool-nvmf through all it can do with namespace 1 of $NQN; leaves
# $RUN/file on it at OFFSET, and garbage from 32 MiB on.
initiator_round() {
  local to=("$1" --subnqn $NQN --host-nqn $HOST_NQN) nvmf=$BIN/mrpool-nvmf
  step "$1: discover and identify"
  says "$NQN" "$nvmf" discover "$1" --host-nqn $HOST_NQN
  says "$NQN" "$nvmf" identify "${to[@]}"

  step "$1: a file there and back"
  # Of no round size: the last block is padded.
  head -c 5000001 /dev/urandom >"$RUN/file"
  "$nvmf" write "${to[@]}" --offset "$2" --bs 128k --input "$RUN/file"
  "$nvmf" read "${to[@]}" --offset "$2" --bs 64k --size 5001216 --output "$RUN/back"
  cmp -n 5000001 "$RUN/file" "$RUN/back"

  step "$1: verified load"
  "$nvmf" perf "${to[@]}" --rw randwrite --bs 4k --iodepth 16 --offset 32MiB --size 4MiB \
    --verify crc32c
  "$nvmf" perf "${to[@]}" --rw randrw --bs 64k --iodepth 8 --numjobs 2 --offset 32MiB --size 16MiB \
    --time_based --runtime 1 --verify crc32c
}

# --- Linux's initiator ----------------------------------------------------------------------------

nvme_rdma() { modprobe nvme-rdma; }

host_discover() {
  nvme discover -t rdma -a "$ADDR" -s $PORT --hostnqn=$HOST_NQN --hostid=$HOST_ID "$@"
}

host_login() {  # [OPTIONS]
  nvme connect -t rdma -a "$ADDR" -s $PORT -n $NQN --hostnqn=$HOST_NQN --hostid=$HOST_ID \
    --nr-io-queues=2 "$@"
}
# host_connect [OPTIONS]: connects and sets CTRL (nvme0).
host_connect() {
  nvme_rdma
  host_login "$@"
  find_ctrl
}
find_ctrl() {
  local dir
  CTRL=
  for dir in /sys/class/nvme/*; do
    if [ "$(cat "$dir/subsysnqn" 2>/dev/null)" = "$NQN" ]; then CTRL=${dir##*/}; fi
  done
  [ -n "$CTRL" ] || fail "connected, but no controller has $NQN"
}

# namespace [NSID]: the block device of a namespace, waits for it.
namespace() {
  local dev=/dev/${CTRL}n${1:-1}
  until_true 10 test -b "$dev" || fail "$dev does not appear"
  echo "$dev"
}

host_disconnect() { nvme disconnect -n $NQN; }

ctrl_state_is() { [ "$(cat "/sys/class/nvme/$CTRL/state" 2>/dev/null)" = "$1" ]; }

# verify DEVICE FIO-OPTIONS...: writes and reads back with checksums.
verify() {
  local dev=$1
  shift
  fio --name=verify --filename="$dev" --direct=1 --ioengine=libaio --verify=crc32c \
    --verify_fatal=1 --output-format=terse --output=/dev/null --randseed=7 "$@" ||
    fail "fio: $* on $dev"
}

# --- a load that goes on while things change ------------------------------------------------------

LOAD=

# load_start DEVICE: verified writes until load_end; few, so that the emulated machine has time for
# the rest.
load_start() {
  fio --name=load --filename="$1" --direct=1 --ioengine=libaio --iodepth=4 --rw=randwrite --bs=4k \
    --size=1M --verify=crc32c --verify_fatal=1 --verify_backlog=64 --time_based --runtime=600 \
    --rate_iops=100 >"$RUN/load" 2>&1 &
  LOAD=$!
}

# load_end: the load goes on by another hundred of what the scenario's function `writes` prints, and
# ends without an error.
load_end() {
  local before
  before=$(writes)
  until_true 60 load_goes_on "$before" ||
    fail "the load stands still after $before writes: $(cat "$RUN/load")"
  kill -INT "$LOAD"
  wait "$LOAD" || [ $? = 128 ] || fail "the load: $(cat "$RUN/load")"
  grep -q 'err= 0' "$RUN/load" || fail "the load: $(cat "$RUN/load")"
}
load_goes_on() { kill -0 "$LOAD" && [ "$(writes)" -gt $(($1 + 100)) ]; }

# --- the end of every scenario ---------------------------------------------------------------------

on_exit() {
  local rc=$?
  trap - EXIT ERR
  set +eE
  if [ $rc != 0 ] && [ $rc != 77 ]; then
    nvme list-subsys
    ps -eo pid,stat,wchan:20,args | grep -v '\]$' | tail -n 20
  fi
  umount -A "$RUN"/mnt* 2>/dev/null
  [ -z "$(ls /sys/class/nvme 2>/dev/null)" ] || timeout 20 nvme disconnect-all
  if [ -n "$TARGET_PID" ]; then
    kill -TERM "$TARGET_PID"
    (sleep 10 && kill -9 "$TARGET_PID") 2>/dev/null &
    wait "$TARGET_PID"
  fi
  kernel_target_remove
  local dir
  for dir in /sys/kernel/config/nullb/*/; do
    if [ -d "$dir" ]; then rmdir "$dir"; fi
  done
  if [ -s "$RUN/target.log" ]; then
    echo "--- the target's log"
    tail -n 200 "$RUN/target.log"
  fi
  # The next scenario's failure would be blamed on the wrong one.
  if [ $rc = 0 ] && [ -n "$(ls /sys/class/nvme 2>/dev/null)" ]; then
    echo "FAILED: controllers are left: $(ls /sys/class/nvme)"
    rc=1
  fi
  exit $rc
}
