# SIGTERM while a lost rank's successor starts: it is ready when the others are at the end already,
# takes no part in that, and nobody waits for it.
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
step w1 to 4
exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
  freeze 1.2
  start w2 slots 1
  record
ack w1 w2 at 4
  go 1.2 step 4 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
step w1 to 5
  note recovered in_place losses 1 lost 0
  record
stop signal 15
  freeze 1.3
  record
ack w1 w2 at 5
  go 1.3 step 5 world 1 hosts 1 lineage 1.2 state h1 stop 6
  note generation_started workers 1 world 1
  record
leave w1 at 6
ready w2
beat w1 w2 snapshot 6
  begin attempt 1 step 6
  write w2 attempt 1 step 6 part 0 of 2
  write w1 attempt 1 step 6 part 1 of 2
exit w1 code 0
written w1 w2
  commit attempt 1 step 6
committed
  record
  note checkpoint_committed step 6
  record
  shutdown
  note job_finished stop exit 143 steps 6
  finish 143
