# Every checkpoint is damaged: to start from the beginning would pass for going on.
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
found step 7
  load w1 step 7
loaded w1 step 7 error 11
  reject step 7
  note checkpoint_rejected step 7
  find
found step none damaged
  record
  shutdown
  note job_finished checkpoint exit 65 steps 0
  finish 65
