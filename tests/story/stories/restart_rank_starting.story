# A worker whose rank was being started again when the coordinator died is no member: it answers for nobody.
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
beat w2 dead
  freeze 1.2
  note rank_exited w2 rank 1
  start w2 slots 1
  record
ack w1 w2 at 4
  go 1.2 step 4 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
restart
hello w2
  welcome w2
hello w1
  welcome w1
  freeze 2.3
ack w1 w2 at 6
  go 2.3 step 6 world 1 hosts 1 lineage 1.2 state h1
  note generation_started workers 1 world 1
  record
ready w2
  freeze 2.4
