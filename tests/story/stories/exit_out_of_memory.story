# The kernel kills a rank for want of memory: the note says so; it is a loss like any other kill.
job workers 2
  note job_started
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
exit w2 signal 9 out_of_memory
  note rank_exited w2 rank 1 out_of_memory 9
  freeze 1.2
  start w2 slots 1
  record
ack w1
ack w2
  go 1.2 step 0 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
