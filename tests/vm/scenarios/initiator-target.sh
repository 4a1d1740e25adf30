# Our initiator against our target with an RDMA device on both sides; on iWARP each of the two also
# as an ordinary process on a TCP socket, with the other one on the device.
#
# checks: mrpool-nvmf against mrpool-nvmf-target over verbs://, and verbs:// against uiwarp:// both ways
# needs: cmp
# wires: rxe siw
# timeout: 240
need cmp
wire_up
serve() { target_start --listen "$1" --subnqn $NQN --namespace ram:64MiB --verbose; }

serve "verbs://$ADDR:$PORT"
initiator_round "verbs://$ADDR:$PORT" 0
[ "$WIRE" = rxe ] || initiator_round "uiwarp://$ADDR:$PORT" 16MiB
target_stop

if [ "$WIRE" = siw ]; then
  serve "uiwarp://$ADDR:$PORT"
  initiator_round "verbs://$ADDR:$PORT" 0
  target_stop
fi
