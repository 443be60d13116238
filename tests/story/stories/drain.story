# A worker that will end soon: it works on until the one that is launched for it can go on, and no step waits.
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
drain w2 in 30000
  record
  launch t18 place 1
step w1 w2 to 2
hello w3 ticket 18 host 3
  welcome w3
  note worker_joined w3
  start w3 slots 1
ready w3
  freeze 1.2
ack w1 w2 at 7
ack w3
  carriers 0
  record
  carriers 2 by w1
  go 1.2 step 7 world 2 hosts 2 lineage 1.2 state h1 carriers 2
  note generation_started workers 2 world 2
  note drained w2
  kill w2 t10
close w2 ended
carrier_up w1 job 2 place 0
carrier_up w3 job 2 place 1
step w1 w3 to 8
