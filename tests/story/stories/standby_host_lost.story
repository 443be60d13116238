# A host is lost: those that stand by have never talked to its carrier, and serve the others.
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
close w2 ended
  carriers 0 standby 2
  freeze 1.2
  record
  launch t18 place 1
  note worker_lost w2 closed
  kill w2 t10
ack w1 w3 at 4
  carriers 2
  go 1.2 step 4 world 2 hosts 2 lineage 1.1 state h1 carriers 2 in part
  note generation_started workers 2 world 2
  record
step w1 w3 to 5
  note recovered in_place losses 1 lost 0 carriers standby
  record
  carriers 2 standby 3 by w1
carrier_up w1 w3 job 3 of 2 standby
carrier_lost w3 job 2
  carriers 0 standby 3
  freeze 1.3
ack w1 w3 at 6
  carriers 3
  go 1.3 step 6 world 2 hosts 2 lineage 1.2 state h1 carriers 3
  note generation_started workers 2 world 2
  record
