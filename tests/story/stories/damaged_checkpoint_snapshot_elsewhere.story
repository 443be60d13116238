# The newest checkpoint is damaged, and a host whose rank still starts has a snapshot: held until it is there.
job launch workers 2 min 1 checkpoints
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10 host 2
  welcome w2
  note worker_joined w2
  start w2 slots 1
  start w1 slots 1
ready w1 w2
  record
  freeze 1.1
ack w1 w2
  find
found step 14
  load w1 step 14
loaded w1 step 14
  record
  carriers 1 by w1
  go 1.1 step 14 world 2 hosts 2 lineage 1.1 restart state h1 carriers 1
  note generation_started workers 2 world 2
carrier_up w1 w2 job 1
step w1 w2 to 15
beat w1 at 15
beat w2 at 15 snapshot 13
exit w1 signal 9
  note rank_exited w1 rank 0 signal 9
  freeze 1.2
  start w1 slots 1
  record
ack w2 at 15
ack w1
  carriers 0
  go 1.2 step 15 world 1 hosts 1 lineage 1.1 state h2
  note generation_started workers 1 world 1
  record
ready w1
  freeze 1.3
exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
  freeze 1.4
  start w2 slots 1
  record
ack w2
ack w1
  find
found step 14
  load w1 step 14
loaded w1 step 14 error 11
  reject step 14
  note checkpoint_rejected step 14
  find
found step none
  freeze 1.5
ack w2
ack w1
ready w2
  freeze 1.6
ack w1 w2
  find
found step none
  record
  carriers 2 by w1
  go 1.6 step 13 world 2 hosts 2 lineage 1.6 restart state h2 carriers 2
  note generation_started workers 2 world 2
