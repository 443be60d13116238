# The job ends while the only worker with the last state is to go soon: it stays until that is in a
# checkpoint. It dies all the same; the spare worker of its host writes what lies there.
job launch workers 1 min 1 max 1 spares 1 checkpoints every 50
  note job_started
  record
  launch t3 place 0
  launch t4 place 1
hello w1 ticket 3
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
  snapshot at 50
drain w1 in 1000
  record
  launch t5 place 0
  snapshot at 3
hello w2 ticket 5 host 2
  welcome w2
  note worker_joined w2
  start w2 slots 1
hello w3 ticket 4
  welcome w3
  note worker_joined w3
leave w1 at 10
exit w1 code 0
beat w1 w3 snapshot 10
+400 beat w1 w2 w3
+400 beat w1 w2 w3
close w1 ended
  note worker_lost w1 closed
  kill w1 t3
+400 beat w2 w3
  begin attempt 1 step 10
  write w3 attempt 1 step 10 part 0 of 1
written w3
  commit attempt 1 step 10
committed
  record
  note checkpoint_committed step 10
  record
  shutdown
  note job_finished exit 0 steps 10
  finish 0
