# A spare takes the place of one that will end, and another spare is launched.
job launch workers 2 max 2 spares 1
  note job_started
  record
  launch t4 place 0
  launch t5 place 1
  launch t6 place 2
hello w1 ticket 4
  welcome w1
  note worker_joined w1
hello w2 ticket 5
  welcome w2
  note worker_joined w2
  start w2 slots 1
  start w1 slots 1
hello w3 ticket 6
  welcome w3
  note worker_joined w3
ready w1 w2
  record
  freeze 1.1
ack w1 w2 w3
  record
  go 1.1 step 0 world 2 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 2 world 2
step w1 w2 to 1
drain w2 in 30000
  record
  launch t9 place 2
  start w3 slots 1
ready w3
  freeze 1.2
ack w1 w2 w3 at 5
  go 1.2 step 5 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  note drained w2
  kill w2 t5
  record
step w1 w3 to 6
