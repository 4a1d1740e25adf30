# Our initiator against the kernel's own target: verbs:// on both devices, and on iWARP uiwarp:// as
# well, an ordinary process on a TCP socket that talks to a kernel's RDMA target.
#
# checks: mrpool-nvmf against nvmet-rdma: discover, identify, files both ways, verified perf
# needs: cmp
# wires: rxe siw
# timeout: 240
need cmp
wire_up
null_block nullb_ini 64 1
kernel_target /dev/nullb_ini

initiator_round "verbs://$ADDR:$PORT" 0
# What it wrote is what the kernel holds.
cmp -n "$(stat -c %s "$RUN/file")" "$RUN/file" /dev/nullb_ini
if [ "$WIRE" = siw ]; then
  initiator_round "uiwarp://$ADDR:$PORT" 16MiB
  cmp -n "$(stat -c %s "$RUN/file")" -i 0:$((16 << 20)) "$RUN/file" /dev/nullb_ini
fi
