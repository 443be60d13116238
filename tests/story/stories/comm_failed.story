# The GPUs' communicators fail with nobody lost: the same ranks meet again, but not for ever.
job launch workers 2
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
step w1 w2 to 1
comm_failed w2
  freeze 1.2
  record
comm_failed w1
ack w1 w2 at 1
  go 1.2 step 1 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
step w1 w2 to 2
  note recovered in_place losses 0 lost 0
  record
comm_failed w1
  freeze 1.3
  record
ack w1 w2 at 2
  go 1.3 step 2 world 2 hosts 1 lineage 1.2 state h1
  note generation_started workers 2 world 2
  record
comm_failed w1
  freeze 1.4
  record
ack w1 w2 at 2
  go 1.4 step 2 world 2 hosts 1 lineage 1.2 state h1
  note generation_started workers 2 world 2
  record
comm_failed w1
  freeze 1.5
  record
ack w1 w2 at 2
  go 1.5 step 2 world 2 hosts 1 lineage 1.2 state h1
  note generation_started workers 2 world 2
  record
comm_failed w1
  record
  shutdown
  note job_finished comm exit 69 steps 2
  finish 69
