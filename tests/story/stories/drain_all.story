# Both workers will end: the first stays with its successor until that one has the state.
job launch workers 2
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
step w1 w2 to 1
drain w1 w2 in 30000
  record
  launch t17 place 0
  record
  launch t18 place 1
hello w3 ticket 17
  welcome w3
  note worker_joined w3
  start w3 slots 1
ready w3
  freeze 1.2
ack w1 w2 w3 at 5
  go 1.2 step 5 world 3 hosts 1 lineage 1.1 state h1
  note generation_started workers 3 world 3
  record
step w1 w2 w3 to 6
  freeze 1.3
ack w1 w2 w3 at 6
  go 1.3 step 6 world 2 hosts 1 lineage 1.2 state h1
  note generation_started workers 2 world 2
  note drained w1
  kill w1 t9
  record
step w2 w3 to 7
hello w4 ticket 18
  welcome w4
  note worker_joined w4
  start w4 slots 1
ready w4
  freeze 1.4 fence w1
ack w2 w3 w4 at 9
  go 1.4 step 9 world 2 hosts 1 lineage 1.3 state h1
  note generation_started workers 2 world 2
  note drained w2
  kill w2 t10
  record
step w3 w4 to 10
