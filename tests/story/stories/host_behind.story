# The host that is a step ahead gives its state; sums that one host cannot tell of are not kept.
job launch workers 2
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
  record
  carriers 1 by w1
  go 1.1 step 0 world 2 hosts 2 lineage 1.1 fresh restart carriers 1
  note generation_started workers 2 world 2
carrier_up w1 w2 job 1
step w1 w2 to 1
beat w1 w2 at 4
exit w1 signal 9
  note rank_exited w1 rank 0 signal 9
  freeze 1.2
  start w1 slots 1
  record
ack w2 at 5 of 5 done 0xf
ready w1
ack w1 of 4
  go 1.2 step 5 world 2 hosts 2 lineage 1.2 state h2 carriers 1
  note generation_started workers 2 world 2
  record
