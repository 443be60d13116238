# The disk is full at the end: the job says so by its exit code.
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
beat w1 w2 at 6
leave w1 w2 at 7
beat w1 w2 snapshot 7
  begin attempt 1 step 7
  write w2 attempt 1 step 7 part 0 of 2
  write w1 attempt 1 step 7 part 1 of 2
exit w1 w2 code 0
written w1 error 8
  abandon attempt 1 step 7
  record
  shutdown
  note job_finished save exit 69 steps 7
  finish 69
