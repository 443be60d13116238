# The only worker will end: what it knows is written at once, and it stays one step with its successor.
job launch workers 1 checkpoints every 1000
  note job_started
  record
  launch t9 place 0
hello w1 ticket 9
  welcome w1
  note worker_joined w1
  start w1 slots 1
ready w1
  freeze 1.1
  record
ack w1
  find
found
  record
  go 1.1 step 0 world 1 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 1 world 1
step w1 to 1
  snapshot at 1000
drain w1 in 30000
  record
  launch t17 place 0
  snapshot at 3
snapshot w1 at 3
  begin attempt 1 step 3
  write w1 attempt 1 step 3 part 0 of 1
written w1
  commit attempt 1 step 3
committed
  record
  note checkpoint_committed step 3
  snapshot at 1000
hello w2 ticket 17 host 2
  welcome w2
  note worker_joined w2
  start w2 slots 1
ready w2
  freeze 1.2
ack w1 at 9
ack w2
  record
  carriers 1 by w1
  go 1.2 step 9 world 2 hosts 2 lineage 1.2 state h1 carriers 1
  note generation_started workers 2 world 2
  snapshot at 1000
carrier_up w1 w2 job 1
step w1 w2 to 10
  freeze 1.3
ack w1 w2 at 10
  carriers 0
  go 1.3 step 10 world 1 hosts 1 lineage 1.2 state h2
  note generation_started workers 1 world 1
  snapshot at 1000
  note drained w1
  kill w1 t9
  record
step w2 to 11
