# A spare waits beside the job; when a worker is lost it takes that place, and another spare is launched.
job launch workers 2 max 2 spares 1
  note job_started
  record
  launch t4 place 0
  launch t5 place 1
  launch t6 place 2
hello w1 ticket 4
  welcome w1
  note worker_joined w1
hello w2 ticket 5
  welcome w2
  note worker_joined w2
  start w2 slots 1
  start w1 slots 1
hello w3 ticket 6
  welcome w3
  note worker_joined w3
ready w1 w2
  record
  freeze 1.1
ack w1 w2 w3
  record
  go 1.1 step 0 world 2 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 2 world 2
step w1 w2 to 1
close w2 ended
  freeze 1.2
  record
  launch t9 place 2
  start w3 slots 1
  note worker_lost w2 closed
  kill w2 t5
ack w1 w3 at 4
  go 1.2 step 4 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
ready w3
  freeze 1.3
ack w1 w3 at 6
  go 1.3 step 6 world 2 hosts 1 lineage 1.2 state h1
  note generation_started workers 2 world 2
  record
step w1 w3 to 7
  note recovered in_place losses 1 lost 0
  record
hello w4 ticket 9
  welcome w4
  note worker_joined w4
