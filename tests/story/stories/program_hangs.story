# The program hangs again and again in the same step: ended by its agent, that is a failure of its own.
job launch workers 2 min 1
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
tick
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
step w1 w2 to 1
exit w1 signal 9 stalled
  note rank_exited w1 rank 0 stalled 9
  freeze 1.2
  start w1 slots 1
  record
ack w1 w2 at 1
  go 1.2 step 1 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
ready w1
  freeze 1.3
ack w1 w2
  go 1.3 step 1 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
exit w1 signal 9 stalled
  note rank_exited w1 rank 0 stalled 9
  freeze 1.4
  start w1 slots 1
  record
ack w1 w2
  go 1.4 step 1 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
ready w1
  freeze 1.5
ack w1 w2
  go 1.5 step 1 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
exit w1 signal 9 stalled
  note rank_exited w1 rank 0 stalled 9
  record
  shutdown
  note job_finished rank 0 program exit 137 steps 1
  finish 137
ack w1 w2
ready w1
ack w1 w2
exit w1 signal 9 stalled
