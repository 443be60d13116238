# The worker dies that ran mpirun of the carriers that serve: those that stand by take over.
job launch workers 4 standby
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
  launch t11 place 2
  launch t12 place 3
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10
  welcome w2
  note worker_joined w2
hello w3 ticket 11 host 2
  welcome w3
  note worker_joined w3
hello w4 ticket 12 host 2
  welcome w4
  note worker_joined w4
  start w4 slots 1
  start w1 slots 1
  start w2 slots 1
  start w3 slots 1
ready w1 w2 w3 w4
  record
  freeze 1.1
ack w1 w2 w3 w4
  record
  carriers 1 by w1
  go 1.1 step 0 world 4 hosts 2 lineage 1.1 fresh restart carriers 1
  note generation_started workers 4 world 4
carrier_up w1 runs job 1
carrier_up w3 job 1
step w1 w2 w3 w4 to 1
  record
  carriers 1 standby 2 by w4
carrier_up w2 job 2 standby
carrier_up w4 job 2 standby runs
close w1 ended
  carriers 0 standby 2
  freeze 1.2
  record
  launch t17 place 0
  note worker_lost w1 closed
  kill w1 t9
ack w2 w3 w4 at 4
  carriers 2
  go 1.2 step 4 world 3 hosts 2 lineage 1.1 state h1 carriers 2
  note generation_started workers 3 world 3
  record
step w2 w3 w4 to 5
  note recovered in_place losses 1 lost 0 carriers standby
  record
  carriers 2 standby 3 by w2
close w4 ended
  carriers 2
  carriers 0
  freeze 1.3
  record
  launch t20 place 3
  note worker_lost w4 closed
  kill w4 t12
ack w2 w3 at 7
  record
  carriers 4 by w2
  go 1.3 step 7 world 2 hosts 2 lineage 1.2 state h1 carriers 4
  note generation_started workers 2 world 2
step w2 w3 to 8
  note recovered in_place losses 1 lost 0 carriers relaunch
  record
