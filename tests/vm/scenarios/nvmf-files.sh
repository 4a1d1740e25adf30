# A file system on a namespace of a file, across unmounts and a new connection.
#
# checks: mkfs.ext4, files, umount, fsck, reconnect, remount, compare; the target's file holds them
# needs: nvme mkfs.ext4
# wires: rxe siw
# timeout: 90
need nvme mkfs.ext4
modprobe ext4
wire_up
target_start --listen "$URI" --subnqn $NQN --namespace "file:$RUN/disk,size=96MiB" --verbose
host_connect
dev=$(namespace)

step "mkfs and files"
mkfs.ext4 -q "$dev"
mkdir -p "$RUN/mnt"
mount "$dev" "$RUN/mnt"
mkdir "$RUN/mnt/tree"
cp -r /usr/share/doc/fio /usr/include/linux "$RUN/mnt/tree/" 2>/dev/null || cp -r /usr/include/linux "$RUN/mnt/tree/"
head -c 24M /dev/urandom >"$RUN/mnt/big"
(cd "$RUN/mnt" && find . -type f -exec sha256sum {} + | sort) >"$RUN/sums"
[ "$(wc -l <"$RUN/sums")" -gt 100 ] || fail "too few files to mean something"
umount "$RUN/mnt"
fsck.ext4 -fn "$dev"

step "a new connection"
host_disconnect
host_connect
dev=$(namespace)
mount "$dev" "$RUN/mnt"
(cd "$RUN/mnt" && sha256sum --quiet -c "$RUN/sums")
rm -r "$RUN/mnt/tree"
fstrim "$RUN/mnt"
umount "$RUN/mnt"
fsck.ext4 -fn "$dev"
host_disconnect
target_stop

step "what the target left on its disk"
fsck.ext4 -fn "$RUN/disk"
