# Fewer than --workers MIN: held, frozen, with the state kept, until they are enough again.
job launch workers 2 min 2
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10
  welcome w2
  note worker_joined w2
  start w2 slots 1
  start w1 slots 1
ready w1 w2
  record
  freeze 1.1
ack w1 w2
  record
  go 1.1 step 0 world 2 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 2 world 2
step w1 to 1
close w2
  freeze 1.2 fence w2
  record
  launch t18 place 1
  note worker_lost w2 closed
  kill w2 t10
ack w1 at 4
hello w3 ticket 18
  welcome w3
  freeze 1.2 to w3
  note worker_joined w3
  start w3 slots 1
ready w3
  freeze 1.3
ack w1 w3
  go 1.3 step 4 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
step w1 to 5
  note recovered in_place losses 1 lost 0
  record
