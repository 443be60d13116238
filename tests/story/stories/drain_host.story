# All workers of a host are told, twice: the second time says when.
job launch workers 3
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
hello w3 ticket 11 host 2
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
  go 1.1 step 0 world 3 hosts 2 lineage 1.1 fresh restart carriers 1
  note generation_started workers 3 world 3
carrier_up w1 w2 job 1
step w1 w2 w3 to 1
drain w2 w3
  record
  launch t18 place 1
  record
  launch t19 place 2
drain w2 w3 in 60000
hello w4 ticket 18 host 3
  welcome w4
  note worker_joined w4
  start w4 slots 1
hello w5 ticket 19 host 3
  welcome w5
  note worker_joined w5
  start w5 slots 1
ready w4 w5
  freeze 1.2
ack w1 w2 w3 at 7
ack w4 w5
  carriers 0
  record
  carriers 2 by w1
  go 1.2 step 7 world 3 hosts 2 lineage 1.2 state h1 carriers 2
  note generation_started workers 3 world 3
  note drained w2
  kill w2 t10
  note drained w3
  kill w3 t11
