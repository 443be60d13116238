# The host is lost on which mpirun of those that stand by runs: the carriers are launched again.
job launch workers 3 standby
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
  launch t11 place 2
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10 host 2
  welcome w2
  note worker_joined w2
hello w3 ticket 11 host 3
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
  carriers 1 by w1
  go 1.1 step 0 world 3 hosts 3 lineage 1.1 fresh restart carriers 1
  note generation_started workers 3 world 3
carrier_up w1 runs job 1 of 3
carrier_up w2 w3 job 1 of 3
step w1 w2 w3 to 1
  record
  carriers 1 standby 2 by w3
carrier_up w1 w2 job 2 of 3 standby
carrier_up w3 job 2 of 3 standby runs
close w3 ended
  carriers 0 standby 2
  carriers 0
  freeze 1.2
  record
  launch t19 place 2
  note worker_lost w3 closed
  kill w3 t11
ack w1 w2 at 4
  record
  carriers 3 by w1
  go 1.2 step 4 world 2 hosts 2 lineage 1.1 state h1 carriers 3
  note generation_started workers 2 world 2
carrier_up w1 w2 job 3
step w1 w2 to 5
  note recovered in_place losses 1 lost 0 carriers relaunch
  record
