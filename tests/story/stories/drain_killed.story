# It is killed before it could hand over: a loss like any other, but no restart is spent.
job launch workers 2 restarts 0
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
drain w2 in 30000
  record
  launch t18 place 1
close w2 ended
  freeze 1.2
  note worker_lost w2 closed
  kill w2 t10
ack w1 at 4
  go 1.2 step 4 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
step w1 to 5
  note recovered in_place losses 1 lost 0
  record
