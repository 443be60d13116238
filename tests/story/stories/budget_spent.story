# More losses than the budget has: 75.
job launch workers 2 min 1 restarts 1
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
  record
  go 1.1 step 0 world 2 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 2 world 2
step w1 to 1
exit w1 signal 9
  note rank_exited w1 rank 0 signal 9
  freeze 1.2
  start w1 slots 1
  record
ack w1 w2 at 3
  go 1.2 step 3 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
step w2 to 4
  note recovered in_place losses 1 lost 0
  record
exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
  record
  shutdown
  note job_finished budget exit 75 steps 4
  finish 75
