# SIGTERM: the step ends, a checkpoint is committed, 143.
job launch workers 2 checkpoints
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
stop signal 15
  freeze 1.2
  record
ack w1 w2 at 4
  go 1.2 step 4 world 2 hosts 1 lineage 1.1 state h1 stop 5
  note generation_started workers 2 world 2
  record
leave w1 w2 at 5
beat w1 w2 snapshot 5
  begin attempt 1 step 5
  write w2 attempt 1 step 5 part 0 of 2
  write w1 attempt 1 step 5 part 1 of 2
exit w1 w2 code 0
written w1 w2
  commit attempt 1 step 5
committed
  record
  note checkpoint_committed step 5
  record
  shutdown
  note job_finished stop exit 143 steps 5
  finish 143
