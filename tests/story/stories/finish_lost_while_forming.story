# The last members leave while a generation is formed, and their worker dies before the state after
# the last step is anywhere else: the job is not at its end, it goes on from what there is.
job launch workers 2 min 1 checkpoints every 5
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
  snapshot at 5
beat w1 w2 at 5 snapshot 5
  begin attempt 1 step 5
  write w2 attempt 1 step 5 part 0 of 2
  write w1 attempt 1 step 5 part 1 of 2
written w1 w2
  commit attempt 1 step 5
committed
  record
  note checkpoint_committed step 5
  snapshot at 10
+10 exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
  freeze 1.2
  start w2 slots 1
  record
ack w1 w2 at 6
  go 1.2 step 6 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  snapshot at 10
  record
step w1 to 7
  note recovered in_place losses 1 lost 0
  record
+50 ready w2
  freeze 1.3
leave w1 at 10
close w2
  note worker_lost w2 closed
  kill w2 t10
close w1
  record
  launch t17 place 0
  launch t18 place 1
  note worker_lost w1 closed
  kill w1 t9
+20 tick
+300 hello w3 ticket 17
  welcome w3
  note worker_joined w3
  start w3 slots 1
hello w4 ticket 18
  welcome w4
  note worker_joined w4
  start w4 slots 1
ready w3 w4
  freeze 1.4 fence w1 fence w2
ack w3 w4
  find
found step 5
  load w3 step 5
loaded w3
