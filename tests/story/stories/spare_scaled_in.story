# More workers are wanted: the spare is there already.
job launch workers 1 max 2 spares 1
  note job_started
  record
  launch t4 place 0
  launch t5 place 1
hello w1 ticket 4
  welcome w1
  note worker_joined w1
  start w1 slots 1
hello w2 ticket 5
  welcome w2
  note worker_joined w2
ready w1
  freeze 1.1
  record
ack w1 w2
  record
  go 1.1 step 0 world 1 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 1 world 1
step w1 to 1
scale to 2
  note scaled workers 2
  record
  launch t6 place 2
  start w2 slots 1
ready w2
  freeze 1.2
ack w1 w2 at 3
  go 1.2 step 3 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
step w1 w2 to 4
scale to 1
  note scaled workers 1
  freeze 1.3
  record
ack w1 w2 at 6
  go 1.3 step 6 world 1 hosts 1 lineage 1.2 state h1
  note generation_started workers 1 world 1
  record
  launch t8 place 1
  note worker_lost w2 scaled
  kill w2 t5
