# A carrier dies: all are launched again, by another generation.
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
carrier_lost w2 job 1
  carriers 0
  freeze 1.2
carrier_lost w1 job 1
ack w1 w2 at 4
  record
  carriers 2 by w1
  go 1.2 step 4 world 2 hosts 2 lineage 1.1 state h1 carriers 2
  note generation_started workers 2 world 2
carrier_up w1 w2 job 2
step w1 to 5
  note recovered in_place losses 0 lost 0 carriers relaunch
  record
