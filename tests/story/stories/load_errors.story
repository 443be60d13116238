# A checkpoint that cannot be read, twice: that is no damage, and the job cannot go on.
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
exit w1 w2 signal 9
  note rank_exited w1 rank 0 signal 9
  freeze 1.2
  start w1 slots 1
  record
  note rank_exited w2 rank 1 signal 9
  start w2 slots 1
ready w1 w2
  freeze 1.3
ack w1 w2
  find
found step 7
  load w1 step 7
loaded w1 step 7 error 7
  load w2 step 7
loaded w2 step 7 error 7
  record
  shutdown
  note job_finished checkpoint exit 69 steps 1
  finish 69
