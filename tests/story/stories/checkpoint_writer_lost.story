# A writer is lost: the rest writes it again.
job launch workers 2 checkpoints every 10
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
  find
found step none
  record
  go 1.1 step 0 world 2 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 2 world 2
step w1 w2 to 1
  snapshot at 10
+10 tick
snapshot w1 at 10
  begin attempt 1 step 10
  write w2 attempt 1 step 10 part 0 of 2
  write w1 attempt 1 step 10 part 1 of 2
close w2
  abandon attempt 1 step 10
  begin attempt 2 step 10
  freeze 1.2 fence w2
  record
  launch t18 place 1
  note worker_lost w2 closed
  kill w2 t10
  write w1 attempt 2 step 10 part 0 of 1
written w1 attempt 2
  commit attempt 2 step 10
committed attempt 2
  record
  note checkpoint_committed step 10
