# The generation that is being formed is the last.
job launch workers 3 min 1
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
  launch t11 place 2
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10
  welcome w2
  note worker_joined w2
hello w3 ticket 11
  welcome w3
  note worker_joined w3
  start w3 slots 1
  start w1 slots 1
  start w2 slots 1
ready w1 w2 w3
  record
  freeze 1.1
ack w1 w2 w3
  record
  go 1.1 step 0 world 3 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 3 world 3
step w1 to 1
exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
  freeze 1.2
  start w2 slots 1
  record
ack w1 at 5
stop signal 15
  record
ack w2 w3 at 5
  go 1.2 step 5 world 2 hosts 1 lineage 1.1 state h1 stop 6
  note generation_started workers 2 world 2
  record
leave w1 w3 at 6
  note recovered in_place losses 1 lost 0
  record
exit w1 w3 code 0
  record
  shutdown
  note job_finished stop exit 143 steps 6
  finish 143
