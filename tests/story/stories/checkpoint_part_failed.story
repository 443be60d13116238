# A part fails: another attempt from the same snapshot.
job launch workers 1 checkpoints every 10
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
found step none
  record
  go 1.1 step 0 world 1 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 1 world 1
step w1 to 1
  snapshot at 10
+10 tick
snapshot w1 at 10
  begin attempt 1 step 10
  write w1 attempt 1 step 10 part 0 of 1
written w1 error 7
  abandon attempt 1 step 10
  begin attempt 2 step 10
  write w1 attempt 2 step 10 part 0 of 1
written w1 attempt 1
written w1 attempt 2
  commit attempt 2 step 10
committed attempt 2
  record
  note checkpoint_committed step 10
  snapshot at 20
