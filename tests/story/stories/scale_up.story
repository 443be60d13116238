# One more worker: a launch, a generation, the state from those who have it.
job launch workers 2 min 1
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
tick
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
scale to 3
  note scaled workers 3
  record
  launch t11 place 2
hello w3 ticket 11
  welcome w3
  note worker_joined w3
  start w3 slots 1
ready w3
  freeze 1.2
ack w1 w2 w3 at 6
  go 1.2 step 6 world 3 hosts 1 lineage 1.1 state h1
  note generation_started workers 3 world 3
  record
step w1 to 7
